//! The sentinel whose saves are disturbed: it watches one master and is asked for votes.

use crate::support::client::Client;
use crate::support::fake::FakeMaster;
use crate::support::group::MASTER;
use crate::support::sentinel::{Sentinel, SentinelOptions};
use crate::support::value::Value;
use crate::support::wait::{self, SHORT};
use crate::support::world::World;
use std::fs;
use std::path::PathBuf;
use std::rc::Rc;

/// Down after so long without an answer: shorter than any of the disturbances.
pub const DOWN_AFTER_MS: u64 = 1500;

/// A vote as it is told: the leader (`*`: none) and its epoch.
pub type Told = (String, i64);

/// A sentinel, its master, and the text of its file when nothing is to be saved.
pub struct Voter {
    pub sentinel: Sentinel,
    pub old_text: String,
    pub master_port: String,
    _master: FakeMaster,
}

impl Voter {
    /// Starts it with its file in `dir` (none: the directory of the sentinel) and waits until its
    /// first saves are done.
    pub fn start(world: &Rc<World>, dir: Option<PathBuf>) -> Voter {
        Voter::with_lines(world, dir, &[])
    }

    /// As [`Voter::start`], with these lines at the front of the file.
    pub fn with_lines(world: &Rc<World>, dir: Option<PathBuf>, lines: &[String]) -> Voter {
        let port = world.port();
        let master = FakeMaster::start(port);
        let mut lines = lines.to_vec();
        lines.push(format!("sentinel monitor {MASTER} 127.0.0.1 {port} 2"));
        lines.push(format!("sentinel down-after-milliseconds {MASTER} {DOWN_AFTER_MS}"));
        let options = SentinelOptions { fast: false, ..SentinelOptions::with_lines(lines) };
        let mut sentinel = Sentinel::prepare(world, &options);
        if let Some(dir) = dir {
            let config = dir.join("sentinel.conf");
            fs::copy(&sentinel.config, &config).expect("the file is copied");
            sentinel.config = config;
        }
        sentinel.launch().expect("the sentinel starts");
        sentinel.ok(&["SENTINEL", "FLUSHCONFIG"]);
        let old_text = sentinel.config_text();
        let voter = Voter { sentinel, old_text, master_port: port.to_string(), _master: master };
        voter.wait_master_up();
        voter
    }

    /// Waits until the master is connected and up.
    pub fn wait_master_up(&self) {
        wait::wait("the master to be up", SHORT, || {
            wait::expect_eq(self.sentinel.master_field(MASTER, "flags").as_str(), "master")
        });
    }

    /// A request for a vote.
    pub fn ask_words(&self, epoch: i64, candidate: &str) -> Vec<String> {
        let (epoch, command) = (epoch.to_string(), "IS-MASTER-DOWN-BY-ADDR");
        let words = ["SENTINEL", command, "127.0.0.1", &self.master_port, &epoch, candidate];
        words.map(str::to_string).to_vec()
    }

    /// Sends a request for a vote.
    pub fn send_ask(&self, client: &mut Client, epoch: i64, candidate: &str) {
        let words = self.ask_words(epoch, candidate);
        let words: Vec<&[u8]> = words.iter().map(|word| word.as_bytes()).collect();
        client.send(&words).expect("the sentinel runs");
    }

    /// Asks for a vote.
    #[track_caller]
    pub fn ask(&self, epoch: i64, candidate: &str) -> Told {
        let mut client = self.sentinel.connect().expect("the sentinel accepts");
        self.send_ask(&mut client, epoch, candidate);
        told(&client.read().expect("an answer"))
    }

    /// Asks until there is a vote: on a disk that takes its time the first answer is the old one.
    #[track_caller]
    pub fn ask_until_voted(&self, epoch: i64, candidate: &str) -> Told {
        wait::wait("a vote", SHORT, || {
            let told = self.ask(epoch, candidate);
            wait::expect(told.0 != "*", &told).map(|()| told)
        })
    }

    /// What a vote came to that was told as `first`: that, or, if the save took longer than an
    /// answer may, what is told later.
    #[track_caller]
    pub fn told_or_voted(&self, first: Told, epoch: i64, candidate: &str) -> Told {
        if first.0 == "*" { self.ask_until_voted(epoch, candidate) } else { first }
    }

    /// Wants that neither the master nor time itself was misjudged.
    #[track_caller]
    pub fn assert_calm(&self) {
        let log = self.sentinel.log_text();
        assert!(!log.contains("+sdown"), "the master was held down:\n{log}");
        assert!(!log.contains("+tilt"), "tilt:\n{log}");
    }

    /// How often the log says that a save failed, for this reason.
    pub fn failures(&self, reason: &str) -> usize {
        let what = "WARNING: Sentinel was not able to save the new configuration on disk!!!";
        self.sentinel.log_text().matches(&format!("{what}: {reason}")).count()
    }
}

/// The vote in an answer.
#[track_caller]
pub fn told(reply: &Value) -> Told {
    match reply.items() {
        [Value::Int(_), leader @ Value::Bulk(_), Value::Int(epoch)] => (leader.text(), *epoch),
        _ => panic!("no vote but {reply:?}"),
    }
}

/// The id of a candidate.
pub fn id(letter: char) -> String {
    letter.to_string().repeat(40)
}
