//! The group of a story: a master, two replicas and three sentinels behind proxies.

use super::clients::Variant;
use super::proxy::{Journal, Proxy};
use super::support::client::Client;
use super::support::group::{GroupOptions, MASTER, found_all, monitor_lines};
use super::support::node::{Node, NodeOptions, Role};
use super::support::sentinel::{Sentinel, SentinelOptions};
use super::support::wait::{self, LONG};
use super::support::world::World;
use std::rc::Rc;
use std::sync::Arc;

/// How many replicas and sentinels there are.
const REPLICAS: usize = 2;
const SENTINELS: usize = 3;
/// Password of the sentinels among each other, and of the test.
const PEER_PASSWORD: &str = "of-the-sentinels";
/// The rights that are commonly recommended for clients, and the channels that these ask for.
const CLIENT_RIGHTS: &str = "resetchannels &+switch-master &*switch-master &switch-master \
    &-* &+sdown &[-+]sdown &[-+]odown &+slave &+slave-reconf-done &+sentinel \
    -@all +@connection +subscribe +psubscribe +info +role \
    +sentinel|get-master-addr-by-name +sentinel|master +sentinel|masters +sentinel|replicas \
    +sentinel|slaves +sentinel|sentinels +sentinel|ckquorum";

/// A running group; the first node is the master at the start.
pub struct ClientGroup {
    /// The data nodes.
    pub nodes: Vec<Node>,
    /// The sentinels themselves.
    pub sentinels: Vec<Sentinel>,
    /// What clients are told to connect to.
    pub proxies: Vec<Proxy>,
}

impl ClientGroup {
    /// Starts everything and waits until every sentinel has found all others.
    pub fn start(world: &Rc<World>, variant: Variant, journal: &Arc<Journal>) -> ClientGroup {
        let nodes = start_nodes(world, variant);
        let mut proxies = Vec::new();
        let mut sentinels = Vec::new();
        for _ in 0..SENTINELS {
            let proxy = Proxy::start(world.port(), journal.clone()).expect("a free port");
            let options = sentinel_options(variant, nodes[0].port, proxy.port);
            let sentinel = Sentinel::start(world, &options);
            proxy.aim(sentinel.port);
            proxies.push(proxy);
            sentinels.push(sentinel);
        }
        let group = ClientGroup { nodes, sentinels, proxies };
        if !variant.user.is_empty() {
            group.expect_limits(variant);
        }
        for sentinel in &group.sentinels {
            let found = || found_all(sentinel, REPLICAS, SENTINELS - 1);
            wait::wait("the group to be discovered", LONG, found);
        }
        group
    }

    /// Sees that the client's user may not do what it needs not.
    fn expect_limits(&self, variant: Variant) {
        let endpoint = self.sentinels[0].endpoint();
        let mut client = Client::connect(&endpoint).expect("the sentinel accepts");
        let reply = client.ask(&["AUTH", variant.user, variant.password]).expect("a reply");
        assert!(reply.is_ok(), "AUTH is answered by {reply:?}");
        for words in [&["SENTINEL", "FAILOVER", MASTER][..], &["SUBSCRIBE", "+sdown-of-others"]] {
            let reply = client.ask(words).expect("a reply");
            let error = reply.error().unwrap_or_default();
            assert!(error.starts_with("NOPERM "), "{words:?} is answered by {reply:?}");
        }
    }

    /// `host:port,…` of the proxies.
    pub fn addresses(&self) -> String {
        let one = |proxy: &Proxy| format!("127.0.0.1:{}", proxy.port);
        self.proxies.iter().map(one).collect::<Vec<_>>().join(",")
    }

    /// Waits until all sentinels give an address other than `old` and a master is there; gives
    /// its index.
    pub fn wait_switched_from(&self, old: u16) -> usize {
        wait::wait("all sentinels to give a new address", LONG, || {
            let mut index = None;
            for sentinel in &self.sentinels {
                let port = sentinel.address_port(MASTER).map_err(|error| error.to_string())?;
                wait::expect(port != Some(old), port)?;
                let at = self.nodes.iter().position(|node| Some(node.port) == port);
                wait::expect(at.is_some() && index.is_none_or(|other| Some(other) == at), port)?;
                index = at;
            }
            let index = index.ok_or("no address")?;
            wait::expect_eq(self.nodes[index].role()?, Role::Master)?;
            Ok(index)
        })
    }
}

fn start_nodes(world: &Rc<World>, variant: Variant) -> Vec<Node> {
    let mut options = NodeOptions::default();
    let password = variant.data_password();
    if !password.is_empty() {
        options.lines.push(format!("requirepass {password}"));
        options.lines.push(format!("masterauth {password}"));
        options.login = Some(("default".into(), password.into()));
    }
    let mut nodes = vec![Node::start(world, &options)];
    options.replica_of = Some(("127.0.0.1".into(), nodes[0].port));
    for _ in 0..REPLICAS {
        nodes.push(Node::start(world, &options));
    }
    for replica in &nodes[1..] {
        replica.wait_replica_of(nodes[0].port);
    }
    nodes
}

fn sentinel_options(variant: Variant, master_port: u16, announced_port: u16) -> SentinelOptions {
    let mut options = SentinelOptions::with_lines([
        "sentinel announce-ip 127.0.0.1".to_string(),
        format!("sentinel announce-port {announced_port}"),
    ]);
    options.lines.extend(monitor_lines(&GroupOptions::default(), "127.0.0.1", master_port));
    if !variant.password.is_empty() {
        options.lines.push(format!("requirepass {PEER_PASSWORD}"));
        options.lines.push(format!("sentinel sentinel-pass {PEER_PASSWORD}"));
        options.lines.push(format!("sentinel auth-pass {MASTER} {}", variant.data_password()));
        options.login = Some(("default".into(), PEER_PASSWORD.into()));
    }
    if !variant.user.is_empty() {
        let (user, password) = (variant.user, variant.password);
        options.lines.push(format!("user {user} on >{password} {CLIENT_RIGHTS}"));
    }
    options
}
