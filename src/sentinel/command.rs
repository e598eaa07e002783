//! What operators ask for with SENTINEL commands (spec/commands.md); texts are the server's.
#![forbid(unsafe_code)]

use super::Sentinel;
use super::Simulate;
use super::action::Cx;
use super::event::{Event, Subject};
use super::failover::Cause;
use super::instance::{Addr, InstId, MasterId};
use super::link::LinkId;
use super::log_limit::LineKind;
pub use super::names::{HostState, Origin};
use super::setup::{GlobalConfig, MasterOptions};
use super::vote::{Ticket, Vote};
use crate::util::defect::{Defect, defect};
use crate::util::glob::Pattern;

/// Whether a failover could be agreed on now.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct QuorumReport {
    /// Sentinels that are not sdown, this one included.
    pub usable: usize,
    pub quorum_ok: bool,
    pub majority_ok: bool,
}

/// Why SENTINEL FAILOVER does nothing.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum FailoverRefused {
    InProgress,
    NoGoodSlave,
    /// All epochs are used up.
    NoEpochLeft,
}

/// Why SENTINEL MONITOR does nothing.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum MonitorRefused {
    Duplicate,
    BadHost,
    /// Empty, or with blanks, quotes or control characters: no config line could hold it.
    BadName,
}

/// One option of SENTINEL SET, checked.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum MasterSet {
    DownAfterMs(u64),
    FailoverTimeoutMs(u64),
    ParallelSyncs(u32),
    Quorum(u32),
    NotificationScript(Option<Vec<u8>>),
    ClientReconfigScript(Option<Vec<u8>>),
    AuthPass(Option<Vec<u8>>),
    AuthUser(Option<Vec<u8>>),
    Rename { command: Vec<u8>, new_name: Vec<u8> },
    MasterRebootDownAfterMs(u64),
    RefusedDownAfterMs(u64),
}

/// Whether a config line can hold `name` as a master's name.
pub fn is_master_name(name: &[u8]) -> bool {
    let bad = |byte: &u8| *byte <= b' ' || *byte == 0x7f || matches!(byte, b'"' | b'\'');
    !name.is_empty() && !name.iter().any(bad)
}

impl Sentinel {
    /// SENTINEL CKQUORUM.
    pub fn quorum_report(&self, id: MasterId) -> QuorumReport {
        let usable = self.peers_of(id).filter(|peer| !peer.base.sdown.is).count() + 1;
        let voters = self.masters[id].peers.len() + 1;
        QuorumReport {
            usable,
            quorum_ok: usable >= self.masters[id].options.quorum as usize,
            majority_ok: usable > voters / 2,
        }
    }

    /// SENTINEL FAILOVER: a failover without election.
    pub fn failover_asked(&mut self, cx: &mut Cx, id: MasterId) -> Result<(), FailoverRefused> {
        if self.failover_state_word(id).is_some() {
            return Err(FailoverRefused::InProgress);
        }
        if !self.has_selectable_replica(cx.now, id) {
            return Err(FailoverRefused::NoGoodSlave);
        }
        if self.next_epoch(cx.now, id).is_none() {
            return Err(FailoverRefused::NoEpochLeft);
        }
        let name = self.masters[id].base.name.as_slice();
        let text = || [b"Executing user requested FAILOVER of '", name, b"'"].concat();
        cx.log_limited(LineKind::ForcedFailover, text);
        self.start_failover(cx, id, Cause::Forced);
        Ok(())
    }

    /// SENTINEL RESET: how many masters matched.
    pub fn reset_asked(&mut self, cx: &mut Cx, pattern: &[u8]) -> usize {
        let longest = self.by_name.keys().map(Vec::len).max().unwrap_or(0);
        let pattern = Pattern::new(pattern, false, longest);
        let meant = self.by_name.iter().filter(|(name, _)| pattern.matches(name));
        let ids: Vec<MasterId> = meant.map(|(_, id)| *id).collect();
        for id in &ids {
            self.reset_master(cx, *id);
        }
        ids.len()
    }

    /// SENTINEL REMOVE.
    pub fn remove_asked(&mut self, cx: &mut Cx, id: MasterId) -> Ticket {
        self.plain_event(cx, Event::warning("-monitor"), InstId::Master(id));
        self.remove_master(cx, id);
        self.saves.at_once(cx.now)
    }

    /// SENTINEL MONITOR with checked numbers. A name may have been monitored and removed before:
    /// no vote is given in an epoch that was current until now.
    pub fn monitor_asked(
        &mut self,
        cx: &mut Cx,
        name: &[u8],
        host: &[u8],
        port: u16,
        quorum: u32,
    ) -> Result<(MasterId, Ticket), MonitorRefused> {
        if !is_master_name(name) {
            return Err(MonitorRefused::BadName);
        }
        let ip = match self.host_state(cx, host, Origin::Own) {
            HostState::Known(ip) => Some(ip),
            HostState::Pending | HostState::Bad | HostState::Busy => {
                return Err(MonitorRefused::BadHost);
            }
        };
        if self.by_name.contains_key(name) {
            return Err(MonitorRefused::Duplicate);
        }
        let mut options = MasterOptions::new(quorum);
        options.down_after_ms = self.periods.default_down_after_ms;
        options.failover_timeout_ms = self.periods.default_failover_timeout_ms;
        let addr = Addr { host: host.to_vec(), ip, port };
        let id = self.add_master(cx, name, addr, options);
        let floor = Vote { leader: None, epoch: self.current_epoch };
        if !defect(Defect::NoFloorForNewMaster) {
            self.masters[id].vote.durable = floor;
        }
        self.saves.touch_master(id);
        self.saves.touch_global();
        Ok((id, self.saves.at_once(cx.now)))
    }

