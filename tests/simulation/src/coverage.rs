//! What really happened. A fault that never strikes and a branch that is never taken prove nothing.

use std::collections::BTreeMap;

/// An enum that can list and name its variants.
macro_rules! listed {
    ($(#[$meta:meta])* $name:ident { $($(#[$doc:meta])* $variant:ident,)* }) => {
        $(#[$meta])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
        pub enum $name { $($(#[$doc])* $variant,)* }

        impl $name {
            /// Every variant.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)*];

            /// Its name in a table.
            pub fn name(self) -> &'static str {
                match self { $(Self::$variant => stringify!($variant),)* }
            }
        }
    };
}
pub(crate) use listed;

use crate::adversary::Adversary;
use crate::faults::Fault;

listed! {
    /// A branch of interest in the protocol or its driver.
    Branch {
        /// A report was accepted and is final.
        Accepted,
        /// A report of a later view than the first was accepted.
        LaterViewAccepted,
        /// A node moved to a later view.
        ViewChanged,
        /// A node wished for a view because more than a third did.
        WishAmplified,
        /// A reveal that counts was missing and was fetched.
        RevealFetched,
        /// The commit that it opens was missing too: its oracle had withheld it, or shown others.
        CommitFetched,
        /// An accepted report that a node had not computed was fetched.
        ReportFetched,
        /// A peer's lie about an accepted report was refused.
        FalseReportRefused,
        /// A restarted node replayed its log.
        Replayed,
        /// The signing record refused a second digest.
        RefusedByProtection,
        /// The disk failed, and what was to be done was asked for again.
        AskedAgain,
        /// The log had a statement that the state machine had not: it had taken it and said that it failed.
        KnownToTheLogAlone,
        /// A node learnt of another parent than it had.
        ParentChanged,
        /// No report of an epoch was accepted while it was valid.
        EpochSkipped,
        /// A member that did not lead the view assembled the certificate that was posted first.
        PostedByFollower,
        /// The chain refused a report: its epoch was settled.
        ChainRefusedSettled,
        /// The chain refused a report under another parent.
        ChainRefusedParent,
        /// The chain refused a report whose time was over.
        ChainRefusedExpired,
        /// The chain refused a certificate.
        ChainRefusedCertificate,
        /// An accepted report was undone by a reorganisation.
        AcceptedUndone,
        /// An oracle measured under the fallback seed.
        FallbackSeed,
        /// A report was insecure: too little weight under the beacon's own seeds.
        InsecureReport,
        /// A node found a proof that a member broke the protocol.
        MisbehaviourProven,
        /// Two commits excluded an oracle.
        EquivocatorExcluded,
        /// A reveal did not match any commit held.
        RevealWithoutCommit,
        /// A statement's signature or form was refused.
        StatementRefused,
        /// Bytes that are no message, or too many of them.
        BytesRefused,
        /// A statement that changes nothing was not stored.
        NoNews,
        /// An oracle was slow or dishonest and was not paid.
        OracleUnpaid,
        /// A challenge that struck out by a false word came on the watch list.
        Watched,
        /// The panel's answers took it off again.
        WatchCleared,
        /// The committee's set changed.
        SetChanged,
    }
}

/// Counters by name.
#[derive(Clone, Default, Debug)]
pub struct Coverage {
    counts: BTreeMap<(&'static str, &'static str), u64>,
}

impl Coverage {
    pub(crate) fn branch(&mut self, branch: Branch) {
        self.add("branch", branch.name());
    }

    pub(crate) fn fault(&mut self, fault: Fault) {
        self.add("fault", fault.name());
    }

    pub(crate) fn adversary(&mut self, adversary: Adversary) {
        self.add("adversary", adversary.name());
    }

    fn add(&mut self, group: &'static str, name: &'static str) {
        *self.counts.entry((group, name)).or_default() += 1;
    }

    /// Adds another run's counters.
    pub fn merge(&mut self, other: &Self) {
        for (key, count) in &other.counts {
            *self.counts.entry(*key).or_default() += count;
        }
    }

    /// How often it happened.
    pub fn of(&self, branch: Branch) -> u64 {
        self.counts.get(&("branch", branch.name())).copied().unwrap_or(0)
    }

    /// Everything that can happen, and how often it did.
    pub fn table(&self) -> Vec<(&'static str, &'static str, u64)> {
        let faults = Fault::ALL.iter().map(|fault| ("fault", fault.name()));
        let adversaries = Adversary::ALL.iter().map(|adversary| ("adversary", adversary.name()));
        let branches = Branch::ALL.iter().map(|branch| ("branch", branch.name()));
        faults.chain(adversaries).chain(branches).map(|key| (key.0, key.1, self.counts.get(&key).copied().unwrap_or(0))).collect()
    }

    /// What never happened.
    pub fn missing(&self) -> Vec<&'static str> {
        self.table().into_iter().filter(|(_, _, count)| *count == 0).map(|(_, name, _)| name).collect()
    }
}
