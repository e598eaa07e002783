//! From bytes to a running command: parsing, the checks in their order (spec/commands.md, first
//! section), and what holds a client back.
#![forbid(unsafe_code)]

use super::acl::check::check;
use super::call::Call;
use super::client::{CLIENT_MAX_BYTES, Client, Hold};
use super::table::{Command, Flags, NotFound};
use super::{OUTPUT_HOLD_BYTES, STRANGER_OUTPUT_HOLD_BYTES, Server, work};
use crate::resp::request::{Limits, ProtocolError, Request};
use crate::resp::write;
use crate::sentinel::Sentinel;
use crate::sentinel::action::{Action, Cx, LogLevel};
use crate::sentinel::log_limit::LineKind;
use crate::util::ident::ConnId;

/// Longest argument; longer ones are a protocol error before they are sent.
const BULK_MAX_BYTES: usize = CLIENT_MAX_BYTES / 2;
/// A query buffer that has more room than this is made smaller when it is hardly used.
const QUERY_KEPT_BYTES: usize = 4096;
/// What a client may send; the number of arguments is bounded by the query buffer.
const AUTHENTICATED: Limits =
    Limits { args: i32::MAX as usize, bulk_bytes: BULK_MAX_BYTES, authenticated: true };
/// What it may send before it has authenticated: the parser knows how much less that is.
const UNAUTHENTICATED: Limits = Limits { authenticated: false, ..AUTHENTICATED };
/// Most bytes of a client's words that an error text repeats.
const ECHO_MAX_BYTES: usize = 128;

impl Server {
    /// Runs what `bytes` complete, and keeps the rest.
    pub(super) fn take_bytes(
        &mut self,
        cx: &mut Cx,
        sentinel: &mut Sentinel,
        conn: ConnId,
        bytes: &[u8],
    ) {
        let Some(client) = self.clients.get_mut(&conn) else { return };
        client.last_active = cx.now;
        if client.query.is_empty() && client.hold.is_none() {
            self.stats.saw_input(bytes.len(), cx.now);
            let used = self.run_requests(cx, sentinel, conn, bytes);
            if used < bytes.len() {
                self.keep(cx, conn, bytes[used..].to_vec());
            }
        } else {
            let mut query = std::mem::take(&mut client.query);
            let most = client.query_max_bytes(self.users.must_log_in(client));
            append(&mut query, bytes, most);
            self.stats.saw_input(query.len(), cx.now);
            self.take_query(cx, sentinel, conn, query);
        }
    }

    /// Lets clients go on whose hold has ended: one, and more as far as this turn allows.
    pub(super) fn run_resumed(&mut self, cx: &mut Cx, sentinel: &mut Sentinel) {
        while let Some(conn) = self.resumed.pop_first() {
            self.go_on(cx, sentinel, conn);
            if self.work.spent_ns() >= work::TURN_NS {
                return;
            }
        }
    }

    /// Lets the clients go on that were cut off in the turn before, as far as this turn allows.
    pub(super) fn run_cut_off(&mut self, cx: &mut Cx, sentinel: &mut Sentinel) {
        self.work.begin_turn();
        for _ in 0..self.work.waiting.len() {
            if self.work.spent_ns() >= work::TURN_NS {
                return;
            }
            let Some(conn) = self.work.waiting.pop_front() else { return };
            self.go_on(cx, sentinel, conn);
        }
    }

    fn go_on(&mut self, cx: &mut Cx, sentinel: &mut Sentinel, conn: ConnId) {
        let Some(client) = self.clients.get_mut(&conn) else { return };
        self.paused.remove(&conn);
        if client.hold.take().is_some() {
            cx.act(Action::Hold { conn, hold: false });
        }
        // It may have waited for longer than clients may be idle.
        client.last_active = cx.now;
        let query = std::mem::take(&mut client.query);
        self.take_query(cx, sentinel, conn, query);
        self.close_if_done(cx, conn);
    }

    fn take_query(&mut self, cx: &mut Cx, sentinel: &mut Sentinel, conn: ConnId, q: Vec<u8>) {
        let mut query = q;
        let used = self.run_requests(cx, sentinel, conn, &query);
        query.drain(..used);
        if query.is_empty() {
            self.weigh(cx, conn);
        } else {
            self.keep(cx, conn, query);
        }
    }

    /// Keeps bytes that make no whole request yet, or that may not be looked at yet.
    fn keep(&mut self, cx: &mut Cx, conn: ConnId, mut rest: Vec<u8>) {
        let Some(client) = self.clients.get_mut(&conn) else { return };
        if rest.capacity() > QUERY_KEPT_BYTES && rest.len() < rest.capacity() / 4 {
            rest.shrink_to_fit();
        }
        client.query = rest;
        let most = client.query_max_bytes(self.users.must_log_in(client));
        if client.query.len() > most {
            let path = self.settings.unixsocket.as_deref().unwrap_or(b"");
            let (now, what) = (cx.now, b"Closing client that reached max query buffer length: ");
            cx.log_limited(LineKind::QueryTooLong, || {
                [&what[..], &client.describe(now, path)].concat()
            });
            self.close(cx, conn);
        }
        self.weigh(cx, conn);
    }

