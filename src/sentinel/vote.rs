//! Votes given (spec/protocol.md section 8, design/beyond.md 2).
//!
//! A vote is on disk before it is told: it waits in [`VoteBook::pending`] for its save, and answers
//! are composed from [`VoteBook::durable`] alone.
//!
//! A request names an address, not a master, and one node may be watched under several names. Who
//! asks may mean any of them, and counts the answer for the one it means. So a vote is given for
//! all masters at that address at once, and for those that have a replica there: the asker may be
//! ahead of us or behind us with a switch. It is given only if it can be given for all of them, so
//! nobody else gets one in that epoch under any of the names. The failovers of the names have
//! epochs of their own, so each can have its leader.
#![forbid(unsafe_code)]

use std::cmp::Ordering;

use super::Sentinel;
use super::action::Cx;
use super::event::{Event, Subject};
use super::failover::State;
use super::instance::{InstId, MasterId};
use super::log_limit::LineKind;
use super::names::{HostState, Origin, parse_ip};
use crate::util::defect::{Defect, defect};

/// Votes that wait for their save, per master. Healthy groups come to two or three; whoever asks
/// with epoch after epoch while the disk is slow gets no more.
const MAX_PENDING_VOTES: usize = 16;

/// A moment in the sequence of saves: resolved when the save that holds it has ended.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Default)]
pub struct Ticket(pub u64);

/// A vote: for whom (`None`: not known any more, the epoch still counts), in which epoch.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Vote {
    pub leader: Option<Vec<u8>>,
    pub epoch: u64,
}

/// The votes of this sentinel for one master: the one that is on disk, and those being saved.
#[derive(Clone, Debug, Default)]
pub struct VoteBook {
    /// On disk; the only one that is ever told.
    pub durable: Vote,
    /// Being saved, oldest first, epochs rising.
    pub pending: Vec<(Ticket, Vote)>,
    /// The epoch of the last vote that is announced with that for another name of this master.
    pub(super) told_with_other: u64,
    /// The epoch of the last vote that was asked about another name, as far as we can tell: nobody
    /// is leading a failover of this one.
    pub(super) about_other: u64,
}

impl VoteBook {
    /// The epoch at or below which no vote is given any more.
    pub fn last_epoch(&self) -> u64 {
        let pending = self.pending.last().filter(|_| !defect(Defect::OverlookPendingVote));
        pending.map_or(self.durable.epoch, |(_, vote)| vote.epoch)
    }

    /// Whether a vote may still be given in `epoch`.
    fn is_unused(&self, epoch: u64) -> bool {
        match epoch.cmp(&self.last_epoch()) {
            Ordering::Greater => true,
            Ordering::Equal => defect(Defect::VoteTwicePerEpoch),
            Ordering::Less => defect(Defect::VoteInOldEpoch),
        }
    }

    /// What the next save has to hold.
    pub fn latest(&self) -> &Vote {
        self.pending.last().map_or(&self.durable, |(_, vote)| vote)
    }
}

/// SENTINEL IS-MASTER-DOWN-BY-ADDR, as received.
#[derive(Clone, Copy, Debug)]
pub struct Ask<'a> {
    pub ip: &'a [u8],
    pub port: i64,
    pub epoch: u64,
    /// The candidate, or `*`.
    pub runid: &'a [u8],
    /// How the asker's id begins, from the name of its connection, if it has one.
    pub asker: Option<&'a [u8]>,
}

/// How an ask is answered.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum AskOutcome {
    /// At once.
    Answer { down: bool, vote: Vote },
    /// When the save of `ticket` has ended (or after 500 ms), with [`Sentinel::vote_answer`].
    Wait { down: bool, master: MasterId, ticket: Ticket },
    /// The host is being looked up: to be asked again when that has ended. If it takes too long,
    /// the answer is that no such master is known.
    Unresolved,
}

