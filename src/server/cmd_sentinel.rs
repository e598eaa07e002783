//! SENTINEL: the table of its subcommands, those that read, and those that act on one master.
//!
//! SET, CONFIG and DEBUG have files of their own: `sentinel_set`, `sentinel_config`,
//! `sentinel_debug`.
#![forbid(unsafe_code)]

use std::collections::BTreeSet;
use std::io::Write;
use std::net::IpAddr;

use super::Server;
use super::call::{Call, text};
use super::client::HeldAsk;
use super::cmd_client::asker_in;
use super::sentinel_map::{Maps, announced_replicas};
use super::table::{Categories, Command, Flags, command};
use super::waits::AfterSave;
use super::{sentinel_config, sentinel_debug, sentinel_help, sentinel_set};
use crate::resp::write;
use crate::sentinel::Sentinel;
use crate::sentinel::action::Cx;
use crate::sentinel::command::{FailoverRefused, HostState, MonitorRefused, Origin};
use crate::sentinel::instance::{Addr, DataState};
use crate::sentinel::vote::{Ask, AskOutcome, Vote};
use crate::util::ident::ConnId;
use crate::util::num;
use crate::util::time::Mono;
use crate::util::words;

const ADMIN: Flags = Flags::ADMIN;
const SLOW: Categories = Categories::ADMIN.and(Categories::SLOW).and(Categories::DANGEROUS);

/// The subcommands, sorted by name; `primary` spellings are synonyms.
pub const SUBCOMMANDS: &[Command] = &[
    command!(
        "sentinel" | "ckquorum",
        3,
        ADMIN,
        SLOW,
        ckquorum,
        "2.8.4",
        "Whether quorum and majority can be reached."
    ),
    command!(
        "sentinel" | "config",
        -4,
        ADMIN,
        SLOW,
        sentinel_config::config,
        "6.2.0",
        "Reads or changes settings that are tied to no master."
    ),
    command!(
        "sentinel" | "debug",
        -2,
        ADMIN,
        SLOW,
        sentinel_debug::debug,
        "7.0.0",
        "Reads or changes periods and time limits."
    ),
    command!(
        "sentinel" | "failover",
        3,
        ADMIN,
        SLOW,
        failover,
        "2.8.4",
        "Fails over without asking others."
    ),
    command!(
        "sentinel" | "flushconfig",
        2,
        ADMIN,
        SLOW,
        flushconfig,
        "2.8.4",
        "Writes the configuration file."
    ),
    command!(
        "sentinel" | "get-master-addr-by-name",
        3,
        ADMIN,
        SLOW,
        get_addr,
        "2.8.4",
        "Address and port of a master."
    ),
    command!(
        "sentinel" | "get-primary-addr-by-name",
        3,
        ADMIN,
        SLOW,
        get_addr,
        "7.2.0",
        "Address and port of a master."
    ),
    command!(
        "sentinel" | "help",
        2,
        Flags::LOADING.and(Flags::STALE),
        Categories::SLOW,
        help,
        "6.2.0",
        "Lists the subcommands."
    ),
    command!(
        "sentinel" | "info-cache",
        -3,
        ADMIN,
        SLOW,
        info_cache,
        "3.2.0",
        "The last INFO of masters and their replicas."
    ),
    command!(
        "sentinel" | "is-master-down-by-addr",
        6,
        ADMIN.and(Flags::BEHIND_VOTE),
        SLOW,
        is_master_down,
        "2.8.4",
        "Whether a master is down, and for whom this sentinel votes."
    ),
    command!(
        "sentinel" | "is-primary-down-by-addr",
        6,
        ADMIN.and(Flags::BEHIND_VOTE),
        SLOW,
        is_master_down,
        "7.2.0",
        "Whether a master is down, and for whom this sentinel votes."
    ),
    command!("sentinel" | "master", 3, ADMIN, SLOW, master, "2.8.4", "The state of a master."),
    command!("sentinel" | "masters", 2, ADMIN, SLOW, masters, "2.8.4", "The state of all masters."),
    command!("sentinel" | "monitor", 6, ADMIN, SLOW, monitor, "2.8.4", "Watches a master."),
    command!("sentinel" | "myid", 2, ADMIN, SLOW, myid, "6.2.0", "The id of this sentinel."),
    command!(
        "sentinel" | "pending-scripts",
        2,
        ADMIN,
        SLOW,
        pending_scripts,
        "2.8.4",
        "Scripts that run or wait."
    ),
    command!(
        "sentinel" | "primaries",
        2,
        ADMIN,
        SLOW,
        masters,
        "7.2.0",
        "The state of all masters."
    ),
    command!("sentinel" | "primary", 3, ADMIN, SLOW, master, "7.2.0", "The state of a master."),
    command!("sentinel" | "remove", 3, ADMIN, SLOW, remove, "2.8.4", "Stops watching a master."),
    command!(
        "sentinel" | "replicas",
        3,
        ADMIN,
        SLOW,
        replicas,
        "5.0.0",
        "The state of the replicas of a master."
    ),
    command!(
        "sentinel" | "reset",
        3,
        ADMIN,
        SLOW,
        reset,
        "2.8.4",
        "Forgets what was found out about masters."
    ),
    command!(
        "sentinel" | "sentinels",
        3,
        ADMIN,
        SLOW,
        sentinels,
        "2.8.4",
        "The state of the other sentinels of a master."
    ),
    command!(
        "sentinel" | "set",
        -5,
        ADMIN,
        SLOW,
        sentinel_set::set,
        "2.8.4",
        "Changes settings of a master."
    ),
    command!(
        "sentinel" | "simulate-failure",
        -3,
        ADMIN,
        SLOW,
        sentinel_debug::simulate_failure,
        "3.2.0",
        "Exits at a point of the next failover."
    ),
    command!(
        "sentinel" | "slaves",
        3,
        ADMIN,
        SLOW,
        replicas,
        "2.8.0",
        "The state of the replicas of a master."
    ),
];

