//! Whole groups: masters with their replicas, watched by sentinels.

use super::node::{Node, NodeOptions, Role};
use super::sentinel::{Program, Sentinel, SentinelOptions};
use super::wait::{self, LONG};
use super::world::World;
use std::rc::Rc;

/// Name of the only master of most groups.
pub const MASTER: &str = "mymaster";

/// What a group is made of; times in milliseconds.
#[derive(Debug, Clone)]
pub struct GroupOptions {
    pub replicas: usize,
    pub sentinels: usize,
    pub quorum: usize,
    pub down_after_ms: u64,
    pub failover_timeout_ms: u64,
    pub parallel_syncs: usize,
    /// Program of each sentinel; the program under test where this is shorter.
    pub programs: Vec<Program>,
    /// Template of all data nodes.
    pub node: NodeOptions,
    /// Further config lines of single nodes: index (0 = master, from 1 the replicas) and line.
    pub node_lines: Vec<(usize, String)>,
    /// Template of all sentinels.
    pub sentinel: SentinelOptions,
    /// Host in the monitor line, if it is not that of the node.
    pub monitor_host: Option<String>,
}

impl Default for GroupOptions {
    fn default() -> GroupOptions {
        GroupOptions {
            replicas: 1,
            sentinels: 3,
            quorum: 2,
            down_after_ms: 1500,
            failover_timeout_ms: 8000,
            parallel_syncs: 1,
            programs: Vec::new(),
            node: NodeOptions::default(),
            node_lines: Vec::new(),
            sentinel: SentinelOptions::default(),
            monitor_host: None,
        }
    }
}

/// A running group around one master named [`MASTER`].
pub struct Group {
    /// Data nodes; the first one was the master at the start.
    pub nodes: Vec<Node>,
    /// The sentinels.
    pub sentinels: Vec<Sentinel>,
    options: GroupOptions,
}

impl Group {
    /// A group with the usual options.
    pub fn new(world: &Rc<World>, replicas: usize, sentinels: usize) -> Group {
        let quorum = sentinels / 2 + 1;
        Group::start(world, GroupOptions { replicas, sentinels, quorum, ..Default::default() })
    }

    /// Starts everything and waits until every sentinel has found every node and peer.
    pub fn start(world: &Rc<World>, options: GroupOptions) -> Group {
        let nodes = start_nodes(world, &options);
        let sentinels = (0..options.sentinels)
            .map(|index| Sentinel::start(world, &sentinel_options(&options, &nodes[0], index)))
            .collect();
        let group = Group { nodes, sentinels, options };
        group.wait_discovered();
        group
    }

    /// Waits until every running sentinel has connected links to every node and peer.
    #[track_caller]
    pub fn wait_discovered(&self) {
        let replicas = self.options.replicas;
        let peers = self.options.sentinels - 1;
        for sentinel in self.sentinels.iter().filter(|sentinel| sentinel.is_running()) {
            wait::wait("the group to be discovered", LONG, || found_all(sentinel, replicas, peers));
        }
    }

    /// The node that listens on a port.
    #[track_caller]
    pub fn node(&self, port: u16) -> &Node {
        self.nodes.iter().find(|node| node.port == port).expect("a port of this group")
    }

    /// Index of the node that listens on a port.
    #[track_caller]
    pub fn index(&self, port: u16) -> usize {
        self.nodes.iter().position(|node| node.port == port).expect("a port of this group")
    }

    /// Waits until all running sentinels give one address that is not `old` and the node there
    /// says it is a master; gives its index.
    #[track_caller]
    pub fn wait_switched_from(&self, old: u16) -> usize {
        wait::wait("all sentinels to give a new address", LONG, || {
            let port = self.agreed_port()?;
            wait::expect(port != old, port)?;
            let index = self.index(port);
            wait::expect_eq(self.nodes[index].role()?, Role::Master)?;
            Ok(index)
        })
    }

    /// The port all running sentinels give.
    pub fn agreed_port(&self) -> Result<u16, String> {
        let running = self.sentinels.iter().filter(|sentinel| sentinel.is_running());
        let mut ports = Vec::new();
        for sentinel in running {
            let port = sentinel.address_port(MASTER).map_err(|error| error.to_string())?;
            ports.push(port.ok_or("an unknown master")?);
        }
        wait::expect(ports.windows(2).all(|pair| pair[0] == pair[1]), &ports)?;
        ports.first().copied().ok_or("no sentinel runs".into())
    }

