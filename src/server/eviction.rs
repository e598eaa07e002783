//! Clients that hold too much, one by one or all together: what each counts with, and their end.
#![forbid(unsafe_code)]

use super::Server;
use super::client_memory::{Entry, Standing};
use crate::config::settings::Settings;
use crate::sentinel::action::{Action, Cx, Load};
use crate::sentinel::log_limit::LineKind;
use crate::util::ident::ConnId;

/// What a connection takes that is only kept until its output has left.
const LINGERING_BYTES: usize = 512;
/// So much of the limit on all clients is there for each that may connect, unless it is given.
const CLIENT_SHARE_BYTES: u64 = 4096;

/// A connection that is closed as soon as it has taken its output.
#[derive(Debug, Default)]
pub struct Lingering {
    entry: Entry,
}

#[cfg(test)]
impl Lingering {
    /// The memory that it counts with, in bytes.
    pub fn bytes(&self) -> usize {
        self.entry.bytes()
    }
}

/// What all clients together may hold, in bytes; 0: no limit.
pub fn limit_of_all(settings: &Settings) -> u64 {
    settings.clients_memory_bytes(CLIENT_SHARE_BYTES * u64::from(settings.maxclients))
}

impl Server {
    /// Notes what a client holds now, and closes whoever holds most if it is too much for all.
    pub(super) fn weigh(&mut self, cx: &mut Cx, conn: ConnId) {
        if let Some(client) = self.clients.get_mut(&conn).filter(|client| !client.doomed) {
            let load = cx.out.load(conn);
            (client.unsent, client.output_bytes) = (load.unsent, load.memory);
            client.weigh(&mut self.memory, self.users.must_log_in(client));
        }
        self.evict(cx);
    }

    /// Closes the largest until the rest is not too much.
    pub(super) fn evict(&mut self, cx: &mut Cx) {
        while let Some(conn) = self.memory.offender() {
            self.stats.evicted += 1;
            match self.clients.get(&conn) {
                Some(client) => {
                    let line = client.describe(cx.now, self.unixsocket());
                    cx.log_limited(LineKind::ClientEvicted, || {
                        [b"Evicting client: ", &line[..]].concat()
                    });
                    self.dismiss(cx, conn);
                }
                None => {
                    self.stop_lingering(conn);
                    cx.out.forget(conn);
                    cx.act(Action::Close { conn });
                }
            }
        }
    }

    /// Closes a client that holds too much. One whose command runs gets nothing more until that has
    /// ended.
    pub(super) fn dismiss(&mut self, cx: &mut Cx, conn: ConnId) {
        match self.clients.get_mut(&conn) {
            Some(client) if self.running == Some(conn) => {
                client.doomed = true;
                self.memory.leave(conn, &mut client.entry);
                cx.out.forget(conn);
            }
            _ => self.close(cx, conn),
        }
    }

    /// The connection is to be closed when its output has left.
    pub(super) fn linger(&mut self, cx: &mut Cx, conn: ConnId) {
        let load = cx.out.load(conn);
        self.lingering.insert(conn, Lingering::default());
        self.weigh_lingering(conn, load);
        cx.act(Action::CloseAfterFlush { conn });
        self.evict(cx);
    }

    /// What a connection that lingers holds now.
    pub(super) fn weigh_lingering(&mut self, conn: ConnId, load: Load) {
        if let Some(lingering) = self.lingering.get_mut(&conn) {
            let bytes = LINGERING_BYTES + load.memory;
            self.memory.enter(conn, &mut lingering.entry, bytes, 1, Standing::Ordinary);
        }
    }

    /// A connection that lingered is gone.
    pub(super) fn stop_lingering(&mut self, conn: ConnId) {
        if let Some(mut lingering) = self.lingering.remove(&conn) {
            self.memory.leave(conn, &mut lingering.entry);
        }
    }
}
