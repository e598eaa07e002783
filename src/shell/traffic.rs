//! Bytes in and out of the loop's sockets: accepting, reading, writing, each bounded per turn.
#![forbid(unsafe_code)]

use std::io::{self, ErrorKind, Read, Write};
use std::os::fd::AsRawFd;

use mio::Token;
use mio::event::Event;

use super::connect;
use super::event_loop::{EventLoop, listener_token};
use super::listen::Listener;
use super::logging;
use super::machine::Machine;
use super::sockets::Stream;
use super::system::{self, reason};
use crate::node::{Closed, Endpoint};
use crate::sentinel::action::LogLevel;
use crate::sentinel::log_limit::LineKind;
use crate::util::ident::ConnId;

/// Reads of one connection in one turn, each of up to 16 KiB.
const READS_PER_TURN: usize = 8;
/// Bytes written to one connection in one turn.
const WRITE_BYTES_PER_TURN: usize = 1 << 20;
/// Clients taken from one listener in one turn.
const ACCEPTS_PER_TURN: usize = 64;
/// When to try again after descriptors ran out, unless one is closed before.
const ACCEPT_PAUSE_MS: u64 = 100;

impl<M: Machine> EventLoop<M> {
    /// Takes clients until none waits, or until the turn's share is taken.
    pub(super) fn serve_listener(&mut self, index: usize) {
        if self.accept_again.is_some() {
            return;
        }
        for _ in 0..ACCEPTS_PER_TURN {
            let Some(listener) = self.listeners.get(index) else { return };
            match accept(listener) {
                Ok((stream, endpoint)) => self.welcome(stream, endpoint),
                Err(e) if e.kind() == ErrorKind::WouldBlock => return,
                Err(e)
                    if matches!(
                        e.kind(),
                        ErrorKind::Interrupted | ErrorKind::ConnectionAborted
                    ) => {}
                Err(e) => return self.pause_accepting(&e),
            }
        }
        let token = listener_token(index);
        if !self.ready.contains(&token) {
            self.ready.push(token);
        }
    }

    /// Out of descriptors or memory: the clients wait in the backlog, and as the poll tells of
    /// them only once, time or a closed connection brings us back to them.
    pub(super) fn pause_accepting(&mut self, error: &io::Error) {
        self.accept_again = Some(self.now.after(ACCEPT_PAUSE_MS));
        if self.log_limits.admit(self.now, LineKind::AcceptFailed) {
            let text = format!("Accepting client connection: accept: {}", reason(error));
            logging::write(LogLevel::Warning, text.as_bytes());
        }
    }

    fn welcome(&mut self, stream: Stream, endpoint: Endpoint) {
        let fd = match &stream {
            Stream::Tcp(tcp) => {
                self.options.apply(tcp);
                tcp.as_raw_fd()
            }
            Stream::Unix(unix) => unix.as_raw_fd(),
        };
        let conn = self.machine.accepted(endpoint, fd);
        if self.table.insert(self.clients.registry(), conn, stream, false).is_err() {
            self.drain();
            self.machine.closed(conn, Closed::Error);
        }
        self.drain();
    }

    /// An event of a connection; one for a connection that is gone means nothing.
    pub(super) fn socket_event(&mut self, token: Token, event: &Event) {
        let Some(socket) = self.table.get(token) else { return };
        let conn = socket.conn;
        let hung_up = event.is_read_closed() || event.is_write_closed() || event.is_error();
        if socket.connecting {
            if !event.is_writable() && !hung_up {
                return;
            }
            if let Err(e) | Ok(Some(e)) = socket.stream.take_error() {
                return self.lose(conn, connect::why(&e));
            }
            socket.connecting = false;
            self.machine.conn_established(conn);
            self.drain();
            self.to_flush.push(conn);
        } else if event.is_writable() {
            self.to_flush.push(conn);
        }
        if hung_up && !self.is_still_there(token, event) {
            return self.lose(conn, Closed::Error);
        }
        if event.is_readable() || hung_up {
            self.serve_readable(token, hung_up);
        }
    }

    /// Whether a connection whose other side has closed something may still get its answers: a
    /// client that only sends nothing more. Nobody hears it if it turns out to be gone later.
    fn is_still_there(&mut self, token: Token, event: &Event) -> bool {
        let now = self.now;
        let Some(socket) = self.table.get(token).filter(|socket| socket.client) else {
            return true;
        };
        if socket.read_closed && (event.is_write_closed() || event.is_error()) {
            return false;
        }
        if socket.ending_since.is_none() {
            socket.ending_since = Some(now);
            self.look_at_end_of(Some(token));
        }
        true
    }

    /// Reads until nothing is left, or until the turn's share is read. A read that does not fill
    /// the buffer has emptied the socket, but only a further one shows that the peer `hung_up`.
    pub(super) fn serve_readable(&mut self, token: Token, hung_up: bool) {
        for _ in 0..READS_PER_TURN {
            let Some(socket) = self.table.get(token) else { return };
            let conn = socket.conn;
            if socket.closing_since.is_some() {
                self.to_flush.push(conn);
                return;
            }
            if socket.held || socket.connecting {
                socket.unread = true;
                return;
            }
            match socket.stream.read(&mut self.buf) {
                Ok(0) if socket.client => return self.end_reading(token),
                Ok(0) => return self.lose(conn, Closed::Eof),
                Ok(n) => {
                    socket.moved(self.now);
                    self.machine.received(conn, &self.buf[..n]);
                    self.drain();
                    if n < self.buf.len() && !hung_up {
                        return;
                    }
                    self.serve_waiting_clients();
                }
                Err(e) if e.kind() == ErrorKind::WouldBlock => return,
                Err(e) if e.kind() == ErrorKind::Interrupted => {}
                Err(_) => return self.lose(conn, Closed::Error),
            }
            if self.end().is_some() {
                return;
            }
        }
        self.read_later(token);
    }

