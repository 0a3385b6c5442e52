//! An epoch's report: verdicts and money as roots, and the certificate that makes it count.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use crate::abi::Words;
use crate::challenge::{Challenge, Kind, Kinds};
use crate::bls::{BlsError, Domain, PublicKey, Signature};
use crate::hash::Hash32;
use crate::ids::{Address, Instance, OracleId, ProviderId};
use crate::merkle::{self, StandardTree};
use crate::observation::{Fault, Observation, ProviderKeys, VerifiedReveal};
use crate::panel::{self, Candidate};
use crate::params::{PPM, Params};
use crate::verdict::{Case, Panel, PanelKind, PanelSeat, ProvenFact, Verdict, share};

/// What the committee signs and the contract stores; field order is the ABI's (`docs/protocol.md`).
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
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

/// A committee member at the reference block.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Member {
    /// Registration id.
    pub oracle: OracleId,
    /// Weight in the set, 1 to 65535.
    pub weight: u16,
    /// Verdict key, possession proved on chain.
    pub key: PublicKey,
    /// Owner.
    pub operator: Address,
    /// Where rewards go.
    pub recipient: Address,
    /// Network group, for panels.
    pub network_group: u64,
}

/// A provider at the reference block.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ProviderTerms {
    /// Registration id.
    pub provider: ProviderId,
    /// Service class.
    pub class_id: u16,
    /// Receipt key and claim set.
    pub keys: ProviderKeys,
    /// Stake, smallest unit.
    pub stake: u128,
    /// Where rewards go.
    pub recipient: Address,
}

/// All that is frozen for an epoch at its reference block.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Setting {
    /// Chain and settlement.
    pub instance: Instance,
    /// Epoch.
    pub epoch: u64,
    /// Start of epoch 0, unix seconds.
    pub genesis_s: u64,
    /// Parameters.
    pub params: Params,
    /// Kinds of challenges.
    pub kinds: Kinds,
    /// Reward token.
    pub token: Address,
    /// Most that one epoch may pay, smallest unit.
    pub epoch_budget: u128,
    /// Committee set number.
    pub set_epoch: u64,
    /// Committee, ascending ids; the position is the signer bit.
    pub members: Vec<Member>,
    /// Active providers, ascending ids.
    pub providers: Vec<ProviderTerms>,
    /// Reference block's number.
    pub ref_block: u64,
    /// Its hash, for the fallback seed.
    pub ref_block_hash: Hash32,
    /// Beacon round of the epoch.
    pub drand_round: u64,
}

impl Setting {
    /// Sum of all weights.
    pub fn total_weight(&self) -> u64 {
        self.members.iter().map(|member| u64::from(member.weight)).fold(0, u64::saturating_add)
    }

    /// A member's entry.
    pub fn member(&self, oracle: OracleId) -> Option<&Member> {
        let index = self.members.binary_search_by_key(&oracle, |member| member.oracle).ok()?;
        self.members.get(index)
    }

    /// Weight of a set of oracles; strangers weigh nothing.
    pub fn weight_of<'a>(&self, oracles: impl IntoIterator<Item = &'a OracleId>) -> u64 {
        oracles.into_iter().filter_map(|oracle| self.member(*oracle)).map(|member| u64::from(member.weight)).fold(0, u64::saturating_add)
    }

    /// Whether a weight is more than 2/3 of the whole.
    pub fn is_quorum(&self, weight: u64) -> bool {
        u128::from(weight).saturating_mul(3) > u128::from(self.total_weight()).saturating_mul(2)
    }

    /// Whether a weight is more than 1/3 of the whole.
    pub fn is_third(&self, weight: u64) -> bool {
        u128::from(weight).saturating_mul(3) > u128::from(self.total_weight())
    }

    /// A provider's terms.
    pub fn provider(&self, provider: ProviderId) -> Option<&ProviderTerms> {
        let index = self.providers.binary_search_by_key(&provider, |terms| terms.provider).ok()?;
        self.providers.get(index)
    }

    /// The panel of a provider under an epoch seed. For many providers see [`Setting::panels`].
    pub fn panel(&self, seed: &Hash32, provider: ProviderId) -> Vec<OracleId> {
        self.panels(seed).of(provider)
    }

    /// The panels of all providers under an epoch seed.
    pub fn panels(&self, seed: &Hash32) -> Panels<'_> {
        let candidates = self
            .members
            .iter()
            .map(|m| Candidate { oracle: m.oracle, weight: m.weight, operator: m.operator, network_group: m.network_group })
            .collect();
        Panels { params: &self.params, seed: *seed, candidates }
    }

    /// Start of the epoch, unix ms.
    pub fn start_ms(&self) -> u64 {
        self.genesis_s.saturating_mul(1_000).saturating_add(self.epoch.saturating_mul(self.params.epoch_ms()))
    }

    /// End of the epoch, unix ms.
    pub fn end_ms(&self) -> u64 {
        self.start_ms().saturating_add(self.params.epoch_ms())
    }

    /// Last second in which the report may be accepted.
    pub fn valid_until_s(&self) -> u64 {
        let epochs = self.params.valid_epochs.saturating_mul(self.params.epoch_ms());
        self.end_ms().saturating_add(epochs) / 1_000
    }
}

