//! Replies that cannot be given at once: a save, a vote, a lookup or the check of a script must
//! come first. Every wait survives its client and its master, and an answer that never comes.
#![forbid(unsafe_code)]

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use super::Server;
use super::call::text;
use super::client::{HeldAsk, Hold, Slot};
use super::cmd_sentinel::{MonitorAsk, write_ask_reply};
use super::dispatch::hold;
use super::sentinel_set::SetJob;
use crate::resp::write;
use crate::sentinel::Sentinel;
use crate::sentinel::action::{Action, Cx};
use crate::sentinel::instance::MasterId;
use crate::sentinel::vote::{AskOutcome, Ticket, Vote};
use crate::util::ident::{CheckId, ConnId};
use crate::util::time::Mono;

/// A vote is answered after this time whether it is on disk or not (then with the old one).
const VOTE_WAIT_MS: u64 = 500;
/// A name that is not found by then counts as unknown.
const LOOKUP_WAIT_MS: u64 = 5_000;
/// A script that is not found by then counts as missing.
const CHECK_WAIT_MS: u64 = 5_000;
/// Most lookups, and most checks, that commands may wait for.
const WAITS_MAX: usize = 1024;

/// What follows a save, beside the reply.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum AfterSave {
    Nothing,
    /// The master was added: tell so.
    Monitored(MasterId),
}

#[derive(Debug)]
struct SaveWait {
    ticket: Ticket,
    conn: ConnId,
    then: AfterSave,
}

#[derive(Debug)]
struct LookupWait {
    ask: MonitorAsk,
    deadline: Mono,
}

#[derive(Debug)]
struct CheckWait {
    job: SetJob,
    deadline: Mono,
}

/// A wait that has a deadline.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
enum Wait {
    Votes(ConnId),
    Lookup(u64),
    Check(CheckId),
}

/// All waits. Thousands of clients may wait at the same time, so each is found by what ends it.
#[derive(Debug, Default)]
pub struct Waits {
    /// By the generation that they wait for, then in the order in which they came.
    saves: BTreeMap<(u64, u64), SaveWait>,
    /// Which of them a client waits for.
    saves_of: BTreeSet<(ConnId, (u64, u64))>,
    lookups: BTreeMap<u64, LookupWait>,
    /// The lookups by their host in lower case.
    by_host: BTreeSet<(Vec<u8>, u64)>,
    checks: BTreeMap<CheckId, CheckWait>,
    /// Clients with votes or asks at the front of their queue, and the deadline of the first.
    voting: BTreeMap<ConnId, Mono>,
    /// Who asked about masters by a host, in lower case, that is being looked up, and how often.
    asking: BTreeMap<(Vec<u8>, ConnId), u32>,
    by_deadline: BTreeSet<(Mono, Wait)>,
    /// Numbers the waits.
    last: u64,
    /// The last save that ended: generation, and whether it worked.
    last_save: Option<(u64, bool)>,
}

impl Waits {
    /// When a wait ends by itself.
    pub fn next_deadline(&self) -> Option<Mono> {
        self.by_deadline.first().map(|(deadline, _)| *deadline)
    }

    /// Drops waits of a client that only its reply depends on; `queue` is what it waits for.
    pub fn client_gone(&mut self, conn: ConnId, queue: &VecDeque<Slot>) {
        self.set_voting(conn, None);
        for slot in queue {
            if let Slot::Ask { ask, .. } = slot {
                self.asked_no_more(&ask.host, conn);
            }
        }
        let all = (conn, (0, 0))..=(conn, (u64::MAX, u64::MAX));
        for (_, key) in self.saves_of.range(all).copied().collect::<Vec<_>>() {
            if self.saves.get(&key).is_some_and(|wait| wait.then == AfterSave::Nothing) {
                self.take_save(key);
            }
        }
    }

    /// One ask less of a client about a host.
    fn asked_no_more(&mut self, host: &[u8], conn: ConnId) {
        let key = (host.to_ascii_lowercase(), conn);
        match self.asking.get_mut(&key) {
            Some(count) if *count > 1 => *count -= 1,
            _ => drop(self.asking.remove(&key)),
        }
    }

    fn next_number(&mut self) -> u64 {
        self.last += 1;
        self.last
    }

