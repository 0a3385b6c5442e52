mod compact;
mod locality;

use super::*;
use crate::bls;
use crate::challenge::kinds::storage::Storage;
use crate::challenge::kinds::{availability, latency};
use crate::challenge::schedule::PairSecret;
use crate::challenge::{Kind, STORAGE_SAMPLES};
use crate::claim::{Claim, ClaimProof, ClaimSet};
use crate::compact::{Name, TagKey, TagSecret};
use crate::epoch::tests as committee;
use crate::observation::{Counts, Evidence, Fact, FactError, Fault, Observation, PlacedClaim, ProviderKeys, Witness};
use crate::replica::{BLOCK_BYTES, blocks_for};
use crate::report::{ProviderTerms, Setting};
use crate::slice::{self, Node, OutboardBuilder, Slice};

const SLOT: usize = 2;
const ORACLE: OracleId = OracleId(3);
const PROVIDER: ProviderId = ProviderId(9);

/// Bytes of a replica and everything needed to prove its chunks.
struct Replica {
    claim: Claim,
    bytes: Vec<u8>,
    nodes: Vec<Node>,
    /// Without any when the claim names no tag key.
    tags: Vec<u8>,
}

impl Replica {
    fn new(seed: u8, object_length: u64) -> Self {
        let blocks = blocks_for(object_length);
        let mut bytes = vec![0; blocks as usize * BLOCK_BYTES];
        blake3::Hasher::new().update(&[seed]).finalize_xof().fill(&mut bytes);
        let (mut builder, mut nodes) = (OutboardBuilder::new(bytes.len() as u64), vec![]);
        builder.update(&bytes, &mut nodes).unwrap();
        let claim = Claim {
            object_id: Hash32([seed; 32]),
            replica_index: 0,
            root: builder.finish().unwrap(),
            object_length,
            blocks,
            tag_key_id: Hash32::ZERO,
            owner: Address([seed; 20]),
        };
        Self { claim, bytes, nodes, tags: Vec::new() }
    }

    fn tagged(mut self, secret: &TagSecret) -> Self {
        self.claim.tag_key_id = secret.key().id();
        let evaluations: Vec<_> = self.bytes.chunks(BLOCK_BYTES).map(|block| secret.evaluate(block).unwrap()).collect();
        self.tags = secret.tags(&Name::of(&self.claim, PROVIDER), 0, &evaluations);
        self
    }

    fn slice(&self, chunk: u64) -> Slice {
        let total = self.bytes.len() as u64;
        let (start, length) = slice::group_range(total, chunk);
        let group = &self.bytes[start as usize..(start + length) as usize];
        let node = |position| self.nodes.iter().find(|node| node.position == position).map(|node| node.pair);
        slice::prove(&self.claim.root, total, chunk, group, node).unwrap()
    }
}

/// An honest provider: three replicas of different sizes, a receipt key, and an epoch in which it is measured.
struct World {
    replicas: Vec<Replica>,
    claims: ClaimSet,
    key: secp::SecretKey,
    setting: Setting,
    terms: ProviderTerms,
    schedule: PairSchedule,
}

impl World {
    fn new() -> Self {
        Self::of(vec![Replica::new(1, 100_000), Replica::new(2, 300_000), Replica::new(3, 10)], vec![])
    }

    fn of(replicas: Vec<Replica>, keys: Vec<TagKey>) -> Self {
        let claims = ClaimSet::new(replicas.iter().map(|replica| replica.claim.clone()).collect()).unwrap();
        let claims = claims.with_tag_keys(keys).unwrap();
        let key = secp::SecretKey::from_bytes(&[5; 32]).unwrap();
        let mut setting = committee::setting(4, PROVIDER.0);
        setting.epoch = 4;
        setting.params.probing.storage_audits_per_slot = 2;
        setting.params.probing.latency_mean_ms = 50;
        let terms = setting.providers.last_mut().unwrap();
        terms.keys = ProviderKeys { receipt_key: key.address(), class_id: 100, claims: claims.root() };
        let terms = *terms;
        let schedule = committee::schedule(&setting, &terms, ORACLE.0);
        Self { replicas, claims, key, setting, terms, schedule }
    }

    /// What the oracle asks in a setting that differs from the world's.
    fn schedule_in(&self, change: impl FnOnce(&mut Setting, &mut ProviderTerms)) -> (Setting, PairSchedule) {
        let (mut setting, mut terms) = (self.setting.clone(), self.terms);
        change(&mut setting, &mut terms);
        *setting.providers.last_mut().unwrap() = terms;
        let schedule = committee::schedule(&setting, &terms, ORACLE.0);
        (setting, schedule)
    }

    fn vrf(&self) -> bls::Signature {
        committee::vrfs(&self.setting, ORACLE.0)[SLOT]
    }

    fn keys(&self) -> ProviderKeys {
        self.terms.keys
    }

    fn challenge(&self, kind: Kind) -> Challenge {
        self.challenges(kind).remove(0)
    }

    /// Of one slot, in order of time.
    fn challenges(&self, kind: Kind) -> Vec<Challenge> {
        let challenges = self.schedule.slots()[SLOT].challenges();
        challenges.map(|(_, challenge)| challenge).filter(|challenge| challenge.kind == kind).collect()
    }

