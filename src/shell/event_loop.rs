//! The loop: one epoll, one thread, one turn after the other (architecture, contract 0).
//!
//! Listeners and clients have a poll of their own, nested in that of the loop: with thousands of
//! links a turn may have thousands of sockets to read, and clients are served in between instead
//! of after them, several times in a millisecond. Due work is taken in small pieces until a
//! millisecond is over. While nothing happens with many links, the loop leaves what arrives over
//! them alone for some milliseconds after each turn, waiting for clients and deadlines only.
#![forbid(unsafe_code)]

use std::collections::{BTreeSet, VecDeque};
use std::io;
use std::net::IpAddr;
use std::os::fd::AsRawFd;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use mio::event::Event;
use mio::unix::SourceFd;
use mio::{Events, Interest, Poll, Token, Waker};
use nix::sys::signal::Signal;

use super::clock::{self, ClockSource};
use super::connect::{self, Options};
use super::disk::{Disk, Done, Job};
use super::dns::Resolver;
use super::files;
use super::listen::Listener;
use super::logging::{self, Logs};
use super::machine::Machine;
use super::memory::Memory;
use super::notify::Supervisor;
use super::pacer::Pacer;
use super::process;
use super::signals::Signals;
use super::sockets::{FIRST_SLOT, Stream, Table};
use super::system;
use crate::node::Closed;
use crate::sentinel::action::{Action, Question};
use crate::sentinel::log_limit::LogLimits;
use crate::util::ident::{AskId, CheckId, ConnId, JobId};
use crate::util::time::Mono;

const SIGNALS: Token = Token(0);
const WAKER: Token = Token(1);
/// Something is to be had of the poll of the clients.
const CLIENTS: Token = Token(2);
const FIRST_LISTENER: usize = 3;
/// What one poll returns at most; more are fetched before any deadline is judged.
const EVENTS_MAX: usize = 1024;
/// Clients get their turn this long after the last one, however long the loop's own turn is.
const CLIENTS_EVERY: Duration = Duration::from_micros(250);
/// Due work is begun for so long in one turn; a piece takes some microseconds.
const DUE_MAX: Duration = Duration::from_millis(1);
/// The loop wakes up at least this often even if the core has no deadline.
const SLEEP_MAX_MS: u64 = 60_000;
/// How often INFO's CPU times are renewed, if the loop runs at all.
const CPU_TIMES_EVERY_MS: u64 = 1000;
/// How often memory is looked after: that takes some milliseconds where there is much to give back.
const MEMORY_EVERY_MS: u64 = 2000;
/// How long replies of links wait for others to be taken with them, while the core is at rest.
const NAP: Duration = Duration::from_millis(3);
/// What one read takes at most: some hundred requests or replies, half a millisecond of work.
const READ_BYTES: usize = 16 << 10;
/// Results of the threads, and children that ended, taken in one turn of each kind: one may be the
/// reason for the next.
pub(super) const RESULTS_PER_TURN: usize = 32;
/// How long the end of the process waits for a save that is under way.
const LAST_SAVE_MAX_MS: u64 = 1000;

/// What the loop is made of.
pub struct Parts<M> {
    pub machine: M,
    pub listeners: Vec<Listener>,
    /// `None`: signals are not the loop's business (tests).
    pub signals: Option<Signals>,
    pub config_file: PathBuf,
    pub options: Options,
    pub supervisor: Supervisor,
    pub logs: Logs,
}

/// How the loop ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct End {
    pub code: i32,
    /// Pid file and Unix socket are to be removed.
    pub clean: bool,
}

/// What the core is told once it has nothing more to say to the input before.
enum Answer {
    ConnStarted(ConnId, Option<IpAddr>),
    ConnFailed(ConnId, Closed),
    ScriptChecked(CheckId, bool),
    Spawned(JobId, Result<i32, String>),
    Answered(AskId, Result<Vec<u8>, String>),
}

