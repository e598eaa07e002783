//! Log lines: `<pid>:X <stamp> <sign> <text>` to a file or standard output, the bare text to
//! syslog (spec/config.md, Log).
//!
//! The levels warning, notice, verbose and debug are warn, info, debug and trace of the `log`
//! crate. The filter is the configuration's alone: the environment is never asked.
#![forbid(unsafe_code)]

use std::any::Any;
use std::backtrace::{Backtrace, BacktraceStatus};
use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::MetadataExt;
use std::panic::Location;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use log::{Level, LevelFilter, Log, Metadata, Record};

use super::clock::ClockSource;
use super::files;
use super::log_line::{Style, clean};
use super::syslog::Syslog;
use super::system::reason;
use crate::config::settings::{LogFormat, Settings};
use crate::sentinel::action::LogLevel;
use crate::util::time::Wall;

/// Target of the lines that tell of a signal; they have a shape of their own.
const SIGNAL: &str = "signal";

/// Lines that wait for the end of a turn are written before it when they are more.
const WAITING_BYTES_MAX: usize = 64 << 10;

/// Where lines go now; shared by the logger and whoever reopens the file.
#[derive(Debug, Default)]
struct Output {
    /// `None`: standard output.
    file: Option<LogFile>,
    syslog: Option<Syslog>,
    style: Style,
    /// Lines wait to be written together.
    gathers: bool,
    waiting: Vec<u8>,
}

/// A log file that is created again when it was moved away.
#[derive(Debug)]
struct LogFile {
    path: PathBuf,
    open: Option<(File, u64, u64)>,
}

/// The handle by which the outputs are set and reopened.
#[derive(Clone, Debug)]
pub struct Logs(Arc<Mutex<Output>>);

/// The logger of the process: env_logger for the lines, and syslog beside it.
struct Loggers {
    lines: env_logger::Logger,
    output: Logs,
}

/// The writer behind env_logger.
struct Sink(Logs);

impl LogFile {
    fn write(&mut self, line: &[u8]) -> io::Result<()> {
        if self.moved_away() {
            self.reopen()?;
        }
        match &mut self.open {
            Some((file, _, _)) => file.write_all(line),
            None => Ok(()),
        }
    }

    /// Whether the path no longer names the file that is open.
    fn moved_away(&self) -> bool {
        let Some((_, dev, ino)) = &self.open else { return true };
        !std::fs::metadata(&self.path).is_ok_and(|m| m.dev() == *dev && m.ino() == *ino)
    }

    fn reopen(&mut self) -> io::Result<()> {
        let file = OpenOptions::new().append(true).create(true).open(&self.path)?;
        let meta = file.metadata()?;
        self.open = Some((file, meta.dev(), meta.ino()));
        Ok(())
    }
}

impl Logs {
    fn lock(&self) -> MutexGuard<'_, Output> {
        // A panic while a line was written leaves nothing half-done that matters to the next one.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Sets file, syslog and level as configured. Errors: the log file cannot be opened.
    pub fn configure(&self, settings: &Settings) -> Result<(), String> {
        let file = match settings.logfile.as_slice() {
            b"" => None,
            name => {
                let mut file = LogFile { path: files::path(name).to_path_buf(), open: None };
                file.reopen().map_err(|e| reason(&e))?;
                Some(file)
            }
        };
        let syslog = settings
            .syslog_enabled
            .then(|| Syslog::new(&settings.syslog_ident, &settings.syslog_facility));
        let style = Style { format: settings.log_format, timestamp: settings.log_timestamp };
        *self.lock() = Output { file, syslog, style, ..Output::default() };
        set_level(settings.loglevel);
        Ok(())
    }

    /// From now on lines wait until [`Logs::write_out`]: when thousands of masters fail over, a
    /// system call for each line would be a good part of the work.
    pub fn gather(&self) {
        self.lock().gathers = true;
    }

    /// Writes the lines that wait; further ones wait again. To be called before anybody is told
    /// anything: whoever got a reply finds in the log what led to it.
    pub fn write_waiting(&self) {
        self.lock().write_waiting();
    }

    /// Writes the lines that wait, and each further one at once. To be called before the process
    /// sleeps or ends.
    pub fn write_out(&self) {
        self.lock().write_out();
    }

    /// From now on a panic is a line of the log and of standard error, as clean as any other.
    pub fn take_panics(&self) {
        let logs = self.clone();
        std::panic::set_hook(Box::new(move |panic| {
            let text = panic_text(panic.location(), panic.payload());
            logs.write_out_at_panic(&text);
            let mut stderr = io::stderr().lock();
            let _ = writeln!(stderr, "{text}");
            let trace = Backtrace::capture();
            if trace.status() == BacktraceStatus::Captured {
                let _ = writeln!(stderr, "{trace}");
            }
        }));
    }

    /// As [`Logs::write_out`], and then `text`, for a panic, which may have come while a line was
    /// written: then nothing is.
    fn write_out_at_panic(&self, text: &str) {
        let Ok(mut output) = self.0.try_lock() else { return };
        output.write_out();
        // Where standard output is the log, whoever reads it has standard error too.
        if output.file.is_some() {
            let wall = ClockSource::default().wall();
            let line = output.style.line(std::process::id(), wall, Level::Warn, text);
            let _ = output.write(line.as_bytes());
        }
        if let Some(syslog) = &mut output.syslog {
            syslog.send(Level::Warn, text);
        }
    }

