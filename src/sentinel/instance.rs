//! Instances: masters, replicas and sentinels (spec/protocol.md section 1).
#![forbid(unsafe_code)]

use std::collections::BTreeMap;
use std::net::IpAddr;

use super::failover::{Failover, Reconf};
use super::info_text::InfoText;
use super::link::LinkId;
use super::orders::RefusedOrder;
use super::setup::MasterOptions;
use crate::util::backoff::Backoff;
use crate::util::ident::id_type;
use crate::util::time::Mono;

id_type!(
    /// A monitored master.
    MasterId
);
id_type!(
    /// A replica of a master.
    ReplicaId
);
id_type!(
    /// Another sentinel, as known under one master.
    PeerId
);

/// Any instance.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum InstId {
    Master(MasterId),
    Replica(ReplicaId),
    Peer(PeerId),
}

/// The role a data node has, or reports.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Role {
    Master,
    Slave,
}

/// Where an instance lives: the host as given, its last known IP, the port.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Addr {
    pub host: Vec<u8>,
    /// `None`: a name that has not been resolved yet.
    pub ip: Option<IpAddr>,
    /// 0: address unknown, never connected to.
    pub port: u16,
}

/// A down judgement: the flag, and when the last down began (kept after coming up).
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Down {
    pub is: bool,
    pub since: Option<Mono>,
}

/// What every instance has.
#[derive(Clone, Debug)]
pub struct Base {
    /// Master: its name. Replica: announced `host:port`. Sentinel: its run id.
    pub name: Vec<u8>,
    /// 40 hex; empty until learnt.
    pub runid: Vec<u8>,
    pub addr: Addr,
    pub link: LinkId,
    /// Down-after in ms: the master's setting, or a copy of it.
    pub down_after_ms: u64,
    pub sdown: Down,
    /// Its process is new to us: its name is looked up again.
    pub doubt: Option<super::doubt::Doubt>,
    /// When the last successful hello was published here, or the creation.
    pub last_publish: Mono,
    /// A hello is on its way and not yet answered.
    pub publish_in_flight: bool,
    /// After an error reply, or while the link is full: not before its end.
    pub publish_retry: Backoff,
    /// The moment its entry in the timer queue is set to.
    pub armed: Option<Mono>,
    /// When it was last handled by the timer; it is not handled again in the same ms.
    pub fired: Option<Mono>,
}

/// What masters and replicas tell with INFO (spec/protocol.md section 5).
#[derive(Clone, Debug)]
pub struct DataState {
    /// When the last INFO answer came; `None`: never.
    pub info_refresh: Option<Mono>,
    /// When that INFO had been sent.
    pub info_sent: Option<Mono>,
    /// An INFO is on its way; sent when.
    pub info_in_flight: Option<Mono>,
    /// After an error reply: not before its end.
    pub info_retry: Backoff,
    /// So much sooner than a period comes the second INFO, to spread those of many instances.
    pub info_ahead_ms: u64,
    /// The cached text.
    pub info_text: InfoText,
    /// How far its replication stream is, as it says (`master_repl_offset`).
    pub stream_offset: u64,
    pub role_reported: Role,
    pub role_reported_since: Mono,
    pub loading: Loading,
    /// SCRIPT KILL was sent in this sdown.
    pub script_kill_sent: bool,
}

/// Whether a data node is loading its data, and takes no orders until it has.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Loading {
    #[default]
    No,
    /// It answers most commands with `-LOADING`, PING too.
    Yes,
    /// As INFO says; PING is answered as ever.
    Async,
}

/// How far a replica is with following a promoted replica.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ReconfState {
    None,
    Sent,
    InProgress,
    Done,
}

/// A monitored master.
#[derive(Clone, Debug)]
pub struct Master {
    pub id: MasterId,
    pub base: Base,
    pub data: DataState,
    pub options: MasterOptions,
    pub odown: Down,
    /// By announced `host:port`.
    pub replicas: BTreeMap<Vec<u8>, ReplicaId>,
    /// By run id.
    pub peers: BTreeMap<Vec<u8>, PeerId>,
    pub config_epoch: u64,
    pub conflict: super::conflict::Conflict,
    pub vote: super::vote::VoteBook,
    /// Start time of the last attempt, ours or one we voted for: origin of the next-attempt delay.
    pub failover_start: Option<Mono>,
    pub election: super::election::Election,
    pub failover: Option<Failover>,
    /// A switched failover whose other replicas are still being reconfigured.
    pub reconf: Option<Reconf>,
    /// Flag master_reboot: seen to have restarted, since when.
    pub reboot_since: Option<Mono>,
    /// INFO answers in a row that listed a replica whose host name had no address.
    pub incomplete_looks: u32,
    /// The start time for which the "Next failover delay" line was logged.
    pub delay_logged_for: Option<Mono>,
}

/// A replica of a master.
#[derive(Clone, Debug)]
pub struct Replica {
    pub id: ReplicaId,
    pub master: MasterId,
    pub base: Base,
    pub data: DataState,
    /// `slave_priority`; default 100.
    pub priority: u32,
    /// `replica_announced`; default true.
    pub announced: bool,
    pub repl_offset: u64,
    /// As reported; empty if unknown.
    pub master_host: Vec<u8>,
    pub master_port: u16,
    pub master_link_up: bool,
    /// Reported replication link down time in ms; -1000 if it never synced.
    pub master_link_down_ms: i64,
    /// When its reported master (or role) changed.
    pub conf_changed: Mono,
    pub reconf: ReconfState,
    /// When SLAVEOF was sent in the current reconfiguration.
    pub reconf_sent: Option<Mono>,
    /// It was told to follow the master, and refused.
    pub refused_order: Option<RefusedOrder>,
    /// It was told to become a master, and refused.
    pub refuses_promotion: bool,
}

/// Another sentinel, as known under one master.
#[derive(Clone, Debug)]
pub struct Peer {
    pub id: PeerId,
    pub master: MasterId,
    pub base: Base,
    pub last_hello: Mono,
    /// It holds another address for the master.
    pub claim: Option<Box<super::conflict::Claim>>,
    /// It says that the master is down.
    pub master_down: bool,
    /// What it answered since the present sdown began; `None`: nothing yet.
    pub answer: Option<bool>,
    /// Its first answer since then: 0 tells that we hold the master down longer than it does.
    pub first_answer: Option<bool>,
    /// When we last answered it that the master is not down.
    pub denied: Option<Mono>,
    /// When its last answer to an ask came, or the creation.
    pub last_ask_reply: Mono,
    /// When it was last asked.
    pub last_asked: Option<Mono>,
    /// Asks on their way.
    pub asks_in_flight: u32,
    /// Ask again as soon as the one in flight is answered, or the link has room.
    pub ask_again: bool,
    /// The failover epoch for which it has decided on our vote request.
    pub vote_reply_epoch: Option<u64>,
    /// The run id it voted for, as it last said.
    pub leader: Option<Vec<u8>>,
    pub leader_epoch: u64,
}
