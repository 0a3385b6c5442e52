//! The epoch, recomputed: from the chain's words and an API's documents to one line a claim. Pure.
//!
//! Every step takes what the steps before it have proven, so that a document that does not hold is named once, where it is read.

use std::collections::{BTreeMap, BTreeSet};

use assay_chain::{AcceptedReport, BlockRef, RegistryView, ReportAccepted, SettlementConfig};
use assay_core::beacon::ChainInfo;
use assay_core::challenge::Kinds;
use assay_core::epoch::{Close, Proposal, verify_proposal};
use assay_core::hash::Hash32;
use assay_core::ids::{Instance, OracleId};
use assay_core::observation::{RevealError, Seeds, VerifiedReveal};
use assay_core::params::Params;
use assay_core::report::{Inputs, Ledger, Outcome, Report, Setting};
use assay_core::verdict::Verdict;
use assay_proto::rest::{BeaconRounds, CertifiedReport, LedgerDocument, Network, ProposalDocument, RevealDocument};

use crate::beacon::{self, Beacon};
use crate::findings::{Claim, Findings, plural};

/// What the chain says. It is believed: it is one of the auditor's two roots of trust.
#[derive(Clone, Debug)]
pub struct OnChain {
    /// Chain and settlement contract.
    pub instance: Instance,
    /// The contract's constants.
    pub config: SettlementConfig,
    /// The last block at or before the epoch's start less the lag.
    pub ref_block: BlockRef,
    /// Both registries at that block.
    pub registry: RegistryView,
    /// The epoch's accepted report, in a final block.
    pub accepted: Option<ReportAccepted>,
    /// The last accepted report before the epoch, with its epoch.
    pub parent: Option<(u64, AcceptedReport)>,
}

/// What a document turned out to be, or why it could not be read.
pub type Fetched<T> = Result<T, String>;

/// The documents of one epoch.
#[derive(Clone, Debug)]
pub struct Documents {
    /// `/v1/epochs/{e}/report`
    pub report: Fetched<CertifiedReport>,
    /// `/v1/epochs/{parent}/ledger`; none when the report is the first.
    pub ledger: Option<Fetched<LedgerDocument>>,
    /// `/v1/epochs/{e}/proposal`
    pub proposal: Fetched<ProposalDocument>,
    /// `/v1/epochs/{e}/observations`, its pages put together.
    pub observations: Fetched<ObservationsDocument>,
    /// `/v1/epochs/{e}/beacon`
    pub beacon: Fetched<BeaconRounds>,
    /// `/v1/epochs/{e}/verdicts`, its pages put together.
    pub verdicts: Fetched<VerdictsDocument>,
}

/// All pages of an epoch's observations.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ObservationsDocument {
    /// Epoch.
    pub epoch: u64,
    /// The report that counts them.
    pub report_digest: Hash32,
    /// The root over them.
    pub data_digest: Hash32,
    /// What the API says of their completeness.
    pub complete: bool,
    /// The reveals.
    pub reveals: Vec<RevealDocument>,
}

/// All pages of an epoch's verdicts.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct VerdictsDocument {
    /// Epoch.
    pub epoch: u64,
    /// The report that they stand under.
    pub report_digest: Hash32,
    /// The verdicts.
    pub verdicts: Vec<Verdict>,
}

/// What the user pins instead of taking it from the API.
#[derive(Clone, Copy, Default, Debug)]
pub struct Pins {
    /// The settlement contract.
    pub settlement: Option<assay_core::ids::Address>,
    /// The beacon's key, 96 bytes.
    pub beacon_key: Option<[u8; 96]>,
}

/// What the network claim proves.
#[derive(Clone, Debug)]
pub struct Ground {
    /// The parameters behind the chain's hash.
    pub params: Params,
    /// The beacon.
    pub beacon: ChainInfo,
}

/// An epoch whose report was recomputed to the byte.
#[derive(Clone, Debug)]
pub struct Recomputed {
    /// The frozen values.
    pub setting: Setting,
    /// The parent's ledger.
    pub parent: Ledger,
    /// The included reveals.
    pub reveals: BTreeMap<OracleId, VerifiedReveal>,
    /// The report's digest.
    pub digest: Hash32,
}

