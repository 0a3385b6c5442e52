//! What an epoch was closed with, rebuilt from the log of inputs: the certified proposal, and the reveals that it counts.

use std::collections::{BTreeMap, BTreeSet};

use assay_core::abi::Words;
use assay_core::epoch::Proposal;
use assay_core::hash::Hash32;
use assay_core::ids::{Instance, OracleId};
use assay_core::merkle;
use assay_core::observation::{Reveal, SignedCommit};
use assay_core::report::{Report, Setting};
use assay_proto::oracle_convert::{LogEntry, Message};
use tracing::warn;

use crate::store::StoredInput;

/// A certified epoch's proposal and included reveals, as far as this node holds them.
pub(crate) struct Closing {
    /// The proposal that the report was computed from.
    pub(crate) proposal: Option<Proposal>,
    /// Ascending by oracle. Of a report whose proposal never came here: those of another proposal with the same data, or none.
    pub(crate) reveals: Vec<OpenedCommit>,
}

/// A reveal with the commit that it opens.
#[derive(Clone)]
pub(crate) struct OpenedCommit {
    pub(crate) signed: SignedCommit,
    pub(crate) commit_digest: Hash32,
    pub(crate) reveal: Reveal,
}

/// What an epoch's log of inputs says of its close.
struct Log {
    proposals: Vec<Proposal>,
    reveals: BTreeMap<(OracleId, Hash32), Reveal>,
}

impl Log {
    fn read(epoch: u64, inputs: &[StoredInput]) -> Self {
        let (mut proposals, mut reveals) = (Vec::new(), BTreeMap::new());
        for stored in inputs {
            match LogEntry::decode(&stored.message) {
                Ok(LogEntry::Received(Message::Proposal(found))) => proposals.push(*found),
                Ok(LogEntry::Received(Message::Reveal(reveal)) | LogEntry::Own(reveal, _)) => {
                    reveals.insert((reveal.oracle, reveal.root()), *reveal);
                }
                Ok(LogEntry::Received(_)) => {}
                Err(error) => warn!(%error, epoch, "a stored input does not parse"),
            }
        }
        Self { proposals, reveals }
    }

    /// The reveals that a proposal counts, ascending by oracle.
    fn opened(&self, proposal: &Proposal, instance: &Instance, setting: Option<&Setting>) -> Vec<OpenedCommit> {
        let counted = counted(proposal, setting);
        let open = |signed: &SignedCommit| {
            let commit_digest = signed.commit.digest(instance);
            let reveal = self.reveals.get(&(signed.commit.oracle, signed.commit.root))?;
            let is_counted = counted.contains(&(signed.commit.oracle, commit_digest));
            is_counted.then(|| (signed.commit.oracle, OpenedCommit { signed: *signed, commit_digest, reveal: reveal.clone() }))
        };
        BTreeMap::from_iter(proposal.basis.commits.iter().filter_map(open)).into_values().collect()
    }
}

impl Closing {
    /// Reads the log of the report's epoch. Everything in it was verified before it was written. Without the setting the committee's
    /// weights are unknown: then every reveal with a vote is taken, which may be more than are included.
    pub(crate) fn read(report: &Report, inputs: &[StoredInput], setting: Option<&Setting>) -> Self {
        let instance = Instance { chain_id: report.chain_id, settlement: report.settlement };
        let log = Log::read(report.epoch, inputs);
        let digest = report.digest();
        let is_its = |proposal: &&Proposal| proposal.view == report.view && proposal.report_digest == digest;
        if let Some(proposal) = log.proposals.iter().rev().find(is_its) {
            return Self { proposal: Some(proposal.clone()), reveals: log.opened(proposal, &instance, setting) };
        }
        let mut others = log.proposals.iter().map(|proposal| log.opened(proposal, &instance, setting));
        let reveals = others.find(|opened| data_digest(opened) == report.data_digest).unwrap_or_default();
        Self { proposal: None, reveals }
    }
}

/// Every reveal in an epoch's log, whether or not a proposal counts it; the last of an oracle that revealed twice.
pub(crate) fn all_reveals(epoch: u64, inputs: &[StoredInput]) -> BTreeMap<OracleId, Reveal> {
    Log::read(epoch, inputs).reveals.into_iter().map(|((oracle, _), reveal)| (oracle, reveal)).collect()
}

/// The root that a report names these reveals by.
pub(crate) fn data_digest(included: &[OpenedCommit]) -> Hash32 {
    let leaf = |opened: &OpenedCommit| merkle::leaf(&Words::new().with(&opened.reveal.oracle).with(&opened.commit_digest));
    merkle::root(included.iter().map(leaf).collect())
}

fn counted(proposal: &Proposal, setting: Option<&Setting>) -> BTreeSet<(OracleId, Hash32)> {
    match setting {
        Some(setting) => proposal.basis.included(setting).into_iter().collect(),
        None => proposal.basis.bit_votes.iter().flat_map(|signed| signed.vote.held.iter().copied()).collect(),
    }
}
