//! A file system in memory for the tests of this layer.
#![forbid(unsafe_code)]

use std::collections::{BTreeMap, BTreeSet};

use super::load::{Files, LoadError, Loaded, load};
use crate::util::glob;

/// Files by name. The directories `/`, `/dir` and `/tmp` exist; scripts are what ends in `.sh`.
#[derive(Clone, Default)]
pub(super) struct MemoryFiles {
    pub files: BTreeMap<Vec<u8>, Vec<u8>>,
    pub cwd: Vec<u8>,
    pub appended: BTreeSet<Vec<u8>>,
}

impl MemoryFiles {
    pub(super) fn with(mut self, path: &str, text: &str) -> MemoryFiles {
        self.files.insert(path.into(), text.into());
        self
    }
}

impl Files for MemoryFiles {
    fn read(&mut self, path: &[u8]) -> Result<Vec<u8>, String> {
        self.files.get(path).cloned().ok_or_else(|| "No such file or directory".into())
    }

    fn glob(&mut self, pattern: &[u8]) -> Vec<Vec<u8>> {
        self.files.keys().filter(|path| glob::matches(pattern, path, false)).cloned().collect()
    }

    fn chdir(&mut self, dir: &[u8]) -> Result<Vec<u8>, String> {
        if [&b"/"[..], b"/dir", b"/tmp"].contains(&dir) {
            self.cwd = dir.to_vec();
            Ok(dir.to_vec())
        } else {
            Err("No such file or directory".into())
        }
    }

    fn is_executable(&mut self, path: &[u8]) -> bool {
        path.ends_with(b".sh")
    }

    fn can_append(&mut self, path: &[u8]) -> Result<(), String> {
        if path.starts_with(b"/missing/") {
            return Err("No such file or directory".into());
        }
        self.appended.insert(path.to_vec());
        Ok(())
    }
}

/// Loads a text that stands alone.
pub(super) fn load_text(text: &str) -> Result<Loaded, LoadError> {
    load(text.as_bytes(), None, &[], &mut MemoryFiles::default())
}
