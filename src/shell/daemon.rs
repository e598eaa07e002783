//! Becoming a daemon, and the pid file.

use std::fs::OpenOptions;
use std::io::{self, Write};
use std::path::Path;

use nix::unistd::{ForkResult, dup2_stderr, dup2_stdin, dup2_stdout, fork, setsid};

/// Leaves the terminal: the parent exits with code 0, the child goes on in a session of its own
/// with the null device for the descriptors 0 to 2. To be called before any thread is started.
pub fn daemonize() -> io::Result<()> {
    // SAFETY: there is one thread, so the child is a whole copy and may do what it likes.
    match unsafe { fork() }? {
        // Nothing of the parent's is to be flushed or removed: it all belongs to the child now.
        // SAFETY: `_exit` ends the process.
        ForkResult::Parent { .. } => unsafe { libc::_exit(0) },
        ForkResult::Child => {}
    }
    setsid()?;
    let null = OpenOptions::new().read(true).write(true).open("/dev/null")?;
    dup2_stdin(&null)?;
    dup2_stdout(&null)?;
    dup2_stderr(&null)?;
    Ok(())
}

/// Writes the pid and an end of line.
pub fn write_pid_file(path: &Path) -> io::Result<()> {
    let mut file = OpenOptions::new().write(true).create(true).truncate(true).open(path)?;
    file.write_all(format!("{}\n", std::process::id()).as_bytes())
}
