//! Orders to data nodes: be a master, follow the master. One reader for what they are answered.
//!
//! An order is a transaction around SLAVEOF (spec/protocol.md section 9). C ignores what comes
//! back and waits for INFO to show an effect, up to failover-timeout. Here a refusal is noticed:
//! - The node refuses what is beside SLAVEOF (CONFIG or CLIENT is unknown there, or the user lacks
//!   it): nothing has run, and SLAVEOF goes again by itself, with as much of the rest as it takes.
//! - It refuses SLAVEOF: a promotion is given up, if there is another replica for it, or tried
//!   again; any other order is tried again, as long as INFO shows that it is needed.
//!
//! After a refusal it is certain that nothing has run. After a connection that broke it is not:
//! then the same order goes to the same node, and to no other.
#![forbid(unsafe_code)]

use super::Sentinel;
use super::action::{Cx, LogLevel};
use super::connect::Stage;
use super::failover::{Attempt, Failover, State};
use super::instance::{Addr, InstId, Loading, MasterId, ReplicaId, Role};
use super::link::{Channel, LinkId, Sent};
use super::names::Origin;
use super::refusal::{Command, Reason, clean};
use super::select::{Choice, FRESH_INFO_WAIT_MS, choose};
use super::timers::NEVER;
use crate::resp::reply::Reply;
use crate::util::backoff::Backoff;
use crate::util::defect::{Defect, defect};
use crate::util::text::contains;
use crate::util::time::Mono;

/// What a data node is told to be.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Order {
    /// A master, in the failover of this epoch.
    Promote { epoch: u64 },
    /// A replica of the master that the configuration of this epoch names. A repair is only right
    /// for as long as INFO says so; other orders belong to a failover of ours.
    Follow { config_epoch: u64, is_repair: bool },
}

/// A command of an order.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Step {
    Multi,
    Slaveof,
    Rewrite,
    KillNormal,
    KillPubsub,
    Exec,
}

impl Step {
    fn name(self) -> &'static str {
        match self {
            Step::Multi => "MULTI",
            Step::Slaveof => "SLAVEOF",
            Step::Rewrite => "CONFIG REWRITE",
            Step::KillNormal | Step::KillPubsub => "CLIENT KILL",
            Step::Exec => "EXEC",
        }
    }
}

/// What goes along with a SLAVEOF that is in no transaction.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Beside {
    pub rewrite: bool,
    pub kill: bool,
}

/// A refused command of an order, and the error.
type Failed = (Step, Vec<u8>);

/// What a transaction was answered so far.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Replies {
    refused: Vec<Failed>,
    /// SLAVEOF ran by itself: there is no transaction, as MULTI was refused.
    slaveof_ran: bool,
}

/// What came of an order.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Outcome {
    /// SLAVEOF ran, the rest but for this.
    Done { failed: Vec<Failed> },
    /// Nothing ran, for something beside SLAVEOF. `stuck`: the connection may still gather it.
    NotRun { refused: Vec<Failed>, stuck: bool },
    /// Nothing ran: SLAVEOF was refused.
    Refused { error: Vec<u8> },
}

impl Replies {
    pub(super) fn take(&mut self, step: Step, reply: &Reply) {
        match reply {
            Reply::Error(error) => self.refused.push((step, clean(error))),
            Reply::Simple(b"QUEUED") => {}
            _ => self.slaveof_ran |= step == Step::Slaveof,
        }
    }

    /// Judges by the answer to EXEC.
    pub(super) fn judge(self, exec: &Reply) -> Outcome {
        let Replies { mut refused, slaveof_ran } = self;
        if slaveof_ran {
            return Outcome::Done { failed: refused };
        }
        if let Some((_, error)) = refused.iter().find(|(step, _)| *step == Step::Slaveof) {
            return Outcome::Refused { error: error.clone() };
        }
        match exec {
            Reply::Array(items) => judge_results(items),
            Reply::Error(error) => {
                let stuck = ![&b"EXECABORT"[..], b"ERR EXEC without MULTI"]
                    .iter()
                    .any(|words| error.starts_with(words));
                if refused.is_empty() {
                    refused.push((Step::Exec, clean(error)));
                }
                Outcome::NotRun { refused, stuck }
            }
            _ => Outcome::NotRun { refused, stuck: false },
        }
    }
}