    /// A client waits for votes until `deadline`, or for none any more.
    fn set_voting(&mut self, conn: ConnId, deadline: Option<Mono>) {
        let before = match deadline {
            Some(at) => self.voting.insert(conn, at),
            None => self.voting.remove(&conn),
        };
        if before == deadline {
            return;
        }
        if let Some(at) = before {
            self.by_deadline.remove(&(at, Wait::Votes(conn)));
        }
        if let Some(at) = deadline {
            self.by_deadline.insert((at, Wait::Votes(conn)));
        }
    }

    fn add_save(&mut self, wait: SaveWait) {
        let key = (wait.ticket.0, self.next_number());
        self.saves_of.insert((wait.conn, key));
        self.saves.insert(key, wait);
    }

    fn take_save(&mut self, key: (u64, u64)) -> Option<SaveWait> {
        let wait = self.saves.remove(&key)?;
        self.saves_of.remove(&(wait.conn, key));
        Some(wait)
    }

    fn add_lookup(&mut self, wait: LookupWait) {
        let number = self.next_number();
        self.by_host.insert((wait.ask.host.to_ascii_lowercase(), number));
        self.by_deadline.insert((wait.deadline, Wait::Lookup(number)));
        self.lookups.insert(number, wait);
    }

    fn take_lookup(&mut self, number: u64) -> Option<LookupWait> {
        let wait = self.lookups.remove(&number)?;
        self.by_host.remove(&(wait.ask.host.to_ascii_lowercase(), number));
        self.by_deadline.remove(&(wait.deadline, Wait::Lookup(number)));
        Some(wait)
    }

    fn take_check(&mut self, check: CheckId) -> Option<CheckWait> {
        let wait = self.checks.remove(&check)?;
        self.by_deadline.remove(&(wait.deadline, Wait::Check(check)));
        Some(wait)
    }

    /// Nothing is waited for, and nothing is left of what was.
    #[cfg(test)]
    pub fn is_idle(&self) -> bool {
        let Waits {
            saves, saves_of, lookups, by_host, checks, voting, asking, by_deadline, ..
        } = self;
        let rest = (saves_of.len(), by_host.len(), asking.len(), by_deadline.len());
        (saves.len(), lookups.len(), checks.len(), voting.len(), rest) == (0, 0, 0, 0, (0, 0, 0, 0))
    }

    /// How many clients wait for something.
    pub fn len(&self) -> usize {
        self.saves.len() + self.lookups.len() + self.checks.len() + self.voting.len()
    }

    fn is_saved(&self, ticket: Ticket) -> bool {
        self.last_save.is_some_and(|(generation, _)| generation >= ticket.0)
    }
}

impl Server {
    /// A save has ended: everything that waited for it is answered.
    pub fn saved(&mut self, cx: &mut Cx, sentinel: &mut Sentinel, generation: u64, ok: bool) {
        self.begin();
        self.waits.last_save = Some((generation, ok));
        let ended = self.waits.saves.range(..=(generation, u64::MAX));
        for key in ended.map(|(key, _)| *key).collect::<Vec<_>>() {
            // The end of another one may have closed its client.
            if let Some(wait) = self.waits.take_save(key) {
                self.finish_save(cx, sentinel, wait, ok);
            }
        }
        for conn in self.waits.voting.keys().copied().collect::<Vec<_>>() {
            self.flush_votes(cx, sentinel, conn);
        }
        self.run_resumed(cx, sentinel);
    }

    /// A lookup has ended: commands that waited for that host go on.
    pub fn host_answered(&mut self, cx: &mut Cx, sentinel: &mut Sentinel, host: &[u8]) {
        self.begin();
        let host = host.to_ascii_lowercase();
        let ended = self.waits.by_host.range((host.clone(), 0)..=(host.clone(), u64::MAX));
        for number in ended.map(|(_, number)| *number).collect::<Vec<_>>() {
            if let Some(wait) = self.waits.take_lookup(number) {
                self.run_monitor(cx, sentinel, wait.ask, Some(wait.deadline));
            }
        }
        let asking = self.waits.asking.range((host.clone(), ConnId(0))..=(host, ConnId(u64::MAX)));
        for (host, conn) in asking.map(|(key, _)| key.clone()).collect::<Vec<_>>() {
            self.ask_again(cx, sentinel, conn, &host);
            self.waits.asking.remove(&(host, conn));
            self.flush_votes(cx, sentinel, conn);
        }
        self.run_resumed(cx, sentinel);
    }

