//! Reading INFO and what follows from it (spec/protocol.md section 5).
#![forbid(unsafe_code)]

use super::Sentinel;
use super::action::Cx;
use super::event::{Event, Subject};
use super::failover::State;
use super::instance::{Addr, InstId, Loading, MasterId, ReconfState, ReplicaId, Role};
use super::names::{HostState, Origin, is_host, parse_ip};
use super::orders::Order;
use super::pending_names::Waiter;
use super::timers::NEVER;
use crate::util::defect::{Defect, defect};
use crate::util::num::{parse_i64, parse_u64};
use crate::util::time::Mono;

/// Most replicas a master may have here; further ones are not watched.
pub const MAX_REPLICAS: usize = 1_024;

/// Most lines about replicas that are looked at, among them some of no use.
const MAX_REPLICA_LINES: usize = 4 * MAX_REPLICAS;

/// Most bytes of an INFO that are kept for INFO-CACHE; real ones have a few thousand.
pub const MAX_INFO_BYTES: usize = 128 * 1024;

/// The lines of an INFO reply that matter; texts borrow from the reply.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct InfoView<'a> {
    pub run_id: Option<&'a [u8]>,
    pub role: Option<Role>,
    /// Host and port of each `slaveN` line.
    pub slaves: Vec<(&'a [u8], u16)>,
    /// In ms; 0 when absent, -1000 when the replica never synced.
    pub master_link_down_ms: i64,
    pub master_host: Option<&'a [u8]>,
    pub master_port: Option<u16>,
    pub master_link_up: Option<bool>,
    pub priority: Option<u32>,
    pub repl_offset: Option<u64>,
    /// How far its own stream is, whatever its role.
    pub stream_offset: Option<u64>,
    pub announced: Option<bool>,
    pub loading: Option<bool>,
    pub async_loading: Option<bool>,
}

impl<'a> InfoView<'a> {
    /// Picks the lines out of an INFO text; lines that make no sense are passed over.
    pub fn parse(text: &'a [u8]) -> InfoView<'a> {
        let mut view = InfoView::default();
        for line in text.split(|byte| *byte == b'\n') {
            let line = line.strip_suffix(b"\r").unwrap_or(line);
            let Some(colon) = line.iter().position(|byte| *byte == b':') else { continue };
            view.take_line(&line[..colon], &line[colon + 1..]);
        }
        view
    }

    fn take_line(&mut self, key: &'a [u8], value: &'a [u8]) {
        match key {
            b"run_id" if is_run_id(value) => self.run_id = Some(value),
            b"role" if value == b"master" => self.role = Some(Role::Master),
            b"role" if value == b"slave" => self.role = Some(Role::Slave),
            b"loading" => self.loading = Some(value == b"1"),
            b"async_loading" => self.async_loading = Some(value == b"1"),
            b"master_repl_offset" => self.stream_offset = parse_u64(value),
            b"master_link_down_since_seconds" => {
                let seconds = parse_i64(value).unwrap_or(0);
                self.master_link_down_ms = seconds.saturating_mul(1_000);
            }
            _ if self.role == Some(Role::Slave) => self.take_slave_line(key, value),
            _ if key.starts_with(b"slave") && self.role != Some(Role::Slave) => {
                let digits = &key[b"slave".len()..];
                let has_room = self.slaves.len() < MAX_REPLICA_LINES;
                if has_room && !digits.is_empty() && digits.iter().all(u8::is_ascii_digit) {
                    self.slaves.extend(parse_slave(value));
                }
            }
            _ => {}
        }
    }

    /// Lines that count only behind `role:slave`.
    fn take_slave_line(&mut self, key: &[u8], value: &'a [u8]) {
        match key {
            b"master_host" if is_host(value) => self.master_host = Some(value),
            b"master_port" => {
                self.master_port = parse_u64(value).and_then(|port| u16::try_from(port).ok());
            }
            b"master_link_status" => self.master_link_up = Some(value == b"up"),
            b"slave_priority" => {
                self.priority = parse_u64(value).and_then(|n| u32::try_from(n).ok());
            }
            b"slave_repl_offset" => self.repl_offset = parse_u64(value),
            b"replica_announced" => self.announced = Some(value != b"0"),
            _ => {}
        }
    }
}

fn is_run_id(value: &[u8]) -> bool {
    value.len() == 40 && value.iter().all(u8::is_ascii_hexdigit)
}

/// `ip=…,port=…,state=…` or the old `ip,port,state`.
fn parse_slave(value: &[u8]) -> Option<(&[u8], u16)> {
    let mut fields = value.split(|byte| *byte == b',');
    let find = |prefix: &[u8]| fields.clone().find_map(|field| field.strip_prefix(prefix));
    let (host, port) = match find(b"ip=") {
        Some(host) => (host, find(b"port=")?),
        None => (fields.next()?, fields.next()?),
    };
    let port = parse_u64(port).and_then(|port| u16::try_from(port).ok())?;
    let plain = |byte: &u8| byte.is_ascii_graphic();
    (!host.is_empty() && host.len() <= 255 && host.iter().all(plain)).then_some((host, port))
}

impl Sentinel {
    /// Takes the INFO of a data node: updates what is known, then acts on it unless in tilt.
    pub(super) fn apply_info(&mut self, cx: &mut Cx, inst: InstId, text: &[u8]) {
        let view = InfoView::parse(text);
        let kept = self.data_mut(inst).map(|data| std::mem::take(&mut data.info_text));
        let mut kept = kept.unwrap_or_default();
        self.info_models.keep(&mut kept, &text[..text.len().min(MAX_INFO_BYTES)]);
        if let Some(data) = self.data_mut(inst) {
            data.info_refresh = Some(cx.now);
            data.info_text = kept;
            data.stream_offset = view.stream_offset.unwrap_or(data.stream_offset);
        }
        self.note_run_id(cx, inst, &view);
        self.note_loading(cx, inst, &view);
        match inst {
            InstId::Master(master) => {
                let mut complete = true;
                for &(host, port) in &view.slaves {
                    complete &= self.discover_replica(cx, master, host, port);
                }
                let looks = &mut self.masters[master].incomplete_looks;
                *looks = if complete { 0 } else { looks.saturating_add(1) };
            }
            InstId::Replica(replica) => self.note_replica_fields(cx, replica, &view),
            InstId::Peer(_) => return,
        }
        let Some(role) = view.role else { return };
        self.note_role(cx, inst, role);
        self.act_on_role(cx, inst);
    }

