//! File systems that only the thread of one test, and what it starts, can see.

use crate::support::world::World;
use nix::mount::{MntFlags, MsFlags, mount, umount2};
use nix::sched::{CloneFlags, unshare};
use std::fs;
use std::path::{Path, PathBuf};

const NONE: Option<&str> = None;

/// A name space of mounts. What was mounted through it is gone when it is dropped.
pub struct Mounts {
    points: Vec<PathBuf>,
}

impl Mounts {
    /// Gives this thread a name space of its own; `None`, and a `NOT RUN` line, if that is not
    /// permitted.
    pub fn new(world: &World) -> Option<Mounts> {
        let flags = MsFlags::MS_REC | MsFlags::MS_PRIVATE;
        let done = unshare(CloneFlags::CLONE_NEWNS)
            .and_then(|()| mount(NONE, Path::new("/"), NONE, flags, NONE));
        if done.is_err() {
            world.not_run("the right to mount (root)");
            return None;
        }
        Some(Mounts { points: Vec::new() })
    }

    fn add(&mut self, point: &Path) {
        self.points.push(point.to_path_buf());
    }

    /// A file system in memory at `point`, with these options.
    pub fn memory(&mut self, point: &Path, options: &str) {
        let kind = Some("tmpfs");
        mount(kind, point, kind, MsFlags::empty(), Some(options)).expect("tmpfs is mounted");
        self.add(point);
    }

    /// Mounts a file or a directory on itself.
    pub fn on_itself(&mut self, point: &Path) {
        mount(Some(point), point, NONE, MsFlags::MS_BIND, NONE).expect("it is mounted");
        self.add(point);
    }

    /// A new directory with an empty config file in it that is mounted by itself.
    pub fn config_on_itself(&mut self, world: &World) -> PathBuf {
        let dir = world.new_dir("mounted");
        let config = dir.join("sentinel.conf");
        fs::write(&config, "").expect("it is written");
        self.on_itself(&config);
        dir
    }

    /// A new directory that takes no new file, with a writable empty config file in it.
    pub fn read_only_around_config(&mut self, world: &World) -> PathBuf {
        let dir = world.new_dir("read-only");
        let config = dir.join("sentinel.conf");
        fs::write(&config, "").expect("it is written");
        self.on_itself(&dir);
        self.on_itself(&config);
        self.set_read_only(&dir, true);
        dir
    }

    /// Makes a directory that is mounted on itself read-only, or writable again.
    pub fn set_read_only(&self, point: &Path, read_only: bool) {
        let mut flags = MsFlags::MS_BIND | MsFlags::MS_REMOUNT;
        flags.set(MsFlags::MS_RDONLY, read_only);
        mount(NONE, point, NONE, flags, NONE).expect("it is mounted again");
    }
}

impl Drop for Mounts {
    fn drop(&mut self) {
        for point in self.points.iter().rev() {
            let _ = umount2(point, MntFlags::MNT_DETACH);
        }
    }
}
