//! A sentinel that was stopped itself must not take the others for dead.

use crate::support::fake::FakeMaster;
use crate::support::group::{Group, GroupOptions, MASTER};
use crate::support::pulse::Pulse;
use crate::support::sentinel::{Sentinel, SentinelOptions};
use crate::support::value::Value;
use crate::support::wait::{self, LONG, SHORT};
use crate::world;
use std::process::Command;
use std::time::{Duration, Instant};

/// Freezes a sentinel for a span; the span is what is tested, so it is slept.
fn stop_for(sentinel: &Sentinel, span: Duration) {
    sentinel.freeze();
    std::thread::sleep(span);
    sentinel.thaw();
}

/// Waits until the instances have answered a PING that was sent after this call.
fn wait_fresh_pongs(sentinel: &Sentinel) {
    let start = Instant::now();
    wait::wait("fresh answers of all nodes", SHORT, || {
        let mut instances = sentinel.replicas(MASTER);
        instances.push(sentinel.master(MASTER));
        for instance in &instances {
            let age: u128 = instance["last-ok-ping-reply"].parse().map_err(|_| "no number")?;
            wait::expect(age < start.elapsed().as_millis(), instance)?;
        }
        Ok(())
    });
}

/// The answer to a PING comes in while the sentinel is stopped, and lies there unread for longer
/// than down-after: it must be read before anything is judged.
#[test]
fn a_short_stop_declares_nobody_down() {
    let world = world!(only_ours: "it may judge before it has read what came meanwhile");
    let options =
        GroupOptions { down_after_ms: 1000, sentinels: 1, quorum: 1, ..Default::default() };
    let group = Group::start(&world, options);
    let sentinel = &group.sentinels[0];
    for _ in 0..3 {
        group.nodes[0].freeze();
        wait::wait("a PING without an answer", SHORT, || {
            let age = sentinel.master_field(MASTER, "last-ping-sent");
            wait::expect(age != "0", age)
        });
        sentinel.freeze();
        group.nodes[0].thaw();
        // The span is what is tested, so it is slept.
        std::thread::sleep(Duration::from_millis(1500));
        sentinel.thaw();
        wait_fresh_pongs(sentinel);
    }
    let log = sentinel.log_text();
    assert!(!log.contains("+sdown"), "{log}");
    assert!(!log.contains("+tilt"), "{log}");
    assert_eq!(group.agreed_port(), Ok(group.nodes[0].port));
}

#[test]
fn a_long_stop_means_tilt_and_no_action() {
    let world = world!();
    let mut group = Group::new(&world, 1, 1);
    group.sentinels[0].ok(&["SENTINEL", "DEBUG", "tilt-period", "3000"]);
    let recorder = group.sentinels[0].record();
    stop_for(&group.sentinels[0], Duration::from_secs(4));
    assert_eq!(recorder.wait("+tilt", ""), "#tilt mode entered");
    let since = Instant::now();
    assert_eq!(group.sentinels[0].info()["sentinel_tilt"], "1");
    // In tilt it watches but judges nobody.
    group.nodes[0].kill();
    let recorded = recorder.wait("-tilt", "");
    assert_eq!(recorded, "#tilt mode exited");
    assert!(since.elapsed() > Duration::from_secs(2), "tilt ended after {:?}", since.elapsed());
    let names = recorder.names();
    let end = names.iter().position(|name| name == "-tilt").unwrap();
    let acted = names[..end].iter().any(|name| name == "+odown" || name == "+try-failover");
    assert!(!acted, "{:#?}", recorder.lines());
    assert_eq!(group.sentinels[0].info()["sentinel_tilt"], "0");
    // Afterwards it acts again.
    group.wait_switched_from(group.nodes[0].port);
}

#[test]
fn in_tilt_the_master_is_not_told_to_be_down_but_votes_are_given() {
    let world = world!();
    let port = world.port();
    let lines = [
        format!("sentinel monitor {MASTER} 127.0.0.1 {port} 1"),
        format!("sentinel down-after-milliseconds {MASTER} 300"),
    ];
    let sentinel = Sentinel::start(&world, &SentinelOptions::with_lines(lines));
    let text = port.to_string();
    let id = "a".repeat(40);
    let ask = |epoch: &str, candidate: &str| {
        let command = "IS-MASTER-DOWN-BY-ADDR";
        let words = ["SENTINEL", command, "127.0.0.1", &text, epoch, candidate];
        sentinel.ask(&words).texts()
    };
    wait::wait("the master to be down", SHORT, || wait::expect_eq(ask("0", "*")[0].as_str(), "1"));
    sentinel.ok(&["SENTINEL", "DEBUG", "tilt-trigger", "1000"]);
    stop_for(&sentinel, Duration::from_millis(2500));
    wait::wait("tilt", SHORT, || wait::expect_eq(sentinel.info()["sentinel_tilt"].as_str(), "1"));
    assert_eq!(ask("0", "*"), ["0", "*", "0"]);
    // An own candidacy may have used some epochs.
    assert_eq!(ask("500", &id), ["0", &id, "500"]);
}

