//! What honest parties send, small: where mutations begin.

use std::collections::BTreeMap;
use std::sync::OnceLock;

use assay_challenger::convert::encode_bundle;
use assay_core::beacon::{self, ChainInfo};
use assay_core::bls::{Domain, SecretKey};
use assay_core::challenge::compact::{CompactAnswer, Positions, ProofGroup, named};
use assay_core::challenge::kinds::bandwidth::{Total, ingress_bytes};
use assay_core::challenge::kinds::{availability, latency, locality};
use assay_core::challenge::schedule::vrf_message;
use assay_core::challenge::{Answer, Asked, Challenge, Kind, Kinds, Sample, answer_signing_digest, seal_digest};
use assay_core::claim::{Claim, ClaimRoot, ClaimSet, SignedClaimSet};
use assay_core::compact::{Name, Powers, Prover, TagSecret};
use assay_core::epoch::{Basis, BitVote, Misbehaviour, Proposal, ReportSignature, SignedBitVote, Wish, wish_message};
use assay_core::hash::Hash32;
use assay_core::ids::{Address, Instance, OracleId, ProviderId};
use assay_core::observation::{Commit, Observation, ProviderKeys, Reveal, SaltedObservation, Seeds, SignedCommit, VerifiedReveal, Witness};
use assay_core::params::{Params, TOKEN};
use assay_core::replica::{BLOCK_BYTES, Header, OwnerSecret, blocks_for};
use assay_core::report::{Certificate, Inputs, Ledger, Member, Outcome, ProviderTerms, Setting, signing_message};
use assay_core::secp;
use assay_core::slice::{self, CHUNK_BYTES, Node, OutboardBuilder, Slice};
use assay_core::transcript::{self, Outcome as Judged, PairSchedule, Reading, SlotSeal, Transcript};
use assay_oracle::beacon::BeaconConfig;
use assay_oracle::peers::tls::{self, Members, Terms};
use assay_oracle::signer::Protection;
use assay_proto::oracle::v1 as oracle_wire;
use assay_proto::oracle_convert::{LogEntry, Message, encode_certificate, encode_reveal};
use assay_proto::provider::v1 as wire;
use prost::Message as _;
use serde_json::json;
use tempfile::TempDir;

use crate::beacon::{Beacon, BeaconKey};

/// Opens the keystores of [`keystores`].
pub const PASSWORD: &str = "assay fuzz";

const PROVIDER: ProviderId = ProviderId(9);
const ORACLES: u64 = 4;
const SLOT: u32 = 2;
const OBJECT_BYTES: u64 = 200_000;

/// One epoch of four oracles and one provider that lost a chunk.
struct Fixture {
    setting: Setting,
    data: Vec<u8>,
    nodes: Vec<Node>,
    claims: ClaimSet,
    tags: Vec<u8>,
    powers: Powers,
    beacon_key: SecretKey,
    beacon: ChainInfo,
}

fn fixture() -> &'static Fixture {
    static FIXTURE: OnceLock<Fixture> = OnceLock::new();
    FIXTURE.get_or_init(Fixture::new)
}

/// The replica that is claimed.
pub fn data() -> &'static [u8] {
    &fixture().data
}

/// The provider's claim set.
pub fn claims() -> &'static ClaimSet {
    &fixture().claims
}

/// The committee.
pub fn setting() -> &'static Setting {
    &fixture().setting
}

/// The beacon's chain.
pub fn beacon() -> &'static ChainInfo {
    &fixture().beacon
}

/// The beacon's key.
pub fn beacon_key() -> &'static SecretKey {
    &fixture().beacon_key
}

impl Fixture {
    fn new() -> Self {
        let mut data = vec![0; usize::try_from(blocks_for(OBJECT_BYTES)).unwrap() * BLOCK_BYTES];
        blake3::Hasher::new().update(b"fuzz").finalize_xof().fill(&mut data);
        let (mut builder, mut nodes) = (OutboardBuilder::new(data.len() as u64), vec![]);
        builder.update(&data, &mut nodes).unwrap();
        let (secret, claim) = (tag_secret(), claim(builder.finish().unwrap()));
        let evaluations: Vec<_> = data.chunks(BLOCK_BYTES).map(|block| secret.evaluate(block).unwrap()).collect();
        let tags = secret.tags(&Name::of(&claim, PROVIDER), 0, &evaluations);
        let powers = Powers::parse(&secret.powers(), &secret.key(), &[1; 32]).unwrap();
        let claims = ClaimSet::new(vec![claim]).unwrap().with_tag_keys([secret.key()]).unwrap();
        let beacon_key = key(77);
        let beacon = ChainInfo { public_key: beacon_key.public_key(), genesis_s: 1_000, period_s: 3 };
        Self { setting: committee(claims.root()), data, nodes, claims, tags, powers, beacon_key, beacon }
    }

