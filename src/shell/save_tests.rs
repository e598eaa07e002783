//! Tests of [`super::save`]: the old or the new text, whole, whatever happens.
#![forbid(unsafe_code)]

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};

use super::save::{Saver, in_place_reason, recover};
use super::testing::TempDir;

fn names(dir: &Path) -> Vec<String> {
    let mut names: Vec<String> = fs::read_dir(dir)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

fn file_with(dir: &TempDir, text: &str) -> PathBuf {
    let path = dir.path().join("s.conf");
    fs::write(&path, text).unwrap();
    path
}

#[test]
fn replaces_by_rename_and_keeps_mode_and_owner() {
    let dir = TempDir::new("save");
    let path = file_with(&dir, "old\n");
    fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).unwrap();
    let _ = std::os::unix::fs::chown(&path, Some(12345), Some(23456));
    let before = fs::metadata(&path).unwrap();
    Saver::new(path.clone()).save(|old| [old, b"new\n"].concat()).unwrap();
    let after = fs::metadata(&path).unwrap();
    assert_eq!(fs::read(&path).unwrap(), b"old\nnew\n");
    assert_eq!(after.mode() & 0o7777, 0o640);
    assert_eq!((after.uid(), after.gid()), (before.uid(), before.gid()));
    assert_ne!(after.ino(), before.ino(), "it was replaced, not written over");
    assert_eq!(names(dir.path()), ["s.conf"]);
}

#[test]
fn reads_afresh_and_creates_again() {
    let dir = TempDir::new("save");
    let path = file_with(&dir, "one\n");
    let mut saver = Saver::new(path.clone());
    saver.save(|_| b"two\n".to_vec()).unwrap();
    fs::write(&path, "edited\n").unwrap();
    saver.save(|old| [old, b"three\n"].concat()).unwrap();
    assert_eq!(fs::read(&path).unwrap(), b"edited\nthree\n");
    fs::remove_file(&path).unwrap();
    saver.save(|old| [old, b"four\n"].concat()).unwrap();
    assert_eq!(fs::read(&path).unwrap(), b"four\n");
}

/// It holds passwords: nobody may read a new one who could not read the one before.
#[test]
fn a_file_that_was_lost_gets_the_mode_and_owner_it_had() {
    let attributes = |path: &Path| {
        let meta = fs::metadata(path).unwrap();
        (meta.mode() & 0o7777, meta.uid(), meta.gid())
    };
    let dir = TempDir::new("save");
    let path = file_with(&dir, "old\n");
    fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).unwrap();
    let _ = std::os::unix::fs::chown(&path, Some(12345), Some(23456));
    let before = attributes(&path);
    // Known from the start, and then from each save.
    let mut saver = Saver::new(path.clone());
    fs::remove_file(&path).unwrap();
    saver.save(|_| b"one\n".to_vec()).unwrap();
    assert_eq!(attributes(&path), before);
    fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
    saver.save(|_| b"two\n".to_vec()).unwrap();
    fs::remove_file(&path).unwrap();
    saver.save(|_| b"three\n".to_vec()).unwrap();
    assert_eq!(attributes(&path).0, 0o600);
    // One that never was is for its owner alone, whatever the umask.
    let path = dir.path().join("new.conf");
    Saver::new(path.clone()).save(|_| b"new\n".to_vec()).unwrap();
    assert_eq!(attributes(&path).0, 0o600);
}

#[test]
fn follows_symbolic_links_even_dangling_ones() {
    let dir = TempDir::new("save");
    let real_dir = dir.path().join("real");
    fs::create_dir(&real_dir).unwrap();
    fs::write(real_dir.join("r.conf"), "old\n").unwrap();
    let link = dir.path().join("s.conf");
    symlink("real/r.conf", &link).unwrap();
    let mut saver = Saver::new(link.clone());
    saver.save(|_| b"new\n".to_vec()).unwrap();
    assert!(fs::symlink_metadata(&link).unwrap().is_symlink());
    assert_eq!(fs::read(real_dir.join("r.conf")).unwrap(), b"new\n");
    fs::remove_file(real_dir.join("r.conf")).unwrap();
    saver.save(|_| b"again\n".to_vec()).unwrap();
    assert_eq!(fs::read(real_dir.join("r.conf")).unwrap(), b"again\n");
    assert_eq!(names(&real_dir), ["r.conf"]);
    symlink("loop", dir.path().join("loop")).unwrap();
    let looped = Saver::new(dir.path().join("loop")).save(|_| Vec::new());
    assert_eq!(looped, Err("Too many symbolic links encountered".to_string()));
}