/// Checks a network document against the pins and the contract's constants.
pub fn network(document: &Network, pins: &Pins, config: &SettlementConfig, findings: &mut Findings) -> Option<Ground> {
    let outcome = check_network(document, pins, config, &mut findings.trusted);
    findings.check(Claim::Network, outcome)
}

fn check_network(
    document: &Network,
    pins: &Pins,
    config: &SettlementConfig,
    trusted: &mut Vec<String>,
) -> Result<(Ground, String), String> {
    if pins.settlement.is_none() {
        trusted.push(format!("settlement {} is taken from the API; pin it with --settlement", document.settlement));
    }
    if let Some(pinned) = pins.settlement.filter(|pinned| *pinned != document.settlement) {
        return Err(format!("the API's settlement is {}, pinned is {pinned}", document.settlement));
    }
    let registries = (config.oracle_registry, config.provider_registry);
    if (document.oracle_registry, document.provider_registry) != registries {
        return Err(format!("the API's registries are not {} and {}, which the settlement names", registries.0, registries.1));
    }
    let computed = document.params.hash();
    if computed != config.params_hash {
        return Err(format!("the API's parameters hash to {computed}, the settlement was deployed with {}", config.params_hash));
    }
    if document.params.epoch_ms() != config.epoch_length_s.saturating_mul(1_000) || document.params.valid_epochs != config.valid_epochs {
        return Err("the parameters' epoch is not the contract's".into());
    }
    if let Some(problem) = document.params.contradiction() {
        return Err(format!("the parameters contradict themselves: {problem}"));
    }
    let known = (document.params == Params::devnet()).then_some("devnet");
    if document.preset.as_deref() != known {
        return Err(format!("the API calls the parameters {:?}, they are {known:?}", document.preset));
    }
    let Beacon { chain, is_quicknet } = beacon::parse(&document.beacon)?;
    let key = chain.public_key.to_compressed();
    match pins.beacon_key {
        Some(pinned) if pinned != key => return Err("the API's beacon has another key than the pinned one".into()),
        None if !is_quicknet => {
            trusted.push(format!("beacon key 0x{}… is taken from the API; pin it with --beacon-key", hex::encode(&key[..8])));
        }
        _ => {}
    }
    let name = if is_quicknet { "drand quicknet" } else { "its own beacon" };
    let text = format!(
        "chain {}, settlement {}, parameters {} by their hash, {name}",
        document.chain_id,
        document.settlement,
        known.unwrap_or("unnamed")
    );
    Ok((Ground { params: document.params.clone(), beacon: chain }, text))
}

/// Recomputes the epoch. `None` when the report cannot be recomputed; the findings say why.
pub fn epoch(epoch: u64, ground: &Ground, chain: &OnChain, documents: &Documents, findings: &mut Findings) -> Option<Recomputed> {
    let accepted = findings.check(Claim::Chain, accepted(epoch, chain))?;
    let certified = findings.check(Claim::Report, report(epoch, chain, &accepted, documents))?;
    let report = &certified.report;
    let setting = findings.check(Claim::Setting, setting(epoch, ground, chain, report));
    let parent = findings.check(Claim::Parent, parent(chain, report, documents));
    let setting = setting?;
    findings.check(Claim::Certificate, signed(&setting, certified));
    let included = findings.check(Claim::Inclusion, inclusion(&setting, report, documents))?;
    let reveals = reveals(&setting, report, &included, documents, findings)?;
    findings.check(Claim::Beacon, seeds(&setting, ground, &reveals, documents));
    let parent = parent?;
    let outcome = recompute(&setting, report, &parent, &included, &reveals, findings)?;
    findings.check(Claim::Verdicts, published(&outcome, documents));
    Some(Recomputed { setting, parent, reveals, digest: outcome.ledger.digest })
}

