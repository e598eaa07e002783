//! The failover: one state per tick.
#![forbid(unsafe_code)]

use super::CPeer;
use super::link::{INFO_PERIOD_MS, PUBLISH_PERIOD_MS};
use super::state::{Addr, Id, Inst, Kind, Reconf, Role, Sent, State};

const ELECTION_TIMEOUT_MS: u64 = 10_000;
const SLAVE_RECONF_TIMEOUT_MS: u64 = 10_000;
const PING_PERIOD_MS: u64 = 1_000;

impl CPeer {
    pub fn start_if_due(&mut self, id: Id) -> bool {
        let watch = &self.watches[&id];
        let wait_ms = 2 * watch.failover_timeout_ms;
        let early = self.now() < watch.failover_start + wait_ms;
        if !watch.odown || watch.state != State::None || early {
            return false;
        }
        self.start_failover(id);
        true
    }

    pub fn start_failover(&mut self, id: Id) {
        self.current_epoch += 1;
        let (epoch, now) = (self.current_epoch, self.now());
        let start = now + self.rng.below(1_000);
        let watch = self.watch_mut(id);
        watch.failover_epoch = epoch;
        watch.failover_start = start;
        watch.state = State::WaitStart;
        watch.state_since = now;
        self.log(&format!("+new-epoch {epoch}"));
        self.event("+try-failover", id, "");
    }

    fn enter(&mut self, id: Id, state: State) {
        let now = self.now();
        let watch = self.watch_mut(id);
        watch.state = state;
        watch.state_since = now;
    }

    fn abort(&mut self, id: Id, event: &str) {
        let watch = self.watch_mut(id);
        watch.forced = false;
        watch.promoted = None;
        self.enter(id, State::None);
        self.event(event, id, "");
    }

    pub fn failover_step(&mut self, id: Id) {
        match self.watches[&id].state {
            State::None | State::UpdateConfig => {}
            State::WaitStart => self.wait_start(id),
            State::SelectSlave => self.select_slave(id),
            State::SendSlaveofNoOne => self.send_promotion(id),
            State::WaitPromotion => {
                if self.too_long_in_state(id) {
                    self.abort(id, "-failover-abort-slave-timeout");
                }
            }
            State::ReconfSlaves => {
                self.reconf_next(id);
                self.check_end(id);
            }
        }
    }

    fn too_long_in_state(&self, id: Id) -> bool {
        let watch = &self.watches[&id];
        self.now().saturating_sub(watch.state_since) > watch.failover_timeout_ms
    }

    fn wait_start(&mut self, id: Id) {
        let epoch = self.watches[&id].failover_epoch;
        let won = self.winner(id, epoch).is_some_and(|leader| leader == self.myid);
        let watch = &self.watches[&id];
        if !won && !watch.forced {
            let limit_ms = ELECTION_TIMEOUT_MS.min(watch.failover_timeout_ms);
            if self.now().saturating_sub(watch.failover_start) > limit_ms {
                self.abort(id, "-failover-abort-not-elected");
            }
            return;
        }
        self.event("+elected-leader", id, "");
        self.enter(id, State::SelectSlave);
        self.event("+failover-state-select-slave", id, "");
    }

    fn select_slave(&mut self, id: Id) {
        let replicas = self.watches[&id].replicas.values().copied();
        let rank = |replica: &Id| {
            let inst = &self.insts[replica];
            let unknown = inst.runid.is_empty();
            (inst.priority, u64::MAX - inst.offset, unknown, inst.runid.to_lowercase())
        };
        let best = replicas.filter(|replica| self.suitable(id, *replica)).min_by_key(rank);
        let Some(best) = best else {
            self.abort(id, "-failover-abort-no-good-slave");
            return;
        };
        self.event("+selected-slave", best, "");
        self.watch_mut(id).promoted = Some(best);
        self.enter(id, State::SendSlaveofNoOne);
        self.event("+failover-state-send-slaveof-noone", best, "");
    }