    /// Of the whole epoch.
    fn all_challenges(&self, kind: Kind) -> Vec<Challenge> {
        let challenges = self.schedule.slots().iter().flat_map(SlotSchedule::challenges);
        challenges.map(|(_, challenge)| challenge).filter(|challenge| challenge.kind == kind).collect()
    }

    fn slices(&self, challenge: &Challenge) -> Vec<Option<Slice>> {
        let samples = challenge.samples().into_iter();
        samples
            .map(|sample| {
                let (claim, block) = self.claims.locate(sample.block).unwrap();
                let replica = self.replicas.iter().find(|replica| replica.claim == *claim).unwrap();
                Some(replica.slice(block * 124 + u64::from(sample.chunk)))
            })
            .collect()
    }

    fn sign(&self, challenge: &Challenge, answer: &Answer) -> Signature65 {
        self.key.sign(&challenge::answer_signing_digest(challenge, &answer.digest())).unwrap()
    }

    fn judge(&self, challenge: &Challenge, answer: &Answer, signature: Option<&Signature65>) -> Outcome {
        self.judge_with(Some(&self.claims), challenge, answer, signature)
    }

    fn judge_with(&self, claims: Option<&ClaimSet>, challenge: &Challenge, answer: &Answer, signature: Option<&Signature65>) -> Outcome {
        let asked = Asked { challenge, claims, kept: None };
        judge(self.setting.kinds, &asked, answer, signature, &self.key.address())
    }

    /// A storage answer as a provider would sign it after `change`, judged.
    fn audited(&self, challenge: Challenge, change: impl FnOnce(&mut Vec<Option<Slice>>)) -> Transcript {
        let mut samples = self.slices(&challenge);
        change(&mut samples);
        let answer = Answer { payload: vec![], samples };
        let signature = self.sign(&challenge, &answer);
        let outcome = self.judge(&challenge, &answer, Some(&signature));
        transcript(challenge, outcome, Some(answer), Some(signature), Some(5_000))
    }

    fn verify(&self, fact: &Fact) -> Result<Fault, FactError> {
        fact.verify(&self.setting, &self.schedule, &self.keys())
    }

    fn place_of(&self, block: u64) -> PlacedClaim {
        let (claim, _) = self.claims.locate(block).unwrap();
        PlacedClaim { claim: claim.clone(), proof: self.claims.proof(self.claims.index_of_block(block)).unwrap() }
    }

    /// A fact that proves an invalid sample.
    fn invalid_fact(&self) -> Fact {
        let transcript = self.audited(self.challenge(Kind::STORAGE), |slices| slices[4].as_mut().unwrap().chunk[10] ^= 1);
        facts_of(&[transcript], &self.claims, 4).remove(0)
    }

    fn summarise(&self, transcripts: &[Transcript], watched: Option<&Challenge>) -> Observation {
        summarise(&self.setting, &self.terms, ORACLE, &self.schedule, transcripts, watched, &[])
    }
}

fn place_in(fact: &mut Fact) -> &mut PlacedClaim {
    match &mut fact.evidence {
        Evidence::Slice { place, .. } => place,
        other => panic!("no slice: {other:?}"),
    }
}

fn transcript(
    challenge: Challenge,
    outcome: Outcome,
    answer: Option<Answer>,
    signature: Option<Signature65>,
    rtt_us: Option<u64>,
) -> Transcript {
    Transcript { challenge, strike: 0, scheduled_at_us: 10, slip_us: 1, rtt_us, readings: vec![], outcome, answer, signature }
}

fn valid(samples: u32) -> Outcome {
    Outcome::Checked(Checked { valid: samples, invalid: vec![], missing: vec![] })
}

fn silent(challenge: &Challenge, strike: u32) -> Transcript {
    Transcript { strike, ..transcript(challenge.clone(), Outcome::Silent, None, None, None) }
}

fn missing() -> Outcome {
    Outcome::Checked(Checked { valid: 0, invalid: vec![], missing: vec![0] })
}

// ---- judging ----

#[test]
fn honest_answers_are_answered() {
    let world = World::new();
    let challenge = world.challenge(Kind::AVAILABILITY);
    assert_eq!(world.judge(&challenge, &Answer::of_payload(availability::echo(&challenge)), None), valid(1));
    let challenge = world.challenge(Kind::LATENCY_ECHO);
    assert_eq!(world.judge(&challenge, &Answer::of_payload(latency::echo(&challenge)), None), valid(1));
    let challenge = world.challenge(Kind::LATENCY_BLOCK);
    let samples = world.slices(&challenge);
    let payload = latency::block_mac(&challenge, &samples[0].as_ref().unwrap().chunk).to_vec();
    assert_eq!(world.judge(&challenge, &Answer { payload, samples }, None), valid(1));
    assert_eq!(world.audited(world.challenge(Kind::STORAGE), |_| ()).outcome, valid(30));
}

#[test]
fn an_echo_for_another_challenge_is_invalid() {
    let world = World::new();
    let challenges = world.challenges(Kind::LATENCY_ECHO);
    let answer = Answer::of_payload(latency::echo(&challenges[1]));
    assert_eq!(world.judge(&challenges[0], &answer, None).fate(), Fate::Invalid);
    let of_availability = Answer::of_payload(availability::echo(&challenges[0]));
    assert_eq!(world.judge(&challenges[0], &of_availability, None).fate(), Fate::Invalid, "echoes of two kinds differ");
}