/// Panels under one epoch seed, drawn when asked for.
pub struct Panels<'a> {
    params: &'a Params,
    seed: Hash32,
    candidates: Vec<Candidate>,
}

impl Panels<'_> {
    /// A provider's panel, ascending.
    pub fn of(&self, provider: ProviderId) -> Vec<OracleId> {
        panel::draw(&self.seed, provider, &self.candidates, self.params.panel_size, self.params.panel_group_limit)
    }
}

/// A challenge that an oracle asked in vain and that the whole panel asks from then on.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Watched {
    /// The challenge, of the epoch in which it struck out.
    pub challenge: Challenge,
    /// The silence was slashed. The provider may answer on chain, and an answer that is wrong is a fact like any other.
    pub slashed: bool,
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

    fn leaf(&self, standing: &Standing, token: &Address) -> Hash32 {
        let (kind, id) = self.kind_and_id();
        merkle::leaf(&Words::new().with(&kind).with(&id).with(&standing.recipient).with(token).with(&standing.cumulative))
    }
}

impl Ledger {
    /// Whether the challenge that a verdict says is watched is the one on the list.
    fn watches(&self, verdict: &Verdict) -> bool {
        let open = self.watch.get(&verdict.provider).filter(|watched| !watched.slashed);
        open.map_or(Hash32::ZERO, |watched| watched.challenge.digest()) == verdict.watched
    }

    /// All accounts that ever earned something.
    pub fn payees(&self) -> impl Iterator<Item = (Payee, &Standing)> {
        let providers = self.providers.iter().map(|(id, standing)| (Payee::Provider(*id), standing));
        let oracles = self.oracles.iter().map(|(id, standing)| (Payee::Oracle(*id), standing));
        providers.chain(oracles).filter(|(_, standing)| standing.cumulative > 0)
    }

    /// The tree behind `rewardRoot`.
    pub fn reward_tree(&self, token: &Address) -> StandardTree {
        StandardTree::new(self.payees().map(|(payee, standing)| payee.leaf(standing, token)).collect())
    }

