//! Connections, periodic commands, replies, and what silence means.
#![forbid(unsafe_code)]

use sentineld::sentinel::action::Action;
use sentineld::util::ident::ConnId;

use super::state::{Id, Kind, Role, Sent, State};
use super::{CPeer, Use};
use crate::redis::HELLO;
use crate::wire::{self, Stream, Value, show};

const PING_PERIOD_MS: u64 = 1_000;
pub const INFO_PERIOD_MS: u64 = 10_000;
const FAST_INFO_PERIOD_MS: u64 = 1_000;
pub const PUBLISH_PERIOD_MS: u64 = 2_000;
const MIN_RECONNECT_MS: u64 = 15_000;
const MAX_PENDING: usize = 100;

impl CPeer {
    pub fn reconnect(&mut self, id: Id) {
        let now = self.now();
        let link_id = self.insts[&id].link;
        let link = self.link_of_mut(id);
        if link.connected() || now - link.last_reconnect < PING_PERIOD_MS {
            return;
        }
        link.last_reconnect = now;
        let (cmd, pubsub) = (link.cmd.is_none(), link.with_pubsub && link.pubsub.is_none());
        if cmd {
            let conn = self.connect(id, Use::Cmd(link_id));
            let link = self.link_of_mut(id);
            link.cmd = Some(conn);
            link.cmd_since = now;
            link.pending.clear();
            link.replies = Stream::default();
            self.set_name(id, "cmd");
            self.send_ping(id);
        }
        if pubsub {
            let conn = self.connect(id, Use::Pubsub(link_id));
            let link = self.link_of_mut(id);
            link.pubsub = Some(conn);
            link.pubsub_since = now;
            link.pubsub_heard = now;
            link.messages = Stream::default();
            self.set_name(id, "pubsub");
            let words: [&[u8]; 2] = [b"SUBSCRIBE", HELLO];
            self.write(conn, &wire::request(&words));
        }
    }

    fn connect(&mut self, id: Id, carries: Use) -> ConnId {
        let conn = self.open(carries);
        let (ip, port) = self.insts[&id].addr;
        self.actions.push_back(Action::Connect { conn, ip, port, hung_before: false });
        conn
    }

    fn set_name(&mut self, id: Id, what: &str) {
        let name = format!("sentinel-{}-{what}", &self.myid[..8]);
        let words: [&[u8]; 3] = [b"CLIENT", b"SETNAME", name.as_bytes()];
        match (what, self.link_of(id).pubsub) {
            ("pubsub", Some(conn)) => self.write(conn, &wire::request(&words)),
            _ => self.send(id, Sent::Other, &words),
        }
    }

    /// Over the command connection, if there is one.
    pub fn send(&mut self, id: Id, sent: Sent, words: &[&[u8]]) {
        let Some(conn) = self.link_of(id).cmd else { return };
        self.link_of_mut(id).pending.push_back(sent);
        self.write(conn, &wire::request(words));
    }

    fn send_ping(&mut self, id: Id) {
        let now = self.now();
        self.send(id, Sent::Ping(id), &[b"PING"]);
        let link = self.link_of_mut(id);
        link.last_ping = now;
        if link.ping_open_since == 0 {
            link.ping_open_since = now;
        }
    }

    /// INFO, PING and hello, as their times come.
    pub fn send_periodic(&mut self, id: Id) {
        let now = self.now();
        let link = self.link_of(id);
        if !link.connected() || link.pending.len() >= MAX_PENDING * link.sharers {
            return;
        }
        let inst = &self.insts[&id];
        let ping_period_ms = PING_PERIOD_MS.min(inst.down_after_ms);
        let since = |at: u64| now.saturating_sub(at);
        let info = inst.kind != Kind::Peer
            && (inst.info_refresh == 0 || since(inst.info_refresh) > self.info_period_ms(id));
        let ping =
            since(link.last_pong) > ping_period_ms && since(link.last_ping) > ping_period_ms / 2;
        let publish = since(inst.last_publish) > PUBLISH_PERIOD_MS;
        if info {
            self.send(id, Sent::Info(id), &[b"INFO"]);
        }
        if ping {
            self.send_ping(id);
        }
        if publish {
            self.send_hello(id);
        }
    }

    fn info_period_ms(&self, id: Id) -> u64 {
        let inst = &self.insts[&id];
        let watch = &self.watches[&inst.master];
        let hurry = watch.odown || watch.state != State::None || inst.master_link_down_ms != 0;
        match inst.kind == Kind::Replica && hurry {
            true => FAST_INFO_PERIOD_MS,
            false => INFO_PERIOD_MS,
        }
    }

    pub fn replies_arrived(&mut self, link_id: Id, bytes: &[u8]) {
        let Some(link) = self.links.get_mut(&link_id) else { return };
        link.replies.push(bytes);
        // Handling a reply may close the connection, or the whole link.
        while let Some(link) = self.links.get_mut(&link_id)
            && link.cmd.is_some()
            && let Some(value) = link.replies.next_value()
        {
            let sent = link.pending.pop_front().expect("a reply was waited for");
            self.replied(link_id, sent, &value);
        }
    }

