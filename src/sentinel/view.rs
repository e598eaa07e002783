//! Read-only views for replies: flags and state words (spec/protocol.md section 1).
#![forbid(unsafe_code)]

use super::Sentinel;
use super::failover::{Cause, State};
use super::instance::{InstId, MasterId, ReconfState};

impl Sentinel {
    /// The flags of an instance, in their fixed order, joined by commas.
    pub fn flags(&self, inst: InstId) -> String {
        let mut flags: Vec<&str> = Vec::with_capacity(4);
        let base = self.base(inst);
        let mut set = |on: bool, word| {
            if on {
                flags.push(word);
            }
        };
        set(base.sdown.is, "s_down");
        let master = match inst {
            InstId::Master(id) => Some(&self.masters[id]),
            _ => None,
        };
        set(master.is_some_and(|master| master.odown.is), "o_down");
        set(
            true,
            match inst {
                InstId::Master(_) => "master",
                InstId::Replica(_) => "slave",
                InstId::Peer(_) => "sentinel",
            },
        );
        set(!self.connected(base.link), "disconnected");
        match inst {
            InstId::Peer(id) => set(self.peers[id].master_down, "master_down"),
            InstId::Master(id) => {
                set(self.failover_state_word(id).is_some(), "failover_in_progress");
            }
            InstId::Replica(id) => {
                set(self.is_promoted(id), "promoted");
                match self.replicas[id].reconf {
                    ReconfState::None => {}
                    ReconfState::Sent => set(true, "reconf_sent"),
                    ReconfState::InProgress => set(true, "reconf_inprog"),
                    ReconfState::Done => set(true, "reconf_done"),
                }
            }
        }
        set(master.is_some_and(|_| self.is_forced(inst)), "force_failover");
        set(self.data(inst).is_some_and(|data| data.script_kill_sent), "script_kill_sent");
        set(master.is_some_and(|master| master.reboot_since.is_some()), "master_reboot");
        flags.join(",")
    }

    fn is_forced(&self, inst: InstId) -> bool {
        let master = &self.masters[self.master_of(inst)];
        let running = master.failover.as_ref().map(|failover| failover.cause);
        running.or(master.reconf.as_ref().map(|reconf| reconf.cause)) == Some(Cause::Forced)
    }

    /// The state of a failover in progress, the reconfiguration of replicas after the switch
    /// included.
    pub fn failover_state_word(&self, id: MasterId) -> Option<&'static str> {
        let master = &self.masters[id];
        match &master.failover {
            Some(failover) => Some(match failover.state {
                State::WaitStart => "wait_start",
                State::SelectSlave => "select_slave",
                State::SendSlaveofNoOne { .. } => "send_slaveof_noone",
                State::WaitPromotion { .. } | State::KeepMaster { .. } => "wait_promotion",
            }),
            None => master.reconf.as_ref().map(|_| "reconf_slaves"),
        }
    }
}
