//! The audit itself: asks the chain and the API, in the order in which one answer tells what to ask next.

use std::collections::{BTreeMap, BTreeSet};

use assay_chain::{BlockTag, ChainConfig, ChainError, Client};
use assay_core::challenge::Challenge;
use assay_core::claim::{ClaimRoot, ClaimSet};
use assay_core::hash::Hash32;
use assay_core::ids::{Instance, OracleId, ProviderId};
use assay_core::observation::{Observation, VerifiedReveal};
use assay_proto::bundle::{Bundle, decode_bundle};
use assay_proto::rest::{EvidenceList, Network, ObservationsPage, ProofList, ProofRef, VerdictsPage};

use futures::stream::{self, StreamExt, TryStreamExt};

use crate::api::Api;
use crate::claims;
use crate::evidence::{Answer, Question, Tally, examine};
use crate::findings::{Claim, Findings, Flag, plural};
use crate::misbehaviour;
use crate::verify::{self, Documents, Fetched, Ground, ObservationsDocument, OnChain, Pins, Recomputed, VerdictsDocument};

/// Documents of a list are put together from at most so many pages.
const MAX_PAGES: usize = 5_000;
const PAGE: usize = 1_000;
/// How far back the last accepted report is looked for.
const LOOK_BACK: u64 = 10_000;
/// Bundles of one observation.
const MAX_BUNDLES: usize = 16 * 1024;
/// Bundles asked for at once.
const CONCURRENT_BUNDLES: usize = 8;
/// Findings about observations that are shown.
const SHOWN: usize = 8;

/// What to audit.
#[derive(Clone, Debug)]
pub struct Order {
    /// The API.
    pub api: Api,
    /// The chain's JSON-RPC URL.
    pub rpc: String,
    /// The epoch.
    pub epoch: u64,
    /// What is not taken from the API.
    pub pins: Pins,
    /// Slices and compact proofs verified for each observation; all when none.
    pub most_proofs: Option<u64>,
}

/// Audits an epoch. An error is the chain's trouble: without it nothing can be said.
pub async fn audit(order: &Order) -> Result<Findings, ChainError> {
    let mut findings = Findings::default();
    run(order, &mut findings).await?;
    findings.finish();
    Ok(findings)
}

async fn run(order: &Order, findings: &mut Findings) -> Result<(), ChainError> {
    let Some((ground, network, client)) = ground(order, findings).await? else { return Ok(()) };
    let chain = on_chain(order.epoch, &ground, &network, &client).await?;
    let documents = documents(order, &chain).await;
    if let Some(recomputed) = verify::epoch(order.epoch, &ground, &chain, &documents, findings) {
        evidence(order, &recomputed, findings).await;
        proofs_of_misbehaviour(order, &recomputed, findings).await;
    }
    Ok(())
}

/// The network: the API says which, the contract says what it really is.
async fn ground(order: &Order, findings: &mut Findings) -> Result<Option<(Ground, Network, Client)>, ChainError> {
    let network: Network = match order.api.document("/v1/network").await {
        Ok(network) => network,
        Err(problem) => {
            findings.check::<()>(Claim::Network, Err(problem));
            return Ok(None);
        }
    };
    let settlement = order.pins.settlement.unwrap_or(network.settlement);
    // The registries are the ones that the settlement names, whatever the API says.
    let config = ChainConfig {
        rpc_url: order.rpc.as_str().into(),
        chain_id: network.chain_id,
        oracle_registry: settlement,
        provider_registry: settlement,
        settlement: Some(settlement),
    };
    let connected = async {
        let constants = Client::connect(config.clone()).await?.settlement_config().await?;
        let (oracle_registry, provider_registry) = (constants.oracle_registry, constants.provider_registry);
        let client = Client::connect(ChainConfig { oracle_registry, provider_registry, ..config }).await?;
        Ok((constants, client))
    };
    let (constants, client) = match connected.await {
        Ok(connected) => connected,
        // Not the RPC's fault: the API names a network that is not there.
        Err(
            error @ (ChainError::WrongChain { .. } | ChainError::NoCode { .. } | ChainError::BadAnswer { .. } | ChainError::Refused { .. }),
        ) => {
            findings.check::<()>(Claim::Network, Err(error.to_string()));
            return Ok(None);
        }
        Err(error) => return Err(error),
    };
    let ground = verify::network(&network, &order.pins, &constants, findings);
    Ok(ground.map(|ground| (ground, network, client)))
}

