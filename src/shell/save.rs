//! Replacing the configuration file so that a crash at any point leaves the old or the new text
//! whole (spec/config.md, Rewriting, Atomic; design: a file mounted by itself is written in place).
#![forbid(unsafe_code)]

use std::ffi::OsString;
use std::fs::{self, File, Metadata, OpenOptions};
use std::io::{self, ErrorKind, Write};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use nix::errno::Errno;

use super::logging;
use super::reserve::Reserve;
use super::system::{is_no_space, random_bytes, reason};
use crate::sentinel::action::LogLevel;

/// Ends the name of the copy that exists only while the file is written in place.
const COPY_SUFFIX: &str = ".last-good";
/// A name that exists already is a stroke of bad luck once in 2^31 tries, more is an error.
const TEMP_NAME_TRIES: u32 = 16;
/// As deep as the kernel follows.
const SYMLINKS_MAX: u32 = 40;
/// A config file is small; anything above is not one, and would be held in memory.
const FILE_BYTES_MAX: u64 = 256 << 20;

/// The name of the temporary file that exists now, for whoever must end the process meanwhile.
pub type TempName = Arc<Mutex<Option<PathBuf>>>;

/// Saves one file again and again.
#[derive(Debug)]
pub struct Saver {
    path: PathBuf,
    temp: TempName,
    /// Mode and owner of the file when it was last there: what a new one gets if it is lost. It
    /// may hold passwords, so a file that never was is for its owner alone.
    known: Option<Metadata>,
    /// The last good text, while the file may be torn: a write in place failed half-way.
    last_good: Option<Vec<u8>>,
    /// A rename was refused: a file that is mounted by itself stays so, and each further try
    /// would cost a sync for nothing.
    rename_refused: bool,
    /// For when the disk is full; only files that are saved all the time have one.
    reserve: Option<Reserve>,
    /// The last save found no space.
    is_full: bool,
}

/// Why a file could not be replaced by rename.
enum Refused {
    /// The directory takes no temporary file, or no rename; writing in place may work.
    ByDirectory,
    /// There is no space for a second file.
    NoSpace(io::Error),
    Failed(io::Error),
}

impl Saver {
    pub fn new(path: PathBuf) -> Saver {
        let known = fs::metadata(&path).ok().filter(Metadata::is_file);
        Saver {
            path,
            temp: Arc::default(),
            known,
            last_good: None,
            rename_refused: false,
            reserve: None,
            is_full: false,
        }
    }

    /// While little space is left, sets some aside, so that saves go on when there is none. To be
    /// called from time to time; each save does the same.
    pub fn look_at_space(&mut self) {
        let Ok(target) = follow_links(&self.path) else { return };
        let reserve = self.reserve.get_or_insert_default();
        if !self.rename_refused && !is_mount_point(&target) {
            let length = fs::metadata(&target).map_or(0, |meta| meta.len());
            reserve.provide(&target, length);
        }
    }

    /// A saver of another file, whose temporary file is kept account of in the same place.
    pub fn for_other(&self, path: PathBuf) -> Saver {
        Saver { temp: Arc::clone(&self.temp), ..Saver::new(path) }
    }

    /// Where the name of the temporary file is to be found.
    pub fn temp_name(&self) -> TempName {
        Arc::clone(&self.temp)
    }

    /// Reads the file afresh, hands its text to `rewrite`, and puts the new text in its place,
    /// synced. A file that is gone is created. Errors: the system's text.
    pub fn save(&mut self, rewrite: impl FnOnce(&[u8]) -> Vec<u8>) -> Result<(), String> {
        self.try_save(rewrite).map_err(|e| reason(&e))
    }

    fn try_save(&mut self, rewrite: impl FnOnce(&[u8]) -> Vec<u8>) -> io::Result<()> {
        let target = follow_links(&self.path)?;
        let present = read_present(&target)?;
        if let Some((_, meta)) = &present {
            self.known = Some(meta.clone());
        }
        let old = match (&self.last_good, present) {
            (Some(good), _) => good.clone(),
            (None, Some((text, _))) => text,
            (None, None) => Vec::new(),
        };
        let new = rewrite(&old);
        let replaced = self.replace(&target, &new);
        let is_full = matches!(replaced, Err(Refused::NoSpace(_)));
        match self.without_space(&target, &new, replaced) {
            Ok(()) => self.last_good = None,
            Err(Refused::Failed(e) | Refused::NoSpace(e)) => return Err(e),
            Err(Refused::ByDirectory) => write_in_place(&target, old, &new, &mut self.last_good)?,
        }
        self.tell_of_space(is_full);
        Ok(())
    }

    /// What was refused for want of space goes into the reserve; what was not sees to the reserve.
    fn without_space(
        &mut self,
        target: &Path,
        text: &[u8],
        replaced: Result<(), Refused>,
    ) -> Result<(), Refused> {
        let Some(reserve) = &mut self.reserve else { return replaced };
        match replaced {
            Ok(()) => reserve.provide(target, text.len() as u64),
            Err(Refused::NoSpace(_)) => {
                reserve.replace(target, self.known.as_ref(), text).map_err(refusal)?;
            }
            Err(other) => return Err(other),
        }
        Ok(())
    }

