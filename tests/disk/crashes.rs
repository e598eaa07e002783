//! kill -9 before and after every system call of one save.

use crate::mounts::Mounts;
use crate::support::client::Client;
use crate::support::group::MASTER;
use crate::support::wait::SHORT;
use crate::support::world::World;
use crate::tracer::{Stop, Tracer, kill_now};
use crate::voter::{Told, Voter, id, told};
use crate::world;
use nix::libc;
use std::fs;
use std::path::{Path, PathBuf};
use std::rc::Rc;

/// More calls than a save takes.
const CALLS_MAX: usize = 120;

/// How the thread that saves is caught.
#[derive(Clone, Copy, PartialEq)]
enum Catch {
    /// When it waits for its second job or a later one.
    Waiting,
    /// When its first job makes it begin.
    First,
}

/// A group of tries, each of which is killed one system call later than the one before.
struct Tries {
    voter: Voter,
    catch: Catch,
    new_text: String,
    /// The calls of an undisturbed save.
    calls: Vec<i64>,
}

impl Tries {
    /// Finds out what an undisturbed save does.
    fn new(mut voter: Voter, catch: Catch) -> Result<Tries, String> {
        if catch == Catch::First {
            voter.sentinel.restart();
        }
        let mut client = voter.sentinel.connect().expect("the sentinel accepts");
        let mut tracer = catch_thread(&voter, catch, &mut client)?;
        let calls = tracer.run_job();
        drop(tracer);
        let first = told(&client.read().expect("an answer"));
        assert_eq!(voter.told_or_voted(first, 1, &id('a')), (id('a'), 1));
        let new_text = voter.sentinel.config_text();
        assert_ne!(new_text, voter.old_text);
        Ok(Tries { voter, catch, new_text, calls })
    }

    /// The old file, and the sentinel on it.
    fn begin(&mut self) {
        self.voter.sentinel.kill();
        remove_leftovers(&self.voter.sentinel.config);
        fs::write(&self.voter.sentinel.config, &self.voter.old_text).expect("it is written");
        self.voter.sentinel.launch().expect("the sentinel starts");
        if self.catch == Catch::Waiting {
            self.voter.sentinel.ok(&["SENTINEL", "FLUSHCONFIG"]);
            assert_eq!(self.voter.sentinel.config_text(), self.voter.old_text);
        }
    }

    /// Kills it before the system call of this index; what it is killed before, and what was told
    /// by then.
    fn kill_at(&mut self, index: usize) -> (Stop, Option<Told>) {
        self.begin();
        let mut client = self.voter.sentinel.connect().expect("the sentinel accepts");
        let mut tracer = catch_thread(&self.voter, self.catch, &mut client).expect("as before");
        let mut stop = tracer.next();
        while stop == Stop::Idle {
            stop = tracer.next();
        }
        for _ in 0..index {
            stop = tracer.next();
        }
        if stop == Stop::Idle {
            // The save is over: let the loop hear of it.
            let _ = client.set_timeout(SHORT);
            let first = told(&client.read().expect("an answer"));
            let answer = self.voter.told_or_voted(first, 1, &id('a'));
            kill_now(self.voter.sentinel.process(), tracer);
            return (stop, Some(answer));
        }
        kill_now(self.voter.sentinel.process(), tracer);
        (stop, client.read().ok().map(|reply| told(&reply)))
    }

    /// After the kill: the file is whole, the sentinel starts from it, and what was told holds.
    /// Gives whether the new text is there.
    #[track_caller]
    fn check(&mut self, label: &str, answer: Option<Told>) -> bool {
        let copy = with_suffix(&self.voter.sentinel.config, ".last-good");
        if !copy.exists() {
            let text = self.voter.sentinel.config_text();
            self.assert_whole(&text, label);
        }
        self.voter.sentinel.launch().unwrap_or_else(|why| panic!("no start {label}: {why}"));
        assert!(!copy.exists(), "a copy is still there {label}");
        let text = self.voter.sentinel.config_text();
        self.assert_whole(&text, label);
        let is_new = text.trim_end() == self.new_text.trim_end();
        if let Some(answer) = answer {
            assert!(is_new || answer.0 == "*", "{answer:?} was told and is lost {label}");
        }
        // A vote that is in the file is spent; one that is not was never told.
        match is_new {
            true => assert_eq!(self.voter.ask(1, &id('b')), ("*".to_string(), 1), "{label}"),
            false => assert_eq!(self.voter.ask_until_voted(1, &id('b')), (id('b'), 1), "{label}"),
        }
        let told = self.voter.ask_until_voted(2, &id('b'));
        assert_eq!(told, (id('b'), 2), "it votes and saves {label}");
        is_new
    }

    #[track_caller]
    fn assert_whole(&self, text: &str, label: &str) {
        let whole = [&self.voter.old_text, &self.new_text];
        // Blank lines at the end are the rest of a longer text that was written over.
        let is_whole = whole.iter().any(|whole| whole.trim_end() == text.trim_end());
        assert!(is_whole, "neither the old nor the new text {label}:\n{text}");
    }

