//! Ports for the processes of a test.
//!
//! Ports are taken from below the range the system gives to outgoing connections: the port of a
//! killed server must stay free until it starts again, and a connect to a dead port of that range
//! can meet itself. A port is reserved across test programs by an abstract unix socket, which the
//! system drops with its owner.

use std::io::ErrorKind;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, TcpStream};
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixListener};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

/// First port that is handed out.
const FIRST: u32 = 11_000;
/// How many ports there are to choose from.
const COUNT: u32 = 20_000;
/// Longer than a connection on this machine takes.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(1);

static NEXT: AtomicU32 = AtomicU32::new(0);

/// A port nobody else of these tests gets while this lives.
pub struct Port {
    /// The number.
    pub number: u16,
    _lock: UnixListener,
}

/// Reserves a port on which nobody listens at the loopback addresses of both families.
pub fn reserve() -> Port {
    let start = std::process::id().wrapping_mul(7919);
    for _ in 0..COUNT {
        let step = NEXT.fetch_add(1, Ordering::Relaxed);
        let number = (FIRST + start.wrapping_add(step) % COUNT) as u16;
        let Ok(name) = SocketAddr::from_abstract_name(format!("sentineld-test-port-{number}"))
        else {
            continue;
        };
        let Ok(lock) = UnixListener::bind_addr(&name) else { continue };
        if is_free(number) {
            return Port { number, _lock: lock };
        }
    }
    panic!("no free port in {FIRST}..{}", FIRST + COUNT);
}

/// Whether nobody listens there. A connection is tried, not the port itself: a socket bound for
/// the trial would live on, after it was closed here, in every process that another thread begins
/// meanwhile, up to its exec.
pub fn is_free(number: u16) -> bool {
    let loopback: [IpAddr; 2] = [Ipv4Addr::LOCALHOST.into(), Ipv6Addr::LOCALHOST.into()];
    loopback.into_iter().all(|address| {
        let tried = TcpStream::connect_timeout(&(address, number).into(), CONNECT_TIMEOUT);
        // Who stands still may not even refuse. Any other error: there is no such family.
        tried.is_err_and(|error| error.kind() != ErrorKind::TimedOut)
    })
}