    /// Acts on what a data node last said of its role, unless in tilt.
    pub(super) fn act_on_role(&mut self, cx: &mut Cx, inst: InstId) {
        if self.tilt.since.is_some() && !defect(Defect::ActInTilt) {
            return;
        }
        let Some(role) = self.data(inst).map(|data| data.role_reported) else { return };
        match (inst, role) {
            (InstId::Replica(replica), Role::Master) => {
                let master = self.replicas[replica].master;
                self.repeat_order(cx, replica, false);
                self.replica_says_master(cx, replica);
                if self.is_disputed(cx.now, master) {
                    self.master_progress(cx, master);
                }
            }
            (InstId::Replica(replica), Role::Slave) => self.replica_says_slave(cx, replica),
            (InstId::Master(master), _) => {
                self.check_up(cx, inst);
                self.master_progress(cx, master);
            }
            (InstId::Peer(_), _) => {}
        }
    }

    fn note_run_id(&mut self, cx: &mut Cx, inst: InstId, view: &InfoView) {
        let Some(run_id) = view.run_id else { return };
        let base = self.base_mut(inst);
        if base.runid == run_id {
            return;
        }
        let old = std::mem::replace(&mut base.runid, run_id.to_vec());
        self.doubt_place(cx.now, inst);
        if old.is_empty() {
            return;
        }
        if let InstId::Master(id) = inst {
            let master = &mut self.masters[id];
            if master.options.master_reboot_down_after_ms > 0 {
                master.reboot_since = Some(cx.now);
            }
        }
        self.plain_event(cx, Event::notice("+reboot"), inst);
    }

    fn note_loading(&mut self, cx: &mut Cx, inst: InstId, view: &InfoView) {
        match (view.loading, view.async_loading) {
            (_, Some(true)) => self.set_loading(cx, inst, Loading::Async),
            (Some(true), _) => self.set_loading(cx, inst, Loading::Yes),
            (Some(false), _) | (None, Some(false)) => self.set_loading(cx, inst, Loading::No),
            (None, None) => {}
        }
    }

