//! Passwords, users and renamed commands.

use crate::support::client::Client;
use crate::support::group::{Group, GroupOptions, MASTER};
use crate::support::node::{Node, NodeOptions};
use crate::support::sentinel::{Sentinel, SentinelOptions};
use crate::support::wait::{self, LONG, SHORT};
use crate::world;

fn login(user: &str, password: &str) -> Option<(String, String)> {
    Some((user.into(), password.into()))
}

/// Kills the master and wants a replica in its place and the old one as its replica later.
#[track_caller]
fn fails_over_and_back(mut group: Group) {
    let old = group.nodes[0].port;
    group.nodes[0].kill();
    let new = group.wait_switched_from(old);
    group.wait_all_follow(new);
    group.nodes[0].restart();
    group.nodes[0].wait_replica_of(group.nodes[new].port);
}

#[test]
fn data_nodes_with_a_password() {
    let world = world!();
    let mut options = GroupOptions { replicas: 2, ..Default::default() };
    options.node.lines = vec!["requirepass s3cret".into(), "masterauth s3cret".into()];
    options.node.login = login("default", "s3cret");
    options.sentinel.lines = vec![format!("sentinel auth-pass {MASTER} s3cret")];
    fails_over_and_back(Group::start(&world, options));
}

#[test]
fn data_nodes_with_a_user_that_may_only_what_is_documented() {
    let world = world!();
    let user = "user watcher on >eyes allchannels +multi +slaveof +ping +exec +subscribe \
                +config|rewrite +role +publish +info +client|setname +client|kill +script|kill";
    let mut options = GroupOptions::default();
    options.node.lines = vec![user.into(), "requirepass s3cret".into(), "masterauth s3cret".into()];
    options.node.login = login("default", "s3cret");
    options.sentinel.lines = vec![
        format!("sentinel auth-pass {MASTER} eyes"),
        format!("sentinel auth-user {MASTER} watcher"),
    ];
    fails_over_and_back(Group::start(&world, options));
}

#[test]
fn a_wrong_password_is_set_right_at_run_time() {
    let world = world!();
    let node = Node::start(
        &world,
        &NodeOptions {
            lines: vec!["requirepass s3cret".into()],
            login: login("default", "s3cret"),
            ..NodeOptions::default()
        },
    );
    let lines = [
        format!("sentinel monitor {MASTER} 127.0.0.1 {} 1", node.port),
        format!("sentinel down-after-milliseconds {MASTER} 500"),
        format!("sentinel auth-pass {MASTER} wrong"),
    ];
    let sentinel = Sentinel::start(&world, &SentinelOptions::with_lines(lines));
    wait::wait("the master to be down for a wrong password", SHORT, || {
        let flags = sentinel.master_field(MASTER, "flags");
        wait::expect(flags.contains("s_down"), flags)
    });
    sentinel.ok(&["SENTINEL", "SET", MASTER, "auth-pass", "s3cret"]);
    wait::wait("the master to be up", LONG, || {
        wait::expect_eq(sentinel.master_field(MASTER, "flags"), "master".into())
    });
}

#[test]
fn sentinels_with_one_password() {
    let world = world!();
    let mut options = GroupOptions::default();
    options.sentinel.lines = vec!["requirepass gate".into(), "sentinel sentinel-pass gate".into()];
    options.sentinel.login = login("default", "gate");
    let group = Group::start(&world, options);
    let mut stranger = Client::connect(&group.sentinels[0].endpoint()).unwrap();
    let error = stranger.ask(&["SENTINEL", "MASTERS"]).unwrap();
    assert_eq!(error.error(), Some("NOAUTH Authentication required."));
    let error = stranger.ask(&["AUTH", "wrong"]).unwrap();
    let wanted = "WRONGPASS invalid username-password pair or user is disabled.";
    assert_eq!(error.error(), Some(wanted));
    assert!(stranger.ask(&["AUTH", "gate"]).unwrap().is_ok());
    assert_eq!(stranger.ask(&["SENTINEL", "MASTERS"]).unwrap().items().len(), 1);
    fails_over_and_back(group);
}

/// The peers use the sentinel's own password where nothing else is said.
#[test]
fn sentinels_with_only_requirepass() {
    let world = world!();
    let mut options = GroupOptions { sentinels: 2, ..Default::default() };
    options.sentinel.lines = vec!["requirepass gate".into()];
    options.sentinel.login = login("default", "gate");
    fails_over_and_back(Group::start(&world, options));
}

#[test]
fn sentinels_with_a_user_for_peers() {
    let world = world!();
    let user = "user peer on >talk resetchannels &__sentinel__:hello +ping +client|setname \
                +client|setinfo +publish +sentinel|is-master-down-by-addr";
    let mut options = GroupOptions { sentinels: 2, ..Default::default() };
    options.sentinel.lines = vec![
        user.into(),
        "requirepass gate".into(),
        "sentinel sentinel-user peer".into(),
        "sentinel sentinel-pass talk".into(),
    ];
    options.sentinel.login = login("default", "gate");
    fails_over_and_back(Group::start(&world, options));
}

#[test]
fn data_nodes_with_renamed_commands() {
    let world = world!();
    let names = ["SLAVEOF", "CONFIG", "CLIENT", "PUBLISH"];
    let mut options = GroupOptions::default();
    for name in names {
        options.node.lines.push(format!("rename-command {name} MY{name}"));
        let line = format!("sentinel rename-command {MASTER} {name} MY{name}");
        options.sentinel.lines.push(line);
    }
    let group = Group::start(&world, options);
    let old = group.nodes[0].port;
    group.sentinels[0].ok(&["SENTINEL", "FAILOVER", MASTER]);
    let new = group.wait_switched_from(old);
    group.wait_all_follow(new);
    // CONFIG REWRITE worked under its other name.
    let line = format!("replicaof 127.0.0.1 {}", group.nodes[new].port);
    wait::wait("the old master's file to name the new one", SHORT, || {
        let text = group.nodes[0].config_text();
        wait::expect(text.lines().any(|seen| seen == line), text)
    });
}