    fn slice(&self, chunk: u64) -> Slice {
        let total = self.data.len() as u64;
        let (start, length) = slice::group_range(total, chunk);
        let group = &self.data[start as usize..(start + length) as usize];
        let node = |position| self.nodes.iter().find(|node| node.position == position).map(|node| node.pair);
        slice::prove(&blake3::hash(&self.data).into(), total, chunk, group, node).unwrap()
    }

    /// One proof over all samples but the seventh, which is stated missing.
    fn compact(&self, challenge: &Challenge, key: Hash32, planned: Positions) -> CompactAnswer {
        let missing: Positions = [6].into_iter().collect();
        let positions = planned.without(missing);
        let terms = challenge.compact_terms(&key, positions, |sample| named(&self.claims, PROVIDER, sample)).unwrap();
        let mut prover = Prover::new();
        for item in &terms.items {
            let at = item.block as usize;
            prover.add(item.nu, &self.data[at * BLOCK_BYTES..][..BLOCK_BYTES], &self.tags[at * 48..][..48]).unwrap();
        }
        let proof = prover.finish(&terms, &self.powers).unwrap().to_bytes();
        CompactAnswer { missing, groups: vec![ProofGroup { key, positions, proof }] }
    }
}

fn claim(root: Hash32) -> Claim {
    Claim {
        object_id: Hash32([3; 32]),
        replica_index: 0,
        root,
        object_length: OBJECT_BYTES,
        blocks: blocks_for(OBJECT_BYTES),
        tag_key_id: tag_secret().key().id(),
        owner: Address([4; 20]),
    }
}

fn tag_secret() -> TagSecret {
    TagSecret::derive(&OwnerSecret::new([6; 32]))
}

fn key(seed: u8) -> SecretKey {
    SecretKey::key_gen(&[seed; 32]).unwrap()
}

fn oracle_key(oracle: OracleId) -> SecretKey {
    key(oracle.0 as u8)
}

fn receipt_key() -> secp::SecretKey {
    secp::SecretKey::from_bytes(&[5; 32]).unwrap()
}

fn committee(claims: ClaimRoot) -> Setting {
    let member = |id: u64| Member {
        oracle: OracleId(id),
        weight: 100,
        key: oracle_key(OracleId(id)).public_key(),
        operator: Address([id as u8; 20]),
        recipient: Address([100 + id as u8; 20]),
        network_group: id,
    };
    let keys = ProviderKeys { receipt_key: receipt_key().address(), class_id: 100, claims };
    Setting {
        instance: Instance { chain_id: 31_337, settlement: Address([7; 20]) },
        epoch: 4,
        genesis_s: 1_000,
        params: Params::devnet(),
        kinds: Kinds::standard(),
        token: Address([8; 20]),
        epoch_budget: 10_000 * TOKEN,
        set_epoch: 1,
        members: (1..=ORACLES).map(member).collect(),
        providers: vec![ProviderTerms { provider: PROVIDER, class_id: 100, keys, stake: 1_000 * TOKEN, recipient: Address([200; 20]) }],
        ref_block: 5,
        ref_block_hash: Hash32([2; 32]),
        drand_round: 9,
    }
}

// ---- measuring ----

fn slot_seeds() -> Seeds {
    Seeds { epoch: Hash32([3; 32]), slots: vec![Hash32([4; 32]); setting().params.slots as usize], secure: true }
}

fn vrfs(oracle: OracleId) -> Vec<assay_core::bls::Signature> {
    let (seeds, setting) = (slot_seeds(), setting());
    let message = |(slot, seed)| vrf_message(&setting.instance, setting.epoch, slot, seed);
    (0..).zip(&seeds.slots).map(|slot| oracle_key(oracle).sign(Domain::Vrf, &message(slot))).collect()
}

