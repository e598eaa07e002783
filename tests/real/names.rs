//! Host names that move: addresses of containers that are made again, of nodes that trade places.
//!
//! The sentinel runs in a mount name space of its own, in which /etc/hosts is a file of the test.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::PathBuf;
use std::rc::Rc;

use crate::support::group::MASTER;
use crate::support::node::{Node, NodeOptions, Role};
use crate::support::sentinel::{Sentinel, SentinelOptions};
use crate::support::wait::{self, LONG};
use crate::support::world::World;
use crate::world;

/// What the names mean at present.
struct Hosts {
    path: PathBuf,
    names: BTreeMap<&'static str, String>,
}

impl Hosts {
    /// `None`, and the test counts as not run, where the file cannot be mounted.
    fn new(world: &Rc<World>, names: &[(&'static str, &str)]) -> Option<Hosts> {
        if !nix::unistd::geteuid().is_root() {
            world.not_run("root, to give a process an /etc/hosts of its own");
            return None;
        }
        if !world.need("unshare") || !world.need("mount") {
            return None;
        }
        let path = world.new_dir("hosts").join("hosts");
        let names = names.iter().map(|(name, ip)| (*name, ip.to_string())).collect();
        let mut hosts = Hosts { path, names };
        hosts.write();
        Some(hosts)
    }

    fn set(&mut self, name: &'static str, ip: &str) {
        self.names.insert(name, ip.to_string());
        self.write();
    }

    /// In place, as it is the file that is mounted.
    fn write(&mut self) {
        let lines = self.names.iter().map(|(name, ip)| format!("{ip} {name}\n"));
        let text = format!("127.0.0.1 localhost\n{}", lines.collect::<String>());
        fs::write(&self.path, text).expect("the hosts file is written");
    }

    /// A sentinel that reads this file and watches nobody yet.
    fn sentinel(&self, world: &Rc<World>) -> Sentinel {
        let mount = format!("mount --bind {} /etc/hosts", self.path.display());
        let script = format!("{mount} && exec \"$0\" \"$@\"");
        let wrapper = ["unshare", "-m", "sh", "-c", &script].map(String::from).to_vec();
        let lines = ["sentinel resolve-hostnames yes"];
        Sentinel::start(world, &SentinelOptions { wrapper, ..SentinelOptions::with_lines(lines) })
    }
}

fn start(world: &Rc<World>, host: &str, port: Option<u16>, of: Option<&str>, line: &str) -> Node {
    let replica_of = of.zip(port).map(|(host, port)| (host.to_string(), port));
    let lines = vec![line.to_string()];
    let options =
        NodeOptions { host: host.into(), port, replica_of, lines, ..NodeOptions::default() };
    Node::start(world, &options)
}

fn announce(ip_or_name: &str) -> String {
    format!("replica-announce-ip {ip_or_name}")
}

fn watch(sentinel: &Sentinel, host: &str, port: u16) {
    sentinel.ok(&["SENTINEL", "MONITOR", MASTER, host, &port.to_string(), "1"]);
    let times = ["down-after-milliseconds", "1500", "failover-timeout", "4000"];
    sentinel.ok(&[&["SENTINEL", "SET", MASTER][..], &times[..]].concat());
}

/// Waits until replicas are known at these addresses. C may have one of them twice.
fn wait_replicas(sentinel: &Sentinel, wanted: &[&str]) {
    wait::wait("the replicas to be known", LONG, || {
        let replicas = sentinel.replicas(MASTER);
        let ips: BTreeSet<&str> = replicas.iter().map(|fields| fields["ip"].as_str()).collect();
        wait::expect_eq(ips, wanted.iter().copied().collect())?;
        wait::expect(sentinel.program.is_redis() || replicas.len() == wanted.len(), &replicas)
    });
}

fn wait_address(sentinel: &Sentinel, ip: &str) {
    wait::wait("the new address to be given", LONG, || {
        let reply = sentinel.ask(&["SENTINEL", "GET-MASTER-ADDR-BY-NAME", MASTER]);
        wait::expect_eq(reply.texts()[0].as_str(), ip)
    });
}

/// What was waiting for the lookup goes on with its end: no second INFO is needed.
#[test]
fn replicas_announced_by_name_are_known_with_the_first_info() {
    let world = world!();
    let Some(hosts) = Hosts::new(&world, &[("one.example", "127.0.0.2")]) else { return };
    let master = start(&world, "127.0.0.1", None, None, "");
    let port = Some(master.port);
    let _replica = start(&world, "127.0.0.2", port, Some("127.0.0.1"), &announce("one.example"));
    wait::wait("the replica to be online", LONG, || {
        let info = master.replication().map_err(|error| error.to_string())?;
        wait::expect(info.get("slave0").is_some_and(|line| line.contains("online")), info)
    });
    let sentinel = hosts.sentinel(&world);
    // Hours between the looks.
    sentinel.ok(&["SENTINEL", "DEBUG", "INFO-PERIOD", "36000000"]);
    watch(&sentinel, "127.0.0.1", master.port);
    wait_replicas(&sentinel, &["127.0.0.2"]);
}

/// A pod is made again at another address, the old master gets the address it had: neither is
/// forgotten, and there are no two masters for long.
#[test]
fn pods_that_trade_addresses_stay_known() {
    let world = world!();
    let names = [("pod-0.example", "127.0.0.10"), ("pod-1.example", "127.0.0.11")];
    let Some(mut hosts) = Hosts::new(&world, &names) else { return };
    hosts.set("pod-2.example", "127.0.0.12");
    let mut p0 = start(&world, "127.0.0.10", None, None, "");
    let port = Some(p0.port);
    let mut p1 = start(&world, "127.0.0.11", port, Some("127.0.0.10"), &announce("pod-1.example"));
    let line = format!("{}\nreplica-priority 1", announce("pod-2.example"));
    let p2 = start(&world, "127.0.0.12", port, Some("127.0.0.10"), &line);
    let sentinel = hosts.sentinel(&world);
    watch(&sentinel, "pod-0.example", p0.port);
    sentinel.ok(&["SENTINEL", "SET", MASTER, "down-after-milliseconds", "20000"]);
    wait_replicas(&sentinel, &["127.0.0.11", "127.0.0.12"]);

    p1.kill();
    hosts.set("pod-1.example", "127.0.0.19");
    let p1 = start(&world, "127.0.0.19", port, Some("127.0.0.10"), &announce("pod-1.example"));
    wait_replicas(&sentinel, &["127.0.0.12", "127.0.0.19"]);

    p0.kill();
    hosts.set("pod-0.example", "127.0.0.11");
    let mut p0 = start(&world, "127.0.0.11", port, None, "");
    for node in [&p1, &p2] {
        assert!(node.ask(&["REPLICAOF", "127.0.0.11", &p0.port.to_string()]).is_ok());
    }
    wait_address(&sentinel, "127.0.0.11");
    sentinel.ok(&["SENTINEL", "SET", MASTER, "down-after-milliseconds", "1500"]);
    wait::wait("the replicas to be in sync", LONG, || {
        for node in [&p1, &p2] {
            wait::expect_eq(node.role()?, Role::Replica { of_port: p0.port, link_up: true })?;
        }
        Ok(())
    });

    p0.kill();
    wait_address(&sentinel, "127.0.0.12");
    p0.restart();
    wait_follows(&p0, "127.0.0.12");
    wait_follows(&p1, "127.0.0.12");
    wait_replicas(&sentinel, &["127.0.0.11", "127.0.0.19"]);
}

fn wait_follows(node: &Node, ip: &str) {
    wait::wait("the node to follow", LONG, || {
        let info = node.replication().map_err(|error| error.to_string())?;
        wait::expect(info.get("master_host").is_some_and(|host| host == ip), info)
    });
}

/// A replica is gone and its name leads to another one, which is promoted later: nobody is told to
/// replicate from itself.
#[test]
fn a_name_that_leads_to_the_new_master_makes_no_circle() {
    let world = world!(only_ours: "it tells the new master to replicate from itself");
    let Some(mut hosts) = Hosts::new(&world, &[("alias.example", "127.0.0.3")]) else { return };
    let mut master = start(&world, "127.0.0.1", None, None, "");
    let port = Some(master.port);
    let line = format!("{}\nreplica-priority 1", announce("127.0.0.2"));
    let one = start(&world, "127.0.0.2", port, Some("127.0.0.1"), &line);
    let mut two = start(&world, "127.0.0.3", port, Some("127.0.0.1"), &announce("alias.example"));
    let sentinel = hosts.sentinel(&world);
    watch(&sentinel, "127.0.0.1", master.port);
    wait_replicas(&sentinel, &["127.0.0.2", "127.0.0.3"]);
    two.kill();
    hosts.set("alias.example", "127.0.0.2");
    wait::wait("the name to be looked up", LONG, || {
        wait::expect(sentinel.log_text().contains("the old address stays"), "no such line")
    });
    master.kill();
    wait_address(&sentinel, "127.0.0.2");
    // Past failover-timeout, when the rest is told to follow at the latest.
    wait::holds("the new master to stay one", std::time::Duration::from_secs(8), || {
        wait::expect_eq(one.role()?, Role::Master)
    });
    // The name is put right and its node comes back.
    hosts.set("alias.example", "127.0.0.3");
    two.restart();
    wait_follows(&two, "127.0.0.2");
    master.restart();
    wait_follows(&master, "127.0.0.2");
}
