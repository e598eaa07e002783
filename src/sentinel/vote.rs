//! Votes given (spec/protocol.md section 8).
#![forbid(unsafe_code)]

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
    /// Being saved, oldest first.
    pub pending: Vec<(Ticket, Vote)>,
}
