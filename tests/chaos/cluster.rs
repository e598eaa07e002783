//! A group of real processes on hosts of its own, and when it is at rest.

use crate::net::{Door, HostId, Neighbours, Net};
use crate::support::node::{Node, NodeOptions, Role};
use crate::support::sentinel::{Program, Sentinel, SentinelOptions, state_lines};
use crate::support::value::Value;
use crate::support::wait::{self, expect, expect_eq};
use crate::support::world::World;
use std::collections::BTreeSet;
use std::rc::Rc;
use std::time::{Duration, Instant};

/// Name of the only master.
pub const MASTER: &str = "mymaster";
/// Hosts that only clients are on.
pub const CLIENTS: usize = 2;
/// Within this time after healing every group is at rest again: a voter's wait (twice the failover
/// timeout), a whole attempt, the repair of replicas that follow a wrong master (one failover
/// timeout after they were last down), and connections whose next retransmission is far away.
pub const BOUND: Duration = Duration::from_secs(30);

/// How long a group that came to rest is watched to stay so.
const WATCHED: Duration = Duration::from_millis(1_500);

/// What a cluster is made of.
#[derive(Debug, Clone)]
pub struct Layout {
    pub sentinels: usize,
    pub replicas: usize,
    /// Which sentinels are `redis-sentinel`.
    pub redis: BTreeSet<usize>,
    /// Each node shares its host with a sentinel; otherwise all have hosts of their own.
    pub together: bool,
    /// The master takes writes only while a replica has acknowledged lately.
    pub min_replicas: bool,
    pub down_after_ms: u64,
    pub failover_timeout_ms: u64,
    pub neighbours: Neighbours,
}

impl Default for Layout {
    fn default() -> Layout {
        Layout {
            sentinels: 3,
            replicas: 2,
            redis: BTreeSet::new(),
            together: true,
            min_replicas: false,
            down_after_ms: 1000,
            failover_timeout_ms: 4000,
            neighbours: Neighbours::Asked,
        }
    }
}

impl Layout {
    /// How many data nodes there are.
    pub fn nodes(&self) -> usize {
        1 + self.replicas
    }

    /// How many hosts members are on.
    pub fn member_hosts(&self) -> usize {
        match self.together {
            true => self.sentinels.max(self.nodes()),
            false => self.sentinels + self.nodes(),
        }
    }

    /// The host of a data node.
    pub fn node_host(&self, node: usize) -> HostId {
        node
    }

    /// The host of a sentinel.
    pub fn sentinel_host(&self, sentinel: usize) -> HostId {
        if self.together { sentinel } else { self.nodes() + sentinel }
    }

    /// The hosts of the clients.
    pub fn client_host(&self, client: usize) -> HostId {
        self.member_hosts() + client
    }

    /// All hosts.
    pub fn hosts(&self) -> BTreeSet<HostId> {
        (0..self.member_hosts() + CLIENTS).collect()
    }

    /// The smallest number of sentinels that may elect.
    pub fn majority(&self) -> usize {
        self.sentinels / 2 + 1
    }
}

/// How a process is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Health {
    Running,
    Frozen,
    Dead,
}

/// A running cluster.
pub struct Cluster {
    pub layout: Layout,
    pub net: Net,
    pub world: Rc<World>,
    pub nodes: Vec<Node>,
    pub sentinels: Vec<Sentinel>,
    /// The ids of the sentinels.
    pub ids: Vec<String>,
    pub node_health: Vec<Health>,
    pub sentinel_health: Vec<Health>,
}

impl Cluster {
    /// Starts everything and waits until every sentinel has found every node and peer.
    pub fn start(world: &Rc<World>, net: Net, layout: Layout) -> Cluster {
        let mut nodes: Vec<Node> = Vec::new();
        for index in 0..layout.nodes() {
            let host = layout.node_host(index);
            let replica_of = nodes.first().map(|master| (master.host.clone(), master.port));
            let options = node_options(&layout, &net, host, replica_of);
            nodes.push(net.within(host, || Node::start(world, &options)));
        }
        let mut sentinels = Vec::new();
        for index in 0..layout.sentinels {
            let host = layout.sentinel_host(index);
            let options = sentinel_options(&layout, &net, index, &nodes[0]);
            sentinels.push(net.within(host, || Sentinel::start(world, &options)));
        }
        let mut cluster = Cluster {
            node_health: vec![Health::Running; nodes.len()],
            sentinel_health: vec![Health::Running; sentinels.len()],
            ids: Vec::new(),
            world: world.clone(),
            layout,
            net,
            nodes,
            sentinels,
        };
        for index in 0..cluster.sentinels.len() {
            cluster.shorten_tilt(index);
            let id = cluster.ask(index, &["SENTINEL", "MYID"]).expect("it runs").text();
            cluster.ids.push(id);
        }
        wait::wait("the group to find itself", BOUND, || cluster.at_rest());
        cluster
    }

