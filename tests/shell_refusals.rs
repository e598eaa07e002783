//! Command lines and configurations that end before anything is monitored: what is said, where,
//! and with which code (compared with redis-sentinel by hand; names and versions differ).
#![forbid(unsafe_code)]

use std::fs;
use std::io::{Read, Write};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

const NAME: &str = concat!("sentineld ", env!("CARGO_PKG_VERSION"));
/// Far more than any refusal takes.
const PATIENCE: Duration = Duration::from_secs(20);

/// A directory of its own for a test, removed at its end.
struct Dir(PathBuf);

impl Dir {
    fn new() -> Dir {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let name = format!("sentineld-refusals-{}-{number}", std::process::id());
        let path = std::env::temp_dir().join(name);
        fs::create_dir(&path).unwrap();
        Dir(path)
    }

    /// A config file with this text; gives its path.
    fn config(&self, text: &str) -> String {
        let path = self.0.join("s.conf");
        fs::write(&path, text).unwrap();
        path.to_str().unwrap().to_string()
    }
}

impl Drop for Dir {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

#[derive(Debug)]
struct Ended {
    code: Option<i32>,
    out: String,
    err: String,
}

impl Ended {
    /// The texts of the log lines on standard output, with sign but without pid and stamp.
    fn log(&self) -> Vec<&str> {
        self.out.lines().map(|line| line.splitn(6, ' ').nth(5).unwrap_or(line)).collect()
    }
}

/// Runs the program until it ends; one that does not is killed.
fn run_in(dir: &Path, args: &[&str], stdin: &str) -> Ended {
    let mut child = Command::new(env!("CARGO_BIN_EXE_sentineld"))
        .args(args)
        .current_dir(dir)
        .env("RUST_LOG", "trace")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    // A program that reads no input may be gone already.
    let _ = child.stdin.take().unwrap().write_all(stdin.as_bytes());
    let start = Instant::now();
    let code = loop {
        if let Some(status) = child.try_wait().unwrap() {
            break status.code();
        }
        if start.elapsed() > PATIENCE {
            child.kill().unwrap();
            child.wait().unwrap();
            panic!("{args:?} does not end");
        }
        std::thread::sleep(Duration::from_millis(2));
    };
    let (mut out, mut err) = (String::new(), String::new());
    child.stdout.unwrap().read_to_string(&mut out).unwrap();
    child.stderr.unwrap().read_to_string(&mut err).unwrap();
    Ended { code, out, err }
}

fn run(args: &[&str]) -> Ended {
    run_in(Path::new("/"), args, "")
}

fn fatal(line: usize, text: &str, reason: &str) -> String {
    format!(
        "\n*** FATAL CONFIG FILE ERROR ({NAME}) ***\n\
         Reading the configuration file, at line {line}\n>>> '{text}'\n{reason}\n"
    )
}

#[test]
fn version_and_help() {
    for word in ["-v", "--version"] {
        let ended = run(&[word]);
        assert_eq!((ended.code, ended.err.as_str()), (Some(0), ""));
        let head = format!("sentineld v={} ", env!("CARGO_PKG_VERSION"));
        assert!(ended.out.starts_with(&head) && ended.out.lines().count() == 1, "{ended:?}");
    }
    for word in ["-h", "--help"] {
        let ended = run(&[word]);
        assert_eq!((ended.code, ended.out.as_str()), (Some(1), ""));
        assert!(ended.err.starts_with("Usage: "), "{ended:?}");
    }
}

#[test]
fn a_file_is_needed() {
    let needed = "# Sentinel needs config file on disk to save state. Exiting...";
    for args in [&[][..], &["--sentinel"], &["--port", "0"]] {
        let ended = run(args);
        assert_eq!((ended.code, ended.err.as_str()), (Some(1), ""), "{args:?}");
        assert_eq!(ended.log(), [needed], "{args:?}");
    }
    let ended = run_in(Path::new("/"), &["-"], "port 0\n");
    assert_eq!(ended.code, Some(1));
    assert_eq!(ended.log(), ["# Reading config from stdin", needed]);
    // Errors in the options come first.
    let ended = run(&["--port", "27558", "a.conf"]);
    assert_eq!(ended.code, Some(1));
    let text = fatal(2, "port \"27558\" \"a.conf\"", "wrong number of arguments");
    assert_eq!(ended.err, text);
}

#[test]
fn files_that_cannot_be_used() {
    let dir = Dir::new();
    let missing = dir.0.join("missing.conf");
    let ended = run_in(&dir.0, &["missing.conf"], "");
    assert_eq!((ended.code, ended.err.as_str()), (Some(1), ""));
    let text = format!(
        "# Fatal error, can't open config file '{}': No such file or directory",
        missing.display()
    );
    assert_eq!(ended.log(), [text]);
    assert!(!missing.exists());
    let file = dir.config("port 0\ninclude /no/include.conf\n");
    let ended = run(&[&file]);
    let text = "# Fatal error, can't open config file '/no/include.conf': \
                No such file or directory";
    assert_eq!((ended.code, ended.log()), (Some(1), vec![text]));
}

#[test]
fn lines_that_cannot_be_taken() {
    let dir = Dir::new();
    let file = dir.config("port 26379\n  nonsense 1 \n");
    let ended = run(&[&file]);
    assert_eq!((ended.code, ended.out.as_str()), (Some(1), ""));
    assert_eq!(ended.err, fatal(2, "nonsense 1", "Bad directive or wrong number of arguments"));
    let file = dir.config("port 26379\nlogfile /no/dir/x.log\n");
    let ended = run(&[&file]);
    assert_eq!(ended.code, Some(1));
    assert!(ended.err.ends_with(" ***\nCan't open the log file: No such file or directory\n"));
    assert_eq!(ended.err.lines().count(), 3, "no line is shown: {}", ended.err);
}

#[test]
fn addresses_that_cannot_be_listened_on() {
    let dir = Dir::new();
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port();
    let file = dir.config(&format!("port {port}\nbind 127.0.0.1\n"));
    let before = fs::read(&file).unwrap();
    let ended = run(&[&file]);
    assert_eq!((ended.code, ended.err.as_str()), (Some(1), ""));
    let log = ended.log();
    assert_eq!(log[0], "* oO0OoO0OoO0Oo sentineld is starting oO0OoO0OoO0Oo");
    assert!(log[1].starts_with("* sentineld version="), "{log:?}");
    assert_eq!(log[2], "* Configuration loaded");
    let end = [
        format!(
            "# Warning: Could not create server TCP listening socket 127.0.0.1:{port}: bind: \
             Address already in use"
        ),
        format!("# Failed listening on port {port} (tcp), aborting."),
    ];
    assert_eq!(log[log.len() - 2..], end);
    assert_eq!(fs::read(&file).unwrap(), before, "a start that fails changes nothing");
    for (text, last) in [
        ("port 0", "# Configured to not listen anywhere, exiting."),
        ("port 26379\nbind \"\"", "# Configured to not listen anywhere, exiting."),
        (
            "port 0\nunixsocket /no/dir/x.sock",
            "# Failed opening Unix socket: bind: No such file or directory",
        ),
    ] {
        let ended = run(&[&dir.config(text)]);
        assert_eq!(ended.code, Some(1));
        assert_eq!(ended.log().last(), Some(&last));
    }
}

#[test]
fn an_aclfile_must_be_there_and_alone() {
    let dir = Dir::new();
    let ended = run(&[&dir.config("port 0\naclfile /no/users.acl\n")]);
    let text = "# Aborting Redis startup because of ACL errors: Error loading ACLs, opening file \
                '/no/users.acl': No such file or directory";
    assert_eq!((ended.code, ended.log().last()), (Some(1), Some(&text)));
    let ended = run(&[&dir.config("port 0\naclfile /no/users.acl\nuser a on\n")]);
    assert_eq!(ended.code, Some(1));
    assert!(ended.log().last().unwrap().contains("but not both"), "{ended:?}");
}

#[test]
fn check_config_says_ok_or_why_not() {
    let dir = Dir::new();
    let file = dir.config("port 26379\nsentinel monitor m 127.0.0.1 6379 2\n");
    let ended = run(&["--check-config", &file]);
    assert_eq!((ended.code, ended.err.as_str()), (Some(0), ""));
    assert_eq!(ended.out, format!("{file}: OK\n"));
    assert_eq!(fs::read_dir(&dir.0).unwrap().count(), 1, "nothing is left beside it");
    let file = dir.config("port x\n");
    let ended = run(&["--check-config", &file]);
    assert_eq!((ended.code, ended.out.as_str()), (Some(1), ""));
    assert_eq!(ended.err, fatal(1, "port x", "argument couldn't be parsed into an integer"));
    let ended = run(&["--check-config", "/no/file"]);
    assert_eq!(ended.code, Some(1));
    assert!(ended.err.contains("'/no/file': No such file or directory"), "{ended:?}");
    assert_eq!(run(&["--check-config"]).code, Some(1));
}
