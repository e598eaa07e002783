//! The fuzzer: takes inputs from a corpus, changes them, and keeps those that show something new.
//!
//! What is new is told by a [`Feedback`]: the signature that a target gives for its outcome, or,
//! in the guided program, which code was reached. An input that makes a target panic is made as
//! small as possible first.

use sentineld::util::rng::Rng;
use std::cell::Cell;
use std::collections::BTreeSet;
use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::Once;
use std::time::{Duration, Instant};

/// Longest input.
const INPUT_MAX_BYTES: usize = 4096;
/// Most changes from one input to the next.
const CHANGES_MAX: u64 = 5;
/// Most inputs that are remembered.
const KEPT_MAX: usize = 4096;
/// Tries to make a failing input smaller.
const SHRINK_TRIES: usize = 4000;
/// An input of a few KB that takes longer is a finding too.
const SLOW: Duration = Duration::from_secs(5);
/// Numbers at which programs break.
const NUMBERS: [&str; 16] = [
    "0",
    "-1",
    "1",
    "2",
    "10",
    "11",
    "255",
    "256",
    "16384",
    "16385",
    "65535",
    "65536",
    "2147483648",
    "4611686018427387905",
    "9223372036854775807",
    "18446744073709551616",
];

/// What is fuzzed.
pub struct Target {
    /// Its name, and that of its directory in the corpus.
    pub name: &'static str,
    /// Takes an input and panics if something is wrong. Gives a signature of what happened.
    pub run: fn(&[u8]) -> u64,
    /// Words that mean something to it.
    pub dictionary: &'static [&'static str],
}

/// Tells whether an input showed something new.
pub trait Feedback {
    /// Before an input is run.
    fn begin(&mut self) {}
    /// After it was run with this signature.
    fn is_new(&mut self, signature: u64) -> bool;
}

/// Looks at signatures alone.
#[derive(Default)]
pub struct Signatures(BTreeSet<u64>);

impl Feedback for Signatures {
    fn is_new(&mut self, signature: u64) -> bool {
        self.0.len() < KEPT_MAX && self.0.insert(signature)
    }
}

/// An input that a target does not stand.
#[derive(Debug)]
pub struct Failure {
    pub input: Vec<u8>,
    pub message: String,
}

/// What was done.
#[derive(Debug)]
pub struct Report {
    pub runs: u64,
    pub kept: usize,
    pub failure: Option<Failure>,
}

thread_local! {
    /// The message of the last panic on this thread while it is fuzzing.
    static FUZZING: Cell<bool> = const { Cell::new(false) };
    static MESSAGE: Cell<String> = const { Cell::new(String::new()) };
}

/// Panics of a target are kept, not printed.
fn catch_messages() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let default = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |info| {
            if FUZZING.get() {
                MESSAGE.set(info.to_string());
            } else {
                default(info);
            }
        }));
    });
}

/// Runs one input; `Err` with the message if it fails.
pub fn run_one(target: &Target, input: &[u8]) -> Result<u64, String> {
    catch_messages();
    FUZZING.set(true);
    let start = Instant::now();
    let result = catch_unwind(AssertUnwindSafe(|| (target.run)(input)));
    FUZZING.set(false);
    match result {
        Ok(_) if start.elapsed() > SLOW => Err(format!("it took {:?}", start.elapsed())),
        Ok(signature) => Ok(signature),
        Err(_) => Err(MESSAGE.take()),
    }
}

/// The inputs in a directory, in order of their names.
pub fn read_corpus(dir: &Path) -> Vec<Vec<u8>> {
    let Ok(entries) = fs::read_dir(dir) else { return Vec::new() };
    let mut paths: Vec<PathBuf> = entries.flatten().map(|entry| entry.path()).collect();
    paths.sort();
    paths.iter().map(|path| fs::read(path).expect("a readable input")).collect()
}

/// A session with one target.
pub struct Fuzzer<'a> {
    target: &'a Target,
    rng: Rng,
    corpus: Vec<Vec<u8>>,
    /// New inputs are written here.
    keep_in: Option<PathBuf>,
}

impl<'a> Fuzzer<'a> {
    /// Starts with a corpus.
    pub fn new(target: &'a Target, seed: u64, corpus: Vec<Vec<u8>>) -> Fuzzer<'a> {
        let corpus = if corpus.is_empty() { vec![Vec::new()] } else { corpus };
        Fuzzer { target, rng: Rng::new(seed), corpus, keep_in: None }
    }

    /// Writes every input that shows something new into this directory.
    // The short runs of the tests keep nothing.
    #[allow(dead_code)]
    pub fn keep_in(mut self, dir: PathBuf) -> Fuzzer<'a> {
        self.keep_in = Some(dir);
        self
    }

    /// Goes on for so long, or until something fails.
    pub fn run(&mut self, limit: Duration, feedback: &mut dyn Feedback) -> Report {
        let start = Instant::now();
        let first = self.corpus.len();
        let mut runs = 0;
        while (runs as usize) < first || start.elapsed() < limit {
            let input = match self.corpus.get(runs as usize) {
                Some(known) if (runs as usize) < first => known.clone(),
                _ => self.next_input(),
            };
            runs += 1;
            feedback.begin();
            match run_one(self.target, &input) {
                Ok(signature) => {
                    let is_new = feedback.is_new(signature);
                    if is_new && runs as usize > first && self.corpus.len() < first + KEPT_MAX {
                        self.keep(input);
                    }
                }
                Err(message) => {
                    let failure = Some(self.shrink(Failure { input, message }));
                    return Report { runs, kept: self.corpus.len() - first, failure };
                }
            }
        }
        Report { runs, kept: self.corpus.len() - first, failure: None }
    }