    /// A payee's proof under [`Ledger::reward_tree`].
    pub fn reward_proof(&self, payee: Payee, token: &Address) -> Option<(Standing, Vec<Hash32>)> {
        let (_, standing) = self.payees().find(|(candidate, _)| *candidate == payee)?;
        let proof = self.reward_tree(token).proof(&payee.leaf(standing, token))?;
        Some((*standing, proof))
    }
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
        let setting = inputs.setting;
        let seeds = leading_seeds(setting, inputs.reveals);
        let epoch_seed = seeds.as_ref().map_or(Hash32::ZERO, |seeds| seeds.epoch);
        let secure = seeds.as_ref().is_some_and(|seeds| seeds.secure);
        let counted: BTreeMap<OracleId, &VerifiedReveal> = inputs
            .reveals
            .iter()
            .filter(|(_, verified)| seeds.as_ref().is_some_and(|seeds| verified.reveal.seeds.digest() == seeds.digest))
            .map(|(oracle, verified)| (*oracle, verified))
            .collect();
        let drawn = setting.panels(&epoch_seed);
        let (facts, struck) = (facts_by_provider(&counted, inputs.parent), struck_by_provider(&counted));
        let mut panels = BTreeMap::new();
        let mut watch = inputs.parent.watch.clone();
        let mut vectors = Vec::with_capacity(setting.providers.len());
        let mut verdicts = Vec::with_capacity(setting.providers.len());
        for terms in &setting.providers {
            let Some(class) = setting.params.class(terms.class_id) else { continue };
            let members = drawn.of(terms.provider);
            let seats: Vec<PanelSeat<'_>> = members
                .iter()
                .map(|oracle| PanelSeat {
                    oracle: *oracle,
                    weight: setting.member(*oracle).map_or(0, |member| member.weight),
                    seen: observation_of(&counted, *oracle, terms.provider),
                })
                .collect();
            let kind = if members.len() == setting.members.len() {
                PanelKind::WholeSet { total_weight: setting.total_weight() }
            } else {
                PanelKind::Drawn
            };
            let case = Case {
                epoch: setting.epoch,
                provider: terms.provider,
                class,
                stake: terms.stake,
                panel: Panel { seats: &seats, kind },
                facts: facts.get(&terms.provider).map_or(&[], Vec::as_slice),
                watched: inputs.parent.watch.get(&terms.provider).filter(|watched| !watched.slashed).map(|watched| &watched.challenge),
                struck: struck.get(&terms.provider).copied(),
                secure,
                previous_multiplier_ppm: inputs.parent.providers.get(&terms.provider).map_or(PPM, |s| s.multiplier_ppm),
            };
            vectors.push(panel_leaf(terms.provider, &seats));
            let verdict = Verdict::judge(&case, setting.kinds, &setting.params);
            next_watch(&mut watch, &case, &verdict);
            verdicts.push(verdict);
            panels.insert(terms.provider, members);
        }
        let paid_oracles: BTreeSet<OracleId> = counted
            .keys()
            .copied()
            .filter(|oracle| setting.member(*oracle).is_some() && kept_schedule(&counted, *oracle, &panels))
            .collect();
        fit_budget(&mut verdicts, paid_oracles.len(), setting);
        let mut ledger = Ledger { watch, ..next_ledger(inputs.parent, setting, &verdicts, &paid_oracles) };
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
            seed_secure: secure,
            params_hash: setting.params.hash(),
            bit_votes_root: inputs.bit_votes_root,
            obs_root: merkle::root(vectors),
            result_root: merkle::root(verdicts.iter().map(Verdict::leaf).collect()),
            reward_root: ledger.reward_tree(&setting.token).root(),
            slash_root: merkle::root(verdicts.iter().filter_map(slash_leaf).collect()),
            reward_total: total_rewards(&verdicts, paid_oracles.len(), setting),
            slash_total: verdicts.iter().map(|verdict| verdict.slash).fold(0, u128::saturating_add),
            log_heads_root: Hash32::ZERO,
            data_digest: data_digest(inputs.reveals),
        };
        ledger.digest = report.digest();
        Self { report, verdicts, panels, paid_oracles, ledger }
    }

    /// Whether everything here stands under a (certified) report's roots. What a peer sends is believed only then.
    pub fn supports(&self, report: &Report, token: &Address) -> bool {
        self.report == *report
            && self.ledger.digest == report.digest()
            && self.ledger.reward_tree(token).root() == report.reward_root
            && merkle::root(self.verdicts.iter().map(Verdict::leaf).collect()) == report.result_root
            && merkle::root(self.verdicts.iter().filter_map(slash_leaf).collect()) == report.slash_root
            && self.verdicts.iter().all(|verdict| {
                let standing = self.ledger.providers.get(&verdict.provider);
                standing.is_some_and(|standing| standing.multiplier_ppm == verdict.multiplier_ppm) && self.ledger.watches(verdict)
            })
    }

    /// A provider's verdict with its proof under `resultRoot`.
    pub fn verdict_proof(&self, provider: ProviderId) -> Option<(&Verdict, Vec<Hash32>)> {
        let verdict = self.verdicts.iter().find(|verdict| verdict.provider == provider)?;
        let tree = StandardTree::new(self.verdicts.iter().map(Verdict::leaf).collect());
        Some((verdict, tree.proof(&verdict.leaf())?))
    }

    /// A provider's slash with its proof under `slashRoot`.
    pub fn slash_proof(&self, provider: ProviderId) -> Option<(&Verdict, Vec<Hash32>)> {
        let verdict = self.verdicts.iter().find(|verdict| verdict.provider == provider)?;
        let tree = StandardTree::new(self.verdicts.iter().filter_map(slash_leaf).collect());
        Some((verdict, tree.proof(&slash_leaf(verdict)?)?))
    }
}

