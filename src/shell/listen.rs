//! Listening sockets, TCP and Unix (spec/config.md, `bind`, `port`, `unixsocket`).
#![forbid(unsafe_code)]

use std::fs;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, ToSocketAddrs};
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::path::Path;

use nix::errno::Errno;
use nix::sys::socket::sockopt::{Ipv6V6Only, ReuseAddr};
use nix::sys::socket::{
    AddressFamily, Backlog, SockFlag, SockType, SockaddrLike, SockaddrStorage, UnixAddr, bind,
    listen, setsockopt, socket,
};
use nix::unistd::{Gid, Group};

use super::files;
use super::system::reason;
use crate::config::settings::{BindAddr, Settings};

/// One listening socket.
#[derive(Debug)]
pub enum Listener {
    Tcp(mio::net::TcpListener),
    Unix(mio::net::UnixListener),
}

/// What was opened, and what is worth a line in the log at warning level.
#[derive(Debug, Default)]
pub struct Opened {
    pub listeners: Vec<Listener>,
    pub warnings: Vec<String>,
}

/// A step that failed, as `<step>: <reason>`.
struct Failure {
    text: String,
    errno: Option<Errno>,
}

impl Failure {
    fn at(step: &str, errno: Errno) -> Failure {
        Failure { text: format!("{step}: {}", errno.desc()), errno: Some(errno) }
    }

    /// Whether an address that may be missing is just not there.
    fn means_not_available(&self) -> bool {
        matches!(
            self.errno,
            Some(
                Errno::EADDRNOTAVAIL
                    | Errno::ENOPROTOOPT
                    | Errno::EPROTONOSUPPORT
                    | Errno::ESOCKTNOSUPPORT
                    | Errno::EPFNOSUPPORT
                    | Errno::EAFNOSUPPORT
            )
        )
    }
}

/// Opens all that the settings name. On failure the error is the last line before the end, and
/// `opened` holds the warnings before it.
pub fn open_all(settings: &Settings, opened: &mut Opened) -> Result<(), String> {
    if settings.port != 0 {
        for at in &settings.bind {
            match open_tcp(at, settings.port, settings.tcp_backlog) {
                Ok(listener) => opened.listeners.push(listener),
                Err(failure) => {
                    let host = String::from_utf8_lossy(&at.host);
                    opened.warnings.push(format!(
                        "Warning: Could not create server TCP listening socket {host}:{}: {}",
                        settings.port, failure.text
                    ));
                    if !(at.optional && failure.means_not_available()) {
                        return Err(format!(
                            "Failed listening on port {} (tcp), aborting.",
                            settings.port
                        ));
                    }
                }
            }
        }
    }
    if let Some(path) = &settings.unixsocket {
        let listener = open_unix(files::path(path), settings)
            .map_err(|failure| format!("Failed opening Unix socket: {}", failure.text))?;
        opened.listeners.push(listener);
    }
    if opened.listeners.is_empty() {
        return Err("Configured to not listen anywhere, exiting.".to_string());
    }
    Ok(())
}

/// The address that a word of `bind` means. Names without a colon are IPv4, as in the field.
fn address_of(at: &BindAddr, port: u16) -> Result<SocketAddr, Failure> {
    let ip = match at.host.as_slice() {
        b"*" => IpAddr::V4(Ipv4Addr::UNSPECIFIED),
        b"::*" => IpAddr::V6(Ipv6Addr::UNSPECIFIED),
        host => {
            let host = String::from_utf8_lossy(host);
            if let Ok(ip) = host.parse() {
                ip
            } else {
                let want_v6 = host.contains(':');
                let found = (&*host, port)
                    .to_socket_addrs()
                    .map_err(|e| Failure { text: reason(&e), errno: None })?;
                let mut found = found.filter(|a| a.is_ipv6() == want_v6);
                // An IPv6 address with a scope is a whole socket address, not just an IP.
                return found.next().ok_or_else(|| Failure {
                    text: "Name or service not known".to_string(),
                    errno: None,
                });
            }
        }
    };
    Ok(SocketAddr::new(ip, port))
}

