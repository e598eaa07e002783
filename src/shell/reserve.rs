//! Space set aside for the next save, for when the disk is full.
//!
//! A save puts a new file in the place of the old one, and a full disk has neither blocks nor an
//! inode for it. Writing over the old file needs neither, but a crash in the middle leaves a
//! mixture of two texts, which may load and say something else. So while little space is left, a
//! file with blocks of its own lies beside the configuration. When there is none, the text goes
//! into it, and both files change places in one step (RENAME_EXCHANGE): whatever happens, the
//! configuration is one text or the other, whole. The old file is the reserve from then on, so
//! whoever fills the disk cannot take its blocks in between.
//!
//! It is not kept open: that would keep others from making the file system read-only. Where a file
//! system cannot set blocks aside there is none, and a save fails when the disk is full.
#![forbid(unsafe_code)]

use std::fs::{self, File, Metadata, OpenOptions};
use std::io::{self, ErrorKind};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use nix::fcntl::{FallocateFlags, fallocate};

use super::save::{directory_of, fill, sync_directory, with_suffix};
use super::system::{self, Space};

/// Ends the name of the reserve.
pub const SUFFIX: &str = ".sentineld-reserve";
/// Blocks are no larger, nearly everywhere.
const BLOCK_BYTES: u64 = 4096;
/// What `st_blocks` counts.
const STAT_BLOCK_BYTES: u64 = 512;
/// With less than this there is a reserve: more than a disk fills up by between two looks.
const LITTLE: Space = Space { bytes: 1 << 30, inodes: 10_000 };

/// The reserve of one file.
#[derive(Debug, Default)]
pub struct Reserve {
    /// Whose place it can take, and for how many bytes it has blocks.
    made: Option<(PathBuf, u64)>,
    /// One of an earlier process was looked for.
    looked: bool,
}

/// Twice the text, for what is discovered while the disk is full.
fn wanted_bytes(text_bytes: u64) -> u64 {
    (2 * text_bytes).max(BLOCK_BYTES).next_multiple_of(BLOCK_BYTES)
}

fn name_of(target: &Path) -> PathBuf {
    with_suffix(target, SUFFIX.as_bytes())
}

impl Reserve {
    /// Sees to it that there is a reserve for a text so long while little space is left, and none
    /// otherwise. To be called at the start, from time to time, and after each save for which there
    /// was space.
    pub fn provide(&mut self, target: &Path, text_bytes: u64) {
        let Some(space) = system::space_of(directory_of(target)) else { return };
        self.provide_with(target, text_bytes, space);
    }

    fn provide_with(&mut self, target: &Path, text_bytes: u64, space: Space) {
        let name = name_of(target);
        let of_target = self.made.take_if(|(of, _)| of != target).is_none();
        if space.bytes >= LITTLE.bytes && space.inodes >= LITTLE.inodes {
            if self.made.take().is_some() || !std::mem::replace(&mut self.looked, true) {
                let _ = fs::remove_file(name);
            }
            return;
        }
        self.looked = true;
        let enough = |(_, bytes): &(PathBuf, u64)| *bytes >= text_bytes + BLOCK_BYTES / 2;
        if of_target && self.made.as_ref().is_some_and(enough) && name.exists() {
            return;
        }
        // Without descriptors, for example, what there is stays.
        let Ok(file) = opened(&name, true) else { return };
        // What an earlier process left may be all there is.
        let _ = set_aside(&file, wanted_bytes(text_bytes));
        let bytes = bytes_of(&file);
        self.made = (bytes > 0).then(|| (target.to_path_buf(), bytes));
        if self.made.is_none() {
            let _ = fs::remove_file(name);
        }
    }