/// The results of a transaction that ran.
fn judge_results(items: &[Reply]) -> Outcome {
    let steps = [Step::Slaveof, Step::Rewrite, Step::KillNormal, Step::KillPubsub];
    let mut failed: Vec<Failed> = Vec::new();
    for (step, item) in steps.into_iter().zip(items) {
        match item {
            Reply::Error(error) if step == Step::Slaveof => {
                return Outcome::Refused { error: clean(error) };
            }
            Reply::Error(error) => failed.push((step, clean(error))),
            _ => {}
        }
    }
    match items.is_empty() {
        true => Outcome::NotRun { refused: failed, stuck: false },
        false => Outcome::Done { failed },
    }
}

/// What may go along with SLAVEOF after that was refused.
fn beside(refused: &[Failed]) -> Beside {
    let is = |steps: &[Step]| refused.iter().any(|(step, _)| steps.contains(step));
    Beside { rewrite: !is(&[Step::Rewrite]), kill: !is(&[Step::KillNormal, Step::KillPubsub]) }
}

/// An order that a replica has refused, to be given again if INFO shows that it is still needed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct RefusedOrder {
    config_epoch: u64,
    is_repair: bool,
    retry: Backoff,
}

impl RefusedOrder {
    /// The reason it was refused for is gone: it need not wait.
    pub(super) fn wait_no_longer(&mut self, now: Mono) {
        self.retry.wait_until(now);
    }
}

impl Sentinel {
    /// Orders a data node to follow `to`, or to be a master, on account of a failover of ours.
    /// False if it may not, see [`Self::send_order`].
    pub(super) fn send_slaveof(&mut self, cx: &mut Cx, inst: InstId, to: Option<&Addr>) -> bool {
        let master = &self.masters[self.master_of(inst)];
        let order = match (to, &master.failover) {
            (None, Some(failover)) => Order::Promote { epoch: failover.epoch },
            _ => Order::Follow { config_epoch: master.config_epoch, is_repair: false },
        };
        self.send_order(cx, inst, order, to, None)
    }

    /// One transaction: the new role, saved in its own file, and all its clients told to come
    /// again. With `beside` it is none, and no more than that goes along. False, and nothing is
    /// sent, if the instance would have to replicate from itself: this is the one place that tells
    /// anybody whom to follow.
    pub(super) fn send_order(
        &mut self,
        cx: &mut Cx,
        inst: InstId,
        order: Order,
        to: Option<&Addr>,
        beside: Option<Beside>,
    ) -> bool {
        if let Some(to) = to.filter(|_| self.global.announce_hostnames) {
            // The node looks the name up: what it leads to now is what counts.
            self.host_state(cx, &to.host, Origin::Own);
        }
        if to.is_some_and(|to| !self.may_follow(inst, to)) {
            return false;
        }
        let (host, port) = match to {
            Some(addr) => (self.announced(addr), addr.port.to_string().into_bytes()),
            None => (b"NO".to_vec(), b"ONE".to_vec()),
        };
        let steps: [(Step, &[&[u8]]); 6] = [
            (Step::Multi, &[b"MULTI"]),
            (Step::Slaveof, &[b"SLAVEOF", &host, &port]),
            (Step::Rewrite, &[b"CONFIG", b"REWRITE"]),
            (Step::KillNormal, &[b"CLIENT", b"KILL", b"TYPE", b"normal"]),
            (Step::KillPubsub, &[b"CLIENT", b"KILL", b"TYPE", b"pubsub"]),
            (Step::Exec, &[b"EXEC"]),
        ];
        let takes_none = self.links[self.base(inst).link].takes_no_transaction;
        let all = Beside { rewrite: true, kill: true };
        let beside = beside.or(takes_none.then_some(all));
        for (step, words) in steps {
            let goes = beside.is_none_or(|beside| match step {
                Step::Multi | Step::Exec => false,
                Step::Slaveof => true,
                Step::Rewrite => beside.rewrite,
                Step::KillNormal | Step::KillPubsub => beside.kill,
            });
            if goes {
                let sent = Sent::Order { inst, order, step, plain: beside.is_some() };
                self.send(cx, inst, Channel::Cmd, sent, words);
            }
        }
        true
    }