/// The error of a host that is no address and no known name.
pub const BAD_HOST: &[u8] = b"ERR Invalid IP address or hostname specified";

fn help(call: &mut Call<'_, '_>) {
    call.help("SENTINEL", sentinel_help::HELP);
}

fn myid(call: &mut Call<'_, '_>) {
    let reply = call.reply();
    write::bulk(reply.out, &reply.sentinel.myid);
}

fn masters(call: &mut Call<'_, '_>) {
    let now = call.cx.now;
    let reply = call.reply();
    write::array(reply.out, reply.sentinel.masters.len());
    let mut maps = Maps::new(reply.sentinel, now);
    for master in reply.sentinel.masters_in_order() {
        maps.master(reply.out, reply.dialect, master);
    }
}

fn master(call: &mut Call<'_, '_>) {
    let Some(id) = call.master(2) else { return };
    let now = call.cx.now;
    let reply = call.reply();
    let master = &reply.sentinel.masters[id];
    Maps::new(reply.sentinel, now).master(reply.out, reply.dialect, master);
}

fn replicas(call: &mut Call<'_, '_>) {
    let Some(id) = call.master(2) else { return };
    let now = call.cx.now;
    let reply = call.reply();
    let replicas = announced_replicas(reply.sentinel, id);
    write::array(reply.out, replicas.len());
    let mut maps = Maps::new(reply.sentinel, now);
    for replica in replicas {
        maps.replica(reply.out, reply.dialect, replica);
    }
}

fn sentinels(call: &mut Call<'_, '_>) {
    let Some(id) = call.master(2) else { return };
    let now = call.cx.now;
    let reply = call.reply();
    let peers = &reply.sentinel.masters[id].peers;
    write::array(reply.out, peers.len());
    let mut maps = Maps::new(reply.sentinel, now);
    for peer in peers.values() {
        maps.peer(reply.out, reply.dialect, &reply.sentinel.peers[*peer]);
    }
}

fn get_addr(call: &mut Call<'_, '_>) {
    let found = call.sentinel.master_named(&call.args[2]);
    let reply = call.reply();
    let Some(id) = found else { return write::null_array(reply.out, reply.dialect) };
    let addr = &reply.sentinel.masters[id].base.addr;
    write::array(reply.out, 2);
    write_host(reply.out, reply.sentinel, addr);
    write::bulk_int(reply.out, addr.port.into());
}

/// The address as announced. The common case, an IP, is formatted on the stack: this reply is what
/// clients of large groups ask for all the time.
fn write_host(out: &mut Vec<u8>, sentinel: &Sentinel, addr: &Addr) {
    match addr.ip {
        Some(IpAddr::V4(ip)) if !sentinel.global.announce_hostnames => {
            write::bulk_ipv4(out, ip.octets());
        }
        Some(ip) if !sentinel.global.announce_hostnames => {
            let mut digits = [0; 64];
            let mut free = &mut digits[..];
            let _ = write!(free, "{ip}");
            let left = free.len();
            write::bulk(out, &digits[..digits.len() - left]);
        }
        _ => write::bulk(out, &sentinel.announced(addr)),
    }
}

