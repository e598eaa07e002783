//! redis_exporter, which looks at a sentinel: it is scraped before and after a failover.

use super::clients::{Client, Variant};
use super::group::ClientGroup;
use super::proxy::Journal;
use super::support::group::MASTER;
use super::support::process::Process;
use super::support::wait::{self, LONG};
use super::support::world::World;
use std::fs;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpStream};
use std::sync::Arc;
use std::time::Duration;

/// How long a scrape may take.
const SCRAPE_TIMEOUT: Duration = Duration::from_secs(10);

/// Runs the exporter beside a failover; gives its version and what was seen.
pub fn run(client: &Client, variant: Variant, journal: &Arc<Journal>) -> (String, String) {
    let world = World::open(&format!("clients::{}-{}", client.name, variant.name));
    let world = world.expect("redis-server is there");
    let mut group = ClientGroup::start(&world, variant, journal);
    let port = world.port();
    let mut command = client.command();
    let file = fs::File::create(world.path("exporter.output")).expect("a file");
    command.stderr(file.try_clone().expect("one more descriptor")).stdout(file);
    command.arg("-web.listen-address").arg(format!("127.0.0.1:{port}"));
    command.arg("-redis.addr").arg(format!("redis://127.0.0.1:{}", group.proxies[0].port));
    if !variant.password.is_empty() {
        command.arg("-redis.password").arg(variant.password);
    }
    if !variant.user.is_empty() {
        command.arg("-redis.user").arg(variant.user);
    }
    let _process = Process::spawn(&mut command).expect("the exporter starts");
    world.watch_log(&world.path("exporter.output"));

    let old_port = group.nodes[0].port;
    let text = wait::wait("the metrics of the master", LONG, || {
        let text = scrape(port)?;
        expect_metrics(&text, old_port)?;
        Ok(text)
    });
    group.nodes[0].kill();
    let index = group.wait_switched_from(old_port);
    let new_port = group.nodes[index].port;
    wait::wait("the metrics of the new master", LONG, || {
        let text = scrape(port)?;
        expect_sample(&text, &status(new_port), "1")
    });
    let count = text.lines().filter(|line| line.starts_with("redis_sentinel_")).count();
    (version(client), format!("{count} sentinel metrics, the new address after the failover"))
}

fn status(port: u16) -> String {
    let address = format!("master_address=\"127.0.0.1:{port}\",master_name=\"{MASTER}\"");
    format!("redis_sentinel_master_status{{{address},master_status=\"ok\"}}")
}

fn expect_metrics(text: &str, port: u16) -> Result<(), String> {
    let address = format!("master_address=\"127.0.0.1:{port}\",master_name=\"{MASTER}\"");
    expect_sample(text, "redis_up", "1")?;
    expect_sample(text, "redis_exporter_last_scrape_error{err=\"\"}", "0")?;
    expect_sample(text, "redis_sentinel_masters", "1")?;
    expect_sample(text, "redis_sentinel_tilt", "0")?;
    expect_sample(text, &status(port), "1")?;
    expect_sample(text, &format!("redis_sentinel_master_slaves{{{address}}}"), "2")?;
    expect_sample(text, &format!("redis_sentinel_master_ok_slaves{{{address}}}"), "2")?;
    expect_sample(text, &format!("redis_sentinel_master_sentinels{{{address}}}"), "3")?;
    expect_sample(text, &format!("redis_sentinel_master_ok_sentinels{{{address}}}"), "3")
}

fn expect_sample(text: &str, name: &str, value: &str) -> Result<(), String> {
    let line = format!("{name} {value}");
    let family = name.split('{').next().unwrap_or(name);
    let seen: Vec<&str> = text.lines().filter(|seen| seen.starts_with(family)).collect();
    wait::expect(seen.contains(&line.as_str()), (line, seen))
}

/// The metrics as text.
fn scrape(port: u16) -> Result<String, String> {
    let ask = || -> std::io::Result<String> {
        let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port))?;
        stream.set_read_timeout(Some(SCRAPE_TIMEOUT))?;
        stream.write_all(b"GET /metrics HTTP/1.0\r\n\r\n")?;
        let mut bytes = Vec::new();
        stream.read_to_end(&mut bytes)?;
        Ok(String::from_utf8_lossy(&bytes).into_owned())
    };
    ask().map_err(|error| error.to_string())
}

fn version(client: &Client) -> String {
    let output = client.command().arg("-version").output().expect("the exporter starts");
    let text = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
    let after = text.split("Exporter ").nth(1).unwrap_or_default();
    after.split(' ').next().unwrap_or_default().to_string()
}
