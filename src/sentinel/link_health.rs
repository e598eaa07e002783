//! Links that are connected and of no use: what is refused is noted, told, and tried again.
//!
//! C ignores the answer to AUTH and takes any error in answer to PING for a sign of life of the
//! connection, so it may stay with a wrong password for ever. Here AUTH is sent again over the
//! same connection, with growing pauses; INFO, hellos and SUBSCRIBE that are refused wait likewise
//! ([`Backoff`](crate::util::backoff::Backoff)). Everything is tried at once when the link works
//! again. Flags and sdown are as spec/protocol.md section 4 has them.
#![forbid(unsafe_code)]

use super::Sentinel;
use super::action::{Cx, LogLevel};
use super::instance::{InstId, Loading, ReplicaId};
use super::link::{Channel, LinkId, Sent, Standing};
use super::log_limit::LineKind;
use super::refusal::{Command, Reason, Refusal, needs_no_password, turns_away};
use super::timers::NEVER;
use crate::resp::reply::Reply;
use crate::util::defect::{Defect, defect};
use crate::util::time::Mono;

impl Sentinel {
    /// A command on the command connection was answered with an error.
    pub(super) fn refused(&mut self, cx: &mut Cx, link: LinkId, command: Command, error: &[u8]) {
        match (command, Reason::of(error)) {
            (_, Reason::NoAuth) => self.wants_password(cx, link, command, error),
            // The answer to PING says that, or the next one will.
            (Command::Info | Command::Publish, Reason::Busy | Reason::Loading) => {}
            _ => self.note_refusal(cx, link, command, error),
        }
    }

    /// A command was accepted: whether it had been refused before.
    pub(super) fn accepted(&mut self, cx: &mut Cx, link: LinkId, command: Command) -> bool {
        let refusals = &mut self.links[link].refusals;
        if refusals.is_empty() || refusals.end(command).is_none() {
            return false;
        }
        self.tell(cx, LogLevel::Notice, link, command.name(), "no longer refused by", b"");
        true
    }

    fn note_refusal(&mut self, cx: &mut Cx, link: LinkId, command: Command, error: &[u8]) {
        let refusals = &mut self.links[link].refusals;
        if !refusals.begin(command, error, cx.now) {
            return;
        }
        let told = refusals.get(command).map(|refusal| refusal.error.clone()).unwrap_or_default();
        self.tell(cx, LogLevel::Warning, link, command.name(), "refused by", &told);
    }

    /// A log line about the instance at the other end of a link.
    pub(super) fn tell(
        &self,
        cx: &mut Cx,
        level: LogLevel,
        link: LinkId,
        what: &str,
        how: &str,
        error: &[u8],
    ) {
        let Some(holder) = self.links[link].holders.first() else { return };
        let kind = match level {
            LogLevel::Warning => LineKind::LinkRefused,
            LogLevel::Notice => LineKind::LinkAccepted,
            LogLevel::Verbose | LogLevel::Debug => LineKind::LinkDetail,
        };
        cx.log_limited(kind, || {
            let mut text = [what.as_bytes(), b" ", how.as_bytes(), b" "].concat();
            text.extend_from_slice(&self.describe(*holder));
            if !error.is_empty() {
                text.extend_from_slice(b": ");
                text.extend_from_slice(error);
            }
            text
        });
    }

    /// `-NOAUTH` on the command connection. It is told once, as all else will be refused likewise,
    /// unless PING is not.
    fn wants_password(&mut self, cx: &mut Cx, id: LinkId, command: Command, error: &[u8]) {
        let link = &mut self.links[id];
        let Some(conn) = &mut link.cmd else { return };
        let alone = command != Command::Ping && conn.standing == Standing::Well;
        if !alone {
            conn.standing = Standing::LockedOut;
        }
        // What AUTH was answered is the better reason.
        if link.refusals.get(Command::Auth).is_none() {
            self.note_refusal(cx, id, if alone { command } else { Command::Auth }, error);
        }
        self.plan_auth(cx, id);
    }

