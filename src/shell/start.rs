//! From the command line to the running loop, in the order of spec/config.md, and back out.
#![forbid(unsafe_code)]

use std::fs;
use std::io::{Read, Write};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use nix::unistd::{AccessFlags, access};

use super::args::RunArgs;
use super::clock::ClockSource;
use super::connect::Options;
use super::event_loop::{End, EventLoop, Parts};
use super::files::{self, SystemFiles};
use super::limits::{self, Outcome};
use super::listen::{self, Opened};
use super::log_line::clean;
use super::logging::{self, Logs};
use super::notify::Supervisor;
use super::signals::Signals;
use super::system::{self, reason};
use super::{NAME, VERSION, aclfile, daemon, save, title};
use crate::config::load::{LoadError, Loaded, load, option_lines};
use crate::config::settings::{Settings, Supervised};
use crate::node::{Node, ProcessFacts, Setup};
use crate::sentinel::action::LogLevel;
use crate::sentinel::thresholds::Thresholds;
use crate::server::acl::startup;

const CANNOT_OPEN: &str = "Fatal error, can't open config file";
const DAEMON_PID_FILE: &[u8] = b"/var/run/redis.pid";
/// Standard input is text for a config file, not a stream.
const STDIN_BYTES_MAX: u64 = 16 << 20;

/// Why the process does not run; the code is 1 always.
enum Refusal {
    /// Said already.
    Said,
    /// To be said in the log, at warning.
    Log(String),
}

impl From<String> for Refusal {
    fn from(text: String) -> Refusal {
        Refusal::Log(text)
    }
}

/// What the configuration gave.
struct Config {
    file: PathBuf,
    loaded: Loaded,
}

/// Runs the daemon; gives the exit code.
pub fn run(program: &Path, args: RunArgs) -> i32 {
    system::use_one_heap_arena();
    let logs = logging::install();
    logs.take_panics();
    match try_run(program, args, &logs) {
        Ok(code) => code,
        Err(Refusal::Said) => 1,
        Err(Refusal::Log(text)) => {
            warning(&text);
            1
        }
    }
}

fn try_run(program: &Path, args: RunArgs, logs: &Logs) -> Result<i32, Refusal> {
    // Looked up before anything can change the working directory.
    let executable = std::env::current_exe().unwrap_or_else(|_| program.to_path_buf());
    let Config { file, mut loaded } = read_config(args)?;
    logs.configure(&loaded.settings).map_err(|text| {
        say_fatal(&fatal_block(&LoadError {
            line_number: 0,
            line: Vec::new(),
            reason: format!("Can't open the log file: {text}"),
        }));
        Refusal::Said
    })?;
    check_writable(&file)?;
    let supervisor = Supervisor::find(loaded.settings.supervised);
    supervisor.loading();
    become_daemon(&mut loaded.settings)?;
    say_hello(&loaded);
    for line in startup::warnings(&loaded.settings) {
        notice(&line);
    }
    aclfile::read(&mut loaded.settings)?;
    if let Some(reason) = save::in_place_reason(&file) {
        warning(&format!(
            "The config file {} cannot be replaced by a new one ({reason}): it is written in place",
            file.display()
        ));
    }
    let maxclients = raise_limits(&loaded)?;
    let signals = Signals::watch().map_err(|e| format!("Cannot watch signals: {e}"))?;
    let opened = open_listeners(&loaded.settings)?;
    let settings = loaded.settings.clone();
    let facts = facts(&executable, &file, &settings, &supervisor)?;
    let machine = node(loaded, facts, maxclients)?;
    let parts = Parts {
        machine,
        listeners: opened.listeners,
        signals: Some(signals),
        config_file: file.clone(),
        options: socket_options(&settings),
        supervisor,
        logs: logs.clone(),
    };
    let mut event_loop = EventLoop::new(parts).map_err(|e| format!("Cannot start: {e}"))?;
    finish_start(&mut event_loop, &settings, program, &file);
    let end = event_loop.run().map_err(|e| format!("Cannot wait for events: {e}"))?;
    Ok(say_goodbye(&settings, end))
}