impl Sentinel {
    /// Takes an ask: tells whether we hold the master down and, if asked for a vote, gives it.
    pub fn asked(&mut self, cx: &mut Cx, ask: &Ask) -> AskOutcome {
        self.stirred = cx.now;
        let (asked, around, host) = self.asked_about(cx, ask.ip, ask.port);
        let Some(&first) = asked.first() else {
            return match host {
                HostState::Pending => AskOutcome::Unresolved,
                _ => AskOutcome::Answer { down: false, vote: Vote::default() },
            };
        };
        let down = asked.iter().any(|id| self.says_down(*id));
        for &id in &asked {
            if !down {
                self.note_denial(cx.now, id, ask.asker);
            }
            self.hint_from(cx, id, ask.asker);
        }
        // Only we ask for votes for ourselves: then that peer leads back to us, and our vote would
        // be counted twice.
        let by_ourselves = ask.runid.eq_ignore_ascii_case(&self.myid);
        if ask.runid == b"*" || (by_ourselves && !defect(Defect::KnowOneself)) {
            return AskOutcome::Answer { down, vote: Vote::default() };
        }
        self.adopt_epoch(cx, first, ask.epoch);
        if self.accepts_epoch(cx.now, ask.epoch) {
            self.consider_vote(cx, &asked, &around, ask);
        }
        let id = self.told_of(&asked, ask.epoch).unwrap_or(first);
        match self.masters[id].vote.pending.last() {
            Some((ticket, _)) if !defect(Defect::TellUnsavedVote) => {
                AskOutcome::Wait { down, master: id, ticket: *ticket }
            }
            _ => AskOutcome::Answer { down, vote: self.vote_answer(id) },
        }
    }

    /// The vote that may be told now; a master that is gone has none.
    pub fn vote_answer(&self, id: MasterId) -> Vote {
        let Some(master) = self.masters.get(id) else { return Vote::default() };
        match defect(Defect::TellUnsavedVote) {
            true => master.vote.latest().clone(),
            false => master.vote.durable.clone(),
        }
    }

    /// What we tell of a master when a peer asks; nothing bad in tilt, nor while a simulated crash
    /// waits for the disk, when nothing else is told of it.
    fn says_down(&self, id: MasterId) -> bool {
        if self.crash_after.is_some() {
            return false;
        }
        let judging = self.tilt.since.is_none() || defect(Defect::SayDownInTilt);
        (judging && self.masters[id].base.sdown.is) || defect(Defect::SayDownWhenUp)
    }

    /// The masters at an address, by name, and those that have a replica there; and what is known
    /// of the host.
    fn asked_about(
        &mut self,
        cx: &mut Cx,
        host: &[u8],
        port: i64,
    ) -> (Vec<MasterId>, Vec<MasterId>, HostState) {
        let Ok(port) = u16::try_from(port) else {
            return (Vec::new(), Vec::new(), HostState::Bad);
        };
        let state = match parse_ip(host) {
            Some(ip) => HostState::Known(ip),
            None => match self.resolve(cx, host, Origin::Stranger) {
                Ok(ip) => HostState::Known(ip),
                Err(state) => state,
            },
        };
        let ip = match state {
            HostState::Known(ip) => Some(ip),
            _ => None,
        };
        let mut asked = self.masters_at(ip, host, port);
        if defect(Defect::VotePerName) {
            asked.truncate(1);
            return (asked, Vec::new(), state);
        }
        let around = ip.map(|ip| self.masters_around(ip, port, &asked)).unwrap_or_default();
        (asked, around, state)
    }

    /// Of several masters that were asked about: the one whose vote answers the epoch, or else is
    /// the latest.
    fn told_of(&self, asked: &[MasterId], epoch: u64) -> Option<MasterId> {
        let given = |id: &MasterId| self.masters[*id].vote.latest().epoch;
        let exact = asked.iter().find(|id| given(id) == epoch);
        exact.or_else(|| asked.iter().rev().max_by_key(|id| given(id))).copied()
    }

    /// One vote per epoch and master, for the first who asks.
    fn consider_vote(&mut self, cx: &mut Cx, asked: &[MasterId], around: &[MasterId], ask: &Ask) {
        let well_formed = ask.runid.len() <= 40 && ask.runid.iter().all(u8::is_ascii_graphic);
        let mut all = asked.iter().chain(around);
        if !well_formed || !all.all(|id| self.may_vote(*id, ask.epoch)) {
            return;
        }
        for (n, &id) in asked.iter().enumerate() {
            self.record_vote(cx, id, ask.runid.to_vec(), ask.epoch);
            let master = &mut self.masters[id];
            if n > 0 {
                master.vote.told_with_other = ask.epoch;
            }
            // A sentinel of one name only asks for that one.
            if asked.len() > 1 && !master.peers.contains_key(ask.runid) {
                master.vote.about_other = ask.epoch;
            }
        }
        for &id in around {
            self.record_vote(cx, id, ask.runid.to_vec(), ask.epoch);
            let book = &mut self.masters[id].vote;
            (book.told_with_other, book.about_other) = (ask.epoch, ask.epoch);
        }
    }