    /// Waits until all running nodes but the master at `master` replicate from it.
    #[track_caller]
    pub fn wait_all_follow(&self, master: usize) {
        let port = self.nodes[master].port;
        for (index, node) in self.nodes.iter().enumerate() {
            if index != master && node.is_running() {
                node.wait_replica_of(port);
            }
        }
    }

    /// Waits until no running sentinel has a failover in progress.
    #[track_caller]
    pub fn wait_settled(&self) {
        for sentinel in self.sentinels.iter().filter(|sentinel| sentinel.is_running()) {
            wait::wait("the failover to end", LONG, || {
                let fields = sentinel.master(MASTER);
                wait::expect(!fields.contains_key("failover-state"), fields)
            });
        }
    }

    /// Index of the sentinel with this id.
    pub fn sentinel_by_id(&self, id: &str) -> usize {
        self.sentinels.iter().position(|s| s.id() == id).expect("an id of this group")
    }
}

fn start_nodes(world: &Rc<World>, options: &GroupOptions) -> Vec<Node> {
    let node_options = |index: usize| {
        let mut node = options.node.clone();
        let own = options.node_lines.iter().filter(|(of, _)| *of == index);
        node.lines.extend(own.map(|(_, line)| line.clone()));
        node
    };
    let master = Node::start(world, &node_options(0));
    let host = options.monitor_host.clone().unwrap_or(master.host.clone());
    let mut nodes = vec![master];
    for index in 1..=options.replicas {
        let replica_of = Some((host.clone(), nodes[0].port));
        nodes.push(Node::start(world, &NodeOptions { replica_of, ..node_options(index) }));
    }
    for replica in &nodes[1..] {
        replica.wait_replica_of(nodes[0].port);
    }
    nodes
}

/// The config lines that make a sentinel watch `host:port` with the group's settings.
pub fn monitor_lines(options: &GroupOptions, host: &str, port: u16) -> Vec<String> {
    vec![
        format!("sentinel monitor {MASTER} {host} {port} {}", options.quorum),
        format!("sentinel down-after-milliseconds {MASTER} {}", options.down_after_ms),
        format!("sentinel failover-timeout {MASTER} {}", options.failover_timeout_ms),
        format!("sentinel parallel-syncs {MASTER} {}", options.parallel_syncs),
    ]
}

/// What the sentinel of this index in a group around `master` is started with.
pub fn sentinel_options(options: &GroupOptions, master: &Node, index: usize) -> SentinelOptions {
    let host = options.monitor_host.as_deref().unwrap_or(&master.host);
    let mut sentinel = options.sentinel.clone();
    let own = std::mem::take(&mut sentinel.lines);
    let global = own.iter().filter(|line| !line.contains(MASTER)).cloned();
    sentinel.lines = global.collect();
    sentinel.lines.extend(monitor_lines(options, host, master.port));
    sentinel.lines.extend(own.into_iter().filter(|line| line.contains(MASTER)));
    sentinel.program = options.programs.get(index).copied().unwrap_or(Program::UnderTest);
    sentinel
}

/// `Ok` if the sentinel holds the master, so many replicas and so many peers for well.
pub fn found_all(sentinel: &Sentinel, replicas: usize, peers: usize) -> Result<(), String> {
    let fields = sentinel.master(MASTER);
    let count = |field: &str| fields.get(field).cloned().unwrap_or_default();
    wait::expect_eq(count("flags"), "master".into())?;
    wait::expect_eq(count("num-slaves"), replicas.to_string())?;
    wait::expect_eq(count("num-other-sentinels"), peers.to_string())?;
    for replica in sentinel.replicas(MASTER) {
        wait::expect_eq(replica["flags"].as_str(), "slave")?;
        wait::expect_eq(replica["master-link-status"].as_str(), "ok")?;
    }
    for peer in sentinel.peers(MASTER) {
        wait::expect_eq(peer["flags"].as_str(), "sentinel")?;
    }
    Ok(())
}
