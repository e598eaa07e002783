//! Who listens to what, and the delivery of events (spec/commands.md, spec/events.md).
//!
//! Only events are published, and their names are known. So a pattern is matched with all of them
//! once, when it gets its first subscriber; an event then looks at nobody but those it reaches.
#![forbid(unsafe_code)]

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crate::resp::write::{self, Dialect};
use crate::sentinel::event::PUBLISHED;
use crate::util::glob::Pattern;
use crate::util::ident::ConnId;

/// Most channels and patterns together that one client may hold.
pub const SUBSCRIPTIONS_MAX: usize = 16_384;
/// Longest channel or pattern. No event has a name of a tenth of that.
pub const TOPIC_MAX_BYTES: usize = 1024;

/// What a subscription takes in memory beside its text: the text's header, and the entries for it
/// with its client, among all topics, and among all subscriptions.
const SUBSCRIPTION_BYTES: usize = 144;
/// What it takes that a pattern is entered for a channel.
const MATCH_BYTES: usize = 24;
/// Longest name of an event that patterns are matched with.
const CHANNEL_MAX_BYTES: usize = 64;

/// A channel or a pattern; all who hold it share its bytes.
pub type Topic = Arc<[u8]>;

/// What one client listens to; by topic the memory that it takes, in bytes.
#[derive(Debug, Default)]
pub struct Held {
    pub topics: BTreeMap<Topic, u32>,
}

impl Held {
    pub fn len(&self) -> usize {
        self.topics.len()
    }

    pub fn is_empty(&self) -> bool {
        self.topics.is_empty()
    }
}

/// What all clients know of one topic.
#[derive(Debug)]
struct Shared {
    subscribers: u32,
    /// Of a pattern: for how many channels it is entered.
    matches: u32,
}

/// Channels or patterns, each with its subscribers.
#[derive(Debug, Default)]
pub struct Topics {
    all: BTreeMap<Topic, Shared>,
    by_topic: BTreeSet<(Topic, ConnId)>,
}

impl Topics {
    pub fn len(&self) -> usize {
        self.all.len()
    }

    pub fn is_empty(&self) -> bool {
        self.all.is_empty()
    }

    /// Those who listen to a topic, the one that connected first before the others.
    fn subscribers(&self, topic: &Topic) -> impl Iterator<Item = ConnId> {
        let key = |conn| (Arc::clone(topic), ConnId(conn));
        self.by_topic.range(key(0)..=key(u64::MAX)).map(|(_, conn)| *conn)
    }

    /// Adds a subscriber; `enter` is asked for how many channels a new topic is entered. Gives the
    /// text to share, and the memory that the subscription takes.
    fn add(
        &mut self,
        topic: &[u8],
        conn: ConnId,
        enter: impl FnOnce(&Topic) -> u32,
    ) -> (Topic, u32) {
        let topic = match self.all.get_key_value(topic) {
            Some((known, _)) => Arc::clone(known),
            None => {
                let topic = Topic::from(topic);
                let shared = Shared { subscribers: 0, matches: enter(&topic) };
                self.all.insert(Arc::clone(&topic), shared);
                topic
            }
        };
        let is_new = self.by_topic.insert((Arc::clone(&topic), conn));
        let shared = self.all.get_mut(&topic).expect("the topic was just entered");
        shared.subscribers += u32::from(is_new);
        let matches = shared.matches as usize;
        // A topic is short.
        let cost = (SUBSCRIPTION_BYTES + topic.len() + matches * MATCH_BYTES) as u32;
        (topic, cost)
    }

    /// Removes a subscriber; true if it was the last one.
    fn remove(&mut self, topic: &Topic, conn: ConnId) -> bool {
        if !self.by_topic.remove(&(Arc::clone(topic), conn)) {
            return false;
        }
        let Some(shared) = self.all.get_mut(topic) else { return false };
        shared.subscribers -= 1;
        let last = shared.subscribers == 0;
        if last {
            self.all.remove(topic);
        }
        last
    }
}

/// All subscriptions.
#[derive(Debug)]
pub struct PubSub {
    pub channels: Topics,
    pub patterns: Topics,
    /// Patterns that every channel matches.
    everything: BTreeSet<Topic>,
    /// The other patterns, by the channels that match them.
    matching: BTreeMap<&'static str, BTreeSet<Topic>>,
}

