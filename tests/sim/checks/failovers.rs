//! Failovers: when they start, whom they promote, and what SLAVEOF may say.
#![forbid(unsafe_code)]

use super::{Attempt, Checks, Event};
use crate::net::{Net, Us};
use crate::property::{Property, ensure, violation};
use crate::wire::{Words, show, show_words};

impl Checks {
    pub(super) fn check_try(&mut self, event: &Event, group: usize) {
        let sentinel = event.sentinel;
        let watched = &self.sentinels[sentinel];
        let (epoch, tilt) = (watched.current_epoch, watched.tilt);
        let disputed = self.is_disputed(sentinel, group);
        let view = self.view(sentinel, group);
        let forced = std::mem::take(&mut view.forced_next);
        ensure!(forced || !tilt, Property::NothingInTilt, "{event:?}");
        let property = Property::FailoversStartInOdown;
        ensure!(forced || view.odown || disputed, property, "{event:?}");
        let began_at = event.at;
        let before = view.attempt.filter(|attempt| attempt.ended == Some(began_at));
        let after = before.map(|attempt| attempt.epoch);
        let (elected_at, ended, chosen) = (None, None, None);
        view.attempt = Some(Attempt { epoch, forced, began_at, after, elected_at, ended, chosen });
        let master = view.at;
        self.counter.tried(group, master, epoch, forced);
        if forced {
            self.forced.insert((group, epoch));
        }
        self.looked += 1;
    }

    /// Whether others than this sentinel tell another address in the config epoch it is at.
    fn is_disputed(&mut self, sentinel: usize, group: usize) -> bool {
        // It may have adopted a later one and not told of it yet.
        let config_epoch = self.view(sentinel, group).config_epoch;
        self.conflicts.range((group, config_epoch)..=(group, u64::MAX)).next().is_some()
    }

    /// A leader that was elected to settle a conflict keeps the master.
    pub(super) fn note_kept(&mut self, event: &Event, group: usize) {
        let disputed = self.is_disputed(event.sentinel, group);
        let Some(attempt) = &mut self.view(event.sentinel, group).attempt else { return };
        if attempt.ended.is_none() {
            attempt.ended = Some(event.at);
            let kept = attempt.chosen.is_none() && attempt.elected_at.is_some();
            ensure!(kept && disputed, Property::OnlyLeadersPromote, "{event:?}");
        }
    }

    /// Whether a sentinel holds a master for down, or replaces it and is not at the end.
    pub fn replaces(&self, sentinel: usize, group: usize) -> bool {
        let view = self.sentinels[sentinel].masters.get(group);
        let tries = |attempt: Attempt| attempt.ended.is_none();
        view.is_some_and(|view| view.sdown || view.attempt.is_some_and(tries))
    }

    pub(super) fn note_end(&mut self, event: &Event, group: usize) {
        let Some(attempt) = &mut self.view(event.sentinel, group).attempt else { return };
        attempt.ended = Some(event.at);
        let forced = attempt.forced;
        if event.name.ends_with("-no-good-slave") || event.name.ends_with("-slave-timeout") {
            self.counter.lacked_replica(group);
        }
        if event.name == "+promoted-slave" {
            self.counter.promoted(group, event.at);
            self.check_promoted(event);
            self.completed[usize::from(forced)] += 1;
        }
    }

    pub(super) fn check_selected(&mut self, event: &Event, group: usize) {
        let sentinel = event.sentinel;
        let Some(host) = event.host() else {
            violation!(Property::SlaveofWithinTheGroup, "{event:?}")
        };
        let property = Property::PromotedReplicaIsSuitable;
        let down = self.view(sentinel, group).down.contains(&host);
        let down = down && !self.ambiguous;
        ensure!(!down, property, "{event:?} is held down by {sentinel}");
        let Some(info) = self.infos.get(&(sentinel, host)) else {
            violation!(property, "{event:?} never answered INFO to {sentinel}")
        };
        ensure!(info.priority != Some(0), property, "{event:?} has priority 0");
        self.looked += 1;
        let view = self.view(sentinel, group);
        if let Some(attempt) = &mut view.attempt {
            attempt.chosen = Some(host);
        }
    }

    pub(super) fn check_slaveof(
        &mut self,
        now: Us,
        sentinel: usize,
        words: &Words,
        group: &dyn Fn(&str) -> Option<usize>,
        (host, to): (usize, Option<usize>),
    ) {
        self.looked += 1;
        let what = || format!("{sentinel} to {host}: {}", show_words(words));
        ensure!(!self.sentinels[sentinel].tilt, Property::NothingInTilt, "{}", what());
        let Some(master) = to else { violation!(Property::SlaveofWithinTheGroup, "{}", what()) };
        if words[1] == b"NO" {
            return self.check_promotion(now, sentinel, host, master);
        }
        let ip = show(&words[1]);
        if ip.parse::<std::net::IpAddr>().is_err() {
            // A name of which the sentinel was told something that is not true.
            return;
        }
        let within = group(&ip) == Some(master) && words[2] == b"6379";
        ensure!(within, Property::SlaveofWithinTheGroup, "{}", what());
        let itself = ip.parse().ok().and_then(Net::host_of) == Some(host);
        ensure!(!itself, Property::NobodyFollowsItself, "{}", what());
    }

    fn check_promotion(&mut self, now: Us, sentinel: usize, host: usize, group: usize) {
        let (voted, only) = (self.sentinels[sentinel].voted_epoch, self.only_master);
        let disputed = self.is_disputed(sentinel, group);
        let view = self.view(sentinel, group);
        // What was sent before the end may have been written in the same turn.
        let open = |attempt: &Attempt| attempt.ended.is_none_or(|at| at == now);
        let elected = view.attempt.filter(|a| a.elected_at.is_some() && open(a));
        let Some(attempt) = elected else {
            violation!(Property::OnlyLeadersPromote, "{sentinel} promotes {host}: {view:?}")
        };
        let property = Property::OneReplicaPerFailover;
        let keeps = disputed && attempt.chosen.is_none() && view.at == Some(host);
        let chosen = attempt.chosen == Some(host) || keeps;
        ensure!(chosen, property, "{sentinel} promotes {host}, but {attempt:?}");
        let newer = only && voted > attempt.epoch;
        let property = Property::NoPromotionAfterNewerVote;
        ensure!(!newer, property, "{sentinel} promotes for {attempt:?} after a vote in {voted}");
    }
}