async fn on_chain(epoch: u64, ground: &Ground, network: &Network, client: &Client) -> Result<OnChain, ChainError> {
    let config = client.settlement_config().await?;
    let start_s = config.genesis_s.saturating_add(epoch.saturating_mul(config.epoch_length_s));
    let until_s = start_s.saturating_sub(ground.params.ref_block_lag_s);
    let ref_block = match client.last_block_at_or_before(until_s).await? {
        Some(block) => block,
        None => client.block(BlockTag::Number(0)).await?,
    };
    let registry = client.registry_at(ref_block.number).await?;
    let accepted = client.report_accepted(epoch, ref_block.number).await?;
    let mut parent = None;
    for before in (epoch.saturating_sub(LOOK_BACK)..epoch).rev() {
        if let Some(found) = client.accepted_report(before, BlockTag::Finalized).await? {
            parent = Some((before, found));
            break;
        }
    }
    let instance = Instance { chain_id: network.chain_id, settlement: client.config().settlement.unwrap_or(network.settlement) };
    Ok(OnChain { instance, config, ref_block, registry, accepted, parent })
}

async fn documents(order: &Order, chain: &OnChain) -> Documents {
    let (api, epoch) = (&order.api, order.epoch);
    let of_epoch = |part: &str| format!("/v1/epochs/{epoch}/{part}");
    Documents {
        report: api.document(&of_epoch("report")).await,
        ledger: match &chain.parent {
            Some((parent, _)) => Some(api.document(&format!("/v1/epochs/{parent}/ledger")).await),
            None => None,
        },
        proposal: api.document(&of_epoch("proposal")).await,
        observations: observations(api, &of_epoch("observations")).await,
        beacon: api.document(&of_epoch("beacon")).await,
        verdicts: verdicts(api, &of_epoch("verdicts")).await,
    }
}

/// Where a list goes on behind a page; an error when it does not advance.
fn next(path: &str, after: ProviderId, next: Option<ProviderId>) -> Fetched<Option<ProviderId>> {
    match next {
        Some(next) if next <= after => Err(format!("GET {path}: the list runs in a circle")),
        next => Ok(next),
    }
}

async fn observations(api: &Api, path: &str) -> Fetched<ObservationsDocument> {
    let mut document: ObservationsPage = api.document(&format!("{path}?after=0&limit={PAGE}")).await?;
    for _ in 0..MAX_PAGES {
        let Some(after) = document.next else {
            let ObservationsPage { epoch, report_digest, data_digest, complete, reveals, .. } = document;
            return Ok(ObservationsDocument { epoch, report_digest, data_digest, complete, reveals });
        };
        let page = api.document(&format!("{path}?after={after}&limit={PAGE}")).await?;
        document.extend(page).map_err(|error| format!("GET {path}: {error}"))?;
    }
    Err(format!("GET {path}: more than {MAX_PAGES} pages"))
}

async fn verdicts(api: &Api, path: &str) -> Fetched<VerdictsDocument> {
    let mut document: Option<VerdictsDocument> = None;
    let mut after = ProviderId(0);
    for _ in 0..MAX_PAGES {
        let page: VerdictsPage = api.document(&format!("{path}?after={after}&limit={PAGE}")).await?;
        let VerdictsPage { epoch, report_digest, items, next: following } = page;
        match &mut document {
            None => document = Some(VerdictsDocument { epoch, report_digest, verdicts: items }),
            Some(known) if (known.epoch, known.report_digest) == (epoch, report_digest) => known.verdicts.extend(items),
            Some(_) => return Err(format!("GET {path}: its pages do not belong together")),
        }
        match next(path, after, following)? {
            Some(following) => after = following,
            None => return document.ok_or_else(|| format!("GET {path}: no page")),
        }
    }
    Err(format!("GET {path}: more than {MAX_PAGES} pages"))
}

