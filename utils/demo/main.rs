//! A failover to watch: a primary with two replicas and three sentinels is started on free ports,
//! the primary is killed, and everything that the sentinels say about it is shown with its time.
//! Run it with `make demo`.
//!
//! Environment: `SENTINEL_PROGRAM` is the sentinel to show (default: the `sentineld` built beside
//! this program), `REDIS_SERVER` the data node (default: `redis-server`, else `valkey-server`).
//! The exit code is 0 only if the failover happened, writing works again and the old primary came
//! back as a replica. Nothing is left behind, however the demo ends.
#![forbid(unsafe_code)]

mod client;
mod events;
mod group;
mod guard;
mod writer;

use std::process::ExitCode;
use std::time::{Duration, Instant};

use events::{Event, Events};
use group::{DOWN_AFTER_MS, Group, NODE_NAMES};
use writer::Writer;

/// The whole demo never takes longer than this.
const OVERALL_LIMIT: Duration = Duration::from_secs(150);
const DISCOVERY_LIMIT: Duration = Duration::from_secs(40);
const FAILOVER_LIMIT: Duration = Duration::from_secs(45);
const RETURN_LIMIT: Duration = Duration::from_secs(60);

/// What goes wrong is told in one sentence.
type Outcome<T> = Result<T, String>;