fn accepted(epoch: u64, chain: &OnChain) -> Result<(ReportAccepted, String), String> {
    let accepted = chain.accepted.ok_or_else(|| format!("the chain has accepted no report of epoch {epoch} in a final block"))?;
    let text = format!(
        "report {} accepted in block {}, {} gas, tx {}",
        accepted.digest, accepted.block_number, accepted.gas_used, accepted.tx_hash
    );
    Ok((accepted, text))
}

fn report<'a>(
    epoch: u64,
    chain: &OnChain,
    accepted: &ReportAccepted,
    documents: &'a Documents,
) -> Result<(&'a CertifiedReport, String), String> {
    let document = documents.report.as_ref().map_err(Clone::clone)?;
    let report = &document.report;
    let computed = report.digest();
    if computed != accepted.digest || document.digest != computed {
        return Err(format!("the API's report has the digest {computed}, the chain accepted {}", accepted.digest));
    }
    if document.epoch != epoch
        || report.epoch != epoch
        || (report.chain_id, report.settlement) != (chain.instance.chain_id, chain.instance.settlement)
    {
        return Err("it is the report of another epoch or instance".into());
    }
    if let Some(said) = &document.accepted {
        let ReportAccepted { digest, tx_hash, block_number, gas_used } = *accepted;
        if (said.digest, said.tx_hash, said.block_number, said.gas_used) != (digest, tx_hash, block_number, gas_used) {
            return Err("what the API says of its acceptance is not what the chain says".into());
        }
    }
    Ok((document, "the API's report has the accepted digest".into()))
}

/// The frozen values, as every oracle reads them.
fn setting(epoch: u64, ground: &Ground, chain: &OnChain, report: &Report) -> Result<(Setting, String), String> {
    let start_s = chain.config.genesis_s.saturating_add(epoch.saturating_mul(chain.config.epoch_length_s));
    let round = ground.beacon.first_round_at_or_after(start_s).unwrap_or(0);
    let read = chain.registry.setting(epoch, chain.instance, &chain.config, &ground.params, Kinds::standard(), round);
    let setting = Setting { ref_block: chain.ref_block.number, ref_block_hash: chain.ref_block.hash, ..read };
    let expected = [
        ("reference block", report.ref_block, setting.ref_block),
        ("committee set", report.set_epoch, setting.set_epoch),
        ("last second", report.valid_until, setting.valid_until_s()),
        ("beacon round", report.drand_round, setting.drand_round),
    ];
    if let Some((what, said, computed)) = expected.into_iter().find(|(_, said, computed)| said != computed) {
        return Err(format!("the report's {what} is {said}, the chain and the parameters give {computed}"));
    }
    if report.params_hash != chain.config.params_hash {
        return Err("the report was computed under other parameters".into());
    }
    let (oracles, providers) = (plural(setting.members.len(), "member"), plural(setting.providers.len(), "provider"));
    let text = format!("block {}: {oracles} of set {}, {providers}, read again from the registries", setting.ref_block, setting.set_epoch);
    Ok((setting, text))
}

fn signed(setting: &Setting, document: &CertifiedReport) -> Result<((), String), String> {
    let certificate = document.certificate().map_err(|error| error.to_string())?;
    let signed = certificate.verify(setting).map_err(|error| error.to_string())?;
    let (signers, members) = (certificate.signer_bits().count(), setting.members.len());
    Ok(((), format!("{signers} of {members} members, {signed} of {} weight, the aggregate verifies", setting.total_weight())))
}

