//! The table of connections: which socket belongs to which id, and in what state it is.
//!
//! A token names a slot and the generation of its content, so that an event for a connection that
//! was closed in the same turn cannot reach the one that took its place.
#![forbid(unsafe_code)]

use std::io::{self, Read, Write};

use mio::net::{TcpStream, UnixStream};
use mio::{Interest, Registry, Token};
use nix::sys::socket::setsockopt;
use nix::sys::socket::sockopt::Linger;
use slab::Slab;

use super::system;
use crate::util::ident::{ConnId, IdMap};
use crate::util::time::Mono;

/// Tokens below this belong to the loop itself: signals, the waker, listeners.
pub const FIRST_SLOT: usize = 1024;
/// How long a client that is to be closed may take no output.
pub const CLOSING_MAX_MS: u64 = 5000;
/// How long a client that sends nothing more may wait for its answers: longer than any of our own
/// waits, but a save on a disk that hangs.
pub const ENDING_MAX_MS: u64 = 10_000;
const SLOT_BITS: u32 = 32;
// The two halves of a token need 64 bits.
const _: () = assert!(usize::BITS == 64);

/// A connected (or connecting) socket.
#[derive(Debug)]
pub enum Stream {
    Tcp(TcpStream),
    Unix(UnixStream),
}

/// One connection.
#[derive(Debug)]
pub struct Socket {
    pub conn: ConnId,
    pub stream: Stream,
    /// It was accepted, so the poll of the clients watches it.
    pub client: bool,
    pub connecting: bool,
    /// The core wants nothing read for now.
    pub held: bool,
    /// There may be something to read that no further event will tell of.
    pub unread: bool,
    /// On the list of those that are read in the next turn.
    pub in_ready: bool,
    /// Registered for writability.
    pub wants_write: bool,
    /// Set when it is to be closed after its output: the last time some of it left.
    pub closing_since: Option<Mono>,
    /// Set when its other side sends nothing more: the last time something moved since.
    pub ending_since: Option<Mono>,
    /// All that it sent was read.
    pub read_closed: bool,
    generation: u32,
}

/// All connections.
#[derive(Debug, Default)]
pub struct Table {
    slots: Slab<Socket>,
    by_conn: IdMap<ConnId, Token>,
    generation: u32,
}

impl Table {
    /// Adds a connection and has the poll watch it.
    pub fn insert(
        &mut self,
        registry: &Registry,
        conn: ConnId,
        stream: Stream,
        connecting: bool,
    ) -> io::Result<()> {
        self.generation = self.generation.wrapping_add(1);
        let generation = self.generation;
        let slot = self.slots.vacant_entry();
        let token = Token((generation as usize) << SLOT_BITS | (slot.key() + FIRST_SLOT));
        let mut socket = Socket {
            conn,
            stream,
            client: !connecting,
            connecting,
            held: false,
            unread: false,
            in_ready: false,
            wants_write: connecting,
            closing_since: None,
            ending_since: None,
            read_closed: false,
            generation,
        };
        let interest =
            if connecting { Interest::READABLE | Interest::WRITABLE } else { Interest::READABLE };
        socket.stream.register(registry, token, interest)?;
        slot.insert(socket);
        self.by_conn.insert(conn, token);
        Ok(())
    }

    /// The connection of a token, if it still exists.
    pub fn get(&mut self, token: Token) -> Option<&mut Socket> {
        let slot = (token.0 & ((1 << SLOT_BITS) - 1)).checked_sub(FIRST_SLOT)?;
        let generation = (token.0 >> SLOT_BITS) as u32;
        self.slots.get_mut(slot).filter(|socket| socket.generation == generation)
    }

    /// The token of a connection.
    pub fn token(&self, conn: ConnId) -> Option<Token> {
        self.by_conn.get(&conn).copied()
    }

