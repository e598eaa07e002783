//! Votes given (spec/protocol.md section 8, design/beyond.md 2).
//!
//! A vote is on disk before it is told: it waits in [`VoteBook::pending`] for its save, and answers
//! are composed from [`VoteBook::durable`] alone.
#![forbid(unsafe_code)]

use std::cmp::Ordering;

use super::Sentinel;
use super::action::Cx;
use super::event::{Event, Subject};
use super::failover::State;
use super::instance::{InstId, MasterId};
use super::log_limit::LineKind;
use super::names::{Origin, parse_ip};
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
}

impl Sentinel {
    /// Takes an ask: tells whether we hold the master down and, if asked for a vote, gives it.
    pub fn asked(&mut self, cx: &mut Cx, ask: &Ask) -> AskOutcome {
        self.stirred = cx.now;
        let Some(id) = self.asked_about(cx, ask.ip, ask.port) else {
            return AskOutcome::Answer { down: false, vote: Vote::default() };
        };
        let down = self.says_down(id);
        if !down {
            self.note_denial(cx.now, id, ask.asker);
        }
        self.hint_from(cx, id, ask.asker);
        // Only we ask for votes for ourselves: then that peer leads back to us, and our vote would
        // be counted twice.
        let by_ourselves = ask.runid.eq_ignore_ascii_case(&self.myid);
        if ask.runid == b"*" || (by_ourselves && !defect(Defect::KnowOneself)) {
            return AskOutcome::Answer { down, vote: Vote::default() };
        }
        self.adopt_epoch(cx, id, ask.epoch);
        if self.accepts_epoch(cx.now, ask.epoch) {
            self.consider_vote(cx, id, ask);
        }
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

    fn asked_about(&mut self, cx: &mut Cx, host: &[u8], port: i64) -> Option<MasterId> {
        let port = u16::try_from(port).ok()?;
        let ip = match parse_ip(host) {
            Some(ip) => Some(ip),
            None => self.resolve(cx, host, Origin::Stranger).ok(),
        };
        self.master_at(ip, host, port)
    }

    /// One vote per epoch and master, for the first who asks.
    fn consider_vote(&mut self, cx: &mut Cx, id: MasterId, ask: &Ask) {
        let master = &self.masters[id];
        let acting = match &master.failover {
            Some(failover) if !defect(Defect::PromoteAfterNewerVote) => {
                failover.state != State::WaitStart
            }
            _ => false,
        };
        // Failovers of different masters share the global epoch, but not their votes: an epoch
        // that fell behind is as good as any, as long as this master has not seen it used.
        let unused = master.vote.is_unused(ask.epoch);
        let recent = ask.epoch >= self.current_epoch || ask.epoch > master.config_epoch;
        let well_formed = ask.runid.len() <= 40 && ask.runid.iter().all(u8::is_ascii_graphic);
        let crowded = master.vote.pending.len() >= MAX_PENDING_VOTES;
        if crowded || acting || !unused || !recent || !well_formed {
            return;
        }
        self.record_vote(cx, id, ask.runid.to_vec(), ask.epoch);
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
        self.masters[id].vote.durable = vote;
        let text = [leader.as_slice(), format!(" {epoch}").as_bytes()].concat();
        self.event(cx, Event::warning("+vote-for-leader"), Subject::Quiet(id), &text);
        // A configuration of that epoch or a later one has come meanwhile: the vote is history.
        if leader != self.myid && epoch > self.masters[id].config_epoch {
            self.defer_to(cx, id, leader, epoch);
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
