//! A sentinel's host: the node, its file and disk, its sockets, and its turns in the order of the
//! contract.
#![forbid(unsafe_code)]

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};

use sentineld::config::again::Rewriter;
use sentineld::config::load::load;
use sentineld::node::{Closed, Endpoint, Node, ProcessFacts, Setup};
use sentineld::sentinel::action::Action;
use sentineld::sentinel::thresholds::Thresholds;
use sentineld::util::defect::{Defect, defect};
use sentineld::util::ident::{ConnId, LookupId};
use sentineld::util::rng::{Rng, mix};
use sentineld::util::time::{Clock, Mono, Wall};

use crate::brain::{Brain, Save};
use crate::checks::FileView;
use crate::cpeer::CPeer;
use crate::file_state::FileState;
use crate::net::{ConnKey, HostId, Net, Segment, Side, Us, WINDOW_BYTES};
use crate::no_files::NoFiles;
use crate::property::{Property, ensure, violation};
use crate::wire::show;
use crate::world::{Ev, MS, SECOND, World};

const SENTINEL_PORT: u16 = 26379;
/// More turns than this within one ms mean a deadline that never goes away.
const MAX_TURNS_PER_MS: u32 = 2_000;
/// More rounds of due work than this in one turn mean the same.
const MAX_ROUNDS: u32 = 1_000;
/// The wall clock at the beginning.
const EPOCH_UNIX_MS: u64 = 1_790_000_000_000;

/// Something beside the sockets that waits for a turn.
#[derive(Debug)]
pub enum Input {
    Saved {
        generation: u64,
        result: Result<(), String>,
        took_ms: u64,
    },
    ChildEnds(i32),
    Accept(ConnKey),
    /// A connect of its own was answered.
    Established(ConnKey),
    ConnectTurn(ConnId),
    /// Of which name, with which addresses.
    Resolved(LookupId, String, Vec<IpAddr>),
}

/// A save on its way.
#[derive(Debug)]
pub struct Disk {
    pub generation: u64,
    pub began: Us,
    pub fails: bool,
    pub save: Save,
}

/// What a disk does with saves.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub enum DiskMode {
    /// As the options of the world say.
    #[default]
    Plain,
    /// They take so long.
    Slow(Us),
    /// That many in a hundred fail.
    Failing(u64),
    /// There is no room.
    Full,
}

pub struct SentinelHost {
    pub host: HostId,
    pub node: Option<Brain>,
    /// Which life of the process this is.
    pub life: u64,
    pub paused: bool,
    pub file: Vec<u8>,
    pub view: FileView,
    /// A save that is in the file, but not in its text yet.
    pub unwritten: Option<Save>,
    /// What the file says; `None`: nobody has read it yet.
    pub said: Option<FileState>,
    /// The state that was last found to agree with that.
    pub agreed: Option<FileState>,
    pub unchecked_turns: u32,
    pub has_new_text: bool,
    pub rewriter: Rewriter,
    pub writes: u32,
    pub disk: Option<Disk>,
    pub inputs: Vec<Input>,
    /// Connections with something to read.
    pub ready: Vec<ConnKey>,
    /// Connections with a low-water mark.
    pub gathering: Vec<ConnKey>,
    /// What lay unread in the socket that it closed last.
    pub unread_at_close: usize,
    /// Connections with output that did not fit.
    pub blocked: Vec<ConnKey>,
    pub keys: BTreeMap<ConnId, ConnKey>,
    /// The clock of the machine at the beginning.
    pub boot_ms: u64,
    pub next_pid: i32,
    turns: (u64, u32),
    /// It dies in this turn.
    doomed: bool,
    /// It dies after so many more actions.
    pub actions_left: Option<u64>,
    /// Its host went down with it: nobody even says that it is gone.
    pub lost: bool,
    /// What its disk does now.
    pub disk_mode: DiskMode,
    /// An operator told it to end.
    pub may_exit: bool,
    /// It waits for its disk until then.
    stalled_until: Us,
    /// Scripts that run, since when, and whether they were killed.
    pub children: BTreeMap<i32, (Us, bool)>,
}