    /// The answer to one command of an order.
    pub(super) fn order_answered(
        &mut self,
        cx: &mut Cx,
        link: LinkId,
        (inst, order, step, plain): (InstId, Order, Step, bool),
        reply: &Reply,
    ) {
        let Some(conn) = &mut self.links[link].cmd else { return };
        let outcome = match (plain, step, reply) {
            (true, Step::Slaveof, Reply::Error(error)) => Outcome::Refused { error: clean(error) },
            (true, Step::Slaveof, _) => Outcome::Done { failed: Vec::new() },
            (true, _, Reply::Error(error)) => {
                return self.tell_failed(cx, link, &[(step, clean(error))]);
            }
            (true, ..) => return,
            (false, Step::Exec, _) => std::mem::take(&mut conn.replies).judge(reply),
            (false, ..) => {
                if step == Step::Multi {
                    conn.replies = Replies::default();
                }
                return conn.replies.take(step, reply);
            }
        };
        if defect(Defect::OverlookRefusals) {
            return;
        }
        match outcome {
            Outcome::Done { failed } => self.order_done(cx, link, inst, &failed, plain),
            Outcome::NotRun { refused, stuck } => {
                self.order_not_run(cx, link, (inst, order), &refused, stuck);
            }
            Outcome::Refused { error } => self.order_refused(cx, link, (inst, order), &error),
        }
    }

    fn order_done(
        &mut self,
        cx: &mut Cx,
        link: LinkId,
        inst: InstId,
        failed: &[Failed],
        plain: bool,
    ) {
        self.accepted(cx, link, Command::Slaveof);
        if !plain && !failed.iter().any(|(step, _)| *step == Step::Multi) {
            self.accepted(cx, link, Command::Transaction);
        }
        if let InstId::Replica(replica) = inst
            && let Some(entry) = self.replicas.get_mut(replica)
        {
            entry.refused_order = None;
            entry.refuses_promotion = false;
        }
        self.tell_failed(cx, link, failed);
    }

    /// What failed beside a SLAVEOF that ran. Many nodes have no file that could be rewritten.
    fn tell_failed(&mut self, cx: &mut Cx, link: LinkId, failed: &[Failed]) {
        for (step, error) in failed {
            let level = match step {
                Step::Rewrite if contains(error, b"without a config file") => LogLevel::Debug,
                Step::Rewrite => LogLevel::Notice,
                _ => LogLevel::Verbose,
            };
            self.tell(cx, level, link, step.name(), "refused by", error);
        }
    }

    /// Nothing ran, but SLAVEOF by itself may.
    fn order_not_run(
        &mut self,
        cx: &mut Cx,
        link: LinkId,
        (inst, order): (InstId, Order),
        refused: &[Failed],
        stuck: bool,
    ) {
        let error = refused.first().map_or(&b"nil"[..], |(_, error)| error);
        self.refused(cx, link, Command::Transaction, error);
        if stuck {
            // What is sent over the next connection is no transaction.
            self.links[link].takes_no_transaction = true;
            self.drop_connection(cx, link, Channel::Cmd, "EXEC refused");
        }
        let beside = beside(refused);
        match (inst, order) {
            (InstId::Replica(replica), Order::Promote { epoch }) => {
                self.promotion_not_run(cx, replica, epoch, beside);
            }
            (InstId::Replica(id), Order::Follow { config_epoch, .. })
                if !stuck && self.may_repeat_order(cx, id, config_epoch) =>
            {
                let to = self.masters[self.replicas[id].master].base.addr.clone();
                self.send_order(cx, inst, order, Some(&to), Some(beside));
                self.send_info(cx, inst);
            }
            (InstId::Replica(id), Order::Follow { config_epoch, is_repair }) => {
                self.give_order_again(cx, id, config_epoch, is_repair);
            }
            _ => {}
        }
    }

