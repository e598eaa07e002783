//! Outgoing connections, and the options of every TCP socket.
#![forbid(unsafe_code)]

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::os::fd::{AsFd, AsRawFd};

use mio::net::TcpStream;
use nix::errno::Errno;
use nix::sys::socket::sockopt::{
    IpBindAddressNoPort, KeepAlive, TcpKeepCount, TcpKeepIdle, TcpKeepInterval, TcpNoDelay,
    TcpUserTimeout,
};
use nix::sys::socket::{
    AddressFamily, SockFlag, SockType, SockaddrStorage, bind, connect, setsockopt, socket,
};

use crate::node::Closed;

const KEEPALIVE_PROBES: u32 = 3;
/// How long the kernel tries to deliver what a link sent. The core gives most links up before; this
/// holds also when the process was killed, and the kernel alone goes on with its sockets.
const UNACKNOWLEDGED_MAX_MS: u32 = 30_000;

/// How sockets are made.
#[derive(Clone, Copy, Debug, Default)]
pub struct Options {
    /// `bind-source-addr`.
    pub source: Option<IpAddr>,
    /// 0: off.
    pub keepalive_s: u32,
}

impl Options {
    /// Sets the options that every TCP socket has, in both directions. A socket that refuses one
    /// works without it.
    pub fn apply(&self, socket: &impl AsFd) {
        let _ = setsockopt(socket, TcpNoDelay, &true);
        if self.keepalive_s == 0 {
            return;
        }
        let interval_s = (self.keepalive_s / 3).max(1);
        let _ = setsockopt(socket, KeepAlive, &true);
        let _ = setsockopt(socket, TcpKeepIdle, &self.keepalive_s);
        let _ = setsockopt(socket, TcpKeepInterval, &interval_s);
        let _ = setsockopt(socket, TcpKeepCount, &KEEPALIVE_PROBES);
    }

    /// Begins to connect; gives the socket and our own address of it.
    pub fn begin(&self, ip: IpAddr, port: u16) -> io::Result<(TcpStream, Option<IpAddr>)> {
        let family = if ip.is_ipv6() { AddressFamily::Inet6 } else { AddressFamily::Inet };
        let flags = SockFlag::SOCK_NONBLOCK | SockFlag::SOCK_CLOEXEC;
        let fd = socket(family, SockType::Stream, flags, None)?;
        self.apply(&fd);
        let _ = setsockopt(&fd, TcpUserTimeout, &UNACKNOWLEDGED_MAX_MS);
        // A source address of the other family cannot be meant for this connection.
        if let Some(source) = self.source.filter(|s| s.is_ipv6() == ip.is_ipv6()) {
            // The port is chosen at connect, so that 28000 ports are enough for all addresses.
            let _ = setsockopt(&fd, IpBindAddressNoPort, &true);
            bind(fd.as_raw_fd(), &SockaddrStorage::from(SocketAddr::new(source, 0)))?;
        }
        match connect(fd.as_raw_fd(), &SockaddrStorage::from(SocketAddr::new(ip, port))) {
            Ok(()) | Err(Errno::EINPROGRESS) => {}
            Err(e) => return Err(e.into()),
        }
        let stream = std::net::TcpStream::from(fd);
        let local = stream.local_addr().ok().map(|at| at.ip());
        Ok((TcpStream::from_std(stream), local.filter(|ip| !ip.is_unspecified())))
    }
}

/// What an error of a connect means.
pub fn why(error: &io::Error) -> Closed {
    match error.kind() {
        io::ErrorKind::ConnectionRefused => Closed::Refused,
        _ => Closed::Error,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use nix::sys::socket::getsockopt;

    #[test]
    fn options_are_set_and_the_source_is_bound() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let source = Some("127.0.0.9".parse().unwrap());
        let options = Options { source, keepalive_s: 300 };
        let (stream, local) = options.begin("127.0.0.1".parse().unwrap(), port).unwrap();
        assert_eq!(local, source);
        let (_, peer) = listener.accept().unwrap();
        assert_eq!(Some(peer.ip()), source);
        assert!(getsockopt(&stream, TcpNoDelay).unwrap());
        assert!(getsockopt(&stream, KeepAlive).unwrap());
        assert_eq!(getsockopt(&stream, TcpKeepIdle).unwrap(), 300);
        assert_eq!(getsockopt(&stream, TcpKeepInterval).unwrap(), 100);
        assert_eq!(getsockopt(&stream, TcpUserTimeout).unwrap(), UNACKNOWLEDGED_MAX_MS);
    }
}