/// Puts a key into a list that it is not in yet.
pub fn put(list: &mut Vec<ConnKey>, key: ConnKey) {
    if !list.contains(&key) {
        list.push(key);
    }
}

impl SentinelHost {
    pub fn new(host: HostId, file: Vec<u8>, rng: &mut Rng) -> SentinelHost {
        SentinelHost {
            host,
            node: None,
            life: 0,
            paused: false,
            view: FileView::parse(&file),
            file,
            unwritten: None,
            said: None,
            agreed: None,
            unchecked_turns: 0,
            has_new_text: false,
            rewriter: Rewriter::default(),
            writes: 0,
            disk: None,
            inputs: Vec::new(),
            ready: Vec::new(),
            gathering: Vec::new(),
            unread_at_close: 0,
            blocked: Vec::new(),
            keys: BTreeMap::new(),
            boot_ms: rng.below(100_000),
            next_pid: 100,
            turns: (0, 0),
            doomed: false,
            actions_left: None,
            lost: false,
            disk_mode: DiskMode::Plain,
            may_exit: false,
            stalled_until: 0,
            children: BTreeMap::new(),
        }
    }

    fn clock(&self, now: Us, wall_jumps: bool) -> Clock {
        let ms = now / MS;
        // Not drawn from the world's dice: a world with jumps is the same as one without.
        let jump_ms = match wall_jumps {
            true => mix(self.boot_ms ^ (now / SECOND) << 32) % EPOCH_UNIX_MS,
            false => EPOCH_UNIX_MS,
        };
        let unix_ms = jump_ms + ms;
        let wall = Wall { unix_ms, utc_offset_s: 0 };
        Clock { mono: Mono(self.boot_ms + ms), wall }
    }

    /// A real node from the file as it is.
    fn load(&mut self, thresholds: Thresholds, random: [u8; 32], clock: Clock) -> Node {
        let loaded = load(&self.file, None, &[], &mut NoFiles);
        let loaded = loaded.unwrap_or_else(|error| {
            let (sentinel, file) = (self.host, show(&self.file));
            violation!(Property::OwnFileLoads, "sentinel {sentinel}: {error:?}\n{file}")
        });
        self.said = Some(FileState::of_loaded(&loaded));
        let facts = ProcessFacts { pid: 1, tcp_port: SENTINEL_PORT, ..ProcessFacts::default() };
        Node::new(Setup { loaded, facts, thresholds, random, clock })
    }

    /// Whether the process can do anything now.
    pub fn runs(&self) -> bool {
        self.node.is_some() && !self.paused
    }

    /// The process ends; whether its last write `landed` nobody can tell beforehand.
    pub fn die(&mut self, landed: bool) {
        if landed && self.disk.as_ref().is_some_and(|disk| !disk.fails) {
            self.write();
        }
        self.make_text();
        *self = SentinelHost {
            host: self.host,
            node: None,
            life: self.life + 1,
            paused: false,
            file: std::mem::take(&mut self.file),
            view: std::mem::take(&mut self.view),
            unwritten: None,
            said: None,
            agreed: None,
            unchecked_turns: 0,
            has_new_text: self.has_new_text,
            rewriter: Rewriter::default(),
            writes: self.writes,
            disk: None,
            inputs: Vec::new(),
            ready: Vec::new(),
            gathering: Vec::new(),
            unread_at_close: 0,
            blocked: Vec::new(),
            keys: BTreeMap::new(),
            boot_ms: self.boot_ms,
            next_pid: self.next_pid,
            turns: (0, 0),
            doomed: false,
            actions_left: None,
            lost: self.lost,
            disk_mode: self.disk_mode,
            stalled_until: 0,
            may_exit: self.may_exit,
            children: BTreeMap::new(),
        };
    }
}

