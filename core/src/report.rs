//! An epoch's report: verdicts and money as roots, and the certificate that makes it count.

mod certificate;
mod judging;
mod ledger;
mod opened;
mod setting;
mod trees;

pub use certificate::{Certificate, CertificateError};
pub use ledger::{Ledger, Payee, Standing, Watched};
pub use opened::{OpenedPanel, OpenedReport, OpeningError, ProvenVerdict, ReportVerdicts, VerdictCase, open_panels};
pub use setting::{Member, Panels, ProviderTerms, Setting};
pub use trees::Trees;

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use judging::{Judged, Judging};

use crate::abi::Words;
use crate::hash::Hash32;
use crate::ids::{Address, Instance, OracleId, ProviderId};
use crate::merkle::{self, StandardTree};
use crate::observation::VerifiedReveal;
use crate::params::PPM;
use crate::spread::Threads;
use crate::verdict::{Verdict, share};

/// What the committee signs and the contract stores; field order is the ABI's (`docs/protocol.md`).
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Report {
    /// Chain.
    pub chain_id: u64,
    /// Settlement contract.
    pub settlement: Address,
    /// Committee set that signs.
    pub set_epoch: u64,
    /// Epoch.
    pub epoch: u64,
    /// View in which it was proposed.
    pub view: u64,
    /// Digest of the last accepted report; zero for the first.
    pub parent_digest: Hash32,
    /// Block at which registries were read.
    pub ref_block: u64,
    /// Unix seconds until which it may be accepted.
    pub valid_until: u64,
    /// Beacon round of the epoch.
    pub drand_round: u64,
    /// Whether more than 2/3 of weight measured under the beacon's own seeds.
    pub seed_secure: bool,
    /// Hash of the parameters.
    pub params_hash: Hash32,
    /// Root over the bit-votes that decided whose reveal counts.
    pub bit_votes_root: Hash32,
    /// Root over the panels' observations.
    pub obs_root: Hash32,
    /// Root over the verdicts.
    pub result_root: Hash32,
    /// Root over cumulative rewards.
    pub reward_root: Hash32,
    /// Root over this epoch's slashes.
    pub slash_root: Hash32,
    /// Rewards of this epoch.
    #[serde(with = "crate::amount")]
    pub reward_total: u128,
    /// Slashes of this epoch.
    #[serde(with = "crate::amount")]
    pub slash_total: u128,
    /// Root over the oracles' log heads.
    pub log_heads_root: Hash32,
    /// Root over the included reveals, by the digest of their commits.
    pub data_digest: Hash32,
}

impl Report {
    /// `keccak(abi.encode(report))`.
    pub fn digest(&self) -> Hash32 {
        Words::new()
            .with(&self.chain_id)
            .with(&self.settlement)
            .with(&self.set_epoch)
            .with(&self.epoch)
            .with(&self.view)
            .with(&self.parent_digest)
            .with(&self.ref_block)
            .with(&self.valid_until)
            .with(&self.drand_round)
            .with(&self.seed_secure)
            .with(&self.params_hash)
            .with(&self.bit_votes_root)
            .with(&self.obs_root)
            .with(&self.result_root)
            .with(&self.reward_root)
            .with(&self.slash_root)
            .with(&self.reward_total)
            .with(&self.slash_total)
            .with(&self.log_heads_root)
            .with(&self.data_digest)
            .keccak()
    }
}

/// A report's digest as the contract keeps it: 224 bits beside a time, the last four bytes zero.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct StoredDigest(pub Hash32);

impl StoredDigest {
    /// The stored form of a full digest.
    pub fn of(digest: &Hash32) -> Self {
        let mut stored = *digest;
        if let Some(tail) = stored.0.get_mut(28..) {
            tail.fill(0);
        }
        Self(stored)
    }

    /// Whether this is what the contract keeps of `digest`.
    pub fn is_of(&self, digest: &Hash32) -> bool {
        *self == Self::of(digest)
    }
}

/// What the verdict key signs for a report (`assay.report.v1`).
pub fn signing_message(instance: &Instance, epoch: u64, view: u64, digest: &Hash32) -> Hash32 {
    Words::tagged("assay.report.v1").with_instance(instance).with(&epoch).with(&view).with(digest).keccak()
}

