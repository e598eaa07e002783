//! Syslog: one datagram a line to the system's log socket, never waiting for it.
#![forbid(unsafe_code)]

use std::os::unix::net::UnixDatagram;

use log::Level;

use super::clock::ClockSource;

const SOCKET: &str = "/dev/log";

/// Facility words and their numbers (RFC 3164, section 4.1.1).
const FACILITIES: [(&[u8], u8); 9] = [
    (b"user", 1),
    (b"local0", 16),
    (b"local1", 17),
    (b"local2", 18),
    (b"local3", 19),
    (b"local4", 20),
    (b"local5", 21),
    (b"local6", 22),
    (b"local7", 23),
];

/// A connection to the system's log, made again when it broke.
#[derive(Debug)]
pub struct Syslog {
    ident: Vec<u8>,
    facility: u8,
    socket: Option<UnixDatagram>,
    clock: ClockSource,
    path: String,
}

impl Syslog {
    /// `facility` is the word of the `syslog-facility` directive; an unknown one is local0.
    pub fn new(ident: &[u8], facility: &[u8]) -> Syslog {
        let known = FACILITIES.iter().find(|(word, _)| word.eq_ignore_ascii_case(facility));
        Syslog {
            ident: ident.to_vec(),
            facility: known.map_or(16, |(_, number)| *number),
            socket: None,
            clock: ClockSource::default(),
            path: SOCKET.to_string(),
        }
    }

    /// One that sends to the socket at `path`, with usual settings.
    #[cfg(test)]
    pub fn at(path: &str) -> Syslog {
        Syslog { path: path.to_string(), ..Syslog::new(b"sentinel", b"local0") }
    }

    /// Sends a line; it is lost if the log daemon is gone or does not keep up, because waiting for
    /// it would stop the whole process.
    pub fn send(&mut self, level: Level, text: &str) {
        let message = self.message(level, text);
        for _ in 0..2 {
            if self.socket.is_none() {
                self.socket = connect(&self.path);
            }
            let Some(socket) = &self.socket else { return };
            match socket.send(&message) {
                Err(e) if e.kind() != std::io::ErrorKind::WouldBlock => self.socket = None,
                _ => return,
            }
        }
    }

    fn message(&mut self, level: Level, text: &str) -> Vec<u8> {
        let severity = match level {
            Level::Error | Level::Warn => 4,
            Level::Info => 5,
            Level::Debug => 6,
            Level::Trace => 7,
        };
        let priority = self.facility * 8 + severity;
        // `Sun Nov 22 04:08:41 2026` holds the `Nov 22 04:08:41` that syslog wants.
        let ctime = self.clock.wall().ctime();
        let stamp = ctime.get(4..19).unwrap_or_default();
        let mut message = format!("<{priority}>{stamp} ").into_bytes();
        message.extend_from_slice(&self.ident);
        message.extend_from_slice(format!("[{}]: ", std::process::id()).as_bytes());
        message.extend_from_slice(text.as_bytes());
        message
    }
}

fn connect(path: &str) -> Option<UnixDatagram> {
    let socket = UnixDatagram::unbound().ok()?;
    socket.set_nonblocking(true).ok()?;
    socket.connect(path).ok()?;
    Some(socket)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sends_priority_ident_and_text() {
        let dir = crate::shell::testing::TempDir::new("syslog");
        let path = dir.path().join("log");
        let daemon = UnixDatagram::bind(&path).unwrap();
        let mut syslog = Syslog::new(b"sentinel", b"LOCAL1");
        syslog.path = path.to_str().unwrap().to_string();
        syslog.send(Level::Info, "hello");
        let mut buf = [0; 200];
        let n = daemon.recv(&mut buf).unwrap();
        let text = &buf[..n];
        assert!(text.starts_with(b"<141>"));
        let end = format!(" sentinel[{}]: ", std::process::id());
        assert!(text.ends_with(&[end.as_bytes(), b"hello"].concat()));
        // `<141>` and `Nov 22 04:08:41`.
        assert_eq!(n, 5 + 15 + end.len() + 5);
    }
}