/// File, standard input and options, in this order. Without a file the options are read
/// nevertheless, for the errors in them.
fn read_config(args: RunArgs) -> Result<Config, Refusal> {
    let file = match &args.file {
        Some(file) => Some(std::path::absolute(file).map_err(|e| cannot_open(file, &reason(&e)))?),
        None => None,
    };
    let mut text = Vec::new();
    if let Some(file) = &file {
        match save::recover(file) {
            Ok(false) => {}
            Ok(true) => warning("The last save was cut off by a crash: the text before it is back"),
            Err(e) => warning(&format!("The text before the last save cannot be restored: {e}")),
        }
        text = fs::read(file).map_err(|e| cannot_open(file, &reason(&e)))?;
    }
    let stdin = if args.stdin { Some(read_stdin()?) } else { None };
    let options = option_lines(&args.options);
    let loaded = load(&text, stdin.as_deref(), &options, &mut SystemFiles)
        .and_then(with_right_users)
        .map_err(refusal_of)?;
    let nowhere = "Sentinel needs config file on disk to save state. Exiting...";
    let file = file.ok_or_else(|| Refusal::Log(nowhere.to_string()))?;
    Ok(Config { file, loaded })
}

/// What was loaded, if the rules of its users can be taken.
fn with_right_users(loaded: Loaded) -> Result<Loaded, LoadError> {
    startup::check(&loaded).map(|()| loaded)
}

/// An included file that is missing is told in the log, all else on standard error.
fn refusal_of(error: LoadError) -> Refusal {
    if error.line_number == 0 && error.reason.starts_with(CANNOT_OPEN) {
        return Refusal::Log(error.reason);
    }
    say_fatal(&fatal_block(&error));
    Refusal::Said
}

fn cannot_open(file: &Path, reason: &str) -> Refusal {
    Refusal::Log(format!("{CANNOT_OPEN} '{}': {reason}", file.display()))
}

fn read_stdin() -> Result<Vec<u8>, Refusal> {
    warning("Reading config from stdin");
    let mut text = Vec::new();
    std::io::stdin()
        .take(STDIN_BYTES_MAX)
        .read_to_end(&mut text)
        .map_err(|e| format!("Cannot read the config from standard input: {}", reason(&e)))?;
    Ok(text)
}

/// The text for standard error when a line cannot be taken; the line may hold anything.
fn fatal_block(error: &LoadError) -> String {
    let mut text = format!("\n*** FATAL CONFIG FILE ERROR ({NAME} {VERSION}) ***\n");
    if error.line_number > 0 {
        let (number, line) = (error.line_number, clean(&error.line));
        text.push_str(&format!("Reading the configuration file, at line {number}\n>>> '{line}'\n"));
    }
    text.push_str(&clean(error.reason.as_bytes()));
    text.push('\n');
    text
}

fn say_fatal(text: &str) {
    // Nobody to tell if standard error is closed.
    let _ = std::io::stderr().write_all(text.as_bytes());
}

/// `--check-config FILE`: whether the file would be loaded.
pub fn check_config(file: &Path) -> i32 {
    let result = std::path::absolute(file)
        .and_then(fs::read)
        .map_err(|e| {
            let reason = reason(&e);
            format!("{CANNOT_OPEN} '{}': {reason}\n", file.display())
        })
        .and_then(|text| {
            load(&text, None, &[], &mut SystemFiles)
                .and_then(with_right_users)
                .map_err(|error| fatal_block(&error))
        });
    match result {
        Ok(_) => {
            let _ = writeln!(std::io::stdout(), "{}: OK", file.display());
            0
        }
        Err(text) => {
            say_fatal(&text);
            1
        }
    }
}

fn check_writable(file: &Path) -> Result<(), Refusal> {
    access(file, AccessFlags::W_OK).map_err(|e| {
        let (file, reason) = (file.display(), e.desc());
        Refusal::Log(format!("Sentinel config file {file} is not writable: {reason}. Exiting..."))
    })
}

/// Daemonizes if that is wanted and nobody supervises. All paths were read against the working
/// directory, which stays.
fn become_daemon(settings: &mut Settings) -> Result<(), Refusal> {
    if !settings.daemonize || settings.supervised != Supervised::No {
        return Ok(());
    }
    daemon::daemonize().map_err(|e| format!("Cannot become a daemon: {}", reason(&e)))?;
    settings.pidfile.get_or_insert_with(|| DAEMON_PID_FILE.to_vec());
    Ok(())
}

fn say_hello(loaded: &Loaded) {
    let pid = std::process::id();
    notice(&format!("oO0OoO0OoO0Oo {NAME} is starting oO0OoO0OoO0Oo"));
    notice(&format!("{NAME} version={VERSION}, bits=64, pid={pid}, just started"));
    notice("Configuration loaded");
    if let Some(text) = listen::backlog_warning(loaded.settings.tcp_backlog) {
        warning(&text);
    }
    for name in &loaded.ignored {
        let name = String::from_utf8_lossy(name);
        notice(&format!(
            "The directive '{name}' has no meaning for a Sentinel and is kept as it is"
        ));
    }
}