    /// A master lists a replica; false if its host is a name without an address so far.
    pub(super) fn discover_replica(
        &mut self,
        cx: &mut Cx,
        master: MasterId,
        host: &[u8],
        port: u16,
    ) -> bool {
        if self.masters[master].replicas.len() >= MAX_REPLICAS {
            return true;
        }
        let literal = parse_ip(host);
        if literal.is_some_and(|ip| self.places.replica_at(master, ip, port).is_some()) {
            return true;
        }
        if literal.is_none() && self.reaches_replica(master, host, port) {
            return true;
        }
        let ip = match self.resolve(cx, host, Origin::Told(master)) {
            Ok(ip) => ip,
            Err(HostState::Pending) => {
                let waiter = Waiter::Listed { host: host.to_vec(), port };
                self.names.waiters.add(host, master, waiter);
                return false;
            }
            Err(_) => return false,
        };
        let is_known = self.places.replica_at(master, ip, port).is_some();
        if (is_known || self.is_master_at(master, ip, port)) && self.names.is_looked_up(host) {
            // What is known of the name may be old news.
            self.names.waiters.add(host, master, Waiter::Listed { host: host.to_vec(), port });
        }
        if is_known {
            return true;
        }
        let addr = Addr { host: host.to_vec(), ip: Some(ip), port };
        // A master that lists itself would be told to replicate from itself one day.
        if addr.same(&self.masters[master].base.addr) {
            return true;
        }
        if let Some(replica) = self.add_replica(cx, master, addr) {
            self.plain_event(cx, Event::notice("+slave"), InstId::Replica(replica));
            self.touch(cx, master);
        }
        true
    }

    fn note_replica_fields(&mut self, cx: &mut Cx, id: ReplicaId, view: &InfoView) {
        let replica = &mut self.replicas[id];
        replica.master_link_down_ms = view.master_link_down_ms;
        if view.role != Some(Role::Slave) {
            return;
        }
        if let Some(host) = view.master_host
            && replica.master_host != host
        {
            replica.master_host = host.to_vec();
            replica.conf_changed = cx.now;
        }
        if let Some(port) = view.master_port
            && replica.master_port != port
        {
            replica.master_port = port;
            replica.conf_changed = cx.now;
        }
        replica.master_link_up = view.master_link_up.unwrap_or(replica.master_link_up);
        replica.priority = view.priority.unwrap_or(replica.priority);
        replica.repl_offset = view.repl_offset.unwrap_or(replica.repl_offset);
        replica.announced = view.announced.unwrap_or(replica.announced);
    }

    fn note_role(&mut self, cx: &mut Cx, inst: InstId, role: Role) {
        let Some(data) = self.data_mut(inst) else { return };
        if data.role_reported == role {
            return;
        }
        data.role_reported = role;
        data.role_reported_since = cx.now;
        if let (InstId::Replica(id), Role::Slave) = (inst, role) {
            self.replicas[id].conf_changed = cx.now;
        }
        let name = if self.reports_own_role(inst) { "+role-change" } else { "-role-change" };
        let word = if role == Role::Master { "master" } else { "slave" };
        let text = format!("new reported role is {word}");
        self.event(cx, Event::verbose(name), Subject::Instance(inst), text.as_bytes());
    }

    /// A replica that reports master: our promotion, or an old master that came back.
    fn replica_says_master(&mut self, cx: &mut Cx, id: ReplicaId) {
        let master = self.replicas[id].master;
        if let Some(failover) = &self.masters[master].failover
            && failover.state.replica() == Some(id)
        {
            // An order that was lost with its connection had run.
            let lost = failover.attempt.unanswered.is_some();
            if lost || matches!(failover.state, State::WaitPromotion { .. }) {
                self.promoted(cx, master, id);
            }
            return;
        }
        let wait_ms = self.doubt_ms();
        let reported_ms = cx.now.since(self.replicas[id].data.role_reported_since);
        let quiet = self.no_down_within(cx, InstId::Replica(id), wait_ms);
        let left = defect(Defect::LeaveStrayMaster) || self.is_rival(cx.now, id);
        if self.looks_sane(cx, master) && quiet && reported_ms > wait_ms && !left {
            self.follow_master(cx, id, "+convert-to-slave");
        }
    }

    /// So long a replica may say that it is a master, as there may be news of a failover.
    fn doubt_ms(&self) -> u64 {
        4 * self.periods.publish_ms
    }