fn is_master_down(call: &mut Call<'_, '_>) {
    let words = call.args;
    let (Some(port), Some(epoch)) = (num::parse_i64(&words[3]), num::parse_i64(&words[4])) else {
        return call.error(text::NOT_AN_INTEGER);
    };
    let Ok(epoch) = u64::try_from(epoch) else { return call.error(text::NOT_AN_INTEGER) };
    let name = std::mem::take(&mut call.client().name);
    let ask = Ask { ip: &words[2], port, epoch, runid: &words[5], asker: asker_in(&name) };
    let outcome = call.sentinel.asked(call.cx, &ask);
    let held = (outcome == AskOutcome::Unresolved).then(|| HeldAsk::from(&ask));
    call.client().name = name;
    call.note_peer();
    match outcome {
        AskOutcome::Unresolved => {
            call.server.settle_new(call.cx);
            call.server.wait_for_host(call.cx, call.conn, held.expect("unresolved"));
        }
        AskOutcome::Answer { down, vote } => write_ask_reply(call.reply().out, down, &vote),
        AskOutcome::Wait { down, master, ticket } => {
            call.server.settle_new(call.cx);
            call.server.wait_for_vote(call.cx, call.conn, down, master, ticket);
        }
    }
}

/// Down here or not, the vote and its epoch.
pub fn write_ask_reply(out: &mut Vec<u8>, down: bool, vote: &Vote) {
    write::array(out, 3);
    write::int(out, down.into());
    write::bulk(out, vote.leader.as_deref().unwrap_or(b"*"));
    write::int(out, i64::try_from(vote.epoch).unwrap_or(i64::MAX));
}

fn ckquorum(call: &mut Call<'_, '_>) {
    let Some(id) = call.master(2) else { return };
    let report = call.sentinel.quorum_report(id);
    let n = report.usable;
    if report.quorum_ok && report.majority_ok {
        let text =
            format!("OK {n} usable Sentinels. Quorum and failover authorization can be reached");
        return write::simple(call.reply().out, text.as_bytes());
    }
    let mut reasons = Vec::new();
    if !report.quorum_ok {
        reasons
            .push("Not enough available Sentinels to reach the specified quorum for this master");
    }
    if !report.majority_ok {
        reasons
            .push("Not enough available Sentinels to reach the majority and authorize a failover");
    }
    call.error(format!("NOQUORUM {n} usable Sentinels. {}", reasons.join(". ")).as_bytes());
}

fn failover(call: &mut Call<'_, '_>) {
    let Some(id) = call.master(2) else { return };
    match call.sentinel.failover_asked(call.cx, id) {
        Ok(()) => call.ok(),
        Err(FailoverRefused::InProgress) => {
            call.error(b"INPROG Failover already in progress");
        }
        Err(FailoverRefused::NoGoodSlave) => {
            call.error(b"NOGOODSLAVE No suitable replica to promote");
        }
        Err(FailoverRefused::NoEpochLeft) => call.error(b"ERR No epoch is left for a failover"),
    }
}

fn reset(call: &mut Call<'_, '_>) {
    call.charge_look_at_instances();
    let n = call.sentinel.reset_asked(call.cx, &call.args[2]);
    call.int(n as i64);
}

fn remove(call: &mut Call<'_, '_>) {
    let Some(id) = call.master(2) else { return };
    let ticket = call.sentinel.remove_asked(call.cx, id);
    call.server.wait_for_save(call.cx, call.sentinel, call.conn, ticket, AfterSave::Nothing);
}

fn flushconfig(call: &mut Call<'_, '_>) {
    let ticket = call.sentinel.save_asked(call.cx);
    call.server.wait_for_save(call.cx, call.sentinel, call.conn, ticket, AfterSave::Nothing);
}

/// A MONITOR whose words were found good.
#[derive(Clone, Debug)]
pub struct MonitorAsk {
    pub conn: ConnId,
    pub name: Vec<u8>,
    pub host: Vec<u8>,
    /// As given; its range is looked at after the host.
    pub port: i64,
    pub quorum: u32,
}