    /// Runs whole requests at the front of `bytes`; gives how many bytes are done with.
    fn run_requests(
        &mut self,
        cx: &mut Cx,
        sentinel: &mut Sentinel,
        conn: ConnId,
        bytes: &[u8],
    ) -> usize {
        let mut used = 0;
        let slice_end_ns = self.work.slice_end_ns();
        let mut first = true;
        while used < bytes.len() {
            let Some(client) = self.clients.get_mut(&conn) else { return bytes.len() };
            let must_log_in = self.users.must_log_in(client);
            let most = if must_log_in { STRANGER_OUTPUT_HOLD_BYTES } else { OUTPUT_HOLD_BYTES };
            if client.hold.is_none() && client.unsent > most {
                hold(cx, client, Hold::Output);
            }
            if client.hold.is_none() && !first && self.work.spent_ns() >= slice_end_ns {
                hold(cx, client, Hold::Turn);
                self.work.waiting.push_back(conn);
            }
            if client.hold.is_some() {
                break;
            }
            let limits = if must_log_in { UNAUTHENTICATED } else { AUTHENTICATED };
            match client.parser.next_from(&bytes[used..], limits, &mut self.spare) {
                Ok(None) => break,
                Ok(Some((request, n))) => {
                    first = false;
                    if !request.is_empty() {
                        client.muting.skip = std::mem::take(&mut client.muting.skip_next);
                        let (actions, held) = (cx.actions.len(), client.held_bytes());
                        let ran = self.run_request(cx, sentinel, conn, request);
                        self.charge_for(cx, conn, n, actions, held);
                        if !ran {
                            break;
                        }
                    }
                    used += n;
                }
                Err(error) => {
                    self.refuse_protocol(cx, conn, &error);
                    return bytes.len();
                }
            }
        }
        used
    }

    /// Accounts for a request of `n` bytes, before which there were so many actions and so many
    /// bytes held for its client.
    fn charge_for(&mut self, cx: &Cx, conn: ConnId, n: usize, actions: usize, held: usize) {
        let held_now = self.clients.get(&conn).map_or(0, Client::held_bytes);
        let bytes = n + held_now.saturating_sub(held) + self.sink.len();
        self.work.charge(work::REQUEST_NS);
        self.work.charge_each(bytes, work::BYTE_NS);
        self.work.charge_each(cx.actions.len().saturating_sub(actions), work::ACTION_NS);
        self.drop_sink();
    }

    fn refuse_protocol(&mut self, cx: &mut Cx, conn: ConnId, error: &ProtocolError) {
        let reason = error.text();
        if self.logs(LogLevel::Verbose) {
            let Some(client) = self.clients.get(&conn) else { return };
            let (now, path) = (cx.now, self.unixsocket());
            cx.log_limited(LineKind::ProtocolError, || {
                let line = client.describe(now, path);
                [b"Protocol error (", &reason[..], b") from client: ", &line].concat()
            });
        }
        self.stats.errors += 1;
        let out = self.writer(cx.out, conn);
        write::error(out, &[b"ERR Protocol error: ", &reason[..]].concat());
        self.close_after_flush(cx, conn);
    }

    /// Takes one request through the checks and runs it. False if it must wait: then it has to be
    /// read again, so that nothing is held for it but its bytes.
    fn run_request(
        &mut self,
        cx: &mut Cx,
        sentinel: &mut Sentinel,
        conn: ConnId,
        words: Request,
    ) -> bool {
        let Some(client) = self.clients.get_mut(&conn) else { return true };
        if is_http(&words[0]) {
            self.refuse_http(cx, conn);
            return true;
        }
        // A queue that is empty now gets a vote at most.
        let tail_before = (!client.behind.is_empty()).then(|| client.tail_len());
        match self.admit(cx, conn, &words) {
            Err(text) => {
                self.stats.errors += 1;
                self.settle_new(cx);
                write::error(self.writer(cx.out, conn), &text);
            }
            Ok(command) => {
                let pause = self.pause_for(command);
                let Some(client) = self.clients.get_mut(&conn) else { return true };
                if let Some(why) = pause.or_else(|| votes_for(client, command)) {
                    client.muting.skip_next = client.muting.skip;
                    hold(cx, client, why);
                    if why == Hold::Pause {
                        self.paused.insert(conn);
                    }
                    self.spare.give_back(words);
                    return false;
                }
                client.last_command = Some(command);
                self.run(cx, sentinel, conn, command, &words);
            }
        }
        self.spare.give_back(words);
        if let Some(before) = tail_before
            && let Some(client) = self.clients.get_mut(&conn)
        {
            client.behind_bytes += client.tail_len().saturating_sub(before);
        }
        self.check_output(cx, conn);
        true
    }

    fn run(
        &mut self,
        cx: &mut Cx,
        sentinel: &mut Sentinel,
        conn: ConnId,
        command: &'static Command,
        words: &[Vec<u8>],
    ) {
        self.running = Some(conn);
        (command.run)(&mut Call { server: self, sentinel, cx, conn, command, args: words });
        self.stats.commands += 1;
        self.settle_new(cx);
        self.running = None;
        if self.clients.get(&conn).is_some_and(|client| client.doomed) {
            self.close(cx, conn);
        }
    }