/// What a report is computed from: the frozen setting, the parent, and the proposal's included reveals.
#[derive(Clone, Copy, Debug)]
pub struct Inputs<'a> {
    /// The epoch's frozen values.
    pub setting: &'a Setting,
    /// The view of the proposal.
    pub view: u64,
    /// The last accepted report's ledger.
    pub parent: &'a Ledger,
    /// Root over the proposal's bit-votes.
    pub bit_votes_root: Hash32,
    /// Included reveals, by oracle.
    pub reveals: &'a BTreeMap<OracleId, VerifiedReveal>,
}

/// A computed report with everything its roots stand over.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Outcome {
    /// The report.
    pub report: Report,
    /// Verdicts, ascending by provider.
    pub verdicts: Vec<Verdict>,
    /// Panels, as judged.
    pub panels: BTreeMap<ProviderId, Vec<OracleId>>,
    /// Oracles paid: their reveal is included and they kept their schedule.
    pub paid_oracles: BTreeSet<OracleId>,
    /// The next ledger (its digest is the report's).
    pub ledger: Ledger,
}

/// A slash as its leaf says it.
pub fn slash_leaf(verdict: &Verdict) -> Option<Hash32> {
    let reason = verdict.slash_reason?.reason();
    Some(merkle::leaf(
        &Words::new().with(&verdict.provider).with(&verdict.epoch).with(&reason).with(&verdict.facts_root).with(&verdict.slash),
    ))
}

impl Outcome {
    /// Computes the report. Every oracle and every auditor gets the same bytes from the same inputs.
    pub fn compute(inputs: &Inputs<'_>) -> Self {
        Self::compute_with_trees(inputs).0
    }

    /// As [`Self::compute`], with the trees that proofs are taken from.
    pub fn compute_with_trees(inputs: &Inputs<'_>) -> (Self, Trees) {
        Self::compute_on(Threads::available(), inputs)
    }

    /// As [`Self::compute_with_trees`], on so many threads: what comes out does not depend on it.
    pub fn compute_on(threads: Threads, inputs: &Inputs<'_>) -> (Self, Trees) {
        let setting = inputs.setting;
        let judging = Judging::new(inputs);
        let parts = threads.parts(&setting.providers, |providers| judging.judge(providers));
        let Judged { mut verdicts, panels, watch, vectors, lazy } = Judged::joined(parts, setting.providers.len());
        let panels: BTreeMap<ProviderId, Vec<OracleId>> = panels.into_iter().collect();
        let obs_root = StandardTree::on(threads, vectors).root();
        let paid_oracles: BTreeSet<OracleId> =
            judging.counted.keys().copied().filter(|oracle| setting.member(*oracle).is_some() && !lazy.contains(oracle)).collect();
        fit_budget(&mut verdicts, paid_oracles.len(), setting);
        let mut ledger = Ledger { watch: watch.into_iter().collect(), ..next_ledger(inputs.parent, setting, &verdicts, &paid_oracles) };
        let trees = Trees::of(threads, &verdicts, &ledger, &setting.token);
        let report = Report {
            chain_id: setting.instance.chain_id,
            settlement: setting.instance.settlement,
            set_epoch: setting.set_epoch,
            epoch: setting.epoch,
            view: inputs.view,
            parent_digest: inputs.parent.digest,
            ref_block: setting.ref_block,
            valid_until: setting.valid_until_s(),
            drand_round: setting.drand_round,
            seed_secure: judging.secure,
            params_hash: setting.params.hash(),
            bit_votes_root: inputs.bit_votes_root,
            obs_root,
            result_root: trees.results.root(),
            reward_root: trees.rewards.root(),
            slash_root: trees.slashes.root(),
            reward_total: total_rewards(&verdicts, paid_oracles.len(), setting),
            slash_total: verdicts.iter().map(|verdict| verdict.slash).fold(0, u128::saturating_add),
            log_heads_root: Hash32::ZERO,
            data_digest: data_digest(inputs.reveals),
        };
        ledger.digest = report.digest();
        (Self { report, verdicts, panels, paid_oracles, ledger }, trees)
    }