    /// Puts the text in the place of the file without taking space. Errors: there is no reserve, it
    /// is too small, or what the system said; the file is the old one then.
    pub fn replace(
        &mut self,
        target: &Path,
        old: Option<&Metadata>,
        text: &[u8],
    ) -> io::Result<()> {
        let no_space = || io::Error::from_raw_os_error(libc::ENOSPC);
        let made = self.made.as_mut().filter(|(of, _)| of == target);
        let bytes = &mut made.ok_or_else(no_space)?.1;
        let name = name_of(target);
        let file = opened(&name, false).map_err(|_| no_space())?;
        let length = text.len() as u64;
        if file.metadata()?.len() > length {
            // That frees what was set aside behind the end as well.
            file.set_len(length)?;
            let _ = set_aside(&file, *bytes);
        }
        fill(&file, old, text)?;
        match system::exchange(&name, target) {
            Ok(()) => {
                // What was made for the text before may be small.
                let file = opened(&name, false);
                *bytes = file.map_or(0, |file| {
                    let _ = set_aside(&file, wanted_bytes(length));
                    bytes_of(&file)
                });
            }
            Err(e) if e.kind() == ErrorKind::NotFound || is_unknown(&e) => {
                fs::rename(&name, target)?;
                self.made = None;
                self.provide(target, length);
            }
            Err(e) => return Err(e),
        }
        sync_directory(target)
    }
}

fn is_unknown(error: &io::Error) -> bool {
    let codes = [libc::EINVAL, libc::ENOSYS, libc::EOPNOTSUPP];
    error.raw_os_error().is_some_and(|code| codes.contains(&code))
}

/// It may hold passwords, so it is for its owner alone until it takes the place of the file.
fn opened(name: &Path, create: bool) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.write(true).create(create).mode(0o600).custom_flags(libc::O_NOFOLLOW);
    let file = options.open(name)?;
    if file.metadata()?.is_file() {
        Ok(file)
    } else {
        Err(io::Error::from_raw_os_error(libc::EINVAL))
    }
}

/// For how many bytes it has blocks.
fn bytes_of(file: &File) -> u64 {
    file.metadata().map_or(0, |meta| meta.blocks() * STAT_BLOCK_BYTES)
}

/// Without making it longer.
fn set_aside(file: &File, bytes: u64) -> nix::Result<()> {
    fallocate(file, FallocateFlags::FALLOC_FL_KEEP_SIZE, 0, bytes as libc::off_t)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::shell::testing::TempDir;

    const FULL: Space = Space { bytes: 1 << 20, inodes: 1 << 20 };
    const MUCH: Space = Space { bytes: 1 << 40, inodes: 1 << 20 };
    const BOTH: [&str; 2] = ["s.conf", "s.conf.sentineld-reserve"];

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
        reserve.provide_with(&target, 4, FULL);
        assert_eq!(names(dir.path()), BOTH);
        let blocks = || fs::metadata(dir.path().join(BOTH[1])).unwrap().blocks();
        for text in ["longer than it was\n", "short\n", &"x".repeat(9000), "the last\n"] {
            reserve.replace(&target, None, text.as_bytes()).unwrap();
            assert_eq!(fs::read_to_string(&target).unwrap(), text);
            assert_eq!(names(dir.path()), BOTH);
            assert!(blocks() * STAT_BLOCK_BYTES >= wanted_bytes(text.len() as u64));
        }
        // Without the file itself it is a rename.
        fs::remove_file(&target).unwrap();
        reserve.replace(&target, None, b"new\n").unwrap();
        assert_eq!(fs::read_to_string(&target).unwrap(), "new\n");
    }

    #[test]
    fn it_is_there_while_little_space_is_left() {
        let dir = TempDir::new("reserve");
        let target = dir.path().join("s.conf");
        fs::write(&target, "old\n").unwrap();
        let few_inodes = Space { inodes: 9, ..MUCH };
        let mut reserve = Reserve::default();
        for (space, there) in [(MUCH, 1), (FULL, 2), (FULL, 2), (MUCH, 1), (few_inodes, 2)] {
            reserve.provide_with(&target, 4, space);
            assert_eq!(names(dir.path()), BOTH[..there], "{space:?}");
        }
        // The next process takes away what it does not need.
        Reserve::default().provide_with(&target, 4, MUCH);
        assert_eq!(names(dir.path()), BOTH[..1]);
    }

    #[test]
    fn it_is_for_one_file_and_refuses_others() {
        let dir = TempDir::new("reserve");
        let mut reserve = Reserve::default();
        reserve.provide_with(&dir.path().join("a"), 9, FULL);
        let refused = reserve.replace(&dir.path().join("b"), None, b"text\n");
        assert!(system::is_no_space(&refused.unwrap_err()));
        assert_eq!(names(dir.path()), ["a.sentineld-reserve"]);
    }
}