/// The loop with all that it drives.
pub struct EventLoop<M> {
    pub(super) machine: M,
    pub(super) poll: Poll,
    /// Listeners and clients have a poll of their own, which the other one watches: they need not
    /// wait until thousands of links were served.
    pub(super) clients: Poll,
    client_events: Option<Events>,
    /// They are there already, from a nap.
    clients_polled: bool,
    /// The poll of the clients may have more to tell.
    clients_woken: bool,
    /// When clients last had their turn.
    clients_served: Instant,
    clock: ClockSource,
    /// The time of this turn.
    pub(super) now: Mono,
    pub(super) listeners: Vec<Listener>,
    pub(super) table: Table,
    pub(super) options: Options,
    pub(super) pacer: Pacer,
    /// Sockets and listeners with more to take than one turn takes.
    pub(super) ready: Vec<Token>,
    /// When to accept again after descriptors ran out; `None`: accepting.
    pub(super) accept_again: Option<Mono>,
    pub(super) log_limits: LogLimits,
    /// Connections to flush beside those that the core names.
    pub(super) to_flush: Vec<ConnId>,
    /// Their peer takes nothing more: the core hears of it in the next turn.
    pub(super) broken: Vec<ConnId>,
    /// Closed by the loop after their flush: the core hears of it in the next turn.
    pub(super) gone: Vec<ConnId>,
    /// Those at their end ([`Socket::ends_at`]), with the time to look at them again.
    closing: BTreeSet<(Mono, ConnId)>,
    answers: VecDeque<Answer>,
    pub(super) buf: Vec<u8>,
    pub(super) touched: Vec<ConnId>,
    disk: Disk,
    resolver: Resolver,
    signals: Option<Signals>,
    signalled: bool,
    /// More children may have ended than one turn takes.
    unreaped: bool,
    woken: bool,
    shutdown_asked: bool,
    cpu_due: Mono,
    memory: Memory,
    memory_due: Mono,
    more_due: bool,
    supervisor: Supervisor,
    pub(super) logs: Logs,
    end: Option<End>,
}

impl<M: Machine> EventLoop<M> {
    /// Makes the poll and registers what is there. Threads start when they are needed.
    pub fn new(mut parts: Parts<M>) -> io::Result<EventLoop<M>> {
        let poll = Poll::new()?;
        let waker = Arc::new(Waker::new(poll.registry(), WAKER)?);
        if let Some(signals) = &parts.signals {
            let fd = signals.as_raw_fd();
            poll.registry().register(&mut SourceFd(&fd), SIGNALS, Interest::READABLE)?;
        }
        let clients = Poll::new()?;
        let fd = clients.as_raw_fd();
        poll.registry().register(&mut SourceFd(&fd), CLIENTS, Interest::READABLE)?;
        if parts.listeners.len() > FIRST_SLOT - FIRST_LISTENER {
            return Err(io::Error::other("too many addresses to listen on"));
        }
        for (index, listener) in parts.listeners.iter_mut().enumerate() {
            clients.registry().register(listener, listener_token(index), Interest::READABLE)?;
        }
        Ok(EventLoop {
            machine: parts.machine,
            poll,
            clients,
            client_events: Some(Events::with_capacity(EVENTS_MAX)),
            clients_polled: false,
            clients_woken: false,
            clients_served: Instant::now(),
            clock: ClockSource::default(),
            now: Mono(0),
            listeners: parts.listeners,
            table: Table::default(),
            options: parts.options,
            pacer: Pacer::default(),
            ready: Vec::new(),
            accept_again: None,
            log_limits: LogLimits::default(),
            to_flush: Vec::new(),
            broken: Vec::new(),
            gone: Vec::new(),
            closing: BTreeSet::new(),
            answers: VecDeque::new(),
            buf: vec![0; READ_BYTES],
            touched: Vec::new(),
            disk: Disk::new(parts.config_file, Arc::clone(&waker)),
            resolver: Resolver::new(waker),
            signals: parts.signals,
            signalled: false,
            unreaped: false,
            woken: false,
            shutdown_asked: false,
            cpu_due: Mono(0),
            memory: Memory::default(),
            memory_due: Mono(0),
            more_due: false,
            supervisor: parts.supervisor,
            logs: parts.logs,
            end: None,
        })
    }