    fn keep(&mut self, input: Vec<u8>) {
        if let Some(dir) = &self.keep_in {
            let hash = hash(&input);
            fs::write(dir.join(format!("{hash:016x}")), &input).expect("the input is written");
        }
        self.corpus.push(input);
    }

    fn next_input(&mut self) -> Vec<u8> {
        let mut input = self.pick();
        for _ in 0..1 + self.rng.below(CHANGES_MAX) {
            self.change(&mut input);
        }
        input.truncate(INPUT_MAX_BYTES);
        input
    }

    fn pick(&mut self) -> Vec<u8> {
        let count = self.corpus.len() as u64;
        // The newest ones are the least known.
        let from = if self.rng.below(2) == 0 { count - count.min(16) } else { 0 };
        let at = from + self.rng.below(count - from);
        self.corpus[at as usize].clone()
    }

    fn range(&mut self, len: usize) -> (usize, usize) {
        let one = self.rng.below(len as u64 + 1) as usize;
        let most = if self.rng.below(4) == 0 { len } else { 16 };
        let other = (one + self.rng.below(most as u64 + 1) as usize).min(len);
        (one, other)
    }

    fn change(&mut self, input: &mut Vec<u8>) {
        let (from, to) = self.range(input.len());
        let other = self.rng.next_u64();
        match self.rng.below(12) {
            0 if from < input.len() => input[from] ^= 1 << (other % 8),
            1 if from < input.len() => input[from] = other as u8,
            0..=2 => input.insert(from, other as u8),
            3 => drop(input.drain(from..to)),
            4 => {
                let copy = input[from..to].to_vec();
                let at = (other % (input.len() as u64 + 1)) as usize;
                input.splice(at..at, copy);
            }
            5 | 6 => {
                let word = self.word(other);
                let end = if self.rng.below(2) == 0 { from } else { to };
                input.splice(from..end, word);
            }
            7 => {
                let another = self.pick();
                let (begin, end) = self.range(another.len());
                input.splice(from..to, another[begin..end].iter().copied());
            }
            8 => change_number(input, from, other),
            9 | 10 => self.change_lines(input),
            _ => {
                let another = self.pick();
                let (begin, _) = self.range(another.len());
                input.truncate(from);
                input.extend_from_slice(&another[begin..]);
            }
        }
    }

    fn word(&mut self, choice: u64) -> Vec<u8> {
        let words = self.target.dictionary;
        match words.get((choice % (words.len() as u64 + 2)) as usize) {
            Some(word) => word.as_bytes().to_vec(),
            None => NUMBERS[self.rng.below(NUMBERS.len() as u64) as usize].into(),
        }
    }

    /// Doubles, removes, or swaps lines.
    fn change_lines(&mut self, input: &mut Vec<u8>) {
        let mut lines: Vec<&[u8]> = input.split_inclusive(|byte| *byte == b'\n').collect();
        if lines.is_empty() {
            return;
        }
        let count = lines.len() as u64;
        let (one, other) = (self.rng.below(count) as usize, self.rng.below(count) as usize);
        match self.rng.below(3) {
            0 => lines.insert(other, lines[one]),
            1 => drop(lines.remove(one)),
            _ => lines.swap(one, other),
        }
        *input = lines.concat();
    }

    /// Takes parts away as long as it still fails.
    fn shrink(&self, mut failure: Failure) -> Failure {
        let mut tries = 0;
        let mut size = failure.input.len().div_ceil(2);
        while size > 0 {
            let mut at = 0;
            while at < failure.input.len() && tries < SHRINK_TRIES {
                tries += 1;
                let end = (at + size).min(failure.input.len());
                let smaller = [&failure.input[..at], &failure.input[end..]].concat();
                match run_one(self.target, &smaller) {
                    Err(message) => failure = Failure { input: smaller, message },
                    Ok(_) => at = end,
                }
            }
            size /= 2;
        }
        failure
    }
}

/// Puts another number in the place of the one at or behind `from`.
fn change_number(input: &mut Vec<u8>, from: usize, choice: u64) {
    let digit = |byte: &u8| byte.is_ascii_digit();
    let Some(start) = input[from..].iter().position(digit).map(|at| from + at) else { return };
    let end = input[start..].iter().position(|b| !digit(b)).map_or(input.len(), |at| start + at);
    let number = std::str::from_utf8(&input[start..end]).ok().and_then(|n| n.parse::<u64>().ok());
    let text = match (choice % 4, number) {
        (0, Some(number)) => number.wrapping_add(1).to_string(),
        (1, Some(number)) => number.wrapping_sub(1).to_string(),
        _ => NUMBERS[(choice / 4 % NUMBERS.len() as u64) as usize].to_string(),
    };
    input.splice(start..end, text.into_bytes());
}

/// A number for some bytes, always the same (FNV-1a).
pub fn hash(bytes: &[u8]) -> u64 {
    let step = |hash: u64, byte: &u8| (hash ^ u64::from(*byte)).wrapping_mul(0x100_0000_01b3);
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, step)
}
