//! A file system with nothing in it, for loading a configuration.
#![forbid(unsafe_code)]

use sentineld::config::load::Files;

/// Every file is missing; everything else is as it should be.
pub struct NoFiles;

impl Files for NoFiles {
    fn read(&mut self, _path: &[u8]) -> Result<Vec<u8>, String> {
        Err("No such file or directory".to_owned())
    }

    fn glob(&mut self, _pattern: &[u8]) -> Vec<Vec<u8>> {
        Vec::new()
    }

    fn chdir(&mut self, dir: &[u8]) -> Result<Vec<u8>, String> {
        Ok(dir.to_vec())
    }

    fn is_executable(&mut self, _path: &[u8]) -> bool {
        true
    }

    fn can_append(&mut self, _path: &[u8]) -> Result<(), String> {
        Ok(())
    }
}
