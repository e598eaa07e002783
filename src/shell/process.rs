//! Scripts: fork and exec with everything prepared before the fork, and reaping (architecture,
//! contract 8; spec/events.md, Scripts).

use std::ffi::{CString, c_char};
use std::os::unix::ffi::OsStrExt;
use std::ptr;

use nix::errno::Errno;
use nix::sys::resource::{Resource, getrlimit};
use nix::sys::signal::{Signal, kill};
use nix::unistd::{ForkResult, Pid, fork};

/// What exec failing counts as.
const EXEC_FAILED_CODE: i32 = 2;
/// The highest signal number of Linux.
const SIGNALS_MAX: i32 = 64;
/// The kernel's signal set: one bit each.
const SIGNAL_SET_BYTES: usize = 8;

/// A child that ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Ended {
    pub pid: i32,
    /// 0 if a signal ended it.
    pub exit_code: i32,
    /// 0 if it exited.
    pub signal: i32,
}

/// All that the child needs, as plain memory.
struct Prepared {
    /// Keeps the strings alive that the pointers below point to.
    _strings: Vec<CString>,
    argv: Vec<*const c_char>,
    env: Vec<*const c_char>,
    no_signals: libc::sigset_t,
    /// One more than the highest descriptor, for kernels without close_range.
    descriptors_end: i32,
}

impl Prepared {
    fn new(argv: &[Vec<u8>]) -> Result<Prepared, Errno> {
        let mut strings = Vec::new();
        let mut keep = |text: Vec<u8>| -> Result<*const c_char, Errno> {
            strings.push(CString::new(text).map_err(|_| Errno::EINVAL)?);
            // The bytes of a CString stay where they are when the CString itself is moved.
            Ok(strings.last().expect("one was pushed just now").as_ptr())
        };
        if argv.is_empty() {
            return Err(Errno::EINVAL);
        }
        let mut argv = argv.iter().map(|w| keep(w.clone())).collect::<Result<Vec<_>, _>>()?;
        let mut env = std::env::vars_os()
            .map(|(name, value)| keep([name.as_bytes(), b"=", value.as_bytes()].concat()))
            .collect::<Result<Vec<_>, _>>()?;
        argv.push(ptr::null());
        env.push(ptr::null());
        let limit = getrlimit(Resource::RLIMIT_NOFILE).map_or(1024, |(soft, _)| soft);
        // SAFETY: a `sigset_t` is plain data, and `sigemptyset` sets all of it.
        let no_signals = unsafe {
            let mut set = std::mem::zeroed();
            libc::sigemptyset(&mut set);
            set
        };
        let descriptors_end = i32::try_from(limit).unwrap_or(i32::MAX);
        Ok(Prepared { _strings: strings, argv, env, no_signals, descriptors_end })
    }

    /// The child's side: nothing here may allocate or lock, as another thread may hold the lock.
    ///
    /// # Safety
    /// To be called in a child right after the fork.
    unsafe fn exec(&self) -> ! {
        // SAFETY: every call is async-signal-safe and gets memory that was made before the fork
        // and that nobody else in this process, which has one thread, can touch.
        unsafe {
            // The C library refuses to touch the two signals that its threads use, though their
            // being ignored is inherited like that of any other; the kernel's own structure is all
            // zeros for the default, whatever its fields are called on this processor.
            let default = [0_u64; 8];
            for signal in 1..=SIGNALS_MAX {
                let action = default.as_ptr();
                let old = ptr::null_mut::<u64>();
                libc::syscall(libc::SYS_rt_sigaction, signal, action, old, SIGNAL_SET_BYTES);
            }
            libc::sigprocmask(libc::SIG_SETMASK, &self.no_signals, ptr::null_mut());
            if libc::syscall(libc::SYS_close_range, 3_u32, u32::MAX, 0_u32) != 0 {
                for fd in 3..self.descriptors_end {
                    libc::close(fd);
                }
            }
            libc::execve(self.argv[0], self.argv.as_ptr(), self.env.as_ptr());
            libc::_exit(EXEC_FAILED_CODE)
        }
    }
}

/// Runs `argv[0]` with `argv`, our environment, our descriptors 0 to 2 and nothing else of ours.
/// Gives the pid. Errors: the system's text for the failed fork. A failed exec is exit code 2.
pub fn spawn(argv: &[Vec<u8>]) -> Result<i32, String> {
    let text = |e: Errno| e.desc().to_string();
    let prepared = Prepared::new(argv).map_err(text)?;
    // SAFETY: the child calls async-signal-safe functions only, see `Prepared::exec`.
    match unsafe { fork() }.map_err(text)? {
        ForkResult::Parent { child } => Ok(child.as_raw()),
        // SAFETY: this is the child right after the fork.
        ForkResult::Child => unsafe { prepared.exec() },
    }
}

