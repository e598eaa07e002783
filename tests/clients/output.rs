//! What a client's program printed so far.

use std::path::PathBuf;

/// The lines of a growing file.
pub struct Output {
    path: PathBuf,
}

/// A counter that was incremented: when, in milliseconds of the epoch, and to what.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Write {
    /// When the client had the reply.
    pub at_ms: u64,
    /// The counter's value.
    pub value: u64,
}

impl Output {
    /// The output that goes to a file.
    pub fn new(path: PathBuf) -> Output {
        Output { path }
    }

    /// The complete lines so far.
    pub fn lines(&self) -> Vec<String> {
        let bytes = std::fs::read(&self.path).unwrap_or_default();
        let text = String::from_utf8_lossy(&bytes);
        let lines = text.split_inclusive('\n').filter(|line| line.ends_with('\n'));
        lines.map(|line| line.trim_end().to_string()).collect()
    }

    /// What follows the word in the first line that begins with it; `Err` shows the last line.
    pub fn word(&self, word: &str) -> Result<String, String> {
        let lines = self.lines();
        let mut found = lines.iter().filter_map(|line| match line.split_once(' ') {
            Some((first, rest)) if first == word => Some(rest.to_string()),
            None if line == word => Some(String::new()),
            _ => None,
        });
        found.next().ok_or_else(|| format!("no {word:?}, last {:?}", lines.last()))
    }

    /// The successful writes, in order.
    pub fn writes(&self) -> Vec<Write> {
        let parse = |line: &String| {
            let mut words = line.strip_prefix("ok ")?.split(' ');
            let at_ms = words.next()?.parse().ok()?;
            Some(Write { at_ms, value: words.next()?.parse().ok()? })
        };
        self.lines().iter().filter_map(parse).collect()
    }

    /// The texts of the events of a channel, with their times.
    pub fn events(&self, channel: &str) -> Vec<(u64, String)> {
        let parse = |line: &String| {
            let (at_ms, rest) = line.strip_prefix("event ")?.split_once(' ')?;
            let text = rest.strip_prefix(channel)?.strip_prefix(' ')?;
            Some((at_ms.parse().ok()?, text.to_string()))
        };
        self.lines().iter().filter_map(parse).collect()
    }
}

/// The last lines, for a failure.
impl std::fmt::Debug for Output {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let lines = self.lines();
        let tail: Vec<&String> =
            lines.iter().filter(|line| !line.starts_with("ok ")).rev().take(5).collect();
        write!(f, "{tail:?}")
    }
}
