//! PUBLISH, SUBSCRIBE, UNSUBSCRIBE, PSUBSCRIBE, PUNSUBSCRIBE.
#![forbid(unsafe_code)]

use std::collections::BTreeSet;

use super::call::Call;
use super::client::Client;
use super::pubsub::{PubSub, SUBSCRIPTIONS_MAX, Topics};
use crate::resp::write;

/// The one channel that clients may publish on.
const HELLO_CHANNEL: &[u8] = b"__sentinel__:hello";

/// `PUBLISH __sentinel__:hello payload`: how sentinels tell each other of themselves directly.
pub fn publish(call: &mut Call<'_, '_>) {
    if call.args[1] != HELLO_CHANNEL {
        return call.error(b"ERR Only HELLO messages are accepted by Sentinel instances.");
    }
    call.sentinel.hello_by_publish(call.cx, &call.args[2]);
    call.int(1);
}

/// What distinguishes channels from patterns.
struct Kind {
    subscribed: &'static [u8],
    unsubscribed: &'static [u8],
    held: fn(&mut Client) -> &mut BTreeSet<Vec<u8>>,
    topics: fn(&mut PubSub) -> &mut Topics,
}

const CHANNELS: Kind = Kind {
    subscribed: b"subscribe",
    unsubscribed: b"unsubscribe",
    held: |client| &mut client.channels,
    topics: |pubsub| &mut pubsub.channels,
};

const PATTERNS: Kind = Kind {
    subscribed: b"psubscribe",
    unsubscribed: b"punsubscribe",
    held: |client| &mut client.patterns,
    topics: |pubsub| &mut pubsub.patterns,
};

pub fn subscribe(call: &mut Call<'_, '_>) {
    add(call, &CHANNELS);
}

pub fn psubscribe(call: &mut Call<'_, '_>) {
    add(call, &PATTERNS);
}

pub fn unsubscribe(call: &mut Call<'_, '_>) {
    remove(call, &CHANNELS);
}

pub fn punsubscribe(call: &mut Call<'_, '_>) {
    remove(call, &PATTERNS);
}

fn add(call: &mut Call<'_, '_>, kind: &Kind) {
    let words = call.args;
    for topic in &words[1..] {
        let conn = call.conn;
        let client = call.client();
        if client.subscriptions() >= SUBSCRIPTIONS_MAX && !(kind.held)(client).contains(topic) {
            call.error(b"ERR too many subscriptions");
            continue;
        }
        if (kind.held)(client).insert(topic.clone()) {
            (kind.topics)(&mut call.server.pubsub).add(topic, conn);
        }
        confirm(call, kind.subscribed, Some(topic.as_slice()));
    }
}

fn remove(call: &mut Call<'_, '_>, kind: &Kind) {
    let named = &call.args[1..];
    let all: Vec<_>;
    let topics = if named.is_empty() {
        all = (kind.held)(call.client()).iter().cloned().collect();
        &all
    } else {
        named
    };
    if topics.is_empty() {
        return confirm(call, kind.unsubscribed, None);
    }
    for topic in topics {
        if (kind.held)(call.client()).remove(topic) {
            (kind.topics)(&mut call.server.pubsub).remove(topic, call.conn);
        }
        confirm(call, kind.unsubscribed, Some(topic.as_slice()));
    }
}

/// One confirmation: what was done, to which topic, and how many the client holds now.
fn confirm(call: &mut Call<'_, '_>, done: &[u8], topic: Option<&[u8]>) {
    let held = call.client().subscriptions();
    let reply = call.reply();
    write::push(reply.out, 3, reply.dialect);
    write::bulk(reply.out, done);
    match topic {
        Some(topic) => write::bulk(reply.out, topic),
        None => write::null(reply.out, reply.dialect),
    }
    write::int(reply.out, held as i64);
}