#[test]
fn failures_leave_the_old_text_and_no_temporary_file() {
    let dir = TempDir::new("save");
    let path = file_with(&dir, "old\n");
    let gone = dir.path().join("no-dir/s.conf");
    let result = Saver::new(gone).save(|_| b"new\n".to_vec());
    assert_eq!(result, Err("No such file or directory".to_string()));
    let result = Saver::new(dir.path().to_path_buf()).save(|_| b"new\n".to_vec());
    assert_eq!(result, Err("Is a directory".to_string()));
    // A full disk, as a file system of one page shows it; needs the right to mount.
    assert_eq!(fs::read(&path).unwrap(), b"old\n");
    assert_eq!(names(dir.path()), ["s.conf"]);
}

#[test]
fn a_copy_beside_is_restored_once() {
    let dir = TempDir::new("save");
    let path = file_with(&dir, "torn by a cra");
    assert_eq!(recover(&path), Ok(false));
    fs::write(dir.path().join("s.conf.last-good"), "whole\n").unwrap();
    assert_eq!(recover(&path), Ok(true));
    assert_eq!(fs::read(&path).unwrap(), b"whole\n");
    assert_eq!(names(dir.path()), ["s.conf"]);
    assert_eq!(recover(&path), Ok(false));
}

#[test]
fn an_ordinary_directory_allows_renames() {
    let dir = TempDir::new("save");
    let path = file_with(&dir, "old\n");
    assert_eq!(in_place_reason(&path), None);
    assert_eq!(names(dir.path()), ["s.conf"]);
    assert!(in_place_reason(Path::new("/proc/self/status")).is_some());
}

/// Runs `test` on a thread for which the rights of files hold, also if the tests run as root.
fn without_root(file: &Path, test: impl FnOnce() + Send) {
    use nix::unistd::{Uid, setfsuid};
    const NOBODY: u32 = 65_534;
    std::thread::scope(|scope| {
        let run = scope.spawn(|| {
            if Uid::effective().is_root() {
                std::os::unix::fs::chown(file, Some(NOBODY), Some(NOBODY)).unwrap();
                // Of this thread alone.
                setfsuid(Uid::from_raw(NOBODY));
            }
            test();
        });
        run.join().unwrap();
    });
}

#[test]
fn a_directory_that_takes_no_file_means_writing_in_place() {
    let dir = TempDir::new("save");
    let path = file_with(&dir, "a longer old text\n");
    fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o555)).unwrap();
    without_root(&path, || {
        assert_eq!(in_place_reason(&path), Some("Permission denied".to_string()));
        let before = fs::metadata(&path).unwrap().ino();
        let mut saver = Saver::new(path.clone());
        saver.save(|_| b"new\n".to_vec()).unwrap();
        saver.save(|old| [old, b"newer\n"].concat()).unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"new\nnewer\n");
        assert_eq!(fs::metadata(&path).unwrap().ino(), before);
    });
    assert_eq!(names(dir.path()), ["s.conf"]);
    fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o755)).unwrap();
}

#[test]
fn a_refused_rename_means_writing_in_place_and_leaves_no_copy() {
    let dir = TempDir::new("save");
    let path = file_with(&dir, "old\n");
    if !nix::unistd::Uid::effective().is_root() {
        return;
    }
    // In a sticky directory nobody renames over the file of another.
    fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o1777)).unwrap();
    without_root(&path, || {
        let before = fs::metadata(&path).unwrap().ino();
        let mut saver = Saver::new(path.clone());
        saver.save(|_| b"new\n".to_vec()).unwrap();
        assert_ne!(fs::metadata(&path).unwrap().ino(), before, "still its own file");
    });
    std::os::unix::fs::chown(&path, Some(0), Some(0)).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o666)).unwrap();
    let other = dir.path().join("other");
    fs::write(&other, "").unwrap();
    without_root(&other, || {
        let before = fs::metadata(&path).unwrap().ino();
        let mut saver = Saver::new(path.clone());
        saver.save(|_| b"newer\n".to_vec()).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().ino(), before);
        assert_eq!(fs::read(&path).unwrap(), b"newer\n");
    });
    assert_eq!(names(dir.path()), ["other", "s.conf"]);
}
