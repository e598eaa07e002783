//! Votes as a peer sees them: one per master and epoch, kept over everything.

use crate::support::group::MASTER;
use crate::support::sentinel::{Sentinel, SentinelOptions};
use crate::support::value::Value;
use crate::support::wait::{self, SHORT};
use crate::support::world::World;
use crate::world;
use std::rc::Rc;

/// A voter that watches an address where nobody listens.
struct Voter {
    sentinel: Sentinel,
    port: String,
}

/// Down state, leader and leader epoch.
type Answer = (i64, String, i64);

impl Voter {
    fn start(world: &Rc<World>) -> Voter {
        let port = world.port().to_string();
        let lines = [
            format!("sentinel monitor {MASTER} 127.0.0.1 {port} 2"),
            format!("sentinel down-after-milliseconds {MASTER} 60000"),
        ];
        let sentinel = Sentinel::start(world, &SentinelOptions::with_lines(lines));
        Voter { sentinel, port }
    }

    #[track_caller]
    fn ask(&self, epoch: i64, candidate: &str) -> Answer {
        self.ask_about(&self.port, epoch, candidate)
    }

    #[track_caller]
    fn ask_about(&self, port: &str, epoch: i64, candidate: &str) -> Answer {
        let epoch = epoch.to_string();
        let command = "IS-MASTER-DOWN-BY-ADDR";
        let words = ["SENTINEL", command, "127.0.0.1", port, &epoch, candidate];
        let reply = self.sentinel.ask(&words);
        match reply.items() {
            [Value::Int(down), leader @ Value::Bulk(_), Value::Int(epoch)] => {
                (*down, leader.text(), *epoch)
            }
            _ => panic!("{words:?} is answered by {reply:?}"),
        }
    }
}

fn id(letter: char) -> String {
    letter.to_string().repeat(40)
}

#[test]
fn one_vote_per_epoch() {
    let world = world!();
    let voter = Voter::start(&world);
    let recorder = voter.sentinel.record();
    let (a, b) = (id('a'), id('b'));
    assert_eq!(voter.ask(3, "*"), (0, "*".into(), 0));
    assert_eq!(voter.ask(5, &a), (0, a.clone(), 5));
    assert_eq!(voter.ask(5, &b), (0, a.clone(), 5), "a second vote in the same epoch");
    assert_eq!(voter.ask(4, &b), (0, a.clone(), 5), "a vote in an older epoch");
    assert_eq!(voter.ask(6, &b), (0, b.clone(), 6));
    assert_eq!(voter.ask_about("1", 9, &a), (0, "*".into(), 0), "an unknown master");
    recorder.wait("+vote-for-leader", &format!("{b} 6"));
    recorder.assert_order(&["+new-epoch", "+vote-for-leader", "+new-epoch", "+vote-for-leader"]);
    assert_eq!(recorder.texts("+new-epoch"), ["5", "6"]);
    assert_eq!(recorder.texts("+vote-for-leader"), [format!("{a} 5"), format!("{b} 6")]);
}

/// The answer leaves after the vote is in the file: a kill right behind it loses nothing.
#[test]
fn vote_survives_a_kill() {
    let world = world!();
    let mut voter = Voter::start(&world);
    for epoch in 1..=5 {
        let (first, second) = (id('a'), id('b'));
        assert_eq!(voter.ask(epoch, &first), (0, first, epoch));
        voter.sentinel.kill();
        assert_eq!(voter.sentinel.state_lines("current-epoch"), [epoch.to_string()]);
        let line = format!("{MASTER} {epoch}");
        assert_eq!(voter.sentinel.state_lines("leader-epoch"), [line]);
        voter.sentinel.restart();
        // The leader's name is not kept, but that the vote is spent.
        assert_eq!(voter.ask(epoch, &second), (0, "*".into(), epoch), "a second vote");
    }
}

#[test]
fn vote_survives_a_reset() {
    let world = world!();
    let voter = Voter::start(&world);
    let (a, b) = (id('a'), id('b'));
    assert_eq!(voter.ask(8, &a), (0, a, 8));
    assert_eq!(voter.sentinel.ask(&["SENTINEL", "RESET", "*"]), Value::Int(1));
    assert_eq!(voter.ask(8, &b), (0, "*".into(), 8), "a second vote");
    assert_eq!(voter.ask(9, &b), (0, b, 9));
}

#[test]
fn vote_survives_remove_and_monitor() {
    let world = world!(only_ours: "it votes again after REMOVE and MONITOR");
    let mut voter = Voter::start(&world);
    let (a, b) = (id('a'), id('b'));
    assert_eq!(voter.ask(8, &a), (0, a, 8));
    for restart in [false, true] {
        voter.sentinel.ok(&["SENTINEL", "REMOVE", MASTER]);
        if restart {
            voter.sentinel.restart();
        }
        let port = voter.port.clone();
        voter.sentinel.ok(&["SENTINEL", "MONITOR", MASTER, "127.0.0.1", &port, "2"]);
        let (_, leader, _) = voter.ask(8, &b);
        assert_eq!(leader, "*", "a second vote, restarted between: {restart}");
    }
    assert_eq!(voter.ask(9, &b), (0, b, 9));
}

#[test]
fn votes_of_two_masters_do_not_touch_each_other() {
    let world = world!();
    let voter = Voter::start(&world);
    let other = world.port().to_string();
    voter.sentinel.ok(&["SENTINEL", "MONITOR", "second", "127.0.0.1", &other, "2"]);
    let (a, b) = (id('a'), id('b'));
    assert_eq!(voter.ask(4, &a), (0, a.clone(), 4));
    assert_eq!(voter.ask_about(&other, 4, &b), (0, b.clone(), 4));
    assert_eq!(voter.ask(4, &b), (0, a, 4));
}

#[test]
fn epochs_that_are_no_numbers_are_refused() {
    let world = world!();
    let voter = Voter::start(&world);
    let ask = |port: &str, epoch: &str| {
        let command = "IS-MASTER-DOWN-BY-ADDR";
        voter.sentinel.ask(&["SENTINEL", command, "127.0.0.1", port, epoch, &id('a')])
    };
    let wanted = Some("ERR value is not an integer or out of range");
    assert_eq!(ask(&voter.port, "soon").error(), wanted);
    assert_eq!(ask("here", "1").error(), wanted);
    assert_eq!(ask(&voter.port, "99999999999999999999").error(), wanted);
    assert_eq!(voter.ask(1, "*"), (0, "*".into(), 0));
}

/// An epoch below zero, read as a huge one, would end all elections.
#[test]
fn negative_epochs_are_refused() {
    let world = world!(only_ours: "it adopts them as huge numbers");
    let voter = Voter::start(&world);
    let command = "IS-MASTER-DOWN-BY-ADDR";
    let words = ["SENTINEL", command, "127.0.0.1", &voter.port, "-1", &id('a')];
    let reply = voter.sentinel.ask(&words);
    assert_eq!(reply.error(), Some("ERR value is not an integer or out of range"));
    assert_eq!(voter.ask(1, &id('b')), (0, id('b'), 1));
}

#[test]
fn a_peer_hears_that_the_master_is_down() {
    let world = world!();
    let voter = Voter::start(&world);
    assert_eq!(voter.ask(0, "*"), (0, "*".into(), 0));
    voter.sentinel.ok(&["SENTINEL", "SET", MASTER, "down-after-milliseconds", "100"]);
    wait::wait("the answer to be 1", SHORT, || wait::expect_eq(voter.ask(0, "*").0, 1));
}
