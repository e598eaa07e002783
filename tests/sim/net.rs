//! The network between the hosts: byte pipes with delays, orderly closes, refused connects,
//! partitions. It knows nothing of what runs on the hosts.
#![forbid(unsafe_code)]

use std::collections::VecDeque;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use sentineld::util::ident::ConnId;
use sentineld::util::rng::Rng;

use crate::conns::Conns;
use crate::gathers::Periodic;
use crate::wire::{Stream, Words};

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
    /// The connection is there.
    SynAck,
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
    /// Its low-water mark: nobody is woken for less than so many bytes.
    pub low_water: usize,
    /// Since when less than that is there.
    pub held_since: Option<Us>,
    /// The other side is gone, after all that is readable.
    pub fin: Option<Segment>,
    /// The sentinel does not want to read from it now.
    pub held: bool,
    /// Close as soon as the output is empty.
    pub closing: bool,
    /// What this side, a sentinel, wrote, as the checkers read it, and how much of its unsent
    /// output they have seen.
    pub tap: Stream,
    pub seen: usize,
    /// What it read, as the checkers read it.
    pub reads: Stream,
}

/// A connection.
#[derive(Clone, Debug)]
pub struct Conn {
    pub hosts: [HostId; 2],
    pub ends: [End; 2],
    pub pipes: [Pipe; 2],
    pub from_port: u16,
    /// Between the second addresses of its hosts.
    pub v6: bool,
    /// How often its first segment was lost.
    syns_lost: u32,
    /// Its first segment was sent; before that it waits for its turn where it is made.
    pub begun: bool,
    /// Who made it knows that it is there.
    pub established: bool,
    /// The observers' note: requests written and not answered yet.
    pub asked: VecDeque<Words>,
    /// The observers' note: which masters, at which address, a sentinel asked about and has no
    /// answer for yet.
    pub about: VecDeque<(usize, HostId)>,
    /// The observers' note: when INFO was asked for that is not answered yet.
    pub info_asked: VecDeque<Us>,
    /// The observers' note: which periodic commands were sent when.
    pub periodic: Periodic,
}

/// The network: which hosts reach which others, and the connections.
#[derive(Debug)]
pub struct Net {
    pub conns: Conns,
    ports: u64,
    hosts: usize,
    /// From a host to another, at `from * hosts + to`.
    ways: Vec<Way>,
    /// Takes no new connections: they are refused.
    refuses: Vec<bool>,
    /// One way, drawn anew for each segment.
    pub latency_us: (Us, Us),
}

/// From a host to another.
#[derive(Clone, Copy, Default, Debug)]
struct Way {
    /// What is sent waits.
    blocked: bool,
    /// First segments of connections are lost, and nobody is told.
    swallows: bool,
    /// So many in a hundred of them.
    loses_syns: u64,
    /// The first of each connection.
    loses_first_syn: bool,
    extra_us: Us,
}

/// When a lost first segment is sent again; twice as long after each time.
const SYN_AGAIN_US: Us = 1_000_000;
const SYN_DOUBLINGS: u32 = 5;
/// The most a pipe takes before its writer has to wait.
pub const WINDOW_BYTES: usize = 64 * 1024;

impl Conn {
    /// The address of one of its ends.
    pub fn ip_of(&self, side: Side) -> IpAddr {
        let host = self.hosts[side];
        if self.v6 { Net::ip6_of(host) } else { Net::ip_of(host) }
    }
}

impl Net {
    pub fn new(hosts: usize, latency_us: (Us, Us)) -> Net {
        let ways = vec![Way::default(); hosts * hosts];
        let refuses = vec![false; hosts];
        Net { conns: Conns::default(), ports: 0, hosts, ways, refuses, latency_us }
    }

    /// Data nodes and sentinels have one address each.
    pub fn ip_of(host: HostId) -> IpAddr {
        IpAddr::V4(Ipv4Addr::new(10, 0, (host / 200) as u8, (host % 200 + 1) as u8))
    }

    /// The second address of each host.
    pub fn ip6_of(host: HostId) -> IpAddr {
        IpAddr::V6(Ipv6Addr::new(0xfd00, 0, 0, 0, 0, 0, 0, (host + 1) as u16))
    }

    pub fn host_of(ip: IpAddr) -> Option<HostId> {
        match ip {
            IpAddr::V4(v4) => {
                let [_, _, high, low] = v4.octets();
                Some(usize::from(high) * 200 + usize::from(low.checked_sub(1)?))
            }
            IpAddr::V6(v6) => usize::from(v6.segments()[7]).checked_sub(1),
        }
    }

    /// Whether what `one` sends arrives at `other`, and the other way round.
    pub fn reach(&self, one: HostId, other: HostId) -> bool {
        !self.way(one, other).blocked && !self.way(other, one).blocked
    }

    fn way(&self, from: HostId, to: HostId) -> Way {
        self.ways[from * self.hosts + to]
    }

    fn way_mut(&mut self, from: HostId, to: HostId) -> &mut Way {
        &mut self.ways[from * self.hosts + to]
    }

    /// What `from` sends to `to` waits from now on, or goes again.
    pub fn block(&mut self, from: HostId, to: HostId, blocked: bool) {
        self.way_mut(from, to).blocked = blocked;
    }

    /// Both ways between a host and all others.
    pub fn isolate(&mut self, host: HostId, isolated: bool) {
        for other in (0..self.hosts).filter(|other| *other != host) {
            self.block(host, other, isolated);
            self.block(other, host, isolated);
        }
    }

