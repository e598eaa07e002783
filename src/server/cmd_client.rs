//! CLIENT: the connections of clients.
#![forbid(unsafe_code)]

use std::collections::BTreeSet;

use super::Pause;
use super::call::{Call, text};
use super::client::Client;
use super::table::{Categories, Command, Flags, command};
use super::tracking::Refusal;
use crate::resp::write;
use crate::util::ident::ConnId;
use crate::util::num;

const QUIET: Flags = Flags::NOSCRIPT.and(Flags::LOADING).and(Flags::STALE);
const ADMIN: Flags = QUIET.and(Flags::ADMIN);
const SLOW: Categories = Categories::SLOW.and(Categories::CONNECTION);
const DANGEROUS: Categories = SLOW.and(Categories::ADMIN).and(Categories::DANGEROUS);
const VARYING: &[&str] = &["nondeterministic_output"];

/// The subcommands, sorted by name.
pub const SUBCOMMANDS: &[Command] = &[
    command!(
        "client" | "caching",
        3,
        QUIET,
        SLOW,
        caching,
        "6.0.0",
        "Whether the keys of the next command are tracked."
    ),
    command!("client" | "getname", 2, QUIET, SLOW, getname, "2.6.9", "The connection's name."),
    command!(
        "client" | "getredir",
        2,
        QUIET,
        SLOW,
        getredir,
        "6.0.0",
        "The client that invalidations are redirected to."
    ),
    command!(
        "client" | "help",
        2,
        Flags::LOADING.and(Flags::STALE),
        SLOW,
        help,
        "5.0.0",
        "Lists the subcommands."
    ),
    command!("client" | "id", 2, QUIET, SLOW, id, "5.0.0", "The connection's id."),
    command!("client" | "info", 2, QUIET, SLOW, info, "6.2.0", "Describes the connection.",
        tips: VARYING),
    command!("client" | "kill", -3, ADMIN, DANGEROUS, kill, "2.4.0", "Closes connections."),
    command!("client" | "list", -2, ADMIN, DANGEROUS, list, "2.4.0", "Describes connections.",
        tips: VARYING),
    command!(
        "client" | "no-evict",
        3,
        ADMIN,
        DANGEROUS,
        no_evict,
        "7.0.0",
        "Marks the connection as not to be evicted."
    ),
    command!(
        "client" | "pause",
        -3,
        ADMIN,
        DANGEROUS,
        pause,
        "2.9.50",
        "Holds the commands of all clients back for a time."
    ),
    command!("client" | "reply", 3, QUIET, SLOW, reply, "3.2.0", "Whether replies are sent."),
    command!(
        "client" | "setinfo",
        4,
        QUIET,
        SLOW,
        setinfo,
        "7.2.0",
        "Tells the client's library and its version."
    ),
    command!("client" | "setname", 3, QUIET, SLOW, setname, "2.6.9", "Names the connection."),
    command!(
        "client" | "tracking",
        -3,
        QUIET,
        SLOW,
        tracking,
        "6.0.0",
        "Switches tracking of keys; there are none here."
    ),
    command!(
        "client" | "trackinginfo",
        2,
        QUIET,
        SLOW,
        trackinginfo,
        "6.2.0",
        "What tracking is switched to."
    ),
    command!(
        "client" | "unblock",
        -3,
        ADMIN,
        DANGEROUS,
        unblock,
        "5.0.0",
        "Ends the wait of a blocked client; none is ever blocked here."
    ),
    command!("client" | "unpause", 2, ADMIN, DANGEROUS, unpause, "6.2.0", "Ends CLIENT PAUSE."),
];

const HELP: &[&str] = &[
    "CACHING (YES|NO)",
    "    Whether the keys of the next command are tracked (there are no keys here).",
    "GETREDIR",
    "    Return the id of the client that invalidations go to.",
    "GETNAME",
    "    Return the name of this connection.",
    "ID",
    "    Return the id of this connection.",
    "INFO",
    "    Return a line that describes this connection.",
    "KILL <ip:port>",
    "    Close the connection that comes from <ip:port>.",
    "KILL <option> <value> [<option> <value> [...]]",
    "    Close the connections that fit all options:",
    "    * ADDR <ip:port>, LADDR <ip:port> (its own address, ours)",
    "    * ID <client-id>",
    "    * TYPE (NORMAL|MASTER|REPLICA|PUBSUB)",
    "    * USER <username>",
    "    * MAXAGE <seconds> (those at least that old)",
    "    * SKIPME (YES|NO) (spare this connection, default yes)",
    "LIST [options ...]",
    "    Return a line for each connection.",
    "UNPAUSE",
    "    End a pause.",
    "PAUSE <timeout> [WRITE|ALL]",
    "    Hold all commands of clients, or PUBLISH only, back for <timeout> milliseconds.",
    "REPLY (ON|OFF|SKIP)",
    "    Whether replies are sent to this connection.",
    "SETNAME <name>",
    "    Name this connection.",
    "SETINFO (LIB-NAME|LIB-VER) <value>",
    "    Tell the library of this connection and its version.",
    "UNBLOCK <clientid> [TIMEOUT|ERROR]",
    "    Accepted; no client ever blocks here.",
    "TRACKING (ON|OFF) [REDIRECT <id>] [BCAST] [PREFIX <prefix> [...]]",
    "         [OPTIN] [OPTOUT] [NOLOOP]",
    "    Accepted; there are no keys to track here.",
    "TRACKINGINFO",
    "    Return what tracking is switched to.",
    "NO-EVICT (ON|OFF)",
    "    Spare this connection when all clients hold too much (maxmemory-clients).",
];