// Defence: the keyed hash in `Latency::verify`. Without it a proxy that holds the paths but not the data answers in the data's stead.
#[test]
fn a_block_without_its_keyed_hash_is_invalid() {
    let world = World::new();
    let challenge = world.challenge(Kind::LATENCY_BLOCK);
    let samples = world.slices(&challenge);
    let other = world.challenges(Kind::LATENCY_BLOCK).remove(1);
    let chunk = &samples[0].as_ref().unwrap().chunk;
    for payload in [vec![], vec![0; 32], latency::block_mac(&other, chunk).to_vec()] {
        let answer = Answer { payload, samples: samples.clone() };
        assert_eq!(world.judge(&challenge, &answer, None).fate(), Fate::Invalid);
    }
    let stated_missing = Answer { payload: vec![], samples: vec![None] };
    assert_eq!(world.judge(&challenge, &stated_missing, None).fate(), Fate::Missing);
}

// Defence: `is_signed` in `judge`; without it this turns red.
#[test]
fn a_strangers_signature_is_silence() {
    let world = World::new();
    let challenge = world.challenge(Kind::STORAGE);
    let answer = Answer { payload: vec![], samples: vec![None; STORAGE_SAMPLES as usize] };
    let stranger = secp::SecretKey::from_bytes(&[6; 32]).unwrap();
    let signature = stranger.sign(&challenge::answer_signing_digest(&challenge, &answer.digest())).unwrap();
    assert_eq!(world.judge(&challenge, &answer, Some(&signature)), Outcome::Silent);
    assert_eq!(world.judge(&challenge, &answer, None), Outcome::Silent);
}

// Defence: `Slice::fits` in `check_samples`. Without it an answer that no peer can read becomes a fact, and the honest reveal that carries it is
// refused by everybody.
#[test]
fn a_shorter_slice_is_a_fact_and_one_too_large_to_pass_on_is_silence() {
    let world = World::new();
    let large = world.audited(world.challenge(Kind::STORAGE), |slices| re_split(slices[1].as_mut().unwrap()));
    assert_eq!(large.outcome, Outcome::Silent);
    let deep = world.audited(world.challenge(Kind::STORAGE), |slices| slices[1].as_mut().unwrap().siblings = vec![[1; 32]; 55]);
    assert_eq!(deep.outcome, Outcome::Silent);
    let short = world.audited(world.challenge(Kind::STORAGE), |slices| slices[0].as_mut().unwrap().chunk.truncate(1_023));
    assert_eq!(short.outcome, Outcome::Checked(Checked { valid: 29, invalid: vec![0], missing: vec![] }));
    for fact in facts_of(&[short], &world.claims, 4) {
        assert_eq!(world.verify(&fact), Ok(Fault::StorageInvalid));
    }
}

#[test]
fn answers_without_the_form_of_one_are_silence() {
    let world = World::new();
    let challenge = world.challenge(Kind::STORAGE);
    let of_samples = |count| Answer { payload: vec![], samples: vec![None; count] };
    for answer in
        [Answer::of_payload([0; 32]), Answer { payload: vec![1], ..of_samples(30) }, of_samples(29), of_samples(31), of_samples(0)]
    {
        let signature = world.sign(&challenge, &answer);
        assert_eq!(world.judge(&challenge, &answer, Some(&signature)), Outcome::Silent);
    }
    for kind in [Kind::AVAILABILITY, Kind::LATENCY_ECHO] {
        assert_eq!(world.judge(&world.challenge(kind), &of_samples(1), None), Outcome::Silent);
    }
    let unknown = Challenge { kind: Kind(99), ..world.challenge(Kind::LATENCY_ECHO) };
    assert_eq!(world.judge(&unknown, &Answer::of_payload(latency::echo(&unknown)), None), Outcome::Silent);
}

// Defence: the comparison with `STORAGE_SAMPLES` in `Storage::verify`. Without it an audit of fewer samples than the kind's counts in full.
#[test]
fn a_storage_challenge_for_fewer_chunks_is_none() {
    let world = World::new();
    let challenge = Challenge { chunks: 1, ..world.challenge(Kind::STORAGE) };
    assert_eq!(world.audited(challenge, |_| ()).outcome, Outcome::Silent);
}

#[test]
fn without_the_claims_stored_chunks_cannot_be_checked() {
    let world = World::new();
    let challenge = world.challenge(Kind::STORAGE);
    let answer = Answer { payload: vec![], samples: world.slices(&challenge) };
    let signature = world.sign(&challenge, &answer);
    assert_eq!(world.judge_with(None, &challenge, &answer, Some(&signature)), Outcome::Silent);
    let others = ClaimSet::new(vec![world.replicas[0].claim.clone()]).unwrap();
    assert_eq!(world.judge_with(Some(&others), &challenge, &answer, Some(&signature)), Outcome::Silent);
    let echo = world.challenge(Kind::LATENCY_ECHO);
    assert_eq!(world.judge_with(None, &echo, &Answer::of_payload(latency::echo(&echo)), None), valid(1));
}

// ---- digests ----

