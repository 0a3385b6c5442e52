//! A whole epoch in memory: four oracles, two providers with real replicas, every answer and every signature real.

use std::collections::BTreeMap;
use std::convert::Infallible;

use assay_audit::verify::{Documents, Ground, ObservationsDocument, OnChain, VerdictsDocument};
use assay_chain::{AcceptedReport, BlockRef, Member as ChainMember, ProviderRecord, RegistryView, ReportAccepted, SettlementConfig};
use assay_core::beacon::{self, ChainInfo, fallback_seed};
use assay_core::bls::{Domain, SecretKey, Signature};
use assay_core::challenge::compact::{CompactAnswer, Positions, ProofGroup, named};
use assay_core::challenge::kinds::bandwidth::{Total, ingress_bytes};
use assay_core::challenge::kinds::{availability, latency, locality};
use assay_core::challenge::schedule::vrf_message;
use assay_core::challenge::{Answer, Asked, Challenge, Kind, Kinds, Sample, answer_signing_digest, seal_digest};
use assay_core::claim::{Claim, ClaimSet};
use assay_core::compact::{Name, Powers, Prover, TagKey, TagSecret};
use assay_core::epoch::{Basis, BitVote, Close, Proposal, SignedBitVote};
use assay_core::hash::Hash32;
use assay_core::ids::{Address, Instance, OracleId, ProviderId};
use assay_core::observation::{Commit, Observation, ProviderKeys, Reveal, SaltedObservation, Seeds, SignedCommit, VerifiedReveal};
use assay_core::params::{Params, TOKEN};
use assay_core::replica::{BLOCK_BYTES, OwnerSecret};
use assay_core::report::{Certificate, Inputs, Ledger, Member, Outcome, ProviderTerms, Setting, StoredDigest, signing_message};
use assay_core::secp;
use assay_core::slice::{self, OutboardBuilder, Slice};
use assay_core::transcript::{PairSchedule, Reading, SlotSchedule, SlotSeal, Transcript, answers_root, facts_of, judge, summarise};
use assay_proto::bundle::Bundle;
use assay_proto::rest::{Acceptance, BeaconRound, BeaconRounds, CertifiedReport, LedgerDocument, RevealDocument};

pub const ORACLES: u64 = 4;
pub const LIAR: OracleId = OracleId(3);
const GENESIS_S: u64 = 1_000_000;
const BLOCKS: u64 = 3;

/// What is not as it should be.
#[derive(Clone, Copy, Default)]
pub struct Plan {
    /// The liar changes its observations before it commits to them.
    pub lie: Option<fn(&mut Observation)>,
    /// The liar changes its transcripts before it counts them.
    pub forge: Option<fn(&mut Transcript)>,
    /// The beacon has no round for this slot.
    pub silent_slot: Option<u64>,
}

/// An epoch with everything that an auditor asks for.
pub struct World {
    pub ground: Ground,
    pub chain: OnChain,
    pub documents: Documents,
    pub setting: Setting,
    pub outcome: Outcome,
    pub claims: BTreeMap<Hash32, ClaimSet>,
    pub bundles: BTreeMap<(OracleId, ProviderId), Vec<Bundle>>,
}

/// A stored replica.
struct Replica {
    bytes: Vec<u8>,
    outboard: BTreeMap<u64, [u8; 64]>,
    claims: ClaimSet,
    root: Hash32,
    /// The second provider's replica has tags, the first's none.
    tags: Option<(Vec<u8>, Powers)>,
}

pub fn oracle_key(oracle: u64) -> SecretKey {
    SecretKey::key_gen(&[oracle as u8; 32]).unwrap()
}

fn receipt_key(provider: u64) -> secp::SecretKey {
    secp::SecretKey::from_bytes(&[0x50 + provider as u8; 32]).unwrap()
}

fn beacon_key() -> SecretKey {
    SecretKey::key_gen(&[0xbe; 32]).unwrap()
}