/// Longest name of a connection, and of its library.
const NAME_MAX_BYTES: usize = 1024;

/// Whether a value may stand in a line of CLIENT LIST; the error text otherwise, in which `what` it
/// is comes first.
pub fn check_name(what: &[u8], value: &[u8]) -> Result<(), Vec<u8>> {
    let fault: &[u8] = if value.len() > NAME_MAX_BYTES {
        b" cannot be longer than 1024 bytes."
    } else if !value.iter().all(|b| (b'!'..=b'~').contains(b)) {
        b" cannot contain spaces, newlines or special characters."
    } else {
        return Ok(());
    };
    Err([b"ERR ", what, fault].concat())
}

fn help(call: &mut Call<'_, '_>) {
    call.help("CLIENT", HELP);
}

fn id(call: &mut Call<'_, '_>) {
    let id = call.client().id;
    call.int(id as i64);
}

fn getname(call: &mut Call<'_, '_>) {
    let name = call.client().name.clone();
    let reply = call.reply();
    if name.is_empty() {
        write::null(reply.out, reply.dialect);
    } else {
        write::bulk(reply.out, &name);
    }
}

fn setname(call: &mut Call<'_, '_>) {
    if let Err(text) = check_name(b"Client names", &call.args[2]) {
        return call.error(&text);
    }
    call.client().name = call.args[2].clone();
    call.introduced();
    call.ok();
}

fn setinfo(call: &mut Call<'_, '_>) {
    let (option, value) = (&call.args[2], &call.args[3]);
    let is_name = option.eq_ignore_ascii_case(b"lib-name");
    if !is_name && !option.eq_ignore_ascii_case(b"lib-ver") {
        return call.error_about("ERR Unrecognized option ", option, "");
    }
    if let Err(text) = check_name(option, value) {
        return call.error(&text);
    }
    let client = call.client();
    *if is_name { &mut client.lib_name } else { &mut client.lib_ver } = value.clone();
    call.introduced();
    call.ok();
}

fn info(call: &mut Call<'_, '_>) {
    let (now, path) = (call.cx.now, call.server.unixsocket().to_vec());
    let mut line = call.client().describe(now, &path);
    line.push(b'\n');
    let reply = call.reply();
    write::verbatim(reply.out, &line, reply.dialect);
}

/// The classes of clients that can be named; there are never masters or replicas here.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Class {
    Normal,
    PubSub,
    Replication,
}

impl Class {
    fn named(word: &[u8]) -> Option<Class> {
        match word.to_ascii_lowercase().as_slice() {
            b"normal" => Some(Class::Normal),
            b"pubsub" => Some(Class::PubSub),
            b"master" | b"replica" | b"slave" => Some(Class::Replication),
            _ => None,
        }
    }

    fn holds(self, client: &Client) -> bool {
        match self {
            Class::Normal => client.subscriptions() == 0,
            Class::PubSub => client.subscriptions() > 0,
            Class::Replication => false,
        }
    }
}

fn list(call: &mut Call<'_, '_>) {
    let mut class = None;
    let mut ids = None;
    match &call.args[2..] {
        [] => {}
        [word, name] if word.eq_ignore_ascii_case(b"type") => match Class::named(name) {
            Some(found) => class = Some(found),
            None => return call.error_about("ERR Unknown client type ", name, ""),
        },
        [word, wanted @ ..] if word.eq_ignore_ascii_case(b"id") && !wanted.is_empty() => {
            match wanted.iter().map(|id| num::parse_i64(id)).collect::<Option<BTreeSet<_>>>() {
                Some(parsed) => ids = Some(parsed),
                None => return call.error(b"ERR Invalid client ID"),
            }
        }
        _ => return call.error(text::SYNTAX),
    }
    let mut lines = Vec::new();
    let (now, path) = (call.cx.now, call.server.unixsocket());
    let mut add = |client: &Client| {
        lines.extend(client.describe(now, path));
        lines.push(b'\n');
    };
    match ids {
        // In their order, which is that of the clients. Nobody has a number below zero.
        Some(ids) => {
            let ids = ids.into_iter().filter_map(|id| u64::try_from(id).ok());
            ids.filter_map(|id| call.server.client_numbered(id)).for_each(add);
        }
        None => {
            let is_wanted = |c: &&Client| class.is_none_or(|class: Class| class.holds(c));
            call.server.clients.values().filter(is_wanted).for_each(&mut add);
            call.charge_look_at_clients();
        }
    }
    let reply = call.reply();
    write::verbatim(reply.out, &lines, reply.dialect);
}

