//! Where everybody stands after a report: cumulative rewards, multipliers, and the challenges that the whole panel asks.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::abi::Words;
use crate::challenge::Challenge;
use crate::hash::Hash32;
use crate::ids::{Address, OracleId, ProviderId};
use crate::merkle::{self, StandardTree};
use crate::spread::Threads;
use crate::verdict::{Verdict, silence_digest};

/// A challenge that an oracle asked in vain and that the whole panel asks from then on.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Watched {
    /// The challenge, of the epoch in which it struck out.
    pub challenge: Challenge,
    /// The epoch whose report slashed the silence. The provider may answer on chain, and an answer that is wrong is a fact like any other.
    pub slashed_in: Option<u64>,
}

impl Watched {
    /// One word for the provider's verdict: the challenge's digest, or once its silence was slashed that of the silence and the epoch.
    pub fn word(&self) -> Hash32 {
        let digest = self.challenge.digest();
        match self.slashed_in {
            None => digest,
            Some(epoch) => Words::tagged("assay.slashed.v1").with(&silence_digest(&digest)).with(&epoch).keccak(),
        }
    }

    /// Whether its silence was slashed: then nobody asks it any more.
    pub fn is_slashed(&self) -> bool {
        self.slashed_in.is_some()
    }
}

/// Where everybody stands after the last accepted report: what cumulative rewards continue from.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct Ledger {
    /// Digest of that report; zero before the first.
    pub digest: Hash32,
    /// Its epoch, none before the first.
    pub epoch: Option<u64>,
    /// Providers.
    pub providers: BTreeMap<ProviderId, Standing>,
    /// Oracles.
    pub oracles: BTreeMap<OracleId, Standing>,
    /// Unanswered challenges that the whole panel asks, at most one a provider.
    #[serde(default)]
    pub watch: BTreeMap<ProviderId, Watched>,
}

/// One account of the ledger.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Standing {
    /// Multiplier of the last judged epoch, ppm (providers).
    pub multiplier_ppm: u64,
    /// Rewards of all accepted epochs, smallest unit.
    #[serde(with = "crate::amount")]
    pub cumulative: u128,
    /// Where they go.
    pub recipient: Address,
}

/// Who a reward leaf pays.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Payee {
    /// A provider.
    Provider(ProviderId),
    /// An oracle.
    Oracle(OracleId),
}

impl Payee {
    /// (kind, id) of the reward leaf.
    pub fn kind_and_id(&self) -> (u8, u64) {
        match self {
            Self::Provider(provider) => (0, provider.0),
            Self::Oracle(oracle) => (1, oracle.0),
        }
    }

    pub(super) fn leaf(&self, standing: &Standing, token: &Address) -> Hash32 {
        let (kind, id) = self.kind_and_id();
        merkle::leaf(&Words::new().with(&kind).with(&id).with(&standing.recipient).with(token).with(&standing.cumulative))
    }
}

impl Ledger {
    /// Whether the watch list is the one that the verdicts state, no more and no less.
    pub(super) fn watches(&self, verdicts: &[Verdict]) -> bool {
        let listed = self.watch.iter().map(|(provider, watched)| (*provider, watched.word()));
        let stated = verdicts.iter().map(|verdict| (verdict.provider, verdict.watched)).filter(|(_, word)| !word.is_zero());
        listed.eq(stated)
    }

    /// Whether every provider in it stands under some root: by a verdict, or by what it earned. Another one's multiplier would be anybody's word.
    pub(super) fn is_bound(&self, verdicts: &[Verdict]) -> bool {
        self.providers.iter().all(|(provider, standing)| {
            standing.cumulative > 0 || verdicts.binary_search_by_key(provider, |verdict| verdict.provider).is_ok()
        })
    }

    /// All accounts that ever earned something.
    pub fn payees(&self) -> impl Iterator<Item = (Payee, &Standing)> {
        let providers = self.providers.iter().map(|(id, standing)| (Payee::Provider(*id), standing));
        let oracles = self.oracles.iter().map(|(id, standing)| (Payee::Oracle(*id), standing));
        providers.chain(oracles).filter(|(_, standing)| standing.cumulative > 0)
    }

    /// The account of somebody who ever earned something.
    pub(super) fn standing(&self, payee: Payee) -> Option<&Standing> {
        let standing = match payee {
            Payee::Provider(provider) => self.providers.get(&provider),
            Payee::Oracle(oracle) => self.oracles.get(&oracle),
        };
        standing.filter(|standing| standing.cumulative > 0)
    }

    /// The tree behind `rewardRoot`.
    pub fn reward_tree(&self, token: &Address) -> StandardTree {
        self.reward_tree_on(Threads::available(), token)
    }

    pub(super) fn reward_tree_on(&self, threads: Threads, token: &Address) -> StandardTree {
        let payees: Vec<(Payee, &Standing)> = self.payees().collect();
        StandardTree::on(threads, threads.map(&payees, |(payee, standing)| payee.leaf(standing, token)))
    }

    /// A payee's proof under [`Ledger::reward_tree`].
    pub fn reward_proof(&self, payee: Payee, token: &Address) -> Option<(Standing, Vec<Hash32>)> {
        let standing = self.standing(payee)?;
        let proof = self.reward_tree(token).proof(&payee.leaf(standing, token))?;
        Some((*standing, proof))
    }
}