    /// The host of asks of a client was looked up.
    fn ask_again(&mut self, cx: &mut Cx, sentinel: &mut Sentinel, conn: ConnId, host: &[u8]) {
        let Some(client) = self.clients.get_mut(&conn) else { return };
        for slot in &mut client.behind {
            let Slot::Ask { ask, deadline } = slot else { continue };
            if !ask.host.eq_ignore_ascii_case(host) {
                continue;
            }
            let deadline = *deadline;
            client.behind_bytes -= ask.bytes();
            *slot = match sentinel.asked(cx, &ask.as_ask()) {
                AskOutcome::Wait { down, master, ticket } => {
                    Slot::Vote { down, master, ticket, deadline }
                }
                outcome => {
                    // Another lookup of the name is on its way already: this one told nothing.
                    let (down, vote) = match outcome {
                        AskOutcome::Answer { down, vote } => (down, vote),
                        _ => (false, Vote::default()),
                    };
                    let mut reply = Vec::new();
                    write_ask_reply(&mut reply, down, &vote);
                    client.behind_bytes += reply.len();
                    Slot::Ready(reply)
                }
            };
        }
    }

    /// The shell knows whether a path is an executable file.
    pub fn script_checked(
        &mut self,
        cx: &mut Cx,
        sentinel: &mut Sentinel,
        check: CheckId,
        executable: bool,
    ) {
        self.begin();
        if let Some(wait) = self.waits.take_check(check) {
            self.run_set_checked(cx, sentinel, wait.job, executable);
        }
        self.run_resumed(cx, sentinel);
    }

    /// Ends the waits whose time is over.
    pub(super) fn run_due_waits(&mut self, cx: &mut Cx, sentinel: &mut Sentinel) {
        let due = self.waits.by_deadline.iter().take_while(|(deadline, _)| *deadline <= cx.now);
        for wait in due.map(|(_, wait)| *wait).collect::<Vec<_>>() {
            match wait {
                Wait::Votes(conn) => self.flush_votes(cx, sentinel, conn),
                Wait::Lookup(number) => {
                    if let Some(wait) = self.waits.take_lookup(number) {
                        self.answer_error(cx, wait.ask.conn, super::cmd_sentinel::BAD_HOST);
                    }
                }
                Wait::Check(check) => {
                    if let Some(wait) = self.waits.take_check(check) {
                        self.run_set_checked(cx, sentinel, wait.job, false);
                    }
                }
            }
        }
    }

    /// Answers `+OK` when the save of `ticket` has ended.
    pub(super) fn wait_for_save(
        &mut self,
        cx: &mut Cx,
        sentinel: &mut Sentinel,
        conn: ConnId,
        ticket: Ticket,
        then: AfterSave,
    ) {
        let wait = SaveWait { ticket, conn, then };
        match self.waits.last_save {
            Some((_, ok)) if self.waits.is_saved(ticket) => {
                self.finish_save(cx, sentinel, wait, ok);
            }
            _ => {
                self.waits.add_save(wait);
                self.hold_for_answer(cx, conn);
            }
        }
    }

    fn finish_save(&mut self, cx: &mut Cx, sentinel: &mut Sentinel, wait: SaveWait, ok: bool) {
        if ok {
            self.answer(cx, wait.conn, |out| write::simple(out, b"OK"));
        } else {
            self.answer_error(cx, wait.conn, text::SAVE_FAILED);
        }
        if let AfterSave::Monitored(master) = wait.then
            && sentinel.masters.contains(master)
        {
            sentinel.monitored(cx, master);
            self.settle_new(cx);
        }
    }

    /// Answers a vote when it is on disk; other replies of the client queue up behind it.
    pub(super) fn wait_for_vote(
        &mut self,
        cx: &mut Cx,
        conn: ConnId,
        down: bool,
        master: MasterId,
        ticket: Ticket,
    ) {
        let Some(client) = self.clients.get_mut(&conn) else { return };
        if !client.is_muted() {
            let deadline = cx.now.after(VOTE_WAIT_MS);
            client.behind.push_back(Slot::Vote { down, master, ticket, deadline });
            if !self.waits.voting.contains_key(&conn) {
                self.waits.set_voting(conn, Some(deadline));
            }
        }
    }

