//! What the checkers see of a sentinel's connections: all that it writes, and what it reads on its
//! links in the moment it reads it.
#![forbid(unsafe_code)]

use sentineld::util::ident::ConnId;

use crate::brain::Brain;
use crate::checks::Info;
use crate::dns::Dns;
use crate::gathers::periodic_index;
use crate::hosts::put;
use crate::named::{asked_about, plain_request};
use crate::net::{Conn, ConnKey, HostId};
use crate::property::{Property, ensure, violation};
use crate::wire::{Value, Words, show, show_words};
use crate::world::World;

/// Unsent output of one connection: a link's limit and what a single turn may add.
const MAX_OUTPUT_BYTES: usize = 320 * 1024;
/// As links send it.
const PING: &[u8] = b"*1\r\n$4\r\nPING\r\n";

impl World {
    /// What data nodes and peers told, in the moment it is read: valid answers to PING, INFO, and
    /// what peers say of a master.
    pub fn look_for_life(&mut self, sentinel: usize, key: ConnKey, bytes: &[u8]) {
        let conn = self.net.conns.get_mut(&key).expect("it is read from");
        let [client, from] = conn.hosts;
        if client != sentinel {
            return;
        }
        let stream = &mut conn.ends[0].reads;
        stream.push(bytes);
        while stream.take_exact(b"+PONG\r\n") {
            self.checks.lives(sentinel, from, self.now);
        }
        while let Some(value) = stream.next_value() {
            match value {
                Value::Simple(text) | Value::Error(text)
                    if text.starts_with(b"PONG") || text.starts_with(b"LOADING") =>
                {
                    self.checks.lives(sentinel, from, self.now);
                }
                Value::Bulk(text) => {
                    let infos = &mut self.checks.infos;
                    let mut info = Info::parse(self.now, &text, infos.get(&(sentinel, from)));
                    info.asked_at = conn.info_asked.pop_front();
                    infos.insert((sentinel, from), info);
                }
                Value::Array(items) if from < self.options.sentinels => {
                    if let Some(about) = conn.about.pop_front() {
                        let down = items.first() == Some(&Value::Int(1));
                        self.checks.heard(self.now, sentinel, from, about, down);
                    }
                }
                _ => {}
            }
        }
    }

    /// Shows the checkers what was written since the last look.
    pub fn tap(&mut self, sentinel: usize) {
        let mut touched = std::mem::take(&mut self.touched);
        self.node(sentinel).take_touched(&mut touched);
        for id in touched.drain(..) {
            self.tap_one(sentinel, id);
        }
        self.touched = touched;
    }

    fn tap_one(&mut self, sentinel: usize, id: ConnId) {
        let host = &mut self.sentinels[sentinel];
        let Some(key) = host.keys.get(&id).copied() else { return };
        put(&mut host.blocked, key);
        let Some(output) = host.node.as_ref().and_then(|node| node.output(id)) else { return };
        let len = output.len();
        let property = Property::QueuesAreBounded;
        ensure!(len <= MAX_OUTPUT_BYTES, property, "{len} bytes unsent by {sentinel}");
        let conn = self.net.conns.get_mut(&key).expect("open");
        let end = &mut conn.ends[usize::from(conn.hosts[0] != sentinel)];
        end.tap.push(&output[end.seen..]);
        end.seen = len;
        self.look(sentinel, key);
    }

    fn look(&mut self, sentinel: usize, key: ConnKey) {
        let World { sentinels, net, farm, checks, tracer, now, dns, .. } = self;
        let conn = net.conns.get_mut(&key).expect("open");
        let group_at = |host: HostId| farm.at(host).map(|server| server.group);
        let group = |ip: &str| group_at(dns.host(ip)?);
        let client = conn.hosts[0] == sentinel;
        let other = conn.hosts[usize::from(client)];
        let host = &mut sentinels[sentinel];
        let Conn { ends, asked, about, info_asked, periodic, .. } = conn;
        let (mut bundled, mut hello_after_us) = (0, None);
        let stream = &mut ends[usize::from(!client)].tap;
        while client && stream.take_exact(PING) {
            periodic.at[0] = *now;
            bundled += 1;
            if other < self.options.sentinels {
                asked.push_back(Words::new());
            }
        }
        while client && let Some(mut words) = stream.next_request() {
            if other >= self.options.sentinels {
                words[0] = self.options.drawn.usual_name(&words[0]).to_ascii_uppercase();
            }
            if tracer.is_on() && !matches!(&words[0][..], b"PING" | b"INFO" | b"PUBLISH") {
                tracer.line(*now, &format!("[{sentinel}] to {other}: {}", show_words(&words)));
            }
            // A name may lead to nobody.
            let nobody = dns.on() && group_at(other).is_none() && other >= farm.first;
            checks.judge(sentinel, |checks| {
                if nobody {
                    return;
                }
                let words = plain_request(dns, sentinel, &words);
                checks.requested(*now, sentinel, &words, &group, (other, group_at(other)));
            });
            hello_after_us = match &words[0][..] {
                b"PUBLISH" => Some(*now - periodic.at[2]),
                _ => hello_after_us,
            };
            if let Some(index) = periodic_index(&words[0]) {
                periodic.at[index] = *now;
                bundled += 1;
            }
            periodic.subscribed |= words[0] == b"SUBSCRIBE";
            let informs = words[0] == b"INFO";
            periodic.informs |= informs;
            info_asked.extend(informs.then_some(*now));
            if other >= self.options.sentinels {
                continue;
            }
            let asked_host = (words.len() == 6).then(|| show(&words[2]));
            let meant = |name: String| meant_by(dns, host.node.as_ref(), &name, group_at);
            if let Some((group, at)) = asked_host.and_then(meant) {
                about.extend([(group, at)]);
                checks.master_is_at(sentinel, group, at, dns.on());
            }
            asked.push_back(words);
        }
        while !client && let Some(value) = stream.next_value() {
            let Some(words) = asked.pop_front() else {
                violation!(Property::AnswersFollowRequests, "{sentinel}: {value:?} unasked")
            };
            if tracer.is_on() && words.first().is_some_and(|word| word == b"SENTINEL") {
                tracer.line(*now, &format!("[{sentinel}] answers {other}: {value:?}"));
            }
            checks.judge(sentinel, |checks| {
                checks.answered(*now, sentinel, &words, &value, &group, &host.view);
            });
        }
        self.note_bundle(bundled, hello_after_us);
    }
}

/// The master that an ask is about, and where it is.
fn meant_by(
    dns: &Dns,
    asker: Option<&Brain>,
    host: &str,
    group_at: impl Fn(HostId) -> Option<usize>,
) -> Option<(usize, HostId)> {
    let at = dns.host(host)?;
    let of_name = asked_about(asker.filter(|_| dns.on()), host);
    of_name.or_else(|| group_at(at)).map(|group| (group, at))
}
