//! Nodes and peers that answer and refuse: passwords that are put right later, users that lack a
//! command, a replica that is still loading.

use std::time::Instant;

use crate::support::group::{Group, GroupOptions, MASTER};
use crate::support::node::{Node, NodeOptions};
use crate::support::sentinel::{Sentinel, SentinelOptions};
use crate::support::wait::{self, LONG, SHORT};
use crate::world;

/// Longer than the longest pause between two tries, on a busy machine.
const RETRY_MS: u128 = 8_000;
/// The commands that the documentation asks for.
const DOCUMENTED: [&str; 12] = [
    "+multi",
    "+slaveof",
    "+ping",
    "+exec",
    "+subscribe",
    "+config|rewrite",
    "+role",
    "+publish",
    "+info",
    "+client|setname",
    "+client|kill",
    "+script|kill",
];

/// A `user` line for the sentinels, with what is documented but for some commands.
fn watcher(without: &[&str]) -> String {
    let rules: Vec<&str> =
        DOCUMENTED.into_iter().filter(|rule| !without.contains(&&rule[1..])).collect();
    format!("user watcher on >eyes allchannels {}", rules.join(" "))
}

fn as_watcher() -> Vec<String> {
    vec![
        format!("sentinel auth-pass {MASTER} eyes"),
        format!("sentinel auth-user {MASTER} watcher"),
    ]
}

#[track_caller]
fn wait_log(sentinel: &Sentinel, words: &str) {
    wait::wait(&format!("{words:?} in the log"), SHORT, || {
        wait::expect(sentinel.log_text().contains(words), sentinel.log_text())
    });
}

fn count_log(sentinel: &Sentinel, words: &str) -> usize {
    sentinel.log_text().matches(words).count()
}

/// The password is wrong from the start and put right on the nodes; nobody tells the sentinel.
fn a_password_is_put_right(down_after_ms: u64) {
    let world = world!(only_ours: "it takes 13 s, or never does");
    let options = |replica_of| NodeOptions {
        // Whichever is up first: nobody is to take the place of the master.
        lines: ["requirepass other", "masterauth other", "replica-priority 0"]
            .map(String::from)
            .to_vec(),
        login: Some(("default".into(), "other".into())),
        replica_of,
        ..NodeOptions::default()
    };
    let mut master = Node::start(&world, &options(None));
    let replica_of = Some((master.host.clone(), master.port));
    let mut replica = Node::start(&world, &options(replica_of));
    replica.wait_replica_of(master.port);
    let sentinel = Sentinel::start(
        &world,
        &SentinelOptions::with_lines([
            format!("sentinel monitor {MASTER} 127.0.0.1 {} 1", master.port),
            format!("sentinel down-after-milliseconds {MASTER} {down_after_ms}"),
            format!("sentinel known-replica {MASTER} 127.0.0.1 {}", replica.port),
            format!("sentinel auth-pass {MASTER} s3cret"),
        ]),
    );
    let refused = format!("AUTH refused by master {MASTER} 127.0.0.1 {}: WRONGPASS ", master.port);
    wait_log(&sentinel, &refused);
    wait_log(&sentinel, &format!("AUTH refused by slave 127.0.0.1:{0} ", replica.port));
    if down_after_ms < 5_000 {
        wait::wait("the master to be down", SHORT, || {
            let flags = sentinel.master_field(MASTER, "flags");
            wait::expect(flags.contains("s_down") && flags.contains("disconnected"), flags)
        });
    }
    // The pauses between two tries have grown to their longest.
    std::thread::sleep(std::time::Duration::from_secs(7));
    for node in [&mut replica, &mut master] {
        for name in ["masterauth", "requirepass"] {
            assert!(node.ask(&["CONFIG", "SET", name, "s3cret"]).is_ok());
        }
        node.set_login("default", "s3cret");
    }
    let began = Instant::now();
    wait::wait("everything to be up", LONG, || {
        wait::expect_eq(sentinel.master_field(MASTER, "flags"), "master".into())?;
        wait::expect_eq(sentinel.master_field(MASTER, "num-slaves"), "1".into())?;
        wait::expect_eq(sentinel.replica(MASTER, replica.port)["flags"].as_str(), "slave")?;
        let fields = sentinel.replica(MASTER, replica.port);
        wait::expect_eq(fields["master-link-status"].as_str(), "ok")
    });
    assert!(began.elapsed().as_millis() < RETRY_MS, "{:?}", began.elapsed());
    wait_log(
        &sentinel,
        &format!("AUTH no longer refused by master {MASTER} 127.0.0.1 {}", master.port),
    );
    assert_eq!(count_log(&sentinel, &refused), 1, "{}", sentinel.log_text());
    assert_eq!(count_log(&sentinel, "AUTH no longer refused by"), 2, "{}", sentinel.log_text());
}

