//! Signals as readable events (spec/config.md, Signals and end).

use std::os::fd::{AsRawFd, RawFd};

use nix::sys::signal::{SigHandler, SigSet, Signal, signal};
use nix::sys::signalfd::{SfdFlags, SignalFd};

/// What the loop hears of.
const WATCHED: [Signal; 4] = [Signal::SIGTERM, Signal::SIGINT, Signal::SIGHUP, Signal::SIGCHLD];

/// The descriptor that signals are read from.
#[derive(Debug)]
pub struct Signals(SignalFd);

impl Signals {
    /// Blocks the watched signals, in this thread and those that it starts from now on, so that
    /// they arrive here only; SIGPIPE is ignored.
    pub fn watch() -> nix::Result<Signals> {
        // Whoever started us may have left some ignored (nohup, a shell's background job), and an
        // ignored signal is never queued.
        for number in WATCHED {
            // SAFETY: no handler is installed, so there is none that could do harm.
            unsafe { signal(number, SigHandler::SigDfl) }?;
        }
        // SAFETY: as above.
        unsafe { signal(Signal::SIGPIPE, SigHandler::SigIgn) }?;
        let mut set = SigSet::empty();
        for number in WATCHED {
            set.add(number);
        }
        set.thread_block()?;
        let fd = SignalFd::with_flags(&set, SfdFlags::SFD_NONBLOCK | SfdFlags::SFD_CLOEXEC)?;
        Ok(Signals(fd))
    }

    /// The next signal that arrived, if there is one.
    pub fn next(&self) -> Option<Signal> {
        let info = self.0.read_signal().ok().flatten()?;
        Signal::try_from(info.ssi_signo as i32).ok()
    }
}

impl AsRawFd for Signals {
    fn as_raw_fd(&self) -> RawFd {
        std::os::fd::AsFd::as_fd(&self.0).as_raw_fd()
    }
}
