//! Host names, IPv6, unix sockets and announced addresses.

use crate::support::client::{Client, Endpoint};
use crate::support::group::{Group, GroupOptions, MASTER};
use crate::support::node::NodeOptions;
use crate::support::sentinel::{Sentinel, SentinelOptions};
use crate::support::value::Value;
use crate::support::wait::{self, LONG, SHORT};
use crate::world;

#[test]
fn names_are_refused_unless_they_may_be_resolved() {
    let world = world!();
    let sentinel = Sentinel::start(&world, &SentinelOptions::default());
    let port = world.port().to_string();
    let words = ["SENTINEL", "MONITOR", MASTER, "localhost", &port, "1"];
    let error = sentinel.ask(&words);
    assert_eq!(error.error(), Some("ERR Invalid IP address or hostname specified"));
    sentinel.ok(&["SENTINEL", "CONFIG", "SET", "resolve-hostnames", "yes"]);
    sentinel.ok(&words);
    let reply = sentinel.ask(&["SENTINEL", "GET-MASTER-ADDR-BY-NAME", MASTER]);
    assert_eq!(reply.texts(), ["127.0.0.1", &port]);
    sentinel.ok(&["SENTINEL", "CONFIG", "SET", "announce-hostnames", "yes"]);
    let reply = sentinel.ask(&["SENTINEL", "GET-MASTER-ADDR-BY-NAME", MASTER]);
    assert_eq!(reply.texts(), ["localhost", &port]);
    sentinel.wait_config_line("sentinel resolve-hostnames yes");
    sentinel.wait_config_line("sentinel announce-hostnames yes");
}

#[test]
fn a_group_with_host_names_fails_over() {
    let world = world!();
    let mut options =
        GroupOptions { monitor_host: Some("localhost".into()), ..GroupOptions::default() };
    options.node.lines = vec!["replica-announce-ip localhost".into()];
    options.sentinel.lines =
        vec!["sentinel resolve-hostnames yes".into(), "sentinel announce-hostnames yes".into()];
    let mut group = Group::start(&world, options);
    let old = group.nodes[0].port;
    let recorder = group.sentinels[0].record();
    group.nodes[0].kill();
    let new = group.nodes[group.wait_switched_from(old)].port;
    let text = recorder.wait("+switch-master", MASTER);
    assert_eq!(text, format!("{MASTER} localhost {old} localhost {new}"));
    for sentinel in &group.sentinels {
        let line = format!("sentinel monitor {MASTER} localhost {new} 2");
        sentinel.wait_config_line(&line);
    }
    group.nodes[0].restart();
    group.nodes[0].wait_replica_of(new);
}

#[test]
fn a_group_on_ipv6_fails_over() {
    let world = world!();
    if std::net::TcpListener::bind("[::1]:0").is_err() {
        world.not_run("IPv6 on the loopback interface");
        return;
    }
    let mut options = GroupOptions {
        node: NodeOptions { host: "::1".into(), ..NodeOptions::default() },
        ..GroupOptions::default()
    };
    options.sentinel.bind = "::1".into();
    let mut group = Group::start(&world, options);
    let old = group.nodes[0].port;
    let replica = group.sentinels[0].replicas(MASTER).remove(0);
    assert_eq!(replica["name"], group.nodes[1].name());
    assert_eq!(replica["ip"], "::1");
    assert_eq!(group.sentinels[0].peers(MASTER)[0]["ip"], "::1");
    group.nodes[0].kill();
    let new = group.nodes[group.wait_switched_from(old)].port;
    let line = format!("{MASTER} ::1 {new} 2");
    wait::wait("the file to hold the new address", SHORT, || {
        wait::expect_eq(group.sentinels[0].state_lines("monitor"), vec![line.clone()])
    });
    group.nodes[0].restart();
    group.nodes[0].wait_replica_of(new);
    group.sentinels[0].restart();
    group.wait_discovered();
}

#[test]
fn a_unix_socket_serves_as_a_port_does() {
    let world = world!();
    let path = world.path("s.sock");
    let options = SentinelOptions::with_lines([
        format!("unixsocket {}", path.display()),
        "unixsocketperm 700".into(),
    ]);
    let mut sentinel = Sentinel::start(&world, &options);
    let mut client = Client::connect(&Endpoint::Unix(path.clone())).unwrap();
    assert_eq!(client.ask(&["PING"]).unwrap(), Value::Simple("PONG".into()));
    assert_eq!(client.ask(&["SENTINEL", "MYID"]).unwrap().text(), sentinel.id());
    let list = client.ask(&["CLIENT", "LIST"]).unwrap().text();
    assert!(list.contains(&format!("addr={}:0", path.display())), "{list}");
    use std::os::unix::fs::PermissionsExt;
    let mode = std::fs::metadata(&path).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o700);
    assert_eq!(sentinel.terminate(), 0);
    assert!(!path.exists(), "the socket is left behind");
}

#[test]
fn announced_address_is_what_peers_hear() {
    let world = world!();
    let mut options = GroupOptions { sentinels: 1, quorum: 1, ..Default::default() };
    options.sentinel.lines =
        vec!["sentinel announce-ip 10.9.8.7".into(), "sentinel announce-port 6543".into()];
    let group = Group::start(&world, options);
    let mut client = group.nodes[0].connect().unwrap();
    client.ask(&["SUBSCRIBE", "__sentinel__:hello"]).unwrap();
    let hello = client.read().unwrap().texts().remove(2);
    let id = group.sentinels[0].id();
    assert!(hello.starts_with(&format!("10.9.8.7,6543,{id},0,{MASTER},127.0.0.1,")), "{hello}");
    // Changed at run time, too.
    let set = ["SENTINEL", "CONFIG", "SET", "announce-port", "6544"];
    group.sentinels[0].ok(&set);
    wait::wait("a hello with the new port", LONG, || {
        let hello = client.read().map_err(|error| error.to_string())?.texts().remove(2);
        wait::expect(hello.starts_with("10.9.8.7,6544,"), hello)
    });
    group.sentinels[0].wait_config_line("sentinel announce-port 6544");
}

/// A replica that announces another address is known and reached under that one.
#[test]
fn announced_address_of_a_replica_is_its_name() {
    let world = world!();
    let options = GroupOptions {
        node_lines: vec![
            (1, "replica-announce-ip 127.0.0.2".into()),
            (1, "bind 127.0.0.1 127.0.0.2".into()),
        ],
        ..GroupOptions { sentinels: 1, quorum: 1, ..Default::default() }
    };
    let group = Group::start(&world, options);
    let port = group.nodes[1].port;
    let sentinel = &group.sentinels[0];
    assert_eq!(sentinel.replica(MASTER, port)["name"], format!("127.0.0.2:{port}"));
    sentinel.ok(&["SENTINEL", "FAILOVER", MASTER]);
    wait::wait("the announced address to be given", LONG, || {
        let reply = sentinel.ask(&["SENTINEL", "GET-MASTER-ADDR-BY-NAME", MASTER]);
        wait::expect_eq(reply.texts(), vec!["127.0.0.2".to_string(), port.to_string()])
    });
}