    /// Starts the machine; gives the end if it wants none of it.
    pub fn start(&mut self) -> Option<End> {
        self.begin_turn();
        self.machine.start();
        self.drain();
        self.machine.end_turn();
        self.drain();
        self.flush();
        self.logs.write_out();
        self.end
    }

    /// Set once the process is to end.
    pub(super) fn end(&self) -> Option<End> {
        self.end
    }

    /// The supervisor hears that connections are accepted.
    pub fn tell_ready(&self) {
        self.supervisor.ready();
    }

    /// Runs turn after turn until the core ends the process.
    pub fn run(&mut self) -> io::Result<End> {
        let mut events = Events::with_capacity(EVENTS_MAX);
        let end = loop {
            if let Some(end) = self.end {
                break end;
            }
            let turn = self.turn(&mut events);
            self.logs.write_out();
            turn?;
        };
        self.supervisor.stopping();
        self.disk.finish(Duration::from_millis(LAST_SAVE_MAX_MS));
        Ok(end)
    }

    /// One wakeup, in the order of the contract.
    pub(super) fn turn(&mut self, events: &mut Events) -> io::Result<()> {
        self.nap()?;
        let timeout = self.sleep_time();
        poll(&mut self.poll, events, timeout)?;
        self.clients_served = Instant::now();
        self.begin_turn();
        self.take_events(events)?;
        if self.machine.next_deadline() <= self.now {
            // The process may have been stopped between the poll and the clock: what came before
            // the time by which deadlines are judged has to be read before they are.
            poll(&mut self.poll, events, Duration::ZERO)?;
            self.take_events(events)?;
        }
        let steps = [
            Self::serve_ready,
            Self::tell_of_broken,
            Self::take_signals,
            Self::take_results,
            Self::look_at_time,
            Self::start_waiting_connects,
            Self::run_due,
            Self::end_turn,
        ];
        for step in steps {
            if self.end.is_some() {
                return Ok(());
            }
            step(self);
        }
        self.flush();
        self.set_gathers();
        Ok(())
    }

    /// Waits for clients and deadlines only, if the core is at rest: each reply of thousands of
    /// links would wake us otherwise.
    fn nap(&mut self) -> io::Result<()> {
        let time = self.sleep_time().min(NAP);
        if time.is_zero() || !self.machine.is_at_rest() {
            return Ok(());
        }
        if let Some(events) = &mut self.client_events {
            poll(&mut self.clients, events, time)?;
            self.clients_polled = !events.is_empty();
            self.clients_woken |= self.clients_polled;
        }
        Ok(())
    }

    /// Until the next deadline of the core or of the loop itself; zero if there is work at hand.
    pub(super) fn sleep_time(&self) -> Duration {
        let work = self.more_due
            || self.clients_woken
            || self.woken
            || self.unreaped
            || !(self.ready.is_empty()
                && self.to_flush.is_empty()
                && self.broken.is_empty()
                && self.gone.is_empty());
        if work {
            return Duration::ZERO;
        }
        let mut due = self.machine.next_deadline();
        let closing = self.closing.first().map(|(due, _)| *due);
        let connect = self.pacer.due(self.now);
        let own = [closing, connect, self.accept_again, self.supervisor.watchdog_due()];
        for own_due in own.into_iter().flatten() {
            due = due.min(own_due);
        }
        Duration::from_millis(due.since(clock::mono()).min(SLEEP_MAX_MS))
    }

    fn begin_turn(&mut self) {
        let clock = self.clock.read();
        self.now = clock.mono;
        self.logs.gather();
        self.machine.begin_turn(clock);
        self.drain();
    }

    /// Takes all events, those too that did not fit into one poll. Each round serves other sockets
    /// than the one before, unless they got new data meanwhile; the bound is for that case.
    fn take_events(&mut self, events: &mut Events) -> io::Result<()> {
        for _ in 0..self.table.len() / events.capacity() + 2 {
            for event in events.iter() {
                self.take_event(event);
                self.serve_waiting_clients();
                if self.end.is_some() {
                    return Ok(());
                }
            }
            self.take_client_events();
            if events.iter().count() < events.capacity() {
                return Ok(());
            }
            poll(&mut self.poll, events, Duration::ZERO)?;
        }
        // What the last poll brought must not be lost: an edge is told only once.
        for event in events.iter() {
            self.take_event(event);
        }
        Ok(())
    }

