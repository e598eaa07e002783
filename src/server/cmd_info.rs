//! INFO and ROLE.
#![forbid(unsafe_code)]

use std::fmt::Write;

use super::REDIS_VERSION;
use super::call::Call;
use crate::config::settings::Supervised;
use crate::resp::write;
use crate::sentinel::instance::Master;

/// `ROLE`.
pub fn role(call: &mut Call<'_, '_>) {
    let reply = call.reply();
    write::array(reply.out, 2);
    write::bulk(reply.out, b"sentinel");
    write::array(reply.out, reply.sentinel.masters.len());
    for master in reply.sentinel.masters_in_order() {
        write::bulk(reply.out, &master.base.name);
    }
}

/// A section: its name, and what appends its fields.
type Section = (&'static str, fn(&Call<'_, '_>, &mut Text));

/// All sections, in the order in which they are always shown.
const SECTIONS: [Section; 5] = [
    ("Server", server),
    ("Clients", clients),
    ("Stats", stats),
    ("CPU", cpu),
    ("Sentinel", sentinel),
];

/// `INFO [section …]`.
pub fn info(call: &mut Call<'_, '_>) {
    let wanted = &call.args[1..];
    let is_wanted = |name: &str| {
        let fits = |word: &Vec<u8>| {
            [name, "default", "all", "everything"]
                .iter()
                .any(|n| word.eq_ignore_ascii_case(n.as_bytes()))
        };
        wanted.is_empty() || wanted.iter().any(fits)
    };
    let mut text = Text(Vec::with_capacity(4096));
    for (name, fields) in SECTIONS.iter().filter(|(name, _)| is_wanted(name)) {
        if !text.0.is_empty() {
            text.0.extend_from_slice(b"\r\n");
        }
        text.0.extend_from_slice(format!("# {name}\r\n").as_bytes());
        fields(call, &mut text);
    }
    write::bulk(call.reply().out, &text.0);
}

/// Lines `field:value`, ended by CRLF.
struct Text(Vec<u8>);

impl Text {
    fn field(&mut self, name: &str, value: impl std::fmt::Display) {
        self.bytes(name, value.to_string().as_bytes());
    }

    fn bytes(&mut self, name: &str, value: &[u8]) {
        self.0.extend_from_slice(name.as_bytes());
        self.0.push(b':');
        self.0.extend_from_slice(value);
        self.0.extend_from_slice(b"\r\n");
    }
}

fn server(call: &Call<'_, '_>, text: &mut Text) {
    let (facts, settings) = (&call.server.facts, &call.server.settings);
    let uptime_s = call.cx.now.since(call.server.started) / 1000;
    let supervised = match settings.supervised {
        _ if !facts.supervised => "no",
        Supervised::Systemd => "systemd",
        Supervised::Upstart => "upstart",
        Supervised::No | Supervised::Auto => "unknown",
    };
    text.field("redis_version", REDIS_VERSION);
    text.field("sentineld_version", env!("CARGO_PKG_VERSION"));
    text.field("redis_git_sha1", "00000000");
    text.field("redis_git_dirty", 0);
    text.field("redis_build_id", "0");
    text.field("redis_mode", "sentinel");
    text.field("os", &facts.os);
    text.field("arch_bits", usize::BITS);
    text.field("monotonic_clock", "POSIX clock_gettime");
    text.field("multiplexing_api", "epoll");
    text.field("process_id", facts.pid);
    text.field("process_supervised", supervised);
    text.bytes("run_id", &facts.run_id);
    text.field("tcp_port", facts.tcp_port);
    text.field("server_time_usec", call.cx.wall.unix_ms * 1000);
    text.field("uptime_in_seconds", uptime_s);
    text.field("uptime_in_days", uptime_s / 86_400);
    text.field("hz", settings.hz);
    text.field("configured_hz", settings.hz);
    text.bytes("executable", &facts.executable);
    text.bytes("config_file", &facts.config_file);
    text.field("io_threads_active", 0);
}

fn clients(call: &Call<'_, '_>, text: &mut Text) {
    let server = &call.server;
    text.field("connected_clients", server.clients.len());
    text.field("cluster_connections", 0);
    text.field("maxclients", server.maxclients);
    text.field("client_recent_max_input_buffer", server.stats.recent_input());
    let lagging = server.lagging.iter().filter_map(|conn| server.clients.get(conn));
    let output = lagging.map(|client| client.unsent).max().unwrap_or(0);
    text.field("client_recent_max_output_buffer", output);
    text.field("blocked_clients", server.waits.len() + server.asks.count());
    text.field("tracking_clients", server.tracking_clients);
    text.field("clients_in_timeout_table", 0);
}

fn stats(call: &Call<'_, '_>, text: &mut Text) {
    let (stats, pubsub) = (&call.server.stats, &call.server.pubsub);
    text.field("total_connections_received", stats.connections);
    text.field("total_commands_processed", stats.commands);
    text.field("instantaneous_ops_per_sec", stats.ops_per_s());
    text.field("total_net_input_bytes", stats.input_bytes);
    text.field("total_net_output_bytes", stats.output_bytes);
    text.field("instantaneous_input_kbps", kbps(stats.input_bytes_per_s()));
    text.field("instantaneous_output_kbps", kbps(stats.output_bytes_per_s()));
    text.field("rejected_connections", stats.rejected);
    text.field("evicted_clients", stats.evicted);
    text.field("pubsub_channels", pubsub.channels.len());
    text.field("pubsub_patterns", pubsub.patterns.len());
    text.field("pubsubshard_channels", 0);
    text.field("total_error_replies", stats.errors);
    text.field("total_reads_processed", stats.reads);
    text.field("total_writes_processed", stats.writes);
}

/// KiB per second with two decimals; the field's name says kbps.
fn kbps(bytes_per_s: u64) -> String {
    let hundredths = bytes_per_s * 100 / 1024;
    format!("{}.{:02}", hundredths / 100, hundredths % 100)
}

fn cpu(call: &Call<'_, '_>, text: &mut Text) {
    let cpu = &call.server.cpu;
    for (name, us) in [
        ("used_cpu_sys", cpu.sys_us),
        ("used_cpu_user", cpu.user_us),
        ("used_cpu_sys_children", cpu.sys_children_us),
        ("used_cpu_user_children", cpu.user_children_us),
    ] {
        text.field(name, format_args!("{}.{:06}", us / 1_000_000, us % 1_000_000));
    }
}

fn sentinel(call: &Call<'_, '_>, text: &mut Text) {
    let sentinel = &call.sentinel;
    let (tilt, scripts, simulate) = (&sentinel.tilt, &sentinel.scripts, &sentinel.simulate);
    let tilt_s = tilt.since.map_or(-1, |since| (call.cx.now.since(since) / 1000) as i64);
    let flags =
        u8::from(simulate.crash_after_election) + 2 * u8::from(simulate.crash_after_promotion);
    text.field("sentinel_masters", sentinel.masters.len());
    text.field("sentinel_tilt", u8::from(tilt.since.is_some()));
    text.field("sentinel_tilt_since_seconds", tilt_s);
    text.field("sentinel_total_tilt", tilt.total);
    text.field("sentinel_running_scripts", scripts.running());
    text.field("sentinel_scripts_queue_length", scripts.len());
    text.field("sentinel_simulate_failure_flags", flags);
    for (n, master) in sentinel.masters_in_order().enumerate() {
        master_line(call, text, n, master);
    }
}

fn master_line(call: &Call<'_, '_>, text: &mut Text, n: usize, master: &Master) {
    let status = match (master.odown.is, master.base.sdown.is) {
        (true, _) => "odown",
        (false, true) => "sdown",
        (false, false) => "ok",
    };
    let ip = call.sentinel.announced(&master.base.addr);
    let mut rest = String::new();
    // Writing to a String cannot fail.
    let _ = write!(
        rest,
        ":{},slaves={},sentinels={}",
        master.base.addr.port,
        master.replicas.len(),
        master.peers.len() + 1
    );
    let value = [
        b"name=",
        &master.base.name[..],
        b",status=",
        status.as_bytes(),
        b",address=",
        &ip,
        rest.as_bytes(),
    ];
    text.bytes(&format!("master{n}"), &value.concat());
}
