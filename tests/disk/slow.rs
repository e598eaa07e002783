//! A disk whose fsync takes three seconds delays votes and nothing else.

use crate::support::client::Client;
use crate::support::pulse::Pulse;
use crate::support::wait::{self, SHORT};
use crate::tracer::{Stop, Tracer};
use crate::voter::{Told, Voter, id, told};
use crate::world;
use nix::libc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

const FSYNC: Duration = Duration::from_secs(3);
/// An answer to a PING may take so long.
const PROMPT: Duration = Duration::from_millis(50);
/// The machine itself may hold up one answer in a hundred, but none for as long as a sync takes.
const SLOW_SHARE: usize = 100;
const WORST: Duration = Duration::from_millis(1000);
/// A vote that cannot be saved is answered after 500 ms, less what rounding takes.
const VOTE_WAIT: Duration = Duration::from_millis(498);
const VOTE_WAIT_MAX: Duration = Duration::from_millis(1500);

/// How long each answer to a client took that sends a PING every few ms.
fn ping_until(mut client: Client, stop: &AtomicBool) -> Vec<Duration> {
    let mut times = Vec::new();
    while !stop.load(Ordering::Relaxed) {
        let start = Instant::now();
        let reply = client.ask(&["PING"]).expect("an answer");
        assert_eq!(reply.text(), "PONG");
        times.push(start.elapsed());
        std::thread::sleep(Duration::from_millis(5));
    }
    times
}

/// A vote, how long it took, and that the PING behind it on this connection came behind it.
fn ask_timed(voter: &Voter, epoch: i64, candidate: &str) -> (Told, Duration) {
    let mut client = voter.sentinel.connect().expect("the sentinel accepts");
    let start = Instant::now();
    voter.send_ask(&mut client, epoch, candidate);
    client.send(&[b"PING"]).expect("it runs");
    let answer = told(&client.read().expect("an answer"));
    let took = start.elapsed();
    assert_eq!(client.read().expect("an answer").text(), "PONG");
    (answer, took)
}

/// Lets one save go on, each fsync of which takes [`FSYNC`]; how many there were.
fn save_slowly(mut tracer: Tracer) -> usize {
    let (mut syncs, mut begun) = (0, false);
    loop {
        match tracer.next() {
            Stop::Call(number) => {
                begun = true;
                if matches!(number, libc::SYS_fsync | libc::SYS_fdatasync) {
                    syncs += 1;
                    std::thread::sleep(FSYNC);
                }
            }
            Stop::Idle if !begun => {}
            Stop::Idle | Stop::Gone => return syncs,
        }
    }
}

#[test]
fn fsync_takes_three_seconds() {
    let world = world!(only_ours: "it saves in its loop");
    let voter = Voter::start(&world, None);
    let tracer = match Tracer::of_disk_thread(voter.sentinel.process()) {
        Ok(tracer) => tracer,
        Err(reason) => return world.not_run(&reason),
    };
    let stop = AtomicBool::new(false);
    let pinging = voter.sentinel.connect().expect("the sentinel accepts");
    // The tracer belongs to this thread; the asking is done by others.
    let asking = voter.sentinel.connect().expect("the sentinel accepts");
    let mut first = voter.sentinel.connect().expect("the sentinel accepts");
    let start = Instant::now();
    voter.send_ask(&mut first, 1, &id('a'));
    let pulse = Pulse::start();
    let (pings, during, syncs) = std::thread::scope(|scope| {
        let pings = scope.spawn(|| ping_until(pinging, &stop));
        let request = voter.ask_words(1, &id('b'));
        let during = scope.spawn(move || ask_while_slow(first, asking, &request, start));
        let syncs = save_slowly(tracer);
        stop.store(true, Ordering::Relaxed);
        (pings.join().unwrap(), during.join().unwrap(), syncs)
    });
    let (took, usual) = (start.elapsed(), pulse.end());
    assert!(syncs >= 2 && took >= FSYNC * 2, "{syncs} syncs in {took:?}");
    usual.assert_rarely_slow("PONGs", &pings, (pings.len() / SLOW_SHARE, PROMPT, WORST));
    // Nothing was told while nothing was on the disk: neither the vote nor another one.
    for (answer, took) in &during {
        assert_eq!(*answer, ("*".to_string(), 0), "after {took:?}");
        assert!(*took >= VOTE_WAIT && *took <= VOTE_WAIT_MAX, "answered after {took:?}");
    }
    assert_eq!(during.len(), 2);
    println!("{} PINGs; votes refused: {during:?}", pings.len());
    // All of it catches up: the vote stands, and as soon as the disk is fast again votes are given
    // at once.
    assert_eq!(voter.ask(1, &id('b')), (id('a'), 1), "the vote that was saved");
    let mut epoch = 1;
    wait::wait("a vote at once", SHORT, || {
        epoch += 1;
        let (answer, took) = ask_timed(&voter, epoch, &id('b'));
        wait::expect(answer == (id('b'), epoch) && took < VOTE_WAIT, (answer, took))
    });
    voter.wait_master_up();
    voter.assert_calm();
    assert_eq!(voter.failures(""), 0);
}

/// The answer to the ask that is on its way, and to one of another candidate.
fn ask_while_slow(
    mut first: Client,
    mut second: Client,
    request: &[String],
    start: Instant,
) -> Vec<(Told, Duration)> {
    let one = (told(&first.read().expect("an answer")), start.elapsed());
    let words: Vec<&str> = request.iter().map(String::as_str).collect();
    let start = Instant::now();
    let reply = second.ask(&words).expect("an answer");
    vec![one, (told(&reply), start.elapsed())]
}
