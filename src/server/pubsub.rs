//! Who listens to what, and the delivery of events (spec/commands.md, spec/events.md).
#![forbid(unsafe_code)]

use std::collections::{BTreeMap, BTreeSet};

use crate::resp::write::{self, Dialect};
use crate::util::glob;
use crate::util::ident::ConnId;

/// Most channels and patterns together that one client may hold.
pub const SUBSCRIPTIONS_MAX: usize = 16_384;

/// Channels or patterns, each with its subscribers.
#[derive(Debug, Default)]
pub struct Topics(BTreeMap<Vec<u8>, BTreeSet<ConnId>>);

impl Topics {
    pub fn add(&mut self, topic: &[u8], conn: ConnId) {
        self.0.entry(topic.to_vec()).or_default().insert(conn);
    }

    pub fn remove(&mut self, topic: &[u8], conn: ConnId) {
        if let Some(subscribers) = self.0.get_mut(topic) {
            subscribers.remove(&conn);
            if subscribers.is_empty() {
                self.0.remove(topic);
            }
        }
    }

    pub fn len(&self) -> usize {
        self.0.len()
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// All subscriptions.
#[derive(Debug, Default)]
pub struct PubSub {
    pub channels: Topics,
    pub patterns: Topics,
}

/// One message to one subscriber.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Delivery<'a> {
    pub conn: ConnId,
    /// The pattern that matched, if it was one.
    pub pattern: Option<&'a [u8]>,
}

impl PubSub {
    /// Who gets a message on `channel`: subscribers of the channel first, then each pattern's.
    pub fn deliveries<'a>(&'a self, channel: &'a [u8]) -> impl Iterator<Item = Delivery<'a>> {
        let direct = self.channels.0.get(channel).into_iter().flatten();
        let direct = direct.map(|conn| Delivery { conn: *conn, pattern: None });
        let matching = self.patterns.0.iter().filter(|(p, _)| glob::matches(p, channel, false));
        let by_pattern = matching.flat_map(|(pattern, conns)| {
            conns.iter().map(|conn| Delivery { conn: *conn, pattern: Some(pattern) })
        });
        direct.chain(by_pattern)
    }
}

/// Writes a message as its subscriber sees it.
pub fn write_message(
    out: &mut Vec<u8>,
    dialect: Dialect,
    pattern: Option<&[u8]>,
    channel: &[u8],
    text: &[u8],
) {
    match pattern {
        None => {
            write::push(out, 3, dialect);
            write::bulk(out, b"message");
        }
        Some(pattern) => {
            write::push(out, 4, dialect);
            write::bulk(out, b"pmessage");
            write::bulk(out, pattern);
        }
    }
    write::bulk(out, channel);
    write::bulk(out, text);
}