    /// Says once that the disk is full, as saves go on.
    fn tell_of_space(&mut self, is_full: bool) {
        if is_full && !self.is_full {
            let path = self.path.display();
            let text = format!(
                "The disk is full: the config file {path} is saved to the space set aside for that"
            );
            logging::write(LogLevel::Warning, text.as_bytes());
        }
        self.is_full = is_full;
    }

    /// Temporary file, mode and owner of the old one, write, sync, rename, sync the directory.
    fn replace(&mut self, target: &Path, text: &[u8]) -> Result<(), Refused> {
        if self.rename_refused {
            return Err(Refused::ByDirectory);
        }
        let (file, temp) = create_temp(target).map_err(refusal)?;
        self.set_temp(Some(temp.clone()));
        let result = fill(&file, self.known.as_ref(), text)
            .map_err(|e| if is_no_space(&e) { Refused::NoSpace(e) } else { Refused::Failed(e) })
            .and_then(|()| fs::rename(&temp, target).map_err(refusal));
        self.rename_refused = matches!(result, Err(Refused::ByDirectory));
        if result.is_err() {
            // The error that is told is the first one; a leftover file is the lesser evil.
            let _ = fs::remove_file(&temp);
        }
        self.set_temp(None);
        result?;
        sync_directory(target).map_err(Refused::Failed)
    }

    fn set_temp(&self, temp: Option<PathBuf>) {
        *self.temp.lock().unwrap_or_else(PoisonError::into_inner) = temp;
    }
}

fn refusal(error: io::Error) -> Refused {
    match error {
        error if is_by_directory(&error) => Refused::ByDirectory,
        error if is_no_space(&error) => Refused::NoSpace(error),
        error => Refused::Failed(error),
    }
}

fn is_by_directory(error: &io::Error) -> bool {
    let codes = [libc::EACCES, libc::EPERM, libc::EROFS, libc::EBUSY, libc::EXDEV];
    error.raw_os_error().is_some_and(|code| codes.contains(&code))
}

/// The file that `path` means in the end, whether it exists or not.
fn follow_links(path: &Path) -> io::Result<PathBuf> {
    let mut path = path.to_path_buf();
    for _ in 0..SYMLINKS_MAX {
        match fs::symlink_metadata(&path) {
            Ok(meta) if meta.file_type().is_symlink() => {
                let link = fs::read_link(&path)?;
                path = directory_of(&path).join(link);
            }
            _ => return Ok(path),
        }
    }
    Err(io::Error::from(Errno::ELOOP))
}

pub(super) fn directory_of(path: &Path) -> &Path {
    match path.parent() {
        Some(dir) if !dir.as_os_str().is_empty() => dir,
        _ => Path::new("."),
    }
}

/// The text and the attributes of the file; `None` if there is none.
fn read_present(path: &Path) -> io::Result<Option<(Vec<u8>, Metadata)>> {
    let meta = match fs::metadata(path) {
        Ok(meta) => meta,
        Err(e) if e.kind() == ErrorKind::NotFound => return Ok(None),
        Err(e) => return Err(e),
    };
    if meta.is_dir() {
        return Err(Errno::EISDIR.into());
    }
    if !meta.is_file() {
        return Err(Errno::EINVAL.into());
    }
    if meta.len() > FILE_BYTES_MAX {
        return Err(Errno::EFBIG.into());
    }
    Ok(Some((fs::read(path)?, meta)))
}

/// `path` with `suffix` at its end.
pub(super) fn with_suffix(path: &Path, suffix: &[u8]) -> PathBuf {
    let mut name: OsString = path.as_os_str().to_os_string();
    name.push(std::ffi::OsStr::from_bytes(suffix));
    PathBuf::from(name)
}

/// A new empty file `<target>.XXXXXX`, for the owner only until it gets its mode.
fn create_temp(target: &Path) -> io::Result<(File, PathBuf)> {
    const LETTERS: &[u8; 32] = b"abcdefghijkmnpqrstuvwxyz23456789";
    let mut tries = 0;
    loop {
        let mut random = [0; 6];
        random_bytes(&mut random)?;
        let mut suffix = *b".XXXXXX";
        for (letter, byte) in suffix[1..].iter_mut().zip(random) {
            *letter = LETTERS[usize::from(byte % 32)];
        }
        let path = with_suffix(target, &suffix);
        match OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path) {
            Ok(file) => return Ok((file, path)),
            Err(e) if e.kind() == ErrorKind::AlreadyExists && tries < TEMP_NAME_TRIES => tries += 1,
            Err(e) => return Err(e),
        }
    }
}