/// While the disk takes three seconds for each fsync, only a vote waits.
#[test]
fn a_slow_disk_holds_up_nothing_but_votes() {
    let world = world!(only_ours: "it stands still while the disk does");
    if !world.need("cc") {
        return;
    }
    let library = world.path("slow_fsync.so");
    let source = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/support/slow_fsync.c");
    let built = Command::new("cc")
        .args(["-shared", "-fPIC", "-O1", "-o"])
        .args([library.as_os_str(), source.as_ref(), "-ldl".as_ref()])
        .status();
    assert!(built.is_ok_and(|status| status.success()), "{source} does not compile");
    let port = world.port();
    let master = FakeMaster::start(port);
    let mut options = SentinelOptions::with_lines([
        format!("sentinel monitor {MASTER} 127.0.0.1 {port} 2"),
        format!("sentinel down-after-milliseconds {MASTER} 1000"),
        format!("sentinel myid {}", "e".repeat(40)),
    ]);
    options.environment = vec![
        ("LD_PRELOAD".into(), library.display().to_string()),
        ("SLOW_FSYNC_MS".into(), "3000".into()),
    ];
    let sentinel = Sentinel::start(&world, &options);
    wait_fresh_pongs(&sentinel);

    let mut voter = sentinel.connect().unwrap();
    voter.set_timeout(LONG).unwrap();
    let (text, id) = (port.to_string(), "a".repeat(40));
    let command = "IS-MASTER-DOWN-BY-ADDR";
    let words = ["SENTINEL", command, "127.0.0.1", &text, "3", &id];
    let begin = Instant::now();
    let request: Vec<&[u8]> = words.iter().map(|word| word.as_bytes()).collect();
    voter.send(&request).unwrap();

    let mut client = sentinel.connect().unwrap();
    let (pulse, mut answer_times) = (Pulse::start(), Vec::new());
    while begin.elapsed() < Duration::from_millis(2800) {
        let sent = Instant::now();
        client.ask(&["SENTINEL", "GET-MASTER-ADDR-BY-NAME", MASTER]).unwrap();
        answer_times.push(sent.elapsed());
        let age = sentinel.master_field(MASTER, "last-ok-ping-reply");
        assert!(age.parse::<u32>().is_ok_and(|age| age < 700), "last good PONG {age} ms ago");
        std::thread::sleep(Duration::from_millis(20));
    }
    let (usual, end) = (pulse.end(), Instant::now());
    // Nearly always within 100 ms, and never the seconds that the disk takes.
    let (slow, worst) = (Duration::from_millis(100), Duration::from_millis(700));
    let limits = (answer_times.len() / 10, slow, worst);
    usual.assert_rarely_slow("answers to a client", &answer_times, limits);
    let pings: Vec<Instant> =
        master.pings().into_iter().filter(|at| *at > begin && *at < end).collect();
    assert!(pings.len() >= 10, "{} PINGs in {:?}", pings.len(), end - begin);
    // PINGs come every 100 ms, a tenth of down-after.
    let gaps = pings.windows(2).map(|pair| (pair[1] - pair[0]).saturating_sub(PING_PERIOD));
    let gaps: Vec<Duration> = gaps.collect();
    usual.assert_rarely_slow("PINGs", &gaps, (gaps.len() / 10, slow, worst));

    // The vote: told only once it is on disk, or refused while it is not.
    let answer = voter.read().unwrap().texts();
    let took = begin.elapsed();
    assert!(answer[1] == "*" || took >= Duration::from_millis(2900), "{answer:?} after {took:?}");
    let recorder = sentinel.log_text();
    assert!(!recorder.contains("+sdown") && !recorder.contains("+tilt"), "{recorder}");
    wait::wait("the vote to be on disk", LONG, || {
        wait::expect_eq(sentinel.state_lines("leader-epoch"), vec![format!("{MASTER} 3")])
    });
    assert_eq!(sentinel.ask(&["PING"]), Value::Simple("PONG".into()));
}

/// The period of PINGs at a down-after of one second.
const PING_PERIOD: Duration = Duration::from_millis(100);
