//! Requests: which commands there are, and when they are refused or queued.
#![forbid(unsafe_code)]

use sentineld::util::rng::Rng;

use super::faults::InfoAnswer;
use super::{Effect, Farm, Mode, Server};
use crate::draws::usual_name;
use crate::net::{ConnKey, HostId, Us};
use crate::wire::{self, Stream};

/// When a command is taken although most are not.
const LOADING: u8 = 1;
const STALE: u8 = 2;
const BUSY: u8 = 4;
const NO_AUTH: u8 = 8;
/// Not queued by MULTI.
const NOW: u8 = 16;
const WRITES: u8 = 32;
/// In RESP2 also behind SUBSCRIBE.
const SUBSCRIBED: u8 = 64;

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Name {
    Auth,
    ClientKill,
    ClientSetname,
    ConfigRewrite,
    ConfigSet,
    Debug,
    Discard,
    Eval,
    Exec,
    Info,
    Multi,
    Ping,
    Publish,
    Quit,
    Save,
    ScriptKill,
    Set,
    Slaveof,
    Subscribe,
}

/// Name, subcommand, number of words (negative: at least), when it is taken.
pub(super) type Command = (Name, &'static str, &'static str, i8, u8);

const COMMANDS: [Command; 20] = [
    (Name::Ping, "ping", "", -1, SUBSCRIBED),
    (Name::Info, "info", "", -1, LOADING | STALE),
    (Name::Publish, "publish", "", 3, LOADING | STALE),
    (Name::Auth, "auth", "", -2, LOADING | STALE | BUSY | NO_AUTH),
    (Name::ClientSetname, "client", "setname", 3, LOADING | STALE),
    (Name::ClientKill, "client", "kill", -3, LOADING | STALE),
    (Name::Subscribe, "subscribe", "", -2, LOADING | STALE | SUBSCRIBED),
    (Name::Multi, "multi", "", 1, LOADING | STALE | BUSY | NOW),
    (Name::Exec, "exec", "", 1, LOADING | STALE | NOW),
    (Name::Discard, "discard", "", 1, LOADING | STALE | BUSY | NOW),
    (Name::Slaveof, "slaveof", "", 3, STALE),
    (Name::Slaveof, "replicaof", "", 3, STALE),
    (Name::ConfigRewrite, "config", "rewrite", 2, LOADING | STALE),
    (Name::ConfigSet, "config", "set", -4, LOADING | STALE),
    (Name::ScriptKill, "script", "kill", 2, BUSY),
    (Name::Quit, "quit", "", -1, LOADING | STALE | BUSY | NO_AUTH | NOW | SUBSCRIBED),
    (Name::Set, "set", "", -3, WRITES),
    (Name::Save, "save", "", 1, 0),
    (Name::Eval, "eval", "", -3, STALE),
    (Name::Debug, "debug", "", -2, LOADING | STALE),
];

/// Most words of a request.
const MAX_WORDS: usize = 8;

pub(super) fn find(words: &[&[u8]]) -> Result<&'static Command, String> {
    let is = |word: &[u8], name: &str| word.eq_ignore_ascii_case(name.as_bytes());
    let mut parent = None;
    for command in &COMMANDS {
        let (_, name, sub, arity, _) = command;
        if !is(words[0], name) {
            continue;
        }
        if sub.is_empty() || words.get(1).is_some_and(|word| is(word, sub)) {
            let fits = match usize::try_from(*arity) {
                Ok(exact) => words.len() == exact,
                Err(_) => words.len() >= usize::from(arity.unsigned_abs()),
            };
            let full = if sub.is_empty() { (*name).to_owned() } else { format!("{name}|{sub}") };
            let wrong = || format!("ERR wrong number of arguments for '{full}' command");
            return if fits { Ok(command) } else { Err(wrong()) };
        }
        parent = Some(name);
    }
    Err(match (parent, words.get(1)) {
        (Some(name), Some(sub)) => {
            let (sub, name) = (wire::show(sub), name.to_uppercase());
            format!("ERR unknown subcommand '{sub}'. Try {name} HELP.")
        }
        (Some(name), None) => format!("ERR wrong number of arguments for '{name}' command"),
        (None, _) => {
            let args: String =
                words[1..].iter().map(|word| format!("'{}' ", wire::show(word))).collect();
            let name = wire::show(words[0]);
            format!("ERR unknown command '{name}', with args beginning with: {args}")
        }
    })
}

pub(super) fn error(out: &mut Vec<u8>, text: &str) {
    out.push(b'-');
    out.extend_from_slice(text.as_bytes());
    out.extend_from_slice(b"\r\n");
}

/// A request in the state in which it is handled.
pub(super) struct Asked<'a> {
    pub now: Us,
    pub host: HostId,
    pub conn: ConnKey,
    pub words: &'a [&'a [u8]],
}