/// Gives the number of clients that fit, if it is lower than configured.
fn raise_limits(loaded: &Loaded) -> Result<Option<u32>, Refusal> {
    match limits::raise(loaded) {
        Outcome::Enough => Ok(None),
        Outcome::Lowered { maxclients, lines } => {
            lines.iter().for_each(|line| warning(line));
            Ok(Some(maxclients))
        }
        Outcome::Impossible(line) => Err(Refusal::Log(line)),
    }
}

fn open_listeners(settings: &Settings) -> Result<Opened, Refusal> {
    let mut opened = Opened::default();
    let result = listen::open_all(settings, &mut opened);
    opened.warnings.iter().for_each(|line| warning(line));
    result?;
    Ok(opened)
}

fn socket_options(settings: &Settings) -> Options {
    let source = settings.bind_source_addr.as_deref().map(String::from_utf8_lossy);
    let ip = source.as_deref().and_then(|text| text.parse().ok());
    if let (Some(text), None) = (&source, ip) {
        warning(&format!("bind-source-addr '{text}' is no IP address and is not used"));
    }
    Options { source: ip, keepalive_s: settings.tcp_keepalive_s }
}

fn facts(
    executable: &Path,
    file: &Path,
    settings: &Settings,
    supervisor: &Supervisor,
) -> Result<ProcessFacts, Refusal> {
    Ok(ProcessFacts {
        pid: std::process::id() as i32,
        os: system::os_name(),
        executable: executable.as_os_str().as_bytes().to_vec(),
        config_file: file.as_os_str().as_bytes().to_vec(),
        tcp_port: settings.port,
        supervised: supervisor.is_some(),
        run_id: system::hex(&random::<20>()?),
    })
}

fn random<const N: usize>() -> Result<[u8; N], Refusal> {
    let mut bytes = [0; N];
    system::random_bytes(&mut bytes)
        .map_err(|e| format!("The system gives no random numbers: {}", reason(&e)))?;
    Ok(bytes)
}

fn node(loaded: Loaded, facts: ProcessFacts, maxclients: Option<u32>) -> Result<Node, Refusal> {
    let clock = ClockSource::default().read();
    let thresholds = Thresholds::default();
    let mut node = Node::new(Setup { loaded, facts, thresholds, random: random()?, clock });
    if let Some(maxclients) = maxclients {
        node.limit_clients(maxclients);
    }
    Ok(node)
}

/// Listening already: the machine starts, and those who wait for it hear so.
fn finish_start(
    event_loop: &mut EventLoop<Node>,
    settings: &Settings,
    program: &Path,
    file: &Path,
) {
    // Before the machine starts the first thread.
    if settings.set_proc_title {
        let (program, file) = (program.as_os_str().as_bytes(), file.as_os_str().as_bytes());
        title::set(&title::text(settings, program, file));
    }
    notice(&format!("Running mode=sentinel, port={}.", settings.port));
    event_loop.start();
    if let Some(path) = &settings.pidfile
        && let Err(e) = daemon::write_pid_file(files::path(path))
    {
        warning(&format!("Failed to write PID file: {}", reason(&e)));
    }
    event_loop.tell_ready();
}

/// Removes what others must not find when the process is gone; gives the exit code.
fn say_goodbye(settings: &Settings, end: End) -> i32 {
    if end.clean {
        if let Some(path) = &settings.pidfile {
            notice("Removing the pid file.");
            let _ = fs::remove_file(files::path(path));
        }
        if let Some(path) = &settings.unixsocket {
            notice("Removing the unix socket file.");
            let _ = fs::remove_file(files::path(path));
        }
        warning("Sentinel is now ready to exit, bye bye...");
    }
    end.code
}

fn notice(text: &str) {
    logging::write(LogLevel::Notice, text.as_bytes());
}

fn warning(text: &str) {
    logging::write(LogLevel::Warning, text.as_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fatal_blocks() {
        let error = LoadError {
            line_number: 3,
            line: b"port x\x1b\xff".to_vec(),
            reason: "argument couldn't be parsed into an integer".to_string(),
        };
        let head = format!("\n*** FATAL CONFIG FILE ERROR ({NAME} {VERSION}) ***\n");
        let body = "Reading the configuration file, at line 3\n>>> 'port x\\x1b\\xff'\n\
            argument couldn't be parsed into an integer\n";
        assert_eq!(fatal_block(&error), head.clone() + body);
        let error = LoadError { line_number: 0, line: Vec::new(), reason: "a\nb".to_string() };
        assert_eq!(fatal_block(&error), head + "a\\nb\n");
    }
}
