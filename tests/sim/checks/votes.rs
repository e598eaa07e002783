//! Votes and elections: one vote per epoch, saved before it is told, and a majority for a leader.
#![forbid(unsafe_code)]

use super::{Attempt, Checks, Event, FileView};
use crate::net::Us;
use crate::property::{Property, ensure, violation};
use crate::wire::{Value, Words, show, show_words};

impl Checks {
    fn record_vote(
        &mut self,
        voter: usize,
        group: usize,
        epoch: u64,
        leader: &str,
        file: &FileView,
    ) {
        self.looked += 1;
        let run_id = self.sentinels[voter].run_id.clone();
        let (id, leader_id) = (self.id(&run_id), self.id(leader));
        let told = *self.votes.entry((group, epoch, id)).or_insert(leader_id);
        let property = Property::OneVotePerEpoch;
        ensure!(told == leader_id, property, "{voter} votes twice for m{group} in epoch {epoch}");
        let saved = file.master(group).map_or(0, |master| master.leader_epoch);
        let property = Property::VoteIsSavedFirst;
        ensure!(saved >= epoch, property, "{voter} tells vote {epoch}, its file has {saved}");
        let current = file.current_epoch;
        ensure!(current >= epoch, property, "{voter} votes in {epoch}, its file is at {current}");
    }

    pub(super) fn check_own_events_vote(&mut self, event: &Event, file: &FileView) {
        if !self.only_master {
            return;
        }
        let parts = event.text.split_once(' ');
        let Some((leader, Ok(epoch))) = parts.map(|(leader, epoch)| (leader, epoch.parse())) else {
            violation!(Property::OutputIsWellFormed, "{event:?}")
        };
        self.record_vote(event.sentinel, 0, epoch, leader, file);
        let watched = &mut self.sentinels[event.sentinel];
        let last = watched.voted_epoch;
        ensure!(epoch > last, Property::VotesRise, "{event:?} after a vote in {last}");
        watched.voted_epoch = epoch;
    }

    pub(super) fn check_elected(&mut self, event: &Event, group: usize, file: &FileView) {
        let sentinel = event.sentinel;
        let run_id = self.sentinels[sentinel].run_id.clone();
        ensure!(!self.sentinels[sentinel].tilt, Property::NothingInTilt, "{event:?}");
        let attempt = self.view(sentinel, group).attempt.as_mut();
        let open = |attempt: &&mut Attempt| attempt.ended.is_none() && attempt.elected_at.is_none();
        let Some(attempt) = attempt.filter(open) else {
            violation!(Property::ElectedAfterTry, "{event:?}")
        };
        attempt.elected_at = Some(event.at);
        let Attempt { epoch, forced, .. } = *attempt;
        if forced {
            return;
        }
        self.looked += 1;
        let me = self.id(&run_id);
        let saved = file.master(group).map_or(0, |master| master.leader_epoch);
        let property = Property::LeaderVotedForItself;
        ensure!(saved >= epoch, property, "{event:?}: its file has {saved}, not {epoch}");
        let own = self.votes.get(&(group, epoch, me)).copied();
        ensure!(!self.only_master || own == Some(me), property, "{event:?}: it went to {own:?}");
        self.check_one_leader(event, group, epoch, me);
        self.check_majority(event, group, epoch, me);
    }

    /// Two leaders are excluded as long as two majorities or two quorums must overlap.
    pub(super) fn leaders_are_unique(&self) -> bool {
        let overlap = !self.waived.majority_of_all || self.quorum * 2 > self.sentinels.len();
        overlap && !self.waived.strangers
    }

    fn check_one_leader(&mut self, event: &Event, group: usize, epoch: u64, me: u32) {
        if !self.leaders_are_unique() {
            return;
        }
        let leader = *self.leaders.entry((group, epoch)).or_insert(me);
        let property = Property::OneLeaderPerEpoch;
        ensure!(leader == me, property, "two leaders of m{group} in epoch {epoch}: {event:?}");
    }

    fn check_majority(&mut self, event: &Event, group: usize, epoch: u64, me: u32) {
        let of_this = (group, epoch, 0)..=(group, epoch, u32::MAX);
        let mine =
            |((_, _, voter), leader): &(&(usize, u64, u32), &u32)| *voter != me && **leader == me;
        let votes = self.votes.range(of_this).filter(mine).count() + 1;
        let majority = match self.waived.majority_of_all {
            true => 0,
            false => self.sentinels.len() / 2 + 1,
        };
        let quorum = self.view(event.sentinel, group).quorum.unwrap_or(self.quorum);
        let needed = majority.max(quorum);
        let property = Property::LeaderHasMajority;
        let enough = votes >= needed || self.waived.strangers;
        ensure!(enough, property, "{event:?} in {epoch} with {votes} votes of {needed}");
    }

    pub(super) fn check_ask(
        &mut self,
        now: Us,
        sentinel: usize,
        words: &Words,
        group: &dyn Fn(&str) -> Option<usize>,
    ) {
        let watched = &self.sentinels[sentinel];
        ensure!(!watched.tilt, Property::NothingInTilt, "{sentinel} asks in tilt");
        if words[5] == b"*" {
            return;
        }
        self.looked += 1;
        let property = Property::VotesAskedForOwnFailover;
        let own = words[5] == watched.run_id.as_bytes();
        ensure!(own, property, "{sentinel} asks a vote for another: {}", show_words(words));
        let (epoch, group) = (show(&words[4]).parse::<u64>(), group(&show(&words[2])));
        let (Ok(epoch), Some(group)) = (epoch, group) else {
            violation!(Property::OutputIsWellFormed, "{sentinel}: {}", show_words(words))
        };
        let attempt = self.view(sentinel, group).attempt;
        let own = attempt.is_some_and(|attempt| {
            // What was asked before the end may have been written in the same turn.
            let open = |end: Option<Us>| end.is_none_or(|at| at == now);
            let present = attempt.epoch == epoch && open(attempt.elected_at) && open(attempt.ended);
            present || (attempt.after == Some(epoch) && attempt.began_at == now)
        });
        ensure!(own, property, "{sentinel}: {}, its failover: {attempt:?}", show_words(words));
    }

    pub(super) fn check_answer(
        &mut self,
        now: Us,
        sentinel: usize,
        words: &Words,
        reply: &Value,
        group: &dyn Fn(&str) -> Option<usize>,
        file: &FileView,
    ) {
        let is_number = |word: &[u8]| show(word).parse::<i64>().is_ok();
        if let (Value::Error(_), false) = (reply, is_number(&words[3]) && is_number(&words[4])) {
            return;
        }
        let Value::Array(items) = reply else {
            violation!(Property::OutputIsWellFormed, "{reply:?} to {}", show_words(words))
        };
        let [Value::Int(down), Value::Bulk(leader), Value::Int(epoch)] = &items[..] else {
            violation!(Property::OutputIsWellFormed, "{reply:?} to {}", show_words(words))
        };
        let tilt = self.sentinels[sentinel].tilt;
        let property = Property::NothingInTilt;
        ensure!(*down == 0 || !tilt, property, "{sentinel} says that a master is down in tilt");
        let about = group(&show(&words[2]));
        if let Some(group) = about.filter(|_| *down == 1) {
            self.check_told_down(now, sentinel, group);
        }
        if leader == b"*" {
            return;
        }
        let Some(group) = about else {
            violation!(Property::OutputIsWellFormed, "a vote for {}", show_words(words))
        };
        self.record_vote(sentinel, group, *epoch as u64, &show(leader), file);
    }
}