    /// All that the poll of the clients told us of. Each round serves others, as above.
    fn take_client_events(&mut self) {
        for _ in 0..self.table.len() / EVENTS_MAX + 2 {
            if !self.clients_woken || self.end.is_some() {
                return;
            }
            self.serve_clients();
        }
    }

    /// To be called between the pieces of whatever may take longer than clients should wait.
    pub(super) fn serve_waiting_clients(&mut self) {
        if self.clients_served.elapsed() >= CLIENTS_EVERY && self.end.is_none() {
            self.serve_clients();
        }
    }

    /// Takes what clients want, as much as one poll tells, and lets them have the answers. Does
    /// nothing when it is these clients' work in whose midst it is called.
    fn serve_clients(&mut self) {
        let Some(mut events) = self.client_events.take() else { return };
        // A failure shows in the next turn again, there is nothing to be lost by it.
        let polled = match std::mem::take(&mut self.clients_polled) {
            true => Ok(()),
            false => poll(&mut self.clients, &mut events, Duration::ZERO),
        };
        self.clients_woken = match polled {
            Ok(()) => events.iter().count() == events.capacity(),
            Err(_) => true,
        };
        for event in events.iter() {
            if self.end.is_none() {
                self.take_event(event);
            }
        }
        if !events.is_empty() && self.end.is_none() {
            self.flush_clients();
        }
        self.client_events = Some(events);
        self.clients_served = Instant::now();
    }

    fn take_event(&mut self, event: &Event) {
        match event.token() {
            CLIENTS => self.clients_woken = true,
            SIGNALS => self.signalled = true,
            WAKER => self.woken = true,
            Token(number) if number < FIRST_SLOT => self.serve_listener(number - FIRST_LISTENER),
            token => self.socket_event(token, event),
        }
    }

    fn serve_ready(&mut self) {
        for token in std::mem::take(&mut self.ready) {
            if token.0 < FIRST_SLOT {
                self.serve_listener(token.0 - FIRST_LISTENER);
            } else if let Some(socket) = self.table.get(token) {
                socket.in_ready = false;
                self.serve_readable(token, true);
            }
        }
    }

    fn take_signals(&mut self) {
        if std::mem::take(&mut self.unreaped) {
            self.reap();
        }
        if !std::mem::take(&mut self.signalled) {
            return;
        }
        while let Some(signal) = self.signals.as_ref().and_then(Signals::next) {
            match signal {
                Signal::SIGINT if self.shutdown_asked => {
                    logging::write_signal("You insist... exiting now.");
                    self.end = Some(End { code: 1, clean: false });
                    return;
                }
                Signal::SIGTERM | Signal::SIGINT => {
                    let name = signal.as_str();
                    logging::write_signal(&format!("Received {name} scheduling shutdown..."));
                    self.shutdown_asked = true;
                    self.machine.shutdown_asked();
                    self.drain();
                }
                Signal::SIGHUP => self.logs.reopen(),
                Signal::SIGCHLD => self.reap(),
                _ => {}
            }
        }
    }

    /// Takes the children that ended; those beyond the turn's share are left to the next one.
    fn reap(&mut self) {
        self.unreaped = false;
        for _ in 0..RESULTS_PER_TURN {
            let Some(ended) = process::reap() else { return };
            self.machine.child_exited(ended.pid, ended.exit_code, ended.signal);
            self.drain();
        }
        self.unreaped = true;
    }