fn open_tcp(at: &BindAddr, port: u16, backlog: u32) -> Result<Listener, Failure> {
    let addr = address_of(at, port)?;
    let family = if addr.is_ipv6() { AddressFamily::Inet6 } else { AddressFamily::Inet };
    let fd = new_socket(family)?;
    if addr.is_ipv6() {
        setsockopt(&fd, Ipv6V6Only, &true).map_err(|e| Failure::at("setsockopt", e))?;
    }
    setsockopt(&fd, ReuseAddr, &true).map_err(|e| Failure::at("setsockopt SO_REUSEADDR", e))?;
    bind_and_listen(&fd, &SockaddrStorage::from(addr), backlog, || Ok(()))?;
    let listener = std::net::TcpListener::from(fd);
    Ok(Listener::Tcp(mio::net::TcpListener::from_std(listener)))
}

/// A Unix socket gets its group and mode before anyone can connect.
fn open_unix(path: &Path, settings: &Settings) -> Result<Listener, Failure> {
    // A socket that an earlier process left is in the way; any other file is not ours to remove.
    if fs::symlink_metadata(path).is_ok_and(|m| m.file_type().is_socket()) {
        let _ = fs::remove_file(path);
    }
    let addr = UnixAddr::new(path).map_err(|e| Failure::at("bind", e))?;
    let fd = new_socket(AddressFamily::Unix)?;
    let set_rights = || -> Result<(), Failure> {
        if let Some(name) = &settings.unixsocketgroup {
            let gid = group_of(name)?;
            nix::unistd::chown(path, None, Some(gid)).map_err(|e| Failure::at("chown", e))?;
        }
        if let Some(mode) = settings.unixsocketperm {
            fs::set_permissions(path, fs::Permissions::from_mode(mode))
                .map_err(|e| Failure { text: format!("chmod: {}", reason(&e)), errno: None })?;
        }
        Ok(())
    };
    bind_and_listen(&fd, &addr, settings.tcp_backlog, set_rights)?;
    let listener = std::os::unix::net::UnixListener::from(fd);
    Ok(Listener::Unix(mio::net::UnixListener::from_std(listener)))
}

fn new_socket(family: AddressFamily) -> Result<OwnedFd, Failure> {
    let flags = SockFlag::SOCK_NONBLOCK | SockFlag::SOCK_CLOEXEC;
    socket(family, SockType::Stream, flags, None).map_err(|e| Failure::at("socket", e))
}

fn bind_and_listen(
    fd: &OwnedFd,
    addr: &dyn SockaddrLike,
    backlog: u32,
    between: impl FnOnce() -> Result<(), Failure>,
) -> Result<(), Failure> {
    bind(fd.as_raw_fd(), addr).map_err(|e| Failure::at("bind", e))?;
    between()?;
    let backlog = i32::try_from(backlog).unwrap_or(i32::MAX);
    let backlog = Backlog::new(backlog).unwrap_or(Backlog::MAXALLOWABLE);
    listen(fd, backlog).map_err(|e| Failure::at("listen", e))
}

fn group_of(name: &[u8]) -> Result<Gid, Failure> {
    let name = String::from_utf8_lossy(name);
    if let Ok(number) = name.parse() {
        return Ok(Gid::from_raw(number));
    }
    match Group::from_name(&name) {
        Ok(Some(group)) => Ok(group.gid),
        Ok(None) => Err(Failure { text: format!("no group named '{name}'"), errno: None }),
        Err(e) => Err(Failure::at("getgrnam", e)),
    }
}

/// A line for the log if the kernel cuts the backlog down.
pub fn backlog_warning(backlog: u32) -> Option<String> {
    const LIMIT: &str = "/proc/sys/net/core/somaxconn";
    let limit: u32 = fs::read_to_string(LIMIT).ok()?.trim().parse().ok()?;
    (limit > 0 && limit < backlog).then(|| {
        format!(
            "WARNING: The TCP backlog setting of {backlog} cannot be enforced because {LIMIT} is \
             set to the lower value of {limit}."
        )
    })
}