/// What all observations together came to.
#[derive(Default)]
struct Examined {
    observations: usize,
    tally: Tally,
    missing: Vec<String>,
    contradicted: BTreeMap<OracleId, Vec<(ProviderId, String)>>,
}

/// Examines every included observation, one after the other: evidence is large, and none of it is kept.
async fn evidence(order: &Order, recomputed: &Recomputed, findings: &mut Findings) {
    let mut examined = Examined::default();
    let mut claim_sets = BTreeMap::new();
    for root in claim_roots(recomputed) {
        // A provider that serves its claims to nobody is silent, and nothing in the evidence needs them. What does need them says so.
        if let Ok(set) = claims::fetch(&order.api, &root).await {
            claim_sets.insert(root.hash, set);
        }
    }
    for (oracle, reveal) in &recomputed.reveals {
        for salted in &reveal.reveal.observations {
            let observation = &salted.observation;
            examined.observations += 1;
            match one(order, recomputed, reveal, observation, &claim_sets).await {
                Answer::Supported(tally) => examined.tally.add(&tally),
                Answer::Contradicted(tally, why) => {
                    examined.tally.add(&tally);
                    examined.contradicted.entry(*oracle).or_default().push((observation.provider, why));
                }
                Answer::NotDelivered(what) => {
                    examined.missing.push(format!("oracle {oracle} on provider {}: {what}", observation.provider))
                }
            }
        }
    }
    report(order, examined, findings);
}

/// Of every claim set that an observed provider was asked about: its registered one, and that of a challenge its panel watches.
fn claim_roots(recomputed: &Recomputed) -> Vec<ClaimRoot> {
    let reveals = recomputed.reveals.values();
    let observed: BTreeSet<ProviderId> = reveals.flat_map(|v| v.reveal.observations.iter().map(|s| s.observation.provider)).collect();
    let registered = recomputed.setting.providers.iter().filter(|terms| observed.contains(&terms.provider)).map(|terms| terms.keys.claims);
    let watched = observed.iter().filter_map(|provider| watched(recomputed, *provider));
    let watched = watched.map(|challenge| ClaimRoot { hash: challenge.claim_root, blocks: challenge.claim_blocks });
    let roots: BTreeMap<Hash32, ClaimRoot> =
        registered.chain(watched).filter(|root| root.blocks > 0).map(|root| (root.hash, root)).collect();
    roots.into_values().collect()
}

/// The challenge that a provider's panel watches, by the parent's ledger.
fn watched(recomputed: &Recomputed, provider: ProviderId) -> Option<&Challenge> {
    recomputed.parent.watch.get(&provider).filter(|watched| !watched.is_slashed()).map(|watched| &watched.challenge)
}

async fn one(
    order: &Order,
    recomputed: &Recomputed,
    reveal: &VerifiedReveal,
    observation: &Observation,
    claims: &BTreeMap<Hash32, ClaimSet>,
) -> Answer {
    let (epoch, provider, oracle) = (order.epoch, observation.provider, observation.oracle);
    let path = format!("/v1/epochs/{epoch}/evidence/{provider}?oracle={oracle}");
    let list: EvidenceList = match order.api.document(&path).await {
        Ok(list) => list,
        Err(problem) => return Answer::NotDelivered(problem),
    };
    if (list.epoch, list.provider, list.oracle) != (epoch, provider, oracle) || list.bundles.len() > MAX_BUNDLES {
        return Answer::NotDelivered(format!("GET {path}: a list of something else, or without end"));
    }
    let fetched = stream::iter(&list.bundles).map(async |bundle| {
        let path = format!("/v1/evidence/{}?epoch={epoch}&provider={provider}&oracle={oracle}", bundle.digest);
        let bytes = order.api.bundle(&path, &bundle.digest, bundle.bytes).await?;
        decode_bundle(&bytes).map_err(|error| format!("GET {path}: {error}"))
    });
    let bundles: Vec<Bundle> = match fetched.buffered(CONCURRENT_BUNDLES).try_collect().await {
        Ok(bundles) => bundles,
        Err(problem) => return Answer::NotDelivered(problem),
    };
    let watched = watched(recomputed, provider);
    let question = Question {
        setting: &recomputed.setting,
        reveal,
        observation,
        claims,
        watched,
        most_proofs: order.most_proofs,
        order: recomputed.digest,
    };
    examine(&question, &bundles)
}

