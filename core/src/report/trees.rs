//! The trees behind a report's roots, each built once: a proof is then a walk of a few hashes, and not a tree.

use super::{Ledger, Outcome, Payee, Standing, slash_leaf};
use crate::hash::Hash32;
use crate::ids::{Address, ProviderId};
use crate::merkle::StandardTree;
use crate::spread::Threads;
use crate::verdict::Verdict;

/// The trees of one outcome. Proofs are of that outcome; with another one they lead nowhere.
#[derive(Clone, Debug)]
pub struct Trees {
    /// In the order of the verdicts, which is not that of the tree.
    verdict_leaves: Vec<Hash32>,
    pub(super) results: StandardTree,
    pub(super) slashes: StandardTree,
    pub(super) rewards: StandardTree,
}

impl Trees {
    pub(super) fn of(threads: Threads, verdicts: &[Verdict], ledger: &Ledger, token: &Address) -> Self {
        let verdict_leaves = threads.map(verdicts, Verdict::leaf);
        Self {
            results: StandardTree::on(threads, verdict_leaves.clone()),
            slashes: StandardTree::on(threads, verdicts.iter().filter_map(slash_leaf).collect()),
            rewards: ledger.reward_tree_on(threads, token),
            verdict_leaves,
        }
    }

    /// A provider's verdict with its proof under `resultRoot`.
    pub fn verdict_proof<'a>(&self, outcome: &'a Outcome, provider: ProviderId) -> Option<(&'a Verdict, Vec<Hash32>)> {
        let at = outcome.verdicts.binary_search_by_key(&provider, |verdict| verdict.provider).ok()?;
        Some((outcome.verdicts.get(at)?, self.results.proof(self.verdict_leaves.get(at)?)?))
    }

    /// A provider's slash with its proof under `slashRoot`.
    pub fn slash_proof<'a>(&self, outcome: &'a Outcome, provider: ProviderId) -> Option<(&'a Verdict, Vec<Hash32>)> {
        let at = outcome.verdicts.binary_search_by_key(&provider, |verdict| verdict.provider).ok()?;
        let verdict = outcome.verdicts.get(at)?;
        Some((verdict, self.slashes.proof(&slash_leaf(verdict)?)?))
    }

    /// A payee's standing with its proof under `rewardRoot`.
    pub fn reward_proof(&self, outcome: &Outcome, payee: Payee, token: &Address) -> Option<(Standing, Vec<Hash32>)> {
        let standing = outcome.ledger.standing(payee)?;
        Some((*standing, self.rewards.proof(&payee.leaf(standing, token))?))
    }
}
