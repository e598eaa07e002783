//! The world's other hosts: data nodes and sentinels as simple models.
//!
//! `node NAME PORT key=value…` makes a data node, `peer NAME PORT key=value…` a sentinel, and
//! `set NAME key=value…` changes one:
//! - all: `ip`, `id` (a digit, or 40 digits), `mode` up | silent (nothing is answered, but all is
//!   kept) | refused | hangs (silent, and connects hang) | full (new connections get an error and
//!   are closed), `delay` of answers in ms, `ping`, `info`, `publish` and `subscribe`: an error
//!   instead; `password` (of new connections, and of those that lacked it before),
//!   `denies` and `lacks`: commands that the user may not use, and that there are not
//!   (`client|kill,multi`), `renamed`: new names (`slaveof:follow,…`);
//! - nodes: `of` (name or host:port, `nobody` for a master), `offset`, `priority`, `link` up or
//!   down, `down` in seconds, `obeys` yes | no (SLAVEOF), `resync` in ms after SLAVEOF, `lists`
//!   (replicas that a master reports; all that follow it if not given), `loading` yes | no, `file`
//!   yes | no (a config file, for CONFIG REWRITE);
//! - sentinels: `says` up | down, `vote` me (the asker) | `*` | another id, `epoch` of that vote
//!   (as asked if not given), `ask` an error instead of an answer, `holds` (name or host:port): the
//!   only address of which it knows a master.
#![forbid(unsafe_code)]

use std::net::IpAddr;

use super::text::{number, pair};

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Mode {
    Up,
    Silent,
    Refused,
    Hangs,
    Full,
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
    password: String,
    denies: Vec<String>,
    lacks: Vec<String>,
    /// `usual:new`.
    renamed: Vec<String>,
    pub kind: Kind,
}

/// What a host knows of one connection to it.
#[derive(Default)]
pub struct Client {
    authenticated: bool,
    /// The transaction that it gathers.
    queued: Option<Vec<Vec<String>>>,
    /// A command of it was refused.
    spoiled: bool,
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
    loading: bool,
    no_file: bool,
}

#[derive(Default)]
pub struct Voter {
    says_down: bool,
    vote: String,
    epoch: Option<u64>,
    ask: Option<String>,
    holds: Option<(String, u16)>,
}

