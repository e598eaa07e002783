//! Deliberate defects: what the simulator must be able to find.
//!
//! A checker that never fails proves nothing until it has been seen to fail. With the feature
//! `defects`, which only tests turn on, one of these can be put into the running code; without it
//! [`defect`] is `false` at compile time and nothing of this is in the program.
#![forbid(unsafe_code)]

macro_rules! defects {
    ($($(#[$meta:meta])* $name:ident,)*) => {
        /// What goes wrong, one at a time.
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
        pub enum Defect {
            $($(#[$meta])* $name,)*
        }

        #[cfg(feature = "defects")]
        impl Defect {
            /// All of them, in the order of this file.
            pub const ALL: &[Defect] = &[$(Defect::$name,)*];
        }
    };
}

defects! {
    // ---- votes ----
    /// A vote is told while its save is still under way.
    TellUnsavedVote,
    /// A candidate counts its own vote before it is on disk.
    CountUnsavedVote,
    /// The save of a vote holds the vote before it.
    SaveOldVote,
    /// A vote that could not be saved is given all the same.
    GiveFailedVote,
    /// The save that was under way when a vote was given counts as the save of that vote.
    TrustEarlierSave,
    /// A vote in an epoch does not keep from voting for another in the same one.
    VoteTwicePerEpoch,
    /// A vote in an epoch does not keep from voting in an older one.
    VoteInOldEpoch,
    /// Of the masters at one address, only the first by name gives its vote.
    VotePerName,
    /// A vote that is being saved does not count as given when the next one asks.
    OverlookPendingVote,
    /// After a restart the votes given are forgotten.
    ForgetVoteAtLoad,
    /// RESET forgets the votes given.
    ForgetVoteOnReset,
    /// A switch to another address forgets the votes given.
    ForgetVoteOnSwitch,
    /// A master that is added may be one that was removed, but nothing keeps from voting again.
    NoFloorForNewMaster,
    /// The own id may stand in the file as that of another sentinel.
    KnowOneself,

    // ---- elections ----
    /// Half of the sentinels are enough to be elected.
    MajorityOffByOne,
    /// A quorum larger than the majority is not needed to be elected.
    IgnoreQuorumOfVotes,
    /// Votes that peers gave in older epochs are counted too.
    CountOldVotes,
    /// Votes are asked for in the newest epoch seen, not in that of the failover.
    AskInNewestEpoch,
    /// Votes are asked for after the election.
    AskAfterElection,
    /// A leader votes for others and goes on.
    PromoteAfterNewerVote,
    /// One sentinel's own judgement is enough to start a failover.
    StartWithoutOdown,
    /// A new attempt takes the epoch of the one before.
    ReuseEpoch,
    /// An attempt that is not decided is never given up.
    ElectWithoutEnd,
    /// Candidates do not let each other go first. Nothing breaks, elections only split more often:
    /// this one measures what the order of candidates is good for.
    NoStagger,

    // ---- epochs and configurations ----
    /// Any epoch is accepted, also one that leaves no room for the next one.
    AcceptAnyEpoch,
    /// The epochs above those that are accepted from anybody are not accepted from our peers.
    AcceptNoSteps,
    /// The epoch that was met last counts, not the newest one.
    EpochGoesBack,
    /// After a restart the current epoch begins anew.
    ForgetEpochAtLoad,
    /// A hello with an older configuration is believed.
    BelieveOldHello,
    /// The address of a newer configuration is taken, its epoch is not.
    TakeConfigWithoutEpoch,
    /// A promotion leaves the config epoch as it was.
    PromoteWithoutEpoch,
    /// A failover goes on after a configuration of a later epoch came.
    IgnoreOvertaking,
    /// Two addresses in one config epoch stay.
    LeaveConflicts,
    /// Whoever holds another address is asked for its vote by ours only.
    AskByOwnAddress,
    /// One hello is enough to make those who hold the better address act.
    BelieveSingleClaim,
    /// Claims without end cause failovers without end.
    SettleWithoutPause,
    /// RESET forgets the config epoch.
    ForgetConfigEpochOnReset,

    // ---- down ----
    /// An instance is judged down after half of the time.
    JudgeTooEarly,
    /// One sentinel less than the quorum is enough for odown.
    OdownWithOneLess,
    /// What peers said of the master counts for ever.
    BelieveOldAnswers,
    /// Peers are told that the master is down, whatever we think of it.
    SayDownWhenUp,
    /// Deadlines are judged before what has arrived is read. (The order of a turn is the host's.)
    DeadlinesBeforeSockets,
    /// The timer of an instance that is down is not set again.
    LoseDeadline,

    // ---- links that cannot work ----
    /// A password that was refused is not sent again over the same connection.
    AuthOnce,
    /// A node that refuses SUBSCRIBE is taken for unreachable.
    SubscribeOrNothing,
    /// Whether an order was refused is not looked at.
    OverlookRefusals,

    // ---- with many links ----
    /// Hellos are left to gather while a master is replaced.
    GatherInFailover,
    /// What has gathered is not read for its age, only when there is enough of it.
    LeaveGathered,
    /// A subscription whose hellos lie in their socket counts as silent.
    JudgeGathered,
    /// The hello of a bundle counts as sent and is not.
    BundleWithoutHello,

    // ---- tilt ----
    /// A process that stood still trusts what it knew before.
    OverlookTilt,
    /// Instances are judged in tilt.
    JudgeInTilt,
    /// Failovers go on in tilt.
    ActInTilt,
    /// Peers are told in tilt that the master is down.
    SayDownInTilt,

    // ---- promotion ----
    /// A replica with priority 0 is promoted.
    PromoteUnwanted,
    /// A replica that is down or not connected is chosen.
    PromoteUnreachable,
    /// A replica that lost its master long ago is promoted.
    PromoteStale,
    /// A replica that is loading is promoted.
    PromoteLoading,
    /// A replica that refused to be promoted is chosen again though there is another.
    PromoteUnwilling,
    /// The replica with the least data is chosen.
    PromoteLeastData,
    /// The switch is announced when the promotion was asked for, not when it has happened.
    PromoteUnchecked,

    // ---- names ----
    /// Nobody looks whether a node is told to replicate from itself.
    FollowOneself,
    /// The name of a replica stays when its address changes.
    KeepReplicaKey,
    /// Two entries that turn out to be one replica stay two.
    LeaveTwins,
    /// What waits for a name is dropped when its lookup ends.
    DropWaiters,
    /// What cannot go on without a name does not wait for it.
    WaitForNoName,
    /// What a data node told is believed of its next address, too.
    BelieveOldPlace,
    /// A configuration that names our master otherwise changes nothing.
    TellOwnName,
    /// A name is not looked up again while its connection works, whoever answers.
    TrustFirstLookup,

    // ---- after the switch ----
    /// The old master is not kept as a replica.
    ForgetOldMaster,
    /// A replica that says master is left so.
    LeaveStrayMaster,
    /// A replica that follows another master is left so.
    LeaveStrayReplica,
    /// A switch of our own is not written to the file.
    SwitchWithoutSave,
    /// All replicas are told to follow at once, whatever parallel-syncs says.
    IgnoreParallelSyncs,
}

#[cfg(feature = "defects")]
mod chosen {
    use std::cell::Cell;

    use super::Defect;

    thread_local! {
        static CHOSEN: Cell<Option<Defect>> = const { Cell::new(None) };
    }

    /// Puts a defect into all that this thread runs from now on, or takes it out.
    pub fn set(which: Option<Defect>) {
        CHOSEN.set(which);
    }

    /// Whether this thread runs with that defect.
    pub fn defect(which: Defect) -> bool {
        CHOSEN.get() == Some(which)
    }
}

#[cfg(feature = "defects")]
pub use chosen::{defect, set};

/// Whether the code is to be wrong in this way: never.
#[cfg(not(feature = "defects"))]
#[inline(always)]
pub const fn defect(_which: Defect) -> bool {
    false
}

#[cfg(all(test, not(feature = "defects")))]
mod tests {
    use super::*;

    #[test]
    fn without_the_feature_no_defect_is_there_and_the_compiler_knows() {
        const { assert!(!defect(Defect::TellUnsavedVote)) }
        const { assert!(!defect(Defect::IgnoreParallelSyncs)) }
    }
}