fn schedule(oracle: OracleId) -> PairSchedule {
    let (seeds, setting) = (slot_seeds(), setting());
    let panel = setting.panel(&seeds.epoch, PROVIDER);
    PairSchedule::new(setting, &panel, &setting.providers[0], oracle, &seeds, &vrfs(oracle)).unwrap()
}

/// A scheduled challenge of that kind and what is kept of its secret.
pub fn challenge(kind: Kind) -> (Challenge, [u8; 32]) {
    asked(OracleId(1), kind)
}

fn asked(oracle: OracleId, kind: Kind) -> (Challenge, [u8; 32]) {
    let schedule = schedule(oracle);
    let mut slots =
        schedule.slots().iter().flat_map(|slot| slot.challenges().map(|(_, challenge)| (slot.kept(challenge.index), challenge)));
    let (kept, challenge) = slots.find(|(_, challenge)| challenge.kind == kind).unwrap();
    (challenge, kept)
}

/// Bytes of a bandwidth test.
const TEST_BYTES: usize = 5_000;

fn total(kept: &[u8; 32]) -> Total {
    let mut bytes = vec![0; TEST_BYTES];
    ingress_bytes(kept).fill(&mut bytes);
    Total { bytes: TEST_BYTES as u64, hash: *blake3::hash(&bytes).as_bytes() }
}

/// The honest answer, but for one storage sample that is wrong and one that is stated missing.
fn answer(challenge: &Challenge, kept: &[u8; 32]) -> Answer {
    let slices = challenge.samples().into_iter().map(|sample| fixture().slice(sample.block * 124 + u64::from(sample.chunk)));
    let mut samples: Vec<_> = slices.map(Some).collect();
    match challenge.kind {
        Kind::AVAILABILITY => Answer::of_payload(availability::echo(challenge)),
        Kind::LATENCY_ECHO => Answer::of_payload(latency::echo(challenge)),
        Kind::LATENCY_BLOCK => Answer { payload: latency::block_mac(challenge, &samples[0].as_ref().unwrap().chunk).to_vec(), samples },
        Kind::STORAGE => {
            if let Some((key, planned)) = challenge.compact_plan(claims()).into_iter().next() {
                return Answer::of_payload(fixture().compact(challenge, key, planned).encode());
            }
            samples[4].as_mut().unwrap().chunk[9] ^= 1;
            samples[6] = None;
            Answer { payload: vec![], samples }
        }
        Kind::LOCALITY => {
            let read =
                |sample: &Sample| Ok::<_, std::convert::Infallible>(Some(fixture().slice(sample.block * 124 + u64::from(sample.chunk))));
            Answer { payload: vec![], samples: locality::walk(challenge, read).unwrap() }
        }
        _ => Answer::of_payload(total(kept).to_payload()),
    }
}

fn signed(challenge: &Challenge, answer: &Answer) -> Option<secp::Signature65> {
    (challenge.kind == Kind::STORAGE).then(|| receipt_key().sign(&answer_signing_digest(challenge, &answer.digest())).unwrap())
}

fn transcript_of((challenge, kept): (Challenge, [u8; 32])) -> Transcript {
    let answer = answer(&challenge, &kept);
    let signature = signed(&challenge, &answer);
    let asked = Asked { challenge: &challenge, claims: Some(claims()), kept: Some(kept) };
    let outcome = transcript::judge(Kinds::standard(), &asked, &answer, signature.as_ref(), &receipt_key().address());
    let readings = match challenge.kind {
        Kind::AVAILABILITY => vec![Reading { at_us: 0, value: Some(900) }],
        Kind::INGRESS | Kind::EGRESS => (0..8).map(|at| Reading { at_us: at * 100_000, value: Some(at * 700) }).collect(),
        _ => vec![],
    };
    let (scheduled_at_us, slip_us, rtt_us) = (10, 1, Some(900));
    Transcript { challenge, strike: 0, scheduled_at_us, slip_us, rtt_us, readings, outcome, answer: Some(answer), signature }
}

/// A challenge that was asked in vain as often as it takes.
fn struck_out(challenge: Challenge) -> Vec<Transcript> {
    let ask = |strike| Transcript {
        challenge: challenge.clone(),
        strike,
        scheduled_at_us: 10,
        slip_us: 1,
        rtt_us: None,
        readings: vec![],
        outcome: Judged::Silent,
        answer: None,
        signature: None,
    };
    (0..setting().params.strikes).map(ask).collect()
}