/// The seeds that most included weight measured under.
struct LeadingSeeds {
    digest: Hash32,
    epoch: Hash32,
    /// They are the beacon's own, and more than 2/3 of all weight names them.
    secure: bool,
}

fn leading_seeds(setting: &Setting, reveals: &BTreeMap<OracleId, VerifiedReveal>) -> Option<LeadingSeeds> {
    let mut weights: BTreeMap<(bool, Hash32), (u64, Hash32)> = BTreeMap::new();
    for (oracle, verified) in reveals {
        let seeds = &verified.reveal.seeds;
        let entry = weights.entry((seeds.secure, seeds.digest())).or_insert((0, seeds.epoch));
        entry.0 = entry.0.saturating_add(setting.weight_of([oracle]));
    }
    // A tie goes to the beacon's round, then to the larger digest.
    let ((secure, digest), (weight, epoch)) =
        weights.into_iter().max_by_key(|((secure, digest), (weight, _))| (*weight, *secure, *digest))?;
    Some(LeadingSeeds { digest, epoch, secure: secure && setting.is_quorum(weight) })
}

fn observation_of<'a>(reveals: &BTreeMap<OracleId, &'a VerifiedReveal>, oracle: OracleId, provider: ProviderId) -> Option<&'a Observation> {
    let observations = &reveals.get(&oracle)?.reveal.observations;
    let index = observations.binary_search_by_key(&provider, |salted| salted.observation.provider).ok()?;
    observations.get(index).map(|salted| &salted.observation)
}

/// Whether an oracle measured every provider whose panel it is on: it is paid for a schedule kept, not for showing up.
fn kept_schedule(reveals: &BTreeMap<OracleId, &VerifiedReveal>, oracle: OracleId, panels: &BTreeMap<ProviderId, Vec<OracleId>>) -> bool {
    panels.iter().filter(|(_, panel)| panel.contains(&oracle)).all(|(provider, _)| {
        let asked = |seen: &Observation, kind| seen.of(kind).is_some_and(|counts| counts.counted > 0);
        observation_of(reveals, oracle, *provider).is_some_and(|seen| asked(seen, Kind::AVAILABILITY) && asked(seen, Kind::LATENCY_ECHO))
    })
}

/// What included reveals prove. A fact about a challenge of another epoch counts only while the challenge is on the watch list.
fn facts_by_provider(reveals: &BTreeMap<OracleId, &VerifiedReveal>, parent: &Ledger) -> BTreeMap<ProviderId, Vec<ProvenFact>> {
    let mut facts: BTreeMap<ProviderId, Vec<ProvenFact>> = BTreeMap::new();
    for verified in reveals.values() {
        for (fact, fault) in verified.reveal.facts.iter().zip(&verified.faults) {
            let provider = fact.challenge.provider;
            let is_watched = || parent.watch.get(&provider).is_some_and(|watched| watched.challenge == fact.challenge);
            if fact.challenge.epoch == verified.reveal.epoch || is_watched() {
                facts.entry(provider).or_default().push(ProvenFact { fault: *fault, digest: fact.digest() });
            }
        }
    }
    facts
}

/// Of each provider the challenge with the smallest digest among those that struck out.
fn struck_by_provider<'a>(reveals: &BTreeMap<OracleId, &'a VerifiedReveal>) -> BTreeMap<ProviderId, &'a Challenge> {
    let mut struck: BTreeMap<ProviderId, &Challenge> = BTreeMap::new();
    for challenge in reveals.values().flat_map(|verified| &verified.reveal.struck) {
        let first = struck.entry(challenge.provider).or_insert(challenge);
        if challenge.digest() < first.digest() {
            *first = challenge;
        }
    }
    struck
}

