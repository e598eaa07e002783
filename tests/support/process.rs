//! Child processes that never outlive their test.
//!
//! Each runs in a process group of its own, which is killed when the guard is dropped. For the
//! case that the test program itself is killed, one shell waits for the end of a pipe and then
//! kills what is left and removes the files.

use super::wait;
use nix::sys::signal::{Signal, kill, killpg};
use nix::sys::wait::{Id, WaitPidFlag, WaitStatus, waitid};
use nix::unistd::Pid;
use std::io::{self, Write};
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::{Mutex, OnceLock};

/// The directory under which all tests of this program keep their files.
pub fn root() -> PathBuf {
    std::env::temp_dir().join(format!("sentineld-real-{}", std::process::id()))
}

/// Reads lines `+ pid` and `- pid`; at the end of input kills the groups that are left.
const REAPER: &str = r#"
left=
while read -r op pid; do
  case $op in
    +) left="$left $pid" ;;
    -) keep=
       for p in $left; do [ "$p" = "$pid" ] || keep="$keep $p"; done
       left=$keep ;;
  esac
done
for p in $left; do kill -s KILL -- "-$p"; done
rm -rf -- "$1"
"#;

/// The reaper's input; the first call starts it.
fn reaper() -> &'static Mutex<ChildStdin> {
    static REAPER_INPUT: OnceLock<Mutex<ChildStdin>> = OnceLock::new();
    REAPER_INPUT.get_or_init(|| {
        // Nobody waits for it: it ends after this program.
        #[allow(clippy::zombie_processes)]
        let child = Command::new("sh")
            .arg("-c")
            .arg(REAPER)
            .arg("sh")
            .arg(root())
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .process_group(0)
            .spawn()
            .expect("sh starts");
        Mutex::new(child.stdin.expect("the input is piped"))
    })
}

/// Makes sure that what this program leaves behind is removed, its files too.
pub fn start_reaper() {
    reaper();
}

/// Tells the reaper of a process group that began (`'+'`) or ended (`'-'`).
fn tell_reaper(op: char, pid: Pid) {
    let mut input = reaper().lock().unwrap_or_else(|poisoned| poisoned.into_inner());
    writeln!(input, "{op} {pid}").expect("the reaper reads");
}

/// A started process and its group.
pub struct Process {
    child: Child,
    pid: Pid,
}

impl Process {
    /// Starts a command in a process group of its own, without standard input.
    pub fn spawn(command: &mut Command) -> io::Result<Process> {
        let child = command.stdin(Stdio::null()).process_group(0).spawn()?;
        let pid = Pid::from_raw(child.id() as i32);
        tell_reaper('+', pid);
        Ok(Process { child, pid })
    }

    /// The process id.
    pub fn pid(&self) -> i32 {
        self.pid.as_raw()
    }

    /// Exit code once it ended (a signal as 128 + number), else `None`. The process is not
    /// reaped by this, so that its group id stays taken until the group is killed.
    pub fn exit_code(&self) -> Option<i32> {
        let flags = WaitPidFlag::WEXITED | WaitPidFlag::WNOHANG | WaitPidFlag::WNOWAIT;
        match waitid(Id::Pid(self.pid), flags) {
            Ok(WaitStatus::Exited(_, code)) => Some(code),
            Ok(WaitStatus::Signaled(_, signal, _)) => Some(128 + signal as i32),
            _ => None,
        }
    }

    /// Sends a signal to the process alone.
    pub fn signal(&self, signal: Signal) {
        let _ = kill(self.pid, signal);
    }

    /// Stops the process (SIGSTOP) and waits until it stands.
    pub fn freeze(&self) {
        self.signal(Signal::SIGSTOP);
        let path = format!("/proc/{}/stat", self.pid);
        wait::wait("the process to stop", wait::SHORT, || {
            let stat = std::fs::read_to_string(&path).map_err(|error| error.to_string())?;
            wait::expect(stat.contains(") T "), stat)
        });
    }

    /// Lets a stopped process run again.
    pub fn thaw(&self) {
        self.signal(Signal::SIGCONT);
    }

    /// Waits for the end and gives the exit code, as [`Process::exit_code`].
    pub fn wait(&self, what: &str) -> i32 {
        wait::wait(what, wait::SHORT, || self.exit_code().ok_or("still running".into()))
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = killpg(self.pid, Signal::SIGKILL);
        let _ = self.child.wait();
        tell_reaper('-', self.pid);
    }
}

/// Guard for a process that left its parent (daemonize): killed on drop.
pub struct Stray(Pid);

impl Stray {
    /// Takes over a process by its id; it must lead its own process group.
    pub fn adopt(pid: i32) -> Stray {
        let pid = Pid::from_raw(pid);
        tell_reaper('+', pid);
        Stray(pid)
    }

    /// True while the process exists.
    pub fn is_alive(&self) -> bool {
        kill(self.0, None).is_ok()
    }

    /// Sends a signal.
    pub fn signal(&self, signal: Signal) {
        let _ = kill(self.0, signal);
    }
}

impl Drop for Stray {
    fn drop(&mut self) {
        if self.is_alive() {
            let _ = killpg(self.0, Signal::SIGKILL);
        }
        tell_reaper('-', self.0);
    }
}