    /// Sends AUTH again in a while, if there is a password and none is on its way.
    fn plan_auth(&mut self, cx: &mut Cx, link_id: LinkId) {
        let Some(&holder) = self.links[link_id].holders.first() else { return };
        let (_, password) = self.credentials(holder);
        let link = &mut self.links[link_id];
        let Some(conn) = &link.cmd else { return };
        let under_way = conn.sent.iter().any(|(_, sent)| *sent == Sent::Auth);
        if password.is_none() || under_way || link.auth_due.is_some() || defect(Defect::AuthOnce) {
            return;
        }
        link.auth_due = Some(link.auth_retry.failed(cx.now));
        self.arm(cx.now, holder);
    }

    /// When AUTH is sent again; the first holder of a shared link does it.
    pub(super) fn auth_due(&self, inst: InstId) -> Mono {
        let link = &self.links[self.base(inst).link];
        match link.auth_due {
            Some(due) if link.cmd.is_some() && link.holders.first() == Some(&inst) => due,
            _ => NEVER,
        }
    }

    /// From the timer: AUTH again, and a PING to see at once what comes of it.
    pub(super) fn retry_auth(&mut self, cx: &mut Cx, inst: InstId) {
        if self.auth_due(inst) > cx.now {
            return;
        }
        let link = self.base(inst).link;
        self.links[link].auth_due = None;
        self.authenticate(cx, inst, Channel::Cmd);
        self.send_ping(cx, inst);
    }

    /// What answers the first commands of a connection may be no answer: a server in protected
    /// mode, or with too many clients, says so to whoever comes, and closes. True if it did.
    pub(super) fn turned_away(
        &mut self,
        cx: &mut Cx,
        link: LinkId,
        channel: Channel,
        reply: &Reply,
    ) -> bool {
        let Reply::Error(error) = reply else { return false };
        if !turns_away(error) {
            return false;
        }
        let known = self.links[link].refusals.get(Command::Connect).is_some();
        match channel {
            Channel::Cmd => self.note_refusal(cx, link, Command::Connect, error),
            Channel::Pubsub if known => {}
            // There was room for the other one only.
            Channel::Pubsub => self.note_refusal(cx, link, Command::Subscribe, error),
        }
        true
    }

    pub(super) fn auth_answered(
        &mut self,
        cx: &mut Cx,
        link: LinkId,
        channel: Channel,
        reply: &Reply,
    ) {
        match reply {
            Reply::Error(error) if !needs_no_password(error) => {
                self.note_refusal(cx, link, Command::Auth, error);
                if channel == Channel::Cmd {
                    self.plan_auth(cx, link);
                }
            }
            _ => self.auth_accepted(cx, link, channel),
        }
    }

    fn auth_accepted(&mut self, cx: &mut Cx, link_id: LinkId, channel: Channel) {
        let link = &mut self.links[link_id];
        // Whether it is of any use PING will show.
        let useless = link.refusals.is(Command::Auth, Reason::NoAuth);
        let cmd_works = link.cmd.as_ref().is_some_and(|cmd| cmd.standing == Standing::Well);
        match channel {
            Channel::Cmd if !useless => {
                self.accepted(cx, link_id, Command::Auth);
            }
            Channel::Pubsub if cmd_works => {
                self.accepted(cx, link_id, Command::Auth);
            }
            // The password is right by now: the other connection need not wait.
            Channel::Pubsub if link.auth_due.is_some() => {
                link.auth_due = Some(cx.now);
                if let Some(&holder) = link.holders.first() {
                    self.arm(cx.now, holder);
                }
            }
            _ => {}
        }
    }

    /// A valid answer to PING: the password is right, or none is needed any more.
    pub(super) fn ping_is_well(&mut self, cx: &mut Cx, link_id: LinkId) {
        let link = &mut self.links[link_id];
        let Some(conn) = &mut link.cmd else { return };
        let locked_out = std::mem::replace(&mut conn.standing, Standing::Well);
        let locked_out = locked_out == Standing::LockedOut;
        if !locked_out && link.refusals.is_empty() {
            return;
        }
        self.accepted(cx, link_id, Command::Connect);
        let was_refused = self.accepted(cx, link_id, Command::Ping);
        let refusals = &self.links[link_id].refusals;
        if refusals.is(Command::Auth, Reason::NoAuth) || refusals.is_former(Command::Auth) {
            self.accepted(cx, link_id, Command::Auth);
        }
        if locked_out || was_refused {
            self.works_again(cx, link_id);
        }
    }