/// Which clients CLIENT KILL means; all conditions must hold.
#[derive(Default)]
struct KillFilter<'a> {
    id: Option<u64>,
    addr: Option<&'a [u8]>,
    laddr: Option<&'a [u8]>,
    class: Option<Class>,
    user: Option<&'a [u8]>,
    min_age_s: Option<u64>,
    spares_caller: bool,
}

impl<'a> KillFilter<'a> {
    /// Reads pairs of option and value; the error text otherwise.
    fn parse(words: &'a [Vec<u8>], user_exists: impl Fn(&[u8]) -> bool) -> Result<Self, Vec<u8>> {
        let about = |before: &str, word: &[u8]| [before.as_bytes(), b"'", word, b"'"].concat();
        let mut filter = KillFilter { spares_caller: true, ..KillFilter::default() };
        for pair in words.chunks(2) {
            let [option, value] = pair else { return Err(text::SYNTAX.to_vec()) };
            match option.to_ascii_lowercase().as_slice() {
                b"id" => match num::parse_u64(value) {
                    Some(id @ 1..) => filter.id = Some(id),
                    _ => return Err(b"ERR client-id should be greater than 0".to_vec()),
                },
                b"type" => match Class::named(value) {
                    Some(class) => filter.class = Some(class),
                    None => return Err(about("ERR Unknown client type ", value)),
                },
                b"addr" => filter.addr = Some(value),
                b"laddr" => filter.laddr = Some(value),
                b"user" if user_exists(value) => filter.user = Some(value),
                b"user" => return Err(about("ERR No such user ", value)),
                b"skipme" if value.eq_ignore_ascii_case(b"yes") => filter.spares_caller = true,
                b"skipme" if value.eq_ignore_ascii_case(b"no") => filter.spares_caller = false,
                b"maxage" => match num::parse_u64(value) {
                    Some(age) => filter.min_age_s = Some(age),
                    None => return Err(b"ERR maxage is not an integer or out of range".to_vec()),
                },
                _ => return Err(text::SYNTAX.to_vec()),
            }
        }
        Ok(filter)
    }

    fn matches(&self, client: &Client, caller: ConnId, age_s: u64, unixsocket: &[u8]) -> bool {
        self.id.is_none_or(|id| id == client.id)
            && self.addr.is_none_or(|wanted| wanted == client.addresses(unixsocket).0)
            && self.laddr.is_none_or(|wanted| wanted == client.addresses(unixsocket).1)
            && self.class.is_none_or(|class| class.holds(client))
            && self.user.is_none_or(|name| name == client.user.name)
            && self.min_age_s.is_none_or(|least| age_s >= least)
            && !(self.spares_caller && client.conn == caller)
    }
}

fn kill(call: &mut Call<'_, '_>) {
    let words = &call.args[2..];
    let parsed = match words {
        [addr] => Ok(KillFilter { addr: Some(addr), ..KillFilter::default() }),
        pairs => KillFilter::parse(pairs, |user| call.server.users.get(user).is_some()),
    };
    let filter = match parsed {
        Ok(filter) => filter,
        Err(text) => return call.error(&text),
    };
    let (now, caller) = (call.cx.now, call.conn);
    let path = call.server.unixsocket();
    let is_meant = |c: &&Client| filter.matches(c, caller, now.since(c.created) / 1000, path);
    let meant: Vec<_> = match filter.id {
        Some(id) => {
            call.server.client_numbered(id).filter(is_meant).map(|c| c.conn).into_iter().collect()
        }
        None => call.server.clients.values().filter(is_meant).map(|c| c.conn).collect(),
    };
    if filter.id.is_none() {
        call.charge_look_at_clients();
    }
    match (words, meant.len()) {
        ([_], 0) => call.error(b"ERR No such client"),
        ([_], _) => call.ok(),
        (_, n) => call.int(n as i64),
    }
    for conn in meant {
        if conn == caller {
            call.server.close_after_flush(call.cx, conn);
        } else {
            call.server.close(call.cx, conn);
        }
    }
}

fn no_evict(call: &mut Call<'_, '_>) {
    match call.args[2].to_ascii_lowercase().as_slice() {
        b"on" => call.client().no_evict = true,
        b"off" => call.client().no_evict = false,
        _ => return call.error(text::SYNTAX),
    }
    call.ok();
}

