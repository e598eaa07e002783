//! Periodic commands: INFO, PING, hello (spec/protocol.md section 4), and how often.
#![forbid(unsafe_code)]

use super::Sentinel;
use super::action::Cx;
use super::instance::{InstId, Master, ReconfState, Role};
use super::link::{Channel, Link, LinkId, Sent};
use super::names::LOOKUP_PERIOD_MS;
use super::timers::NEVER;
use crate::util::defect::{Defect, defect};
use crate::util::rng::mix;
use crate::util::time::Mono;

/// Shorter PING periods may cost this many PINGs a second in all.
const EXTRA_PINGS_PER_S: u64 = 1_000;
/// The shortest PING period that down-after can bring about.
const SHORTEST_PING_MS: u64 = 100;
/// INFO period of a replica that matters right now.
const BUSY_INFO_MS: u64 = 1_000;
/// First pause before a master is asked again that listed a replica whose host name has no address;
/// it doubles. By then the name may be looked up again.
const INCOMPLETE_INFO_MS: u64 = LOOKUP_PERIOD_MS + 100;
/// INFO period of a replica that was told to follow the promoted one.
const RECONF_INFO_MS: u64 = 250;

/// Bundled commands leave at so many moments of a period.
const BUNDLE_SLOTS: u64 = 50;
/// A PING, INFO or hello goes along with another command where it would be due so soon: within
/// this part of its period.
const PING_AHEAD: u64 = 10;
const INFO_AHEAD: u64 = 10;
const HELLO_AHEAD: u64 = 4;

/// Whether PING periods may be shorter than ping-period; looked at anew when marked stale.
#[derive(Clone, Copy, Debug, Default)]
pub struct PingBudget {
    pub(super) exceeded: bool,
    pub(super) stale: bool,
}

impl Sentinel {
    /// The effective PING period of an instance in ms.
    pub fn ping_period_ms(&self, inst: InstId) -> u64 {
        self.ping_period_of(&self.links[self.base(inst).link])
    }

    fn ping_period_of(&self, link: &Link) -> u64 {
        let plain = self.periods.ping_ms.min(link.down_after_ms).max(1);
        if self.ping_budget.exceeded {
            return plain;
        }
        (link.down_after_ms / 10).max(SHORTEST_PING_MS).min(plain)
    }

    /// From the tick: counts what the shorter PING periods cost.
    pub(super) fn weigh_pings(&mut self) {
        if !self.ping_budget.stale {
            return;
        }
        self.ping_budget = PingBudget::default();
        let mut extra_milli = 0;
        for id in self.links.ids() {
            self.holders_changed(id);
            let link = &self.links[id];
            let plain = self.periods.ping_ms.min(link.down_after_ms).max(1);
            extra_milli += 1_000_000 / self.ping_period_of(link) - 1_000_000 / plain;
        }
        self.ping_budget.exceeded = extra_milli > EXTRA_PINGS_PER_S * 1_000;
    }

    /// Holders of a link came, went or have another down-after.
    pub(super) fn holders_changed(&mut self, id: LinkId) {
        let times = self.links[id].holders.iter().map(|holder| self.base(*holder).down_after_ms);
        let Some(shortest_ms) = times.min() else { return };
        let link = &mut self.links[id];
        if link.down_after_ms != shortest_ms {
            link.down_after_ms = shortest_ms;
            link.silence_told = None;
        }
    }

    /// Sends what is due to one instance: INFO, PING, hello; and what will be due soon where that
    /// saves a packet in each direction.
    pub(super) fn send_periodic(&mut self, cx: &mut Cx, inst: InstId) {
        if self.periodic_due(inst) > cx.now {
            return;
        }
        let bundles = self.bundles();
        let now = cx.now;
        let until = |period_ms: u64, part| now.after(if bundles { period_ms / part } else { 0 });
        // Sooner than that its INFO would be of no use.
        let in_doubt = self.doubt_ends(inst) != NEVER;
        let info_ahead_ms = if in_doubt { 0 } else { self.info_period_ms(inst) };
        if self.info_due(inst) <= until(info_ahead_ms, INFO_AHEAD) {
            self.send_info(cx, inst);
        }
        if self.ping_due(inst) <= until(self.ping_period_ms(inst), PING_AHEAD) {
            self.send_ping(cx, inst);
        }
        if self.hello_due(inst) <= until(self.periods.publish_ms, HELLO_AHEAD) {
            if bundles && defect(Defect::BundleWithoutHello) && self.data(inst).is_some() {
                self.base_mut(inst).last_publish = now;
            } else {
                self.send_hello(cx, inst);
            }
        }
    }

    /// Whether there are so many links that system calls are saved by sending at fewer moments.
    pub(super) fn bundles(&self) -> bool {
        self.links.len() >= self.thresholds.bundle_links
    }

    /// The moment at which something due at `due` leaves: with many links one of a few in its
    /// period, which are others for each sentinel.
    fn slot(&self, due: Mono, period_ms: u64) -> Mono {
        let width_ms = period_ms.min(self.periods.ping_ms) / BUNDLE_SLOTS;
        if width_ms < 2 || due == Mono(0) || !self.bundles() {
            return due;
        }
        let offset_ms = self.slot_offset % width_ms;
        Mono((due.0 + offset_ms).next_multiple_of(width_ms) - offset_ms)
    }

