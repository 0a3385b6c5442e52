//! What an epoch was closed with, rebuilt from the log of inputs: the certified proposal, and the reveals that it counts.

use std::collections::{BTreeMap, BTreeSet};

use assay_core::epoch::Proposal;
use assay_core::hash::Hash32;
use assay_core::ids::{Instance, OracleId};
use assay_core::observation::{Reveal, SignedCommit};
use assay_core::report::{Report, Setting};
use assay_proto::oracle_convert::{LogEntry, Message};
use tracing::warn;

use crate::store::StoredInput;

/// A certified epoch's proposal and included reveals, as far as this node holds them.
pub(super) struct Closing {
    /// The proposal that the report was computed from.
    pub(super) proposal: Option<Proposal>,
    /// Ascending by oracle.
    pub(super) reveals: Vec<OpenedCommit>,
}

/// A reveal with the commit that it opens.
pub(super) struct OpenedCommit {
    pub(super) signed: SignedCommit,
    pub(super) commit_digest: Hash32,
    pub(super) reveal: Reveal,
}

impl Closing {
    /// Reads the log of the report's epoch. Everything in it was verified before it was written. Without the setting the committee's
    /// weights are unknown: then every reveal with a vote is taken, which may be more than are included.
    pub(super) fn read(report: &Report, inputs: &[StoredInput], setting: Option<&Setting>) -> Self {
        let instance = Instance { chain_id: report.chain_id, settlement: report.settlement };
        let (mut proposal, mut reveals) = (None, BTreeMap::new());
        for stored in inputs {
            match LogEntry::decode(&stored.message) {
                Ok(LogEntry::Received(Message::Proposal(found))) if found.view == report.view && found.report_digest == report.digest() => {
                    proposal = Some(*found);
                }
                Ok(LogEntry::Received(Message::Reveal(reveal)) | LogEntry::Own(reveal, _)) => {
                    reveals.insert((reveal.oracle, reveal.root()), *reveal);
                }
                Ok(LogEntry::Received(_)) => {}
                Err(error) => warn!(%error, epoch = report.epoch, "a stored input does not parse"),
            }
        }
        let Some(proposal) = proposal else { return Self { proposal: None, reveals: Vec::new() } };
        let counted = counted(&proposal, setting);
        let mut opened: BTreeMap<OracleId, OpenedCommit> = BTreeMap::new();
        for signed in &proposal.basis.commits {
            let commit_digest = signed.commit.digest(&instance);
            let key = (signed.commit.oracle, signed.commit.root);
            if counted.contains(&(signed.commit.oracle, commit_digest))
                && let Some(reveal) = reveals.remove(&key)
            {
                opened.insert(signed.commit.oracle, OpenedCommit { signed: *signed, commit_digest, reveal });
            }
        }
        Self { proposal: Some(proposal), reveals: opened.into_values().collect() }
    }
}

fn counted(proposal: &Proposal, setting: Option<&Setting>) -> BTreeSet<(OracleId, Hash32)> {
    match setting {
        Some(setting) => proposal.basis.included(setting).into_iter().collect(),
        None => proposal.basis.bit_votes.iter().flat_map(|signed| signed.vote.held.iter().copied()).collect(),
    }
}