impl World {
    pub fn node(&mut self, sentinel: usize) -> &mut Brain {
        self.sentinels[sentinel].node.as_mut().expect("it runs")
    }

    /// Reads the file and begins to monitor.
    pub fn start_sentinel(&mut self, sentinel: usize) {
        let mut random = [0; 32];
        for part in random.chunks_mut(8) {
            part.copy_from_slice(&self.rng.next_u64().to_le_bytes());
        }
        let c_like = self.is_c_like(sentinel);
        let thresholds = self.options.thresholds();
        let host = &mut self.sentinels[sentinel];
        let clock = host.clock(self.now, self.wall_jumps);
        host.node = Some(match c_like {
            true => {
                let seed = u64::from_le_bytes(random[..8].try_into().expect("8 bytes"));
                Brain::C(Box::new(CPeer::new(&host.file, seed, clock)))
            }
            false => Brain::Ours(Box::new(host.load(thresholds, random, clock))),
        });
        let run_id = show(self.node(sentinel).myid());
        let view = &self.sentinels[sentinel].view;
        self.checks.started(sentinel, &run_id, view);
        self.trace(|| format!("start {sentinel}, {run_id}"));
        self.node(sentinel).start();
        self.drain(sentinel);
        let at = self.now + self.rng.below(20 * MS);
        self.wake_at(sentinel, at);
    }

    /// A segment for one of its sockets.
    pub fn sentinel_gets(&mut self, sentinel: usize, key: ConnKey, side: Side, segment: Segment) {
        let listens = self.sentinels[sentinel].node.is_some() && !self.net.refuses(sentinel);
        let end = &mut self.net.conns.get_mut(&key).expect("it delivers").ends[side];
        let before = end.readable.len();
        match segment {
            Segment::Syn if !listens => {
                return self.send(key, side, Segment::Refused);
            }
            Segment::Syn => {
                end.open = true;
                self.send(key, side, Segment::SynAck);
                return self.input(sentinel, Input::Accept(key));
            }
            Segment::SynAck => return self.input(sentinel, Input::Established(key)),
            Segment::Bytes(_) if end.fin.is_some() => {}
            Segment::Bytes(bytes) if end.readable.is_empty() => end.readable = bytes,
            Segment::Bytes(bytes) => end.readable.extend_from_slice(&bytes),
            gone => end.fin = Some(gone),
        }
        let came = end.readable.len() - before;
        if self.wakes(key, side, came) {
            put(&mut self.sentinels[sentinel].ready, key);
            self.wake_soon(sentinel);
        }
    }

    /// One wakeup, in the order of the contract.
    pub fn turn(&mut self, sentinel: usize) {
        if !self.sentinels[sentinel].runs() {
            return;
        }
        let stalled_until = self.sentinels[sentinel].stalled_until;
        if self.now < stalled_until {
            return self.wake_at(sentinel, stalled_until);
        }
        self.count_turn(sentinel);
        let clock = self.sentinels[sentinel].clock(self.now, self.wall_jumps);
        self.node(sentinel).begin_turn(clock);
        self.drain(sentinel);
        if defect(Defect::DeadlinesBeforeSockets) {
            self.run_due(sentinel);
        }
        while !self.sentinels[sentinel].doomed && self.take_input(sentinel) {
            self.drain(sentinel);
        }
        self.run_due(sentinel);
        if !self.sentinels[sentinel].doomed {
            self.node(sentinel).end_turn();
            self.drain(sentinel);
        }
        if self.sentinels[sentinel].doomed {
            return self.crash(sentinel, false);
        }
        self.check_file_of_turn(sentinel);
        // What it wrote leaves when the disk is done.
        let stalled_until = self.sentinels[sentinel].stalled_until;
        if self.now < stalled_until {
            return self.wake_at(sentinel, stalled_until);
        }
        self.flush(sentinel);
        self.set_low_water(sentinel);
        // An index that is wrong stays wrong.
        if self.dns.on() || self.sentinels[sentinel].unchecked_turns == 0 {
            self.check_indexes(sentinel);
        }
        let next = self.node(sentinel).next_deadline();
        let boot_ms = self.sentinels[sentinel].boot_ms;
        let at = next.0.saturating_sub(boot_ms).saturating_mul(MS).max(self.now + 1);
        self.wake_at(sentinel, at);
    }

