//! The text of INFO: the sections that sentinels and their operators read, in the real one's order.
#![forbid(unsafe_code)]

use std::io::Write;

use super::history::History;
use super::{Farm, Mode, REDIS_PORT, Server};
use crate::net::{HostId, Net, Us};
use crate::wire;

const SECOND: Us = 1_000_000;

fn seconds(since: Us, now: Us) -> u64 {
    (now - since) / SECOND
}

/// Writing to memory does not fail.
macro_rules! put {
    ($out:expr, $($arg:tt)*) => {
        write!($out, $($arg)*).expect("memory takes everything")
    };
}

impl Farm {
    /// All sections or one of them, as a bulk string.
    pub(super) fn info(
        &mut self,
        now: Us,
        host: HostId,
        section: Option<&[u8]>,
        out: &mut Vec<u8>,
    ) {
        let mut text = std::mem::take(&mut self.text);
        text.clear();
        let server = self.at(host).expect("a data node");
        let wants = |name: &[u8]| section.is_none_or(|section| section.eq_ignore_ascii_case(name));
        if wants(b"server") {
            text.extend_from_slice(
                b"# Server\r\nredis_version:7.0.15\r\nredis_mode:standalone\r\n",
            );
            text.extend_from_slice(b"run_id:");
            text.extend_from_slice(server.run_id.bytes());
            put!(text, "\r\ntcp_port:{REDIS_PORT}\r\n");
        }
        if wants(b"persistence") {
            begin(&mut text, "Persistence");
            put!(text, "loading:{}\r\n", u8::from(server.mode == Mode::Loading));
        }
        if wants(b"replication") {
            begin(&mut text, "Replication");
            server.put_role(now, &mut text);
            server.put_replicas(now, &mut text);
            put_history(&server.history, &mut text);
        }
        wire::bulk(out, &text);
        self.text = text;
    }
}

fn begin(text: &mut Vec<u8>, section: &str) {
    if !text.is_empty() {
        text.extend_from_slice(b"\r\n");
    }
    put!(text, "# {section}\r\n");
}

impl Server {
    fn put_role(&self, now: Us, text: &mut Vec<u8>) {
        let Some(master) = self.master_word() else {
            text.extend_from_slice(b"role:master\r\n");
            return;
        };
        let status = if self.link_up { "up" } else { "down" };
        put!(
            text,
            "role:slave\r\nmaster_host:{}\r\nmaster_port:{REDIS_PORT}\r\n\
             master_link_status:{status}\r\n",
            master
        );
        match self.link_up {
            true => put!(text, "master_last_io_seconds_ago:{}\r\n", seconds(self.heard, now)),
            false => text.extend_from_slice(b"master_last_io_seconds_ago:-1\r\n"),
        }
        // 1 is what a real one says while it has no place in any master's history.
        let offset = if self.has_place { self.history.offset } else { 1 };
        let receives = u8::from(self.link.receives());
        put!(
            text,
            "master_sync_in_progress:{receives}\r\nslave_read_repl_offset:{offset}\r\n\
             slave_repl_offset:{offset}\r\n"
        );
        match self.down_since {
            _ if self.link_up => {}
            Some(since) => {
                put!(text, "master_link_down_since_seconds:{}\r\n", seconds(since, now));
            }
            None => text.extend_from_slice(b"master_link_down_since_seconds:-1\r\n"),
        }
        put!(
            text,
            "slave_priority:{}\r\nslave_read_only:1\r\nreplica_announced:{}\r\n",
            self.priority,
            u8::from(self.announced)
        );
    }

    fn put_replicas(&self, now: Us, text: &mut Vec<u8>) {
        put!(text, "connected_slaves:{}\r\n", self.attached.len());
        for (n, replica) in self.attached.iter().enumerate() {
            let online = replica.state == "online";
            let lag = if online { seconds(replica.told_at, now) } else { 0 };
            let shown =
                replica.shown.clone().unwrap_or_else(|| Net::ip_of(replica.host).to_string());
            put!(
                text,
                "slave{n}:ip={shown},port={REDIS_PORT},state={},offset={},lag={lag}\r\n",
                replica.state,
                replica.offset
            );
        }
    }
}

fn put_history(history: &History, text: &mut Vec<u8>) {
    text.extend_from_slice(b"master_failover_state:no-failover\r\nmaster_replid:");
    text.extend_from_slice(history.replid.bytes());
    text.extend_from_slice(b"\r\nmaster_replid2:");
    text.extend_from_slice(history.replid2.bytes());
    put!(text, "\r\nmaster_repl_offset:{}\r\n", history.offset);
    match history.second_offset {
        Some(offset) => put!(text, "second_repl_offset:{offset}\r\n"),
        None => text.extend_from_slice(b"second_repl_offset:-1\r\n"),
    }
    put!(
        text,
        "repl_backlog_active:{}\r\nrepl_backlog_size:1048576\r\n\
         repl_backlog_first_byte_offset:{}\r\nrepl_backlog_histlen:{}\r\n",
        u8::from(history.first_kept.is_some()),
        history.first_kept.unwrap_or(0),
        history.kept_bytes()
    );
}