    /// When a replica that says master is asked again, to be told to follow: as soon as it may be,
    /// not when its next INFO happens to be due. Far away if it said so after that, too.
    pub(super) fn doubt_ends(&self, inst: InstId) -> Mono {
        let InstId::Replica(id) = inst else { return NEVER };
        let replica = &self.replicas[id];
        if replica.data.role_reported != Role::Master {
            return NEVER;
        }
        let since = replica.data.role_reported_since;
        let since = replica.base.sdown.since.map_or(since, |down| down.max(since));
        // Not all sentinels in the same moment: one will do.
        let apart_ms = self.slot_offset % self.periods.publish_ms.max(1);
        let ends = since.after(self.doubt_ms() + 1 + apart_ms);
        let told = replica.data.info_refresh.is_some_and(|at| at >= ends);
        if told { NEVER } else { ends }
    }

    fn replica_says_slave(&mut self, cx: &mut Cx, id: ReplicaId) {
        let master_id = self.replicas[id].master;
        let follows = self.follows_ours(cx, id);
        self.repeat_order(cx, id, follows == Some(true));
        let replica = &self.replicas[id];
        if replica.reconf != ReconfState::None {
            self.note_reconf(cx, id, follows == Some(true));
        } else if follows == Some(false) {
            let wait_ms = self.masters[master_id].options.failover_timeout_ms;
            let changed_ms = cx.now.since(replica.conf_changed);
            let quiet = self.no_down_within(cx, InstId::Replica(id), wait_ms);
            let left = defect(Defect::LeaveStrayReplica);
            if self.looks_sane(cx, master_id) && quiet && changed_ms > wait_ms && !left {
                self.follow_master(cx, id, "+fix-slave-config");
            }
        }
        self.master_progress(cx, master_id);
    }

    /// Whether the master that a replica reports is ours; `None`: it is named by a host that is
    /// being looked up.
    fn follows_ours(&mut self, cx: &mut Cx, id: ReplicaId) -> Option<bool> {
        let replica = &self.replicas[id];
        let addr = &self.masters[replica.master].base.addr;
        if addr.is_at(&replica.master_host, replica.master_port) {
            return Some(true);
        }
        if addr.port != replica.master_port {
            return Some(false);
        }
        let (ours, host, master) = (addr.ip, replica.master_host.clone(), replica.master);
        match self.host_state(cx, &host, Origin::Told(master)) {
            HostState::Known(ip) => Some(Some(ip) == ours),
            HostState::Bad => Some(false),
            HostState::Busy => None,
            HostState::Pending => {
                self.names.waiters.add(&host, master, Waiter::Follows(id));
                None
            }
        }
    }

    /// Whether no sdown (or odown) of the instance began within the last `ms`.
    fn no_down_within(&self, cx: &Cx, inst: InstId, ms: u64) -> bool {
        self.base(inst).sdown.since.is_none_or(|since| cx.now.since(since) > ms)
    }

    /// Whether the master is in such a state that others may be told to follow it.
    pub(super) fn looks_sane(&self, cx: &Cx, id: MasterId) -> bool {
        let master = &self.masters[id];
        let fresh = |at| cx.now.since(at) < 2 * self.periods.info_ms;
        master.data.role_reported == Role::Master
            && !master.base.sdown.is
            && !master.odown.is
            && master.data.info_refresh.is_some_and(fresh)
    }

    /// Tells a replica to follow the master as held.
    fn follow_master(&mut self, cx: &mut Cx, id: ReplicaId, event: &'static str) {
        // It may be somebody else, at an address that is no longer that of this replica.
        if self.order_waits(cx.now, id) || self.is_just_found(cx.now, InstId::Replica(id)) {
            return;
        }
        let to = self.masters[self.replicas[id].master].base.addr.clone();
        let config_epoch = self.masters[self.replicas[id].master].config_epoch;
        let order = Order::Follow { config_epoch, is_repair: true };
        // One that was refused and is given again is no news.
        let is_new = self.replicas[id].refused_order.is_none();
        self.order_repeated(cx.now, id);
        if self.send_order(cx, InstId::Replica(id), order, Some(&to), None) && is_new {
            self.plain_event(cx, Event::notice(event), InstId::Replica(id));
        }
    }
}
