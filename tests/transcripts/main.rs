//! Transcripts: stories of one sentinel in a scripted world, with virtual time.
//!
//! Each `*.txt` file beside this one is a list of blocks. A block is some input lines, a line
//! `----`, and what came of them, up to the next blank line; everything else is comment. Inputs are
//! explained in `world.rs`, hosts in `hosts.rs`. How to read an outcome:
//!
//! ```text
//!    1.002  # +sdown master …         a log line; # warning, * notice, - verbose, . debug
//!    1.002  close m:pubsub            and connect, lost, refused, spawn, lookup, exit
//!    1.002  save 3: config-epoch …    a save, with the lines of the file that it changes
//!    1.002  m:cmd < INFO | PING       commands that left in one write
//!    1.003  k1 > OK                   an answer to a client
//!    routine: m PING 9 INFO 1         commands of every day, counted at the end of a block
//! ```
//!
//! Times are seconds since the first start. 40-digit ids are written `$name`, our own `$me`.
//!
//! `UPDATE_TRANSCRIPTS=1 cargo test --test transcripts` writes the outcomes anew: read the
//! difference and judge it against the protocol before it is kept. `TRANSCRIPT=name` runs one.
#![forbid(unsafe_code)]

#[path = "../support/file_state.rs"]
mod file_state;
mod hosts;
#[path = "../support/no_files.rs"]
mod no_files;
mod text;
mod world;

use std::fs;
use std::path::{Path, PathBuf};

use world::World;

/// A piece of a transcript file.
enum Part {
    /// Comment and blank lines, kept as they are.
    Comment(String),
    Block {
        input: Vec<String>,
        expected: Vec<String>,
    },
}

fn parse(text: &str) -> Vec<Part> {
    let mut parts = Vec::new();
    let mut lines = text.lines().peekable();
    while let Some(line) = lines.next() {
        if line.is_empty() || line.starts_with('#') {
            parts.push(Part::Comment(line.to_string()));
            continue;
        }
        let mut input = vec![line.to_string()];
        while let Some(line) = lines.next_if(|line| !line.is_empty() && *line != "----") {
            input.push(line.to_string());
        }
        let mut expected = Vec::new();
        if lines.next_if(|line| *line == "----").is_some() {
            while let Some(line) = lines.next_if(|line| !line.is_empty()) {
                expected.push(line.to_string());
            }
        }
        parts.push(Part::Block { input, expected });
    }
    parts
}

/// Runs a file; gives its new text and the blocks that came out otherwise.
fn run(text: &str) -> (String, Vec<String>) {
    let mut world = World::new();
    let (mut new, mut differences) = (String::new(), Vec::new());
    for part in parse(text) {
        match part {
            Part::Comment(line) => new.push_str(&format!("{line}\n")),
            Part::Block { input, expected } => {
                let outcome = world.run_block(&input);
                let block = |lines: &[String]| {
                    let (input, lines) = (input.join("\n"), lines.join("\n  "));
                    format!("{input}\n----\n  {lines}\n")
                };
                if outcome != expected {
                    let (was, is) = (block(&expected), block(&outcome));
                    differences.push(format!("expected:\n{was}\nnow:\n{is}"));
                }
                new.push_str(&format!("{}\n----\n{}\n", input.join("\n"), outcome.join("\n")));
            }
        }
    }
    (new, differences)
}

fn files() -> Vec<PathBuf> {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/transcripts");
    let entries = fs::read_dir(dir).expect("the directory of this file");
    let paths = entries.map(|entry| entry.expect("a readable entry").path());
    let mut files: Vec<PathBuf> =
        paths.filter(|path| path.extension().is_some_and(|end| end == "txt")).collect();
    files.sort();
    files
}

#[test]
fn the_stories_go_as_they_are_written() {
    let update = std::env::var_os("UPDATE_TRANSCRIPTS").is_some();
    let only = std::env::var("TRANSCRIPT").ok();
    let mut differences = Vec::new();
    let mut seen = 0;
    for path in files() {
        let name = path.file_stem().expect("a file name").to_string_lossy().into_owned();
        if only.as_ref().is_some_and(|only| !name.contains(only.as_str())) {
            continue;
        }
        seen += 1;
        println!("== {name}");
        let text = fs::read_to_string(&path).expect("a readable transcript");
        let (new, found) = run(&text);
        if update {
            if new != text {
                fs::write(&path, new).expect("a writable transcript");
            }
        } else {
            differences.extend(found.into_iter().map(|what| format!("== {name}\n{what}")));
        }
    }
    assert!(seen > 0, "no transcript found");
    let count = differences.len();
    assert!(differences.is_empty(), "{count} blocks differ\n{}", differences.join("\n"));
}

#[test]
fn files_are_read_as_blocks() {
    let text = "# a\n\nx\n  y\n----\nout 1\nout 2\n\n# b\nz\n----\n";
    let parts = parse(text);
    let shape: Vec<(usize, usize)> = parts
        .iter()
        .map(|part| match part {
            Part::Comment(_) => (0, 0),
            Part::Block { input, expected } => (input.len(), expected.len()),
        })
        .collect();
    assert_eq!(shape, [(0, 0), (0, 0), (2, 2), (0, 0), (0, 0), (1, 0)]);
}
