//! No descriptor left.

use crate::house::{House, MASTER};
use crate::raw::Raw;
use crate::support::wait::{self, SHORT};
use crate::support::world::find_program;
use crate::world;
use std::process::Command;
use std::time::Duration;

fn limit(house: &House, descriptors: usize) {
    let pid = house.gauge.0.to_string();
    let value = format!("--nofile={descriptors}:20000");
    let done = Command::new("prlimit").args(["--pid", &pid, &value]).status().unwrap();
    assert!(done.success(), "prlimit {value}");
}

/// How many of these clients get an answer to a PING within a moment.
fn answered(clients: &mut [Raw]) -> usize {
    let mut count = 0;
    for raw in clients {
        raw.stream.set_read_timeout(Some(Duration::from_millis(20))).unwrap();
        let mut pong = [0; 7];
        raw.send(b"PING\r\n");
        count += usize::from(std::io::Read::read(&mut raw.stream, &mut pong).is_ok_and(|n| n > 0));
    }
    count
}

#[test]
fn all_descriptors_used() {
    let world = world!();
    if find_program("prlimit").is_none() {
        return world.not_run("prlimit");
    }
    let house = House::new(&world, &[]);
    let before = house.gauge.descriptors();
    limit(&house, before + 10);
    let mut clients: Vec<Raw> = (0..40).map(|_| house.raw()).collect();
    let count = answered(&mut clients);
    assert!((8..=12).contains(&count), "{count} were served");
    // Those that wait cost nothing.
    let ticks = house.gauge.ticks();
    std::thread::sleep(Duration::from_secs(1));
    let ticks = house.gauge.ticks() - ticks;
    assert!(ticks <= 15, "{ticks} ticks in a second while clients wait for a descriptor");
    let said = house.sentinel.log_text().matches("accept: Too many open files").count();
    assert!((1..=8).contains(&said), "said {said} times");
    // A save needs a descriptor too: it fails, and is said to have failed.
    clients[0].stream.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
    clients[0].send(format!("SENTINEL SET {MASTER} quorum 1\r\n").as_bytes());
    let wanted = b"-ERR Failed to save config file. Check server logs.\r\n";
    assert_eq!(clients[0].read_exact(wanted.len()), wanted);
    // One goes, another one comes.
    clients.truncate(35);
    clients.drain(..5);
    wait::wait("others to be served in their place", SHORT, || {
        let count = answered(&mut clients[5..10]);
        wait::expect(count == 5, count)
    });
    limit(&house, 20_000);
    wait::wait("all to be served", SHORT, || {
        let count = answered(&mut clients);
        wait::expect(count == clients.len(), count)
    });
    house.sentinel.ok(&["SENTINEL", "SET", MASTER, "quorum", "1"]);
    drop(clients);
    house.finish();
}