    fn may_vote(&self, id: MasterId, epoch: u64) -> bool {
        let master = &self.masters[id];
        let acting = match &master.failover {
            Some(failover) if !defect(Defect::PromoteAfterNewerVote) => {
                failover.state != State::WaitStart
            }
            _ => false,
        };
        // Failovers of different masters share the global epoch, but not their votes: an epoch
        // that fell behind is as good as any, as long as this master has not seen it used.
        let unused = master.vote.is_unused(epoch);
        let recent = epoch >= self.current_epoch || epoch > master.config_epoch;
        let crowded = master.vote.pending.len() >= MAX_PENDING_VOTES;
        !crowded && !acting && unused && recent
    }

    /// Gives a vote, ours included; it counts from [`Sentinel::votes_saved`] on.
    pub(super) fn record_vote(&mut self, cx: &mut Cx, id: MasterId, leader: Vec<u8>, epoch: u64) {
        let ticket = self.saves.at_once(cx.now);
        self.saves.touch_master(id);
        self.saves.touch_global();
        let vote = Vote { leader: Some(leader), epoch };
        self.masters[id].vote.pending.push((ticket, vote));
        self.pending_votes.insert(id);
    }

    /// The save of `generation` has ended. Votes it holds are given now, or never.
    pub fn votes_saved(&mut self, cx: &mut Cx, generation: u64, ok: bool) {
        if self.crash_after.is_some_and(|ticket| ticket.0 <= generation) {
            self.crash(cx);
        }
        for id in std::mem::take(&mut self.pending_votes) {
            let book = &mut self.masters[id].vote;
            let is_later =
                |ticket: &Ticket| ticket.0 > generation && !defect(Defect::TrustEarlierSave);
            let later = book.pending.iter().position(|(ticket, _)| is_later(ticket));
            let rest = book.pending.split_off(later.unwrap_or(book.pending.len()));
            let settled = std::mem::replace(&mut book.pending, rest);
            if !book.pending.is_empty() {
                self.pending_votes.insert(id);
            }
            for (_, vote) in settled {
                if ok || defect(Defect::GiveFailedVote) {
                    self.vote_given(cx, id, vote);
                } else {
                    self.vote_lost(cx, id, &vote);
                }
            }
            self.master_progress(cx, id);
            self.arm(cx.now, InstId::Master(id));
        }
    }

    fn vote_given(&mut self, cx: &mut Cx, id: MasterId, vote: Vote) {
        let leader = vote.leader.clone().unwrap_or_default();
        let epoch = vote.epoch;
        let book = &mut self.masters[id].vote;
        book.durable = vote;
        let about_other = book.about_other == epoch;
        if book.told_with_other != epoch {
            let text = [leader.as_slice(), format!(" {epoch}").as_bytes()].concat();
            self.event(cx, Event::warning("+vote-for-leader"), Subject::Quiet(id), &text);
        }
        // A configuration of that epoch or a later one has come meanwhile: the vote is history.
        if leader == self.myid || epoch <= self.masters[id].config_epoch {
            return;
        }
        match about_other {
            false => self.defer_to(cx, id, leader, epoch),
            true => self.give_up_older(cx, id, epoch),
        }
    }

    fn vote_lost(&mut self, cx: &mut Cx, id: MasterId, vote: &Vote) {
        let epoch = vote.epoch;
        let text = || format!("The vote in epoch {epoch} could not be saved and is not given");
        cx.log_limited(LineKind::VoteNotSaved, text);
        self.saves.touch_master(id);
        if vote.leader.as_ref() == Some(&self.myid) {
            self.own_vote_lost(cx, id, epoch);
        }
    }
}