fn main() -> ExitCode {
    std::thread::spawn(|| {
        std::thread::sleep(OVERALL_LIMIT);
        eprintln!("demo: not done after {} s, giving up", OVERALL_LIMIT.as_secs());
        // The guard sees this process end and cleans up.
        std::process::exit(1);
    });
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(why) => {
            eprintln!("\ndemo: {why}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> Outcome<()> {
    println!("A primary is killed; three sentinels put a replica in its place.\n");
    let mut group = Group::start()?;
    print_group(&group);
    let begun = Instant::now();
    group.wait("the sentinels to discover the group", DISCOVERY_LIMIT, |g| g.discovered())?;
    println!("Discovered after {} ms: each sentinel names A as the", begun.elapsed().as_millis());
    println!("master and knows 2 replicas and 2 other sentinels.");

    let mut events = Events::subscribe(&group)?;
    let writer = Writer::start(group.sentinel_ports());
    group.wait("a first write", DISCOVERY_LIMIT, |_| writer.count() >= 100)?;
    println!("A client asks a sentinel for the master and writes to it every 2 ms.\n");

    let killed = Instant::now();
    writer.mark();
    group.kill_primary();
    println!("kill -9 of the primary A. From here on, times are ms since the kill.\n");
    let mut story = Story::new(killed);
    println!("{:>7}  who  {:<34}  what it means", "ms", "event");
    story.watch(&mut group, &mut events, "a failover", FAILOVER_LIMIT, |group, story| {
        story.switched() && group.agreed_master().is_some_and(|at| group.follows(at))
    })?;
    let new = group.agreed_master().ok_or("the sentinels do not agree on a master")?;
    let written = |_: &mut Group, _: &mut Story| writer.outage().is_some();
    story.watch(&mut group, &mut events, "writes to go on", FAILOVER_LIMIT, written)?;
    print_topology(&group, "The group without A");

    println!("Starting the old primary again, at {} ms.\n", killed.elapsed().as_millis());
    group.restart_primary()?;
    let follows = |group: &mut Group, _: &mut Story| group.primary_follows(new);
    let what = "the old primary to become a replica";
    story.watch(&mut group, &mut events, what, RETURN_LIMIT, follows)?;
    let returned = killed.elapsed();
    print_topology(&group, "The group with A as a replica");
    print_summary(&story, &writer, new, returned)
}

fn print_group(group: &Group) {
    println!("sentinel   {}", group.sentinel_version);
    println!("data node  {}", group.node_version);
    for (node, name) in group.nodes.iter().zip(NODE_NAMES) {
        let role = if name == NODE_NAMES[0] { "primary" } else { "replica of A" };
        println!("{name}          127.0.0.1:{}  {role}", node.port);
    }
    for (number, port) in group.sentinel_ports().iter().enumerate() {
        println!("S{}         127.0.0.1:{port}  sentinel", number + 1);
    }
    println!("Settings: quorum 2, down-after-milliseconds {DOWN_AFTER_MS}.\n");
}

fn print_topology(group: &Group, title: &str) {
    println!("\n{title}:");
    for (at, name) in NODE_NAMES.iter().enumerate() {
        println!("  {name}  127.0.0.1:{}  {}", group.nodes[at].port, group.role(at));
    }
    for (number, answer) in group.masters_given().into_iter().enumerate() {
        let answer = answer.map_or("no master", |at| NODE_NAMES[at]);
        println!("  S{} gives the address of {answer}", number + 1);
    }
    println!();
}

fn print_summary(story: &Story, writer: &Writer, new: usize, returned: Duration) -> Outcome<()> {
    let name = NODE_NAMES[new];
    println!("In short, in ms since the kill:");
    let line = |ms: Option<i64>, text: &str| {
        if let Some(ms) = ms {
            println!("{ms:>7}  {text}");
        }
    };
    line(story.first("+sdown"), "a sentinel holds A for down");
    line(story.first("+odown"), "the quorum agrees");
    line(story.first("+elected-leader"), "a leader is elected by the majority");
    line(story.first("+promoted-slave"), &format!("{name} is the master"));
    line(story.last("+switch-master"), &format!("every sentinel gives the address of {name}"));
    line(Some(returned.as_millis() as i64), &format!("A is back as a replica of {name}"));
    let outage = writer.outage().ok_or("no write succeeded after the kill")?;
    let (last, next) = (story.since_kill_ms(outage.last), story.since_kill_ms(outage.next));
    println!("\nWrites were not possible for {} ms: the last one before was", outage.length_ms());
    println!("acknowledged at {last} ms, the first one after at {next} ms.");
    println!("{} of {} acknowledged writes were lost.", outage.lost, outage.acknowledged);
    Ok(())
}

/// What was seen since the kill.
struct Story {
    killed: Instant,
    seen: Vec<Event>,
}

impl Story {
    fn new(killed: Instant) -> Story {
        Story { killed, seen: Vec::new() }
    }

    /// Shows events as they come until `done`; an error names what was waited for.
    fn watch(
        &mut self,
        group: &mut Group,
        events: &mut Events,
        what: &str,
        limit: Duration,
        mut done: impl FnMut(&mut Group, &mut Story) -> bool,
    ) -> Outcome<()> {
        let until = Instant::now() + limit;
        loop {
            // What came before the condition held belongs above what is printed next.
            while let Some(event) = events.next(Duration::from_millis(20)) {
                let ms = self.since_kill_ms(event.at);
                let text = events.meaning(&event);
                let line = format!("{ms:>7}  S{}   {:<34}  {text}", event.sentinel + 1, event.name);
                println!("{}", line.trim_end());
                self.seen.push(event);
            }
            if done(group, self) {
                return Ok(());
            }
            group.check_alive()?;
            if Instant::now() > until {
                return Err(format!("waited {} s for {what} in vain", limit.as_secs()));
            }
        }
    }

    fn since_kill_ms(&self, at: Instant) -> i64 {
        match at.checked_duration_since(self.killed) {
            Some(after) => after.as_millis() as i64,
            None => -(self.killed.duration_since(at).as_millis() as i64),
        }
    }

    fn times<'a>(&'a self, name: &'a str) -> impl DoubleEndedIterator<Item = i64> + 'a {
        self.seen.iter().filter(move |e| e.name == name).map(|e| self.since_kill_ms(e.at))
    }

    fn first(&self, name: &str) -> Option<i64> {
        self.times(name).next()
    }

    fn last(&self, name: &str) -> Option<i64> {
        self.times(name).next_back()
    }

    /// Whether every sentinel has told its switch.
    fn switched(&self) -> bool {
        self.times("+switch-master").count() >= group::SENTINELS
    }
}