impl Replica {
    fn new(provider: u64) -> Self {
        let total = BLOCK_BYTES as u64 * BLOCKS;
        let mut bytes = vec![0; total as usize];
        blake3::Hasher::new_keyed(&[provider as u8; 32]).finalize_xof().fill(&mut bytes);
        let (mut builder, mut nodes) = (OutboardBuilder::new(total), Vec::new());
        builder.update(&bytes, &mut nodes).unwrap();
        let root = builder.finish().unwrap();
        let secret = TagSecret::derive(&OwnerSecret::new([provider as u8; 32]));
        let key = Some(secret.key()).filter(|_| provider == 2);
        let claim = Claim {
            object_id: Hash32([provider as u8; 32]),
            replica_index: 0,
            root,
            object_length: total - 64,
            blocks: BLOCKS,
            tag_key_id: key.as_ref().map_or(Hash32::ZERO, TagKey::id),
            owner: Address([9; 20]),
        };
        let tags = key.as_ref().map(|key| {
            let evaluations: Vec<_> = bytes.chunks(BLOCK_BYTES).map(|block| secret.evaluate(block).unwrap()).collect();
            let powers = Powers::parse(&secret.powers(), key, &[1; 32]).unwrap();
            (secret.tags(&Name::of(&claim, ProviderId(provider)), 0, &evaluations), powers)
        });
        let claims = ClaimSet::new(vec![claim]).unwrap().with_tag_keys(key).unwrap();
        Self { tags, bytes, outboard: nodes.into_iter().map(|node| (node.position, node.pair)).collect(), claims, root }
    }

    fn slice(&self, block: u64, chunk: u32) -> Slice {
        let total = self.bytes.len() as u64;
        let index = block * 124 + u64::from(chunk);
        let (start, length) = slice::group_range(total, index);
        let group = &self.bytes[start as usize..(start + length) as usize];
        slice::prove(&self.root, total, index, group, |position| self.outboard.get(&position).copied()).unwrap()
    }

    /// One proof for all samples but the missing ones.
    fn compact(&self, challenge: &Challenge, planned: Positions, missing: Positions) -> Answer {
        let (tags, powers) = self.tags.as_ref().unwrap();
        let (key, positions) = (self.claims.claims().next().unwrap().tag_key_id, planned.without(missing));
        let terms = challenge.compact_terms(&key, positions, |sample| named(&self.claims, challenge.provider, sample)).unwrap();
        let mut prover = Prover::new();
        for item in &terms.items {
            let at = item.block as usize;
            prover.add(item.nu, &self.bytes[at * BLOCK_BYTES..][..BLOCK_BYTES], &tags[at * 48..][..48]).unwrap();
        }
        let proof = prover.finish(&terms, powers).unwrap().to_bytes();
        Answer::of_payload(CompactAnswer { missing, groups: vec![ProofGroup { key, positions, proof }] }.encode())
    }
}

fn members() -> Vec<Member> {
    let member = |id: u64| Member {
        oracle: OracleId(id),
        weight: 100,
        key: oracle_key(id).public_key(),
        operator: Address([id as u8; 20]),
        recipient: Address([100 + id as u8; 20]),
        network_group: id,
    };
    (1..=ORACLES).map(member).collect()
}

impl World {
    /// The first epoch, or the one after `parent`.
    pub fn new(plan: Plan, parent: Option<&World>) -> Self {
        let epoch = parent.map_or(0, |parent| parent.setting.epoch + 1);
        let replicas: BTreeMap<ProviderId, Replica> = (1..=2).map(|id| (ProviderId(id), Replica::new(id))).collect();
        let beacon = ChainInfo { public_key: beacon_key().public_key(), genesis_s: GENESIS_S - 100, period_s: 1 };
        let setting = setting(epoch, &replicas, &beacon);
        let (seeds, rounds) = seeds(&setting, &beacon, plan.silent_slot);
        let mut bundles = BTreeMap::new();
        let mut signed = Vec::new();
        let mut reveals = BTreeMap::new();
        for member in &setting.members {
            let (commit, verified) = measured(&setting, member.oracle, &seeds, &replicas, plan, &mut bundles);
            let signature = oracle_key(member.oracle.0).sign(Domain::Commit, &commit.digest(&setting.instance));
            signed.push(SignedCommit { commit, signature });
            reveals.insert(member.oracle, verified);
        }
        let ledger = parent.map_or_else(Ledger::default, |parent| parent.outcome.ledger.clone());
        let (proposal, certificate, outcome) = closed(&setting, &ledger, signed.clone(), &reveals);
        let accepted =
            ReportAccepted { digest: outcome.ledger.digest, tx_hash: Hash32([77; 32]), block_number: 41 + epoch, gas_used: 187_000 };
        let ReportAccepted { digest, tx_hash, block_number, gas_used } = accepted;
        let chain = on_chain(&setting, accepted, parent);
        let documents = Documents {
            report: Ok(CertifiedReport::new(&certificate, Some(Acceptance { digest, tx_hash, block_number, gas_used }))),
            ledger: parent.map(|parent| Ok(LedgerDocument::from(&parent.outcome))),
            proposal: Ok((&proposal).into()),
            observations: Ok(ObservationsDocument {
                epoch,
                report_digest: digest,
                data_digest: outcome.report.data_digest,
                complete: true,
                reveals: signed
                    .iter()
                    .zip(reveals.values())
                    .map(|(signed, verified)| RevealDocument::new(signed, verified.commit_digest, &verified.reveal, |_| true))
                    .collect(),
            }),
            beacon: Ok(BeaconRounds { epoch, rounds }),
            verdicts: Ok(VerdictsDocument { epoch, report_digest: digest, verdicts: outcome.verdicts.clone() }),
        };
        let ground = Ground { params: setting.params.clone(), beacon };
        let claims = replicas.into_values().map(|replica| (replica.claims.root().hash, replica.claims)).collect();
        Self { ground, chain, documents, setting, outcome, claims, bundles }
    }
}