/// One audit with two faults, one without an answer.
fn observed(oracle: OracleId) -> (VerifiedReveal, Commit) {
    let (setting, schedule) = (setting(), schedule(oracle));
    let slots = schedule.slots().iter().flat_map(|slot| slot.challenges().map(|(_, challenge)| challenge));
    let unanswered = slots.filter(|challenge| challenge.kind == Kind::STORAGE).last().unwrap();
    let transcripts = [vec![transcript_of(asked(oracle, Kind::STORAGE))], struck_out(unanswered.clone())].concat();
    let facts = transcript::facts_of(&transcripts, claims(), 4);
    let observation = transcript::summarise(setting, &setting.providers[0], oracle, &schedule, &transcripts, None, &facts);
    let reveal = Reveal {
        epoch: setting.epoch,
        oracle,
        seeds: slot_seeds(),
        observations: vec![SaltedObservation { observation, salt: Hash32([6; 32]) }],
        vrfs: vrfs(oracle),
        facts,
        struck: vec![unanswered],
    };
    let commit = Commit {
        epoch: setting.epoch,
        oracle,
        seeds: reveal.seeds.digest(),
        secure: true,
        root: reveal.root(),
        leaf_count: 1,
        log_head: Hash32::ZERO,
    };
    (reveal.verify(&commit, setting).unwrap(), commit)
}

// ---- the committee ----

/// What one epoch's close produces.
struct Closed {
    reveals: BTreeMap<OracleId, VerifiedReveal>,
    commits: BTreeMap<OracleId, Commit>,
    basis: Basis,
    outcome: Outcome,
    certificate: Certificate,
}

fn closed() -> Closed {
    let setting = setting();
    let (mut reveals, mut commits) = (BTreeMap::new(), BTreeMap::new());
    for oracle in (1..=ORACLES).map(OracleId) {
        let (reveal, commit) = observed(oracle);
        reveals.insert(oracle, reveal);
        commits.insert(oracle, commit);
    }
    let held: Vec<_> = commits.iter().map(|(oracle, commit)| (*oracle, commit.digest(&setting.instance))).collect();
    let signed_commit = |(oracle, commit): (&OracleId, &Commit)| SignedCommit {
        commit: *commit,
        signature: oracle_key(*oracle).sign(Domain::Commit, &commit.digest(&setting.instance)),
    };
    let vote = |oracle: &OracleId| {
        let vote = BitVote { epoch: setting.epoch, oracle: *oracle, held: held.clone() };
        let signature = oracle_key(*oracle).sign(Domain::BitVote, &vote.digest(&setting.instance));
        SignedBitVote { vote, signature }
    };
    let basis = Basis { commits: commits.iter().map(signed_commit).collect(), bit_votes: commits.keys().map(vote).collect() };
    let bit_votes_root = basis.bit_votes_root(&setting.instance);
    let outcome = Outcome::compute(&Inputs { setting, view: 0, parent: &Ledger::default(), bit_votes_root, reveals: &reveals });
    let message = signing_message(&setting.instance, setting.epoch, 0, &outcome.report.digest());
    let signatures = commits.keys().map(|oracle| (*oracle, oracle_key(*oracle).sign(Domain::Report, &message))).collect();
    let certificate = Certificate::assemble(setting, outcome.report.clone(), &signatures).unwrap();
    Closed { reveals, commits, basis, outcome, certificate }
}

fn statements() -> Vec<Message> {
    let (setting, closed, leader) = (setting(), closed(), OracleId(1));
    let digest = closed.outcome.report.digest();
    let signature = oracle_key(leader).sign(Domain::Report, &signing_message(&setting.instance, setting.epoch, 0, &digest));
    let wish = oracle_key(leader).sign(Domain::ViewWish, &wish_message(&setting.instance, setting.epoch, 1, leader));
    let (epoch, view) = (setting.epoch, 0);
    vec![
        Message::Commit(closed.basis.commits[0]),
        Message::Reveal(Box::new(closed.reveals[&leader].reveal.clone())),
        Message::BitVote(closed.basis.bit_votes[0].clone()),
        Message::Proposal(Box::new(Proposal { epoch, view, leader, basis: closed.basis.clone(), report_digest: digest, signature })),
        Message::Signature(ReportSignature { epoch, view, oracle: leader, digest, signature }),
        Message::Wish(Wish { epoch, view: 1, oracle: leader, signature: wish }),
        Message::Certificate(Box::new(closed.certificate)),
        Message::Misbehaviour(Box::new(Misbehaviour::Commits(Box::new([closed.basis.commits[0], closed.basis.commits[1]])))),
        Message::Misbehaviour(Box::new(Misbehaviour::FalseObservation(
            closed.basis.commits[0],
            Box::new(closed.reveals[&leader].reveal.clone()),
        ))),
    ]
}

