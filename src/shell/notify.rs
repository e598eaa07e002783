//! Telling the supervisor (spec/config.md, `supervised`): systemd by datagrams, upstart by a stop.
#![forbid(unsafe_code)]

use std::ffi::OsStr;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};

use nix::sys::signal::{Signal, raise};

use crate::config::settings::Supervised;
use crate::sentinel::action::LogLevel;
use crate::shell::logging;
use crate::util::time::Mono;

/// The supervisor that was found.
#[derive(Debug)]
pub enum Supervisor {
    None,
    Upstart,
    Systemd(Systemd),
}

/// The notification socket of systemd.
#[derive(Debug)]
pub struct Systemd {
    socket: UnixDatagram,
    to: SocketAddr,
    /// How often the watchdog wants to hear of us: half of what it asks for.
    watchdog_ms: Option<u64>,
    watchdog_due: Mono,
}

impl Supervisor {
    /// Looks for the supervisor that the configuration names; if the environment does not show
    /// it, says so and goes on without.
    pub fn find(wanted: Supervised) -> Supervisor {
        let upstart = std::env::var_os("UPSTART_JOB").is_some();
        let systemd = std::env::var_os("NOTIFY_SOCKET");
        match wanted {
            Supervised::Upstart if upstart => Supervisor::Upstart,
            Supervised::Auto if upstart => Supervisor::Upstart,
            Supervised::Upstart => {
                warn("upstart supervision requested, but UPSTART_JOB not found!");
                Supervisor::None
            }
            Supervised::Systemd | Supervised::Auto => match systemd.as_deref().map(Systemd::new) {
                Some(Some(systemd)) => Supervisor::Systemd(systemd),
                found => {
                    if found.is_some() || wanted == Supervised::Systemd {
                        warn("systemd supervision error: NOTIFY_SOCKET not found!");
                    }
                    Supervisor::None
                }
            },
            Supervised::No => Supervisor::None,
        }
    }

    /// Whether there is one (then the process stays in the foreground).
    pub fn is_some(&self) -> bool {
        !matches!(self, Supervisor::None)
    }

    /// At the very start.
    pub fn loading(&self) {
        if let Supervisor::Systemd(systemd) = self {
            systemd.send("STATUS=Sentinel is loading...\n");
        }
    }

    /// Connections are accepted from now on.
    pub fn ready(&self) {
        match self {
            Supervisor::None => {}
            // Upstart's `expect stop`: it lets the process go on.
            Supervisor::Upstart => {
                let _ = raise(Signal::SIGSTOP);
            }
            Supervisor::Systemd(systemd) => {
                systemd.send("STATUS=Ready to accept connections\n");
                systemd.send("READY=1\n");
            }
        }
    }

    /// The process ends.
    pub fn stopping(&self) {
        if let Supervisor::Systemd(systemd) = self {
            systemd.send("STOPPING=1\n");
        }
    }

    /// When the watchdog wants to hear of us next.
    pub fn watchdog_due(&self) -> Option<Mono> {
        match self {
            Supervisor::Systemd(s) if s.watchdog_ms.is_some() => Some(s.watchdog_due),
            _ => None,
        }
    }

    /// Tells the watchdog that the loop runs, if it is time.
    pub fn watchdog(&mut self, now: Mono) {
        if let Supervisor::Systemd(systemd) = self
            && let Some(every_ms) = systemd.watchdog_ms
            && now >= systemd.watchdog_due
        {
            systemd.send("WATCHDOG=1\n");
            systemd.watchdog_due = now.after(every_ms);
        }
    }
}

impl Systemd {
    fn new(name: &OsStr) -> Option<Systemd> {
        let to = match name.as_bytes() {
            [b'@', rest @ ..] => SocketAddr::from_abstract_name(rest),
            _ => SocketAddr::from_pathname(name),
        };
        let socket = UnixDatagram::unbound().ok()?;
        // A supervisor that does not read must not stop the loop.
        socket.set_nonblocking(true).ok()?;
        let watchdog_ms = watchdog_ms(&|name| std::env::var(name).ok());
        Some(Systemd { socket, to: to.ok()?, watchdog_ms, watchdog_due: Mono(0) })
    }

    fn send(&self, text: &str) {
        let _ = self.socket.send_to_addr(text.as_bytes(), &self.to);
    }
}

/// Half of WATCHDOG_USEC, if it is meant for this process.
fn watchdog_ms(env: &dyn Fn(&str) -> Option<String>) -> Option<u64> {
    let us: u64 = env("WATCHDOG_USEC")?.parse().ok()?;
    if env("WATCHDOG_PID").is_some_and(|pid| pid != std::process::id().to_string()) {
        return None;
    }
    (us > 0).then(|| (us / 2000).max(1))
}

fn warn(text: &str) {
    logging::write(LogLevel::Warning, text.as_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::shell::testing::TempDir;

    fn received(socket: &UnixDatagram) -> String {
        let mut buf = [0; 100];
        let n = socket.recv(&mut buf).unwrap();
        String::from_utf8(buf[..n].to_vec()).unwrap()
    }

    fn exercise(socket: UnixDatagram, name: &OsStr) {
        let mut systemd = Systemd::new(name).unwrap();
        systemd.watchdog_ms = Some(50);
        let mut supervisor = Supervisor::Systemd(systemd);
        supervisor.ready();
        assert_eq!(received(&socket), "STATUS=Ready to accept connections\n");
        assert_eq!(received(&socket), "READY=1\n");
        supervisor.watchdog(Mono(1000));
        assert_eq!(supervisor.watchdog_due(), Some(Mono(1050)));
        supervisor.watchdog(Mono(1049));
        supervisor.stopping();
        assert_eq!(received(&socket), "WATCHDOG=1\n");
        assert_eq!(received(&socket), "STOPPING=1\n");
    }

    #[test]
    fn tells_systemd_by_path_and_by_abstract_name() {
        let dir = TempDir::new("notify");
        let path = dir.path().join("notify");
        exercise(UnixDatagram::bind(&path).unwrap(), path.as_os_str());
        let name = format!("sentineld-notify-{}", std::process::id());
        let addr = SocketAddr::from_abstract_name(&name).unwrap();
        let socket = UnixDatagram::bind_addr(&addr).unwrap();
        exercise(socket, OsStr::new(&format!("@{name}")));
    }

    #[test]
    fn watchdog_time() {
        let pid = std::process::id().to_string();
        let env = |us: &'static str, for_pid: Option<String>| {
            watchdog_ms(&move |name| match name {
                "WATCHDOG_USEC" => Some(us.to_string()),
                _ => for_pid.clone(),
            })
        };
        assert_eq!(env("30000000", None), Some(15_000));
        assert_eq!(env("30000000", Some(pid)), Some(15_000));
        assert_eq!(env("30000000", Some("1".to_string())), None);
        assert_eq!(env("x", None), None);
        assert_eq!(env("0", None), None);
    }
}