    pub fn suitable(&self, id: Id, replica: Id) -> bool {
        let now = self.now();
        let (master, inst, link) = (&self.insts[&id], &self.insts[&replica], self.link_of(replica));
        let info_age_ms = now.saturating_sub(inst.info_refresh);
        let info_limit_ms = if master.sdown { 5 * PING_PERIOD_MS } else { 3 * INFO_PERIOD_MS };
        let down_ms = if master.sdown { now.saturating_sub(master.sdown_since) } else { 0 };
        let link_down_limit_ms = (down_ms + 10 * master.down_after_ms) as i64;
        !inst.sdown
            && link.connected()
            && now.saturating_sub(link.last_available) <= 5 * PING_PERIOD_MS
            && inst.priority != 0
            && inst.info_refresh != 0
            && info_age_ms <= info_limit_ms
            && inst.master_link_down_ms <= link_down_limit_ms
    }

    fn send_promotion(&mut self, id: Id) {
        let replica = self.watches[&id].promoted.expect("one was selected");
        if !self.link_of(replica).connected() {
            if self.too_long_in_state(id) {
                self.abort(id, "-failover-abort-slave-timeout");
            }
            return;
        }
        self.send_slaveof(replica, None);
        self.event("+failover-state-wait-promotion", replica, "");
        self.enter(id, State::WaitPromotion);
    }

    /// One transaction; false: there is no connection.
    pub fn send_slaveof(&mut self, id: Id, to: Option<Addr>) -> bool {
        if self.link_of(id).cmd.is_none() {
            return false;
        }
        let (host, port) = match to {
            Some((ip, port)) => (ip.to_string(), port.to_string()),
            None => ("NO".to_owned(), "ONE".to_owned()),
        };
        let slaveof: [&[u8]; 3] = [b"SLAVEOF", host.as_bytes(), port.as_bytes()];
        let commands: [&[&[u8]]; 6] = [
            &[b"MULTI"],
            &slaveof,
            &[b"CONFIG", b"REWRITE"],
            &[b"CLIENT", b"KILL", b"TYPE", b"normal"],
            &[b"CLIENT", b"KILL", b"TYPE", b"pubsub"],
            &[b"EXEC"],
        ];
        for words in commands {
            self.send(id, Sent::Other, words);
        }
        true
    }

    /// The replica that was told to become a master says that it is one.
    pub fn promotion_seen(&mut self, id: Id, replica: Id) {
        let watch = self.watch_mut(id);
        watch.config_epoch = watch.failover_epoch;
        self.enter(id, State::ReconfSlaves);
        self.save();
        self.event("+promoted-slave", replica, "");
        self.event("+failover-state-reconf-slaves", id, "");
        self.hurry_hello(id);
    }

    /// At the next tick everybody gets a hello.
    pub fn hurry_hello(&mut self, id: Id) {
        let past = self.now().saturating_sub(PUBLISH_PERIOD_MS + 1);
        for inst in self.insts.values_mut().filter(|inst| inst.master == id) {
            inst.last_publish = inst.last_publish.min(past);
        }
    }

    fn others(&self, id: Id) -> Vec<Id> {
        let watch = &self.watches[&id];
        watch.replicas.values().copied().filter(|other| Some(*other) != watch.promoted).collect()
    }

