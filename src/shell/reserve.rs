//! Space set aside for the next save, for when the disk is full.
//!
//! A save puts a new file in the place of the old one, and a full disk has neither blocks nor an
//! inode for it. Writing over the old file needs neither, but a crash in the middle leaves a
//! mixture of two texts, which may load and say something else. So a file without a name
//! (O_TMPFILE) is kept open, with its blocks. When there is no space, the text goes into it, it
//! gets a name beside the configuration, and both files change places in one step
//! (RENAME_EXCHANGE): whatever happens, the configuration is one text or the other, whole. The old
//! file is the reserve from then on. It keeps its name until there is space again, so that whoever
//! fills the disk cannot take its blocks in between.
//!
//! File systems that lack one of this have no reserve: there a save fails when the disk is full.
#![forbid(unsafe_code)]

use std::fs::{self, File, Metadata, OpenOptions};
use std::io::{self, ErrorKind, Seek};
use std::os::fd::AsRawFd;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use nix::fcntl::{AT_FDCWD, AtFlags, FallocateFlags, fallocate};
use nix::unistd::linkat;

use super::save::{directory_of, fill, sync_directory, with_suffix};
use super::system;

/// Ends the name of the reserve, while it has one.
pub const SUFFIX: &str = ".sentineld-reserve";
/// Blocks are no larger, nearly everywhere.
const BLOCK_BYTES: u64 = 4096;

/// The reserve of one file.
#[derive(Debug, Default)]
pub struct Reserve {
    spare: Option<Spare>,
    /// Whose place it can take.
    target: PathBuf,
    /// Neither the kernel nor the file system will learn it.
    unsupported: bool,
}

#[derive(Debug)]
struct Spare {
    file: File,
    /// It has a name.
    named: bool,
    /// What it was made for.
    bytes: u64,
}

/// Twice the text, for what is discovered while the disk is full.
fn wanted_bytes(text_bytes: u64) -> u64 {
    (2 * text_bytes).max(BLOCK_BYTES).next_multiple_of(BLOCK_BYTES)
}

fn name_of(target: &Path) -> PathBuf {
    with_suffix(target, SUFFIX.as_bytes())
}

impl Reserve {
    /// Sees to it that there is a reserve for a text so long, if there is space. To be called at
    /// the start and after each save for which there was space.
    pub fn provide(&mut self, target: &Path, text_bytes: u64) {
        if self.unsupported {
            return;
        }
        let wanted = wanted_bytes(text_bytes);
        let fits = |spare: &&Spare| !spare.named && spare.bytes >= text_bytes + BLOCK_BYTES / 2;
        if self.target == target && self.spare.as_ref().filter(fits).is_some() {
            return;
        }
        let name = name_of(target);
        match unnamed(directory_of(target), wanted) {
            Ok(file) => {
                let _ = fs::remove_file(&name);
                self.spare = Some(Spare { file, named: false, bytes: wanted });
            }
            Err(e) if system::is_no_space(&e) => self.adopt(&name, target),
            Err(e) => {
                let codes = [libc::EOPNOTSUPP, libc::EINVAL, libc::ENOSYS, libc::EISDIR];
                self.unsupported = e.raw_os_error().is_some_and(|code| codes.contains(&code));
                self.spare = self.spare.take().filter(|_| self.target == target);
            }
        }
        self.target = target.to_path_buf();
    }

    /// What an earlier process left when the disk was full already, unless there is one at hand.
    fn adopt(&mut self, name: &Path, target: &Path) {
        if self.spare.is_some() && self.target == target {
            return;
        }
        self.spare = reopened(name).ok().map(|file| {
            let bytes = file.metadata().map_or(0, |meta| meta.len());
            Spare { file, named: true, bytes }
        });
    }

    /// Puts the text in the place of the file without taking space. Errors: there is no reserve, it
    /// is too small, or what the system said; the file is the old one then.
    pub fn replace(
        &mut self,
        target: &Path,
        old: Option<&Metadata>,
        text: &[u8],
    ) -> io::Result<()> {
        let name = name_of(target);
        let Some(spare) = self.spare.as_mut().filter(|_| self.target == target) else {
            return Err(io::Error::from_raw_os_error(libc::ENOSPC));
        };
        spare.write(old, text)?;
        if !spare.named {
            spare.give_name(&name)?;
        }
        let exchanged = match system::exchange(&name, target) {
            Ok(()) => true,
            Err(e) if e.kind() == ErrorKind::NotFound || is_unknown(&e) => {
                fs::rename(&name, target)?;
                false
            }
            Err(e) => return Err(e),
        };
        let bytes = wanted_bytes(text.len() as u64);
        self.spare = exchanged.then(|| reopened(&name).ok()).flatten().map(|file| {
            // It was made for the text before.
            let _ = set_aside(&file, bytes);
            Spare { file, named: true, bytes }
        });
        if self.spare.is_none() {
            let _ = fs::remove_file(&name);
            self.provide(target, text.len() as u64);
        }
        sync_directory(target)
    }
}