    /// All deadlines that fell due.
    fn run_due(&mut self, sentinel: usize) {
        let mut rounds = 0;
        while !self.sentinels[sentinel].doomed {
            let more = self.node(sentinel).run_due();
            self.drain(sentinel);
            rounds += 1;
            let property = Property::TurnsAreBounded;
            ensure!(rounds < MAX_ROUNDS, property, "{sentinel} has always more that is due");
            if !more {
                break;
            }
        }
    }

    fn count_turn(&mut self, sentinel: usize) {
        let ms = self.now / MS;
        let turns = &mut self.sentinels[sentinel].turns;
        *turns = if turns.0 == ms { (ms, turns.1 + 1) } else { (ms, 1) };
        ensure!(turns.1 < MAX_TURNS_PER_MS, Property::TurnsAreBounded, "{sentinel} spins");
    }

    /// Hands one input over, in no order among connections; false: there is none.
    fn take_input(&mut self, sentinel: usize) -> bool {
        let host = &mut self.sentinels[sentinel];
        let (inputs, ready) = (host.inputs.len(), host.ready.len());
        if inputs + ready == 0 {
            return false;
        }
        let chosen = self.rng.below((inputs + ready) as u64) as usize;
        if chosen >= inputs {
            let key = host.ready.swap_remove(chosen - inputs);
            self.read(sentinel, key);
            return true;
        }
        let input = host.inputs.remove(chosen);
        self.note(sentinel, input.name(), b"");
        match input {
            Input::Saved { generation, result, took_ms } => {
                self.node(sentinel).persisted(generation, result, took_ms);
            }
            Input::ChildEnds(pid) => self.child_ends(sentinel, pid),
            Input::Accept(key) => self.accept(sentinel, key),
            Input::Established(key) => self.established(sentinel, key),
            Input::ConnectTurn(conn) => self.connect_turn(sentinel, conn),
            Input::Resolved(lookup, name, ips) => {
                self.resolved(sentinel, lookup, &name, ips);
            }
        }
        true
    }

    fn established(&mut self, sentinel: usize, key: ConnKey) {
        let now = self.now;
        let Some(conn) = self.net.conns.get_mut(&key) else { return };
        let Some(id) = conn.ends[0].conn.filter(|_| conn.ends[0].open) else { return };
        conn.established = true;
        conn.periodic.at = [now; 3];
        put(&mut self.sentinels[sentinel].blocked, key);
        self.node(sentinel).conn_established(id);
    }

    /// A connect was asked for: it begins now, or when its turn comes.
    fn connect_asked(&mut self, sentinel: usize, conn: ConnId, to: HostId, v6: bool) {
        let key = self.net.open(self.now, [sentinel, to], Some(conn));
        self.net.conns.get_mut(&key).expect("just made").v6 = v6;
        self.sentinels[sentinel].keys.insert(conn, key);
        let (from, until) = self.options.connect_wait_us;
        if until == 0 || self.is_c_like(sentinel) {
            return self.connect_turn(sentinel, conn);
        }
        let at = self.now + from + self.rng.below(until - from + 1);
        let life = self.sentinels[sentinel].life;
        self.schedule(at, Ev::ConnectTurn { sentinel: sentinel as u32, life, conn });
    }