    fn reconf_next(&mut self, id: Id) {
        let now = self.now();
        let Some(promoted) = self.watches[&id].promoted else { return };
        let to = self.insts[&promoted].addr;
        let others = self.others(id);
        let busy = |inst: &Inst| matches!(inst.reconf, Reconf::Sent | Reconf::InProgress);
        let mut active = others.iter().filter(|other| busy(&self.insts[other])).count();
        for other in others {
            if active >= self.watches[&id].parallel_syncs {
                break;
            }
            let inst = &self.insts[&other];
            let late = now.saturating_sub(inst.reconf_sent) > SLAVE_RECONF_TIMEOUT_MS;
            if inst.reconf == Reconf::Sent && late {
                self.inst_mut(other).reconf = Reconf::Done;
                self.event("-slave-reconf-sent-timeout", other, "");
            }
            let waits = self.insts[&other].reconf == Reconf::None;
            if waits && self.link_of(other).connected() && self.send_slaveof(other, Some(to)) {
                let inst = self.inst_mut(other);
                inst.reconf = Reconf::Sent;
                inst.reconf_sent = now;
                self.event("+slave-reconf-sent", other, "");
                active += 1;
            }
        }
    }

    fn check_end(&mut self, id: Id) {
        let Some(promoted) = self.watches[&id].promoted else { return };
        if self.insts[&promoted].sdown {
            return;
        }
        let others = self.others(id);
        let done = |inst: &Inst| inst.reconf == Reconf::Done || inst.sdown;
        let over = others.iter().all(|other| done(&self.insts[other]));
        let late = self.too_long_in_state(id);
        if late {
            self.event("+failover-end-for-timeout", id, "");
        }
        if over || late {
            self.event("+failover-end", id, "");
            self.enter(id, State::UpdateConfig);
        }
        if late {
            let to = self.insts[&promoted].addr;
            for other in others {
                let inst = &self.insts[&other];
                let waits = matches!(inst.reconf, Reconf::None | Reconf::InProgress);
                if waits && self.link_of(other).connected() && self.send_slaveof(other, Some(to)) {
                    self.event("+slave-reconf-sent-be", other, "");
                }
            }
        }
    }

    pub fn switch_to_promoted(&mut self, id: Id) {
        let to = self.told_addr(id);
        self.switch_event(id, to);
        self.switch(id, to);
    }

    pub fn switch_event(&mut self, id: Id, to: Addr) {
        let inst = &self.insts[&id];
        let ((from_ip, from_port), name) = (inst.addr, &inst.name);
        let line = format!("+switch-master {name} {from_ip} {from_port} {} {}", to.0, to.1);
        self.log(&line);
    }

    /// The master's new address; its replicas are those it had, and what it was.
    pub fn switch(&mut self, id: Id, to: Addr) {
        let from = self.insts[&id].addr;
        let replicas = self.watches[&id].replicas.values();
        let mut addrs: Vec<Addr> =
            replicas.map(|replica| self.insts[replica].addr).filter(|addr| *addr != to).collect();
        if from != to {
            addrs.push(from);
        }
        self.reset(id);
        let inst = self.inst_mut(id);
        inst.addr = to;
        inst.sdown_since = 0;
        self.watch_mut(id).odown_since = 0;
        for addr in addrs {
            if let Some(replica) = self.add_replica(id, addr) {
                self.event("+slave", replica, "");
            }
        }
        self.save();
    }

    /// Forgets the replicas and all that is known of the master's state.
    pub fn reset(&mut self, id: Id) {
        let now = self.now();
        let replicas: Vec<Id> = self.watches[&id].replicas.values().copied().collect();
        for replica in replicas {
            self.drop_inst(replica);
        }
        let link = self.insts[&id].link;
        self.close_link(link);
        let watch = self.watch_mut(id);
        watch.odown = false;
        watch.leader.clear();
        watch.state = State::None;
        watch.state_since = 0;
        watch.failover_start = 0;
        watch.forced = false;
        watch.promoted = None;
        let inst = self.inst_mut(id);
        inst.sdown = false;
        inst.script_kill_sent = false;
        inst.runid.clear();
        inst.reported_master = None;
        inst.role = Role::Master;
        inst.role_since = now;
        debug_assert_eq!(inst.kind, Kind::Master);
        let link = self.link_of_mut(id);
        link.ping_open_since = now;
        link.last_available = now;
        link.last_pong = now;
    }
}
