//! Objectively down, and votes: asked for, given, counted by the current epoch.
#![forbid(unsafe_code)]

use std::collections::BTreeMap;

use super::CPeer;
use super::state::{Id, Sent, State};

const ASK_PERIOD_MS: u64 = 1_000;
const ANSWER_PERIODS: u64 = 5;

impl CPeer {
    pub fn check_odown(&mut self, id: Id) {
        let now = self.now();
        let watch = &self.watches[&id];
        let agreeing = 1 + watch.peers.values().filter(|peer| self.insts[peer].says_down).count();
        let quorum = watch.quorum;
        let down = self.insts[&id].sdown && agreeing >= quorum;
        if down == watch.odown {
            return;
        }
        let watch = self.watch_mut(id);
        watch.odown = down;
        if down {
            watch.odown_since = now;
            self.event("+odown", id, &format!(" #quorum {agreeing}/{quorum}"));
        } else {
            self.event("-odown", id, "");
        }
    }

    /// Once a second each, or all at once; old answers are forgotten.
    pub fn ask_peers(&mut self, id: Id, at_once: bool) {
        let now = self.now();
        let peers: Vec<Id> = self.watches[&id].peers.values().copied().collect();
        for peer in peers {
            let inst = self.inst_mut(peer);
            let age_ms = now.saturating_sub(inst.last_ask_reply);
            if age_ms > ANSWER_PERIODS * ASK_PERIOD_MS {
                inst.says_down = false;
                inst.leader.clear();
            }
            let due = at_once || age_ms >= ASK_PERIOD_MS;
            if due && self.insts[&id].sdown && self.link_of(peer).connected() {
                self.ask(id, peer);
            }
        }
    }

    fn ask(&mut self, id: Id, peer: Id) {
        let (ip, port) = self.insts[&id].addr;
        let (ip, port) = (ip.to_string(), port.to_string());
        let epoch = self.current_epoch.to_string();
        let candidate = match self.watches[&id].state {
            State::None => "*".to_owned(),
            _ => self.myid.clone(),
        };
        let verb: &[u8] = b"is-master-down-by-addr";
        let words = [
            b"SENTINEL",
            verb,
            ip.as_bytes(),
            port.as_bytes(),
            epoch.as_bytes(),
            candidate.as_bytes(),
        ];
        self.send(peer, Sent::Ask(peer), &words);
    }

    pub fn adopt_epoch(&mut self, epoch: u64) {
        self.current_epoch = epoch;
        self.save();
        self.log(&format!("+new-epoch {epoch}"));
    }

    /// Gives a vote if there is one to give; tells which holds.
    pub fn vote(&mut self, id: Id, epoch: u64, candidate: &str) -> (String, u64) {
        if epoch > self.current_epoch {
            self.adopt_epoch(epoch);
        }
        let current = self.current_epoch;
        if self.watches[&id].leader_epoch < epoch && current <= epoch {
            let watch = self.watch_mut(id);
            watch.leader = candidate.to_owned();
            watch.leader_epoch = current;
            self.save();
            self.log(&format!("+vote-for-leader {candidate} {current}"));
            if candidate != self.myid {
                let start = self.now() + self.rng.below(1_000);
                self.watch_mut(id).failover_start = start;
            }
        }
        let watch = &self.watches[&id];
        (watch.leader.clone(), watch.leader_epoch)
    }

    /// Who won the election of that failover, as far as is known.
    pub fn winner(&mut self, id: Id, failover_epoch: u64) -> Option<String> {
        let watch = &self.watches[&id];
        let voters = watch.peers.len() + 1;
        let needed = (voters / 2 + 1).max(watch.quorum);
        let mut votes: BTreeMap<String, usize> = BTreeMap::new();
        for peer in watch.peers.values() {
            let peer = &self.insts[peer];
            if !peer.leader.is_empty() && peer.leader_epoch == self.current_epoch {
                *votes.entry(peer.leader.clone()).or_default() += 1;
            }
        }
        let ahead = votes.iter().max_by_key(|(_, count)| **count).map(|(leader, _)| leader.clone());
        let choice = ahead.unwrap_or_else(|| self.myid.clone());
        let (leader, epoch) = self.vote(id, failover_epoch, &choice);
        if epoch == failover_epoch && !leader.is_empty() {
            *votes.entry(leader).or_default() += 1;
        }
        let (leader, count) = votes.into_iter().max_by_key(|(_, count)| *count)?;
        (count >= needed).then_some(leader)
    }
}