    fn order_refused(
        &mut self,
        cx: &mut Cx,
        link: LinkId,
        (inst, order): (InstId, Order),
        error: &[u8],
    ) {
        self.refused(cx, link, Command::Slaveof, error);
        if Reason::of(error) == Reason::Loading && self.alive(inst) {
            self.set_loading(cx, inst, Loading::Yes);
        }
        match (inst, order) {
            (InstId::Replica(replica), Order::Promote { epoch }) => {
                self.promotion_refused(cx, replica, epoch, error);
            }
            (InstId::Replica(replica), Order::Follow { config_epoch, is_repair }) => {
                self.give_order_again(cx, replica, config_epoch, is_repair);
            }
            _ => {}
        }
    }

    // ---- promotions ------------------------------------------------------------------------

    /// Whether a failover is waiting for this replica to do what it was told in that epoch.
    fn awaits_promotion(&self, id: ReplicaId, epoch: u64) -> Option<MasterId> {
        let master = self.replicas.get(id)?.master;
        let failover = self.masters[master].failover.as_ref()?;
        let waits = matches!(failover.state, State::WaitPromotion { replica, .. } if replica == id);
        (waits && failover.epoch == epoch).then_some(master)
    }

    fn promotion_not_run(&mut self, cx: &mut Cx, id: ReplicaId, epoch: u64, beside: Beside) {
        let Some(master) = self.awaits_promotion(id, epoch) else { return };
        if let Some(failover) = &mut self.masters[master].failover {
            failover.state = State::SendSlaveofNoOne { replica: id };
            failover.attempt.beside = Some(beside);
        }
        self.master_progress(cx, master);
    }

    fn promotion_refused(&mut self, cx: &mut Cx, id: ReplicaId, epoch: u64, error: &[u8]) {
        let Some(master) = self.awaits_promotion(id, epoch) else { return };
        // Loading ends; everything else may be for good.
        self.replicas[id].refuses_promotion = Reason::of(error) != Reason::Loading;
        if let Some(failover) = &mut self.masters[master].failover {
            failover.state = State::SendSlaveofNoOne { replica: id };
            failover.attempt.refused = true;
            failover.attempt.retry.failed(cx.now);
        }
        self.master_progress(cx, master);
    }

    /// A failover is given up: its promotion must not reach the replica any more, if it lies unsent
    /// with us or in the network: the shell resets a connection with output that has not arrived.
    pub(super) fn recall_promotion(&mut self, cx: &mut Cx, failover: &Failover) {
        let State::WaitPromotion { replica, .. } = failover.state else { return };
        let link = self.replicas[replica].base.link;
        let promotion = Order::Promote { epoch: failover.epoch };
        let is_this =
            |sent: &Sent| matches!(sent, Sent::Order { order, .. } if *order == promotion);
        let cmd = self.links[link].cmd.as_ref();
        if cmd.is_some_and(|conn| conn.sent.iter().any(|(_, sent)| is_this(sent))) {
            self.drop_connection(cx, link, Channel::Cmd, "promotion given up");
        }
    }

    /// Whether a replica that refused to be promoted is to be given up: it will not do it for a
    /// while, or another one may.
    pub(super) fn gives_up_promotion(
        &self,
        now: Mono,
        id: MasterId,
        replica: ReplicaId,
        attempt: &Attempt,
    ) -> bool {
        let data = &self.replicas[replica].data;
        // An order that was lost with its connection may have made it a master. INFO over the
        // next one tells: a node reads what came first.
        let is_told = |lost: Mono| data.info_sent.is_some_and(|at| at > lost);
        let in_doubt = attempt.unanswered.is_some_and(|lost| !is_told(lost));
        if !attempt.refused || in_doubt || data.role_reported == Role::Master {
            return false;
        }
        if data.loading != Loading::No {
            return true;
        }
        let mut others = self.candidates(now, id, Mono(0));
        others.retain(|candidate| candidate.id != replica && !candidate.refused);
        let limits = self.select_limits(now, id);
        matches!(choose(&others, &limits, FRESH_INFO_WAIT_MS), Choice::Take(_))
    }

    // ---- other orders ----------------------------------------------------------------------