impl Default for PubSub {
    fn default() -> PubSub {
        PubSub {
            channels: Topics::default(),
            patterns: Topics::default(),
            everything: BTreeSet::new(),
            matching: PUBLISHED.iter().map(|name| (*name, BTreeSet::new())).collect(),
        }
    }
}

/// Which of the two kinds of subscriptions.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kind {
    Channel,
    Pattern,
}

impl PubSub {
    /// What a subscription would take in memory at most, in bytes.
    pub fn cost_at_most(&self, kind: Kind, topic: &[u8]) -> usize {
        let channels = if kind == Kind::Pattern { self.matching.len() } else { 0 };
        SUBSCRIPTION_BYTES + topic.len() + channels * MATCH_BYTES
    }

    /// Adds a subscription to those that a client holds; the memory that it takes, in bytes.
    pub fn add(&mut self, held: &mut Held, kind: Kind, topic: &[u8], conn: ConnId) -> usize {
        let (everything, matching) = (&mut self.everything, &mut self.matching);
        let (topic, cost) = match kind {
            Kind::Channel => self.channels.add(topic, conn, |_| 0),
            Kind::Pattern => {
                self.patterns.add(topic, conn, |topic| enter(everything, matching, topic))
            }
        };
        held.topics.insert(topic, cost);
        cost as usize
    }

    /// Removes a subscription, if it is held; the memory that is free now, in bytes.
    pub fn remove(
        &mut self,
        held: &mut Held,
        kind: Kind,
        topic: &[u8],
        conn: ConnId,
    ) -> Option<usize> {
        let (topic, cost) = held.topics.remove_entry(topic)?;
        self.release(kind, &topic, conn);
        Some(cost as usize)
    }

    /// Removes all that a client held of a kind.
    pub fn remove_all(&mut self, held: Held, kind: Kind, conn: ConnId) {
        for topic in held.topics.into_keys() {
            self.release(kind, &topic, conn);
        }
    }

    fn release(&mut self, kind: Kind, topic: &Topic, conn: ConnId) {
        match kind {
            Kind::Channel => {
                self.channels.remove(topic, conn);
            }
            Kind::Pattern => {
                if self.patterns.remove(topic, conn) && !self.everything.remove(topic) {
                    for patterns in self.matching.values_mut() {
                        patterns.remove(topic);
                    }
                }
            }
        }
    }

    /// The topics that a message on `channel` reaches: the channel first (`false`), then patterns
    /// (`true`) in their order.
    pub fn reached(&mut self, channel: &'static str) -> Vec<(Topic, bool)> {
        if !self.matching.contains_key(channel) {
            let all = self.patterns.all.iter_mut();
            let patterns = all.filter(|(topic, _)| {
                !self.everything.contains(*topic) && compile(topic).matches(channel.as_bytes())
            });
            let entered = patterns.map(|(topic, shared)| {
                shared.matches += 1;
                Arc::clone(topic)
            });
            self.matching.insert(channel, entered.collect());
        }
        let direct = self.channels.all.get_key_value(channel.as_bytes());
        let direct = direct.map(|(topic, _)| (Arc::clone(topic), false));
        let matching = self.matching.get(channel).into_iter().flatten();
        let patterns = matching.chain(&self.everything).map(|topic| (Arc::clone(topic), true));
        let mut reached: Vec<_> = direct.into_iter().chain(patterns).collect();
        reached.sort_unstable_by(|a, b| (a.1, &a.0).cmp(&(b.1, &b.0)));
        reached
    }

    /// Who listens to one of [`PubSub::reached`].
    pub fn subscribers(&self, topic: &Topic, is_pattern: bool) -> Vec<ConnId> {
        let topics = if is_pattern { &self.patterns } else { &self.channels };
        topics.subscribers(topic).collect()
    }
}

/// Enters a new pattern for all channels that match it; how many entries that makes.
fn enter(
    everything: &mut BTreeSet<Topic>,
    matching: &mut BTreeMap<&'static str, BTreeSet<Topic>>,
    topic: &Topic,
) -> u32 {
    let pattern = compile(topic);
    if pattern.takes_all() {
        everything.insert(Arc::clone(topic));
        return 1;
    }
    let channels = matching.iter_mut().filter(|(name, _)| pattern.matches(name.as_bytes()));
    channels.map(|(_, patterns)| patterns.insert(Arc::clone(topic))).count() as u32
}