    /// What the threads brought; what is beyond the turn's share is left to the next one.
    fn take_results(&mut self) {
        if !std::mem::take(&mut self.woken) {
            return;
        }
        for _ in 0..RESULTS_PER_TURN {
            let done = self.disk.poll();
            let resolved = self.resolver.poll();
            if done.is_none() && resolved.is_none() {
                return;
            }
            match done {
                Some(Done::Saved { generation, result, took_ms }) => {
                    self.machine.persisted(generation, result, took_ms);
                }
                Some(Done::Answered { ask, result }) => self.machine.answered(ask, result),
                None => {}
            }
            self.drain();
            if let Some((lookup, ips)) = resolved {
                self.machine.resolved(lookup, ips);
                self.drain();
            }
            self.serve_waiting_clients();
        }
        self.woken = true;
    }

    /// The loop's own deadlines.
    pub(super) fn look_at_time(&mut self) {
        while let Some((due, conn)) = self.closing.first().copied()
            && due <= self.now
        {
            self.closing.pop_first();
            let Some(token) = self.table.token(conn) else { continue };
            let due = self.table.get(token).and_then(|socket| socket.ends_at());
            let Some(due) = due else { continue };
            if due <= self.now {
                self.remove(conn);
                self.machine.closed(conn, Closed::Error);
                self.drain();
            } else {
                self.closing.insert((due, conn));
            }
        }
        if self.accept_again.is_some_and(|at| at <= self.now) {
            self.accept_again = None;
            for index in 0..self.listeners.len() {
                self.serve_listener(index);
            }
        }
        if self.now >= self.cpu_due {
            self.cpu_due = self.now.after(CPU_TIMES_EVERY_MS);
            self.machine.cpu_times(system::cpu_times());
            self.drain();
            self.disk.look_at_space(self.now);
            for (level, text) in self.log_limits.take_due(self.now) {
                logging::write(level, text.as_bytes());
            }
        }
        if self.now >= self.memory_due && !self.more_due {
            self.memory_due = self.now.after(MEMORY_EVERY_MS);
            self.memory.look();
        }
        self.supervisor.watchdog(self.now);
    }

    fn start_waiting_connects(&mut self) {
        while let Some((conn, ip, port)) = self.pacer.next(self.now) {
            self.begin_connect(conn, ip, port);
            self.drain();
            self.serve_waiting_clients();
        }
    }

    fn run_due(&mut self) {
        let start = Instant::now();
        loop {
            self.more_due = self.machine.run_due();
            self.drain();
            self.serve_waiting_clients();
            if !self.more_due || self.end.is_some() || start.elapsed() >= DUE_MAX {
                break;
            }
        }
    }

    fn end_turn(&mut self) {
        self.machine.end_turn();
        self.drain();
    }

    /// Carries out what the core asks for, in order; then gives it the answers, one by one.
    pub(super) fn drain(&mut self) {
        loop {
            while let Some(action) = self.machine.poll_action() {
                self.perform(action);
                if self.end.is_some() {
                    return;
                }
            }
            match self.answers.pop_front() {
                None => return,
                Some(Answer::ConnStarted(conn, local)) => self.machine.conn_started(conn, local),
                Some(Answer::ConnFailed(conn, why)) => self.machine.conn_failed(conn, why),
                Some(Answer::ScriptChecked(check, yes)) => self.machine.script_checked(check, yes),
                Some(Answer::Spawned(job, pid)) => self.machine.spawned(job, pid),
                Some(Answer::Answered(ask, result)) => self.machine.answered(ask, result),
            }
        }
    }

    fn perform(&mut self, action: Action) {
        match action {
            Action::Connect { conn, ip, port, hung_before } => {
                self.connect(conn, (ip, port), hung_before);
            }
            Action::Close { conn } => {
                self.remove(conn);
                self.answers.retain(|answer| match answer {
                    Answer::ConnStarted(id, _) | Answer::ConnFailed(id, _) => *id != conn,
                    _ => true,
                });
            }
            Action::CloseAfterFlush { conn } => self.close_after_flush(conn),
            Action::Hold { conn, hold } => self.hold(conn, hold),
            Action::Persist { generation } => {
                if let Some(job) = self.machine.take_save(generation) {
                    self.disk.submit(Job::Save(job));
                }
            }
            Action::Resolve { lookup, host, own } => self.resolver.submit(lookup, host, own),
            Action::CheckScript { check, path } => {
                let executable = files::is_executable(files::path(&path));
                self.answers.push_back(Answer::ScriptChecked(check, executable));
            }
            Action::Ask { ask, question } => self.ask(ask, question),
            Action::Spawn { job, argv } => {
                self.answers.push_back(Answer::Spawned(job, process::spawn(&argv)));
            }
            Action::Kill { pid } => process::kill_now(pid),
            Action::Log { level, text } => logging::write(level, &text),
            Action::Publish { .. } => {}
            Action::SetLogLevel { level } => logging::set_level(Some(level)),
            Action::Exit { code, clean } => self.end = Some(End { code, clean }),
        }
    }