    /// Opens the log file anew (SIGHUP).
    pub fn reopen(&self) {
        let mut output = self.lock();
        output.write_waiting();
        if let Some(file) = &mut output.file {
            // The old file stays in use if the path cannot be opened.
            let _ = file.reopen();
        }
    }
}

impl Output {
    fn write_out(&mut self) {
        self.gathers = false;
        self.write_waiting();
    }

    fn write_waiting(&mut self) {
        let lines = std::mem::take(&mut self.waiting);
        if !lines.is_empty() {
            // Nobody could be told, and the next lines may get through.
            let _ = self.write(&lines);
        }
    }

    fn write(&mut self, lines: &[u8]) -> io::Result<()> {
        match &mut self.file {
            Some(file) => file.write(lines),
            None => {
                let mut stdout = io::stdout().lock();
                stdout.write_all(lines)?;
                stdout.flush()
            }
        }
    }
}

impl Write for Sink {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        let mut output = self.0.lock();
        if !output.gathers {
            output.write(line)?;
            return Ok(line.len());
        }
        output.waiting.extend_from_slice(line);
        if output.waiting.len() > WAITING_BYTES_MAX {
            output.write_waiting();
        }
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Log for Loggers {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.level() <= log::max_level()
    }

    fn log(&self, record: &Record<'_>) {
        self.lines.log(record);
        if record.target() != SIGNAL
            && let Some(syslog) = &mut self.output.lock().syslog
        {
            syslog.send(record.level(), &text_of(record));
        }
    }

    fn flush(&self) {}
}

/// The text of a record: here all lines pass, ours and those of libraries.
fn text_of(record: &Record<'_>) -> String {
    clean(record.args().to_string().as_bytes())
}

/// What is said of a panic, on one line.
fn panic_text(place: Option<&Location<'_>>, payload: &dyn Any) -> String {
    let text = payload.downcast_ref::<&str>().copied();
    let text = text.or_else(|| payload.downcast_ref::<String>().map(String::as_str));
    let place = place.map(|place| format!(" at {place}")).unwrap_or_default();
    clean(format!("panicked{place}: {}", text.unwrap_or_default()).as_bytes())
}

/// One line as it is written, with its end. A line that tells of a signal has a shape of its own
/// among lines of the legacy format.
fn line_of(record: &Record<'_>, style: Style, wall: Wall) -> String {
    let (pid, text) = (std::process::id(), text_of(record));
    if record.target() != SIGNAL || style.format != LogFormat::Legacy {
        return style.line(pid, wall, record.level(), &text);
    }
    format!("{pid}:signal-handler ({}) {text}\n", wall.unix_ms / 1000)
}

/// Installs the logger of the process, on standard output at notice until it is configured.
/// A second call (tests) leaves the first logger in place.
pub fn install() -> Logs {
    let logs = Logs(Arc::default());
    let lines = lines_to(&logs);
    let _ = log::set_boxed_logger(Box::new(Loggers { lines, output: logs.clone() }));
    set_level(Some(LogLevel::Notice));
    logs
}

/// Formats lines, and writes them where `logs` says.
fn lines_to(logs: &Logs) -> env_logger::Logger {
    let clock = Mutex::new(ClockSource::default());
    let styles = logs.clone();
    env_logger::Builder::new()
        .filter_level(LevelFilter::Trace)
        .target(env_logger::Target::Pipe(Box::new(Sink(logs.clone()))))
        .format(move |out, record| {
            let wall = clock.lock().unwrap_or_else(PoisonError::into_inner).wall();
            let style = styles.lock().style;
            out.write_all(line_of(record, style, wall).as_bytes())
        })
        .build()
}

/// Lets lines of `level` and above through; `None`: nothing at all.
pub fn set_level(level: Option<LogLevel>) {
    log::set_max_level(level.map_or(LevelFilter::Off, |l| level_of(l).to_level_filter()));
}

fn level_of(level: LogLevel) -> Level {
    match level {
        LogLevel::Debug => Level::Trace,
        LogLevel::Verbose => Level::Debug,
        LogLevel::Notice => Level::Info,
        LogLevel::Warning => Level::Warn,
    }
}

/// Writes a line of any bytes.
pub fn write(level: LogLevel, text: &[u8]) {
    // Cleaned here already, as it may be much longer than what is kept of it.
    log::log!(level_of(level), "{}", clean(text));
}