/// One of each.
pub fn messages() -> Vec<Vec<u8>> {
    statements().iter().map(|message| message.encode().to_vec()).collect()
}

/// One of each, and the node's own.
pub fn log_entries() -> Vec<Vec<u8>> {
    let closed = closed();
    let own = LogEntry::Own(Box::new(closed.reveals[&OracleId(1)].reveal.clone()), closed.commits[&OracleId(1)]);
    statements().into_iter().map(LogEntry::Received).chain([own]).map(|entry| entry.encode().to_vec()).collect()
}

/// With facts and a challenge that struck out, and with nothing.
pub fn reveals() -> Vec<Vec<u8>> {
    let whole = observed(OracleId(1)).0.reveal;
    let bare = Reveal { facts: vec![], struck: vec![], observations: vec![], ..whole.clone() };
    [whole, bare].iter().map(|reveal| encode_reveal(reveal).to_vec()).collect()
}

/// With a witness of each sort.
pub fn observations() -> Vec<Vec<u8>> {
    let base = observed(OracleId(1)).0.reveal.observations.remove(0);
    [Witness::None, Witness::Silent(Hash32([7; 32])), Witness::Answered(Hash32([7; 32]))]
        .map(|witness| {
            let observation = Observation { witness, ..base.observation.clone() };
            oracle_wire::Observation::from(&SaltedObservation { observation, ..base }).encode_to_vec()
        })
        .to_vec()
}

/// One that verifies.
pub fn certificates() -> Vec<Vec<u8>> {
    vec![encode_certificate(&closed().certificate).to_vec()]
}

/// One with a slash.
pub fn outcomes() -> Vec<Vec<u8>> {
    vec![serde_json::to_vec(&closed().outcome).unwrap()]
}

// ---- oracle and provider ----

/// One of each kind.
pub fn challenge_requests() -> Vec<Vec<u8>> {
    kinds().map(|kind| wire::ChallengeRequest::from(&challenge(kind).0).encode_to_vec()).collect()
}

fn kinds() -> impl Iterator<Item = Kind> {
    Kinds::standard().iter().map(|plug| plug.kind())
}

/// One of each kind, and a missing block.
pub fn challenge_replies() -> Vec<Vec<u8>> {
    let replies = kinds().map(challenge).map(|(challenge, kept)| {
        let answer = answer(&challenge, &kept);
        let signature = signed(&challenge, &answer);
        wire::ChallengeReply::new(answer, signature.as_ref()).encode_to_vec()
    });
    let missing = Answer { payload: vec![], samples: vec![None] };
    replies.chain([wire::ChallengeReply::new(missing, None).encode_to_vec()]).collect()
}

/// 32 bytes kept, 8 of ramp, then readings of 17 bytes: a time, a flag, a value. A test that is steady, and one with slices of no account.
pub fn bandwidth_tests() -> Vec<Vec<u8>> {
    let (challenge, kept) = challenge(Kind::INGRESS);
    let test = transcript_of((challenge, kept));
    let encode = |readings: &[Reading]| {
        let mut bytes = [&kept[..], &300_000u64.to_le_bytes()].concat();
        for reading in readings {
            bytes.extend_from_slice(&reading.at_us.to_le_bytes());
            bytes.push(u8::from(reading.value.is_some()));
            bytes.extend_from_slice(&reading.value.unwrap_or(0).to_le_bytes());
        }
        bytes
    };
    let mut spoilt = test.readings.clone();
    spoilt[5].value = None;
    vec![encode(&test.readings), encode(&spoilt)]
}

/// With and without tags.
pub fn signed_claims() -> Vec<Vec<u8>> {
    let plain = claim(Hash32([1; 32]));
    let tagged = Claim { tag_key_id: Hash32([2; 32]), ..plain.clone() };
    [plain, tagged]
        .iter()
        .map(|claim| {
            wire::SignedClaim::new(claim, &receipt_key().sign(&super::domain().claim_digest(&claim.hash())).unwrap()).encode_to_vec()
        })
        .collect()
}