fn parent(chain: &OnChain, report: &Report, documents: &Documents) -> Result<(Ledger, String), String> {
    let Some((epoch, accepted)) = &chain.parent else {
        return match report.parent_digest.is_zero() {
            true => Ok((Ledger::default(), "the first report: everybody starts from nothing".into())),
            false => Err(format!("the report follows {}, the chain accepted none before it", report.parent_digest)),
        };
    };
    if !accepted.digest.is_of(&report.parent_digest) {
        return Err(format!("the report follows {}, the last accepted one is epoch {epoch}'s", report.parent_digest));
    }
    let document = match &documents.ledger {
        Some(document) => document.as_ref().map_err(Clone::clone)?,
        None => return Err(format!("the ledger of epoch {epoch} was not asked for")),
    };
    let outcome = document.clone().into_outcome().map_err(|error| format!("the ledger of epoch {epoch}: {error}"))?;
    if outcome.report.epoch != *epoch || document.epoch != *epoch || outcome.report.digest() != report.parent_digest {
        return Err(format!("the API's report of epoch {epoch} is not the parent {}", report.parent_digest));
    }
    if !outcome.supports(&outcome.report, &chain.config.token) {
        return Err(format!("the ledger of epoch {epoch} does not stand under the roots of its report"));
    }
    // The facts root of who was not slashed stands under no root of the report.
    let is_idle = |verdict: &&Verdict| outcome.report.seed_secure && verdict.slash_reason.is_none() && !verdict.facts_root.is_zero();
    if let Some(verdict) = outcome.verdicts.iter().find(is_idle) {
        return Err(format!("the verdict on provider {} in epoch {epoch} names facts and no slash", verdict.provider));
    }
    let accounts = plural(outcome.ledger.payees().count(), "account");
    Ok((outcome.ledger, format!("epoch {epoch}: {accounts} and {} under its roots", plural(outcome.verdicts.len(), "verdict"))))
}

/// The proposal, and whose reveal it includes.
struct Included {
    proposal: Proposal,
    reveals: BTreeMap<OracleId, Hash32>,
}

fn inclusion(setting: &Setting, report: &Report, documents: &Documents) -> Result<(Included, String), String> {
    let document = documents.proposal.as_ref().map_err(Clone::clone)?;
    let proposal = Proposal::try_from(document).map_err(|error| format!("the proposal: {error}"))?;
    if proposal.view != report.view || proposal.report_digest != report.digest() {
        return Err("the proposal is of another view or report".into());
    }
    let leader = Close::new(setting.clone(), None).leader(report.view).ok_or("the committee is empty")?;
    let proposal = verify_proposal(setting, leader, proposal).map_err(|error| format!("the proposal: {error}"))?.into_inner();
    let root = proposal.basis.bit_votes_root(&setting.instance);
    if root != report.bit_votes_root {
        return Err(format!("its bit-votes give the root {root}, the report says {}", report.bit_votes_root));
    }
    let reveals = proposal.basis.included(setting);
    let (commits, votes) = (plural(proposal.basis.commits.len(), "commit"), plural(proposal.basis.bit_votes.len(), "bit-vote"));
    let text = format!(
        "{commits} and {votes} signed, {} included; led by oracle {leader} in view {}",
        plural(reveals.len(), "reveal"),
        report.view
    );
    Ok((Included { proposal, reveals }, text))
}

/// Checks that every included reveal is there and opens its commit; facts have a line of their own.
fn reveals(
    setting: &Setting,
    report: &Report,
    included: &Included,
    documents: &Documents,
    findings: &mut Findings,
) -> Option<BTreeMap<OracleId, VerifiedReveal>> {
    let opened = match opened(setting, report, included, documents) {
        Ok(opened) => opened,
        Err(problem) => return findings.check(Claim::Reveals, Err(problem)),
    };
    let (mut verified, mut lies, mut inventions) = (BTreeMap::new(), Vec::new(), Vec::new());
    for (oracle, outcome) in opened {
        match outcome {
            Ok(reveal) => {
                verified.insert(oracle, reveal);
            }
            Err(error @ (RevealError::Facts | RevealError::InventedFact(_) | RevealError::Struck)) => {
                inventions.push(format!("oracle {oracle}: {error}"));
            }
            Err(error) => lies.push(format!("oracle {oracle}: {error}")),
        }
    }
    let observations: usize = verified.values().map(|v| v.reveal.observations.len()).sum();
    let holds = format!(
        "{} complete, {} under their signed commits, every VRF verifies, every scheduled count is the VRFs'",
        plural(verified.len(), "reveal"),
        plural(observations, "observation")
    );
    findings.check(Claim::Reveals, if lies.is_empty() { Ok(((), holds)) } else { Err(lies.join("; ")) })?;
    let facts: usize = verified.values().map(|v| v.reveal.facts.len()).sum();
    let holds = match facts {
        0 => "none".to_owned(),
        _ => format!("{facts} of {facts} proven: signed by the provider, on the oracle's schedule, in the claim set on chain"),
    };
    findings.check(Claim::Facts, if inventions.is_empty() { Ok(((), holds)) } else { Err(inventions.join("; ")) })?;
    Some(verified)
}