    /// Whether everything here stands under a (certified) report's roots. What a peer sends is believed only then.
    pub fn supports(&self, report: &Report, token: &Address) -> bool {
        self.report == *report
            && self.ledger.digest == report.digest()
            && self.ledger.reward_tree(token).root() == report.reward_root
            && self.result_tree().root() == report.result_root
            && merkle::root(self.verdicts.iter().filter_map(slash_leaf).collect()) == report.slash_root
            && self.verdicts.iter().all(|verdict| {
                let standing = self.ledger.providers.get(&verdict.provider);
                standing.is_some_and(|standing| standing.multiplier_ppm == verdict.multiplier_ppm)
            })
            && self.ledger.epoch == Some(report.epoch)
            && self.ledger.watches(&self.verdicts)
            && self.ledger.is_bound(&self.verdicts)
    }

    /// A provider's verdict with its proof under `resultRoot`.
    pub fn verdict_proof(&self, provider: ProviderId) -> Option<(&Verdict, Vec<Hash32>)> {
        let verdict = self.verdicts.iter().find(|verdict| verdict.provider == provider)?;
        Some((verdict, self.result_tree().proof(&verdict.leaf())?))
    }

    fn result_tree(&self) -> StandardTree {
        StandardTree::new(Threads::available().map(&self.verdicts, Verdict::leaf))
    }

    /// A provider's slash with its proof under `slashRoot`.
    pub fn slash_proof(&self, provider: ProviderId) -> Option<(&Verdict, Vec<Hash32>)> {
        let verdict = self.verdicts.iter().find(|verdict| verdict.provider == provider)?;
        let tree = StandardTree::new(self.verdicts.iter().filter_map(slash_leaf).collect());
        Some((verdict, tree.proof(&slash_leaf(verdict)?)?))
    }
}

fn total_rewards(verdicts: &[Verdict], oracles: usize, setting: &Setting) -> u128 {
    let oracles = setting.params.oracle_reward.saturating_mul(u128::try_from(oracles).unwrap_or(u128::MAX));
    verdicts.iter().map(|verdict| verdict.reward).fold(oracles, u128::saturating_add)
}

/// Scales providers' rewards down when an epoch would pay more than its budget; what rounding leaves stays in the pool.
fn fit_budget(verdicts: &mut [Verdict], oracles: usize, setting: &Setting) {
    let oracle_pay = total_rewards(&[], oracles, setting);
    let asked = total_rewards(verdicts, 0, setting);
    let left = setting.epoch_budget.saturating_sub(oracle_pay);
    if asked <= left {
        return;
    }
    // In ppm, so that no product overflows.
    let ppm = left.checked_div(asked.div_ceil(u128::from(PPM)).max(1)).unwrap_or(0);
    let ppm = u64::try_from(ppm).unwrap_or(0).min(PPM);
    for verdict in verdicts {
        verdict.reward = share(verdict.reward, ppm);
    }
}

fn next_ledger(parent: &Ledger, setting: &Setting, verdicts: &[Verdict], paid: &BTreeSet<OracleId>) -> Ledger {
    let mut ledger = parent.clone();
    ledger.epoch = Some(setting.epoch);
    for verdict in verdicts {
        let Some(terms) = setting.provider(verdict.provider) else { continue };
        let entry =
            ledger.providers.entry(verdict.provider).or_insert(Standing { multiplier_ppm: PPM, cumulative: 0, recipient: terms.recipient });
        entry.multiplier_ppm = verdict.multiplier_ppm;
        entry.cumulative = entry.cumulative.saturating_add(verdict.reward);
        entry.recipient = terms.recipient;
    }
    for oracle in paid {
        let Some(member) = setting.member(*oracle) else { continue };
        let entry = ledger.oracles.entry(*oracle).or_insert(Standing { multiplier_ppm: PPM, cumulative: 0, recipient: member.recipient });
        entry.cumulative = entry.cumulative.saturating_add(setting.params.oracle_reward);
        entry.recipient = member.recipient;
    }
    ledger
}

fn data_digest(reveals: &BTreeMap<OracleId, VerifiedReveal>) -> Hash32 {
    merkle::root(reveals.iter().map(|(oracle, verified)| merkle::leaf(&Words::new().with(oracle).with(&verified.commit_digest))).collect())
}

#[cfg(test)]
mod tests;