#[test]
fn the_digest_binds_every_field() {
    let world = World::new();
    let mut base = world.audited(world.challenge(Kind::STORAGE), |slices| slices[0] = None);
    base.readings = vec![Reading { at_us: 0, value: None }];
    let changes: Vec<fn(&mut Transcript)> = vec![
        |t| t.challenge.index += 1,
        |t| t.scheduled_at_us += 1,
        |t| t.slip_us += 1,
        |t| t.rtt_us = None,
        |t| t.rtt_us = Some(0),
        |t| t.strike = 1,
        |t| t.readings.clear(),
        |t| t.readings[0].value = Some(0),
        |t| t.readings[0].at_us = 1,
        |t| t.outcome = Outcome::Silent,
        |t| t.outcome = Outcome::OracleError(OracleFault::Stall),
        |t| t.outcome = Outcome::OracleError(OracleFault::SendSlip),
        |t| t.outcome = Outcome::Checked(Checked { valid: 29, invalid: vec![0], missing: vec![] }),
        |t| t.outcome = Outcome::Checked(Checked { valid: 28, invalid: vec![], missing: vec![0] }),
        |t| t.answer = None,
        |t| t.answer = Some(Answer::default()),
        |t| t.answer = Some(Answer { payload: vec![], samples: vec![None] }),
        |t| t.answer = Some(Answer::of_payload([0; 32])),
        |t| t.signature = None,
        |t| t.signature = Some(Signature65([1; 65])),
        |t| t.answer.as_mut().unwrap().payload.push(0),
        |t| re_split(t.answer.as_mut().unwrap().samples[1].as_mut().unwrap()),
    ];
    let mut digests = vec![base.digest()];
    for change in changes {
        let mut changed = base.clone();
        change(&mut changed);
        digests.push(changed.digest());
    }
    let count = digests.len();
    digests.sort_unstable();
    digests.dedup();
    assert_eq!(digests.len(), count);
}

#[test]
fn the_evidence_root_is_a_set() {
    let digests = [Hash32([1; 32]), Hash32([2; 32]), Hash32([3; 32])];
    let reversed = digests.into_iter().rev();
    assert_eq!(evidence_root(digests), evidence_root(reversed));
    assert_ne!(evidence_root(digests), evidence_root([digests[0], digests[1]]));
    assert_eq!(evidence_root([]), Hash32::ZERO);
}

// ---- summaries ----

/// Transcripts of the first scheduled challenges of a kind, one for each outcome.
fn of_kind(world: &World, kind: Kind, outcomes: &[(Outcome, Option<u64>)]) -> Vec<Transcript> {
    let challenges = world.all_challenges(kind);
    assert!(challenges.len() >= outcomes.len(), "only {} are scheduled", challenges.len());
    let pairs = challenges.into_iter().zip(outcomes);
    pairs.map(|(challenge, (outcome, rtt_us))| transcript(challenge, outcome.clone(), None, None, *rtt_us)).collect()
}

fn counts_of(world: &World, kind: Kind, transcripts: &[Transcript]) -> Counts {
    world.summarise(transcripts, None).of(kind).unwrap().clone()
}

#[test]
fn timeouts_and_bad_answers_miss_every_threshold_and_own_errors_none() {
    let world = World::new();
    let ms = 1_000;
    let outcomes = [
        (valid(1), Some(10 * ms)),
        (valid(1), Some(100 * ms)),
        (valid(1), Some(150 * ms)),
        (valid(1), Some(250 * ms)),
        (Outcome::Silent, None),
        (missing(), Some(5 * ms)),
        (Outcome::OracleError(OracleFault::Stall), None),
    ];
    for kind in [Kind::LATENCY_ECHO, Kind::LATENCY_BLOCK] {
        let counts = counts_of(&world, kind, &of_kind(&world, kind, &outcomes));
        assert_eq!((counts.scheduled, counts.counted), (world.all_challenges(kind).len() as u64, 6));
        assert_eq!(counts.bad, [4, 3, 0], "a threshold of zero is off");
        assert_eq!(counts.readings, [100 * ms, 250 * ms]);
    }
}

#[test]
fn quantiles_are_of_the_nearest_rank() {
    let world = World::new();
    for (n, p50, p95) in [(0, 0, 0), (1, 1, 1), (2, 1, 2), (20, 10, 19), (21, 11, 20), (100, 50, 95)] {
        let outcomes: Vec<_> = (1..=n).rev().map(|rtt| (valid(1), Some(rtt))).collect();
        let counts = counts_of(&world, Kind::LATENCY_ECHO, &of_kind(&world, Kind::LATENCY_ECHO, &outcomes));
        assert_eq!(counts.readings, [p50, p95], "{n}");
    }
}

#[test]
fn availability_is_bad_when_no_attempt_was_answered_well() {
    let world = World::new();
    let wrong = Outcome::Checked(Checked { valid: 0, invalid: vec![0], missing: vec![] });
    let outcomes = [(valid(1), Some(1)), (Outcome::Silent, None), (wrong, Some(1)), (Outcome::OracleError(OracleFault::SendSlip), None)];
    let counts = counts_of(&world, Kind::AVAILABILITY, &of_kind(&world, Kind::AVAILABILITY, &outcomes));
    assert_eq!((counts.counted, counts.bad), (3, vec![2]));
    assert_eq!(counts.scheduled, world.all_challenges(Kind::AVAILABILITY).len() as u64);
}

#[test]
fn storage_counts_samples_and_a_silent_audit_has_silent_ones_only() {
    let world = World::new();
    let audits = world.challenges(Kind::STORAGE);
    let transcripts = [
        world.audited(audits[0].clone(), |slices| {
            slices[0] = None;
            slices[1].as_mut().unwrap().siblings[0][0] ^= 1;
        }),
        silent(&audits[1], 0),
        transcript(world.all_challenges(Kind::STORAGE).remove(0), Outcome::OracleError(OracleFault::Stall), None, None, None),
    ];
    let counts = counts_of(&world, Kind::STORAGE, &transcripts);
    assert_eq!((counts.scheduled, counts.counted), (5 * 2 * 30, 60));
    assert_eq!(counts.bad, [1, 1, 30], "invalid, missing, silent");
}