type Opened = BTreeMap<OracleId, Result<VerifiedReveal, RevealError>>;

fn opened(setting: &Setting, report: &Report, included: &Included, documents: &Documents) -> Result<Opened, String> {
    let document = documents.observations.as_ref().map_err(Clone::clone)?;
    if document.epoch != setting.epoch || document.report_digest != report.digest() || document.data_digest != report.data_digest {
        return Err("the observations are of another epoch or report".into());
    }
    if !document.complete {
        return Err("the API lacks a reveal, it says: ask another oracle's".into());
    }
    let mut opened = BTreeMap::new();
    for reveal in &document.reveals {
        let oracle = reveal.oracle;
        let digest = reveal.commit.digest(&setting.instance);
        if included.reveals.get(&oracle) != Some(&digest) || reveal.commit_digest != digest {
            return Err(format!("the reveal of oracle {oracle} does not open the commit that is included"));
        }
        let signed = reveal.signed_commit().map_err(|error| format!("the reveal of oracle {oracle}: {error}"))?;
        if !included.proposal.basis.commits.contains(&signed) {
            return Err(format!("the commit of oracle {oracle} is not the proposal's"));
        }
        let parsed = reveal.reveal().map_err(|error| format!("the reveal of oracle {oracle}: {error}"))?;
        if opened.insert(oracle, parsed.verify(&signed.commit, setting)).is_some() {
            return Err(format!("two reveals of oracle {oracle}"));
        }
    }
    match included.reveals.keys().find(|oracle| !opened.contains_key(oracle)) {
        Some(oracle) => Err(format!("the reveal of oracle {oracle} is included and was not delivered")),
        None => Ok(opened),
    }
}

/// The seeds that most included weight measured under; a tie goes to the beacon's own, then to the larger digest.
fn leading_seeds<'a>(setting: &Setting, reveals: &'a BTreeMap<OracleId, VerifiedReveal>) -> Option<(&'a Seeds, usize)> {
    let mut by_seeds: BTreeMap<(bool, Hash32), (u64, usize, &Seeds)> = BTreeMap::new();
    for (oracle, verified) in reveals {
        let seeds = &verified.reveal.seeds;
        let entry = by_seeds.entry((seeds.secure, seeds.digest())).or_insert((0, 0, seeds));
        (entry.0, entry.1) = (entry.0.saturating_add(setting.weight_of([oracle])), entry.1 + 1);
    }
    let leading = by_seeds.into_iter().max_by_key(|((secure, digest), (weight, _, _))| (*weight, *secure, *digest));
    leading.map(|(_, (_, oracles, seeds))| (seeds, oracles))
}

fn seeds(
    setting: &Setting,
    ground: &Ground,
    reveals: &BTreeMap<OracleId, VerifiedReveal>,
    documents: &Documents,
) -> Result<((), String), String> {
    let Some((seeds, oracles)) = leading_seeds(setting, reveals) else { return Ok(((), "no reveal is included, no seed was used".into())) };
    let document = documents.beacon.as_ref().map_err(Clone::clone)?;
    let (rounds, fallbacks) = beacon::check(&ground.beacon, setting, document, seeds)?;
    let how = match fallbacks {
        0 => format!("{rounds} seeds, each a signed round"),
        _ => format!("{fallbacks} of {rounds} seeds are the fallback, recomputed from the reference block: nothing is slashed"),
    };
    Ok(((), format!("round {} and on: {how}; {oracles} of {} measured under them", setting.drand_round, plural(reveals.len(), "oracle"))))
}

