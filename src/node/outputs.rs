//! Output buffers of all connections, and which of them want to be flushed.
#![forbid(unsafe_code)]

use std::collections::VecDeque;

use crate::sentinel::action::{Load, Outbox};
use crate::util::ident::{ConnId, IdMap};

/// An empty buffer with more room than this is given back to the system.
const KEPT_CAPACITY_BYTES: usize = 32 * 1024;
/// What a new buffer has room for: a hello with a PING and INFO.
const FRESH_BYTES: usize = 512;
/// So much room is kept in empty buffers for the next connections that write.
const SPARE_MAX_BYTES: usize = 256 * 1024;
/// Sent bytes are cut off the front when they are this many and at least half of the buffer.
const COMPACT_BYTES: usize = 64 * 1024;

#[derive(Debug, Default)]
struct Output {
    bytes: Vec<u8>,
    /// How many bytes at the front have left already.
    sent: usize,
    touched: bool,
}

/// The buffers; connection ids count up and are never reused.
#[derive(Debug, Default)]
pub struct Outputs {
    open: IdMap<ConnId, Output>,
    touched: Vec<ConnId>,
    /// Empty buffers with room: a connection without output holds none.
    spare: Vec<Vec<u8>>,
    spare_bytes: usize,
    /// Connections that are to be read only when so many bytes have come.
    gathers: VecDeque<(ConnId, usize)>,
    last_id: u64,
}

impl Outputs {
    /// Moves the connections that were written to since the last call into `into`.
    pub fn take_touched(&mut self, into: &mut Vec<ConnId>) {
        for conn in self.touched.drain(..) {
            if let Some(output) = self.open.get_mut(&conn) {
                output.touched = false;
                into.push(conn);
            }
        }
    }

    /// Takes one wish to have input gathered: how many bytes there should be before the next read.
    pub fn take_gather(&mut self) -> Option<(ConnId, usize)> {
        self.gathers.pop_front()
    }

    /// What has not left yet.
    pub fn output(&self, conn: ConnId) -> Option<&[u8]> {
        self.open.get(&conn).map(|output| &output.bytes[output.sent..])
    }

    /// `n` bytes have left; what has not.
    pub fn sent(&mut self, conn: ConnId, n: usize) -> Load {
        let Some(output) = self.open.get_mut(&conn) else { return Load::default() };
        output.sent = (output.sent + n).min(output.bytes.len());
        if output.sent == output.bytes.len() {
            output.sent = 0;
            let mut buffer = std::mem::take(&mut output.bytes);
            let room = buffer.capacity();
            if room <= KEPT_CAPACITY_BYTES && self.spare_bytes + room <= SPARE_MAX_BYTES {
                buffer.clear();
                self.spare_bytes += room;
                self.spare.push(buffer);
            }
        } else if output.sent >= COMPACT_BYTES && output.sent * 2 >= output.bytes.len() {
            output.bytes.drain(..output.sent);
            output.sent = 0;
            if output.bytes.capacity() / 4 > output.bytes.len() {
                output.bytes.shrink_to(output.bytes.len() * 2);
            }
        }
        output.load()
    }
}

impl Output {
    fn load(&self) -> Load {
        let unsent = self.bytes.len() - self.sent;
        // Small buffers go from hand to hand: their room is nobody's.
        let room = self.bytes.capacity();
        Load { unsent, memory: if room > KEPT_CAPACITY_BYTES { room } else { unsent } }
    }
}

impl Outbox for Outputs {
    fn buffer(&mut self, conn: ConnId) -> Option<&mut Vec<u8>> {
        let output = self.open.get_mut(&conn)?;
        if !output.touched {
            output.touched = true;
            self.touched.push(conn);
        }
        if output.bytes.capacity() == 0 {
            output.bytes = self.spare.pop().unwrap_or_default();
            self.spare_bytes -= output.bytes.capacity();
            output.bytes.reserve_exact(FRESH_BYTES);
        }
        Some(&mut output.bytes)
    }

    fn unsent(&mut self, conn: ConnId) -> usize {
        self.load(conn).unsent
    }

    fn load(&mut self, conn: ConnId) -> Load {
        self.open.get(&conn).map(Output::load).unwrap_or_default()
    }

    fn open(&mut self) -> ConnId {
        self.last_id += 1;
        let id = ConnId(self.last_id);
        self.open.insert(id, Output::default());
        id
    }

    fn forget(&mut self, conn: ConnId) {
        self.open.remove(&conn);
    }

    fn gather(&mut self, conn: ConnId, bytes: usize) {
        self.gathers.push_back((conn, bytes));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sent_bytes_leave_from_the_front() {
        let mut outputs = Outputs::default();
        let conn = outputs.open();
        outputs.buffer(conn).unwrap().extend_from_slice(b"hello");
        outputs.sent(conn, 2);
        outputs.buffer(conn).unwrap().extend_from_slice(b"!");
        assert_eq!(outputs.output(conn), Some(&b"llo!"[..]));
        assert_eq!(outputs.unsent(conn), 4, "what has left does not count");
        outputs.sent(conn, 4);
        assert_eq!(outputs.output(conn), Some(&b""[..]));
        assert_eq!(outputs.unsent(conn), 0);
    }

    #[test]
    fn a_large_buffer_is_compacted_and_given_back() {
        let mut outputs = Outputs::default();
        let conn = outputs.open();
        outputs.buffer(conn).unwrap().resize(200_000, b'x');
        assert!(outputs.load(conn).memory >= 200_000);
        let left = outputs.sent(conn, 150_000);
        assert_eq!(outputs.open[&conn].bytes.len(), 50_000);
        assert_eq!(left, outputs.load(conn));
        assert!(left.unsent == 50_000 && left.memory >= 50_000);
        outputs.sent(conn, 20_000);
        outputs.buffer(conn).unwrap().resize(2_000_000, b'x');
        let left = outputs.sent(conn, 1_900_000);
        assert!(left.unsent == 80_000 && left.memory <= 160_000, "{left:?}");
        assert_eq!(outputs.sent(conn, 80_000), Load::default());
        assert_eq!(outputs.open[&conn].bytes.capacity(), 0);
    }

    #[test]
    fn a_touched_connection_is_told_once_and_not_after_it_is_gone() {
        let mut outputs = Outputs::default();
        let (one, two) = (outputs.open(), outputs.open());
        for _ in 0..2 {
            outputs.buffer(one).unwrap().push(b'1');
            outputs.buffer(two).unwrap().push(b'2');
        }
        outputs.forget(two);
        let mut touched = Vec::new();
        outputs.take_touched(&mut touched);
        assert_eq!(touched, vec![one]);
        assert!(outputs.buffer(two).is_none());
    }
}