    /// When the next periodic command to an instance is due.
    pub(super) fn periodic_due(&self, inst: InstId) -> Mono {
        self.info_due(inst).min(self.ping_due(inst)).min(self.hello_due(inst))
    }

    pub(super) fn info_due(&self, inst: InstId) -> Mono {
        let Some(data) = self.data(inst) else { return NEVER };
        let link = self.base(inst).link;
        if !self.usable(link) || self.pending_full(link) {
            return NEVER;
        }
        let period_ms = self.info_period_ms(inst);
        if let Some(sent) = data.info_in_flight {
            return sent.after(period_ms.max(self.periods.info_ms) + 1);
        }
        let pause_ms = (period_ms + 1).saturating_sub(data.info_ahead_ms);
        let due = data.info_refresh.map_or(Mono(0), |at| at.after(pause_ms));
        let due = due.min(self.doubt_ends(inst)).min(self.order_retry(inst));
        self.slot(due.max(data.info_retry.until()), period_ms)
    }

    /// How much sooner than after a period the next INFO is asked for: thousands that were met in
    /// the same second shall not be asked in the same second for ever.
    pub(super) fn info_spread_ms(&self, inst: InstId) -> u64 {
        let first = self.data(inst).is_some_and(|data| data.info_refresh.is_none());
        if !first || !self.bundles() {
            return 0;
        }
        mix(u64::from(self.base(inst).link)) % (self.periods.info_ms / 2).max(1)
    }

    /// How often a data node is asked INFO now.
    fn info_period_ms(&self, inst: InstId) -> u64 {
        if let InstId::Master(id) = inst {
            return self.master_info_period_ms(&self.masters[id]);
        }
        let InstId::Replica(id) = inst else { return self.periods.info_ms };
        let replica = &self.replicas[id];
        let master = &self.masters[replica.master];
        if matches!(replica.reconf, ReconfState::Sent | ReconfState::InProgress) {
            return RECONF_INFO_MS.min(self.periods.info_ms);
        }
        let busy = master.odown.is || master.failover.is_some() || master.reconf.is_some();
        if busy || replica.master_link_down_ms != 0 {
            return BUSY_INFO_MS.min(self.periods.info_ms);
        }
        self.periods.info_ms
    }

    /// A master whose list of replicas could not be taken whole is asked again soon.
    fn master_info_period_ms(&self, master: &Master) -> u64 {
        match master.incomplete_looks {
            0 => self.periods.info_ms,
            looks => (INCOMPLETE_INFO_MS << (looks - 1).min(5)).min(self.periods.info_ms),
        }
    }

    /// The first holder of a shared link sends the PINGs of all.
    fn ping_due(&self, inst: InstId) -> Mono {
        let link_id = self.base(inst).link;
        let link = &self.links[link_id];
        if !link.cmd_established()
            || link.holders.first() != Some(&inst)
            || self.pending_full(link_id)
        {
            return NEVER;
        }
        let period_ms = self.ping_period_of(link);
        let by_reply = link.last_reply.after(period_ms + 1);
        self.slot(by_reply.max(link.last_ping_sent.after(period_ms / 2 + 1)), period_ms)
    }

    pub(super) fn hello_due(&self, inst: InstId) -> Mono {
        let base = self.base(inst);
        if base.publish_in_flight || !self.usable(base.link) || self.pending_full(base.link) {
            return NEVER;
        }
        if self.own_address(inst).is_none() {
            return NEVER;
        }
        let due = base.last_publish.after(self.periods.publish_ms + 1);
        let due = due.max(base.publish_retry.until());
        if base.last_publish == Mono(0) { due } else { self.slot(due, self.periods.publish_ms) }
    }

    /// Asks a data node for INFO now, unless it is not connected.
    pub(super) fn send_info(&mut self, cx: &mut Cx, inst: InstId) {
        if !self.usable(self.base(inst).link) {
            return;
        }
        // Before sending: a connection that breaks in it clears the mark.
        if let Some(data) = self.data_mut(inst) {
            data.info_in_flight = Some(cx.now);
        }
        self.send(cx, inst, Channel::Cmd, Sent::Info(inst), &[b"INFO"]);
    }

    /// Sends a PING; its clock runs unless an earlier one is still unanswered.
    pub(super) fn send_ping(&mut self, cx: &mut Cx, inst: InstId) {
        let link_id = self.base(inst).link;
        self.send(cx, inst, Channel::Cmd, Sent::Ping, &[b"PING"]);
        let link = &mut self.links[link_id];
        link.last_ping_sent = cx.now;
        link.outstanding_since.get_or_insert(cx.now);
    }

    /// Whether a data node reports the role it is held for.
    pub(super) fn reports_own_role(&self, inst: InstId) -> bool {
        match inst {
            InstId::Master(id) => self.masters[id].data.role_reported == Role::Master,
            InstId::Replica(id) => self.replicas[id].data.role_reported == Role::Slave,
            InstId::Peer(_) => true,
        }
    }
}