fn monitor(call: &mut Call<'_, '_>) {
    let words = call.args;
    let (name, host) = (words[2].clone(), words[3].clone());
    let quorum = match num::parse_i64(&words[5]) {
        Some(quorum) if quorum <= i64::from(u32::MAX) => quorum,
        _ => return call.error(b"ERR Invalid quorum"),
    };
    let Some(port) = num::parse_i64(&words[4]) else { return call.error(b"ERR Invalid port") };
    let quorum = match u32::try_from(quorum) {
        Ok(quorum) if quorum > 0 => quorum,
        _ => return call.error(b"ERR Quorum must be 1 or greater."),
    };
    let ask = MonitorAsk { conn: call.conn, name, host, port, quorum };
    call.server.run_monitor(call.cx, call.sentinel, ask, None);
}

impl Server {
    /// Carries a MONITOR on; `deadline`: it waited for a lookup before, until then at most.
    pub(super) fn run_monitor(
        &mut self,
        cx: &mut Cx,
        sentinel: &mut Sentinel,
        ask: MonitorAsk,
        deadline: Option<Mono>,
    ) {
        if words::has_control(&ask.host) || ask.host.is_empty() {
            return self.answer_error(cx, ask.conn, BAD_HOST);
        }
        match sentinel.host_state(cx, &ask.host, Origin::Own) {
            HostState::Known(_) => {}
            HostState::Bad => return self.answer_error(cx, ask.conn, BAD_HOST),
            HostState::Busy => {
                return self.answer_error(cx, ask.conn, b"ERR Too many lookups in progress");
            }
            HostState::Pending => {
                let conn = ask.conn;
                if !self.wait_for_lookup(cx, ask, deadline) {
                    self.answer_error(cx, conn, b"ERR Too many lookups in progress");
                }
                return;
            }
        }
        let Ok(port) = u16::try_from(ask.port) else {
            return self.answer_error(cx, ask.conn, b"ERR Invalid port number.");
        };
        match sentinel.monitor_asked(cx, &ask.name, &ask.host, port, ask.quorum) {
            Ok((master, ticket)) => {
                let then = AfterSave::Monitored(master);
                self.wait_for_save(cx, sentinel, ask.conn, ticket, then);
            }
            Err(MonitorRefused::Duplicate) => {
                self.answer_error(cx, ask.conn, b"ERR Duplicate master name.");
            }
            Err(MonitorRefused::BadHost) => self.answer_error(cx, ask.conn, BAD_HOST),
            Err(MonitorRefused::BadName) => self.answer_error(
                cx,
                ask.conn,
                b"ERR Invalid master name: it must not be empty nor hold blanks, quotes or \
                control characters",
            ),
        }
    }
}

fn info_cache(call: &mut Call<'_, '_>) {
    let (mut ids, mut seen) = (Vec::new(), BTreeSet::new());
    for name in &call.args[2..] {
        ids.extend(call.sentinel.master_named(name).filter(|id| seen.insert(*id)));
    }
    let now = call.cx.now;
    let reply = call.reply();
    let (out, dialect, sentinel) = (reply.out, reply.dialect, reply.sentinel);
    let cached = |out: &mut Vec<u8>, data: &DataState| {
        write::array(out, 2);
        write::int(out, data.info_refresh.map_or(0, |at| now.since(at) as i64));
        match data.info_refresh {
            Some(_) => write::bulk(out, &data.info_text.text()),
            None => write::null(out, dialect),
        }
    };
    write::array(out, ids.len() * 2);
    for id in ids {
        let master = &sentinel.masters[id];
        write::bulk(out, &master.base.name);
        write::array(out, master.replicas.len() + 1);
        cached(out, &master.data);
        for replica in master.replicas.values() {
            cached(out, &sentinel.replicas[*replica].data);
        }
    }
}

fn pending_scripts(call: &mut Call<'_, '_>) {
    let now = call.cx.now;
    let reply = call.reply();
    let (out, dialect) = (reply.out, reply.dialect);
    write::array(out, reply.sentinel.scripts.len());
    for job in reply.sentinel.scripts.jobs() {
        write::map(out, 5, dialect);
        write::bulk(out, b"argv");
        write::array(out, job.argv.len());
        for word in &job.argv {
            write::bulk(out, word);
        }
        let (state, time, ms) = match job.started {
            Some(at) => ("running", "run-time", now.since(at)),
            None => ("scheduled", "run-delay", job.start_at.since(now)),
        };
        let numbers = [
            ("pid", job.pid.unwrap_or(0).into()),
            (time, ms as i64),
            ("retry-num", job.retry_num.into()),
        ];
        write::bulk(out, b"flags");
        write::bulk(out, state.as_bytes());
        for (name, value) in numbers {
            write::bulk(out, name.as_bytes());
            write::bulk_int(out, value);
        }
    }
}
