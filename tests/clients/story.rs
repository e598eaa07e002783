//! The story that each client has to live through.

use super::clients::{Client, Variant};
use super::group::ClientGroup;
use super::output::{Output, Write};
use super::proxy::Journal;
use super::support::group::MASTER;
use super::support::node::Node;
use super::support::process::Process;
use super::support::wait::{self, LONG};
use super::support::world::World;
use std::fs;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

/// How many writes are waited for before the master is killed, and again afterwards.
const WRITES: usize = 10;
/// Longest time a client may be without writes, failover included.
const MAX_GAP_MS: u64 = 30_000;

/// Runs a client through a failover; gives its version and what was seen. Panics if it fails.
pub fn run(client: &Client, variant: Variant, journal: &Arc<Journal>) -> (String, String) {
    let world = World::open(&format!("clients::{}-{}", client.name, variant.name));
    let world = world.expect("redis-server is there");
    let mut group = ClientGroup::start(&world, variant, journal);
    let stop_file = world.path("stop");
    let output = Output::new(world.path("client.output"));
    let process = {
        let mut command = client.command();
        let file = fs::File::create(world.path("client.output")).expect("a file");
        command.stderr(file.try_clone().expect("one more descriptor")).stdout(file);
        command.env("SENTINELS", group.addresses()).env("MASTER", MASTER);
        command.env("SENTINEL_USER", variant.user).env("SENTINEL_PASSWORD", variant.password);
        command.env("DATA_PASSWORD", variant.data_password());
        command.env("RESP", variant.resp.to_string()).env("STOP_FILE", &stop_file);
        Process::spawn(&mut command).expect("the client starts")
    };
    world.watch_log(&world.path("client.output"));
    let discovered = wait_discovered(&process, &output, &group);
    wait_writes(&process, &output, 0);
    running(&process, &output, "a subscription", || output.word("subscribed"));

    let old_port = group.nodes[0].port;
    let killed_at_ms = now_ms();
    group.nodes[0].kill();
    let index = group.wait_switched_from(old_port);
    let new = &group.nodes[index];
    wait_writes(&process, &output, now_ms());
    let switched_ms = wait_event(&process, &output, old_port, new.port) - killed_at_ms;
    wait_counted(&world, new, &process, &output);

    fs::write(&stop_file, "").expect("the stop file is written");
    let code = process.wait("the client to end");
    assert_eq!(code, 0, "the client's exit code; {:?}", output.lines().last());
    assert_eq!(output.word("after"), Ok(format!("127.0.0.1:{}", new.port)));
    let refused = journal.errors().into_iter().find(|error| error.starts_with("-NO"));
    assert_eq!(refused, None, "what the sentinels refused");
    let gap_ms = longest_gap_ms(&output.writes());
    assert!(gap_ms < MAX_GAP_MS, "no writes for {gap_ms} ms");
    let version = output.word("version").unwrap_or_default();
    (version, format!("{discovered}, write gap {gap_ms} ms, +switch-master after {switched_ms} ms"))
}

/// Waits for a condition as long as the client runs.
#[track_caller]
fn running<T>(
    process: &Process,
    output: &Output,
    what: &str,
    mut probe: impl FnMut() -> Result<T, String>,
) -> T {
    wait::wait(what, LONG, || {
        let outcome = probe();
        if let (Err(seen), Some(code)) = (&outcome, process.exit_code()) {
            panic!("the client ended with code {code} before {what}: {seen}; {output:?}");
        }
        outcome
    })
}

/// Waits until it found everything; gives the text for the report.
fn wait_discovered(process: &Process, output: &Output, group: &ClientGroup) -> String {
    let found = running(process, output, "the discovery", || output.word("discovered"));
    let words: Vec<&str> = found.split(' ').collect();
    let [master, replicas, peers] = words[..] else { panic!("discovered {found:?}") };
    assert_eq!(master, format!("127.0.0.1:{}", group.nodes[0].port), "the master it found");
    let mut ports: Vec<u16> = group.nodes[1..].iter().map(|node| node.port).collect();
    ports.sort_unstable();
    let ports: Vec<String> = ports.iter().map(u16::to_string).collect();
    assert_eq!(replicas, ports.join(","), "the replicas it found");
    let mut text = format!("discovered the master and {} replicas", ports.len());
    if peers != "-" {
        assert_eq!(peers, (group.sentinels.len() - 1).to_string(), "the sentinels it found");
        text += &format!(" and {peers} sentinels");
    }
    text
}

/// Waits for a number of writes after a moment.
fn wait_writes(process: &Process, output: &Output, after_ms: u64) {
    running(process, output, "writes", || {
        let writes = output.writes();
        let count = writes.iter().filter(|write| write.at_ms > after_ms).count();
        wait::expect(count >= WRITES, (count, output.lines().last()))
    });
}

/// Waits for the event of the switch; gives its time.
fn wait_event(process: &Process, output: &Output, old_port: u16, new_port: u16) -> u64 {
    let wanted = format!("{MASTER} 127.0.0.1 {old_port} 127.0.0.1 {new_port}");
    running(process, output, "+switch-master", || {
        let events = output.events("+switch-master");
        let found = events.iter().find(|(_, text)| *text == wanted);
        found.map(|(at_ms, _)| *at_ms).ok_or_else(|| format!("{events:?}; {output:?}"))
    })
}

/// Waits until the new master itself shows what the client wrote.
fn wait_counted(world: &Rc<World>, master: &Node, process: &Process, output: &Output) {
    let last = output.writes().last().map_or(0, |write| write.value);
    running(process, output, &format!("the counter of {}", world.name), || {
        let reply = master.try_ask(&["GET", "counter"]).map_err(|error| error.to_string())?;
        let value: u64 = reply.text().parse().map_err(|_| reply.text())?;
        wait::expect(value >= last, (value, last))
    });
}

/// The longest time between two writes.
fn longest_gap_ms(writes: &[Write]) -> u64 {
    let gaps = writes.windows(2).map(|pair| pair[1].at_ms.saturating_sub(pair[0].at_ms));
    gaps.max().unwrap_or(u64::MAX)
}

fn now_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).expect("it is after 1970");
    since.as_millis() as u64
}
