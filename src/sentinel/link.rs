//! Links: the connections to an instance and what is in flight on them (spec/protocol.md 3).
#![forbid(unsafe_code)]

use std::collections::VecDeque;
use std::net::IpAddr;

use super::instance::InstId;
use crate::util::ident::{ConnId, id_type};
use crate::util::time::Mono;

id_type!(
    /// A link; sentinels with the same run id under several masters share one.
    LinkId
);

/// A command that was sent and whose answer is awaited, in the order of sending.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Sent {
    /// AUTH, CLIENT SETNAME, MULTI …: the answer tells nothing.
    Ignored,
    Ping,
    Info(InstId),
    Publish(InstId),
    Subscribe,
    /// IS-MASTER-DOWN-BY-ADDR, on behalf of this peer entry.
    Ask(super::instance::PeerId),
}

/// One of a link's connections.
#[derive(Clone, Debug)]
pub struct Conn {
    pub id: ConnId,
    /// When the connect was asked for.
    pub since: Mono,
    /// Our own address of it, known once the connect has begun.
    pub local: Option<IpAddr>,
    pub sent: VecDeque<(Mono, Sent)>,
    /// When something was last received.
    pub last_received: Mono,
}

/// The connections to one instance, and the times of its PINGs.
#[derive(Clone, Debug)]
pub struct Link {
    pub id: LinkId,
    /// The instances that use it; more than one only for sentinels.
    pub holders: Vec<InstId>,
    pub cmd: Option<Conn>,
    /// Never there towards sentinels.
    pub pubsub: Option<Conn>,
    /// Since when a PING is unanswered (or the command connection broken, whichever was first).
    pub outstanding_since: Option<Mono>,
    pub last_ping_sent: Mono,
    /// Last valid answer to a PING.
    pub last_available: Mono,
    /// Last answer of any kind to a PING.
    pub last_reply: Mono,
    /// When a connect was last tried.
    pub last_reconnect: Option<Mono>,
    /// Smoothed round trip of PINGs, in 1/8 ms.
    pub rtt_8th_ms: Option<u64>,
}