    fn connect_turn(&mut self, sentinel: usize, conn: ConnId) {
        let Some(key) = self.sentinels[sentinel].keys.get(&conn).copied() else { return };
        let to = self.net.conns[&key].hosts[1];
        let down = self.farm.at(to).is_some_and(|server| !server.running);
        if down && self.net.reach(sentinel, to) && self.rng.below(2) == 0 {
            self.forget(sentinel, conn);
            self.close(key, 0);
            self.node(sentinel).conn_failed(conn, Closed::Refused);
            return;
        }
        self.begin_connect(key);
        let local = self.net.conns[&key].ip_of(0);
        self.node(sentinel).conn_started(conn, Some(local));
    }

    fn accept(&mut self, sentinel: usize, key: ConnKey) {
        let Some(conn) = self.net.conns.get(&key) else { return };
        let peer = SocketAddr::new(conn.ip_of(0), conn.from_port);
        let local = SocketAddr::new(conn.ip_of(1), SENTINEL_PORT);
        let id = self.node(sentinel).accepted(Endpoint::Tcp { peer, local }, 9);
        self.sentinels[sentinel].keys.insert(id, key);
        let end = &mut self.net.conns.get_mut(&key).expect("looked at").ends[1];
        end.conn = Some(id);
        if !end.readable.is_empty() || end.fin.is_some() {
            put(&mut self.sentinels[sentinel].ready, key);
        }
    }

    /// Reads from a socket: all that is there, or a random part of it for now.
    fn read(&mut self, sentinel: usize, key: ConnKey) {
        let torn = self.options.torn && self.rng.below(4) == 0;
        let Some(conn) = self.net.conns.get_mut(&key) else { return };
        let side = usize::from(conn.hosts[0] != sentinel);
        let end = &mut conn.ends[side];
        let Some(id) = end.conn else { return };
        if !end.open || end.held {
            return;
        }
        let all = end.readable.len();
        let len = if torn { self.rng.below(all as u64 + 1) as usize } else { all };
        let bytes = match len == all {
            true => std::mem::take(&mut end.readable),
            false => end.readable.drain(..len).collect(),
        };
        let rest = !end.readable.is_empty();
        end.held_since = None;
        let gone = if rest { None } else { end.fin.take() };
        conn.pipes[1 - side].unread -= bytes.len();
        if rest {
            put(&mut self.sentinels[sentinel].ready, key);
        }
        if !bytes.is_empty() {
            self.reads += 1;
            self.unblock(key);
            self.look_for_life(sentinel, key, &bytes);
            self.note(sentinel, "read", &bytes);
            self.node(sentinel).received(id, &bytes);
        }
        if let Some(gone) = gone {
            self.drain(sentinel);
            self.peer_closed(sentinel, key, side, id, &gone);
        }
    }

    fn peer_closed(
        &mut self,
        sentinel: usize,
        key: ConnKey,
        side: Side,
        id: ConnId,
        gone: &Segment,
    ) {
        if self.sentinels[sentinel].doomed || !self.sentinels[sentinel].keys.contains_key(&id) {
            return;
        }
        let client = side == 1 && !self.is_c_like(sentinel);
        let conn = self.net.conns.get_mut(&key).expect("it was read from");
        let established = conn.established;
        let end = &mut conn.ends[side];
        if end.held {
            end.fin = Some(gone.clone());
            return;
        }
        if client && *gone == Segment::Fin {
            // It may still read.
            return self.node(sentinel).read_closed(id);
        }
        end.open = false;
        self.note(sentinel, "closed", b"");
        self.forget(sentinel, id);
        let why = match gone {
            Segment::Fin => Closed::Eof,
            _ if side == 0 && !established => Closed::Refused,
            _ => Closed::Error,
        };
        self.node(sentinel).closed(id, why);
        self.net.tidy(key);
    }

    fn forget(&mut self, sentinel: usize, id: ConnId) {
        let host = &mut self.sentinels[sentinel];
        if let Some(key) = host.keys.remove(&id) {
            host.blocked.retain(|other| *other != key);
            host.ready.retain(|other| *other != key);
        }
    }