    /// The checks: existence, arity, authentication, rights, subscription. The error text
    /// otherwise.
    fn admit(
        &mut self,
        cx: &Cx,
        conn: ConnId,
        words: &[Vec<u8>],
    ) -> Result<&'static Command, Vec<u8>> {
        let client = self.clients.get_mut(&conn);
        let before = client.as_ref().and_then(|client| client.last_command);
        let again = before.filter(|command| self.names.is_again(command, words));
        let command = match again.map_or_else(|| self.names.find(words), Ok) {
            Ok(command) => command,
            Err(NotFound::Command) => return Err(unknown_command(words)),
            Err(NotFound::Subcommand(container)) => {
                return Err(unknown_subcommand(container, &words[1]));
            }
        };
        if !command.takes(words.len()) {
            let name = command.full_name;
            let text = format!("ERR wrong number of arguments for '{name}' command");
            return Err(text.into_bytes());
        }
        let Some(client) = client else { return Ok(command) };
        if self.users.must_log_in(client) && !command.flags.has(Flags::NO_AUTH) {
            return Err(b"NOAUTH Authentication required.".to_vec());
        }
        if let Err(denial) = check(&client.user, command, words) {
            client.last_command = Some(command);
            return Err(self.deny(cx, conn, (command.full_name, words), denial));
        }
        if client.in_subscription() && !command.flags.has(Flags::IN_SUBSCRIPTION) {
            let name = command.full_name;
            let text = format!(
                "ERR Can't execute '{name}': only (P|S)SUBSCRIBE / (P|S)UNSUBSCRIBE / PING / QUIT \
                 / RESET are allowed in this context"
            );
            return Err(text.into_bytes());
        }
        Ok(command)
    }

    fn pause_for(&self, command: &Command) -> Option<Hold> {
        let pause = self.pause?;
        (!pause.writes_only || command.flags.has(Flags::WRITES)).then_some(Hold::Pause)
    }

    /// A browser that was tricked into talking to us must not get its next line run.
    fn refuse_http(&mut self, cx: &mut Cx, conn: ConnId) {
        cx.log_limited(LineKind::HttpRequest, || {
            let client = self.clients.get(&conn);
            let from = client.map(|c| c.addresses(self.unixsocket()).0).unwrap_or_default();
            [
                b"Possible SECURITY ATTACK: ",
                &from[..],
                b" speaks HTTP (POST or Host:), as in cross protocol scripting. Connection closed.",
            ]
            .concat()
        });
        self.close(cx, conn);
    }
}

/// Appends to a query buffer that may have `most` bytes: it grows by a quarter, but not far beyond
/// that.
fn append(query: &mut Vec<u8>, bytes: &[u8], most: usize) {
    let needed = query.len() + bytes.len();
    if needed > query.capacity() {
        let wanted = (needed + needed / 4).min(most).max(needed);
        query.reserve_exact(wanted - query.len());
    }
    query.extend_from_slice(bytes);
}

/// Stops looking at requests of a client.
pub(super) fn hold(cx: &mut Cx, client: &mut Client, why: Hold) {
    client.hold = Some(why);
    cx.act(Action::Hold { conn: client.conn, hold: true });
}

/// Whether a command must wait until the votes asked for before it are on disk.
fn votes_for(client: &Client, command: &Command) -> Option<Hold> {
    let may_run = client.behind.is_empty()
        || (command.flags.has(Flags::BEHIND_VOTE) && client.has_room_behind());
    (!may_run).then_some(Hold::Votes)
}

fn is_http(word: &[u8]) -> bool {
    word.eq_ignore_ascii_case(b"post") || word.eq_ignore_ascii_case(b"host:")
}

fn unknown_command(words: &[Vec<u8>]) -> Vec<u8> {
    let mut text = [b"ERR unknown command '", cut(&words[0], ECHO_MAX_BYTES)].concat();
    text.extend_from_slice(b"', with args beginning with: ");
    let start = text.len();
    for word in &words[1..] {
        let used = text.len() - start;
        if used >= ECHO_MAX_BYTES {
            break;
        }
        text.push(b'\'');
        text.extend_from_slice(cut(word, ECHO_MAX_BYTES - used));
        text.extend_from_slice(b"' ");
    }
    text
}

fn unknown_subcommand(container: &str, word: &[u8]) -> Vec<u8> {
    let mut text = [b"ERR unknown subcommand '", cut(word, ECHO_MAX_BYTES), b"'. Try "].concat();
    text.extend_from_slice(container.to_ascii_uppercase().as_bytes());
    text.extend_from_slice(b" HELP.");
    text
}

/// The front of a word, at most `max` bytes and up to its first NUL.
fn cut(word: &[u8], max: usize) -> &[u8] {
    let end = word.iter().position(|b| *b == 0).unwrap_or(word.len());
    &word[..end.min(max)]
}