fn setting(epoch: u64, replicas: &BTreeMap<ProviderId, Replica>, beacon: &ChainInfo) -> Setting {
    let params = Params::devnet();
    let start_s = GENESIS_S + epoch * params.epoch_ms() / 1_000;
    let terms = |(provider, replica): (&ProviderId, &Replica)| ProviderTerms {
        provider: *provider,
        class_id: 100,
        keys: ProviderKeys { receipt_key: receipt_key(provider.0).address(), class_id: 100, claims: replica.claims.root() },
        stake: 1_000 * TOKEN,
        recipient: Address([200 + provider.0 as u8; 20]),
    };
    Setting {
        instance: Instance { chain_id: 31_337, settlement: Address([7; 20]) },
        epoch,
        genesis_s: GENESIS_S,
        params,
        kinds: Kinds::standard(),
        token: Address([8; 20]),
        epoch_budget: 10_000 * TOKEN,
        set_epoch: 1,
        members: members(),
        providers: replicas.iter().map(terms).collect(),
        ref_block: 5 + epoch,
        ref_block_hash: Hash32([2; 32]),
        drand_round: beacon.first_round_at_or_after(start_s).unwrap(),
    }
}

fn seeds(setting: &Setting, beacon: &ChainInfo, silent_slot: Option<u64>) -> (Seeds, Vec<BeaconRound>) {
    let (mut values, mut rounds, mut previous) = (Vec::new(), Vec::new(), Hash32::ZERO);
    for position in 0..=u64::from(setting.params.slots) {
        let at_ms = setting.start_ms() + position.saturating_sub(1) * setting.params.slot_ms;
        let round = beacon.first_round_at_or_after(at_ms.div_ceil(1_000)).unwrap();
        let signature = (position.checked_sub(1).is_none_or(|slot| silent_slot != Some(slot))).then(|| beacon::sign(&beacon_key(), round));
        previous = match &signature {
            Some(signature) => beacon::randomness(signature),
            None => fallback_seed(&previous, &setting.ref_block_hash),
        };
        values.push(previous);
        rounds.push(BeaconRound { round, signature: signature.map(|signature| signature.to_compressed().into()) });
    }
    let epoch = values.remove(0);
    (Seeds { epoch, slots: values, secure: silent_slot.is_none() }, rounds)
}

type Bundles = BTreeMap<(OracleId, ProviderId), Vec<Bundle>>;

/// One oracle's whole epoch: asks, judges, counts, commits.
fn measured(
    setting: &Setting,
    oracle: OracleId,
    seeds: &Seeds,
    replicas: &BTreeMap<ProviderId, Replica>,
    plan: Plan,
    bundles: &mut Bundles,
) -> (Commit, VerifiedReveal) {
    let vrf =
        |(slot, seed): (u32, &Hash32)| oracle_key(oracle.0).sign(Domain::Vrf, &vrf_message(&setting.instance, setting.epoch, slot, seed));
    let vrfs: Vec<Signature> = (0..).zip(&seeds.slots).map(vrf).collect();
    let (mut observations, mut facts) = (Vec::new(), Vec::new());
    for terms in &setting.providers {
        let panel = setting.panel(&seeds.epoch, terms.provider);
        let schedule = PairSchedule::new(setting, &panel, terms, oracle, seeds, &vrfs).unwrap();
        let replica = &replicas[&terms.provider];
        let mut stored: Vec<Bundle> = schedule.slots().iter().map(|slot| asked(setting, terms, slot, replica)).collect();
        if let Some(forge) = plan.forge.filter(|_| oracle == LIAR) {
            stored.iter_mut().flat_map(|bundle| &mut bundle.transcripts).for_each(forge);
        }
        let transcripts: Vec<Transcript> = stored.iter().flat_map(|bundle| bundle.transcripts.clone()).collect();
        let own = facts_of(&transcripts, &replica.claims, setting.params.facts_per_provider);
        let mut observation = summarise(setting, terms, oracle, &schedule, &transcripts, None, &own);
        if let Some(lie) = plan.lie.filter(|_| oracle == LIAR) {
            lie(&mut observation);
        }
        observations.push(SaltedObservation { observation, salt: Hash32([oracle.0 as u8; 32]) });
        facts.extend(own);
        bundles.insert((oracle, terms.provider), stored);
    }
    let reveal = Reveal { epoch: setting.epoch, oracle, seeds: seeds.clone(), observations, vrfs, facts, struck: vec![] };
    let commit = Commit {
        epoch: setting.epoch,
        oracle,
        seeds: seeds.digest(),
        secure: seeds.secure,
        root: reveal.root(),
        leaf_count: reveal.observations.len() as u32,
        log_head: Hash32::ZERO,
    };
    let verified = reveal.verify(&commit, setting).unwrap();
    (commit, verified)
}

