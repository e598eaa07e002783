//! What a command handler gets: its words, its client, the sentinel, and a way to reply.
#![forbid(unsafe_code)]

use super::Server;
use super::client::Client;
use super::cmd_client::asker_in;
use super::facts::Endpoint;
use super::table::Command;
use super::work::LOOK_NS;
use crate::resp::write::{self, Dialect};
use crate::sentinel::Sentinel;
use crate::sentinel::action::Cx;
use crate::sentinel::instance::MasterId;
use crate::sentinel::sentineld_peers::LIB_NAME;
use crate::util::ident::ConnId;

/// The texts that more than one family answers with.
pub mod text {
    pub const SYNTAX: &[u8] = b"ERR syntax error";
    pub const NOT_AN_INTEGER: &[u8] = b"ERR value is not an integer or out of range";
    pub const NO_SUCH_MASTER: &[u8] = b"ERR No such master with that name";
    pub const WRONG_PASS: &[u8] = b"WRONGPASS invalid username-password pair or user is disabled.";
    pub const SAVE_FAILED: &[u8] = b"ERR Failed to save config file. Check server logs.";
}

/// One command being run.
pub struct Call<'c, 'x> {
    pub server: &'c mut Server,
    pub sentinel: &'c mut Sentinel,
    pub cx: &'c mut Cx<'x>,
    pub conn: ConnId,
    pub command: &'static Command,
    /// All words, the name(s) included.
    pub args: &'c [Vec<u8>],
}

/// Where a reply goes, with what it is composed from.
pub struct Reply<'r> {
    pub out: &'r mut Vec<u8>,
    pub sentinel: &'r Sentinel,
    pub dialect: Dialect,
}

impl Call<'_, '_> {
    /// Begins the reply: events that the command caused reach subscribers first.
    pub fn reply(&mut self) -> Reply<'_> {
        self.server.settle_new(self.cx);
        let (out, dialect) = self.server.writer_and_dialect(self.cx.out, self.conn);
        Reply { out, sentinel: self.sentinel, dialect }
    }

    /// The client. It is there while its command runs: closing happens after it.
    pub fn client(&mut self) -> &mut Client {
        self.server.clients.get_mut(&self.conn).expect("a client outlives its command")
    }

    /// Notes whether the client is another sentinel: it says so by its name, and comes from where
    /// that sentinel lives.
    pub fn note_peer(&mut self) {
        let Some(client) = self.server.clients.get_mut(&self.conn) else { return };
        client.is_peer = match (asker_in(&client.name), client.endpoint) {
            (Some(id), Endpoint::Tcp { peer, .. }) => {
                self.sentinel.knows_sentinel(id, peer.ip().to_canonical())
            }
            _ => false,
        };
    }

    /// The client has told its name or its library: it may be another sentinel, and sentineld.
    pub fn introduced(&mut self) {
        self.note_peer();
        let client = &self.server.clients[&self.conn];
        match asker_in(&client.name) {
            Some(id) if client.lib_name == LIB_NAME => {
                self.sentinel.sentineld_peers.add(self.conn, id)
            }
            _ => self.sentinel.sentineld_peers.remove(self.conn),
        }
    }

    /// Accounts for a command that looks at every client.
    pub fn charge_look_at_clients(&mut self) {
        let count = self.server.clients.len();
        self.server.work.charge_each(count, LOOK_NS);
    }

    /// Accounts for a command that looks at everything that is watched.
    pub fn charge_look_at_instances(&mut self) {
        let watched = &self.sentinel;
        let count = watched.masters.len() + watched.replicas.len() + watched.peers.len();
        self.server.work.charge_each(count, LOOK_NS);
    }

    pub fn ok(&mut self) {
        write::simple(self.reply().out, b"OK");
    }

    pub fn int(&mut self, n: i64) {
        write::int(self.reply().out, n);
    }

    pub fn error(&mut self, text: &[u8]) {
        self.server.stats.errors += 1;
        write::error(self.reply().out, text);
    }

    /// An error with a word of the request in quotes in its middle.
    pub fn error_about(&mut self, before: &str, word: &[u8], after: &str) {
        self.error(&[before.as_bytes(), b"'", word, b"'", after.as_bytes()].concat());
    }

    /// The master named by word `at`, or `None` after the error that says so.
    pub fn master(&mut self, at: usize) -> Option<MasterId> {
        let found = self.sentinel.master_named(&self.args[at]);
        if found.is_none() {
            self.error(text::NO_SUCH_MASTER);
        }
        found
    }

    /// The HELP of a container: a heading, the lines, and what HELP itself is.
    pub fn help(&mut self, container: &str, lines: &[&str]) {
        let out = self.reply().out;
        write::array(out, lines.len() + 3);
        let head = format!("{container} <subcommand> [<arg> [value] [opt] ...]. Subcommands are:");
        write::simple(out, head.as_bytes());
        for line in lines.iter().chain(&["HELP", "    Print this help."]) {
            write::simple(out, line.as_bytes());
        }
    }
}