/// What a host does with one request.
pub enum Answer {
    Reply(String),
    /// The same, and its Pub/Sub clients are thrown out.
    Kicked(String),
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
        let (denies, lacks, renamed) = (Vec::new(), Vec::new(), Vec::new());
        let (name, password) = (name.to_string(), String::new());
        Host {
            name,
            ip,
            port,
            id,
            mode,
            delay_ms,
            ping,
            subscribe,
            publish,
            info,
            password,
            denies,
            lacks,
            renamed,
            kind,
        }
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
                    "full" => Mode::Full,
                    other => panic!("mode {other}"),
                }
            }
            ("delay", _) => self.delay_ms = number(value),
            ("ping", _) => self.ping = error(),
            ("subscribe", _) => self.subscribe = error(),
            ("info", _) => self.info = error(),
            ("publish", _) => self.publish = error(),
            ("password", _) => self.password = value.to_string(),
            ("denies", _) => self.denies = list(value),
            ("lacks", _) => self.lacks = list(value),
            ("renamed", _) => self.renamed = list(value),
            ("loading", Kind::Data(data)) => data.loading = value == "yes",
            ("file", Kind::Data(data)) => data.no_file = value == "no",
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
            ("holds", Kind::Sentinel(voter)) => voter.holds = Some(find(value)),
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
    pub fn answer(
        &mut self,
        now: u64,
        client: &mut Client,
        words: &[String],
        followers: &[(String, u16)],
    ) -> Answer {
        let words = &self.with_usual_name(words)[..];
        let verb = words[0].to_ascii_uppercase();
        if let Some(error) = self.refusal(client, words) {
            client.spoiled = client.queued.is_some();
            if verb != "EXEC" || error.starts_with("ERR unknown") {
                return Answer::Reply(format!("-{error}\r\n"));
            }
            client.queued = None;
            return Answer::Reply(aborted(&format!("because of: {error}")));
        }
        if let Some(queued) = client.queued.as_mut().filter(|_| verb != "EXEC") {
            queued.push(words.to_vec());
            return Answer::Reply("+QUEUED\r\n".to_string());
        }
        match verb.as_str() {
            "AUTH" => Answer::Reply(self.log_in(client, words)),
            "PUBLISH" if self.publish.is_none() => {
                Answer::Published(":1\r\n".to_string(), words[2].clone())
            }
            "MULTI" => {
                (client.queued, client.spoiled) = (Some(Vec::new()), false);
                Answer::Reply("+OK\r\n".to_string())
            }
            "EXEC" => self.exec(now, client),
            "CLIENT" if words.last().is_some_and(|word| word == "pubsub") => {
                Answer::Kicked("+OK\r\n".to_string())
            }
            _ => Answer::Reply(self.plain_answer(now, words, followers)),
        }
    }

    fn with_usual_name(&self, words: &[String]) -> Vec<String> {
        let mut words = words.to_vec();
        for (usual, new) in self.renamed.iter().filter_map(|names| names.split_once(':')) {
            if words[0].eq_ignore_ascii_case(new) {
                words[0] = usual.to_string();
            } else if words[0].eq_ignore_ascii_case(usual) {
                words[0] = format!("(was) {usual}");
            }
        }
        words
    }

    /// What it says to a command that has nothing to do with others.
    fn plain_answer(&mut self, now: u64, words: &[String], followers: &[(String, u16)]) -> String {
        let subscribed = || format!("*3\r\n$9\r\nsubscribe\r\n{}:1\r\n", bulk(&words[1]));
        let error = |error: &Option<String>| error.clone();
        match words[0].to_ascii_uppercase().as_str() {
            "PING" => error(&self.ping).unwrap_or("+PONG\r\n".to_string()),
            "SUBSCRIBE" => error(&self.subscribe).unwrap_or_else(subscribed),
            "PUBLISH" => error(&self.publish).unwrap_or_default(),
            "INFO" => error(&self.info).unwrap_or_else(|| bulk(&self.info_text(now, followers))),
            "SLAVEOF" => {
                self.follow(now, words);
                "+OK\r\n".to_string()
            }
            "CONFIG" if matches!(&self.kind, Kind::Data(Data { no_file: true, .. })) => {
                "-ERR The server is running without a config file\r\n".to_string()
            }
            "SENTINEL" => self.vote(words),
            _ => "+OK\r\n".to_string(),
        }
    }

    /// Why a command is not taken, without the dash.
    fn refusal(&self, client: &Client, words: &[String]) -> Option<String> {
        let verb = words[0].to_ascii_lowercase();
        let full = match (verb.as_str(), words.get(1)) {
            ("client" | "config" | "script" | "sentinel", Some(sub)) => {
                format!("{verb}|{}", sub.to_ascii_lowercase())
            }
            _ => verb.clone(),
        };
        let is = |name: &String| *name == verb || *name == full;
        if self.lacks.iter().any(is) || verb.starts_with("(was) ") {
            return Some(format!("ERR unknown command '{}', with args beginning with: ", words[0]));
        }
        if !self.password.is_empty() && !client.authenticated && verb != "auth" {
            return Some("NOAUTH Authentication required.".to_string());
        }
        if self.denies.iter().any(is) {
            return Some(format!(
                "NOPERM this user has no permissions to run the '{full}' command"
            ));
        }
        let loading = matches!(&self.kind, Kind::Data(Data { loading: true, .. }));
        let waits = loading && matches!(verb.as_str(), "ping" | "slaveof");
        waits.then(|| "LOADING Redis is loading the dataset in memory".to_string())
    }

    fn log_in(&self, client: &mut Client, words: &[String]) -> String {
        if self.password.is_empty() && words.len() == 2 {
            return "-ERR AUTH <password> called without any password configured for the default \
                    user. Are you sure your configuration is correct?\r\n"
                .to_string();
        }
        if !self.password.is_empty() && words.last() != Some(&self.password) {
            return "-WRONGPASS invalid username-password pair or user is disabled.\r\n"
                .to_string();
        }
        client.authenticated = true;
        "+OK\r\n".to_string()
    }

    fn follow(&mut self, now: u64, words: &[String]) {
        let Kind::Data(data) = &mut self.kind else { panic!("SLAVEOF to a sentinel") };
        match (words[1].as_str(), words[2].as_str()) {
            _ if data.disobeys => {}
            ("NO", "ONE") => data.of = None,
            (host, port) => {
                data.of = Some((host.to_string(), number(port)));
                data.following_since = Some(now);
            }
        }
    }

    fn exec(&mut self, now: u64, client: &mut Client) -> Answer {
        let Some(queued) = client.queued.take() else {
            return Answer::Reply("-ERR EXEC without MULTI\r\n".to_string());
        };
        if client.spoiled {
            return Answer::Reply(aborted("because of previous errors."));
        }
        let replies: String =
            queued.iter().map(|words| self.plain_answer(now, words, &[])).collect();
        Answer::Kicked(format!("*{}\r\n{replies}", queued.len()))
    }

    fn vote(&self, words: &[String]) -> String {
        let Kind::Sentinel(voter) = &self.kind else { panic!("{words:?} to a data node") };
        if let Some(error) = &voter.ask {
            return error.clone();
        }
        let about = (words[2].clone(), number(&words[3]));
        if voter.holds.as_ref().is_some_and(|held| *held != about) {
            return format!("*3\r\n:0\r\n{}:0\r\n", bulk("*"));
        }
        let (asked, runid) = (number::<u64>(&words[4]), &words[5]);
        let (leader, epoch) = match (runid.as_str(), voter.vote.as_str()) {
            ("*", _) => ("*", 0),
            (_, "*") => ("*", voter.epoch.unwrap_or(asked)),
            (asker, "me") => (asker, voter.epoch.unwrap_or(asked)),
            (_, other) => (other, voter.epoch.unwrap_or(asked)),
        };
        let down = u8::from(voter.says_down);
        format!("*3\r\n:{down}\r\n{}:{epoch}\r\n", bulk(leader))
    }

    fn info_text(&self, now: u64, followers: &[(String, u16)]) -> String {
        let Kind::Data(data) = &self.kind else { panic!("INFO to a sentinel") };
        let mut text = format!("run_id:{}\r\n", self.id);
        if data.loading {
            text.push_str("loading:1\r\nasync_loading:0\r\n");
        }
        let (offset, priority) = (data.offset, data.priority);
        let Some((host, port)) = &data.of else {
            text.push_str(&format!("role:master\r\nmaster_repl_offset:{offset}\r\n"));
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
        text.push_str(&format!("slave_repl_offset:{offset}\r\nslave_priority:{priority}\r\n"));
        text + &format!("master_repl_offset:{offset}\r\n")
    }
}

fn aborted(why: &str) -> String {
    format!("-EXECABORT Transaction discarded {why}\r\n")
}

/// The words between commas.
fn list(text: &str) -> Vec<String> {
    text.split(',').filter(|word| !word.is_empty()).map(str::to_string).collect()
}

/// A bulk string on the wire.
pub fn bulk(text: &str) -> String {
    format!("${}\r\n{text}\r\n", text.len())
}