    /// Whether a replica may be told, once more, to follow the master of that configuration.
    fn may_repeat_order(&self, cx: &Cx, id: ReplicaId, config_epoch: u64) -> bool {
        let Some(replica) = self.replicas.get(id) else { return false };
        let master = &self.masters[replica.master];
        master.config_epoch == config_epoch
            && master.failover.is_none()
            && self.tilt.since.is_none()
            && self.looks_sane(cx, replica.master)
            && self.may_follow(InstId::Replica(id), &master.base.addr)
    }

    fn give_order_again(&mut self, cx: &mut Cx, id: ReplicaId, config_epoch: u64, is_repair: bool) {
        let Some(replica) = self.replicas.get_mut(id) else { return };
        if self.masters[replica.master].config_epoch != config_epoch {
            return;
        }
        let retry = replica.refused_order.map_or(Backoff::default(), |refused| refused.retry);
        let refused = replica.refused_order.insert(RefusedOrder { config_epoch, is_repair, retry });
        // It was planned when it was given again.
        if refused.retry.until() <= cx.now {
            refused.retry.failed(cx.now);
        }
        self.arm(cx.now, InstId::Replica(id));
    }

    /// When INFO is to show whether a refused order is still needed; far away if it has done so.
    pub(super) fn order_retry(&self, inst: InstId) -> Mono {
        let InstId::Replica(id) = inst else { return NEVER };
        let replica = &self.replicas[id];
        let Some(refused) = &replica.refused_order else { return NEVER };
        let until = refused.retry.until();
        match replica.data.info_refresh {
            Some(at) if at >= until => NEVER,
            _ => until,
        }
    }

    /// Whether a refused order still has to wait, if it is given now.
    pub(super) fn order_waits(&self, now: Mono, id: ReplicaId) -> bool {
        self.replicas[id].refused_order.is_some_and(|refused| refused.retry.until() > now)
    }

    /// An order that was refused is given now: the next one waits longer.
    pub(super) fn order_repeated(&mut self, now: Mono, id: ReplicaId) {
        if let Some(refused) = &mut self.replicas[id].refused_order {
            refused.retry.failed(now);
        }
    }

    /// INFO of a replica, which follows our master or not: gives a refused order again.
    pub(super) fn repeat_order(&mut self, cx: &mut Cx, id: ReplicaId, follows: bool) {
        let replica = &self.replicas[id];
        let Some(refused) = replica.refused_order else { return };
        let (link, master) = (replica.base.link, replica.master);
        if follows || self.masters[master].config_epoch != refused.config_epoch {
            self.replicas[id].refused_order = None;
            if self.links[link].refusals.end(Command::Slaveof).is_some() {
                self.tell(cx, LogLevel::Notice, link, "SLAVEOF", "no longer needed by", b"");
            }
            return;
        }
        let allowed = !refused.is_repair && self.may_repeat_order(cx, id, refused.config_epoch);
        if allowed && !self.order_waits(cx.now, id) {
            self.order_repeated(cx.now, id);
            let to = self.masters[master].base.addr.clone();
            self.send_slaveof(cx, InstId::Replica(id), Some(&to));
            self.send_info(cx, InstId::Replica(id));
        }
    }

    /// The configuration has changed: orders of the one before that wait for their connection must
    /// not reach anybody. They are dropped with that connection.
    pub(super) fn recall_orders(&mut self, cx: &mut Cx, id: MasterId) {
        let master = &self.masters[id];
        let replicas = master.replicas.values().map(|replica| self.replicas[*replica].base.link);
        let links: Vec<LinkId> = replicas.chain([master.base.link]).collect();
        for link in links {
            let waits = self.links[link].cmd.as_ref().is_some_and(|conn| {
                let is_order = |sent: &Sent| matches!(sent, Sent::Order { .. });
                conn.stage != Stage::Established && conn.sent.iter().any(|(_, s)| is_order(s))
            });
            if waits {
                self.links[link].last_reconnect[Channel::Cmd as usize] = None;
                self.drop_connection(cx, link, Channel::Cmd, "orders before a switch");
            }
        }
    }
}