    /// The way into the host of a data node.
    pub fn node_door(&self, node: usize) -> Door {
        self.net.door(self.layout.node_host(node))
    }

    /// The way into the host of a sentinel.
    pub fn sentinel_door(&self, sentinel: usize) -> Door {
        self.net.door(self.layout.sentinel_host(sentinel))
    }

    /// Asks a sentinel from its own host, whatever the network does.
    pub fn ask(&self, sentinel: usize, words: &[&str]) -> Result<Value, String> {
        let ask = || self.sentinels[sentinel].try_ask(words);
        self.sentinel_door(sentinel).within(ask).map_err(|error| error.to_string())
    }

    /// Asks a data node from its own host.
    pub fn ask_node(&self, node: usize, words: &[&str]) -> Result<Value, String> {
        let ask = || self.nodes[node].try_ask(words);
        self.node_door(node).within(ask).map_err(|error| error.to_string())
    }

    /// What a data node says it is.
    pub fn role(&self, node: usize) -> Result<Role, String> {
        self.node_door(node).within(|| self.nodes[node].role())
    }

    /// The port of the address a sentinel gives.
    pub fn address_port(&self, sentinel: usize) -> Result<u16, String> {
        let words = ["SENTINEL", "GET-MASTER-ADDR-BY-NAME", MASTER];
        let reply = self.ask(sentinel, &words)?.texts();
        let port = reply.get(1).and_then(|port| port.parse().ok());
        port.ok_or_else(|| format!("sentinel {sentinel} answers {reply:?}"))
    }

    /// Index of the node with this port.
    pub fn node_at(&self, port: u16) -> Result<usize, String> {
        let index = self.nodes.iter().position(|node| node.port == port);
        index.ok_or_else(|| format!("no node has port {port}"))
    }

    /// The node that most of the sentinels that answer take for the master; 0 if none answers.
    pub fn presumed_master(&self) -> usize {
        let mut votes = vec![0; self.nodes.len()];
        for sentinel in 0..self.sentinels.len() {
            if self.sentinel_health[sentinel] != Health::Running {
                continue;
            }
            let port = self.address_port(sentinel);
            if let Ok(node) = port.and_then(|port| self.node_at(port)) {
                votes[node] += 1;
            }
        }
        let most = votes.iter().max().copied().unwrap_or(0);
        votes.iter().position(|count| *count == most).unwrap_or(0)
    }

    /// Index of the master if the group is as it should be, else what is not.
    pub fn at_rest(&self) -> Result<usize, String> {
        let mut ports = BTreeSet::new();
        for sentinel in 0..self.sentinels.len() {
            ports.insert(self.address_port(sentinel)?);
        }
        expect(ports.len() == 1, format!("addresses {ports:?}"))?;
        let port = ports.first().copied().ok_or("no sentinel")?;
        let master = self.node_at(port)?;
        for node in 0..self.nodes.len() {
            let wanted = match node == master {
                true => Role::Master,
                false => Role::Replica { of_port: port, link_up: true },
            };
            let role = self.role(node).map_err(|error| format!("node {node}: {error}"))?;
            expect_eq(role, wanted).map_err(|seen| format!("node {node} is {seen}"))?;
        }
        for sentinel in 0..self.sentinels.len() {
            self.sentinel_at_rest(sentinel, port)
                .map_err(|seen| format!("sentinel {sentinel}: {seen}"))?;
        }
        Ok(master)
    }

    fn sentinel_at_rest(&self, sentinel: usize, port: u16) -> Result<(), String> {
        let fields = self.ask(sentinel, &["SENTINEL", "MASTER", MASTER])?.table();
        let field = |name: &str| fields.get(name).cloned().unwrap_or_default();
        expect_eq(field("flags").as_str(), "master")?;
        expect(!fields.contains_key("failover-state"), field("failover-state"))?;
        expect_eq(field("num-slaves"), self.layout.replicas.to_string())?;
        expect_eq(field("num-other-sentinels"), (self.layout.sentinels - 1).to_string())?;
        for (what, flags) in [("REPLICAS", "slave"), ("SENTINELS", "sentinel")] {
            for instance in self.ask(sentinel, &["SENTINEL", what, MASTER])?.items() {
                let instance = instance.table();
                expect(instance.get("flags").is_some_and(|seen| seen == flags), &instance)?;
            }
        }
        let lines = state_lines(&self.sentinels[sentinel].config, &format!("monitor {MASTER}"));
        let filed = lines.iter().any(|line| line.split(' ').nth(1) == Some(&port.to_string()));
        expect(lines.len() == 1 && filed, format!("the file says {lines:?}, wanted port {port}"))
    }