/// A slot's transcripts, with the provider's seal over what it did not sign by itself.
fn asked(setting: &Setting, terms: &ProviderTerms, slot: &SlotSchedule, replica: &Replica) -> Bundle {
    let mut transcripts = Vec::new();
    for (scheduled, challenge) in slot.challenges() {
        let kept = slot.kept(challenge.index);
        let (answer, readings) = answer(&challenge, &kept, replica);
        let signature = (challenge.kind == Kind::STORAGE).then(|| {
            let digest = answer_signing_digest(&challenge, &answer.digest());
            receipt_key(terms.provider.0).sign(&digest).unwrap()
        });
        let asked = Asked { challenge: &challenge, claims: Some(&replica.claims), kept: Some(kept) };
        let outcome = judge(setting.kinds, &asked, &answer, signature.as_ref(), &terms.keys.receipt_key);
        transcripts.push(Transcript {
            strike: 0,
            scheduled_at_us: scheduled.at_us,
            slip_us: 10,
            rtt_us: Some(900 + u64::from(challenge.index)),
            readings,
            outcome,
            answer: Some(answer),
            signature,
            challenge,
        });
    }
    let unsigned: Vec<(Hash32, Hash32)> = transcripts.iter().filter_map(Transcript::unsigned_answer).collect();
    let seals = transcripts.first().map(|first| seal(setting, &first.challenge, &unsigned)).into_iter().collect();
    Bundle { transcripts, seals }
}

/// Right answers, but for one missing chunk of provider 2 in oracle 2's first slot.
fn answer(challenge: &Challenge, kept: &[u8; 32], replica: &Replica) -> (Answer, Vec<Reading>) {
    let slices = || -> Vec<Option<Slice>> { challenge.samples().iter().map(|s| Some(replica.slice(s.block, s.chunk))).collect() };
    let reading = |at_us, value| Reading { at_us, value: Some(value) };
    match challenge.kind {
        Kind::AVAILABILITY => (Answer::of_payload(availability::echo(challenge)), vec![reading(0, 900)]),
        Kind::LATENCY_ECHO => (Answer::of_payload(latency::echo(challenge)), vec![]),
        Kind::LATENCY_BLOCK => {
            let samples = slices();
            let mac = latency::block_mac(challenge, &samples[0].as_ref().unwrap().chunk);
            (Answer { payload: mac.to_vec(), samples }, vec![])
        }
        Kind::STORAGE => {
            let is_missing = (challenge.oracle, challenge.provider, challenge.slot) == (OracleId(2), ProviderId(2), 0);
            let missing: Positions = is_missing.then_some(7).into_iter().collect();
            if let Some(planned) = challenge.compact_plan(&replica.claims).into_values().next() {
                return (replica.compact(challenge, planned, missing), vec![]);
            }
            let samples = slices().into_iter().enumerate().map(|(position, slice)| slice.filter(|_| !missing.has(position)));
            (Answer { payload: vec![], samples: samples.collect() }, vec![])
        }
        Kind::LOCALITY => {
            let read = |s: &Sample| Ok::<_, Infallible>(Some(replica.slice(s.block, s.chunk)));
            (Answer { payload: vec![], samples: locality::walk(challenge, read).unwrap() }, vec![])
        }
        _ => {
            let bytes = 2_000_000;
            let mut sent = vec![0; bytes];
            ingress_bytes(kept).fill(&mut sent);
            let total = Total { bytes: bytes as u64, hash: *blake3::hash(&sent).as_bytes() };
            let readings = (1..=8).map(|slice| reading(slice * 100_000, slice * 250_000)).collect();
            (Answer::of_payload(total.to_payload()), readings)
        }
    }
}

