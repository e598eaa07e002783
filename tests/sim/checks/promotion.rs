//! Who is promoted: a replica that is suitable and not worse than another one, and the switch is
//! announced only when it happened. And what comes after: no more replicas at a time than allowed.
#![forbid(unsafe_code)]

use super::{Checks, Event, Info, group_of};
use crate::net::{HostId, Net, Us};
use crate::property::{Property, ensure};
use crate::redis::{Mode, Server};
use crate::world::{MS, SECOND, World};

/// A node that has proved its life since is not too silent to be promoted (5 periods of PING).
const LIVELY_US: Us = 4 * SECOND;

fn host_at(ip: &str) -> Option<HostId> {
    Net::host_of(ip.parse().ok()?)
}

impl Checks {
    /// When a sentinel last had a valid answer to PING from a node.
    fn last_life(&self, sentinel: usize, host: HostId) -> Option<Us> {
        let last = self.proof_of_life[sentinel].get(host).copied();
        last.filter(|at| *at != Us::MAX)
    }

    /// The chosen replica has not been without its master for too long: ten times down-after, and
    /// as long as the master is away by now.
    fn check_in_sync(&self, event: &Event, master: HostId, info: &Info) {
        let Some(last) = self.last_life(event.sentinel, master) else { return };
        let most_us = event.at - last + 10 * self.longest_down_after_us + SECOND;
        let down_us = info.link_down_s.unwrap_or(0).saturating_mul(1_000_000);
        let in_sync = down_us <= i64::try_from(most_us).unwrap_or(i64::MAX);
        let property = Property::PromotedReplicaIsSuitable;
        ensure!(in_sync, property, "{event:?} lost its master long ago: {info:?}");
    }

    /// The switch is announced when the chosen replica says that it is a master.
    pub(super) fn check_promoted(&self, event: &Event) {
        let Some(host) = event.host() else { return };
        let info = self.infos.get(&(event.sentinel, host));
        let happened = info.is_some_and(|info| !info.is_replica);
        let property = Property::PromotionIsSeen;
        ensure!(happened, property, "{event:?}, but it says {info:?}");
    }

    /// A replica was told to follow the promoted one, or is no longer at it.
    pub(super) fn note_sync(&mut self, event: &Event, group: usize) {
        let most = self.parallel_syncs;
        let Some(host) = event.host() else { return };
        let syncing = &mut self.view(event.sentinel, group).syncing;
        if event.name != "+slave-reconf-sent" {
            syncing.remove(&host);
            return;
        }
        syncing.insert(host);
        let count = syncing.len();
        let property = Property::ParallelSyncsAreKept;
        ensure!(count <= most, property, "{event:?}: {count} at a time, {most} are allowed");
        self.looked += 1;
    }

    /// Only who holds a master down, or did so a moment ago, tells that it is.
    pub(super) fn check_told_down(&self, now: Us, sentinel: usize, group: usize) {
        let view = self.sentinels[sentinel].masters.get(group);
        let is = view.is_some_and(|view| view.sdown);
        // Answers that come behind one that waits for the disk are as old as that.
        let was = view.and_then(|view| view.sdown_until).is_some_and(|at| now <= at + 6 * SECOND);
        let property = Property::DownIsToldInSdown;
        ensure!(is || was, property, "{sentinel} says that m{group} is down, and holds it for up");
    }

    /// The process stands still from now on.
    pub fn paused(&mut self, now: Us, sentinel: usize) {
        self.sentinels[sentinel].paused_at = Some(now);
    }

    /// It goes on; after so long a time it must not trust itself, whether it says so or not.
    pub fn resumed(&mut self, now: Us, sentinel: usize) {
        let watched = &mut self.sentinels[sentinel];
        let still_us = watched.paused_at.take().map_or(0, |at| now - at);
        watched.tilt |= still_us > TILT_TRIGGER_US + 10 * MS;
    }
}

/// The default of `tilt-trigger`.
const TILT_TRIGGER_US: Us = 2 * SECOND;

impl World {
    /// A sentinel has chosen a replica: as far as it could know, no other was better.
    pub fn check_choice(&self, sentinel: usize, line: &str) {
        let Some(text) = line.strip_prefix("+selected-slave ") else { return };
        let name = "+selected-slave".to_owned();
        let event = Event { at: self.now, sentinel, name, text: text.to_owned() };
        let (Some(host), Some(group)) = (event.host(), group_of(event.master())) else {
            return;
        };
        let Some(chosen) = self.checks.infos.get(&(sentinel, host)) else { return };
        let view = &self.checks.sentinels[sentinel].masters[group];
        let (Some(master), Some(attempt)) = (view.at, view.attempt) else { return };
        if !chosen.is_settled(self.now) {
            return;
        }
        self.checks.check_in_sync(&event, master, chosen);
        // What answers that it loads its data is passed over.
        let counts = |server: &&Server| server.group == group && server.mode == Mode::Normal;
        for other in self.farm.servers.iter().filter(counts) {
            let other = other.host;
            let Some(info) = self.checks.infos.get(&(sentinel, other)) else { continue };
            let known = other != host && other != master && !view.down.contains(&other);
            let fresh = info.is_settled(self.now) && info.asked_at >= Some(attempt.began_at);
            if known && fresh && info.link_down_s.is_none() && self.is_lively(sentinel, other) {
                let better = info.order() < chosen.order();
                let property = Property::NoBetterReplica;
                ensure!(!better, property, "{event:?}: {chosen:?}, but {other} is {info:?}");
            }
        }
    }

    /// Whether a sentinel has both connections to a node, and answers to its PINGs.
    fn is_lively(&self, sentinel: usize, host: HostId) -> bool {
        let last = self.checks.last_life(sentinel, host);
        let open = |conn: &crate::net::Conn| {
            conn.hosts == [sentinel, host] && conn.ends[0].open && conn.ends[0].conn.is_some()
        };
        last.is_some_and(|at| self.now <= at + LIVELY_US)
            && self.net.conns.iter().filter(|(_, conn)| open(conn)).count() == 2
    }

    /// Deadlines are judged when everything has been read: no PONG lies unread behind an sdown.
    pub fn check_all_was_read(&self, sentinel: usize, line: &str) {
        let Some(text) = line.strip_prefix("+sdown ") else { return };
        let Some(host) = text.split(' ').nth(2).and_then(host_at) else { return };
        for (_, conn) in self.net.conns.iter().filter(|(_, conn)| conn.hosts == [sentinel, host]) {
            let end = &conn.ends[0];
            let unread = end.open
                && end.conn.is_some()
                && end.readable.windows(7).any(|bytes| bytes == b"+PONG\r\n");
            let property = Property::SocketsAreReadFirst;
            ensure!(!unread, property, "{sentinel}: {line}, while its PONG lies unread");
        }
    }
}