/// One that verifies.
pub fn signed_claim_sets() -> Vec<Vec<u8>> {
    let set = SignedClaimSet::sign(&super::domain(), 3, claims(), &receipt_key()).unwrap();
    vec![wire::SignedClaimSet::from(&set).encode_to_vec()]
}

/// A slot's transcripts with their seal.
pub fn bundles() -> Vec<Vec<u8>> {
    let asked: Vec<_> = kinds().map(challenge).map(transcript_of).collect();
    let transcripts = [asked, struck_out(challenge(Kind::STORAGE).0)].concat();
    let answers: Vec<_> = transcripts.iter().filter_map(Transcript::unsigned_answer).collect();
    let (instance, epoch, count) = (setting().instance, setting().epoch, answers.len() as u64);
    let answers_root = transcript::answers_root(&answers);
    let digest = seal_digest(&instance, PROVIDER, OracleId(1), epoch, SLOT, count, &answers_root);
    let signature = receipt_key().sign(&digest).unwrap();
    let seal = SlotSeal { instance, provider: PROVIDER, oracle: OracleId(1), epoch, slot: SLOT, count, answers_root, signature };
    vec![encode_bundle(&transcripts, &[seal]), encode_bundle(&transcripts[..1], &[]), vec![]]
}

/// First, middle and last chunk.
pub fn slices() -> Vec<Vec<u8>> {
    let chunks = data().len() as u64 / CHUNK_BYTES;
    [0, 15, 16, chunks / 2, chunks - 1]
        .into_iter()
        .map(|index| {
            let slice = fixture().slice(index);
            let length = slice.chunk.len() as u64;
            [&index.to_le_bytes()[..], &length.to_le_bytes(), &slice.chunk, slice.siblings.as_flattened()].concat()
        })
        .collect()
}

/// A header with what follows it.
pub fn replica_headers() -> Vec<Vec<u8>> {
    let header = Header { object_length: OBJECT_BYTES, object_id: Hash32([3; 32]), replica_index: 1 };
    vec![header.encode().to_vec(), [&header.encode()[..], b"data"].concat()]
}

// ---- between oracles ----

/// When the certificates of [`tls_certificates`] are looked at.
pub const NOW_S: u64 = 1_800_000_000;

/// Of the node that verifies.
pub fn terms() -> Terms {
    Terms { instance: setting().instance, params_hash: setting().params.hash(), oracle: OracleId(4) }
}

/// The committee, as those who may connect.
pub fn members() -> Members {
    Members::fixed(setting().members.iter().map(|member| (member.oracle, member.key)))
}

/// Of two members, and of one that runs other parameters.
pub fn tls_certificates() -> Vec<Vec<u8>> {
    static ISSUED: OnceLock<Vec<Vec<u8>>> = OnceLock::new();
    let of = |oracle: OracleId, params_hash: Hash32| {
        let terms = Terms { oracle, params_hash, ..terms() };
        tls::certificate(&terms, &oracle_key(oracle), NOW_S + 3_600, &[oracle.0 as u8; 32]).unwrap()
    };
    let (first, second, params) = (OracleId(1), OracleId(2), terms().params_hash);
    ISSUED.get_or_init(|| vec![of(first, params), of(second, params), of(first, Hash32([9; 32]))]).clone()
}

// ---- cryptography ----

/// Keys, signatures and scalars in every form.
pub fn points() -> Vec<Vec<u8>> {
    let (secret, digest) = (key(1), Hash32([1; 32]));
    let (public, signature) = (secret.public_key(), secret.sign(Domain::Report, &digest));
    vec![
        public.to_compressed().to_vec(),
        public.to_eip2537().to_vec(),
        signature.to_compressed().to_vec(),
        signature.to_eip2537().to_vec(),
        receipt_key().sign(&digest).unwrap().0.to_vec(),
        secret.to_bytes().to_vec(),
    ]
}