/// SIGKILL; a child that is gone already is no error.
pub fn kill_now(pid: i32) {
    if pid > 0 {
        let _ = kill(Pid::from_raw(pid), Signal::SIGKILL);
    }
}

/// The next child that ended, if there is one.
pub fn reap() -> Option<Ended> {
    let mut status = 0;
    // SAFETY: the call writes `status` only. nix's wrapper has no value for a child that died of a
    // real-time signal, and so would lose its pid.
    let pid = unsafe { libc::waitpid(-1, &mut status, libc::WNOHANG) };
    if pid <= 0 {
        return None;
    }
    let (mut exit_code, mut signal) = (0, 0);
    if libc::WIFSIGNALED(status) {
        signal = libc::WTERMSIG(status);
    } else {
        exit_code = libc::WEXITSTATUS(status);
    }
    Some(Ended { pid, exit_code, signal })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::shell::testing::{TempDir, wait_until};
    use nix::sys::wait::{WaitStatus, waitpid};
    use std::os::unix::fs::PermissionsExt;

    /// Waits for this child alone: other tests have children too.
    fn wait_for(pid: i32) -> Ended {
        match waitpid(Pid::from_raw(pid), None).unwrap() {
            WaitStatus::Exited(_, exit_code) => Ended { pid, exit_code, signal: 0 },
            WaitStatus::Signaled(_, signal, _) => {
                Ended { pid, exit_code: 0, signal: signal as i32 }
            }
            other => panic!("{other:?}"),
        }
    }

    fn script(dir: &TempDir, text: &str) -> Vec<u8> {
        let path = dir.path().join("script.sh");
        std::fs::write(&path, format!("#!/bin/sh\n{text}\n")).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
        path.as_os_str().as_bytes().to_vec()
    }

    #[test]
    fn the_child_has_three_descriptors_and_its_words() {
        let dir = TempDir::new("script");
        // A descriptor that exec alone would not close, with a number that ls has no use for.
        let null = std::fs::File::open("/dev/null").unwrap();
        let leak = nix::fcntl::fcntl(&null, nix::fcntl::FcntlArg::F_DUPFD(99)).unwrap();
        let out = dir.path().join("out");
        let facts = "ls /proc/self/fd; echo \"$1,$2\"";
        let path = script(&dir, &format!("{{ {facts}; }} >{}", out.display()));
        let pid = spawn(&[path, b"+sdown".to_vec(), b"a b\xff".to_vec()]).unwrap();
        assert_eq!(wait_for(pid), Ended { pid, exit_code: 0, signal: 0 });
        let text = std::fs::read(out).unwrap();
        let text = String::from_utf8_lossy(&text);
        let fds: Vec<i32> = text.lines().map_while(|l| l.parse().ok()).collect();
        assert_eq!(&fds[..3], [0, 1, 2]);
        // ls itself has the directory open.
        assert!(fds.len() <= 4 && !fds.contains(&leak), "{fds:?}");
        assert!(text.ends_with("+sdown,a b\u{fffd}\n"));
    }

    #[test]
    fn the_child_has_default_signals() {
        let dir = TempDir::new("script");
        let out = dir.path().join("out");
        // No shell: those set their signals themselves. This process ignores SIGPIPE.
        let argv = ["/bin/cp", "/proc/self/status", out.to_str().unwrap()];
        let argv = argv.map(|word| word.as_bytes().to_vec());
        let blocked = nix::sys::signal::SigSet::from(Signal::SIGTERM);
        blocked.thread_block().unwrap();
        let pid = spawn(&argv).unwrap();
        blocked.thread_unblock().unwrap();
        assert_eq!(wait_for(pid).exit_code, 0);
        let text = std::fs::read_to_string(out).unwrap();
        for name in ["SigBlk", "SigIgn", "SigCgt"] {
            let line = text.lines().find(|line| line.starts_with(name)).unwrap();
            assert_eq!(line.split_whitespace().nth(1), Some("0000000000000000"), "{line}");
        }
    }

    #[test]
    fn exec_failing_is_exit_code_2() {
        let pid = spawn(&[b"/no/such/script".to_vec()]).unwrap();
        assert_eq!(wait_for(pid).exit_code, 2);
        assert!(spawn(&[]).is_err());
        assert_eq!(spawn(&[b"a\0b".to_vec()]), Err("Invalid argument".to_string()));
    }

    #[test]
    fn kills() {
        let dir = TempDir::new("script");
        let pid = spawn(&[script(&dir, "exec sleep 100")]).unwrap();
        kill_now(pid);
        assert_eq!(wait_for(pid), Ended { pid, exit_code: 0, signal: libc::SIGKILL });
        wait_until("it is gone", || kill(Pid::from_raw(pid), None).is_err());
    }
}
