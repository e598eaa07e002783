//! What a sentinel has read from a data node, as far as the checkers need it.
#![forbid(unsafe_code)]

use crate::net::Us;

/// The last INFO that a sentinel read from a data node.
#[derive(Clone, Default, PartialEq, Eq, Debug)]
pub struct Info {
    pub at: Us,
    pub is_replica: bool,
    pub priority: Option<u32>,
    /// Since this sentinel watches: another process answers than at first.
    pub rebooted: bool,
    pub run_id: Vec<u8>,
    pub offset: Option<u64>,
    /// Since when its replication link is down, in s; -1: it never was up.
    pub link_down_s: Option<i64>,
    /// When it was asked for.
    pub asked_at: Option<Us>,
    /// The names of the replicas that it lists.
    pub listed: Vec<String>,
    /// When the one before came.
    before: Option<Us>,
}

fn number<T: std::str::FromStr>(text: &[u8]) -> Option<T> {
    std::str::from_utf8(text).ok()?.parse().ok()
}

/// The host of a line about a replica, if that is a name.
fn listed_name(line: &[u8]) -> Option<String> {
    let (_, rest) = std::str::from_utf8(line).ok()?.split_once(":ip=")?;
    let (host, _) = rest.split_once(',')?;
    host.parse::<std::net::IpAddr>().is_err().then(|| host.to_owned())
}

impl Info {
    /// Reads the fields that are needed; what `old` told of the run id is remembered.
    pub fn parse(at: Us, text: &[u8], old: Option<&Info>) -> Info {
        let mut info = Info { at, ..Info::default() };
        for line in text.split(|byte| *byte == b'\n') {
            let line = line.strip_suffix(b"\r").unwrap_or(line);
            if line == b"role:slave" {
                info.is_replica = true;
            } else if let Some(id) = line.strip_prefix(b"run_id:") {
                info.run_id = id.to_vec();
            } else if let Some(priority) = line.strip_prefix(b"slave_priority:") {
                info.priority = number(priority);
            } else if let Some(offset) = line.strip_prefix(b"slave_repl_offset:") {
                info.offset = number(offset);
            } else if let Some(since) = line.strip_prefix(b"master_link_down_since_seconds:") {
                info.link_down_s = number(since);
            } else if line.starts_with(b"slave") {
                info.listed.extend(listed_name(line));
            }
        }
        info.before = old.map(|old| old.at);
        info.rebooted = old.is_some_and(|old| old.rebooted || old.run_id != info.run_id);
        info
    }

    /// Whether it is certain that whoever read it acts on it by now: it is no more than 4 s old,
    /// and if it came just now, it is the only one that did.
    pub fn is_settled(&self, now: Us) -> bool {
        let alone = self.at < now || self.before != Some(self.at);
        self.is_replica && alone && now <= self.at + 4_000_000
    }

    /// What comes first is better; nothing can make up for priority 0.
    pub fn order(&self) -> (u32, std::cmp::Reverse<u64>) {
        let priority = self.priority.filter(|priority| *priority != 0).unwrap_or(u32::MAX);
        (priority, std::cmp::Reverse(self.offset.unwrap_or(0)))
    }

    /// A master may be held down for what it says, not only for its silence.
    pub fn excuses_sdown(&self) -> bool {
        self.is_replica || self.rebooted
    }
}
