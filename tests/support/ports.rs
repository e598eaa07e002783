//! Ports for the processes of a test.
//!
//! Ports are taken from below the range the system gives to outgoing connections: the port of a
//! killed server must stay free until it starts again, and a connect to a dead port of that range
//! can meet itself. A port is reserved across test programs by an abstract unix socket, which the
//! system drops with its owner.

use std::fs;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixListener};
use std::sync::atomic::{AtomicU32, Ordering};

/// First port that is handed out.
const FIRST: u32 = 11_000;
/// How many ports there are to choose from.
const COUNT: u32 = 20_000;
/// The state of a listening socket in `/proc/net/tcp`.
const LISTENING: &str = "0A";

static NEXT: AtomicU32 = AtomicU32::new(0);

/// A port nobody else of these tests gets while this lives.
pub struct Port {
    /// The number.
    pub number: u16,
    _lock: UnixListener,
}

/// Reserves a port on which nobody listens, at whatever address of both families.
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

/// Whether nobody listens there. It is looked up, not tried: a socket bound for the trial would
/// live on, after it was closed here, in every process that another thread begins meanwhile, up to
/// its exec.
pub fn is_free(number: u16) -> bool {
    let wanted = format!(":{number:04X}");
    ["tcp", "tcp6"].iter().all(|family| {
        // Of the thread: some tests are in a network of their own. No file: no such family.
        let table = fs::read_to_string(format!("/proc/thread-self/net/{family}"));
        !table.unwrap_or_default().lines().any(|line| {
            let mut words = line.split_whitespace().skip(1);
            let (local, state) = (words.next(), words.nth(1));
            state == Some(LISTENING) && local.is_some_and(|local| local.ends_with(&wanted))
        })
    })
}
