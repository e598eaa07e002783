//! The file system as loading sees it.

use std::ffi::{CString, OsStr};
use std::fs::{self, OpenOptions};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::Path;

use nix::unistd::{AccessFlags, access};

use super::system::reason;
use crate::config::load::Files;

/// The real file system and working directory.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemFiles;

/// A path of raw bytes.
pub fn path(bytes: &[u8]) -> &Path {
    Path::new(OsStr::from_bytes(bytes))
}

/// Whether `script` is a regular file that this process may execute.
pub fn is_executable(script: &Path) -> bool {
    fs::metadata(script).is_ok_and(|m| m.is_file()) && access(script, AccessFlags::X_OK).is_ok()
}

impl Files for SystemFiles {
    fn read(&mut self, file: &[u8]) -> Result<Vec<u8>, String> {
        fs::read(path(file)).map_err(|e| reason(&e))
    }

    fn glob(&mut self, pattern: &[u8]) -> Vec<Vec<u8>> {
        let Ok(pattern) = CString::new(pattern) else { return Vec::new() };
        let mut found = Vec::new();
        // SAFETY: `glob_t` is plain data that `glob` fills; `gl_pathv` then holds `gl_pathc`
        // strings that live until `globfree`, and they are copied before it. Neither nix nor std
        // has shell patterns.
        unsafe {
            let mut list: libc::glob_t = std::mem::zeroed();
            if libc::glob(pattern.as_ptr(), 0, None, &mut list) == 0 {
                for i in 0..list.gl_pathc as usize {
                    let name = std::ffi::CStr::from_ptr(*list.gl_pathv.add(i));
                    found.push(name.to_bytes().to_vec());
                }
            }
            libc::globfree(&mut list);
        }
        found
    }

    fn chdir(&mut self, dir: &[u8]) -> Result<Vec<u8>, String> {
        std::env::set_current_dir(path(dir)).map_err(|e| reason(&e))?;
        // A directory above it that was renamed or may not be read: then what was asked for.
        let now = std::env::current_dir().map(|now| now.into_os_string().into_vec());
        Ok(now.unwrap_or_else(|_| dir.to_vec()))
    }

    fn is_executable(&mut self, file: &[u8]) -> bool {
        is_executable(path(file))
    }

    fn can_append(&mut self, file: &[u8]) -> Result<(), String> {
        let opened = OpenOptions::new().append(true).create(true).open(path(file));
        opened.map(drop).map_err(|e| reason(&e))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_and_checks() {
        let mut files = SystemFiles;
        assert!(files.glob(b"/etc/pass*d").contains(&b"/etc/passwd".to_vec()));
        assert!(files.glob(b"/etc/no-such-*").is_empty());
        assert!(files.is_executable(b"/bin/sh"));
        assert!(!files.is_executable(b"/etc/passwd"));
        assert!(!files.is_executable(b"/bin"));
        assert_eq!(files.read(b"/no/file"), Err("No such file or directory".to_string()));
        assert_eq!(files.can_append(b"/no/log"), Err("No such file or directory".to_string()));
    }
}