    fn replied(&mut self, link: Id, sent: Sent, value: &Value) {
        let about = match sent {
            Sent::Ping(_) => return self.ping_replied(link, value),
            Sent::Info(id) | Sent::Publish(id) | Sent::Ask(id) => id,
            Sent::Other => return,
        };
        if !self.insts.contains_key(&about) {
            return;
        }
        let now = self.now();
        match (sent, value) {
            (Sent::Info(_), Value::Bulk(text)) => self.info_arrived(about, &show(text)),
            (Sent::Publish(_), Value::Error(_)) => {}
            (Sent::Publish(_), _) => self.inst_mut(about).last_publish = now,
            (Sent::Ask(_), Value::Array(items)) => self.ask_replied(about, items),
            _ => {}
        }
    }

    fn ping_replied(&mut self, link_id: Id, value: &Value) {
        let now = self.now();
        let link = self.links.get_mut(&link_id).expect("it was read from");
        if let Value::Simple(text) | Value::Error(text) = value {
            let alive = [&b"PONG"[..], b"LOADING", b"MASTERDOWN"];
            if alive.iter().any(|begin| text.starts_with(begin)) {
                link.last_available = now;
                link.ping_open_since = 0;
            } else if text.starts_with(b"BUSY") {
                self.kill_script(link_id);
            }
        }
        self.links.get_mut(&link_id).expect("it was read from").last_pong = now;
    }

    fn kill_script(&mut self, link: Id) {
        let stuck = |inst: &super::Inst| inst.link == link && inst.sdown && !inst.script_kill_sent;
        let Some(id) = self.insts.iter().find(|(_, inst)| stuck(inst)).map(|(id, _)| *id) else {
            return;
        };
        if self.insts[&id].kind != Kind::Peer {
            self.send(id, Sent::Other, &[b"SCRIPT", b"KILL"]);
            self.inst_mut(id).script_kill_sent = true;
        }
    }

    fn ask_replied(&mut self, id: Id, items: &[Value]) {
        let [Value::Int(down), Value::Bulk(leader), Value::Int(epoch)] = items else { return };
        let now = self.now();
        let inst = self.inst_mut(id);
        inst.last_ask_reply = now;
        inst.says_down = *down == 1;
        if leader != b"*" {
            inst.leader = show(leader);
            inst.leader_epoch = *epoch as u64;
        }
    }

    pub fn messages_arrived(&mut self, link_id: Id, bytes: &[u8]) {
        let now = self.now();
        let Some(link) = self.links.get_mut(&link_id) else { return };
        link.pubsub_heard = now;
        link.messages.push(bytes);
        while let Some(link) = self.links.get_mut(&link_id)
            && link.pubsub.is_some()
            && let Some(value) = link.messages.next_value()
        {
            let Value::Array(items) = value else { continue };
            let [kind, _, text] = &items[..] else { continue };
            if kind.text() == Some(b"message") {
                let text = show(text.text().unwrap_or_default());
                if !text.contains(&self.myid) {
                    self.hello_arrived(&text);
                }
            }
        }
    }

    pub fn cmd_lost(&mut self, link: Id) {
        if let Some(link) = self.links.get_mut(&link) {
            link.cmd = None;
            link.pending.clear();
        }
    }

    pub fn pubsub_lost(&mut self, link: Id) {
        if let Some(link) = self.links.get_mut(&link) {
            link.pubsub = None;
        }
    }

    pub fn close_cmd(&mut self, link: Id) {
        if let Some(conn) = self.links.get_mut(&link).and_then(|link| link.cmd.take()) {
            self.conns.remove(&conn);
            self.actions.push_back(Action::Close { conn });
            self.cmd_lost(link);
        }
    }

    fn close_pubsub(&mut self, link: Id) {
        if let Some(conn) = self.links.get_mut(&link).and_then(|link| link.pubsub.take()) {
            self.conns.remove(&conn);
            self.actions.push_back(Action::Close { conn });
        }
    }

    pub fn close_link(&mut self, link: Id) {
        self.close_cmd(link);
        self.close_pubsub(link);
    }

    pub fn check_sdown(&mut self, id: Id) {
        let now = self.now();
        self.tear_down_idle(id);
        let (inst, link) = (&self.insts[&id], self.link_of(id));
        let elapsed = match (link.ping_open_since, link.connected()) {
            (0, true) => 0,
            (0, false) => now.saturating_sub(link.last_available),
            (since, _) => now.saturating_sub(since),
        };
        let demoted = inst.kind == Kind::Master
            && inst.role == Role::Slave
            && now.saturating_sub(inst.role_since) > inst.down_after_ms + 2 * INFO_PERIOD_MS;
        let down = elapsed > inst.down_after_ms || demoted;
        if down == inst.sdown {
            return;
        }
        let inst = self.inst_mut(id);
        inst.sdown = down;
        if down {
            inst.sdown_since = now;
        } else {
            inst.script_kill_sent = false;
        }
        self.event(if down { "+sdown" } else { "-sdown" }, id, "");
    }

    fn tear_down_idle(&mut self, id: Id) {
        let now = self.now();
        let (inst, link) = (&self.insts[&id], self.link_of(id));
        let link_id = inst.link;
        let half = inst.down_after_ms / 2;
        let since = |at: u64| now.saturating_sub(at);
        let mute = link.cmd.is_some()
            && since(link.cmd_since) > MIN_RECONNECT_MS
            && link.ping_open_since != 0
            && since(link.ping_open_since) > half
            && since(link.last_pong) > half;
        let silent = link.pubsub.is_some()
            && since(link.pubsub_since) > MIN_RECONNECT_MS
            && since(link.pubsub_heard) > 3 * PUBLISH_PERIOD_MS;
        if mute {
            self.close_cmd(link_id);
        }
        if silent {
            self.close_pubsub(link_id);
        }
    }
}