    /// A client sends nothing more: the core has all of it and closes when it is answered.
    fn end_reading(&mut self, token: Token) {
        let now = self.now;
        let Some(socket) = self.table.get(token) else { return };
        let conn = socket.conn;
        if std::mem::replace(&mut socket.read_closed, true) {
            return;
        }
        socket.ending_since.get_or_insert(now);
        self.look_at_end_of(Some(token));
        self.machine.read_closed(conn);
        self.drain();
    }

    /// Puts a connection on the list of those that are read in the next turn.
    pub(super) fn read_later(&mut self, token: Token) {
        if let Some(socket) = self.table.get(token)
            && !std::mem::replace(&mut socket.in_ready, true)
        {
            self.ready.push(token);
        }
    }

    /// A connection is gone: closes the socket and tells the core.
    fn lose(&mut self, conn: ConnId, why: Closed) {
        self.remove(conn);
        self.machine.closed(conn, why);
        self.drain();
    }

    /// Tells of the connections whose flush failed or closed them in the turn before. What the
    /// peer sent before it went is read first.
    pub(super) fn tell_of_broken(&mut self) {
        for conn in std::mem::take(&mut self.broken) {
            if let Some(token) = self.table.token(conn) {
                self.serve_readable(token, true);
            }
            if self.table.token(conn).is_some() {
                self.lose(conn, Closed::Error);
            }
        }
        for conn in std::mem::take(&mut self.gone) {
            self.machine.closed(conn, Closed::Eof);
            self.drain();
        }
    }

    /// Writes what there is to write, once for each connection that was touched; the log first.
    pub(super) fn flush(&mut self) {
        self.logs.write_waiting();
        let mut touched = std::mem::take(&mut self.touched);
        touched.append(&mut self.to_flush);
        self.machine.take_touched(&mut touched);
        for conn in touched.drain(..) {
            self.flush_one(conn);
            self.serve_waiting_clients();
        }
        self.touched = touched;
    }

    /// Writes what clients are to have by now. Links are flushed once, at the end of the turn.
    pub(super) fn flush_clients(&mut self) {
        self.logs.write_waiting();
        let mut touched = std::mem::take(&mut self.touched);
        self.machine.take_touched(&mut touched);
        for conn in touched.drain(..) {
            let socket = self.table.token(conn).and_then(|token| self.table.get(token));
            if socket.is_some_and(|socket| socket.client) {
                self.flush_one(conn);
            } else {
                self.to_flush.push(conn);
            }
        }
        self.touched = touched;
    }

    /// Sets how many bytes a socket holds back before the poll tells of them. Setting it to 1 makes
    /// the poll tell of what is there already; where it cannot be set, the poll tells of all.
    pub(super) fn set_gathers(&mut self) {
        while let Some((conn, bytes)) = self.machine.take_gather() {
            let socket = self.table.token(conn).and_then(|token| self.table.get(token));
            if let Some(Stream::Tcp(stream)) = socket.map(|socket| &socket.stream) {
                system::set_receive_low_water(stream, bytes);
            }
        }
    }

    fn flush_one(&mut self, conn: ConnId) {
        let Some(token) = self.table.token(conn) else { return };
        let Some(socket) = self.table.get(token).filter(|s| !s.connecting) else { return };
        let mut budget = WRITE_BYTES_PER_TURN;
        loop {
            let Some(output) = self.machine.output(conn).filter(|o| !o.is_empty()) else {
                if socket.closing_since.is_some() {
                    self.remove(conn);
                    self.gone.push(conn);
                }
                return;
            };
            if budget == 0 {
                return self.to_flush.push(conn);
            }
            let part = output.len().min(budget);
            match socket.stream.write(&output[..part]) {
                Ok(n) if n > 0 => {
                    budget -= n;
                    self.machine.sent(conn, n);
                    socket.moved(self.now);
                }
                Err(e) if e.kind() == ErrorKind::Interrupted => {}
                Err(e) if e.kind() == ErrorKind::WouldBlock => {
                    let poll = if socket.client { &self.clients } else { &self.poll };
                    if socket.want_write(poll.registry(), token).is_err() {
                        self.broken.push(conn);
                    }
                    return;
                }
                _ => return self.broken.push(conn),
            }
        }
    }
}

fn accept(listener: &Listener) -> io::Result<(Stream, Endpoint)> {
    match listener {
        Listener::Tcp(listener) => {
            let (stream, peer) = listener.accept()?;
            // A client that is gone already has no address; its first read tells of its end.
            let local = stream.local_addr().unwrap_or(peer);
            Ok((Stream::Tcp(stream), Endpoint::Tcp { peer, local }))
        }
        Listener::Unix(listener) => {
            let (stream, _) = listener.accept()?;
            Ok((Stream::Unix(stream), Endpoint::Unix))
        }
    }
}