    /// Waits until the group is at rest and stays so for a while (a lost SYN comes again only after
    /// a second); gives the master and after how long this began. `Err`: what was wrong when
    /// [`BOUND`] was over.
    pub fn come_to_rest(&self, healed: Instant) -> Result<(usize, Duration), String> {
        let mut rest: Option<(usize, Duration)> = None;
        loop {
            match (self.at_rest(), rest) {
                (Ok(master), Some((before, since))) if master == before => {
                    if healed.elapsed() - since > WATCHED {
                        return Ok((master, since));
                    }
                }
                (Ok(master), _) => rest = Some((master, healed.elapsed())),
                (Err(seen), _) if healed.elapsed() > BOUND => {
                    return Err(format!("{BOUND:?} after healing: {seen}"));
                }
                (Err(_), _) => rest = None,
            }
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// Ends all faults of the network, lets all processes run.
    pub fn heal(&mut self) {
        self.net.heal();
        for node in 0..self.nodes.len() {
            self.thaw_node(node);
            self.start_node(node);
        }
        for sentinel in 0..self.sentinels.len() {
            self.thaw_sentinel(sentinel);
            self.start_sentinel(sentinel);
        }
    }

    /// SIGKILL to a data node.
    pub fn kill_node(&mut self, node: usize) {
        self.nodes[node].kill();
        self.node_health[node] = Health::Dead;
    }

    /// Starts a data node that is dead.
    pub fn start_node(&mut self, node: usize) {
        if self.node_health[node] == Health::Dead {
            let door = self.node_door(node);
            door.within(|| self.nodes[node].restart());
            self.node_health[node] = Health::Running;
        }
    }

    /// SIGSTOP to a data node that runs.
    pub fn freeze_node(&mut self, node: usize) {
        if self.node_health[node] == Health::Running {
            self.nodes[node].freeze();
            self.node_health[node] = Health::Frozen;
        }
    }

    /// SIGCONT to a data node that is frozen.
    pub fn thaw_node(&mut self, node: usize) {
        if self.node_health[node] == Health::Frozen {
            self.nodes[node].thaw();
            self.node_health[node] = Health::Running;
        }
    }

    /// SIGKILL to a sentinel.
    pub fn kill_sentinel(&mut self, sentinel: usize) {
        self.sentinels[sentinel].kill();
        self.sentinel_health[sentinel] = Health::Dead;
    }

    /// Starts a sentinel that is dead.
    pub fn start_sentinel(&mut self, sentinel: usize) {
        if self.sentinel_health[sentinel] == Health::Dead {
            let door = self.sentinel_door(sentinel);
            door.within(|| self.sentinels[sentinel].restart());
            self.sentinel_health[sentinel] = Health::Running;
            self.shorten_tilt(sentinel);
        }
    }

    /// SIGSTOP to a sentinel that runs.
    pub fn freeze_sentinel(&mut self, sentinel: usize) {
        if self.sentinel_health[sentinel] == Health::Running {
            self.sentinels[sentinel].freeze();
            self.sentinel_health[sentinel] = Health::Frozen;
        }
    }

    /// SIGCONT to a sentinel that is frozen.
    pub fn thaw_sentinel(&mut self, sentinel: usize) {
        if self.sentinel_health[sentinel] == Health::Frozen {
            self.sentinels[sentinel].thaw();
            self.sentinel_health[sentinel] = Health::Running;
        }
    }

    /// Half a minute of tilt, the default, is longer than a round.
    fn shorten_tilt(&self, sentinel: usize) {
        let reply = self.ask(sentinel, &["SENTINEL", "DEBUG", "tilt-period", "3000"]);
        assert!(reply.as_ref().is_ok_and(Value::is_ok), "SENTINEL DEBUG: {reply:?}");
    }
}

fn node_options(
    layout: &Layout,
    net: &Net,
    host: HostId,
    replica_of: Option<(String, u16)>,
) -> NodeOptions {
    // What was acknowledged must survive a kill; what gets lost is lost by failing over.
    let mut lines: Vec<String> =
        ["protected-mode no", "repl-timeout 4", "appendonly yes", "appendfsync everysec"]
            .map(String::from)
            .into();
    if layout.min_replicas {
        lines.push("min-replicas-to-write 1".into());
        lines.push("min-replicas-max-lag 2".into());
    }
    if !net.has_switch() {
        lines.push(format!("replica-announce-ip {}", net.address(host)));
    }
    NodeOptions { host: net.address(host), port: None, replica_of, lines, login: None }
}

fn sentinel_options(layout: &Layout, net: &Net, index: usize, master: &Node) -> SentinelOptions {
    let mut lines = vec![
        format!("sentinel monitor {MASTER} {} {} {}", master.host, master.port, layout.majority()),
        format!("sentinel down-after-milliseconds {MASTER} {}", layout.down_after_ms),
        format!("sentinel failover-timeout {MASTER} {}", layout.failover_timeout_ms),
    ];
    let address = net.address(layout.sentinel_host(index));
    if !net.has_switch() {
        lines.push(format!("sentinel announce-ip {address}"));
    }
    let redis = layout.redis.contains(&index);
    let program = if redis { Program::Redis } else { Program::UnderTest };
    SentinelOptions { bind: address, program, ..SentinelOptions::with_lines(lines) }
}
