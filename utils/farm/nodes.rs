//! The data nodes as a model: who replicates whom, what is known of it, who hangs.
#![forbid(unsafe_code)]

use std::hash::{BuildHasher, RandomState};
use std::net::{Ipv4Addr, SocketAddrV4};
use std::time::{Duration, Instant};

/// Nodes per value of the third byte of their addresses.
const PER_NET: usize = 250;
pub const MAX_NODES: usize = PER_NET * 256;
/// A replica that hears nothing of its master for so long gives the link up.
const REPLICATION_TIMEOUT: Duration = Duration::from_secs(60);
/// What a node has written before anybody looks.
const FIRST_OFFSET: u64 = 1_000;

/// Whom a node replicates.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    /// Another node of its group.
    Node(usize),
    /// A stranger, who never answers.
    Stranger(SocketAddrV4),
}

/// The replication link of a node.
#[derive(Clone, Copy, Debug)]
pub enum Link {
    Up,
    Down { since: Instant },
}

/// One data node.
pub struct Node {
    pub run_id: String,
    pub replid: String,
    /// The history before its promotion, and where that ended.
    pub former: Option<(String, u64)>,
    pub offset: u64,
    /// `None`: a master.
    pub source: Option<Source>,
    pub link: Link,
    pub hung: Option<Instant>,
    /// The clients by number, and which of them subscribe.
    pub clients: Vec<usize>,
    pub subscribers: Vec<usize>,
}

/// All nodes: each group is a master and its replicas side by side.
pub struct Nodes {
    pub list: Vec<Node>,
    pub group_size: usize,
    /// Second byte of the addresses.
    net: u8,
    pub port: u16,
    /// When the last promotion happened.
    pub last_promotion: Option<Instant>,
}

impl Nodes {
    /// Groups at rest: the first node of each is the master, the others are in sync.
    pub fn new(groups: usize, replicas: usize, net: u8, port: u16) -> Nodes {
        let group_size = replicas + 1;
        let mut list: Vec<Node> = Vec::new();
        for index in 0..groups * group_size {
            let master = index - index % group_size;
            let replid = list.get(master).map_or_else(random_id, |m| m.replid.clone());
            list.push(Node {
                run_id: random_id(),
                replid,
                former: None,
                offset: FIRST_OFFSET,
                source: (index != master).then_some(Source::Node(master)),
                link: Link::Up,
                hung: None,
                clients: Vec::new(),
                subscribers: Vec::new(),
            });
        }
        Nodes { list, group_size, net, port, last_promotion: None }
    }

    /// Where a node listens.
    pub fn address(&self, index: usize) -> Ipv4Addr {
        Ipv4Addr::new(127, self.net, (index / PER_NET) as u8, (index % PER_NET + 1) as u8)
    }

    /// The node that listens there.
    pub fn at(&self, address: Ipv4Addr) -> Option<usize> {
        let [first, net, high, low] = address.octets();
        let low = usize::from(low).checked_sub(1).filter(|low| *low < PER_NET)?;
        let index = usize::from(high) * PER_NET + low;
        (first == 127 && net == self.net && index < self.list.len()).then_some(index)
    }

    pub fn group_of(&self, index: usize) -> std::ops::Range<usize> {
        let first = index - index % self.group_size;
        first..first + self.group_size
    }

    /// SLAVEOF to an address, or to none.
    pub fn follow(&mut self, index: usize, address: Option<SocketAddrV4>) {
        let group = self.group_of(index);
        let known = |a: SocketAddrV4| {
            self.at(*a.ip())
                .filter(|at| a.port() == self.port && group.contains(at) && *at != index)
        };
        let source = address.map(|a| known(a).map_or(Source::Stranger(a), Source::Node));
        let node = &mut self.list[index];
        if node.source == source {
            return;
        }
        if source.is_none() {
            let old = std::mem::replace(&mut node.replid, random_id());
            node.former = Some((old, node.offset + 1));
            self.last_promotion = Some(Instant::now());
        }
        node.source = source;
        node.link = Link::Down { since: Instant::now() };
    }

    /// Brings the link of a replica to what it is by now.
    pub fn settle(&mut self, index: usize) {
        let Some(Source::Node(at)) = self.list[index].source else { return };
        let source = &self.list[at];
        let dead = source.hung.filter(|h| h.elapsed() > REPLICATION_TIMEOUT);
        let serves =
            source.hung.is_none() && (source.source.is_none() || matches!(source.link, Link::Up));
        match (self.list[index].link, dead) {
            (Link::Up, Some(hung)) => {
                self.list[index].link = Link::Down { since: hung + REPLICATION_TIMEOUT };
            }
            (Link::Down { .. }, _) if serves => {
                let (replid, former) = (source.replid.clone(), source.former.clone());
                let offset = source.offset;
                let node = &mut self.list[index];
                (node.replid, node.former, node.offset) = (replid, former, offset);
                node.link = Link::Up;
            }
            _ => {}
        }
    }

    /// The replicas of a node that hear it.
    pub fn replicas(&mut self, index: usize) -> Vec<usize> {
        let mut found = Vec::new();
        for at in self.group_of(index) {
            if self.list[at].source == Some(Source::Node(index)) {
                self.settle(at);
                let hears = matches!(self.list[at].link, Link::Up) && self.list[at].hung.is_none();
                if hears {
                    found.push(at);
                }
            }
        }
        found
    }

    /// Lets the masters of the groups hang; gives how many.
    pub fn hang_masters(&mut self) -> usize {
        let is_master = |node: &&mut Node| node.source.is_none() && node.hung.is_none();
        let masters = self.list.iter_mut().filter(is_master);
        masters.map(|node| node.hung = Some(Instant::now())).count()
    }

    /// How many groups have a master that answers.
    pub fn groups_with_master(&self) -> usize {
        let has = |group: &&[Node]| group.iter().any(|n| n.source.is_none() && n.hung.is_none());
        self.list.chunks(self.group_size).filter(has).count()
    }
}

/// Forty hexadecimal digits.
pub fn random_id() -> String {
    let dice = RandomState::new();
    let words: String = (0..3).map(|n| format!("{:016x}", dice.hash_one(n))).collect();
    words[..40].to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_go_both_ways() {
        let nodes = Nodes::new(1000, 2, 40, 7000);
        for index in [0, 1, 249, 250, 2999] {
            assert_eq!(nodes.at(nodes.address(index)), Some(index));
        }
        assert_eq!(nodes.at(nodes.address(3000)), None);
        assert_eq!(nodes.at(Ipv4Addr::LOCALHOST), None);
    }

    #[test]
    fn a_promotion_and_the_old_master_after_it() {
        let mut nodes = Nodes::new(2, 2, 40, 7000);
        assert_eq!(nodes.replicas(3), [4, 5]);
        assert_eq!(nodes.hang_masters(), 2);
        assert_eq!(nodes.groups_with_master(), 0);
        nodes.follow(4, None);
        assert_eq!(nodes.groups_with_master(), 1);
        let (address, port) = (nodes.address(4), nodes.port);
        nodes.follow(5, Some(SocketAddrV4::new(address, port)));
        assert_eq!(nodes.replicas(4), [5]);
        assert_eq!(nodes.list[5].replid, nodes.list[4].replid);
        nodes.list[3].hung = None;
        nodes.follow(3, Some(SocketAddrV4::new(address, port)));
        assert_eq!(nodes.replicas(4), [3, 5]);
        nodes.follow(5, Some(SocketAddrV4::new(Ipv4Addr::LOCALHOST, 1)));
        assert_eq!(nodes.replicas(4), [3]);
    }
}
