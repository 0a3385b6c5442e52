//! What the environment does to honest oracles.

use crate::coverage::listed;
use crate::disk::{Blow, Op, When};

listed! {
    /// A fault. Its victims, its time and its measure come from the seed.
    Fault {
        /// A share of all messages is lost.
        Loss,
        /// Messages are late by up to seconds.
        Delay,
        /// Messages come twice.
        Duplication,
        /// Each message takes its own time, so that they overtake each other.
        Reordering,
        /// Less than a third of weight is cut off.
        MinorityPartition,
        /// No side has a quorum.
        MajorityPartition,
        /// Some links are dead in one direction.
        LinkCut,
        /// One oracle is cut off from everybody.
        Isolation,
        /// A node is killed at any time.
        Kill,
        /// Killed before an input is in the log.
        KillBeforeAppend,
        /// Killed when it is, before it is applied.
        KillAfterAppend,
        /// Killed before a statement is recorded.
        KillBeforeProtect,
        /// Killed when it is, before it is signed.
        KillAfterProtect,
        /// Killed when a statement is signed and not yet in the log.
        KillBeforeLog,
        /// Killed before an outcome is kept.
        KillBeforeCandidate,
        /// Killed when it is.
        KillAfterCandidate,
        /// Killed before a certified outcome is stored.
        KillBeforeOutcome,
        /// Killed when it is.
        KillAfterOutcome,
        /// Killed before a statement is sent.
        KillBeforeSend,
        /// Killed when it is sent.
        KillAfterSend,
        /// The log fails.
        AppendFails,
        /// The log takes an input and says that it failed.
        AppendFailsAfter,
        /// The signing record fails.
        ProtectFails,
        /// The signing record takes a statement and says that it failed.
        ProtectFailsAfter,
        /// An outcome cannot be kept.
        CandidateFails,
        /// A disk is full for a while.
        DiskFull,
        /// A clock steps, within the allowed skew.
        ClockStep,
        /// An RPC endpoint lags.
        RpcLag,
        /// An RPC endpoint stands still.
        RpcFrozen,
        /// An RPC endpoint calls its newest block final.
        RpcLies,
        /// An RPC endpoint denies the last accepted report and says that its epoch is over.
        RpcDenies,
        /// An RPC endpoint is away.
        RpcDown,
        /// The chain is reorganised above finality.
        Reorg,
        /// No blocks for a while.
        ChainStall,
        /// Transactions are lost from the pool.
        TransactionsLost,
        /// The beacon is late for some.
        BeaconLateForSome,
        /// The beacon is late for all.
        BeaconLateForAll,
        /// The log fails when it is to take a statement of our own.
        LogFails,
        /// The log takes a statement of our own and says that it failed.
        LogFailsAfter,
        /// A certified outcome cannot be stored.
        OutcomeFails,
    }
}

/// Whom a fault concerns.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Scope {
    Network,
    Node,
    Chain,
    Beacon,
}

impl Fault {
    pub(crate) fn scope(self) -> Scope {
        match self {
            Self::Loss
            | Self::Delay
            | Self::Duplication
            | Self::Reordering
            | Self::MinorityPartition
            | Self::MajorityPartition
            | Self::LinkCut
            | Self::Isolation => Scope::Network,
            Self::Reorg | Self::ChainStall | Self::TransactionsLost => Scope::Chain,
            Self::BeaconLateForSome | Self::BeaconLateForAll => Scope::Beacon,
            _ => Scope::Node,
        }
    }

    /// One call of the disk fails: an oracle gets over it in time.
    pub(crate) fn is_slight(self) -> bool {
        self.blow().is_some_and(|(_, _, blow)| blow == Blow::Error)
    }

    /// The effect that it strikes, if it is tied to one.
    pub(crate) fn blow(self) -> Option<(Op, When, Blow)> {
        Some(match self {
            Self::KillBeforeAppend => (Op::Append, When::Before, Blow::Kill),
            Self::KillAfterAppend => (Op::Append, When::After, Blow::Kill),
            Self::KillBeforeProtect => (Op::Protect, When::Before, Blow::Kill),
            Self::KillAfterProtect => (Op::Protect, When::After, Blow::Kill),
            Self::KillBeforeLog => (Op::Log, When::Before, Blow::Kill),
            Self::KillBeforeCandidate => (Op::Candidate, When::Before, Blow::Kill),
            Self::KillAfterCandidate => (Op::Candidate, When::After, Blow::Kill),
            Self::KillBeforeOutcome => (Op::Outcome, When::Before, Blow::Kill),
            Self::KillAfterOutcome => (Op::Outcome, When::After, Blow::Kill),
            Self::KillBeforeSend => (Op::Send, When::Before, Blow::Kill),
            Self::KillAfterSend => (Op::Send, When::After, Blow::Kill),
            Self::AppendFails => (Op::Append, When::Before, Blow::Error),
            Self::AppendFailsAfter => (Op::Append, When::After, Blow::Error),
            Self::ProtectFails => (Op::Protect, When::Before, Blow::Error),
            Self::ProtectFailsAfter => (Op::Protect, When::After, Blow::Error),
            Self::CandidateFails => (Op::Candidate, When::Before, Blow::Error),
            Self::LogFails => (Op::Log, When::Before, Blow::Error),
            Self::LogFailsAfter => (Op::Log, When::After, Blow::Error),
            Self::OutcomeFails => (Op::Outcome, When::Before, Blow::Error),
            _ => return None,
        })
    }
}