impl Spare {
    fn write(&mut self, old: Option<&Metadata>, text: &[u8]) -> io::Result<()> {
        self.file.rewind()?;
        let length = text.len() as u64;
        if self.file.metadata()?.len() > length {
            // That frees what was set aside behind the end as well.
            self.file.set_len(length)?;
            let _ = set_aside(&self.file, self.bytes);
        }
        fill(&self.file, old, text)
    }

    /// Only what is whole and on disk gets a name.
    fn give_name(&mut self, name: &Path) -> io::Result<()> {
        // A file of this name is of an earlier process, whose blocks were not needed.
        let _ = fs::remove_file(name);
        let source = format!("/proc/self/fd/{}", self.file.as_raw_fd());
        linkat(AT_FDCWD, source.as_str(), AT_FDCWD, name, AtFlags::AT_SYMLINK_FOLLOW)?;
        self.named = true;
        Ok(())
    }
}

fn is_unknown(error: &io::Error) -> bool {
    let codes = [libc::EINVAL, libc::ENOSYS, libc::EOPNOTSUPP];
    error.raw_os_error().is_some_and(|code| codes.contains(&code))
}

/// A file without a name, with blocks for so many bytes.
fn unnamed(dir: &Path, bytes: u64) -> io::Result<File> {
    let mut options = OpenOptions::new();
    let file = options.write(true).custom_flags(libc::O_TMPFILE).mode(0o600).open(dir)?;
    set_aside(&file, bytes)?;
    Ok(file)
}

fn set_aside(file: &File, bytes: u64) -> nix::Result<()> {
    fallocate(file, FallocateFlags::FALLOC_FL_KEEP_SIZE, 0, bytes as libc::off_t)
}

fn reopened(name: &Path) -> io::Result<File> {
    let file = OpenOptions::new().write(true).custom_flags(libc::O_NOFOLLOW).open(name)?;
    if file.metadata()?.is_file() {
        Ok(file)
    } else {
        Err(io::Error::from_raw_os_error(libc::EINVAL))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::shell::testing::TempDir;

    fn names(dir: &Path) -> Vec<String> {
        let names = fs::read_dir(dir).unwrap().map(|e| e.unwrap().file_name());
        let mut names: Vec<String> = names.map(|name| name.into_string().unwrap()).collect();
        names.sort();
        names
    }

    #[test]
    fn it_takes_the_place_of_the_file_again_and_again() {
        let dir = TempDir::new("reserve");
        let target = dir.path().join("s.conf");
        fs::write(&target, "old\n").unwrap();
        let mut reserve = Reserve::default();
        reserve.provide(&target, 4);
        assert_eq!(names(dir.path()), ["s.conf"], "it has no name while there is space");
        for text in ["longer than it was\n", "short\n", &"x".repeat(9000), "the last\n"] {
            reserve.replace(&target, None, text.as_bytes()).unwrap();
            assert_eq!(fs::read_to_string(&target).unwrap(), text);
            assert_eq!(names(dir.path()), ["s.conf", "s.conf.sentineld-reserve"]);
        }
        reserve.provide(&target, 9);
        assert_eq!(names(dir.path()), ["s.conf"]);
        assert_eq!(fs::read_to_string(&target).unwrap(), "the last\n");
        // One that an earlier process left goes, too; without the file itself it is a rename.
        fs::write(dir.path().join("s.conf.sentineld-reserve"), "left\n").unwrap();
        let mut reserve = Reserve::default();
        reserve.provide(&target, 9);
        fs::remove_file(&target).unwrap();
        reserve.replace(&target, None, b"new\n").unwrap();
        assert_eq!(fs::read_to_string(&target).unwrap(), "new\n");
        assert_eq!(names(dir.path()), ["s.conf"]);
        reserve.replace(&target, None, b"newer\n").unwrap();
        assert_eq!(fs::read_to_string(&target).unwrap(), "newer\n");
    }

    #[test]
    fn a_reserve_of_another_file_is_none() {
        let dir = TempDir::new("reserve");
        let mut reserve = Reserve::default();
        reserve.provide(&dir.path().join("a"), 9);
        let refused = reserve.replace(&dir.path().join("b"), None, b"text\n");
        assert!(system::is_no_space(&refused.unwrap_err()));
        assert_eq!(names(dir.path()).len(), 0);
    }
}