    /// Goes through all of them.
    #[track_caller]
    fn run(mut self) {
        let mut seen = Vec::new();
        loop {
            let (stop, answer) = self.kill_at(seen.len());
            let label = format!("killed before {stop:?}, number {}", seen.len());
            let was_told = answer.clone();
            let is_new = self.check(&label, answer);
            seen.push((stop, is_new));
            if stop == Stop::Idle {
                assert_eq!(was_told, Some((id('a'), 1)), "an undisturbed save");
                break;
            }
            assert!(seen.len() < CALLS_MAX, "no end: {seen:?}");
        }
        println!("{} places: {seen:?}", seen.len());
        // Every call was met, and the text became the new one in the middle.
        assert!(seen.len() > self.calls.len() / 2, "{seen:?}, undisturbed {:?}", self.calls);
        assert!(!seen[0].1 && seen[seen.len() - 1].1, "{seen:?}");
        // The text is synced before it becomes the new one, and that is synced before it is told.
        let place = |call| seen.iter().position(|(stop, _)| *stop == Stop::Call(call));
        let last_sync = seen.iter().rposition(|(stop, _)| *stop == Stop::Call(libc::SYS_fsync));
        assert!(place(libc::SYS_write) < place(libc::SYS_fsync), "{seen:?}");
        assert!(last_sync.is_some_and(|at| seen[at].1), "{seen:?}");
    }
}

/// Has a vote asked for, and takes hold of the thread that saves it.
fn catch_thread(voter: &Voter, catch: Catch, client: &mut Client) -> Result<Tracer, String> {
    let process = voter.sentinel.process();
    match catch {
        Catch::Waiting => {
            let tracer = Tracer::of_disk_thread(process)?;
            voter.send_ask(client, 1, &id('a'));
            Ok(tracer)
        }
        Catch::First => Tracer::of_coming_thread(process, || voter.send_ask(client, 1, &id('a'))),
    }
}

fn with_suffix(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_os_string();
    name.push(suffix);
    PathBuf::from(name)
}

/// Removes temporary files and copies beside the config file.
fn remove_leftovers(config: &Path) {
    let name = format!("{}.", config.file_name().expect("a file").to_string_lossy());
    for entry in fs::read_dir(config.parent().expect("a directory")).expect("readable").flatten() {
        if entry.file_name().to_string_lossy().starts_with(&name) {
            // In a directory that is read-only nothing can be left.
            let _ = fs::remove_file(entry.path());
        }
    }
}

fn run(world: &Rc<World>, voter: Voter, catch: Catch) {
    match Tries::new(voter, catch) {
        Ok(tries) => tries.run(),
        Err(reason) => world.not_run(&reason),
    }
}

#[test]
fn while_the_file_is_replaced() {
    let world = world!(only_ours: "it has no disk thread");
    let voter = Voter::start(&world, None);
    run(&world, voter, Catch::Waiting);
}

/// The disk is full: the text goes into the space set aside.
#[test]
fn while_there_is_no_space() {
    let world = world!(only_ours: "it has no disk thread");
    let Some(mut mounts) = Mounts::new(&world) else { return };
    let dir = world.new_dir("small");
    mounts.memory(&dir, "size=64k");
    let voter = Voter::start(&world, Some(dir.clone()));
    crate::full::fill(&dir);
    run(&world, voter, Catch::Waiting);
}

/// The file is mounted by itself: rename is refused, a copy of the old text lies beside it.
#[test]
fn while_the_file_is_written_in_place() {
    let world = world!(only_ours: "it cannot write in place");
    let Some(mut mounts) = Mounts::new(&world) else { return };
    let dir = mounts.config_on_itself(&world);
    let voter = Voter::start(&world, Some(dir));
    run(&world, voter, Catch::Waiting);
}

/// As above, from the beginning of the thread on: the first save tries a rename.
#[test]
fn while_a_rename_is_refused() {
    let world = world!(only_ours: "it cannot write in place");
    let Some(mut mounts) = Mounts::new(&world) else { return };
    let dir = mounts.config_on_itself(&world);
    let voter = Voter::start(&world, Some(dir));
    run(&world, voter, Catch::First);
}

/// The directory is read-only: the file is written over, and there is no place for a copy.
#[test]
fn while_the_directory_takes_no_file() {
    let world = world!(only_ours: "it cannot write in place");
    let Some(mut mounts) = Mounts::new(&world) else { return };
    let dir = mounts.read_only_around_config(&world);
    let voter = Voter::start(&world, Some(dir));
    run(&world, voter, Catch::Waiting);
}

/// As above, with a new text that is shorter: the rest of the old one must not stay behind it.
#[test]
fn while_a_shorter_text_is_written_over() {
    let world = world!(only_ours: "it cannot write in place");
    let Some(mut mounts) = Mounts::new(&world) else { return };
    let dir = mounts.read_only_around_config(&world);
    let mut voter = Voter::start(&world, Some(dir));
    let short = voter.old_text.clone();
    voter.sentinel.ok(&["SENTINEL", "SET", MASTER, "auth-pass", &"x".repeat(200)]);
    let mut tracer = match Tracer::of_disk_thread(voter.sentinel.process()) {
        Ok(tracer) => tracer,
        Err(reason) => return world.not_run(&reason),
    };
    let mut client = voter.sentinel.connect().expect("the sentinel accepts");
    client.send(&[b"SENTINEL", b"SET", MASTER.as_bytes(), b"auth-pass", b""]).unwrap();
    tracer.run_to(libc::SYS_ftruncate);
    kill_now(voter.sentinel.process(), tracer);
    let text = voter.sentinel.config_text();
    assert!(text.len() > short.len() + 200, "it was not yet cut:\n{text}");
    assert_eq!(text.trim_end(), short.trim_end());
    voter.sentinel.launch().expect("it starts from such a file");
    assert_eq!(voter.ask_until_voted(1, &id('a')), (id('a'), 1));
}
