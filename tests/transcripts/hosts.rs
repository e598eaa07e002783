//! The world's other hosts: data nodes and sentinels as simple models.
//!
//! `node NAME PORT key=value…` makes a data node, `peer NAME PORT key=value…` a sentinel, and
//! `set NAME key=value…` changes one:
//! - all: `ip`, `id` (a digit, or 40 digits), `mode` up | silent (nothing is answered, but all is
//!   kept) | refused | hangs (silent, and connects hang), `delay` of answers in ms, `ping`, `info`,
//!   `publish` and `subscribe`: an error instead;
//! - nodes: `of` (name or host:port, `nobody` for a master), `offset`, `priority`, `link` up or
//!   down, `down` in seconds, `obeys` yes | no (SLAVEOF), `resync` in ms after SLAVEOF, `lists`
//!   (replicas that a master reports; all that follow it if not given);
//! - sentinels: `says` up | down, `vote` me (the asker) | `*` | another id, `epoch` of that vote
//!   (as asked if not given), `ask` an error instead of an answer.
#![forbid(unsafe_code)]

use std::net::IpAddr;

use super::text::{number, pair};

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Mode {
    Up,
    Silent,
    Refused,
    Hangs,
}

pub struct Host {
    pub name: String,
    pub ip: IpAddr,
    pub port: u16,
    pub id: String,
    pub mode: Mode,
    pub delay_ms: u64,
    ping: Option<String>,
    subscribe: Option<String>,
    publish: Option<String>,
    info: Option<String>,
    pub kind: Kind,
}

pub enum Kind {
    Data(Data),
    Sentinel(Voter),
}

#[derive(Default)]
pub struct Data {
    /// Host and port of the master.
    of: Option<(String, u16)>,
    offset: u64,
    priority: u32,
    link_down: bool,
    link_down_s: i64,
    disobeys: bool,
    resync_ms: u64,
    /// Since when it follows a new master, to be in step after `resync_ms`.
    following_since: Option<u64>,
    lists: Option<Vec<(String, u16)>>,
    transaction: Option<Vec<Vec<String>>>,
}

#[derive(Default)]
pub struct Voter {
    says_down: bool,
    vote: String,
    epoch: Option<u64>,
    ask: Option<String>,
}

/// What a host does with one request.
pub enum Answer {
    Reply(String),
    /// The transaction ran: its Pub/Sub clients are thrown out.
    Transaction(String),
    /// Published: the text comes back to subscribers.
    Published(String, String),
}

impl Host {
    pub fn new(name: &str, port: u16, kind: Kind) -> Host {
        // No two processes have the same, whatever their ports.
        let name_hex: String = name.bytes().map(|byte| format!("{byte:02x}")).collect();
        let id = format!("{:a>26}{port:04}{:0>10}", "", &name_hex[..name_hex.len().min(10)]);
        let ip = IpAddr::from([127, 0, 0, 1]);
        let (mode, delay_ms) = (Mode::Up, 1);
        let (ping, subscribe, publish, info) = (None, None, None, None);
        let name = name.to_string();
        Host { name, ip, port, id, mode, delay_ms, ping, subscribe, publish, info, kind }
    }

    pub fn node(name: &str, port: u16) -> Host {
        Host::new(name, port, Kind::Data(Data { priority: 100, ..Data::default() }))
    }

    pub fn peer(name: &str, port: u16) -> Host {
        let vote = "*".to_string();
        Host::new(name, port, Kind::Sentinel(Voter { vote, ..Voter::default() }))
    }

    /// One `key=value`; `find` gives the address of a name.
    pub fn set(&mut self, word: &str, find: &dyn Fn(&str) -> (String, u16)) {
        let (key, value) = pair(word);
        let error = || (!value.is_empty()).then(|| format!("{value}\r\n"));
        match (key, &mut self.kind) {
            ("ip", _) => self.ip = value.parse().expect("an IP"),
            ("id", _) if value.len() == 40 => self.id = value.to_string(),
            ("id", _) => self.id = value.repeat(40),
            ("mode", _) => {
                self.mode = match value {
                    "up" => Mode::Up,
                    "silent" => Mode::Silent,
                    "refused" => Mode::Refused,
                    "hangs" => Mode::Hangs,
                    other => panic!("mode {other}"),
                }
            }
            ("delay", _) => self.delay_ms = number(value),
            ("ping", _) => self.ping = error(),
            ("subscribe", _) => self.subscribe = error(),
            ("info", _) => self.info = error(),
            ("publish", _) => self.publish = error(),
            ("of", Kind::Data(data)) => data.of = (value != "nobody").then(|| find(value)),
            ("offset", Kind::Data(data)) => data.offset = number(value),
            ("priority", Kind::Data(data)) => data.priority = number(value),
            ("link", Kind::Data(data)) => data.link_down = value == "down",
            ("down", Kind::Data(data)) => data.link_down_s = number(value),
            ("obeys", Kind::Data(data)) => data.disobeys = value == "no",
            ("resync", Kind::Data(data)) => data.resync_ms = number(value),
            ("lists", Kind::Data(data)) => {
                let names = value.split(',').filter(|name| !name.is_empty());
                data.lists = Some(names.map(find).collect());
            }
            ("says", Kind::Sentinel(voter)) => voter.says_down = value == "down",
            ("vote", Kind::Sentinel(voter)) => voter.vote = value.to_string(),
            ("epoch", Kind::Sentinel(voter)) => voter.epoch = Some(number(value)),
            ("ask", Kind::Sentinel(voter)) => voter.ask = error(),
            _ => panic!("{word} is nothing for {}", self.name),
        }
    }