// Defence: the filters at the head of `summarise`; without them this turns red.
#[test]
fn foreign_and_repeated_transcripts_do_not_count() {
    let world = World::new();
    let mut transcripts = of_kind(&world, Kind::LATENCY_ECHO, &[(valid(1), Some(1))]);
    let own = transcripts[0].clone();
    let clean = world.summarise(&transcripts, None);
    assert_eq!(clean.of(Kind::LATENCY_ECHO).unwrap().counted, 1);
    let changes: [fn(&mut Challenge); 7] = [
        |c| c.epoch += 1,
        |c| c.provider = ProviderId(1),
        |c| c.oracle = OracleId(1),
        |c| c.slot = 99,
        |c| c.index = 1_000_000,
        |c| c.child[0] ^= 1,
        |_| (),
    ];
    for change in changes {
        let mut foreign = own.clone();
        change(&mut foreign.challenge);
        transcripts.push(foreign);
    }
    assert_eq!(world.summarise(&transcripts, None), clean);
}

// Defence: `strike == 0` in `summarise`. Without it a late answer to an open challenge hides that it was silent when asked.
#[test]
fn a_later_ask_changes_the_strikes_but_not_the_counts() {
    let world = World::new();
    let audit = world.challenge(Kind::STORAGE);
    let late = Transcript { strike: 1, ..world.audited(audit.clone(), |_| ()) };
    let alone = counts_of(&world, Kind::STORAGE, &[silent(&audit, 0)]);
    assert_eq!(counts_of(&world, Kind::STORAGE, &[silent(&audit, 0), late]), alone);
    assert_eq!((alone.counted, alone.bad_on(Storage::SILENT)), (30, 30));
}

// Defence: `needs_claims` in `SlotSchedule::asked`. Without it a provider that claims nothing is asked for chunks of nothing.
#[test]
fn of_a_provider_without_claims_nothing_stored_is_asked() {
    let world = World::new();
    let (_, without) = world.schedule_in(|_, terms| terms.keys.claims = crate::claim::ClaimRoot { hash: Hash32::ZERO, blocks: 0 });
    for kind in [Kind::STORAGE, Kind::LATENCY_BLOCK, Kind::EGRESS] {
        assert!(world.schedule.scheduled(kind) > 0);
        assert_eq!(without.scheduled(kind), 0, "{kind:?}");
    }
    for kind in [Kind::AVAILABILITY, Kind::LATENCY_ECHO, Kind::INGRESS] {
        assert!(without.scheduled(kind) > 0);
        assert_eq!(without.scheduled(kind), world.schedule.scheduled(kind), "{kind:?}");
    }
}

// ---- silence ----

#[test]
fn a_challenge_strikes_out_after_enough_asks_and_no_answer() {
    let world = World::new();
    let strikes = world.setting.params.strikes;
    let audit = world.challenge(Kind::STORAGE);
    let asks = |count: u32| (0..count).map(|strike| silent(&audit, strike)).collect::<Vec<_>>();
    let struck = |transcripts: &[Transcript]| world.summarise(transcripts, None).struck;
    assert_eq!(struck(&asks(strikes)), audit.digest());
    assert_eq!(struck(&asks(strikes + 2)), audit.digest());
    assert_eq!(struck(&asks(strikes - 1)), Hash32::ZERO, "too few asks");
    let mut own_error = asks(strikes);
    own_error[1].outcome = Outcome::OracleError(OracleFault::Congested);
    assert_eq!(struck(&own_error), Hash32::ZERO, "the oracle's own error is no strike");
    let repeated = vec![silent(&audit, 0); strikes as usize];
    assert_eq!(struck(&repeated), Hash32::ZERO, "one ask repeated is one ask");
}

// Defence: `!answered` in `is_struck_out`. Without it a provider that answers late goes on the watch list all the same.
#[test]
fn an_answer_at_any_strike_clears_the_silence_whatever_it_is_worth() {
    let world = World::new();
    let audit = world.challenge(Kind::STORAGE);
    let changes: [fn(&mut Vec<Option<Slice>>); 3] = [|_| (), |slices| slices[0] = None, |slices| slices[0].as_mut().unwrap().chunk[0] ^= 1];
    for change in changes {
        let mut transcripts: Vec<_> = (0..3).map(|strike| silent(&audit, strike)).collect();
        transcripts.push(Transcript { strike: 3, ..world.audited(audit.clone(), change) });
        assert_eq!(world.summarise(&transcripts, None).struck, Hash32::ZERO);
    }
}

#[test]
fn of_several_that_struck_out_the_smallest_digest_is_named_and_no_other_kind_strikes_out() {
    let world = World::new();
    let audits = world.all_challenges(Kind::STORAGE);
    let asks = |challenge: &Challenge| (0..3).map(|strike| silent(challenge, strike)).collect::<Vec<_>>();
    let transcripts: Vec<_> = audits.iter().flat_map(asks).collect();
    let smallest = audits.iter().map(Challenge::digest).min().unwrap();
    assert_eq!(world.summarise(&transcripts, None).struck, smallest);
    let echoes = asks(&world.challenge(Kind::LATENCY_ECHO));
    assert_eq!(world.summarise(&echoes, None).struck, Hash32::ZERO);
}

