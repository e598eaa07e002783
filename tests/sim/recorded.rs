//! Recorded talks with a real `redis-server`, and the model held against them.
//!
//! Each `recorded/*.txt` is a story of a few data nodes: steps at the left margin, and behind each
//! step, indented, what then came on every connection. The tests here play the steps on the model
//! and on live processes; both must say what is written. `RECORD=1 cargo test --test sim recorded`
//! writes anew what redis-server said: read the difference before it is kept. `RECORDED=name`
//! plays one file. The steps are explained in `recorded/script.rs`; what is made equal before
//! texts are compared, in `recorded/plain.rs`.
#![forbid(unsafe_code)]

mod live;
mod plain;
mod played;
mod script;

use std::fs;
use std::panic::AssertUnwindSafe;
use std::path::{Path, PathBuf};
use std::sync::Mutex;

use script::{Group, Script};

/// Where the model differs because it should: file, step, reason. Empty is how it should stay.
const WANTED: &[(&str, &str, &str)] = &[];

fn files() -> Vec<PathBuf> {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/sim/recorded");
    let only = std::env::var("RECORDED").ok();
    let mut files: Vec<PathBuf> = fs::read_dir(dir)
        .expect("the recordings")
        .map(|entry| entry.expect("a directory entry").path())
        .filter(|path| path.extension().is_some_and(|ext| ext == "txt"))
        .filter(|path| only.as_ref().is_none_or(|only| name(path) == *only))
        .collect();
    files.sort();
    assert!(!files.is_empty(), "no recordings found");
    files
}

fn name(path: &Path) -> String {
    path.file_stem().expect("it has a name").to_string_lossy().into_owned()
}

/// What a group does that differs from the file; wanted differences are left out.
fn differences(path: &Path, group: &mut dyn Group, model: bool) -> Vec<String> {
    let text = fs::read_to_string(path).expect("a recording");
    let script = Script::parse(&text);
    let said = script.play(group, true);
    let file = name(path);
    let mut found = Vec::new();
    for (step, said) in script.steps().zip(&said) {
        let wanted = |(of, text, _): &&(&str, &str, &str)| *of == file && *text == step.text;
        if step.said != *said && !(model && WANTED.iter().any(|entry| wanted(&entry))) {
            let (at, lines) = (step.line, differing(&step.said, said));
            found.push(format!("{file}.txt:{at}: {}\n{lines}", step.text));
        }
    }
    found
}

/// What `play` gives; if it panics, that, and of which recording.
fn to_its_end(path: &Path, play: impl FnOnce() -> Vec<String>) -> Vec<String> {
    let played = std::panic::catch_unwind(AssertUnwindSafe(play));
    played.unwrap_or_else(|panic| {
        let text = panic.downcast_ref::<String>().map(String::as_str);
        let text = text.or(panic.downcast_ref::<&str>().copied()).unwrap_or("no text");
        vec![format!("{}.txt: not played to its end: {text}", name(path))]
    })
}

/// `-` was written and `+` came; what is equal at the ends is left out.
fn differing(old: &[String], new: &[String]) -> String {
    let same = |(one, other): &(&String, &String)| one == other;
    let head = old.iter().zip(new).take_while(same).count();
    let (old, new) = (&old[head..], &new[head..]);
    let tail = old.iter().rev().zip(new.iter().rev()).take_while(same).count();
    let (old, new) = (&old[..old.len() - tail], &new[..new.len() - tail]);
    let line = |sign: &'static str| move |line: &String| format!("    {sign} {line}\n");
    old.iter().map(line("-")).chain(new.iter().map(line("+"))).collect()
}

#[test]
fn recorded_texts_hold_for_the_model() {
    let mut found = Vec::new();
    for path in files() {
        let play = || differences(&path, &mut played::Played::new(), true);
        found.extend(to_its_end(&path, play));
    }
    assert!(found.is_empty(), "{} differences\n{}", found.len(), found.join("\n"));
}

#[test]
fn wanted_differences_are_still_there() {
    for (file, step, reason) in WANTED {
        assert!(reason.len() > 20, "{file}: {step}: no reason");
        let path = files().into_iter().find(|path| name(path) == *file);
        let text = fs::read_to_string(path.expect("its file")).expect("a recording");
        let script = Script::parse(&text);
        let said = script.play(&mut played::Played::new(), true);
        let pair = script.steps().zip(said).find(|(known, _)| known.text == *step);
        let (known, said) = pair.expect("its step");
        assert_ne!(known.said, said, "{file}: {step}: no difference any more");
    }
}

/// On real processes: what differs from the file, which is written anew to `record`.
fn play_live(path: &Path, record: bool) -> Vec<String> {
    let Some(mut live) = live::Live::open(&name(path)) else { return Vec::new() };
    if !record {
        return differences(path, &mut live, false);
    }
    let script = Script::parse(&fs::read_to_string(path).expect("a recording"));
    let said = script.play(&mut live, false);
    println!("recorded {}", name(path));
    fs::write(path, script.with(&said)).expect("it is written");
    Vec::new()
}

/// A few at a time: most of it is waiting.
#[test]
fn recorded_texts_hold_for_redis_server() {
    let record = std::env::var_os("RECORD").is_some();
    let todo = Mutex::new(files());
    let found = Mutex::new(Vec::new());
    let next = || todo.lock().expect("no panic holds it").pop();
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                while let Some(path) = next() {
                    let differs = to_its_end(&path, || play_live(&path, record));
                    found.lock().expect("no panic holds it").extend(differs);
                }
            });
        }
    });
    let found = found.into_inner().expect("no panic held it");
    assert!(found.is_empty(), "{} differences\n{}", found.len(), found.join("\n"));
}
