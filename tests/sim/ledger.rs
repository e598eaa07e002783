//! Everything that passes between a sentinel and its surroundings, in one number per world: inputs
//! and their bytes, actions, what is written to sockets, and every text of a file. Two programs
//! with the same number behave the same; internal numbers (of connections, saves, lookups) are
//! left out, since they may change without anybody noticing.
#![forbid(unsafe_code)]

use std::path::Path;

use sentineld::sentinel::action::Action;
use sentineld::util::rng::mix;

use crate::hosts::Input;
use crate::net::Us;
use crate::world::World;

const FNV_BASIS: u64 = 0xcbf2_9ce4_8422_2325;
const FNV_PRIME: u64 = 0x100_0000_01b3;

/// FNV-1a of what was noted.
#[derive(Clone, Debug)]
pub struct Ledger {
    /// Nothing is hashed otherwise.
    pub is_on: bool,
    hash: u64,
}

impl Default for Ledger {
    fn default() -> Self {
        Ledger { is_on: false, hash: FNV_BASIS }
    }
}

impl Ledger {
    fn take(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.hash = (self.hash ^ u64::from(*byte)).wrapping_mul(FNV_PRIME);
        }
    }

    fn note(&mut self, now: Us, sentinel: usize, kind: &str, bytes: &[u8]) {
        self.take(&now.to_le_bytes());
        self.take(&(sentinel as u64).to_le_bytes());
        self.take(kind.as_bytes());
        self.take(&(bytes.len() as u64).to_le_bytes());
        self.take(bytes);
    }

    /// The share of a world in the number of many: their order does not matter. 0: nothing was
    /// hashed.
    pub fn share(&self, seed: u64) -> u64 {
        if self.is_on { mix(self.hash ^ mix(seed)) } else { 0 }
    }
}

impl Input {
    /// Its kind.
    pub fn name(&self) -> &'static str {
        match self {
            Input::Saved { result: Ok(()), .. } => "saved",
            Input::Saved { .. } => "not saved",
            Input::ChildEnds(_) => "child ends",
            Input::Accept(_) => "accept",
            Input::Established(_) => "established",
            Input::ConnectTurn(_) => "connect",
            Input::Resolved(..) => "resolved",
        }
    }
}

/// What an action says, without the numbers that only the program knows.
fn described(action: &Action) -> String {
    match action {
        Action::Connect { ip, port, hung_before, .. } => {
            format!("connect {ip} {port} {hung_before}")
        }
        Action::Close { .. } => "close".to_owned(),
        Action::CloseAfterFlush { .. } => "close after flush".to_owned(),
        Action::Hold { hold, .. } => format!("hold {hold}"),
        Action::Persist { .. } => "persist".to_owned(),
        Action::Resolve { host, own, .. } => format!("resolve {} {own}", host.escape_ascii()),
        Action::CheckScript { path, .. } => format!("check {}", path.escape_ascii()),
        Action::Ask { question, .. } => format!("ask {question:?}"),
        Action::Spawn { argv, .. } => format!("spawn {argv:?}"),
        Action::Kill { .. }
        | Action::Log { .. }
        | Action::Publish { .. }
        | Action::SetLogLevel { .. }
        | Action::Exit { .. } => format!("{action:?}"),
    }
}

impl World {
    /// Something happens at a sentinel's border.
    pub fn note(&mut self, sentinel: usize, kind: &str, bytes: &[u8]) {
        if self.ledger.is_on {
            self.ledger.note(self.now, sentinel, kind, bytes);
        }
    }

    pub fn note_action(&mut self, sentinel: usize, action: &Action) {
        if self.ledger.is_on {
            let text = described(action);
            self.note(sentinel, "action", text.as_bytes());
        }
    }

    /// A file that was written since the last look.
    pub fn note_file(&mut self, sentinel: usize) {
        if self.ledger.is_on
            && let Some(text) = self.sentinels[sentinel].take_new_text()
        {
            self.note(sentinel, "file", &text);
        }
    }
}

/// The number of all transcripts of a directory, in the order of their names, and how many there
/// are. It speaks for the program as long as their test passes.
pub fn hash_transcripts(dir: &Path) -> std::io::Result<(u64, usize)> {
    let mut paths = Vec::new();
    for entry in std::fs::read_dir(dir)? {
        let path = entry?.path();
        if path.extension().is_some_and(|end| end == "txt") {
            paths.push(path);
        }
    }
    paths.sort();
    let mut ledger = Ledger::default();
    for path in &paths {
        let name = path.file_name().unwrap_or_default().as_encoded_bytes();
        ledger.note(0, 0, "name", name);
        ledger.note(0, 0, "text", &std::fs::read(path)?);
    }
    Ok((ledger.hash, paths.len()))
}

/// Where the transcripts lie.
pub fn transcripts() -> &'static Path {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/transcripts"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::outcome::{Outcome, run_seed};
    use crate::plan::Plan;

    type Note = (Us, usize, &'static str, &'static [u8]);

    #[test]
    fn every_byte_and_every_seed_count() {
        let hash = |notes: &[Note]| {
            let mut ledger = Ledger { is_on: true, ..Ledger::default() };
            for (now, sentinel, kind, bytes) in notes {
                ledger.note(*now, *sentinel, kind, bytes);
            }
            ledger.share(1)
        };
        let all: [&[Note]; 6] = [
            &[],
            &[(1, 0, "a", b"bc")],
            &[(1, 0, "ab", b"c")],
            &[(2, 0, "a", b"bc")],
            &[(1, 1, "a", b"bc")],
            &[(1, 0, "a", b"b"), (1, 0, "a", b"c")],
        ];
        for (at, one) in all.iter().enumerate() {
            for other in &all[..at] {
                assert_ne!(hash(one), hash(other), "{one:?} {other:?}");
            }
        }
        assert_eq!(Ledger::default().share(1), 0);
        let on = Ledger { is_on: true, ..Ledger::default() };
        assert_ne!(on.share(1), on.share(2));
    }

    #[test]
    fn the_same_seed_has_the_same_number() {
        let share = |seed| {
            let (masters, replicas) = (Some(1), Some(2));
            let (sentinels, rounds) = (Some(3), Some(1));
            let sizes = Plan { sentinels, masters, replicas, rounds, ..Plan::default() };
            let outcome = run_seed(seed, &Plan { ledger: true, ..sizes });
            let Outcome::Ok(stats) = outcome else { panic!("seed {seed}: {outcome:?}") };
            stats.ledger
        };
        let first = share(3);
        assert_ne!(first, 0);
        assert_eq!(share(3), first);
        assert_ne!(share(4), first);
    }

    #[test]
    fn all_transcripts_are_read() {
        let (hash, count) = hash_transcripts(transcripts()).expect("readable files");
        assert!(count > 60 && hash != FNV_BASIS);
    }
}