// Defence: the watched challenge is kept apart in `summarise`. Without it an older challenge is counted as one of this epoch's audits.
#[test]
fn the_watched_challenge_is_witnessed_and_counted_nowhere() {
    let world = World::new();
    let watched = Challenge { epoch: 2, oracle: OracleId(1), ..world.challenge(Kind::STORAGE) };
    let asks = |count: u32| (0..count).map(|strike| silent(&watched, strike)).collect::<Vec<_>>();
    let witness = |transcripts: &[Transcript]| {
        let observation = world.summarise(transcripts, Some(&watched));
        assert_eq!(observation.of(Kind::STORAGE).unwrap().counted, 0);
        assert_eq!(observation.struck, Hash32::ZERO, "it is on the list already");
        observation.witness
    };
    assert_eq!(witness(&[]), Witness::None);
    assert_eq!(witness(&asks(2)), Witness::None, "asked too seldom to say");
    assert_eq!(witness(&asks(3)), Witness::Silent(watched.digest()));
    let mut answered = asks(3);
    answered.push(Transcript { strike: 3, ..world.audited(watched.clone(), |slices| slices[0] = None) });
    assert_eq!(witness(&answered), Witness::Answered(watched.digest()));
    assert_eq!(world.summarise(&asks(3), None).witness, Witness::None, "nobody watches it");
    let (with, without) = (world.summarise(&asks(3), Some(&watched)), world.summarise(&[], Some(&watched)));
    assert_ne!(with.evidence_root, without.evidence_root, "its transcripts are evidence");
}

// ---- facts ----

#[test]
fn every_fact_verifies_and_invalid_comes_before_missing() {
    let world = World::new();
    let audits = world.challenges(Kind::STORAGE);
    let transcripts = [
        world.audited(audits[0].clone(), |slices| {
            slices[2] = None;
            slices[7] = None;
            slices[9].as_mut().unwrap().chunk[0] ^= 1;
        }),
        world.audited(audits[1].clone(), |slices| slices[3].as_mut().unwrap().siblings.clear()),
    ];
    let facts = facts_of(&transcripts, &world.claims, 4);
    let faults: Vec<_> = facts.iter().map(|fact| world.verify(fact).unwrap()).collect();
    assert_eq!(faults, [Fault::StorageInvalid, Fault::StorageInvalid, Fault::StorageMissing, Fault::StorageMissing]);
    assert!(facts[0].digest() < facts[1].digest() && facts[2].digest() < facts[3].digest());

    let (reversed, twice) = ([&transcripts[1], &transcripts[0]], [&transcripts[0], &transcripts[1], &transcripts[0]]);
    assert_eq!(facts_of(&reversed.map(Clone::clone), &world.claims, 4), facts);
    assert_eq!(facts_of(&twice.map(Clone::clone), &world.claims, 9), facts);
    assert_eq!(facts_of(&transcripts, &world.claims, 2), facts[..2]);
}

#[test]
fn an_honest_epoch_has_no_facts() {
    let world = World::new();
    let transcripts: Vec<_> = world.challenges(Kind::STORAGE).into_iter().map(|c| world.audited(c, |_| ())).collect();
    assert!(facts_of(&transcripts, &world.claims, 4).is_empty());
}

// Defence: the comparison with the schedule in `Fact::verify`; without it this turns red.
#[test]
fn invented_fact_of_a_challenge_that_was_never_scheduled() {
    let world = World::new();
    let storage = world.challenge(Kind::STORAGE);
    let unscheduled = world.challenge(Kind::LATENCY_ECHO).index;
    let pair = PairSecret::new(&world.vrf(), PROVIDER);
    let invented = [
        Challenge { index: unscheduled, child: pair.child(unscheduled), ..storage.clone() },
        Challenge { index: 1_000_000, child: pair.child(1_000_000), ..storage.clone() },
        Challenge { slot: 77, ..storage.clone() },
        Challenge { epoch: world.setting.epoch + 1, ..storage.clone() },
        Challenge { child: [1; 32], ..storage },
    ];
    for challenge in invented {
        let transcript = world.audited(challenge, |slices| slices[0] = None);
        let fact = facts_of(&[transcript], &world.claims, 1).remove(0);
        assert_eq!(world.verify(&fact), Err(FactError::NotScheduled));
    }
}

// Defence: the signed word and the signature over all words; without them this turns red.
#[test]
fn invented_fact_with_a_changed_word() {
    let world = World::new();
    let mut fact = world.invalid_fact();
    fact.words[4] = Hash32([1; 32]);
    assert_eq!(world.verify(&fact), Err(FactError::Signature));
    let mut fact = world.invalid_fact();
    fact.words[5] = Hash32::ZERO;
    (fact.position, fact.evidence) = (5, Evidence::Missing);
    assert_eq!(world.verify(&fact), Err(FactError::Signature));
}