    /// Takes a connection out; dropping its socket closes it.
    pub fn remove(&mut self, conn: ConnId) -> Option<Socket> {
        let token = self.by_conn.remove(&conn)?;
        let slot = (token.0 & ((1 << SLOT_BITS) - 1)) - FIRST_SLOT;
        Some(self.slots.remove(slot))
    }

    pub fn len(&self) -> usize {
        self.slots.len()
    }
}

impl Socket {
    /// When it is closed for want of progress, if it is at its end at all.
    pub fn ends_at(&self) -> Option<Mono> {
        let closing = self.closing_since.map(|since| since.after(CLOSING_MAX_MS));
        let ending = self.ending_since.map(|since| since.after(ENDING_MAX_MS));
        closing.or(ending)
    }

    /// Something was read or written.
    pub fn moved(&mut self, now: Mono) {
        for since in [&mut self.closing_since, &mut self.ending_since].into_iter().flatten() {
            *since = now;
        }
    }

    /// Has the poll tell when there is room for output again; it stays so, as an edge-triggered
    /// poll tells nothing while no write fails.
    pub fn want_write(&mut self, registry: &Registry, token: Token) -> io::Result<()> {
        if self.wants_write {
            return Ok(());
        }
        self.wants_write = true;
        self.stream.reregister(registry, token, Interest::READABLE | Interest::WRITABLE)
    }
}

/// The kernel goes on sending after an ordinary close, for a minute and more, and the core judges
/// by what it closed: a demotion must not arrive when its instance has long become the master. What
/// a link could not deliver ends with it (SO_LINGER with no time: a reset). Clients get an ordinary
/// close, as they may still read their last reply.
impl Drop for Socket {
    fn drop(&mut self) {
        if let Stream::Tcp(stream) = &self.stream
            && !self.client
            && system::has_unacknowledged(stream)
        {
            let _ = setsockopt(stream, Linger, &libc::linger { l_onoff: 1, l_linger: 0 });
        }
    }
}

impl Stream {
    fn register(&mut self, registry: &Registry, token: Token, what: Interest) -> io::Result<()> {
        match self {
            Stream::Tcp(stream) => registry.register(stream, token, what),
            Stream::Unix(stream) => registry.register(stream, token, what),
        }
    }

    fn reregister(&mut self, registry: &Registry, token: Token, what: Interest) -> io::Result<()> {
        match self {
            Stream::Tcp(stream) => registry.reregister(stream, token, what),
            Stream::Unix(stream) => registry.reregister(stream, token, what),
        }
    }

    /// The error that a connect ended with, if it failed.
    pub fn take_error(&self) -> io::Result<Option<io::Error>> {
        match self {
            Stream::Tcp(stream) => stream.take_error(),
            Stream::Unix(stream) => stream.take_error(),
        }
    }
}

impl Read for Stream {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        match self {
            Stream::Tcp(stream) => stream.read(buf),
            Stream::Unix(stream) => stream.read(buf),
        }
    }
}

impl Write for Stream {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        match self {
            Stream::Tcp(stream) => stream.write(buf),
            Stream::Unix(stream) => stream.write(buf),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_means_one_connection_only() {
        let poll = mio::Poll::new().unwrap();
        let mut table = Table::default();
        let add = |table: &mut Table, conn: u64| {
            let (ours, _) = UnixStream::pair().unwrap();
            table.insert(poll.registry(), ConnId(conn), Stream::Unix(ours), false).unwrap();
            table.token(ConnId(conn)).unwrap()
        };
        let first = add(&mut table, 1);
        assert_eq!(table.get(first).unwrap().conn, ConnId(1));
        assert!(table.remove(ConnId(1)).is_some());
        assert!(table.get(first).is_none());
        let second = add(&mut table, 2);
        assert_eq!(second.0 & 0xffff_ffff, first.0 & 0xffff_ffff, "the slot is used again");
        assert!(table.get(first).is_none());
        assert_eq!(table.get(second).unwrap().conn, ConnId(2));
        assert!(table.get(Token(0)).is_none());
    }
}