/// Writes and syncs the temporary file, with the attributes of the old one.
pub(super) fn fill(mut file: &File, old: Option<&Metadata>, text: &[u8]) -> io::Result<()> {
    file.write_all(text)?;
    if let Some(old) = old {
        // An owner that we may not give away is no reason to lose the state: the file is then
        // ours, as the field's programs leave it. The mode comes last, as chown clears bits of it.
        let _ = std::os::unix::fs::fchown(file, Some(old.uid()), Some(old.gid()));
        file.set_permissions(fs::Permissions::from_mode(old.mode() & 0o7777))?;
    }
    file.sync_all()
}

pub(super) fn sync_directory(file: &Path) -> io::Result<()> {
    match File::open(directory_of(file)).and_then(|dir| dir.sync_all()) {
        // Some file systems have nothing to sync in a directory and say so.
        Err(e) if e.raw_os_error() == Some(libc::EINVAL) => Ok(()),
        result => result,
    }
}

/// Writes over the file itself. The old text is first put beside it (the copy is there exactly
/// while the file may be torn, so that a start after a crash finds it) or, if the directory takes
/// no file, is held in memory only; a write that fails is undone.
fn write_in_place(
    target: &Path,
    old: Vec<u8>,
    new: &[u8],
    last_good: &mut Option<Vec<u8>>,
) -> io::Result<()> {
    let copy = with_suffix(target, COPY_SUFFIX.as_bytes());
    let meta = fs::metadata(target)?;
    let has_copy = write_copy(&copy, &meta, &old).is_ok();
    let old = last_good.insert(old);
    let written = overwrite(target, new);
    if written.is_err() {
        overwrite(target, old)?;
    }
    *last_good = None;
    remove_copy(&copy, has_copy)?;
    written
}

/// The copy gets its name when all of it is on disk: an unfinished one would be taken for the last
/// good text by the start after a crash.
fn write_copy(copy: &Path, meta: &Metadata, text: &[u8]) -> io::Result<()> {
    let (file, temp) = create_temp(copy)?;
    let written = fill(&file, Some(meta), text).and_then(|()| fs::rename(&temp, copy));
    if written.is_err() {
        let _ = fs::remove_file(&temp);
    }
    written.and_then(|()| sync_directory(copy))
}

/// Without this being on disk a crash could bring the older text back over a vote.
fn remove_copy(copy: &Path, exists: bool) -> io::Result<()> {
    if !exists {
        return Ok(());
    }
    fs::remove_file(copy)?;
    sync_directory(copy)
}

/// A shorter text is filled up with line ends until the file is cut, so that an end of the process
/// between both does not leave half a line of the longer one behind it.
fn overwrite(target: &Path, text: &[u8]) -> io::Result<()> {
    let mut file = OpenOptions::new().write(true).open(target)?;
    let length = usize::try_from(file.metadata()?.len().min(FILE_BYTES_MAX)).unwrap_or(0);
    let mut padded = text.to_vec();
    padded.resize(length.max(text.len()), b'\n');
    file.write_all(&padded)?;
    file.set_len(text.len() as u64)?;
    file.sync_all()
}

/// At start: if a write in place was cut off by a crash, puts the last good text back. Gives
/// whether it did. Errors: the system's text.
pub fn recover(path: &Path) -> Result<bool, String> {
    let recover = || -> io::Result<bool> {
        let target = follow_links(path)?;
        let copy = with_suffix(&target, COPY_SUFFIX.as_bytes());
        let Some((text, _)) = read_present(&copy)? else { return Ok(false) };
        overwrite(&target, &text)?;
        remove_copy(&copy, true)?;
        Ok(true)
    };
    recover().map_err(|e| reason(&e))
}

/// Why the file cannot be replaced by rename, if so: the directory takes no file, or the file is
/// mounted by itself.
pub fn in_place_reason(path: &Path) -> Option<String> {
    let target = follow_links(path).ok()?;
    if is_mount_point(&target) {
        return Some(Errno::EBUSY.desc().to_string());
    }
    match create_temp(&target) {
        Ok((_, temp)) => {
            let _ = fs::remove_file(temp);
            None
        }
        // A full disk takes renames.
        Err(e) => (!is_no_space(&e)).then(|| reason(&e)),
    }
}

fn is_mount_point(path: &Path) -> bool {
    let Ok(path) = fs::canonicalize(path) else { return false };
    let mounts = fs::read("/proc/self/mountinfo").unwrap_or_default();
    let wanted = escaped(path.as_os_str().as_bytes());
    mounts.split(|b| *b == b'\n').any(|l| l.split(|b| *b == b' ').nth(4) == Some(&wanted))
}

/// A path as mountinfo writes it: blanks and backslashes in octal.
fn escaped(path: &[u8]) -> Vec<u8> {
    let mut text = Vec::with_capacity(path.len());
    for byte in path {
        match byte {
            b' ' | b'\t' | b'\n' | b'\\' => {
                text.extend_from_slice(format!("\\{byte:03o}").as_bytes())
            }
            _ => text.push(*byte),
        }
    }
    text
}