    /// New connections from `from` to `to` hang, and nobody is told.
    pub fn swallow(&mut self, from: HostId, to: HostId) {
        self.way_mut(from, to).swallows = true;
    }

    /// So many in a hundred first segments from `from` to `to` are lost.
    pub fn lose_syns(&mut self, from: HostId, to: HostId, percent: u64) {
        self.way_mut(from, to).loses_syns = percent;
    }

    /// The first try of each connect from `from` to `to` is lost.
    pub fn lose_first_syns(&mut self, from: HostId, to: HostId) {
        self.way_mut(from, to).loses_first_syn = true;
    }

    /// Whether the first segment of a connection has come to where it is lost. Its sender tries
    /// again, as Linux does, 1 s, 3 s and 7 s after the first time and so on: gives when, and how
    /// many segments of the pipe arrive from then on.
    pub fn loses_syn(&mut self, now: Us, rng: &mut Rng, key: ConnKey) -> Option<(Us, usize)> {
        let conn = self.conns.get(&key)?;
        let (at, first) = conn.pipes[0].queue.front()?;
        let way = self.way(conn.hosts[0], conn.hosts[1]);
        if *first != Segment::Syn || *at > now || !conn.ends[0].open {
            return None;
        }
        let first = way.loses_first_syn && conn.syns_lost == 0;
        let lost = way.swallows || way.blocked || first;
        if !lost && (way.loses_syns == 0 || rng.below(100) >= way.loses_syns) {
            return None;
        }
        let delay = self.delay(rng);
        let conn = self.conns.get_mut(&key).expect("just looked at");
        let again = now + (SYN_AGAIN_US << conn.syns_lost.min(SYN_DOUBLINGS));
        conn.syns_lost += 1;
        let pipe = &mut conn.pipes[0];
        for (at, segment) in &mut pipe.queue {
            // What follows goes only after its answer.
            let after = if *segment == Segment::Syn { 0 } else { 2 * delay };
            *at = (*at).max(again + after);
        }
        pipe.last_arrive = pipe.last_arrive.max(again + 2 * delay);
        Some((again, pipe.queue.len()))
    }

    /// New connections to `host` are refused, or not.
    pub fn refuse(&mut self, host: HostId, refuses: bool) {
        self.refuses[host] = refuses;
    }

    pub fn refuses(&self, host: HostId) -> bool {
        self.refuses[host]
    }

    /// Both ways take longer from now on.
    pub fn slow_down(&mut self, one: HostId, other: HostId, extra_us: Us) {
        self.way_mut(one, other).extra_us = extra_us;
        self.way_mut(other, one).extra_us = extra_us;
    }

    /// Whether anything is as it should not be.
    pub fn is_ill(&self) -> bool {
        let well = |way: &Way| {
            let connects = !way.swallows && !way.loses_first_syn && way.loses_syns == 0;
            !way.blocked && connects && way.extra_us == 0
        };
        !self.ways.iter().all(well) || self.refuses.contains(&true)
    }

    /// All hosts reach each other, as fast as ever.
    pub fn mend(&mut self) {
        self.ways.fill(Way::default());
        self.refuses.fill(false);
    }

    pub fn delay(&self, rng: &mut Rng) -> Us {
        let (from, to) = self.latency_us;
        from + rng.below(to - from + 1)
    }

    /// A new connection, of which nothing was sent yet.
    pub fn open(&mut self, now: Us, hosts: [HostId; 2], conn: Option<ConnId>) -> ConnKey {
        self.ports += 1;
        let ends = [End { open: true, conn, ..End::default() }, End::default()];
        let from_port = 20_000 + (self.ports % 40_000) as u16;
        let pipes = [Pipe::default(), Pipe::default()];
        let (asked, about) = (VecDeque::new(), VecDeque::new());
        let info_asked = VecDeque::new();
        let periodic = Periodic { at: [now; 3], ..Periodic::default() };
        let conn = Conn {
            hosts,
            ends,
            pipes,
            from_port,
            v6: false,
            syns_lost: 0,
            begun: false,
            established: false,
            asked,
            about,
            info_asked,
            periodic,
        };
        self.conns.insert(conn)
    }

    /// Its first segment is on its way; gives when it arrives.
    pub fn begin(&mut self, now: Us, rng: &mut Rng, key: ConnKey) -> Us {
        self.conns.get_mut(&key).expect("it waits").begun = true;
        let at = self.send(now, rng, key, 0, Segment::Syn);
        // What follows the first segment goes only after its answer.
        let round_trip = self.delay(rng) + self.delay(rng);
        let pipe = &mut self.conns.get_mut(&key).expect("just begun").pipes[0];
        pipe.last_arrive = at + round_trip;
        at
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
        let conn = self.conns.get(&key).expect("a live connection");
        let extra_us = self.way(conn.hosts[side], conn.hosts[1 - side]).extra_us;
        let delay = self.delay(rng) + extra_us;
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
        let way = self.ways[conn.hosts[side] * self.hosts + conn.hosts[1 - side]];
        if way.blocked {
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
        self.conns.iter().filter_map(|(key, conn)| Some((key, side(conn)?))).collect()
    }

    /// After a change of groups: everything that waits may go on, at about the same time.
    pub fn waiting(&self) -> Vec<(ConnKey, Side)> {
        let mut waiting = Vec::new();
        for (key, conn) in self.conns.iter() {
            for side in [0, 1] {
                waiting.extend((0..conn.pipes[side].queue.len()).map(|_| (key, side)));
            }
        }
        waiting
    }
}
