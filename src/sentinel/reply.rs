//! Answers on links: each is paired with the oldest command that awaits one.
#![forbid(unsafe_code)]

use super::Sentinel;
use super::action::{Cx, LogLevel};
use super::event::Subject;
use super::instance::{InstId, Loading};
use super::link::{Channel, HELLO_CHANNEL, LinkId, Sent};
use super::refusal::{Command, Reason, clean};
use super::saves::smooth;
use crate::resp::reply::Reply;
use crate::util::ident::ConnId;
use crate::util::time::Mono;

/// A PING, a hello and INFO, and one more.
const SENT_KEPT: usize = 4;

impl Sentinel {
    /// Takes one reply or message from a connection of a link.
    pub fn link_reply(&mut self, cx: &mut Cx, id: ConnId, reply: &Reply) {
        let Some(&(link_id, channel)) = self.conns.get(&id) else { return };
        let link = &mut self.links[link_id];
        let conn = match channel {
            Channel::Cmd => link.cmd.as_mut(),
            Channel::Pubsub => link.pubsub.as_mut(),
        };
        let Some(conn) = conn else { return };
        // A reply in the very ms of the connect must still show as "something was received".
        conn.last_received = cx.now.max(conn.since.after(1));
        if channel == Channel::Pubsub
            && let Some((channel, text)) = as_message(reply)
        {
            self.published(cx, link_id, channel, text);
            return;
        }
        let Some((sent_at, sent)) = conn.sent.pop_front() else { return };
        if conn.sent.is_empty() && link.holders.len() == 1 {
            // What stays is room for what is sent all the time: nothing on a subscription.
            conn.sent.shrink_to(if channel == Channel::Cmd { SENT_KEPT } else { 0 });
        }
        let is_first = matches!(sent, Sent::Ignored | Sent::Auth);
        if is_first && self.turned_away(cx, link_id, channel, reply) {
            return;
        }
        match sent {
            Sent::Ignored => {}
            Sent::SetInfo => self.setinfo_answered(link_id, reply),
            Sent::Auth => self.auth_answered(cx, link_id, channel, reply),
            Sent::ScriptKill => self.script_kill_answered(cx, link_id, reply),
            Sent::Ping => self.ping_answered(cx, link_id, sent_at, reply),
            Sent::Info(inst) => self.info_answered(cx, link_id, (inst, sent_at), reply),
            Sent::Publish(inst) => self.publish_answered(cx, link_id, inst, reply),
            Sent::Order { inst, order, step, plain } => {
                self.order_answered(cx, link_id, (inst, order, step, plain), reply);
            }
            Sent::Subscribe => self.subscribe_answered(cx, link_id, reply),
            Sent::Ask { peer, vote_epoch, config_epoch, claimed } => {
                match reply {
                    Reply::Error(error) => self.refused(cx, link_id, Command::Ask, error),
                    _ => {
                        self.accepted(cx, link_id, Command::Ask);
                    }
                }
                self.ask_answered(cx, peer, (vote_epoch, config_epoch, claimed), reply);
            }
        }
    }

    /// Takes a Pub/Sub message; the same as [`Sentinel::link_reply`] with its array.
    pub fn link_message(&mut self, cx: &mut Cx, id: ConnId, channel: &[u8], text: &[u8]) {
        match self.conns.get(&id) {
            Some(&(link_id, Channel::Pubsub)) => {
                if let Some(conn) = &mut self.links[link_id].pubsub {
                    conn.last_received = cx.now.max(conn.since.after(1));
                }
                self.published(cx, link_id, channel, text);
            }
            _ => {
                let parts = [b"message", channel, text].map(Reply::Bulk);
                self.link_reply(cx, id, &Reply::Array(parts.to_vec()));
            }
        }
    }

    fn published(&mut self, cx: &mut Cx, link: LinkId, channel: &[u8], text: &[u8]) {
        if channel == HELLO_CHANNEL {
            self.hello_from_subscription(cx, text);
            if self.links.contains(link) {
                self.consider_gathering(cx, link, text.len());
            }
        }
    }

    fn ping_answered(&mut self, cx: &mut Cx, link_id: LinkId, sent_at: Mono, reply: &Reply) {
        let (text, is_error) = match reply {
            Reply::Simple(text) => (*text, false),
            Reply::Error(text) => (*text, true),
            _ => (&b""[..], false),
        };
        let held_back = self.pending_full_with(link_id, 1);
        let link = &mut self.links[link_id];
        link.last_reply = cx.now;
        let round_trip_ms = cx.now.since(sent_at);
        link.rtt_8th_ms = Some(smooth(link.rtt_8th_ms, round_trip_ms));
        let valid = [&b"PONG"[..], b"LOADING", b"MASTERDOWN"].iter().any(|w| text.starts_with(w));
        if valid {
            link.last_available = cx.now;
            link.outstanding_since = None;
            link.refused = false;
        }
        if !is_error
            && text.starts_with(b"PONG")
            && let [InstId::Master(master)] = link.holders[..]
        {
            self.masters[master].reboot_since = None;
        }
        self.note_ping_answer(cx, link_id, text, valid);
        // Otherwise the answer moves deadlines away only, and the timer finds that by itself.
        let busy = is_error && text.starts_with(b"BUSY");
        if busy || held_back || self.links[link_id].holder_down {
            self.tell_holders(cx, link_id, busy);
        }
    }

