//! Loading: config text (and command-line options) to settings and Sentinel state.
#![forbid(unsafe_code)]

use super::settings::Settings;
use crate::sentinel::setup::SentinelConfig;

/// The file system and the working directory, as loading needs them; the shell implements it.
pub trait Files {
    /// Reads a whole file, relative to the working directory; the error is the system's text.
    fn read(&mut self, path: &[u8]) -> Result<Vec<u8>, String>;
    /// The files that match a shell pattern, sorted.
    fn glob(&mut self, pattern: &[u8]) -> Vec<Vec<u8>>;
    /// Changes the working directory.
    fn chdir(&mut self, dir: &[u8]) -> Result<(), String>;
    /// Whether `path` is a regular file that may be executed.
    fn is_executable(&mut self, path: &[u8]) -> bool;
    /// Whether a log file can be opened for appending (it is created if missing).
    fn can_append(&mut self, path: &[u8]) -> Result<(), String>;
}

/// Everything the configuration says.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Loaded {
    pub settings: Settings,
    pub sentinel: SentinelConfig,
    /// Names of directives that are known but have no meaning here, for one log line each.
    pub ignored: Vec<Vec<u8>>,
    /// Masters that stand in an included file, so that rewriting leaves them there.
    pub included_masters: Vec<Vec<u8>>,
}

/// A line that cannot be taken.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct LoadError {
    /// 1-based; 0 when no line is to blame.
    pub line_number: usize,
    /// The line, trimmed.
    pub line: Vec<u8>,
    /// The reason, as in spec/config.md.
    pub reason: String,
}

/// Loads the main file's text, then `stdin` text if given, then the options of the command line
/// (one config line each, already quoted; see [`option_lines`]).
pub fn load(
    _text: &[u8],
    _stdin: Option<&[u8]>,
    _options: &[Vec<u8>],
    _files: &mut dyn Files,
) -> Result<Loaded, LoadError> {
    todo!()
}

/// Turns command-line words (`--port 5`, `--sentinel monitor x 127.0.0.1 1 2`, `"--port 5"`) into
/// config lines.
pub fn option_lines(_words: &[Vec<u8>]) -> Vec<Vec<u8>> {
    todo!()
}