    /// What was refused because the whole link was is tried at once.
    fn works_again(&mut self, cx: &mut Cx, link_id: LinkId) {
        let link = &mut self.links[link_id];
        link.auth_retry.reset();
        link.auth_due = None;
        if link.pubsub.is_none() {
            link.subscribe_retry.reset();
            link.last_reconnect[Channel::Pubsub as usize] = None;
        }
        self.end_pauses(cx.now, link_id);
        for holder in self.links[link_id].holders.clone() {
            self.arm(cx.now, holder);
        }
    }

    /// INFO and hellos need not wait any longer.
    pub(super) fn end_pauses(&mut self, now: Mono, link: LinkId) {
        for holder in self.links[link].holders.clone() {
            self.base_mut(holder).publish_retry.reset();
            if let Some(data) = self.data_mut(holder) {
                data.info_retry.reset();
            }
            if let InstId::Replica(replica) = holder {
                self.wait_no_longer(now, replica);
            }
        }
    }

    /// A refused order is given again at once, if it is still needed.
    fn wait_no_longer(&mut self, now: Mono, id: ReplicaId) {
        let replica = &mut self.replicas[id];
        replica.refuses_promotion = false;
        if let Some(refused) = &mut replica.refused_order {
            refused.wait_no_longer(now);
        }
        let master = replica.master;
        if let Some(failover) = &mut self.masters[master].failover
            && failover.state.replica() == Some(id)
        {
            failover.attempt.retry.wait_until(now);
        }
    }

    /// Subscribed: let the others know of us at once. Refused: the connection is of no use, and
    /// the next one is made in a while. Hellos of others then come by other ways, so this alone
    /// is no reason to take the node for unreachable.
    pub(super) fn subscribe_answered(&mut self, cx: &mut Cx, link_id: LinkId, reply: &Reply) {
        let link = &mut self.links[link_id];
        if let Reply::Error(error) = reply {
            link.subscribe_refused = !defect(Defect::SubscribeOrNothing);
            link.subscribe_retry.failed(cx.now);
            self.note_subscribe_refused(cx, link_id, error);
            self.drop_connection(cx, link_id, Channel::Pubsub, "subscribe refused");
            return;
        }
        link.subscribe_refused = false;
        link.subscribe_retry.reset();
        self.accepted(cx, link_id, Command::Subscribe);
        for holder in self.links[link_id].holders.clone() {
            if !self.base(holder).publish_in_flight {
                self.send_hello(cx, holder);
            }
        }
    }

    /// A missing password is told once for both connections, unless the other one needs none.
    fn note_subscribe_refused(&mut self, cx: &mut Cx, link_id: LinkId, error: &[u8]) {
        let link = &self.links[link_id];
        let cmd_works = link.cmd.as_ref().is_some_and(|cmd| cmd.standing == Standing::Well);
        match Reason::of(error) {
            Reason::NoAuth if link.refusals.get(Command::Auth).is_some() => {}
            Reason::NoAuth if !cmd_works => self.note_refusal(cx, link_id, Command::Auth, error),
            _ => self.note_refusal(cx, link_id, Command::Subscribe, error),
        }
    }

    /// What an instance refuses at present, the longest standing first.
    pub fn refusals(&self, inst: InstId) -> impl Iterator<Item = &Refusal> {
        self.links[self.base(inst).link].refusals.iter()
    }

    /// A data node has begun or ended to load its data: till then it takes no orders.
    pub(super) fn set_loading(&mut self, cx: &mut Cx, inst: InstId, loading: Loading) {
        let Some(data) = self.data_mut(inst) else { return };
        let was = std::mem::replace(&mut data.loading, loading);
        if (was == Loading::No) == (loading == Loading::No) {
            return;
        }
        let how =
            if loading == Loading::No { " has loaded its data" } else { " is loading its data" };
        cx.log_limited(LineKind::Loading, || [&self.describe(inst), how.as_bytes()].concat());
        if loading == Loading::No {
            self.loaded(cx, inst);
        }
    }

    fn loaded(&mut self, cx: &mut Cx, inst: InstId) {
        let InstId::Replica(replica) = inst else { return };
        self.wait_no_longer(cx.now, replica);
        let master = self.replicas[replica].master;
        let awaited = self.masters[master].odown.is || self.masters[master].failover.is_some();
        if awaited {
            self.send_info(cx, inst);
        }
        self.arm(cx.now, inst);
        self.arm(cx.now, InstId::Master(master));
    }
}