fn recompute(
    setting: &Setting,
    report: &Report,
    parent: &Ledger,
    included: &Included,
    reveals: &BTreeMap<OracleId, VerifiedReveal>,
    findings: &mut Findings,
) -> Option<Outcome> {
    let bit_votes_root = included.proposal.basis.bit_votes_root(&setting.instance);
    let outcome = Outcome::compute(&Inputs { setting, view: report.view, parent, bit_votes_root, reveals });
    let computed = &outcome.report;
    let root = |what: &str, said: &Hash32, computed: &Hash32, holds: String| match said == computed {
        true => Ok(((), holds)),
        false => Err(format!("recomputed, {what} is {computed}, the report says {said}")),
    };
    let seats: BTreeSet<usize> = outcome.panels.values().map(Vec::len).collect();
    let sizes = seats.iter().map(usize::to_string).collect::<Vec<_>>().join(" or ");
    let holds = format!("{} of {sizes} drawn again, their observations give obsRoot", plural(outcome.panels.len(), "panel"));
    findings.check(Claim::Panels, root("obsRoot", &report.obs_root, &computed.obs_root, holds));
    let mut grades: BTreeMap<String, usize> = BTreeMap::new();
    for verdict in &outcome.verdicts {
        *grades.entry(format!("{:?}", verdict.outcome).to_lowercase()).or_default() += 1;
    }
    let grades: Vec<String> = grades.into_iter().map(|(grade, count)| format!("{count} {grade}")).collect();
    let holds = format!("{}: {}; they give resultRoot", plural(outcome.verdicts.len(), "verdict"), grades.join(", "));
    findings.check(Claim::Aggregation, root("resultRoot", &report.result_root, &computed.result_root, holds));
    let money = [("rewardTotal", report.reward_total, computed.reward_total), ("slashTotal", report.slash_total, computed.slash_total)];
    let money = match money.into_iter().find(|(_, said, computed)| said != computed) {
        Some((what, said, computed)) => Err(format!("recomputed, {what} is {computed}, the report says {said}")),
        None if report.slash_root != computed.slash_root => root("slashRoot", &report.slash_root, &computed.slash_root, String::new()),
        None => {
            let holds = format!(
                "{} paid and {} slashed in the smallest unit, under rewardRoot and slashRoot",
                report.reward_total, report.slash_total
            );
            root("rewardRoot", &report.reward_root, &computed.reward_root, holds)
        }
    };
    findings.check(Claim::Money, money);
    let whole = match first_difference(report, computed) {
        None => Ok(((), "all 20 fields of the report, to the byte".to_owned())),
        Some(field) => Err(format!("the field {field} comes out differently")),
    };
    findings.check(Claim::Recomputed, whole)?;
    Some(outcome)
}

/// The first field of two reports, by its name in the ABI, that is not the same.
fn first_difference(said: &Report, computed: &Report) -> Option<String> {
    let fields = |report: &Report| serde_json::to_value(report).ok();
    let (said_fields, computed_fields) = (fields(said)?, fields(computed)?);
    let (said_fields, computed_fields) = (said_fields.as_object()?, computed_fields.as_object()?);
    let named = said_fields.iter().find(|(name, value)| computed_fields.get(*name) != Some(value)).map(|(name, _)| name.clone());
    named.or_else(|| (said != computed).then(|| "unnamed".to_owned()))
}

fn published(outcome: &Outcome, documents: &Documents) -> Result<((), String), String> {
    let document = documents.verdicts.as_ref().map_err(Clone::clone)?;
    if document.epoch != outcome.report.epoch || document.report_digest != outcome.ledger.digest {
        return Err("the published verdicts are of another epoch or report".into());
    }
    if let Some((said, _)) = document.verdicts.iter().zip(&outcome.verdicts).find(|(said, computed)| said != computed) {
        return Err(format!("the published verdict on provider {} is not the recomputed one", said.provider));
    }
    match document.verdicts.len() == outcome.verdicts.len() {
        true => Ok(((), format!("{} published as recomputed", plural(outcome.verdicts.len(), "verdict")))),
        false => Err(format!("{} published, {} recomputed", document.verdicts.len(), outcome.verdicts.len())),
    }
}