    /// Whether this is a data node that follows the address.
    pub fn follows(&self, ip: &str, port: u16) -> bool {
        match &self.kind {
            Kind::Data(data) => {
                data.of.as_ref().is_some_and(|(host, of)| host == ip && *of == port)
            }
            Kind::Sentinel(_) => false,
        }
    }

    /// What the host says to one request; `followers` are the replicas that it has.
    pub fn answer(&mut self, now: u64, words: &[String], followers: &[(String, u16)]) -> Answer {
        let verb = words[0].to_ascii_uppercase();
        let ok = |text: &str| Answer::Reply(text.to_string());
        if let Kind::Data(Data { transaction: Some(queued), .. }) = &mut self.kind
            && verb != "EXEC"
        {
            queued.push(words.to_vec());
            return ok("+QUEUED\r\n");
        }
        match verb.as_str() {
            "PING" => Answer::Reply(self.ping.clone().unwrap_or("+PONG\r\n".to_string())),
            "SUBSCRIBE" => match &self.subscribe {
                Some(error) => ok(error),
                None => {
                    Answer::Reply(format!("*3\r\n$9\r\nsubscribe\r\n{}:1\r\n", bulk(&words[1])))
                }
            },
            "PUBLISH" => match &self.publish {
                Some(error) => ok(error),
                None => Answer::Published(":1\r\n".to_string(), words[2].clone()),
            },
            "INFO" => {
                let text = || bulk(&self.info_text(now, followers));
                Answer::Reply(self.info.clone().unwrap_or_else(text))
            }
            "MULTI" => {
                if let Kind::Data(data) = &mut self.kind {
                    data.transaction = Some(Vec::new());
                }
                ok("+OK\r\n")
            }
            "EXEC" => self.exec(now),
            "SENTINEL" => self.vote(words),
            _ => ok("+OK\r\n"),
        }
    }

    fn exec(&mut self, now: u64) -> Answer {
        let Kind::Data(data) = &mut self.kind else { panic!("EXEC to a sentinel") };
        let queued = data.transaction.take().unwrap_or_default();
        for words in queued.iter().filter(|words| words.len() == 3 && !data.disobeys) {
            match (words[1].as_str(), words[2].as_str()) {
                ("NO", "ONE") => data.of = None,
                ("TYPE", _) | ("KILL", _) => {}
                (host, port) => {
                    data.of = Some((host.to_string(), number(port)));
                    data.following_since = Some(now);
                }
            }
        }
        Answer::Transaction(format!("*{}\r\n{}", queued.len(), "+OK\r\n".repeat(queued.len())))
    }

    fn vote(&self, words: &[String]) -> Answer {
        let Kind::Sentinel(voter) = &self.kind else { panic!("{words:?} to a data node") };
        if let Some(error) = &voter.ask {
            return Answer::Reply(error.clone());
        }
        let (asked, runid) = (number::<u64>(&words[4]), &words[5]);
        let (leader, epoch) = match (runid.as_str(), voter.vote.as_str()) {
            ("*", _) => ("*", 0),
            (_, "*") => ("*", voter.epoch.unwrap_or(asked)),
            (asker, "me") => (asker, voter.epoch.unwrap_or(asked)),
            (_, other) => (other, voter.epoch.unwrap_or(asked)),
        };
        let down = u8::from(voter.says_down);
        Answer::Reply(format!("*3\r\n:{down}\r\n{}:{epoch}\r\n", bulk(leader)))
    }

    fn info_text(&self, now: u64, followers: &[(String, u16)]) -> String {
        let Kind::Data(data) = &self.kind else { panic!("INFO to a sentinel") };
        let mut text = format!("run_id:{}\r\n", self.id);
        let Some((host, port)) = &data.of else {
            text.push_str("role:master\r\n");
            for (n, (host, port)) in data.lists.as_deref().unwrap_or(followers).iter().enumerate() {
                text.push_str(&format!("slave{n}:ip={host},port={port},state=online\r\n"));
            }
            return text;
        };
        let moving = data.following_since.is_some_and(|since| now < since + data.resync_ms);
        let up = !(data.link_down || moving);
        let status = if up { "up" } else { "down" };
        text.push_str(&format!("role:slave\r\nmaster_host:{host}\r\nmaster_port:{port}\r\n"));
        text.push_str(&format!("master_link_status:{status}\r\n"));
        if !up {
            let down_s = data.link_down_s;
            text.push_str(&format!("master_link_down_since_seconds:{down_s}\r\n"));
        }
        let (offset, priority) = (data.offset, data.priority);
        text + &format!("slave_repl_offset:{offset}\r\nslave_priority:{priority}\r\n")
    }
}

/// A bulk string on the wire.
pub fn bulk(text: &str) -> String {
    format!("${}\r\n{text}\r\n", text.len())
}
