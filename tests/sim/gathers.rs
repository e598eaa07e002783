//! What only large instances do, in worlds whose sentinels take themselves for large: hellos that
//! are left in their sockets, and periodic commands that are bundled.
//!
//! The low-water mark of a socket is what Linux makes of SO_RCVLOWAT: nobody is woken for less,
//! but for the end of the connection; a mark above half of what the socket may hold is lowered to
//! that; a lower mark wakes at once where there is enough for it, a higher one takes back what was
//! not read yet; a kernel that is short of memory wakes all the same. Whoever reads gets all.
#![forbid(unsafe_code)]

use crate::hosts::put;
use crate::net::{Conn, ConnKey, End, HostId, Us, WINDOW_BYTES};
use crate::property::{Property, ensure};
use crate::world::{MS, SECOND, World};

/// What is counted.
pub const LARGE_ONLY: [&str; 4] =
    ["worlds-that-gather", "bytes-held-back", "gathering-ended-in-failover", "bundles-sent"];

/// The mark is never above it, see tcp(7): half of the buffer.
pub const LOW_WATER_MAX: usize = WINDOW_BYTES / 2;
/// No byte stays in a socket for longer: then a subscription counts as silent.
const HELD_MAX_US: Us = 6 * SECOND;
/// One in so many pieces that could be held back meets a kernel that is short of memory.
const SHORT_OF_MEMORY: u64 = 64;
/// How long after the one before, at the latest, a PING, an INFO and a hello are sent to a node
/// that is well: what is due, its answer, and a turn or two.
const LATEST_US: [Us; 3] = [2 * SECOND, 12 * SECOND, 3 * SECOND];

/// Periodic commands that a sentinel sent on one connection.
#[derive(Clone, Copy, Default, Debug)]
pub struct Periodic {
    /// When it last sent a PING, an INFO, a hello; at first when the connection was made.
    pub at: [Us; 3],
    /// It is a subscription: none of them is sent there.
    pub subscribed: bool,
    /// INFO was asked for: it is a link to a data node, not to a sentinel that somebody made up at
    /// the same host.
    pub informs: bool,
}

/// Which of [`Periodic::at`] a command is.
pub fn periodic_index(command: &[u8]) -> Option<usize> {
    [&b"PING"[..], b"INFO", b"PUBLISH"].iter().position(|periodic| *periodic == command)
}

impl End {
    /// Whether the poll tells of it.
    pub fn tells(&self) -> bool {
        self.fin.is_some() || self.readable.len() >= self.low_water.max(1)
    }
}

impl World {
    fn count_large(&mut self, name: &'static str, count: u64) {
        if count > 0 {
            *self.stats.large.entry(name).or_default() += count;
        }
    }

    /// Something has arrived at a sentinel's socket; true: it is to be woken for it.
    pub fn wakes(&mut self, key: ConnKey, side: usize, len: usize) -> bool {
        let end = &mut self.net.conns.get_mut(&key).expect("it delivers").ends[side];
        if end.tells() {
            return true;
        }
        if self.rng.below(SHORT_OF_MEMORY) == 0 {
            return true;
        }
        end.held_since.get_or_insert(self.now);
        self.count_large("bytes-held-back", len as u64);
        false
    }

    /// Does what the node wishes at the end of a turn.
    pub fn set_low_water(&mut self, sentinel: usize) {
        while let Some((id, bytes)) = self.node(sentinel).take_gather() {
            let Some(key) = self.sentinels[sentinel].keys.get(&id).copied() else { continue };
            let bytes = bytes.min(self.options.low_water_max);
            let conn = self.net.conns.get_mut(&key).expect("open");
            let (end, other) = (&mut conn.ends[0], conn.hosts[1]);
            let lowered = bytes < end.low_water;
            end.low_water = bytes;
            let gathering = &mut self.sentinels[sentinel].gathering;
            if bytes > 1 {
                self.stats.large.insert("worlds-that-gather", 1);
                put(gathering, key);
                if !end.tells() {
                    self.sentinels[sentinel].ready.retain(|ready| *ready != key);
                }
                continue;
            }
            gathering.retain(|other| *other != key);
            if !end.readable.is_empty() {
                put(&mut self.sentinels[sentinel].ready, key);
                self.wake_soon(sentinel);
            }
            if lowered && self.in_failover(sentinel, other) {
                self.count_large("gathering-ended-in-failover", 1);
            }
        }
        self.check_held_back(sentinel);
    }

    /// Whether a sentinel holds the master of a node's group for down or replaces it.
    fn in_failover(&self, sentinel: usize, node: HostId) -> bool {
        let group = self.farm.at(node).map(|server| server.group);
        group.is_some_and(|group| self.checks.replaces(sentinel, group))
    }