    /// Tells that a master is monitored from now on.
    pub fn monitored(&mut self, cx: &mut Cx, id: MasterId) {
        let Some(master) = self.masters.get(id) else { return };
        let text = format!("quorum {}", master.options.quorum);
        let about = Subject::Instance(InstId::Master(id));
        self.event(cx, Event::warning("+monitor"), about, text.as_bytes());
    }

    /// One option of SENTINEL SET.
    pub fn set_option(&mut self, cx: &mut Cx, id: MasterId, option: MasterSet) -> Ticket {
        let options = &mut self.masters[id].options;
        match option {
            MasterSet::DownAfterMs(ms) => {
                options.down_after_ms = ms;
                self.down_after_changed(cx, id, ms);
            }
            MasterSet::FailoverTimeoutMs(ms) => options.failover_timeout_ms = ms,
            MasterSet::ParallelSyncs(n) => options.parallel_syncs = n,
            MasterSet::Quorum(n) => options.quorum = n,
            MasterSet::NotificationScript(path) => options.notification_script = path,
            MasterSet::ClientReconfigScript(path) => options.client_reconfig_script = path,
            MasterSet::AuthPass(pass) => {
                options.auth_pass = pass;
                self.drop_data_links(cx, id);
            }
            MasterSet::AuthUser(user) => {
                options.auth_user = user;
                self.drop_data_links(cx, id);
            }
            MasterSet::Rename { command, new_name } => options.renamed.set(&command, &new_name),
            MasterSet::MasterRebootDownAfterMs(ms) => options.master_reboot_down_after_ms = ms,
            MasterSet::RefusedDownAfterMs(ms) => options.refused_down_after_ms = ms,
        }
        self.saves.touch_master(id);
        self.arm(cx.now, InstId::Master(id));
        self.saves.at_once(cx.now)
    }

    /// The event of an applied option.
    pub fn event_set(&mut self, cx: &mut Cx, id: MasterId, text: &[u8]) {
        let about = Subject::Instance(InstId::Master(id));
        self.event(cx, Event::warning("+set"), about, text);
    }

    fn down_after_changed(&mut self, cx: &mut Cx, id: MasterId, down_after_ms: u64) {
        for inst in self.instances_of(id) {
            self.base_mut(inst).down_after_ms = down_after_ms;
            self.holders_changed(self.base(inst).link);
        }
        self.ping_budget.stale = true;
        for inst in self.instances_of(id) {
            self.arm(cx.now, inst);
        }
    }

    /// The master, its replicas and its sentinels.
    fn instances_of(&self, id: MasterId) -> Vec<InstId> {
        let master = &self.masters[id];
        let replicas = master.replicas.values().map(|id| InstId::Replica(*id));
        let peers = master.peers.values().map(|id| InstId::Peer(*id));
        [InstId::Master(id)].into_iter().chain(replicas).chain(peers).collect()
    }

    /// New credentials: the links to the master and its replicas are made anew.
    fn drop_data_links(&mut self, cx: &mut Cx, id: MasterId) {
        for inst in self.instances_of(id) {
            if !matches!(inst, InstId::Peer(_)) {
                let link = self.base(inst).link;
                self.drop_for_credentials(cx, link);
            }
        }
    }

    fn drop_for_credentials(&mut self, cx: &mut Cx, link: LinkId) {
        self.links[link].start_over();
        self.drop_connections(cx, link, "new credentials");
    }

    /// A global setting is changed; new credentials make the links to sentinels anew.
    pub fn set_globals(&mut self, cx: &mut Cx, change: impl FnOnce(&mut GlobalConfig)) -> Ticket {
        let secrets =
            |global: &GlobalConfig| (global.sentinel_user.clone(), global.sentinel_pass.clone());
        let before = secrets(&self.global);
        let announced_hosts = self.global.announce_hostnames;
        change(&mut self.global);
        if self.global.announce_hostnames != announced_hosts {
            self.rename_all_replicas(cx);
        }
        if secrets(&self.global) != before {
            self.drop_peer_links(cx);
        }
        for id in self.masters.ids() {
            // Addresses may be told in another way from now on.
            self.saves.touch_master(id);
        }
        self.saves.touch_global();
        self.saves.at_once(cx.now)
    }

    fn drop_peer_links(&mut self, cx: &mut Cx) {
        let links: Vec<LinkId> = self.peer_links.values().copied().collect();
        for link in links {
            self.drop_for_credentials(cx, link);
        }
    }

    /// SENTINEL FLUSHCONFIG.
    pub fn save_asked(&mut self, cx: &mut Cx) -> Ticket {
        self.saves.touch_global();
        self.saves.at_once(cx.now)
    }

    /// SENTINEL SIMULATE-FAILURE.
    pub fn set_simulation(&mut self, simulate: Simulate) {
        self.simulate = simulate;
    }

    /// After SENTINEL DEBUG: the new periods hold for all instances at once.
    pub fn periods_changed(&mut self, cx: &mut Cx) {
        self.ping_budget.stale = true;
        for inst in self.all_instances() {
            self.arm(cx.now, inst);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_a_config_line_can_hold() {
        for name in ["mymaster", "a", "A.b-c_9", "x:y/z", "m,n", "\u{e4}"] {
            assert!(is_master_name(name.as_bytes()), "{name}");
        }
        for name in ["", " ", "a b", "a\tb", "a\nb", "a\"b", "a'b", "a\0", "\x7f", "a\r"] {
            assert!(!is_master_name(name.as_bytes()), "{name:?}");
        }
    }
}