fn next_watch(watch: &mut BTreeMap<ProviderId, Watched>, case: &Case<'_>, verdict: &Verdict) {
    match case.watch_from_now_on() {
        Some(challenge) => {
            watch.insert(case.provider, Watched { challenge: challenge.clone(), slashed: false });
        }
        None if verdict.slash_reason == Some(Fault::StorageSilent) => {
            if let Some(watched) = watch.get_mut(&case.provider) {
                watched.slashed = true;
            }
        }
        // Answered, or slashed before: the latter stays for what may be answered on chain.
        None => watch.retain(|provider, watched| *provider != case.provider || watched.slashed),
    }
}

fn panel_leaf(provider: ProviderId, seats: &[PanelSeat<'_>]) -> Hash32 {
    let mut vector = Words::new();
    for seat in seats {
        vector.push(&seat.seen.map_or(Hash32::ZERO, Observation::word));
    }
    merkle::leaf(&Words::new().with(&provider).with(&vector.keccak()))
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

/// A report that more than 2/3 of weight signed.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Certificate {
    /// The report.
    pub report: Report,
    /// Bit i is member i of the set, least significant first.
    pub signers: [u8; 32],
    /// Sum of the signatures.
    pub signature: Signature,
}

/// Why a certificate does not stand.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum CertificateError {
    /// A bit beyond the committee.
    #[error("the bitmap has a bit that belongs to no member")]
    Stranger,
    /// Not more than 2/3 of weight.
    #[error("signed by {signed} of {total} weight, more than two thirds are needed")]
    SubQuorum {
        /// Weight that signed.
        signed: u64,
        /// Weight of the set.
        total: u64,
    },
    /// For another instance, epoch or set.
    #[error("the report is for another instance, epoch or committee set")]
    Context,
    /// The aggregate does not verify.
    #[error("the aggregate signature is not the signers': {0}")]
    Signature(#[from] BlsError),
}

impl Certificate {
    /// Sums the members' signatures over one report.
    pub fn assemble(setting: &Setting, report: Report, signatures: &BTreeMap<OracleId, Signature>) -> Result<Self, CertificateError> {
        let mut signers = [0u8; 32];
        let mut sum = Vec::new();
        for (index, member) in setting.members.iter().enumerate() {
            if let (Some(signature), Some(byte)) = (signatures.get(&member.oracle), signers.get_mut(index / 8)) {
                *byte |= 1 << (index % 8);
                sum.push(*signature);
            }
        }
        let certificate = Self { report, signers, signature: Signature::aggregate(&sum)? };
        certificate.verify(setting)?;
        Ok(certificate)
    }

    /// The signers' positions in the set.
    pub fn signer_bits(&self) -> impl Iterator<Item = usize> + '_ {
        (0..256).filter(|index| self.signers.get(index / 8).is_some_and(|byte| byte & (1 << (index % 8)) != 0))
    }

    /// The bitmap as the contract's `uint256`, big-endian.
    pub fn signers_word(&self) -> [u8; 32] {
        let mut word = self.signers;
        word.reverse();
        word
    }

    /// Checks context, bits, weight and the aggregate; returns the signed weight.
    pub fn verify(&self, setting: &Setting) -> Result<u64, CertificateError> {
        let report = &self.report;
        let here = Instance { chain_id: report.chain_id, settlement: report.settlement };
        if here != setting.instance || report.epoch != setting.epoch || report.set_epoch != setting.set_epoch {
            return Err(CertificateError::Context);
        }
        let mut keys = Vec::new();
        let mut signed = 0u64;
        for index in self.signer_bits() {
            let member = setting.members.get(index).ok_or(CertificateError::Stranger)?;
            keys.push(member.key);
            signed = signed.saturating_add(u64::from(member.weight));
        }
        if !setting.is_quorum(signed) {
            return Err(CertificateError::SubQuorum { signed, total: setting.total_weight() });
        }
        let message = signing_message(&setting.instance, report.epoch, report.view, &report.digest());
        PublicKey::aggregate(&keys)?.verify(Domain::Report, &message, &self.signature)?;
        Ok(signed)
    }
}

#[cfg(test)]
#[path = "report_tests.rs"]
mod tests;
