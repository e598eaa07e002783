//! The surroundings of one test: its files, its ports, its logs, and whether it can run at all.

use super::{ports, process};
use std::cell::{Cell, RefCell};
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::sync::atomic::{AtomicU32, Ordering};

/// How many lines of each log a failing test shows.
const TAIL_LINES: usize = 60;

/// What one test needs and leaves behind; shared by everything it starts, so that the files go
/// away last.
pub struct World {
    /// Name of the test.
    pub name: String,
    dir: PathBuf,
    logs: RefCell<Vec<PathBuf>>,
    ports: RefCell<Vec<ports::Port>>,
    serial: Cell<u32>,
}

/// Opens the [`World`] of the test it stands in, or returns from the test if a program is missing
/// or, with a reason given, if the test is about what only our program does.
#[macro_export]
macro_rules! world {
    () => {{
        fn here() {}
        match $crate::support::world::World::open(std::any::type_name_of_val(&here)) {
            Some(world) => world,
            None => return,
        }
    }};
    (only_ours: $why:expr) => {{
        let all = std::env::var_os("REAL_TESTS_ALL").is_some();
        if $crate::support::sentinel::Program::UnderTest.is_redis() && !all {
            println!("SKIPPED for redis-sentinel: {}", $why);
            return;
        }
        $crate::world!()
    }};
}

impl World {
    /// Opens a world for the test whose inner function has the type name `here`; `None` (and a
    /// line in the file named by NOT_RUN_FILE) if `redis-server` is missing.
    pub fn open(here: &str) -> Option<Rc<World>> {
        static SERIAL: AtomicU32 = AtomicU32::new(0);
        let name = here.trim_end_matches("::here").trim_start_matches("real::").to_string();
        let number = SERIAL.fetch_add(1, Ordering::Relaxed);
        let dir = process::root().join(format!("{number}"));
        let world = World {
            name,
            dir,
            logs: RefCell::default(),
            ports: RefCell::default(),
            serial: Cell::new(0),
        };
        process::start_reaper();
        fs::create_dir_all(&world.dir).expect("a directory for the test");
        let world = Rc::new(world);
        world.need("redis-server").then_some(world)
    }

    /// True if the program is there; else says that this test was not run.
    pub fn need(&self, program: &str) -> bool {
        let found = find_program(program).is_some();
        if !found {
            self.not_run(program);
        }
        found
    }

    /// Says that this test was not run, and what was missing.
    pub fn not_run(&self, missing: &str) {
        println!("NOT RUN: {missing} is missing");
        let Some(path) = std::env::var_os("NOT_RUN_FILE") else { return };
        let line = format!("real: {}: {missing}\n", self.name);
        let file = fs::OpenOptions::new().create(true).append(true).open(path);
        let _ = file.and_then(|mut file| file.write_all(line.as_bytes()));
    }

    /// A path inside the directory of the test.
    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.join(name)
    }

    /// A new directory inside the directory of the test, named after `what`.
    pub fn new_dir(&self, what: &str) -> PathBuf {
        let number = self.serial.replace(self.serial.get() + 1);
        let dir = self.dir.join(format!("{what}{number}"));
        fs::create_dir_all(&dir).expect("a directory");
        dir
    }

    /// A port that stays reserved until the end of the test.
    pub fn port(&self) -> u16 {
        let port = ports::reserve();
        let number = port.number;
        self.ports.borrow_mut().push(port);
        number
    }

    /// Writes an executable shell script and gives its path.
    pub fn script(&self, name: &str, body: &str) -> PathBuf {
        use std::os::unix::fs::PermissionsExt;
        let path = self.path(name);
        fs::write(&path, format!("#!/bin/sh\n{body}\n")).expect("the script is written");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).expect("its mode is set");
        path
    }

    /// Names a log whose tail is shown if the test fails.
    pub fn watch_log(&self, path: &Path) {
        let mut logs = self.logs.borrow_mut();
        if !logs.iter().any(|known| known == path) {
            logs.push(path.to_path_buf());
        }
    }

    fn show_logs(&self) {
        for path in self.logs.borrow().iter() {
            let Ok(bytes) = fs::read(path) else { continue };
            let text = String::from_utf8_lossy(&bytes).into_owned();
            let lines: Vec<&str> = text.lines().collect();
            if lines.is_empty() {
                continue;
            }
            eprintln!("--- {} ({} lines)", path.display(), lines.len());
            for line in &lines[lines.len().saturating_sub(TAIL_LINES)..] {
                eprintln!("{line}");
            }
        }
    }
}

impl Drop for World {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.show_logs();
        }
        let _ = fs::remove_dir_all(&self.dir);
    }
}

/// Full path of a program: as given if it has a slash, else from PATH.
pub fn find_program(program: &str) -> Option<PathBuf> {
    if program.contains('/') {
        return Some(PathBuf::from(program)).filter(|path| path.is_file());
    }
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path).map(|dir| dir.join(program)).find(|path| path.is_file())
}