    /// Hellos stay in a socket for a while only, and not while a master is being replaced.
    fn check_held_back(&mut self, sentinel: usize) {
        let mut gathering = std::mem::take(&mut self.sentinels[sentinel].gathering);
        let net = &self.net;
        gathering.retain(|key| net.conns.get(key).is_some_and(|conn| conn.ends[0].open));
        for key in &gathering {
            let Conn { hosts: [_, node], ends, .. } = &self.net.conns[key];
            let property = Property::HellosAreReadInTime;
            // Who fails on purpose does not tell any more what it does.
            let mute = self.sentinels[sentinel].may_exit;
            let wanted = !mute && self.in_failover(sentinel, *node);
            ensure!(!wanted, property, "{sentinel} gathers hellos of {node} in a failover");
            let held_us = ends[0].held_since.map_or(0, |since| self.now - since);
            let text = "does not read what came";
            ensure!(held_us <= HELD_MAX_US, property, "{sentinel} {text} {held_us} us ago");
        }
        if !gathering.is_empty() {
            self.checks.looked += 1;
        }
        self.sentinels[sentinel].gathering = gathering;
    }

    /// A subscription is never given up for its silence while there is more to read.
    pub fn check_silence(&self, sentinel: usize, line: &str) {
        if line.starts_with("-pubsub-link-reconnection") && line.ends_with("#silent subscription") {
            let unread = self.sentinels[sentinel].unread_at_close;
            let property = Property::HellosAreReadInTime;
            ensure!(unread == 0, property, "{sentinel}: {line}, with {unread} bytes unread");
        }
    }

    /// Notes how many periodic commands were written together, and how long after the one before
    /// the hello among them: one that came a bit before its time was taken along.
    pub fn note_bundle(&mut self, commands: usize, hello_after_us: Option<Us>) {
        let taken_along = hello_after_us.is_some_and(|us| (1_500 * MS..2_000 * MS).contains(&us));
        if commands > 1 && taken_along {
            self.count_large("bundles-sent", 1);
        }
    }

    /// All has been well since `mended`: each sentinel sends each node what is due to it.
    pub fn check_periodic(&self, mended: Us) {
        for conn in self.net.conns.iter().map(|(_, conn)| conn) {
            let [sentinel, node] = conn.hosts;
            let alive = self.farm.at(node).is_some_and(|server| server.alive());
            let is = sentinel < self.checks.first_c_like
                && alive
                && conn.established
                && conn.ends.iter().all(|end| end.open)
                && self.sentinels[sentinel].runs();
            let made_up = self.forged_peers && !conn.periodic.informs;
            if !is || conn.periodic.subscribed || made_up {
                continue;
            }
            for (what, (at, latest)) in conn.periodic.at.iter().zip(LATEST_US).enumerate() {
                let what = ["PING", "INFO", "hello"][what];
                let pause_us = self.now - (*at).max(mended);
                let property = Property::PeriodicCommandsAreSent;
                ensure!(pause_us <= latest, property, "{sentinel} sends {node} no {what}");
            }
        }
    }
}

#[test]
fn a_mark_holds_back_what_is_less_and_never_the_end() {
    let mut end = End { readable: b"+hello\r\n".to_vec(), ..End::default() };
    assert!(end.tells());
    end.low_water = 8;
    assert!(end.tells());
    end.low_water = 9;
    assert!(!end.tells());
    end.fin = Some(crate::net::Segment::Fin);
    assert!(end.tells());
    assert!(!End { low_water: 1, ..End::default() }.tells(), "nothing is nothing");
}

/// All is as in a small instance, with fewer wakeups while all is well.
#[test]
fn large_instances_read_their_hellos_in_batches_until_a_master_is_gone() {
    let world_of = |seed, bundle_links| {
        let bundle_links = Some(bundle_links);
        // So long that PINGs are few.
        let down_after_ms = 10_000;
        let options = crate::world::Options { bundle_links, down_after_ms, ..Default::default() };
        let mut world = World::new("large_instances_read", seed, options);
        world.discover();
        let before = world.reads;
        world.run_for(20 * SECOND);
        let reads = world.reads - before;
        (world, reads)
    };
    for seed in crate::settle::seeds(4) {
        let (small, all) = world_of(seed, 1_000);
        assert!(small.stats.large.is_empty(), "{:?}", small.stats.large);
        let (mut world, reads) = world_of(seed, 1);
        assert!(reads * 5 < all * 4, "{reads} reads, not much less than {all}");
        let master = world.first_master(0);
        world.kill_server(master);
        let limit = 11 * SECOND;
        world.await_for("all have a new master", limit, |world| world.all_moved(0, master));
        let reached = |name: &&str| world.stats.large.get(*name).is_some_and(|count| *count > 0);
        assert!(LARGE_ONLY[..3].iter().all(reached), "{:?}", world.stats.large);
        world.restart_server(master);
        world.settle(60 * SECOND);
    }
}