#[test]
fn a_password_that_is_put_right_on_the_node_brings_it_up() {
    a_password_is_put_right(1_000);
}

#[test]
fn so_it_does_where_the_node_was_not_even_judged_down() {
    a_password_is_put_right(30_000);
}

/// The old master comes back with a password that nobody knows, and it is put right later.
#[test]
fn an_old_master_with_another_password_becomes_a_replica_when_that_is_put_right() {
    let world = world!(only_ours: "down-after is so long that it never does");
    let mut options = GroupOptions { sentinels: 1, quorum: 1, ..GroupOptions::default() };
    options.down_after_ms = 3_000;
    options.node.lines = vec!["requirepass s3cret".into(), "masterauth s3cret".into()];
    options.node.login = Some(("default".into(), "s3cret".into()));
    options.sentinel.lines = vec![format!("sentinel auth-pass {MASTER} s3cret")];
    let mut group = Group::start(&world, options);
    let old = group.nodes[0].port;
    group.nodes[0].kill();
    let new = group.wait_switched_from(old);
    let port = group.nodes[new].port;
    group.nodes[0].add_config_line("requirepass other");
    group.nodes[0].set_login("default", "other");
    group.nodes[0].restart();
    wait_log(&group.sentinels[0], &format!("AUTH refused by slave 127.0.0.1:{old} "));
    assert!(group.nodes[0].ask(&["CONFIG", "SET", "requirepass", "s3cret"]).is_ok());
    group.nodes[0].set_login("default", "s3cret");
    group.nodes[0].wait_replica_of(port);
}

/// Two sentinels with different passwords, until one of them is changed.
#[test]
fn a_password_between_sentinels_that_is_put_right_brings_them_together() {
    let world = world!(only_ours: "with this down-after it never does");
    let master = Node::start(&world, &NodeOptions::default());
    let start = |password: &str| {
        let mut options = SentinelOptions::with_lines([
            format!("sentinel monitor {MASTER} 127.0.0.1 {} 2", master.port),
            format!("sentinel down-after-milliseconds {MASTER} 30000"),
            format!("requirepass {password}"),
        ]);
        options.login = Some(("default".into(), password.into()));
        Sentinel::start(&world, &options)
    };
    let (one, mut other) = (start("one"), start("other"));
    for sentinel in [&one, &other] {
        wait_log(sentinel, "AUTH refused by sentinel ");
    }
    other.ok(&["ACL", "SETUSER", "default", "resetpass", ">one"]);
    other.set_login("default", "one");
    other.ok(&["SENTINEL", "CONFIG", "SET", "sentinel-pass", "one"]);
    for sentinel in [&one, &other] {
        wait_log(sentinel, "AUTH no longer refused by sentinel ");
        wait::wait("the peer to be up", SHORT, || {
            let peers = sentinel.peers(MASTER);
            wait::expect_eq(peers[0]["flags"].as_str(), "sentinel")?;
            let age: u64 = peers[0]["last-ok-ping-reply"].parse().unwrap();
            wait::expect(age < 5_000, age)
        });
    }
}

/// Failover with a user that lacks one of the commands of the transaction, of it or of one of its
/// companions: SLAVEOF alone does it.
#[test]
fn a_user_without_a_command_beside_slaveof_can_fail_over() {
    for without in [&["client|kill"][..], &["config|rewrite"], &["multi"], &["exec"]] {
        fails_over_without(without);
    }
}

/// One sentinel and two replicas; failover-timeout is longer than any test waits.
fn one_sentinel() -> GroupOptions {
    GroupOptions {
        replicas: 2,
        sentinels: 1,
        quorum: 1,
        failover_timeout_ms: 180_000,
        ..GroupOptions::default()
    }
}

fn fails_over_without(without: &[&str]) {
    let world = world!(only_ours: "it waits until failover-timeout, again and again");
    let mut options = one_sentinel();
    options.node.lines = vec![watcher(without)];
    options.sentinel.lines = as_watcher();
    let mut group = Group::start(&world, options);
    let old = group.nodes[0].port;
    group.nodes[0].kill();
    let new = group.wait_switched_from(old);
    group.wait_all_follow(new);
    group.nodes[0].restart();
    group.nodes[0].wait_replica_of(group.nodes[new].port);
}