    /// Answers an ask when its host was looked up, but not later than a vote.
    pub(super) fn wait_for_host(&mut self, cx: &mut Cx, conn: ConnId, ask: HeldAsk) {
        let Some(client) = self.clients.get_mut(&conn) else { return };
        if client.is_muted() {
            return;
        }
        let deadline = cx.now.after(VOTE_WAIT_MS);
        client.behind_bytes += ask.bytes();
        *self.waits.asking.entry((ask.host.to_ascii_lowercase(), conn)).or_default() += 1;
        client.behind.push_back(Slot::Ask { ask: Box::new(ask), deadline });
        if !self.waits.voting.contains_key(&conn) {
            self.waits.set_voting(conn, Some(deadline));
        }
    }

    /// Writes what is ready at the front of a client's queue.
    fn flush_votes(&mut self, cx: &mut Cx, sentinel: &Sentinel, conn: ConnId) {
        self.settle_new(cx);
        let Some(client) = self.clients.get_mut(&conn) else { return };
        let mut unheard = Vec::new();
        let out = cx.out.buffer(conn).unwrap_or(&mut unheard);
        let mut deadline = None;
        while let Some(slot) = client.behind.front() {
            match slot {
                Slot::Vote { ticket, deadline: at, .. }
                    if !self.waits.is_saved(*ticket) && *at > cx.now =>
                {
                    deadline = Some(*at);
                    break;
                }
                Slot::Ask { deadline: at, .. } if *at > cx.now => {
                    deadline = Some(*at);
                    break;
                }
                Slot::Ask { ask, .. } => {
                    client.behind_bytes -= ask.bytes();
                    self.waits.asked_no_more(&ask.host, conn);
                    write_ask_reply(out, false, &Vote::default());
                }
                Slot::Vote { down, master, .. } => {
                    // What was seen before a pause of the process is not told in tilt.
                    let down = *down && sentinel.tilt.since.is_none();
                    write_ask_reply(out, down, &sentinel.vote_answer(*master));
                }
                Slot::Ready(bytes) => {
                    out.extend_from_slice(bytes);
                    client.behind_bytes -= bytes.len();
                }
            }
            client.behind.pop_front();
        }
        self.waits.set_voting(conn, deadline);
        if deadline.is_none() {
            client.behind = Default::default();
            if client.hold == Some(Hold::Votes) || client.read_closed {
                self.resumed.insert(conn);
            }
        }
        self.check_output(cx, conn);
    }

    /// Keeps a MONITOR until its host is looked up, until `deadline` if it waited before; false if
    /// too many wait already.
    pub(super) fn wait_for_lookup(
        &mut self,
        cx: &mut Cx,
        ask: MonitorAsk,
        deadline: Option<Mono>,
    ) -> bool {
        if self.waits.lookups.len() >= WAITS_MAX {
            return false;
        }
        self.hold_for_answer(cx, ask.conn);
        let deadline = deadline.unwrap_or(cx.now.after(LOOKUP_WAIT_MS));
        self.waits.add_lookup(LookupWait { ask, deadline });
        true
    }

    /// Asks whether the script a SET names is executable; false if too many are asked already.
    pub(super) fn wait_for_check(&mut self, cx: &mut Cx, job: SetJob, path: Vec<u8>) -> bool {
        if self.waits.checks.len() >= WAITS_MAX {
            return false;
        }
        self.hold_for_answer(cx, job.conn);
        let check = CheckId(self.waits.next_number());
        let deadline = cx.now.after(CHECK_WAIT_MS);
        self.waits.by_deadline.insert((deadline, Wait::Check(check)));
        self.waits.checks.insert(check, CheckWait { job, deadline });
        cx.act(Action::CheckScript { check, path });
        true
    }

    pub(super) fn hold_for_answer(&mut self, cx: &mut Cx, conn: ConnId) {
        if let Some(client) = self.clients.get_mut(&conn)
            && client.hold.is_none()
        {
            hold(cx, client, Hold::Answer);
        }
    }

    /// Writes the reply of a command that may have waited, and lets its client go on.
    pub(super) fn answer(&mut self, cx: &mut Cx, conn: ConnId, write: impl FnOnce(&mut Vec<u8>)) {
        self.settle_new(cx);
        write(self.writer(cx.out, conn));
        let Some(client) = self.clients.get(&conn) else { return };
        if client.hold == Some(Hold::Answer) {
            self.resumed.insert(conn);
        }
        self.check_output(cx, conn);
    }

    /// Like [`Server::answer`], with an error.
    pub(super) fn answer_error(&mut self, cx: &mut Cx, conn: ConnId, text: &[u8]) {
        self.stats.errors += 1;
        self.answer(cx, conn, |out| write::error(out, text));
    }
}
