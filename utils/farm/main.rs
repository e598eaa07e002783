//! A farm of pretend data nodes: one process that answers as thousands of servers would, each at
//! an address of its own in 127/8, so that sentinels can watch as many masters as a machine holds.
//!
//! Group g has a master and its replicas at the nodes g x (1 + replicas) and the following; node n
//! listens at 127.NET.(n / 250).(n mod 250 + 1). They answer PING, INFO of a real size, PUBLISH
//! (which reaches the subscribers of the node and of its replicas), SUBSCRIBE, SLAVEOF, MULTI,
//! CLIENT KILL, CONFIG REWRITE and what else a sentinel sends. Orders go to 127.0.0.1 at the same
//! port: `FARM HANG` (all masters stop answering, their connections stay), `FARM UNHANG`,
//! `FARM STATE`, `FARM QUIT`; so `redis-cli -p PORT farm hang` does.
//!
//! Options: `--port N` (one that is free at all addresses), `--net N` (1 to 254, default 64),
//! `--groups N` (default 100), `--replicas N` (default 2). `--config QUORUM` prints the lines
//! `sentinel monitor` of the groups, which are named m0, m1 and so on (`--first N`: the first
//! number), and ends.
#![forbid(unsafe_code)]

mod commands;
mod info;
mod nodes;
mod request;
mod server;

use std::process::ExitCode;

use nix::sys::resource::{Resource, getrlimit, setrlimit};

use nodes::{MAX_NODES, Nodes};
use server::Server;

struct Options {
    port: u16,
    net: u8,
    groups: usize,
    replicas: usize,
    first: usize,
    config: Option<usize>,
}

fn main() -> ExitCode {
    match options(std::env::args().skip(1)).and_then(|options| run(&options)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(why) => {
            eprintln!("farm: {why}");
            ExitCode::FAILURE
        }
    }
}

fn options(mut args: impl Iterator<Item = String>) -> Result<Options, String> {
    let mut found = Options { port: 0, net: 64, groups: 100, replicas: 2, first: 0, config: None };
    while let Some(arg) = args.next() {
        let value = args.next().and_then(|value| value.parse::<usize>().ok());
        let value = value.ok_or(format!("{arg} needs a number"))?;
        match arg.as_str() {
            "--port" => found.port = u16::try_from(value).map_err(|_| "no such port")?,
            "--net" => {
                let net = u8::try_from(value).ok().filter(|net| (1..255).contains(net));
                found.net = net.ok_or("--net takes 1 to 254")?;
            }
            "--groups" => found.groups = value,
            "--replicas" => found.replicas = value,
            "--first" => found.first = value,
            "--config" => found.config = Some(value),
            _ => return Err(format!("unknown option {arg}")),
        }
    }
    if found.port == 0 {
        return Err("--port is missing".to_string());
    }
    match found.groups.checked_mul(found.replicas.saturating_add(1)) {
        Some(1..=MAX_NODES) => Ok(found),
        _ => Err(format!("1 to {MAX_NODES} nodes fit")),
    }
}

fn run(options: &Options) -> Result<(), String> {
    let nodes = Nodes::new(options.groups, options.replicas, options.net, options.port);
    if let Some(quorum) = options.config {
        for group in 0..options.groups {
            let address = nodes.address(group * (options.replicas + 1));
            let (name, port) = (options.first + group, options.port);
            println!("sentinel monitor m{name} {address} {port} {quorum}");
        }
        return Ok(());
    }
    let (_, hard) = getrlimit(Resource::RLIMIT_NOFILE).map_err(|e| e.to_string())?;
    setrlimit(Resource::RLIMIT_NOFILE, hard, hard).map_err(|e| e.to_string())?;
    Server::new(nodes)?.run()
}