/// The best replica does not take SLAVEOF from the sentinel: another one is promoted at once.
#[test]
fn a_replica_that_refuses_to_be_promoted_is_passed_over() {
    let world = world!(only_ours: "it waits until failover-timeout, again and again");
    let mut options = one_sentinel();
    options.node.lines = vec![watcher(&[])];
    options.node_lines = vec![(1, "replica-priority 1".into())];
    options.sentinel.lines = as_watcher();
    let mut group = Group::start(&world, options);
    assert!(group.nodes[1].ask(&["ACL", "SETUSER", "watcher", "-slaveof"]).is_ok());
    let old = group.nodes[0].port;
    group.nodes[0].kill();
    assert_eq!(group.wait_switched_from(old), 2);
    let name = group.nodes[1].name();
    wait_log(&group.sentinels[0], &format!("SLAVEOF refused by slave {name} "));
    // The user gets the command: the replica follows without further ado.
    assert!(group.nodes[1].ask(&["ACL", "SETUSER", "watcher", "+slaveof"]).is_ok());
    let began = Instant::now();
    group.nodes[1].wait_replica_of(group.nodes[2].port);
    assert!(began.elapsed().as_millis() < RETRY_MS, "{:?}", began.elapsed());
    wait_log(&group.sentinels[0], &format!("SLAVEOF no longer refused by slave {name} "));
}

/// The only replica is started again when the master dies, and loads for some seconds.
#[test]
fn a_replica_that_loads_is_promoted_as_soon_as_it_has() {
    let world = world!(only_ours: "it waits until failover-timeout");
    let mut options = GroupOptions {
        sentinels: 1,
        quorum: 1,
        failover_timeout_ms: 180_000,
        ..GroupOptions::default()
    };
    options.node_lines = vec![
        (1, "key-load-delay 500".into()),
        (1, "loading-process-events-interval-bytes 1024".into()),
    ];
    let mut group = Group::start(&world, options);
    let script = "for i=1,10000 do redis.call('set','k'..i,i) end";
    group.nodes[0].ask(&["EVAL", script, "0"]);
    group.nodes[1].wait_key("k10000", "10000");
    assert!(group.nodes[1].ask(&["SAVE"]).is_ok());
    let old = group.nodes[0].port;
    group.nodes[0].kill();
    group.nodes[1].kill();
    group.nodes[1].launch_without_waiting();
    let name = group.nodes[1].name();
    wait_log(&group.sentinels[0], &format!("slave {name} "));
    assert_eq!(group.wait_switched_from(old), 1);
    wait_log(&group.sentinels[0], "has loaded its data");
}

/// A user without the channel of the hellos: the nodes cannot be subscribed to, all else works.
#[test]
fn a_replica_that_cannot_be_subscribed_to_is_promoted() {
    let world = world!(only_ours: "it takes such a replica for unreachable");
    let user = watcher(&[]).replace("allchannels", "resetchannels");
    let options = |replica_of| NodeOptions {
        lines: vec![user.clone()],
        replica_of,
        ..NodeOptions::default()
    };
    let mut master = Node::start(&world, &options(None));
    let replica_of = Some((master.host.clone(), master.port));
    let replica = Node::start(&world, &options(replica_of));
    replica.wait_replica_of(master.port);
    let mut lines = vec![
        format!("sentinel monitor {MASTER} 127.0.0.1 {} 1", master.port),
        format!("sentinel down-after-milliseconds {MASTER} 1000"),
    ];
    lines.extend(as_watcher());
    let sentinel = Sentinel::start(&world, &SentinelOptions::with_lines(lines));
    wait::wait("the replica to be known", SHORT, || {
        let fields = sentinel.replica(MASTER, replica.port);
        let flags = fields.get("flags").cloned().unwrap_or_default();
        wait::expect_eq(flags, "slave,disconnected".into())?;
        wait::expect_eq(fields["master-link-status"].as_str(), "ok")
    });
    wait_log(&sentinel, &format!("SUBSCRIBE refused by slave {} ", replica.name()));
    master.kill();
    replica.wait_master();
    wait::wait("the new address", SHORT, || {
        let port = sentinel.address_port(MASTER).map_err(|error| error.to_string())?;
        wait::expect_eq(port, Some(replica.port))
    });
    assert!(replica.ask(&["ACL", "SETUSER", "watcher", "allchannels"]).is_ok());
    wait::wait("the link to be whole", SHORT, || {
        wait::expect_eq(sentinel.master_field(MASTER, "flags"), "master".into())
    });
    assert_eq!(count_log(&sentinel, &format!("SUBSCRIBE refused by slave {} ", replica.name())), 1);
}
