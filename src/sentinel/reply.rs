//! Answers on links: each is paired with the oldest command that awaits one.
#![forbid(unsafe_code)]

use super::Sentinel;
use super::action::Cx;
use super::event::Subject;
use super::instance::InstId;
use super::link::{Channel, HELLO_CHANNEL, LinkId, Sent};
use super::saves::smooth;
use crate::resp::reply::Reply;
use crate::util::ident::ConnId;
use crate::util::time::Mono;

/// How long after an error a hello is tried again.
const PUBLISH_RETRY_MS: u64 = 100;
/// How long after an error INFO is tried again.
const INFO_RETRY_MS: u64 = 100;

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
        match sent {
            Sent::Ignored => {}
            Sent::Ping => self.ping_answered(cx, link_id, sent_at, reply),
            Sent::Info(inst) => self.info_answered(cx, inst, sent_at, reply),
            Sent::Publish(inst) => self.publish_answered(cx, inst, reply),
            Sent::Subscribe => self.subscribe_answered(cx, link_id, reply),
            Sent::Ask { peer, vote_epoch, config_epoch } => {
                self.ask_answered(cx, peer, (vote_epoch, config_epoch), reply);
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
        // Otherwise the answer moves deadlines away only, and the timer finds that by itself.
        let busy = is_error && text.starts_with(b"BUSY");
        if busy || held_back || self.links[link_id].holder_down {
            self.tell_holders(cx, link_id, busy);
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
            self.send(cx, inst, Channel::Cmd, Sent::Ignored, &[b"SCRIPT", b"KILL"]);
        }
    }

    fn info_answered(&mut self, cx: &mut Cx, inst: InstId, sent_at: Mono, reply: &Reply) {
        if !self.alive(inst) {
            return;
        }
        let spread_ms = self.info_spread_ms(inst);
        if let Some(data) = self.data_mut(inst) {
            data.info_ahead_ms = spread_ms;
            if data.info_in_flight == Some(sent_at) {
                data.info_in_flight = None;
            }
            data.info_retry_at = Some(cx.now.after(INFO_RETRY_MS));
            if let Reply::Bulk(_) = reply {
                data.info_sent = Some(sent_at);
                data.info_retry_at = None;
            }
        }
        if let Reply::Bulk(text) = reply {
            self.apply_info(cx, inst, text);
        }
        if self.alive(inst) {
            self.arm(cx.now, inst);
        }
    }

    fn publish_answered(&mut self, cx: &mut Cx, inst: InstId, reply: &Reply) {
        if !self.alive(inst) {
            return;
        }
        let base = self.base_mut(inst);
        base.publish_in_flight = false;
        match reply {
            Reply::Error(_) => base.publish_retry_at = Some(cx.now.after(PUBLISH_RETRY_MS)),
            _ => {
                base.last_publish = cx.now;
                base.publish_retry_at = None;
            }
        }
        let due = self.hello_due(inst);
        self.arm_at(inst, due);
    }

    /// Subscribed: let the others know of us at once. Refused: the link is not good for anything.
    fn subscribe_answered(&mut self, cx: &mut Cx, link_id: LinkId, reply: &Reply) {
        if let Reply::Error(_) = reply {
            self.drop_connection(cx, link_id, Channel::Pubsub, "subscribe refused");
            return;
        }
        for holder in self.links[link_id].holders.clone() {
            if !self.base(holder).publish_in_flight {
                self.send_hello(cx, holder);
            }
        }
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
