//! Connections that do not keep to the protocol.

use std::io::{self, ErrorKind, Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

/// A stream of bytes to a sentinel.
pub struct Raw {
    pub stream: TcpStream,
    /// The address it comes from.
    pub addr: String,
}

impl Raw {
    /// Connects to a port of 127.0.0.1.
    pub fn connect(port: u16) -> Raw {
        let stream = TcpStream::connect(("127.0.0.1", port)).expect("the port is open");
        stream.set_read_timeout(Some(Duration::from_secs(10))).expect("a timeout");
        stream.set_write_timeout(Some(Duration::from_millis(200))).expect("a timeout");
        let addr = stream.local_addr().expect("an address").to_string();
        Raw { stream, addr }
    }

    /// Sends all of it, or until the other side has closed.
    pub fn send(&mut self, bytes: &[u8]) {
        let _ = self.stream.write_all(bytes);
    }

    /// Sends `bytes` again and again until `span` is over or the other side has closed; writes
    /// that block are tried again. Gives how many bytes left.
    pub fn flood(&mut self, bytes: &[u8], span: Duration) -> usize {
        let (start, mut sent) = (Instant::now(), 0);
        while start.elapsed() < span {
            // From where the last write ended: requests stay whole.
            match self.stream.write(&bytes[sent % bytes.len()..]) {
                Ok(n) => sent += n,
                Err(error) if is_timeout(&error) => {}
                Err(_) => break,
            }
        }
        sent
    }

    /// Everything until the other side closes; panics if it does not.
    #[track_caller]
    pub fn read_to_close(&mut self) -> Vec<u8> {
        let mut bytes = Vec::new();
        let mut chunk = [0; 65536];
        loop {
            match self.stream.read(&mut chunk) {
                Ok(0) => return bytes,
                Ok(n) => bytes.extend_from_slice(&chunk[..n]),
                Err(error) if is_timeout(&error) => panic!("not closed: {bytes:?}"),
                // A reset, since we sent what nobody read.
                Err(_) => return bytes,
            }
        }
    }

    /// Reads so many bytes.
    #[track_caller]
    pub fn read_exact(&mut self, count: usize) -> Vec<u8> {
        let mut bytes = vec![0; count];
        self.stream.read_exact(&mut bytes).expect("so many bytes");
        bytes
    }
}

/// Whether a read or write ended because its time was over.
pub fn is_timeout(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut)
}

/// `requests` of inline commands in one piece, about 64 KiB.
pub fn pipeline(request: &str) -> Vec<u8> {
    let line = format!("{request}\r\n");
    line.repeat((64 << 10) / line.len() + 1).into_bytes()
}

/// Pseudo-random numbers from a seed (xorshift).
pub struct Dice(pub u64);

impl Dice {
    /// The next number.
    pub fn roll(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    /// A number below `end`.
    pub fn below(&mut self, end: usize) -> usize {
        (self.roll() % end as u64) as usize
    }
}