/// Checks every proof of misbehaviour that the API lists. What it keeps back nobody knows: ask another oracle's.
async fn proofs_of_misbehaviour(order: &Order, recomputed: &Recomputed, findings: &mut Findings) {
    let path = format!("/v1/epochs/{}/misbehaviour", order.epoch);
    let mut proven = Vec::new();
    let checked = async {
        let list: ProofList = order.api.document(&path).await?;
        if list.epoch != order.epoch || !list.items.is_sorted_by(|a, b| (a.oracle, a.offence.name()) < (b.oracle, b.offence.name())) {
            return Err(format!("GET {path}: a list of something else, or not in order"));
        }
        for listed in list.items {
            let path = format!("{path}/{}/{}", listed.oracle, listed.offence);
            let bytes = order.api.proof(&path, listed.bytes).await?;
            misbehaviour::check(&recomputed.setting, &listed, &bytes).map_err(|problem| format!("GET {path}: {problem}"))?;
            proven.push(listed);
        }
        Ok(())
    };
    let outcome: Result<(), String> = checked.await;
    let count = plural(proven.len(), "proof");
    findings.check(
        Claim::Misbehaviour,
        outcome.map(|()| ((), format!("{count} that a member broke the protocol, checked against the committee"))),
    );
    let flag =
        |listed: ProofRef| Flag { oracle: listed.oracle, text: format!("is proven to have broken the protocol: {}", listed.offence) };
    findings.flags.extend(proven.into_iter().map(flag));
}

fn report(order: &Order, examined: Examined, findings: &mut Findings) {
    let Examined { observations, tally, missing, contradicted } = examined;
    let Tally { transcripts, answers, judged, proofs, verified, sealed, sealable } = tally;
    let against: usize = contradicted.values().map(Vec::len).sum();
    let complete = missing.is_empty();
    let outcome = match complete {
        true => Ok((
            (),
            format!(
                "{} of {} supported: {transcripts} transcripts on the schedule, {judged} of {answers} answers judged again, {sealed} of {sealable} slots sealed",
                observations - against,
                plural(observations, "observation")
            ),
        )),
        false => Err(shortened(&missing)),
    };
    findings.check(Claim::Evidence, outcome);
    if complete {
        let sample = match order.most_proofs {
            None => String::new(),
            Some(most) => format!(" (a sample of {most} for each observation)"),
        };
        findings.check(
            Claim::Proofs,
            Ok(((), format!("{verified} of {proofs} slices and compact proofs verified against the claim roots on chain{sample}"))),
        );
    }
    for (oracle, lies) in contradicted {
        let providers: BTreeSet<String> = lies.iter().map(|(provider, _)| provider.to_string()).collect();
        let (named, count) = (providers.into_iter().take(SHOWN).collect::<Vec<_>>().join(", "), plural(lies.len(), "observation"));
        let verb = if lies.len() == 1 { "is" } else { "are" };
        let first = lies.first().map_or("", |(_, why)| why.as_str());
        let text = format!("{count} {verb} not supported by its evidence (providers {named}); {first}");
        findings.flags.push(Flag { oracle, text });
    }
}

fn shortened(problems: &[String]) -> String {
    let shown = problems.iter().take(SHOWN).cloned().collect::<Vec<_>>().join("; ");
    match problems.len().checked_sub(SHOWN) {
        Some(more) if more > 0 => format!("{shown}; and {more} more"),
        _ => shown,
    }
}