impl mio::event::Source for Listener {
    fn register(
        &mut self,
        registry: &mio::Registry,
        token: mio::Token,
        interests: mio::Interest,
    ) -> io::Result<()> {
        match self {
            Listener::Tcp(listener) => listener.register(registry, token, interests),
            Listener::Unix(listener) => listener.register(registry, token, interests),
        }
    }

    fn reregister(
        &mut self,
        registry: &mio::Registry,
        token: mio::Token,
        interests: mio::Interest,
    ) -> io::Result<()> {
        match self {
            Listener::Tcp(listener) => listener.reregister(registry, token, interests),
            Listener::Unix(listener) => listener.reregister(registry, token, interests),
        }
    }

    fn deregister(&mut self, registry: &mio::Registry) -> io::Result<()> {
        match self {
            Listener::Tcp(listener) => listener.deregister(registry),
            Listener::Unix(listener) => listener.deregister(registry),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::shell::testing::TempDir;

    fn settings(port: u16, hosts: &[&str]) -> Settings {
        let bind = hosts.iter().map(|host| {
            let optional = host.starts_with('-');
            BindAddr { host: host.trim_start_matches('-').as_bytes().to_vec(), optional }
        });
        Settings { port, bind: bind.collect(), ..Settings::default() }
    }

    fn open(settings: &Settings) -> (Opened, Result<(), String>) {
        let mut opened = Opened::default();
        let result = open_all(settings, &mut opened);
        (opened, result)
    }

    fn free_port() -> u16 {
        std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
    }

    #[test]
    fn refusals() {
        let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let port = taken.local_addr().unwrap().port();
        let (opened, result) = open(&settings(port, &["127.0.0.1"]));
        assert_eq!(result, Err(format!("Failed listening on port {port} (tcp), aborting.")));
        let warning = format!(
            "Warning: Could not create server TCP listening socket 127.0.0.1:{port}: bind: \
             Address already in use"
        );
        assert_eq!(opened.warnings, [warning]);
        let nowhere = Err("Configured to not listen anywhere, exiting.".to_string());
        assert_eq!(open(&settings(0, &["*"])).1, nowhere);
        assert_eq!(open(&settings(port, &[])).1, nowhere);
        assert_eq!(open(&settings(free_port(), &["-192.0.2.1"])).1, nowhere);
        let mut unix = settings(0, &[]);
        unix.unixsocket = Some(b"/no/dir/x.sock".to_vec());
        let text = "Failed opening Unix socket: bind: No such file or directory";
        assert_eq!(open(&unix).1, Err(text.to_string()));
    }

    #[test]
    fn optional_addresses_may_be_missing() {
        let port = free_port();
        let (opened, result) = open(&settings(port, &["127.0.0.1", "-192.0.2.1"]));
        assert_eq!(result, Ok(()));
        assert_eq!(opened.listeners.len(), 1);
        assert_eq!(opened.warnings.len(), 1);
        std::net::TcpStream::connect(("127.0.0.1", port)).unwrap();
    }

    #[test]
    fn ipv4_and_ipv6_share_a_port() {
        let (opened, result) = open(&settings(free_port(), &["*", "-::*"]));
        assert_eq!(result, Ok(()));
        assert_eq!(opened.listeners.len() + opened.warnings.len(), 2);
    }

    #[test]
    fn a_unix_socket_has_its_mode_and_replaces_a_stale_one_only() {
        let dir = TempDir::new("listen");
        let path = dir.path().join("s.sock");
        let mut settings = settings(0, &[]);
        settings.unixsocket = Some(path.to_str().unwrap().as_bytes().to_vec());
        settings.unixsocketperm = Some(0o640);
        for _ in 0..2 {
            let (_opened, result) = open(&settings);
            assert_eq!(result, Ok(()));
            assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o640);
            std::os::unix::net::UnixStream::connect(&path).unwrap();
        }
        fs::remove_file(&path).unwrap();
        fs::write(&path, "precious").unwrap();
        let text = "Failed opening Unix socket: bind: Address already in use";
        assert_eq!(open(&settings).1, Err(text.to_string()));
        assert_eq!(fs::read(&path).unwrap(), b"precious");
    }
}