// Defence: comparing the slice with the signed word; without it this turns red.
#[test]
fn tampered_slice_in_an_honest_answer() {
    let world = World::new();
    let mut fact = world.invalid_fact();
    // A sample that was right: as signed there is no fault, changed it is not what was signed.
    let honest = world.slices(&fact.challenge).remove(0).unwrap();
    let place = world.place_of(fact.challenge.samples()[0].block);
    (fact.position, fact.evidence) = (0, Evidence::Slice { slice: honest.clone(), place: place.clone() });
    assert_eq!(world.verify(&fact), Err(FactError::NoFault));
    let mut changed = honest;
    changed.chunk[0] ^= 1;
    fact.evidence = Evidence::Slice { slice: changed, place };
    assert_eq!(world.verify(&fact), Err(FactError::Slice));
    fact.evidence = Evidence::Missing;
    assert_eq!(world.verify(&fact), Err(FactError::Slice));
}

/// Moves the border between chunk and siblings.
fn re_split(slice: &mut Slice) {
    let first = slice.siblings.remove(0);
    slice.chunk.extend_from_slice(&first);
}

// Defence: `Slice::digest` hashes the chunk by itself; a hash over `chunk ‖ siblings` makes a fact of an honest sample, and this red.
#[test]
fn tampered_slice_with_the_border_moved() {
    let world = World::new();
    let mut fact = world.invalid_fact();
    let sample = fact.challenge.samples()[0];
    let mut honest = world.slices(&fact.challenge).remove(0).unwrap();
    re_split(&mut honest);
    (fact.position, fact.evidence) = (0, Evidence::Slice { slice: honest, place: world.place_of(sample.block) });
    assert_eq!(world.verify(&fact), Err(FactError::Slice));
}

// Defence: the signature covers the challenge's digest; without it this turns red.
#[test]
fn replayed_response_of_another_challenge() {
    let world = World::new();
    let audits = world.challenges(Kind::STORAGE);
    let earlier = world.audited(audits[0].clone(), |slices| slices[0] = None);
    let (answer, signature) = (earlier.answer.unwrap(), earlier.signature.unwrap());
    assert_eq!(world.judge(&audits[1], &answer, Some(&signature)), Outcome::Silent);
    let fact = Fact { challenge: audits[1].clone(), ..world.invalid_fact() };
    assert_eq!(world.verify(&fact), Err(FactError::Signature));
}

// Defence: provider id in challenge and signature; without it this turns red.
#[test]
fn response_for_another_provider() {
    let world = World::new();
    let fact = world.invalid_fact();
    let mut other = fact.clone();
    other.challenge.provider = ProviderId(10);
    assert!(matches!(world.verify(&other), Err(FactError::NotScheduled | FactError::Signature)));
    let stranger = ProviderKeys { receipt_key: Address([9; 20]), ..world.keys() };
    assert_eq!(fact.verify(&world.setting, &world.schedule, &stranger), Err(FactError::Signature));
}

// Defence: the instance and the schedule in `Fact::verify`; without them this turns red. Facts of an earlier epoch: see
// `report::tests::a_fact_of_an_earlier_epoch_counts_only_while_it_is_watched`.
#[test]
fn response_to_another_oracle_or_epoch() {
    let world = World::new();
    let fact = world.invalid_fact();
    let keys = world.keys();
    let (elsewhere, schedule) = world.schedule_in(|setting, _| setting.instance.chain_id = 1);
    assert_eq!(fact.verify(&elsewhere, &schedule, &keys), Err(FactError::Context));
    let (earlier, schedule) = world.schedule_in(|setting, _| setting.epoch -= 1);
    assert_eq!(fact.verify(&earlier, &schedule, &keys), Err(FactError::NotScheduled));
    let (later, schedule) = world.schedule_in(|setting, _| setting.epoch += 1);
    assert_eq!(fact.verify(&later, &schedule, &keys), Ok(Fault::StorageInvalid), "proven; whether it counts the watch list says");
    let (chosen, schedule) = world.schedule_in(|setting, terms| {
        setting.params.classes.push(crate::params::Class { id: 101, ..setting.params.classes[0].clone() });
        terms.class_id = 101;
    });
    assert_eq!(fact.verify(&chosen, &schedule, &keys), Err(FactError::NotScheduled), "a chosen class shifts the samples");

    let of_another = |oracle: u64, vrfs: u64| {
        let seeds = committee::seeds(&world.setting);
        let panel = world.setting.panel(&seeds.epoch, PROVIDER);
        let vrfs = committee::vrfs(&world.setting, vrfs);
        PairSchedule::new(&world.setting, &panel, &world.terms, OracleId(oracle), &seeds, &vrfs).unwrap()
    };
    assert_eq!(fact.verify(&world.setting, &of_another(4, 4), &keys), Err(FactError::NotScheduled));
    assert_eq!(fact.verify(&world.setting, &of_another(3, 4), &keys), Err(FactError::NotScheduled), "another VRF");
    let copied = of_another(4, 3);
    let taken = copied.slots()[SLOT].challenges().map(|(_, challenge)| challenge).find(|challenge| challenge.kind == Kind::STORAGE);
    let stolen = Fact { challenge: taken.unwrap(), ..fact };
    assert_eq!(stolen.verify(&world.setting, &copied, &keys), Err(FactError::Signature));
}

