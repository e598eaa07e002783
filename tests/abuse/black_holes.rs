//! Connects that hang, hundreds of them: a listener whose backlog is full and that nobody accepts
//! from drops every SYN, as a rack behind a dead switch does. The masters that answer beside them
//! are watched as if nothing had happened.

use crate::house::alone;
use crate::support::sentinel::{Sentinel, SentinelOptions};
use crate::support::wait::{self, LONG, SHORT};
use crate::world;
use crate::zone::{Facts, Zone};
use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::time::Duration;

const HEALTHY_NET: u8 = 71;
const DEAD_NET: u8 = 72;

fn monitor(name: &str, at: SocketAddr, down_after_ms: u64) -> [String; 2] {
    [
        format!("sentinel monitor {name} {} {} 1", at.ip(), at.port()),
        format!("sentinel down-after-milliseconds {name} {down_after_ms}"),
    ]
}

/// Names of masters that were ever held down, by the log.
fn ever_down(sentinel: &Sentinel) -> BTreeSet<String> {
    let log = sentinel.log_text();
    let name = |line: &str| {
        let (_, rest) = line.split_once("+sdown master ")?;
        rest.split(' ').next().map(str::to_string)
    };
    log.lines().filter_map(name).collect()
}

/// Waits until all masters whose name begins so have, or have not, the flag s_down.
#[track_caller]
fn wait_down(sentinel: &Sentinel, prefix: &str, count: usize) {
    wait::wait(&format!("{count} {prefix} to be down"), LONG, || {
        let down = ever_down(sentinel).iter().filter(|name| name.starts_with(prefix)).count();
        wait::expect(down == count, down)
    });
}

/// Masters with a subscription and a command connection that has brought INFO.
fn connected(sentinel: &Sentinel, prefix: &str) -> usize {
    let masters = sentinel.ask(&["SENTINEL", "MASTERS"]);
    let masters = masters.items().iter().map(crate::support::value::Value::table);
    masters
        .filter(|master| master["name"].starts_with(prefix))
        .filter(|master| master["flags"] == "master" && !master["runid"].is_empty())
        .count()
}

/// The connects to the dead ones began first and never end; they must not use up the time of the
/// one that answers.
#[test]
fn hanging_connects_take_no_healthy_master_with_them() {
    let world = world!();
    let _alone = alone();
    let mut dead = Zone::start(world.port(), DEAD_NET);
    dead.fall_silent();
    let healthy = Zone::start(world.port(), HEALTHY_NET);
    let mut lines: Vec<String> =
        (0..400).flat_map(|n| monitor(&format!("dead{n}"), dead.at(n), 3000)).collect();
    lines.extend(monitor("healthy", healthy.at(0), 3000));
    let sentinel = Sentinel::start(&world, &SentinelOptions::with_lines(lines));
    let (mut looks, mut down) = (0, 0);
    while looks < 160 {
        let flags = sentinel.master_field("healthy", "flags");
        looks += 1;
        down += usize::from(flags.contains("s_down"));
        std::thread::sleep(Duration::from_millis(75));
    }
    assert_eq!(down, 0, "of {looks} looks");
    assert!(!ever_down(&sentinel).contains("healthy"));
    wait_down(&sentinel, "dead", 400);
}

/// A zone with the masters falls silent: they are failed over to replicas elsewhere, which closes
/// connections of ours there, and everybody who answers stays up meanwhile and afterwards.
#[test]
fn a_silent_zone_takes_no_healthy_master_with_it() {
    const LOST: usize = 350;
    const HEALTHY: usize = 60;
    let world = world!();
    let _alone = alone();
    let mut dead = Zone::start(world.port(), DEAD_NET);
    let healthy = Zone::start(world.port(), HEALTHY_NET);
    let mut lines = Vec::new();
    for n in 0..LOST {
        // The replicas are behind the healthy masters in their net.
        let (master, replica) = (dead.at(n), healthy.at(HEALTHY + n));
        dead.set(n, Facts { master: None, replicas: vec![replica] });
        healthy.set(HEALTHY + n, Facts { master: Some(master), replicas: Vec::new() });
        lines.extend(monitor(&format!("lost{n}"), master, 2000));
    }
    lines.extend((0..HEALTHY).flat_map(|n| monitor(&format!("healthy{n}"), healthy.at(n), 2000)));
    for n in 0..HEALTHY {
        healthy.set(n, Facts::default());
    }
    let sentinel = Sentinel::start(&world, &SentinelOptions::with_lines(lines));
    wait::wait("everything to be connected", SHORT, || {
        let all = (connected(&sentinel, "healthy"), connected(&sentinel, "lost"));
        wait::expect(all == (HEALTHY, LOST), all)?;
        let masters = sentinel.ask(&["SENTINEL", "MASTERS"]);
        let replicas = masters.items().iter().filter(|m| m.table()["num-slaves"] == "1").count();
        wait::expect(replicas == LOST, replicas)
    });
    // Links that bring nothing are made anew soon, and these connects hang.
    sentinel.ok(&["SENTINEL", "DEBUG", "min-link-reconnect-period", "1000"]);
    dead.fall_silent();
    wait::wait("all that is lost to be failed over", LONG, || {
        let masters = healthy.masters();
        wait::expect(masters == HEALTHY + LOST, masters)
    });
    wait_down(&sentinel, "lost", LOST);
    sentinel.ok(&["SENTINEL", "DEBUG", "min-link-reconnect-period", "15000"]);
    // Their links are broken again and again, with all the hanging connects beside them.
    for _ in 0..4 {
        healthy.kick();
        // Longer than down-after.
        wait::holds("the healthy ones stay up", Duration::from_millis(2500), || {
            let down = ever_down(&sentinel);
            let down: Vec<&String> = down.iter().filter(|n| n.starts_with("healthy")).collect();
            wait::expect(down.is_empty(), down)
        });
        wait::wait("the healthy ones to be connected again", SHORT, || {
            let count = connected(&sentinel, "healthy");
            wait::expect(count == HEALTHY, count)
        });
    }
    // And what was lost is found again.
    dead.come_back();
    wait::wait("the zone to be back", LONG, || {
        let log = sentinel.log_text();
        let up = log.lines().filter(|line| line.contains("-sdown slave")).count();
        wait::expect(up == LOST, up)
    });
}
