//! The network between the hosts: byte pipes with delays, orderly closes, refused connects,
//! partitions. It knows nothing of what runs on the hosts.
#![forbid(unsafe_code)]

use std::collections::{BTreeMap, VecDeque};
use std::net::{IpAddr, Ipv4Addr};

use sentineld::util::ident::ConnId;
use sentineld::util::rng::Rng;

use crate::wire::Words;

/// Virtual time in microseconds.
pub type Us = u64;

/// Index of a host: sentinels first, then data nodes, then the operator.
pub type HostId = usize;

/// A connection, for both its ends.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct ConnKey(pub u64);

/// Who made a connection is end 0, who took it is end 1. Pipe `d` carries what end `d` writes.
pub type Side = usize;

/// What travels.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Segment {
    Syn,
    Bytes(Vec<u8>),
    /// The writer has closed.
    Fin,
    /// Nobody listens there, or the connection is not known there any more.
    Refused,
}

/// One direction.
#[derive(Clone, Default, Debug)]
pub struct Pipe {
    pub queue: VecDeque<(Us, Segment)>,
    /// Nothing arrives before what was sent earlier.
    last_arrive: Us,
    /// Bytes on their way or not yet read.
    pub unread: usize,
}

/// What one side has of a connection.
#[derive(Clone, Default, Debug)]
pub struct End {
    /// This side has not closed.
    pub open: bool,
    /// The sentinel's name for it.
    pub conn: Option<ConnId>,
    /// Arrived, not read.
    pub readable: Vec<u8>,
    /// The other side is gone, after all that is readable.
    pub fin: Option<Segment>,
    /// The sentinel does not want to read from it now.
    pub held: bool,
    /// Close as soon as the output is empty.
    pub closing: bool,
}

/// A connection.
#[derive(Clone, Debug)]
pub struct Conn {
    pub hosts: [HostId; 2],
    pub ends: [End; 2],
    pub pipes: [Pipe; 2],
    pub from_port: u16,
    /// The observers' note: requests written and not answered yet.
    pub asked: VecDeque<Words>,
}

/// The network: hosts in groups that cannot reach each other, and the connections.
#[derive(Debug)]
pub struct Net {
    pub conns: BTreeMap<ConnKey, Conn>,
    next: u64,
    /// Hosts of different numbers do not reach each other.
    groups: Vec<u32>,
    /// One way, drawn anew for each segment.
    pub latency_us: (Us, Us),
}

/// The most a pipe takes before its writer has to wait.
pub const WINDOW_BYTES: usize = 64 * 1024;

impl Net {
    pub fn new(hosts: usize, latency_us: (Us, Us)) -> Net {
        Net { conns: BTreeMap::new(), next: 1, groups: vec![0; hosts], latency_us }
    }

    /// Data nodes and sentinels have one address each.
    pub fn ip_of(host: HostId) -> IpAddr {
        IpAddr::V4(Ipv4Addr::new(10, 0, (host / 200) as u8, (host % 200 + 1) as u8))
    }

    pub fn host_of(ip: IpAddr) -> Option<HostId> {
        let IpAddr::V4(v4) = ip else { return None };
        let [_, _, high, low] = v4.octets();
        Some(usize::from(high) * 200 + usize::from(low.checked_sub(1)?))
    }

    pub fn reach(&self, one: HostId, other: HostId) -> bool {
        self.groups[one] == self.groups[other]
    }

    pub fn set_group(&mut self, host: HostId, group: u32) {
        self.groups[host] = group;
    }

    pub fn delay(&self, rng: &mut Rng) -> Us {
        let (from, to) = self.latency_us;
        from + rng.below(to - from + 1)
    }

    /// A new connection, whose first segment is on its way; gives when it arrives.
    pub fn connect(
        &mut self,
        now: Us,
        rng: &mut Rng,
        hosts: [HostId; 2],
        conn: Option<ConnId>,
    ) -> (ConnKey, Us) {
        let key = ConnKey(self.next);
        self.next += 1;
        let ends = [End { open: true, conn, ..End::default() }, End::default()];
        let from_port = 20_000 + (self.next % 40_000) as u16;
        let pipes = [Pipe::default(), Pipe::default()];
        self.conns.insert(key, Conn { hosts, ends, pipes, from_port, asked: VecDeque::new() });
        let at = self.send(now, rng, key, 0, Segment::Syn);
        // What follows the first segment goes only after its answer.
        let round_trip = self.delay(rng) + self.delay(rng);
        let pipe = &mut self.conns.get_mut(&key).expect("just made").pipes[0];
        pipe.last_arrive = at + round_trip;
        (key, at)
    }

    /// Puts a segment on its way; gives when it arrives.
    pub fn send(
        &mut self,
        now: Us,
        rng: &mut Rng,
        key: ConnKey,
        side: Side,
        segment: Segment,
    ) -> Us {
        let delay = self.delay(rng);
        let pipe = &mut self.conns.get_mut(&key).expect("a live connection").pipes[side];
        let at = (now + delay).max(pipe.last_arrive);
        pipe.last_arrive = at;
        if let Segment::Bytes(bytes) = &segment {
            pipe.unread += bytes.len();
        }
        pipe.queue.push_back((at, segment));
        at
    }

    /// The next segment of a pipe, if it has arrived and nothing is in its way.
    pub fn arrived(&mut self, now: Us, key: ConnKey, side: Side) -> Option<Segment> {
        let conn = self.conns.get_mut(&key)?;
        if self.groups[conn.hosts[0]] != self.groups[conn.hosts[1]] {
            return None;
        }
        let pipe = &mut conn.pipes[side];
        match pipe.queue.front() {
            Some((at, _)) if *at <= now => pipe.queue.pop_front().map(|(_, segment)| segment),
            _ => None,
        }
    }

    /// Forgets connections that both sides have closed.
    pub fn tidy(&mut self, key: ConnKey) {
        if self.conns.get(&key).is_some_and(|conn| conn.ends.iter().all(|end| !end.open)) {
            let conn = &self.conns[&key];
            if conn.pipes.iter().all(|pipe| pipe.queue.is_empty()) {
                self.conns.remove(&key);
            }
        }
    }

    /// The connections with an end on `host`, and which end it is.
    pub fn of_host(&self, host: HostId) -> Vec<(ConnKey, Side)> {
        let side = |conn: &Conn| conn.hosts.iter().position(|end| *end == host);
        self.conns.iter().filter_map(|(key, conn)| Some((*key, side(conn)?))).collect()
    }

    /// After a change of groups: everything that waits may go on, at about the same time.
    pub fn waiting(&self) -> Vec<(ConnKey, Side)> {
        let mut waiting = Vec::new();
        for (key, conn) in &self.conns {
            for side in [0, 1] {
                waiting.extend((0..conn.pipes[side].queue.len()).map(|_| (*key, side)));
            }
        }
        waiting
    }
}