    /// Does what the node asks for, in order, and shows the checkers what it wrote.
    pub fn drain(&mut self, sentinel: usize) {
        self.take_written(sentinel);
        while !self.sentinels[sentinel].doomed {
            let Some(action) = self.node(sentinel).poll_action() else { break };
            self.act(sentinel, action);
            if let Some(left) = &mut self.sentinels[sentinel].actions_left {
                *left = left.saturating_sub(1);
                self.sentinels[sentinel].doomed |= *left == 0;
            }
        }
        if !self.sentinels[sentinel].doomed {
            self.tap(sentinel);
        }
    }

    /// A file that was written in the middle of a turn.
    fn take_written(&mut self, sentinel: usize) {
        let Some((text, times)) = self.node(sentinel).take_written() else { return };
        let saves: Vec<(Us, bool)> = (0..times).map(|_| self.draw_save(sentinel)).collect();
        let took: Us = saves.iter().map(|(took, _)| took).sum();
        let fails = saves.last().is_none_or(|(_, fails)| *fails);
        let host = &mut self.sentinels[sentinel];
        host.stalled_until = host.stalled_until.max(self.now) + took;
        if fails {
            return;
        }
        let old = host.view.clone();
        host.view = FileView::parse(&text);
        host.file = text;
        let new = &self.sentinels[sentinel].view;
        self.checks.judge(sentinel, |checks| checks.saved(sentinel, &old, new));
    }

    fn act(&mut self, sentinel: usize, action: Action) {
        self.note_action(sentinel, &action);
        match action {
            Action::Connect { conn, ip, .. } => {
                let to = Net::host_of(ip).expect("an address of this network");
                self.connect_asked(sentinel, conn, to, ip.is_ipv6());
            }
            Action::Close { conn } => self.close_conn(sentinel, conn),
            Action::CloseAfterFlush { conn } => {
                if let Some(key) = self.sentinels[sentinel].keys.get(&conn).copied() {
                    let end = &mut self.net.conns.get_mut(&key).expect("open").ends[1];
                    end.closing = true;
                    put(&mut self.sentinels[sentinel].blocked, key);
                }
            }
            Action::Hold { conn, hold } => self.hold(sentinel, conn, hold),
            Action::Persist { generation } => self.persist(sentinel, generation),
            Action::Resolve { lookup, host, .. } => self.look_up(sentinel, lookup, &host),
            Action::CheckScript { check, .. } => self.node(sentinel).script_checked(check, true),
            Action::Ask { .. } => panic!("a question of ACL without users"),
            Action::Spawn { job, .. } => self.spawn(sentinel, job),
            Action::Kill { pid } => self.kill_child(sentinel, pid),
            Action::Log { text, .. } => self.log(sentinel, &show(&text)),
            Action::Publish { .. } => panic!("events are turned into replies by the node"),
            Action::SetLogLevel { .. } => {}
            Action::Exit { code, .. } => self.exits(sentinel, code),
        }
    }

    fn close_conn(&mut self, sentinel: usize, conn: ConnId) {
        let Some(key) = self.sentinels[sentinel].keys.get(&conn).copied() else { return };
        // What was written in earlier turns may have left; the rest is lost.
        self.forget(sentinel, conn);
        let side = usize::from(self.net.conns[&key].hosts[0] != sentinel);
        self.sentinels[sentinel].unread_at_close = self.net.conns[&key].ends[side].readable.len();
        self.close(key, side);
    }

    fn hold(&mut self, sentinel: usize, conn: ConnId, hold: bool) {
        let Some(key) = self.sentinels[sentinel].keys.get(&conn).copied() else { return };
        let conn = self.net.conns.get_mut(&key).expect("open");
        let side = usize::from(conn.hosts[0] != sentinel);
        conn.ends[side].held = hold;
        if !hold {
            put(&mut self.sentinels[sentinel].ready, key);
            self.wake_soon(sentinel);
        }
    }