    /// What the answer says beside being one: loading, or why it is no valid one.
    fn note_ping_answer(&mut self, cx: &mut Cx, link_id: LinkId, text: &[u8], valid: bool) {
        if !valid {
            self.refused(cx, link_id, Command::Ping, text);
            return;
        }
        self.ping_is_well(cx, link_id);
        let holder = self.links[link_id].holders.first().copied();
        let Some(inst) = holder.filter(|inst| self.data(*inst).is_some()) else { return };
        let loading = self.data(inst).map_or(Loading::No, |data| data.loading);
        if text.starts_with(b"LOADING") {
            self.set_loading(cx, inst, Loading::Yes);
        } else if text.starts_with(b"PONG") && loading == Loading::Yes {
            self.set_loading(cx, inst, Loading::No);
        }
    }

    fn tell_holders(&mut self, cx: &mut Cx, link_id: LinkId, busy: bool) {
        let holders = self.links[link_id].holders.clone();
        for &holder in &holders {
            if busy {
                self.stop_busy_script(cx, holder);
            }
            if self.tilt.since.is_none() {
                self.check_up(cx, holder);
            }
            self.arm(cx.now, holder);
        }
        let down = holders.iter().any(|holder| self.base(*holder).sdown.is);
        self.links[link_id].holder_down = down;
    }

    /// A script blocks a node that is sdown: try to end it, once.
    fn stop_busy_script(&mut self, cx: &mut Cx, inst: InstId) {
        if !self.base(inst).sdown.is {
            return;
        }
        let Some(data) = self.data_mut(inst) else { return };
        if !data.script_kill_sent {
            data.script_kill_sent = true;
            self.send(cx, inst, Channel::Cmd, Sent::ScriptKill, &[b"SCRIPT", b"KILL"]);
        }
    }

    fn setinfo_answered(&mut self, link: LinkId, reply: &Reply) {
        if let Some(conn) = &mut self.links[link].cmd
            && let Reply::Error(error) = reply
        {
            conn.setinfo_denied |= Reason::of(error) == Reason::NoPermission;
        }
    }

    /// It is sent once in an sdown, so this is told once; a script that has just ended is none.
    fn script_kill_answered(&mut self, cx: &mut Cx, link: LinkId, reply: &Reply) {
        if let Reply::Error(error) = reply
            && !error.starts_with(b"NOTBUSY")
        {
            let (level, error) = (LogLevel::Warning, clean(error));
            self.tell(cx, level, link, "SCRIPT KILL", "refused by", &error);
        }
    }

    fn info_answered(
        &mut self,
        cx: &mut Cx,
        link: LinkId,
        (inst, sent_at): (InstId, Mono),
        reply: &Reply,
    ) {
        if !self.alive(inst) {
            return;
        }
        match reply {
            Reply::Error(error) => self.refused(cx, link, Command::Info, error),
            _ => {
                self.accepted(cx, link, Command::Info);
            }
        }
        let spread_ms = self.info_spread_ms(inst);
        if let Some(data) = self.data_mut(inst) {
            data.info_ahead_ms = spread_ms;
            if data.info_in_flight == Some(sent_at) {
                data.info_in_flight = None;
            }
            if let Reply::Bulk(_) = reply {
                data.info_sent = Some(sent_at);
                data.info_retry.reset();
            } else {
                data.info_retry.failed(cx.now);
            }
        }
        if let Reply::Bulk(text) = reply {
            self.apply_info(cx, inst, text);
        }
        if self.alive(inst) {
            self.arm(cx.now, inst);
        }
    }

    fn publish_answered(&mut self, cx: &mut Cx, link: LinkId, inst: InstId, reply: &Reply) {
        match reply {
            Reply::Error(error) => self.refused(cx, link, Command::Publish, error),
            _ => {
                self.accepted(cx, link, Command::Publish);
            }
        }
        if !self.alive(inst) {
            return;
        }
        let base = self.base_mut(inst);
        base.publish_in_flight = false;
        match reply {
            Reply::Error(_) => {
                base.publish_retry.failed(cx.now);
            }
            _ => {
                base.last_publish = cx.now;
                base.publish_retry.reset();
            }
        }
        let due = self.hello_due(inst);
        self.arm_at(inst, due);
    }

    /// Emits an event about an instance with no further text.
    pub(super) fn plain_event(&mut self, cx: &mut Cx, event: super::event::Event, inst: InstId) {
        self.event(cx, event, Subject::Instance(inst), b"");
    }
}

/// `[message, channel, text]`.
fn as_message<'a>(reply: &Reply<'a>) -> Option<(&'a [u8], &'a [u8])> {
    let Reply::Array(items) = reply else { return None };
    match items.as_slice() {
        [Reply::Bulk(b"message"), Reply::Bulk(channel), Reply::Bulk(text)] => Some((channel, text)),
        _ => None,
    }
}