// Defence: the claim's proof pins root, length and place; without it a forged length makes honest slices fail.
#[test]
fn wrong_size_header_in_the_claim() {
    let world = World::new();
    let fact = world.invalid_fact();
    let verdict = |change: &dyn Fn(&mut Fact)| {
        let mut forged = fact.clone();
        change(&mut forged);
        world.verify(&forged)
    };
    assert_eq!(verdict(&|fact| place_in(fact).claim.blocks += 1), Err(FactError::Claim));
    assert_eq!(verdict(&|fact| place_in(fact).claim.object_length += 1), Err(FactError::Claim));
    assert_eq!(
        verdict(&|fact| {
            place_in(fact).claim.object_length += BLOCK_BYTES as u64;
            place_in(fact).claim.blocks += 1;
        }),
        Err(FactError::Claim)
    );
    assert_eq!(verdict(&|fact| place_in(fact).claim.root = Hash32([1; 32])), Err(FactError::Claim));
    assert_eq!(verdict(&|fact| place_in(fact).proof = ClaimProof::default()), Err(FactError::Claim));
    assert_eq!(verdict(&|fact| fact.challenge.claim_blocks = 99), Err(FactError::NotScheduled));
    let (bigger, schedule) = world.schedule_in(|_, terms| terms.keys.claims.blocks = 99);
    assert_eq!(fact.verify(&bigger, &schedule, &world.keys()), Err(FactError::NotScheduled));
}

// Defence: the proof's block range must hold the sample; without it this turns red.
#[test]
fn invented_fact_against_another_claim_of_the_same_provider() {
    let world = World::new();
    let fact = world.invalid_fact();
    let at = world.claims.index_of_block(fact.challenge.samples()[fact.position as usize].block);
    let other = (at + 1) % world.claims.len();
    let claim = world.claims.claims().nth(other).unwrap().clone();
    let mut forged = fact;
    *place_in(&mut forged) = PlacedClaim { claim, proof: world.claims.proof(other).unwrap() };
    assert_eq!(world.verify(&forged), Err(FactError::Claim));
}

// Defence: `facts_of` passes over answers about another claim set. Without it an oracle locates the sample in the wrong claim, and its whole
// reveal is refused for an invented fact.
#[test]
fn an_answer_about_another_claim_set_makes_no_fact() {
    let world = World::new();
    let transcript = world.audited(world.challenge(Kind::STORAGE), |slices| slices[0] = None);
    let claims = world.replicas.iter().map(|replica| replica.claim.clone()).chain([Replica::new(4, 900_000).claim]);
    let grown = ClaimSet::new(claims.collect()).unwrap();
    assert!(facts_of(std::slice::from_ref(&transcript), &grown, 4).is_empty());
    assert_eq!(facts_of(&[transcript], &world.claims, 4).len(), 1);
}

// ---- seals ----

#[test]
fn a_seal_covers_exactly_its_answers_and_recovers_to_its_key() {
    let world = World::new();
    let challenge = world.challenge(Kind::LATENCY_ECHO);
    let echo = Answer::of_payload(latency::echo(&challenge));
    let answered = transcript(challenge, valid(1), Some(echo), None, Some(1));
    let answers = [answered.unsigned_answer().unwrap()];
    let root = answers_root(&answers);
    let (instance, epoch, slot) = (world.setting.instance, world.setting.epoch, SLOT as u32);
    let digest = challenge::seal_digest(&instance, PROVIDER, ORACLE, epoch, slot, 1, &root);
    let seal = SlotSeal {
        instance,
        provider: PROVIDER,
        oracle: ORACLE,
        epoch,
        slot,
        count: 1,
        answers_root: root,
        signature: world.key.sign(&digest).unwrap(),
    };
    assert!(seal.is_by(&world.key.address()) && seal.covers(&answers));
    assert!(!seal.covers(&[]) && !seal.covers(&[(answers[0].0, Hash32::ZERO)]));
    assert!(!SlotSeal { slot: 3, ..seal }.is_by(&world.key.address()));
    assert_eq!(world.audited(world.challenge(Kind::STORAGE), |_| ()).unsigned_answer(), None);
}

/// An ask of an echo that became of it what `outcome` says.
fn ask(index: u32, outcome: Outcome) -> Transcript {
    let challenge = Challenge { index, ..World::new().challenge(Kind::LATENCY_ECHO) };
    Transcript {
        challenge,
        strike: 0,
        scheduled_at_us: 0,
        slip_us: 0,
        rtt_us: None,
        readings: vec![],
        outcome,
        answer: None,
        signature: None,
    }
}

// Defence: the guard in `one_of_each_ask`; when the first that is read stays, whatever it is, a restart strikes out what was measured before.
#[test]
fn a_probe_that_a_restart_lost_does_not_strike_out_what_was_measured() {
    let lost = ask(1, Outcome::OracleError(OracleFault::SendSlip));
    let silent = ask(1, Outcome::Silent);
    let checked = ask(1, Outcome::Checked(Checked { valid: 1, invalid: vec![], missing: vec![] }));
    assert_eq!(one_of_each_ask(vec![lost.clone(), silent.clone()]), std::slice::from_ref(&silent));
    assert_eq!(one_of_each_ask(vec![silent.clone(), lost.clone()]), std::slice::from_ref(&silent));
    assert_eq!(one_of_each_ask(vec![silent.clone(), checked]), std::slice::from_ref(&silent), "of two measurements the first");
    assert_eq!(one_of_each_ask(vec![ask(2, Outcome::Silent), lost.clone()]), [lost, ask(2, Outcome::Silent)]);
    let again = Transcript { strike: 1, ..silent.clone() };
    assert_eq!(one_of_each_ask(vec![again.clone(), silent.clone()]), [silent, again], "each ask is one of its own");
}
