//! What is to happen, by time and then in the order in which it was scheduled.
#![forbid(unsafe_code)]

use std::cmp::Ordering;
use std::collections::BinaryHeap;
use std::net::IpAddr;

use sentineld::util::ident::{ConnId, LookupId};

use crate::net::{ConnKey, HostId, Side, Us};

/// What happens at a moment.
#[derive(Clone, Debug)]
pub enum Ev {
    Deliver(ConnKey, Side),
    /// The save of that life of a sentinel ends.
    Saved {
        sentinel: u32,
        life: u64,
    },
    /// A connect of that life of a sentinel has its turn.
    ConnectTurn {
        sentinel: u32,
        life: u64,
        conn: ConnId,
    },
    ChildEnds {
        sentinel: u32,
        life: u32,
        pid: i32,
    },
    Relay(Box<(HostId, Vec<u8>)>),
    Replication,
    /// A lookup of that life of a sentinel ends: of which name, with which addresses.
    Resolved(Box<(usize, u64, LookupId, String, Vec<IpAddr>)>),
    /// Something befalls names.
    NameTrouble,
    /// A sentinel that stands still goes on.
    Resume(usize),
    /// An operator comes by.
    Operate,
}

#[derive(Debug)]
struct Entry {
    at: Us,
    number: u64,
    ev: Ev,
}

impl PartialEq for Entry {
    fn eq(&self, other: &Entry) -> bool {
        self.number == other.number
    }
}

impl Eq for Entry {}

impl PartialOrd for Entry {
    fn partial_cmp(&self, other: &Entry) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Entry {
    /// The earliest is the greatest, as the heap gives the greatest.
    fn cmp(&self, other: &Entry) -> Ordering {
        (other.at, other.number).cmp(&(self.at, self.number))
    }
}

#[derive(Debug, Default)]
pub struct Queue {
    heap: BinaryHeap<Entry>,
    numbers: u64,
}

impl Queue {
    pub fn push(&mut self, at: Us, ev: Ev) {
        self.numbers += 1;
        self.heap.push(Entry { at, number: self.numbers, ev });
    }

    /// When the next thing happens.
    pub fn next(&self) -> Us {
        self.heap.peek().map_or(Us::MAX, |entry| entry.at)
    }

    pub fn pop(&mut self) -> Option<(Us, Ev)> {
        self.heap.pop().map(|entry| (entry.at, entry.ev))
    }
}