/// Writes a line that tells of a signal: `<pid>:signal-handler (<unix seconds>) <text>`.
pub fn write_signal(text: &str) {
    log::warn!(target: SIGNAL, "{text}");
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::net::UnixDatagram;

    fn record_line(target: &str, args: std::fmt::Arguments<'_>) -> String {
        let record = Record::builder().target(target).level(Level::Info).args(args).build();
        line_of(&record, Style::default(), Wall::default())
    }

    #[test]
    fn lines_of_signals_have_their_own_shape() {
        let pid = std::process::id();
        let line = record_line(SIGNAL, format_args!("Received"));
        assert_eq!(line, format!("{pid}:signal-handler (0) Received\n"));
        let line = record_line("other", format_args!("hello"));
        assert_eq!(line, format!("{pid}:X 01 Jan 1970 00:00:00.000 * hello\n"));
    }

    /// Whichever crate a line comes from, and whichever way it goes.
    #[test]
    fn a_line_is_one_line_in_file_and_syslog() {
        let dir = crate::shell::testing::TempDir::new("clean");
        let (path, socket) = (dir.path().join("x.log"), dir.path().join("syslog"));
        let daemon = UnixDatagram::bind(&socket).unwrap();
        let logs = Logs(Arc::default());
        *logs.lock() = Output {
            file: Some(LogFile { path: path.clone(), open: None }),
            syslog: Some(Syslog::at(socket.to_str().unwrap())),
            ..Output::default()
        };
        let loggers = Loggers { lines: lines_to(&logs), output: logs.clone() };
        let text = format!("x\n1:X +switch-master\x1b {}", "y".repeat(2000));
        for target in [SIGNAL, "mio"] {
            let args = format_args!("{text}");
            loggers.log(&Record::builder().target(target).level(Level::Info).args(args).build());
        }
        let shown = "x\\n1:X +switch-master\\x1b yyy";
        let log = std::fs::read_to_string(&path).unwrap();
        assert_eq!(log.lines().filter(|line| line.contains(shown)).count(), 2, "{log}");
        assert_eq!(log.lines().count(), 2, "{log}");
        assert!(log.lines().all(|line| line.len() < 1100), "{log}");
        let mut buf = [0; 3000];
        let n = daemon.recv(&mut buf).unwrap();
        let sent = std::str::from_utf8(&buf[..n]).unwrap();
        assert!(sent.contains(shown) && sent.ends_with(" more bytes]") && n < 1100, "{sent}");
    }

    #[test]
    fn a_panic_is_one_line() {
        let place = Location::caller();
        let (short, long): (&str, String) = ("a\nb\x1b", "x".repeat(2000));
        let text = panic_text(Some(place), &short);
        assert_eq!(text, format!("panicked at {place}: a\\nb\\x1b"));
        assert!(panic_text(Some(place), &long).ends_with(" more bytes]"));
        assert_eq!(panic_text(None, &7), "panicked: ");
    }

    #[test]
    fn lines_wait_for_the_end_of_a_turn() {
        let dir = crate::shell::testing::TempDir::new("gathered");
        let path = dir.path().join("x.log");
        let logs = Logs(Arc::default());
        logs.lock().file = Some(LogFile { path: path.clone(), open: None });
        let mut sink = Sink(logs.clone());
        let text = || std::fs::read(&path).unwrap_or_default();
        sink.write_all(b"1\n").unwrap();
        assert_eq!(text(), b"1\n");
        logs.gather();
        sink.write_all(b"2\n").unwrap();
        sink.write_all(b"3\n").unwrap();
        assert_eq!(text(), b"1\n");
        logs.write_waiting();
        assert_eq!(text(), b"1\n2\n3\n");
        sink.write_all(b"4\n").unwrap();
        assert_eq!(text(), b"1\n2\n3\n");
        logs.write_out();
        sink.write_all(b"5\n").unwrap();
        assert_eq!(text(), b"1\n2\n3\n4\n5\n");
        // A turn that has much to say does not keep it all.
        logs.gather();
        sink.write_all(&[b'x'; WAITING_BYTES_MAX]).unwrap();
        assert_eq!(text().len(), 10);
        sink.write_all(b"\n").unwrap();
        assert_eq!(text().len(), 10 + WAITING_BYTES_MAX + 1);
        // What was said before the file was moved away stands in the old one or the new one.
        sink.write_all(b"6\n").unwrap();
        logs.reopen();
        assert!(text().ends_with(b"\n6\n"));
        // A panic loses none of them, and does not wait for a line that is being written.
        sink.write_all(b"7\n").unwrap();
        let writing = logs.lock();
        logs.write_out_at_panic("panicked");
        drop(writing);
        assert!(text().ends_with(b"\n6\n"));
        logs.write_out_at_panic("panicked");
        let end = text().split_off(text().len() - b"# panicked\n".len());
        assert_eq!(end, b"# panicked\n");
        assert!(text().windows(3).any(|bytes| bytes == b"\n7\n"));
    }

    #[test]
    fn a_moved_log_file_is_created_again() {
        let dir = crate::shell::testing::TempDir::new("log");
        let path = dir.path().join("x.log");
        let mut file = LogFile { path: path.clone(), open: None };
        file.write(b"one\n").unwrap();
        std::fs::rename(&path, dir.path().join("x.log.1")).unwrap();
        file.write(b"two\n").unwrap();
        file.write(b"three\n").unwrap();
        assert_eq!(std::fs::read(dir.path().join("x.log.1")).unwrap(), b"one\n");
        assert_eq!(std::fs::read(&path).unwrap(), b"two\nthree\n");
    }
}
