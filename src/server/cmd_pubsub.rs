//! PUBLISH, SUBSCRIBE, UNSUBSCRIBE, PSUBSCRIBE, PUNSUBSCRIBE.
#![forbid(unsafe_code)]

use super::call::Call;
use super::pubsub::{Kind, SUBSCRIPTIONS_MAX, TOPIC_MAX_BYTES};
use super::work::PATTERN_NS;
use crate::resp::write;

/// The one channel that clients may publish on.
const HELLO_CHANNEL: &[u8] = b"__sentinel__:hello";

/// `PUBLISH __sentinel__:hello payload`: how sentinels tell each other of themselves directly.
pub fn publish(call: &mut Call<'_, '_>) {
    if call.args[1] != HELLO_CHANNEL {
        return call.error(b"ERR Only HELLO messages are accepted by Sentinel instances.");
    }
    call.sentinel.hello_by_publish(call.cx, &call.args[2]);
    call.note_peer();
    call.int(1);
}

pub fn subscribe(call: &mut Call<'_, '_>) {
    add(call, Kind::Channel, b"subscribe");
}

pub fn psubscribe(call: &mut Call<'_, '_>) {
    add(call, Kind::Pattern, b"psubscribe");
}

pub fn unsubscribe(call: &mut Call<'_, '_>) {
    remove(call, Kind::Channel, b"unsubscribe");
}

pub fn punsubscribe(call: &mut Call<'_, '_>) {
    remove(call, Kind::Pattern, b"punsubscribe");
}

fn add(call: &mut Call<'_, '_>, kind: Kind, done: &[u8]) {
    let words = call.args;
    for topic in &words[1..] {
        if !call.client().held(kind).topics.contains_key(&topic[..]) {
            if let Err(text) = may_add(call, kind, topic) {
                call.error(text);
                continue;
            }
            let conn = call.conn;
            let server = &mut *call.server;
            let Some(client) = server.clients.get_mut(&conn) else { return };
            let cost = server.pubsub.add(client.held(kind), kind, topic, conn);
            client.subscribed_bytes += cost;
            if kind == Kind::Pattern {
                server.work.charge(PATTERN_NS);
            }
        }
        confirm(call, done, Some(topic.as_slice()));
    }
}

/// Whether a client may listen to one more topic; the error text otherwise.
fn may_add(call: &mut Call<'_, '_>, kind: Kind, topic: &[u8]) -> Result<(), &'static [u8]> {
    if topic.len() > TOPIC_MAX_BYTES {
        return Err(match kind {
            Kind::Channel => b"ERR Channel names cannot be longer than 1024 bytes.",
            Kind::Pattern => b"ERR Patterns cannot be longer than 1024 bytes.",
        });
    }
    let cost = call.server.pubsub.cost_at_most(kind, topic);
    let client = call.client();
    if client.subscriptions() >= SUBSCRIPTIONS_MAX || !client.has_room_for(cost) {
        return Err(b"ERR too many subscriptions");
    }
    Ok(())
}

fn remove(call: &mut Call<'_, '_>, kind: Kind, done: &[u8]) {
    let named = &call.args[1..];
    if !named.is_empty() {
        for topic in named {
            remove_one(call, kind, topic, done);
        }
        return;
    }
    let all: Vec<_> = call.client().held(kind).topics.keys().cloned().collect();
    if all.is_empty() {
        confirm(call, done, None);
    }
    for topic in all {
        remove_one(call, kind, &topic, done);
    }
}

fn remove_one(call: &mut Call<'_, '_>, kind: Kind, topic: &[u8], done: &[u8]) {
    let conn = call.conn;
    let server = &mut *call.server;
    let Some(client) = server.clients.get_mut(&conn) else { return };
    if let Some(free) = server.pubsub.remove(client.held(kind), kind, topic, conn) {
        client.subscribed_bytes -= free;
    }
    confirm(call, done, Some(topic));
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