    fn ask(&mut self, ask: AskId, question: Question) {
        match question {
            Question::ReadFile { path } => self.disk.submit(Job::Read { ask, path }),
            Question::WriteFile { path, text } => {
                self.disk.submit(Job::Write { ask, path, text });
            }
            Question::Random { bytes } => {
                let mut random = vec![0; bytes];
                let result = system::random_bytes(&mut random).map_err(|e| system::reason(&e));
                self.answers.push_back(Answer::Answered(ask, result.map(|()| random)));
            }
        }
    }

    /// One asks, one begins: that one if none waited before it.
    fn connect(&mut self, conn: ConnId, at: (IpAddr, u16), hung_before: bool) {
        if !self.pacer.push(conn, at, hung_before) {
            self.answers.push_back(Answer::ConnFailed(conn, Closed::Error));
        }
        if let Some((conn, ip, port)) = self.pacer.next(self.now) {
            self.begin_connect(conn, ip, port);
        }
    }

    fn begin_connect(&mut self, conn: ConnId, ip: IpAddr, port: u16) {
        let registry = self.poll.registry();
        let begun = self.options.begin(ip, port).and_then(|(stream, local)| {
            self.table.insert(registry, conn, Stream::Tcp(stream), true)?;
            Ok(local)
        });
        self.answers.push_back(match begun {
            Ok(local) => Answer::ConnStarted(conn, local),
            Err(e) => Answer::ConnFailed(conn, connect::why(&e)),
        });
    }

    fn close_after_flush(&mut self, conn: ConnId) {
        self.pacer.cancel(conn);
        let now = self.now;
        let token = self.table.token(conn);
        if let Some(socket) = token.and_then(|token| self.table.get(token))
            && socket.closing_since.is_none()
        {
            socket.closing_since = Some(now);
            self.look_at_end_of(token);
            self.to_flush.push(conn);
        }
    }

    /// Looks at a connection again when it is to be over.
    pub(super) fn look_at_end_of(&mut self, token: Option<Token>) {
        let socket = token.and_then(|token| self.table.get(token));
        if let Some((conn, due)) = socket.and_then(|s| Some((s.conn, s.ends_at()?))) {
            self.closing.insert((due, conn));
        }
    }

    fn hold(&mut self, conn: ConnId, hold: bool) {
        let Some(token) = self.table.token(conn) else { return };
        let Some(socket) = self.table.get(token) else { return };
        socket.held = hold;
        if !hold && std::mem::take(&mut socket.unread) {
            self.read_later(token);
        }
    }

    /// Closes a socket, or forgets a connect that waits. Its descriptor may be what accepting
    /// waits for.
    pub(super) fn remove(&mut self, conn: ConnId) {
        self.pacer.cancel(conn);
        if self.table.remove(conn).is_some() && self.accept_again.is_some() {
            self.accept_again = Some(self.now);
        }
    }
}

pub(super) fn listener_token(index: usize) -> Token {
    Token(FIRST_LISTENER + index)
}

/// Polls; being interrupted is like no event.
fn poll(poll: &mut Poll, events: &mut Events, timeout: Duration) -> io::Result<()> {
    match poll.poll(events, Some(timeout)) {
        Err(e) if e.kind() == io::ErrorKind::Interrupted => {
            events.clear();
            Ok(())
        }
        result => result,
    }
}
