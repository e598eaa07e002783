//! The same input among more clients or masters: it may become dearer only as far as looking
//! something up takes longer.
//!
//! Commands whose subject is everybody (CLIENT LIST, CLIENT KILL by anything but a number, changes
//! of users, PUBSUB, SENTINEL MASTERS and RESET) are not here: they are accounted for where they
//! run, and their clients wait for their turn.

use crate::rig::{Rig, request};
use sentineld::util::ident::ConnId;

/// So many and so many others. Search trees of both sizes have the same depth.
const FEW: usize = 400;
const MANY: usize = 2_200;
/// The most steps that each further one may add: looking at it takes at least three.
const EACH_MAX: f64 = 1.5;

/// Who else is there.
#[derive(Clone, Copy, Debug)]
enum Crowd {
    Idle,
    /// Clients that wait for their votes to be saved.
    Voting,
    /// Clients that CLIENT PAUSE holds.
    Paused,
    /// Clients that listen to what never comes.
    Subscribed,
    /// Masters, all of which one sentinel watches too.
    Masters,
}

const PEER: &str = "00000000000000000000000000000000000000aa";

fn words(line: &str) -> Vec<u8> {
    request(&line.split(' ').collect::<Vec<_>>())
}

impl Crowd {
    /// So many, and before them `others`, which are in front in every tree, whatever its size.
    fn gather(self, count: usize, others: usize) -> (Rig, Vec<ConnId>) {
        if let Crowd::Masters = self {
            let peer = |n| format!("sentinel known-sentinel m{n} 10.200.0.1 26379 {PEER}\n");
            let mut rig = Rig::with_lines(count, &(0..count).map(peer).collect::<String>());
            // The whole file is written with each save, and one is written at a time: none here.
            rig.holds_saves = true;
            let others = (0..others).map(|_| rig.client()).collect();
            let conn = rig.client();
            rig.give(conn, &words("SENTINEL FLUSHCONFIG"));
            return (rig, others);
        }
        let mut rig = Rig::new(4);
        let others = (0..others).map(|_| rig.client()).collect();
        if let Crowd::Paused = self {
            let conn = rig.client();
            rig.give(conn, &words("CLIENT PAUSE 1000000 WRITE"));
        }
        rig.holds_saves = matches!(self, Crowd::Voting);
        let ask = "SENTINEL IS-MASTER-DOWN-BY-ADDR 10.0.0.1 6379";
        for number in 0..count {
            let one = rig.client();
            let line = match self {
                Crowd::Idle | Crowd::Masters => "PING".into(),
                Crowd::Voting => format!("{ask} {number} {number:040}"),
                Crowd::Paused => "PUBLISH __sentinel__:hello x".into(),
                Crowd::Subscribed => format!("PSUBSCRIBE +x{number}*"),
            };
            rig.give(one, &words(&line));
        }
        (rig, others)
    }

    /// The cost of each of `inputs`, from a client each; an empty one: it leaves. LAST is the
    /// number of the last one in the crowd.
    fn costs(self, count: usize, inputs: &[&str]) -> Option<Vec<u64>> {
        let (mut rig, clients) = self.gather(count, inputs.len());
        let mut cost = |(input, conn): (&&str, ConnId)| {
            let bytes = words(&input.replace("LAST", &(count - 1).to_string()));
            rig.give(conn, &words("PING"));
            rig.steps(|rig| if input.is_empty() { rig.leave(conn) } else { rig.give(conn, &bytes) })
        };
        inputs.iter().zip(clients).map(&mut cost).collect()
    }
}

fn check(crowd: Crowd, inputs: &[&str]) {
    let mut found = String::new();
    let (Some(few), Some(many)) = (crowd.costs(FEW, inputs), crowd.costs(MANY, inputs)) else {
        return;
    };
    for (at, input) in inputs.iter().enumerate() {
        println!("{:48} {:7} {:7}", format!("{crowd:?}: {input}"), few[at], many[at]);
        let more = many[at].saturating_sub(few[at]) as f64;
        if more > EACH_MAX * (MANY - FEW) as f64 {
            found += &format!("{crowd:?}, {input:?}: {} steps, then {}\n", few[at], many[at]);
        }
    }
    assert!(found.is_empty(), "every other one adds to the work:\n{found}");
}

#[test]
fn among_idle_clients() {
    check(
        Crowd::Idle,
        &[
            "PING",
            "CLIENT SETNAME x",
            "CLIENT LIST ID 3",
            "CLIENT KILL ID 4",
            "CLIENT TRACKING on REDIRECT 3",
            "CLIENT UNPAUSE",
            "INFO clients",
            "AUTH x x",
            "HELLO 3",
            "SUBSCRIBE a",
            "PSUBSCRIBE a*",
            "RESET",
            "",
        ],
    );
}

#[test]
fn among_clients_that_wait() {
    check(Crowd::Voting, &["PING", ""]);
    check(Crowd::Paused, &["PING", ""]);
}

#[test]
fn among_subscribers() {
    check(
        Crowd::Subscribed,
        &["PING", "PSUBSCRIBE !a*", "SENTINEL MONITOR n 10.8.0.1 1 1", "RESET", ""],
    );
}

#[test]
fn among_masters() {
    check(
        Crowd::Masters,
        &[
            "PING",
            "SENTINEL MASTER m7",
            "SENTINEL SENTINELS m7",
            "SENTINEL CKQUORUM m7",
            "SENTINEL IS-MASTER-DOWN-BY-ADDR 10.0.0.8 6379 0 *",
            "SENTINEL SET m7 quorum 3",
            "SENTINEL REMOVE mLAST",
            "PUBLISH __sentinel__:hello 10.200.0.1,26379,\
             00000000000000000000000000000000000000aa,0,m9,10.0.0.10,6379,0",
        ],
    );
}