fn pause(call: &mut Call<'_, '_>) {
    let writes_only = match call.args.get(3).map(|w| w.to_ascii_lowercase()) {
        None => false,
        Some(_) if call.args.len() > 4 => return wrong_count(call),
        Some(word) if word == b"all" => false,
        Some(word) if word == b"write" => true,
        Some(_) => return call.error(b"ERR CLIENT PAUSE mode must be WRITE or ALL"),
    };
    let ms = match num::parse_i64(&call.args[2]) {
        None => return call.error(b"ERR timeout is not an integer or out of range"),
        Some(ms) => match u64::try_from(ms) {
            Ok(ms) => ms,
            Err(_) => return call.error(b"ERR timeout is negative"),
        },
    };
    // A pause may be made longer or stricter, never the other way round.
    let old = call.server.pause.filter(|old| old.until > call.cx.now);
    let until = call.cx.now.after(ms);
    call.server.pause = Some(match old {
        None => Pause { until, writes_only },
        Some(old) => {
            Pause { until: until.max(old.until), writes_only: writes_only && old.writes_only }
        }
    });
    call.ok();
}

/// A word too many for a subcommand whose arity has no upper bound.
fn wrong_count(call: &mut Call<'_, '_>) {
    let front = "ERR unknown subcommand or wrong number of arguments for ";
    call.error_about(front, &call.args[1], ". Try CLIENT HELP.");
}

fn unpause(call: &mut Call<'_, '_>) {
    call.server.end_pause();
    call.ok();
}

fn reply(call: &mut Call<'_, '_>) {
    let words = call.args;
    let muting = &mut call.client().muting;
    match words[2].to_ascii_lowercase().as_slice() {
        b"on" => {
            *muting = Default::default();
            call.ok();
        }
        b"off" => muting.off = true,
        b"skip" => muting.skip_next = !muting.off,
        _ => call.error(text::SYNTAX),
    }
}

fn unblock(call: &mut Call<'_, '_>) {
    if call.args.len() > 4 {
        return wrong_count(call);
    }
    if num::parse_i64(&call.args[2]).is_none() {
        return call.error(text::NOT_AN_INTEGER);
    }
    match call.args.get(3).map(|reason| reason.to_ascii_lowercase()) {
        Some(reason) if reason != b"timeout" && reason != b"error" => {
            call.error(b"ERR CLIENT UNBLOCK reason should be TIMEOUT or ERROR");
        }
        _ => call.int(0),
    }
}

fn tracking(call: &mut Call<'_, '_>) {
    let mut wanted = call.client().tracking.clone();
    let by_id = &call.server.by_id;
    let outcome = wanted.set(&call.args[2..], |id| by_id.contains_key(&id));
    match outcome {
        Ok(()) => {
            call.server.set_tracking(call.conn, wanted);
            call.ok();
        }
        Err(Refusal::Syntax) => call.error(text::SYNTAX),
        Err(Refusal::NoNumber) => call.error(text::NOT_AN_INTEGER),
        Err(Refusal::Text(text)) => call.error(text),
        Err(Refusal::Overlap(text)) => call.error(&text),
    }
}

fn caching(call: &mut Call<'_, '_>) {
    let yes = match call.args[2].to_ascii_lowercase().as_slice() {
        b"yes" => Some(true),
        b"no" => Some(false),
        _ => None,
    };
    match call.client().tracking.set_caching(yes) {
        Ok(()) => call.ok(),
        Err(text) => call.error(text),
    }
}

fn getredir(call: &mut Call<'_, '_>) {
    let redirect = call.client().tracking.redirect_shown();
    call.int(redirect);
}

fn trackinginfo(call: &mut Call<'_, '_>) {
    let tracking = call.client().tracking.clone();
    let reply = call.reply();
    let (out, dialect) = (reply.out, reply.dialect);
    write::map(out, 3, dialect);
    write::bulk(out, b"flags");
    let flags = tracking.flag_words();
    write::set(out, flags.len(), dialect);
    for flag in flags {
        write::bulk(out, flag.as_bytes());
    }
    write::bulk(out, b"redirect");
    write::int(out, tracking.redirect_shown());
    write::bulk(out, b"prefixes");
    write::array(out, tracking.prefixes().len());
    for prefix in tracking.prefixes() {
        write::bulk(out, prefix);
    }
}

/// The first 8 hex digits of the id of the sentinel whose command link this is, told by the name
/// `sentinel-xxxxxxxx-cmd` that sentinels give it.
pub fn asker_in(name: &[u8]) -> Option<&[u8]> {
    let id = name.strip_prefix(b"sentinel-")?.strip_suffix(b"-cmd")?;
    (id.len() == 8 && id.iter().all(u8::is_ascii_hexdigit)).then_some(id)
}
