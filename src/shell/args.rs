//! The command line (spec/config.md, Command line).
#![forbid(unsafe_code)]

use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;
use std::path::PathBuf;

/// What the command line asks for.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Command {
    /// `-v`, `--version`.
    Version,
    /// `-h`, `--help`.
    Help,
    /// `--check-config FILE`: load it, say what is wrong, and end.
    CheckConfig {
        file: PathBuf,
    },
    /// `--check-config` without a file.
    CheckConfigUsage,
    Run(RunArgs),
}

/// How to run.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct RunArgs {
    /// As given; `None` when the first word is an option.
    pub file: Option<PathBuf>,
    /// `-` was the first or the last word: the rest of the configuration is on standard input.
    pub stdin: bool,
    /// The option words, to be turned into config lines.
    pub options: Vec<Vec<u8>>,
}

/// Splits the words after the program's name.
///
/// The file comes first (a word that does not begin with `-`); everything after it but a last `-`
/// belongs to the options. A lone `--sentinel` becomes an empty `sentinel` line, which is allowed.
pub fn parse(mut words: Vec<OsString>) -> Command {
    let first = words.first().map(|w| w.as_encoded_bytes()).unwrap_or_default();
    match (first, words.len()) {
        (b"-v" | b"--version", 1) => return Command::Version,
        (b"-h" | b"--help", 1) => return Command::Help,
        (b"--check-config", 2) => {
            return Command::CheckConfig { file: PathBuf::from(words.remove(1)) };
        }
        (b"--check-config", 1) => return Command::CheckConfigUsage,
        _ => {}
    }
    let mut run = RunArgs::default();
    if !words.is_empty() {
        let first = words[0].as_encoded_bytes();
        if first == b"-" {
            run.stdin = true;
            words.remove(0);
        } else if !first.starts_with(b"-") {
            run.file = Some(PathBuf::from(words.remove(0)));
        }
    }
    if words.last().is_some_and(|w| w.as_encoded_bytes() == b"-") {
        run.stdin = true;
        words.pop();
    }
    run.options = words.into_iter().map(OsStringExt::into_vec).collect();
    Command::Run(run)
}

/// The text of `--help`, for standard error as the field's programs have it.
pub fn usage(program: &str) -> String {
    format!(
        "Usage: {program} /path/to/sentinel.conf [options] [-]\n\
         \x20      {program} --check-config /path/to/sentinel.conf\n\
         \x20      {program} -v or --version\n\
         \x20      {program} -h or --help\n\
         \n\
         Options are config lines, each begun by its name: --port 5000 --loglevel verbose\n\
         A last word - reads more config lines from standard input.\n\
         \n\
         Examples:\n\
         \x20      {program} /etc/redis/sentinel.conf\n\
         \x20      {program} /etc/redis/sentinel.conf --port 7777 --loglevel verbose\n\
         \x20      {program} /etc/redis/sentinel.conf --sentinel monitor m 127.0.0.1 6379 2\n"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(words: &[&str]) -> Command {
        parse(words.iter().map(OsString::from).collect())
    }

    fn run(file: Option<&str>, stdin: bool, options: &[&str]) -> Command {
        Command::Run(RunArgs {
            file: file.map(PathBuf::from),
            stdin,
            options: options.iter().map(|w| w.as_bytes().to_vec()).collect(),
        })
    }

    #[test]
    fn command_lines() {
        assert_eq!(parsed(&["-v"]), Command::Version);
        assert_eq!(parsed(&["--version"]), Command::Version);
        assert_eq!(parsed(&["-h"]), Command::Help);
        let file = PathBuf::from("x.conf");
        assert_eq!(parsed(&["--check-config", "x.conf"]), Command::CheckConfig { file });
        assert_eq!(parsed(&["--check-config"]), Command::CheckConfigUsage);
        assert_eq!(parsed(&[]), run(None, false, &[]));
        assert_eq!(parsed(&["a.conf"]), run(Some("a.conf"), false, &[]));
        assert_eq!(parsed(&["a.conf", "--sentinel"]), run(Some("a.conf"), false, &["--sentinel"]));
        assert_eq!(parsed(&["a.conf", "-"]), run(Some("a.conf"), true, &[]));
        assert_eq!(parsed(&["-"]), run(None, true, &[]));
        assert_eq!(
            parsed(&["a.conf", "--port", "5", "-"]),
            run(Some("a.conf"), true, &["--port", "5"])
        );
        assert_eq!(
            parsed(&["--port", "5", "a.conf"]),
            run(None, false, &["--port", "5", "a.conf"])
        );
        // Only as the first or the last word does `-` mean standard input.
        assert_eq!(
            parsed(&["a.conf", "-", "--port", "1"]),
            run(Some("a.conf"), false, &["-", "--port", "1"])
        );
        assert_eq!(parsed(&["a.conf", "-v"]), run(Some("a.conf"), false, &["-v"]));
    }
}