/// A payload with one proof, and the parts of compact proofs by themselves.
pub fn compact_parts() -> Vec<Vec<u8>> {
    let mut audits = (0..).map(|index| Challenge { index, ..challenge(Kind::STORAGE).0 });
    let (audit, plan) = audits.find_map(|audit| Some((audit.clone(), audit.compact_plan(claims()).into_iter().next()?))).unwrap();
    let compact = fixture().compact(&audit, plan.0, plan.1);
    let proof = compact.groups[0].proof.to_vec();
    vec![compact.encode(), proof, tag_secret().key().to_bytes().to_vec(), fixture().tags[..48].to_vec()]
}

/// Two rounds.
pub fn beacon_rounds() -> Vec<Vec<u8>> {
    [1u64, 1_000].map(|number| [&number.to_le_bytes()[..], &beacon::sign(beacon_key(), number).to_compressed()].concat()).to_vec()
}

// ---- text ----

/// The config that pins [`beacon`]'s chain, and the chain.
pub fn beacon_config() -> &'static (BeaconConfig, ChainInfo) {
    static CONFIG: OnceLock<(BeaconConfig, ChainInfo)> = OnceLock::new();
    CONFIG.get_or_init(|| (relay().config(vec![]), beacon().clone()))
}

fn relay() -> Beacon {
    Beacon::new(BeaconKey::from_seed(&[77; 32]).unwrap(), beacon().genesis_s, beacon().period_s)
}

/// An `/info` and two rounds.
pub fn beacon_answers() -> Vec<Vec<u8>> {
    [relay().info_json(), relay().round_json(1), relay().round_json(1_000)].map(|answer| answer.to_string().into_bytes()).to_vec()
}

/// Runs what needs a runtime.
pub fn runtime() -> &'static tokio::runtime::Runtime {
    static RUNTIME: OnceLock<tokio::runtime::Runtime> = OnceLock::new();
    RUNTIME.get_or_init(|| tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap())
}

/// An empty signing record of oracle 1, and the directory that it lies in.
pub async fn empty_record() -> (TempDir, Protection) {
    static EMPTY: tokio::sync::OnceCell<Vec<u8>> = tokio::sync::OnceCell::const_new();
    // Where syncing costs nothing, if there is such a place.
    let directory = tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).unwrap();
    let (path, key) = (directory.path().join("record"), key(1).public_key());
    let instance = setting().instance;
    let made = async || {
        Protection::create(&path, &key, &instance).await.unwrap();
        std::fs::read(&path).unwrap()
    };
    std::fs::write(&path, EMPTY.get_or_init(made).await).unwrap();
    let record = Protection::open(&path, &key, &instance).await.unwrap();
    (directory, record)
}

/// Records with and without statements, pruned and contradicted ones.
pub fn protection_exports() -> Vec<Vec<u8>> {
    let statement = |kind: &str, epoch: u64, digest: Option<Hash32>| json!({ "kind": kind, "epoch": epoch, "view": 0, "digest": digest });
    let export = |pruned: Option<u64>, statements: Vec<serde_json::Value>| {
        let (key, instance) = (format!("{:?}", key(1).public_key()), setting().instance);
        let (chain, settlement) = (instance.chain_id, instance.settlement);
        json!({
            "version": 1, "publicKey": key, "chainId": chain, "settlement": settlement, "prunedThrough": pruned, "statements": statements,
        })
    };
    let some = Some(Hash32([1; 32]));
    let all =
        vec![statement("commit", 4, some), statement("bit_vote", 4, some), statement("report", 5, None), statement("report", 6, some)];
    [export(None, vec![]), export(Some(3), all.clone()), export(None, all)].map(|record| record.to_string().into_bytes()).to_vec()
}

/// A name, an IPv4 and an IPv6 address.
pub fn endpoints() -> Vec<Vec<u8>> {
    ["http://provider.example:9300", "http://127.0.0.1:9300/", "http://[::1]:9300"].map(|text| text.as_bytes().to_vec()).to_vec()
}

/// EIP-2335 and Web3, both with hardly any work.
pub fn keystores() -> Vec<Vec<u8>> {
    [include_str!("bls_keystore.json"), include_str!("secp_keystore.json")].map(|text| text.as_bytes().to_vec()).to_vec()
}

/// An oracle's, a provider's, a beacon table alone.
pub fn configs() -> Vec<Vec<u8>> {
    [include_str!("oracle.toml"), include_str!("provider.toml"), include_str!("beacon.toml")].map(|text| text.as_bytes().to_vec()).to_vec()
}