fn compile(topic: &Topic) -> Pattern {
    Pattern::new(topic, false, CHANNEL_MAX_BYTES)
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::util::glob;
    use crate::util::rng::Rng;

    /// What a plain look at every subscription gives.
    fn plainly(
        all: &BTreeMap<ConnId, [Held; 2]>,
        channel: &str,
    ) -> BTreeSet<(bool, Topic, ConnId)> {
        let mut reached = BTreeSet::new();
        for (conn, [channels, patterns]) in all {
            let direct = channels.topics.keys().filter(|topic| ***topic == *channel.as_bytes());
            reached.extend(direct.map(|topic| (false, Arc::clone(topic), *conn)));
            let fits = |topic: &&Topic| glob::matches(topic, channel.as_bytes(), false);
            let matching = patterns.topics.keys().filter(fits);
            reached.extend(matching.map(|topic| (true, Arc::clone(topic), *conn)));
        }
        reached
    }

    #[test]
    fn everybody_is_reached_whom_a_plain_look_would_find() {
        let mut rng = Rng::new(3);
        let topics = [
            "*",
            "**",
            "+*",
            "+s*",
            "-sdown",
            "+sdown",
            "*down",
            "[+-]odown",
            "+slave?reconf*",
            "x*",
            "*~",
            "+no-such",
            "",
            "\\+sdown",
        ];
        let channels = ["+sdown", "-sdown", "+odown", "+slave-reconf-sent", "+no-such-event", "x"];
        let mut pubsub = PubSub::default();
        let mut all: BTreeMap<ConnId, [Held; 2]> = BTreeMap::new();
        let (mut bytes, mut hits) = (0, 0);
        for _ in 0..4000 {
            let conn = ConnId(1 + rng.below(6));
            let held = all.entry(conn).or_default();
            let topic = topics[rng.below(topics.len() as u64) as usize].as_bytes();
            let kind = [Kind::Channel, Kind::Pattern][rng.below(2) as usize];
            match rng.below(16) {
                0 => {
                    let held = std::mem::take(&mut held[kind as usize]);
                    bytes -= held.topics.values().sum::<u32>() as usize;
                    pubsub.remove_all(held, kind, conn);
                }
                1..9 => {
                    let held = &mut held[kind as usize];
                    let before = held.topics.get(topic).copied().unwrap_or(0);
                    bytes += pubsub.add(held, kind, topic, conn) - before as usize;
                }
                _ => {
                    bytes -=
                        pubsub.remove(&mut held[kind as usize], kind, topic, conn).unwrap_or(0);
                }
            }
            let channel = channels[rng.below(channels.len() as u64) as usize];
            let reached = pubsub.reached(channel);
            assert!(reached.is_sorted_by_key(|(topic, is_pattern)| (*is_pattern, topic.clone())));
            let found: BTreeSet<_> = reached
                .into_iter()
                .flat_map(|(topic, is_pattern)| {
                    let conns = pubsub.subscribers(&topic, is_pattern);
                    conns.into_iter().map(move |conn| (is_pattern, topic.clone(), conn))
                })
                .collect();
            hits += found.len();
            assert_eq!(found, plainly(&all, channel), "{channel}");
        }
        assert!(hits > 4000, "{hits}");
        for (conn, [channels, patterns]) in all {
            bytes -= channels.topics.values().chain(patterns.topics.values()).sum::<u32>() as usize;
            pubsub.remove_all(channels, Kind::Channel, conn);
            pubsub.remove_all(patterns, Kind::Pattern, conn);
        }
        assert_eq!(bytes, 0);
        assert!(pubsub.channels.is_empty() && pubsub.patterns.is_empty());
        assert!(pubsub.everything.is_empty() && pubsub.matching.values().all(BTreeSet::is_empty));
    }

    #[test]
    fn who_shares_a_topic_shares_its_text() {
        let mut pubsub = PubSub::default();
        let (mut one, mut two) = (Held::default(), Held::default());
        pubsub.add(&mut one, Kind::Pattern, b"+sd*", ConnId(1));
        pubsub.add(&mut two, Kind::Pattern, b"+sd*", ConnId(2));
        let (first, second) = (one.topics.keys().next(), two.topics.keys().next());
        assert!(Arc::ptr_eq(first.unwrap(), second.unwrap()));
        assert_eq!(pubsub.patterns.len(), 1);
    }
}
