//! ACL LOG: what was refused, newest first; the same again within a minute is counted.
#![forbid(unsafe_code)]

use std::collections::VecDeque;

use crate::util::time::Mono;

/// Equal entries within this time are one.
const MERGE_MS: u64 = 60_000;
/// How many of the newest entries are looked at for an equal one.
const MERGE_LOOK: usize = 10;
/// Longest object and user name that are kept: both are a stranger's words.
const TEXT_MAX_BYTES: usize = 1024;

/// Why something was refused.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Reason {
    Auth,
    Command,
    Channel,
}

impl Reason {
    /// The word that ACL LOG shows.
    pub fn word(self) -> &'static str {
        match self {
            Reason::Auth => "auth",
            Reason::Command => "command",
            Reason::Channel => "channel",
        }
    }
}

/// One entry.
#[derive(Clone, Debug)]
pub struct Entry {
    /// Counts up from 0 as long as the process lives.
    pub id: u64,
    pub count: u64,
    pub reason: Reason,
    /// The command's full name, the channel, or `AUTH` or `HELLO` as typed.
    pub object: Vec<u8>,
    pub username: Vec<u8>,
    /// The client's line when it was refused last.
    pub client: Vec<u8>,
    pub created_unix_ms: u64,
    pub updated_unix_ms: u64,
    pub updated: Mono,
}

/// When something happened, by both clocks.
#[derive(Clone, Copy, Debug)]
pub struct Moment {
    pub mono: Mono,
    pub unix_ms: u64,
}

/// The log; `acllog-max-len` bounds it.
#[derive(Debug, Default)]
pub struct AclLog {
    entries: VecDeque<Entry>,
    next_id: u64,
}

impl AclLog {
    /// Notes a refusal; `client` is made only if the entry is kept.
    pub fn add(
        &mut self,
        now: Moment,
        max_len: u64,
        (reason, object, username): (Reason, &[u8], &[u8]),
        client: Vec<u8>,
    ) {
        let object = &object[..object.len().min(TEXT_MAX_BYTES)];
        let username = &username[..username.len().min(TEXT_MAX_BYTES)];
        let same = self.entries.iter().take(MERGE_LOOK).position(|entry| {
            entry.reason == reason
                && entry.object == object
                && entry.username == username
                && now.mono.since(entry.updated) <= MERGE_MS
        });
        let entry = match same.and_then(|at| self.entries.remove(at)) {
            Some(old) => Entry {
                count: old.count + 1,
                client,
                updated_unix_ms: now.unix_ms,
                updated: now.mono,
                ..old
            },
            None => {
                self.next_id += 1;
                Entry {
                    id: self.next_id - 1,
                    count: 1,
                    reason,
                    object: object.to_vec(),
                    username: username.to_vec(),
                    client,
                    created_unix_ms: now.unix_ms,
                    updated_unix_ms: now.unix_ms,
                    updated: now.mono,
                }
            }
        };
        self.entries.push_front(entry);
        self.entries.truncate(usize::try_from(max_len).unwrap_or(usize::MAX));
    }

    /// Newest first.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = &Entry> {
        self.entries.iter()
    }

    pub fn clear(&mut self) {
        self.entries.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn add(log: &mut AclLog, at_ms: u64, object: &str) {
        let now = Moment { mono: Mono(1_000_000 + at_ms), unix_ms: 5_000 + at_ms };
        log.add(now, 12, (Reason::Command, object.as_bytes(), b"u"), Vec::new());
    }

    fn shown(log: &AclLog) -> String {
        let show = |entry: &Entry| {
            let object = String::from_utf8_lossy(&entry.object).into_owned();
            format!("{}:{object}x{}", entry.id, entry.count)
        };
        log.iter().map(show).collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn equal_entries_within_a_minute_are_counted_and_come_first() {
        let mut log = AclLog::default();
        add(&mut log, 0, "a");
        add(&mut log, 1, "b");
        add(&mut log, 2, "a");
        assert_eq!(shown(&log), "0:ax2 1:bx1");
        add(&mut log, 60_002, "a");
        assert_eq!(shown(&log), "0:ax3 1:bx1");
        add(&mut log, 60_002, "b");
        assert_eq!(shown(&log), "2:bx1 0:ax3 1:bx1");
        let newest = log.iter().nth(1).unwrap();
        assert_eq!((newest.created_unix_ms, newest.updated_unix_ms), (5_000, 65_002));
        log.clear();
        add(&mut log, 60_003, "c");
        assert_eq!(shown(&log), "3:cx1");
    }

    #[test]
    fn only_the_newest_ten_are_looked_at_and_the_oldest_leave() {
        let mut log = AclLog::default();
        for n in 1..=11 {
            add(&mut log, n, &n.to_string());
        }
        add(&mut log, 20, "1");
        add(&mut log, 21, "11");
        assert!(shown(&log).starts_with("10:11x2 11:1x1 9:10x1"), "{}", shown(&log));
        assert_eq!(log.iter().len(), 12);
        add(&mut log, 22, "new");
        assert_eq!(log.iter().len(), 12);
        assert_eq!(log.iter().last().unwrap().object, b"2");
    }

    #[test]
    fn a_strangers_long_words_are_cut() {
        let mut log = AclLog::default();
        add(&mut log, 0, &"x".repeat(5_000));
        assert_eq!(log.iter().next().unwrap().object.len(), TEXT_MAX_BYTES);
        let now = Moment { mono: Mono(0), unix_ms: 0 };
        log.add(now, 0, (Reason::Auth, b"AUTH", b"u"), Vec::new());
        assert_eq!(log.iter().len(), 0);
    }
}