    /// How long a save takes, and whether it fails.
    fn draw_save(&mut self, sentinel: usize) -> (Us, bool) {
        let (from, to) = self.options.save_us;
        let mut took = from + self.rng.below(to - from + 1);
        let mut fails = self.rng.below(100) < self.options.save_fails_percent;
        match self.sentinels[sentinel].disk_mode {
            DiskMode::Plain => {}
            DiskMode::Slow(us) => took = us,
            DiskMode::Failing(percent) => fails = self.rng.below(100) < percent,
            DiskMode::Full => fails = true,
        }
        (took, fails)
    }

    fn persist(&mut self, sentinel: usize, generation: u64) {
        let (took, fails) = self.draw_save(sentinel);
        let save = self.node(sentinel).take_save(generation).expect("it was announced");
        let host = &mut self.sentinels[sentinel];
        let free = host.disk.is_none();
        ensure!(free, Property::OneSaveAtATime, "two saves of {sentinel} at the same time");
        host.disk = Some(Disk { generation, began: self.now, fails, save });
        let life = host.life;
        self.schedule(self.now + took, Ev::Saved { sentinel: sentinel as u32, life });
    }

    fn log(&mut self, sentinel: usize, line: &str) {
        self.trace(|| format!("[{sentinel}] {line}"));
        let line = &self.read_plainly(sentinel, line);
        let host = &mut self.sentinels[sentinel];
        let now = self.now;
        self.checks.judge(sentinel, |checks| checks.logged(now, sentinel, line, &host.view));
        if !self.is_c_like(sentinel) {
            self.check_choice(sentinel, line);
            self.check_all_was_read(sentinel, line);
            self.check_silence(sentinel, line);
        }
        let host = &mut self.sentinels[sentinel];
        if let Some(trap) = &mut self.trap
            && trap.caught.is_none()
            && line.split(' ').next() == Some(trap.event)
        {
            trap.caught = Some(sentinel);
            host.doomed = trap.dies;
        }
    }

    /// It ended by itself.
    fn exits(&mut self, sentinel: usize, code: i32) {
        let told = self.sentinels[sentinel].may_exit;
        ensure!(told, Property::NoExit, "sentinel {sentinel} exits with {code}");
        self.sentinels[sentinel].doomed = true;
    }

    /// Writes what the sockets take.
    pub fn flush(&mut self, sentinel: usize) {
        let mut keys = std::mem::take(&mut self.sentinels[sentinel].blocked);
        for key in keys.drain(..) {
            let Some(conn) = self.net.conns.get(&key) else { continue };
            let side = usize::from(conn.hosts[0] != sentinel);
            let Some(id) = conn.ends[side].conn.filter(|_| conn.ends[side].open) else { continue };
            if side == 0 && !conn.established {
                continue;
            }
            let room = WINDOW_BYTES.saturating_sub(conn.pipes[side].unread);
            let closing = conn.ends[side].closing;
            let Some(output) = self.node(sentinel).output(id) else { continue };
            let mut bytes = output[..output.len().min(room)].to_vec();
            let all = output.len();
            if self.options.torn && !bytes.is_empty() && self.rng.below(16) == 0 {
                bytes.truncate(self.rng.below(bytes.len() as u64 + 1) as usize);
                self.wake_soon(sentinel);
            }
            let sent = bytes.len();
            self.node(sentinel).sent(id, sent);
            self.net.conns.get_mut(&key).expect("just looked at").ends[side].seen -= sent;
            if sent > 0 {
                self.note(sentinel, "written", &bytes);
                self.send_torn(key, side, bytes);
            }
            if sent < all {
                put(&mut self.sentinels[sentinel].blocked, key);
            } else if closing {
                self.close_conn(sentinel, id);
                self.node(sentinel).closed(id, Closed::Eof);
            }
        }
        // The room of the list is used again.
        keys.append(&mut self.sentinels[sentinel].blocked);
        self.sentinels[sentinel].blocked = keys;
    }
}