impl Server {
    /// Why a command is not taken now.
    fn refusal(&self, conn: ConnKey, command: &Command) -> Option<String> {
        let (_, name, sub, _, taken) = *command;
        let client = &self.clients[&conn];
        if let Some(text) = self.denials.unknown(name, sub) {
            return Some(text);
        }
        if self.password.is_some() && !client.authenticated && taken & NO_AUTH == 0 {
            return Some("NOAUTH Authentication required.".to_owned());
        }
        if let Some(text) = self.denials.not_permitted(name, sub) {
            return Some(text);
        }
        if self.info_answer == InfoAnswer::Refused && name == "info" {
            let text = "NOPERM this user has no permissions to run the 'info' command";
            return Some(text.to_owned());
        }
        if self.master.is_some() && taken & WRITES != 0 {
            let text = "READONLY You can't write against a read only replica.";
            return Some(text.to_owned());
        }
        if !client.channels.is_empty() && taken & SUBSCRIBED == 0 {
            let full = if sub.is_empty() { name.to_owned() } else { format!("{name}|{sub}") };
            return Some(format!(
                "ERR Can't execute '{full}': only (P|S)SUBSCRIBE / (P|S)UNSUBSCRIBE / PING / \
                 QUIT / RESET are allowed in this context"
            ));
        }
        let stale = self.master.is_some() && !self.link_up && !self.serves_stale_data;
        if stale && taken & STALE == 0 {
            let text = "MASTERDOWN Link with MASTER is down and \
                        replica-serve-stale-data is set to 'no'.";
            return Some(text.to_owned());
        }
        match self.mode {
            Mode::Loading if taken & LOADING == 0 => {
                Some("LOADING Redis is loading the dataset in memory".to_owned())
            }
            Mode::Busy if taken & BUSY == 0 => {
                let text = "BUSY Redis is busy running a script. \
                            You can only call SCRIPT KILL or SHUTDOWN NOSAVE.";
                Some(text.to_owned())
            }
            _ => None,
        }
    }
}

impl Farm {
    /// Handles the requests of a client that are there.
    pub fn work(&mut self, now: Us, rng: &mut Rng, host: HostId, conn: ConnKey) -> Vec<Effect> {
        let mut effects = Vec::new();
        let server = self.at_mut(host);
        if !server.alive() {
            return effects;
        }
        server.look_at_clock(now);
        if !server.unread.is_empty() && server.works() {
            self.read_relayed(host, &mut effects);
        }
        let Some(client) = self.at_mut(host).clients.get_mut(&conn) else { return effects };
        let mut input = std::mem::take(&mut client.input);
        let mut out = Vec::new();
        while self.next_request(now, rng, host, conn, &mut input, &mut out, &mut effects) {}
        if !out.is_empty() {
            effects.push(Effect::Reply(conn, out));
        }
        let clients = &mut self.at_mut(host).clients;
        if clients.get(&conn).is_some_and(|client| client.closing) {
            clients.remove(&conn);
            effects.push(Effect::Close(conn));
        } else if let Some(client) = clients.get_mut(&conn) {
            client.input = input;
        }
        effects
    }

    /// `false`: there is none, or it has to wait.
    #[allow(clippy::too_many_arguments)]
    fn next_request(
        &mut self,
        now: Us,
        rng: &mut Rng,
        host: HostId,
        conn: ConnKey,
        input: &mut Stream,
        out: &mut Vec<u8>,
        effects: &mut Vec<Effect>,
    ) -> bool {
        let server = self.at(host).expect("a data node");
        let waits = server.script.is_some_and(|script| script.owner == Some(conn));
        if waits
            || server.clients_paused
            || server.clients.get(&conn).is_none_or(|client| client.closing)
        {
            return false;
        }
        let silent = server.info_answer == InfoAnswer::Silent;
        let mut spans = std::mem::take(&mut self.spans);
        let mark = input.mark();
        let there = input.next_request_spans(&mut spans);
        let mut words: [&[u8]; MAX_WORDS] = [b""; MAX_WORDS];
        for (word, span) in words.iter_mut().zip(&spans) {
            *word = input.word(*span);
        }
        assert!(spans.len() <= MAX_WORDS, "a request of {} words", spans.len());
        words[0] = usual_name(&self.at(host).expect("a data node").renamed, words[0]);
        let words = &words[..spans.len()];
        self.spans = spans;
        if there && silent && words[0].eq_ignore_ascii_case(b"INFO") {
            input.back_to(mark);
            return false;
        }
        if there {
            self.request(rng, &Asked { now, host, conn, words }, out, effects);
        }
        there
    }

    fn request(
        &mut self,
        rng: &mut Rng,
        asked: &Asked,
        out: &mut Vec<u8>,
        effects: &mut Vec<Effect>,
    ) {
        let server = self.at_mut(asked.host);
        let found = find(asked.words)
            .and_then(|command| server.refusal(asked.conn, command).map_or(Ok(command), Err));
        let client = server.clients.get_mut(&asked.conn).expect("it asks");
        match found {
            Err(text)
                if asked.words[0].eq_ignore_ascii_case(b"EXEC")
                    && !text.starts_with("ERR unknown") =>
            {
                client.multi = None;
                client.spoiled = false;
                let text = format!("EXECABORT Transaction discarded because of: {text}");
                error(out, &text);
            }
            Err(text) => {
                client.spoiled = client.multi.is_some();
                error(out, &text);
            }
            Ok((name, _, _, _, taken)) => match &mut client.multi {
                Some(queued) if taken & NOW == 0 => {
                    queued.push(asked.words.iter().map(|word| word.to_vec()).collect());
                    out.extend_from_slice(b"+QUEUED\r\n");
                }
                _ => self.call(rng, *name, asked, out, effects),
            },
        }
    }
}
