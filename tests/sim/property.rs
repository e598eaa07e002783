//! The properties that the checkers hold a group to, and how a broken one ends its world.
//!
//! A checker that finds one broken unwinds with a [`Violation`], which `outcome` catches: so a
//! broken property is never mistaken for a panic of the code under test.
#![forbid(unsafe_code)]

/// What must hold. Safety at every step, liveness within a bounded time after all is healed.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Property {
    /// A sentinel votes once per master and epoch, across restarts, RESET and REMOVE + MONITOR.
    OneVotePerEpoch,
    /// A vote is in the voter's file before it is told.
    VoteIsSavedFirst,
    /// What was voted later has a newer epoch.
    VotesRise,
    /// One elected leader per master and epoch.
    OneLeaderPerEpoch,
    /// The elected leader holds the votes of a majority and of the quorum.
    LeaderHasMajority,
    /// The leader's own vote is in its file, and is for itself.
    LeaderVotedForItself,
    /// Nobody is elected who did not try.
    ElectedAfterTry,
    /// Votes are asked for in the epoch of a failover of one's own that waits for votes.
    VotesAskedForOwnFailover,
    /// SLAVEOF NO ONE comes from an elected leader (or a forced failover) only.
    OnlyLeadersPromote,
    /// Nobody promotes after having voted in a newer epoch.
    NoPromotionAfterNewerVote,
    /// One promotion per failover.
    OneReplicaPerFailover,
    /// The chosen replica was suitable as far as its chooser could know.
    PromotedReplicaIsSuitable,
    /// No other replica was better, as far as its chooser could know.
    NoBetterReplica,
    /// A switch is announced when the promoted replica says that it is a master.
    PromotionIsSeen,
    /// No more replicas at a time are told to follow than parallel-syncs allows.
    ParallelSyncsAreKept,
    /// SLAVEOF goes to data nodes of the group, and names one.
    SlaveofWithinTheGroup,
    /// Nobody is told to replicate from itself.
    NobodyFollowsItself,
    /// Epochs that are told or kept never go back.
    EpochsNeverGoBack,
    /// All addresses told for one master and config epoch agree.
    OneAddressPerConfigEpoch,
    /// An address changes with a newer config epoch only.
    AddressesMoveForward,
    /// Nothing is judged, asked or ordered in tilt.
    NothingInTilt,
    /// An unforced failover starts in odown only.
    FailoversStartInOdown,
    /// Odown needs sdown and the word of the quorum.
    OdownNeedsTheQuorum,
    /// Peers are told that a master is down only while it is sdown.
    DownIsToldInSdown,
    /// Nobody is judged down while its answer lies unread in a socket.
    SocketsAreReadFirst,
    /// Hellos lie in a socket for a while only, not while a master is replaced, and whoever has
    /// some to read is not silent.
    HellosAreReadInTime,
    /// A node that is well gets its PING, INFO and hello at their times.
    PeriodicCommandsAreSent,
    /// Sdown is never earlier than the last proof of life plus down-after.
    SdownIsNotEarly,
    /// What a sentinel writes is what the protocol says.
    OutputIsWellFormed,
    /// Every request has one answer, in order.
    AnswersFollowRequests,
    /// Unsent output and commands in flight stay within their limits.
    QueuesAreBounded,
    /// No deadline fires for ever, no turn goes on for ever.
    TurnsAreBounded,
    /// One save at a time.
    OneSaveAtATime,
    /// The text of a file says what was to be saved.
    FileSaysWhatWasSaved,
    /// With nothing left to save, the file says all that the sentinel knows.
    FileKeepsUp,
    /// A replica that a master lists by name is there as soon as its name has an address.
    NamesAreTakenUp,
    /// What instances are found by says what they are.
    IndexesAgree,
    /// A sentinel can load the file it wrote.
    OwnFileLoads,
    /// A process ends by itself only when it was told to.
    NoExit,
    /// Scripts are killed only when they are late.
    ScriptsAreLimited,
    /// Healed: everybody finds everybody.
    EverybodyIsFound,
    /// Healed: all sentinels agree on the master, it is one, the others follow, files agree.
    GroupSettles,
    /// Settled: it stays so.
    GroupStaysSettled,
    /// A majority and a suitable replica are well: the master is replaced.
    MasterIsReplaced,
    /// A client gets its answer.
    ClientsAreAnswered,
    /// What clients are told is what all agreed on.
    ClientsAreToldTheMaster,
    /// What a scenario of the fixed set expects beside all these.
    Scenario,
}

/// A broken property, the payload of the unwinding.
#[derive(Clone, Debug)]
pub struct Violation {
    pub property: Property,
    pub text: String,
}

/// Ends the world with a broken property.
#[track_caller]
pub fn violated(property: Property, text: String) -> ! {
    std::panic::panic_any(Violation { property, text })
}

/// `violation!(Property::X, "text {}", …)`: the property is broken.
macro_rules! violation {
    ($property:expr, $($text:tt)+) => {
        $crate::property::violated($property, format!($($text)+))
    };
}

/// `ensure!(condition, Property::X, "text {}", …)`: it has to hold.
macro_rules! ensure {
    ($holds:expr, $property:expr, $($text:tt)+) => {
        if !$holds {
            $crate::property::violated($property, format!($($text)+))
        }
    };
}

pub(crate) use {ensure, violation};