fn seal(setting: &Setting, challenge: &Challenge, unsigned: &[(Hash32, Hash32)]) -> SlotSeal {
    let (count, root) = (unsigned.len() as u64, answers_root(unsigned));
    let Challenge { provider, oracle, epoch, slot, .. } = *challenge;
    let digest = seal_digest(&setting.instance, provider, oracle, epoch, slot, count, &root);
    let signature = receipt_key(provider.0).sign(&digest).unwrap();
    SlotSeal { instance: setting.instance, provider, oracle, epoch, slot, count, answers_root: root, signature }
}

/// Votes, proposal, report and certificate.
fn closed(
    setting: &Setting,
    parent: &Ledger,
    commits: Vec<SignedCommit>,
    reveals: &BTreeMap<OracleId, VerifiedReveal>,
) -> (Proposal, Certificate, Outcome) {
    let held: Vec<(OracleId, Hash32)> = reveals.iter().map(|(oracle, verified)| (*oracle, verified.commit_digest)).collect();
    let vote = |member: &Member| {
        let vote = BitVote { epoch: setting.epoch, oracle: member.oracle, held: held.clone() };
        let signature = oracle_key(member.oracle.0).sign(Domain::BitVote, &vote.digest(&setting.instance));
        SignedBitVote { vote, signature }
    };
    let basis = Basis { commits, bit_votes: setting.members.iter().map(vote).collect() };
    let bit_votes_root = basis.bit_votes_root(&setting.instance);
    let outcome = Outcome::compute(&Inputs { setting, view: 0, parent, bit_votes_root, reveals });
    let digest = outcome.ledger.digest;
    let message = signing_message(&setting.instance, setting.epoch, 0, &digest);
    let sign = |oracle: OracleId| oracle_key(oracle.0).sign(Domain::Report, &message);
    let signatures = setting.members.iter().map(|member| (member.oracle, sign(member.oracle))).collect();
    let leader = Close::new(setting.clone(), None).leader(0).unwrap();
    let proposal = Proposal { epoch: setting.epoch, view: 0, leader, basis, report_digest: digest, signature: sign(leader) };
    (proposal, Certificate::assemble(setting, outcome.report.clone(), &signatures).unwrap(), outcome)
}

fn on_chain(setting: &Setting, accepted: ReportAccepted, parent: Option<&World>) -> OnChain {
    let ref_block = BlockRef { number: setting.ref_block, hash: setting.ref_block_hash, timestamp_s: setting.start_ms() / 1_000 - 4 };
    let member = |m: &Member| ChainMember {
        oracle: m.oracle,
        weight: m.weight,
        key: m.key,
        operator: m.operator,
        transmitter: m.operator,
        recipient: m.recipient,
        network_group: m.network_group,
        endpoint: String::new(),
    };
    let provider = |terms: &ProviderTerms| ProviderRecord {
        id: terms.provider,
        operator: terms.recipient,
        recipient: terms.recipient,
        receipt_key: terms.keys.receipt_key,
        class_id: terms.class_id,
        claim_root: terms.keys.claims.hash,
        claim_blocks: terms.keys.claims.blocks,
        claim_count: 1,
        claim_sequence: 1,
        stake: terms.stake,
        region: 1,
        active: true,
        endpoint: String::new(),
    };
    OnChain {
        instance: setting.instance,
        config: SettlementConfig {
            token: setting.token,
            oracle_registry: Address([21; 20]),
            provider_registry: Address([22; 20]),
            genesis_s: setting.genesis_s,
            epoch_length_s: setting.params.epoch_ms() / 1_000,
            valid_epochs: setting.params.valid_epochs,
            reward_window_s: 5,
            slash_window_s: 5,
            epoch_budget: setting.epoch_budget,
            slash_cap_ppm: 1_000_000,
            params_hash: setting.params.hash(),
        },
        ref_block,
        registry: RegistryView {
            block: ref_block,
            set_epoch: setting.set_epoch,
            members: setting.members.iter().map(member).collect(),
            providers: setting.providers.iter().map(provider).collect(),
        },
        accepted: Some(accepted),
        parent: parent.map(|parent| {
            let digest = StoredDigest::of(&parent.outcome.ledger.digest);
            (parent.setting.epoch, AcceptedReport { digest, accepted_at_s: 1 })
        }),
    }
}
