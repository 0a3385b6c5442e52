//! A kind of challenge from outside: one implementation of `ChallengeKind` and one entry in a list of kinds are all that it takes to
//! schedule, judge, count, commit, reveal and settle it.

use std::sync::LazyLock;

use assay_core::bls::{Domain, SecretKey, Signature};
use assay_core::challenge::kinds::availability::{self, Availability};
use assay_core::challenge::kinds::bandwidth::Bandwidth;
use assay_core::challenge::kinds::latency::{self, Latency};
use assay_core::challenge::kinds::storage::Storage;
use assay_core::challenge::schedule::{PairSecret, SlotTerms, vrf_message};
use assay_core::challenge::{self, Answer, AnswerError, Asked, Challenge, ChallengeKind, Checked, Kind, Kinds};
use assay_core::claim::{Claim, ClaimSet};
use assay_core::hash::Hash32;
use assay_core::ids::{Address, Instance, OracleId, ProviderId};
use assay_core::observation::{Commit, Counts, ProviderKeys, Reveal, RevealError, SaltedObservation, Seeds, VerifiedReveal};
use assay_core::params::{Class, Params, TOKEN};
use assay_core::replica::BLOCK_BYTES;
use assay_core::report::{Inputs, Ledger, Member, Outcome, ProviderTerms, Setting};
use assay_core::secp::{self, Signature65};
use assay_core::slice::{self, OutboardBuilder};
use assay_core::transcript::{self, PairSchedule, SlotSchedule, Transcript, summarise};
use assay_core::verdict::{Dimension, Grade, Objective, Rule, Verdict};

const TOY: Kind = Kind(200);
const TOY_DIMENSION: Dimension = Dimension(200);

/// Asks for its secret backwards, twice a second. One ground: wrong; one reading: how many were right.
#[derive(Debug)]
struct Backwards;

fn backwards(challenge: &Challenge) -> Vec<u8> {
    challenge.child.iter().rev().copied().collect()
}

impl ChallengeKind for Backwards {
    fn kind(&self) -> Kind {
        TOY
    }

    fn name(&self) -> &'static str {
        "backwards"
    }

    fn arity(&self) -> (usize, usize) {
        (1, 1)
    }

    fn derive(&self, secret: &PairSecret, slot: &SlotTerms<'_>) -> Vec<u64> {
        let mut stream = secret.stream(TOY, 0);
        let halves = slot.slot_us() / 500_000;
        (0..halves).map(|half| half * 500_000 + stream.below(500_000)).collect()
    }

    fn verify(&self, asked: &Asked<'_>, answer: &Answer) -> Result<Checked, AnswerError> {
        match answer.samples.is_empty() {
            true => Ok(Checked::all_or_nothing(answer.payload == backwards(asked.challenge))),
            false => Err(AnswerError::Count { got: answer.samples.len(), asked: 0 }),
        }
    }

    fn summarise(&self, _: &Params, _: &Class, scheduled: u64, transcripts: &[&Transcript]) -> Counts {
        let right = transcripts.iter().filter(|t| t.outcome.fate() == transcript::Fate::Answered).count() as u64;
        let counted = transcripts.iter().filter(|t| t.outcome.fate() != transcript::Fate::OracleError).count() as u64;
        Counts { kind: TOY, scheduled, counted, bad: vec![counted - right], readings: vec![right] }
    }

    fn objectives(&self, _: &Class) -> Vec<Objective> {
        vec![Objective {
            dimension: TOY_DIMENSION,
            ground: 0,
            allowed_ppm: 10_000,
            minimum: 10,
            design_effect_milli: None,
            rule: Rule::Rate,
        }]
    }
}

const WITH_TOY: Kinds =
    Kinds::new(&[&Availability, &Latency::Echo, &Latency::Block, &Storage, &Bandwidth::Ingress, &Bandwidth::Egress, &Backwards]);

/// The same network before the kind came.
const WITHOUT_TOY: Kinds = Kinds::new(&[&Availability, &Latency::Echo, &Latency::Block, &Storage, &Bandwidth::Ingress, &Bandwidth::Egress]);

const HONEST: ProviderId = ProviderId(1);
const LIAR: ProviderId = ProviderId(2);

fn key(oracle: u64) -> SecretKey {
    SecretKey::key_gen(&[oracle as u8; 32]).unwrap()
}

/// One block that both providers store and claim, and the key of their receipts.
struct Stored {
    bytes: Vec<u8>,
    nodes: Vec<slice::Node>,
    claims: ClaimSet,
    key: secp::SecretKey,
}

static STORED: LazyLock<Stored> = LazyLock::new(|| {
    let (bytes, mut nodes) = (vec![7; BLOCK_BYTES], vec![]);
    let mut builder = OutboardBuilder::new(bytes.len() as u64);
    builder.update(&bytes, &mut nodes).unwrap();
    let claim = Claim {
        object_id: Hash32([1; 32]),
        replica_index: 0,
        root: builder.finish().unwrap(),
        object_length: 10,
        blocks: 1,
        tag_key_id: Hash32::ZERO,
        owner: Address([9; 20]),
    };
    Stored { bytes, nodes, claims: ClaimSet::new(vec![claim]).unwrap(), key: secp::SecretKey::from_bytes(&[5; 32]).unwrap() }
});

impl Stored {
    fn slices(&self, challenge: &Challenge) -> Answer {
        let (root, total) = (self.claims.claims().next().unwrap().root, self.bytes.len() as u64);
        let slice = |chunk| {
            let (start, length) = slice::group_range(total, chunk);
            let node = |position| self.nodes.iter().find(|node| node.position == position).map(|node| node.pair);
            slice::prove(&root, total, chunk, &self.bytes[start as usize..(start + length) as usize], node).unwrap()
        };
        Answer { payload: vec![], samples: challenge.samples().iter().map(|sample| Some(slice(u64::from(sample.chunk)))).collect() }
    }

    fn sign(&self, challenge: &Challenge, answer: &Answer) -> Signature65 {
        self.key.sign(&challenge::answer_signing_digest(challenge, &answer.digest())).unwrap()
    }
}

/// Four oracles and two providers, in a class without bandwidth floors: no windows are drawn.
fn setting(kinds: Kinds) -> Setting {
    let keys = ProviderKeys { receipt_key: STORED.key.address(), class_id: 100, claims: STORED.claims.root() };
    let terms = |provider| ProviderTerms { provider, class_id: 100, keys, stake: 1_000 * TOKEN, recipient: Address([200; 20]) };
    let mut params = Params::devnet();
    (params.classes[0].floor_in_kbps, params.classes[0].floor_out_kbps) = (0, 0);
    Setting {
        instance: Instance { chain_id: 31_337, settlement: Address([7; 20]) },
        epoch: 0,
        genesis_s: 1_000,
        params,
        kinds,
        token: Address([8; 20]),
        epoch_budget: 10_000 * TOKEN,
        set_epoch: 1,
        members: (1..=4)
            .map(|id| Member {
                oracle: OracleId(id),
                weight: 100,
                key: key(id).public_key(),
                operator: Address([id as u8; 20]),
                recipient: Address([100 + id as u8; 20]),
                network_group: id,
            })
            .collect(),
        providers: vec![terms(HONEST), terms(LIAR)],
        ref_block: 5,
        ref_block_hash: Hash32([2; 32]),
        drand_round: 9,
    }
}

fn seeds(setting: &Setting) -> Seeds {
    Seeds { epoch: Hash32([3; 32]), slots: (0..setting.params.slots).map(|slot| Hash32([40 + slot as u8; 32])).collect(), secure: true }
}

/// What a provider answers; the liar knows everything but the toy.
fn answer(challenge: &Challenge) -> Answer {
    match challenge.kind {
        Kind::AVAILABILITY => Answer::of_payload(availability::echo(challenge)),
        Kind::LATENCY_ECHO => Answer::of_payload(latency::echo(challenge)),
        TOY if challenge.provider == HONEST => Answer::of_payload(backwards(challenge)),
        TOY => Answer::of_payload(challenge.child),
        Kind::LATENCY_BLOCK => {
            let Answer { samples, .. } = STORED.slices(challenge);
            let chunk = &samples[0].as_ref().unwrap().chunk;
            Answer { payload: latency::block_mac(challenge, chunk).to_vec(), samples }
        }
        Kind::STORAGE => STORED.slices(challenge),
        other => panic!("{other:?} was asked of a provider without floors"),
    }
}

fn measure(setting: &Setting, terms: &ProviderTerms, oracle: OracleId, vrfs: &[Signature]) -> SaltedObservation {
    let seeds = seeds(setting);
    let panel = setting.panel(&seeds.epoch, terms.provider);
    let schedule = PairSchedule::new(setting, &panel, terms, oracle, &seeds, vrfs).unwrap();
    let transcripts: Vec<Transcript> = schedule
        .slots()
        .iter()
        .flat_map(SlotSchedule::challenges)
        .map(|(scheduled, challenge)| {
            let answer = answer(&challenge);
            let signature = (challenge.kind == Kind::STORAGE).then(|| STORED.sign(&challenge, &answer));
            let asked = Asked { challenge: &challenge, claims: Some(&STORED.claims), kept: None };
            let outcome = transcript::judge(setting.kinds, &asked, &answer, signature.as_ref(), &terms.keys.receipt_key);
            Transcript {
                challenge,
                strike: 0,
                scheduled_at_us: scheduled.at_us,
                slip_us: 0,
                rtt_us: Some(900),
                readings: vec![],
                outcome,
                answer: Some(answer),
                signature,
            }
        })
        .collect();
    let observation = summarise(setting, terms, oracle, &schedule, &transcripts, None, &[]);
    SaltedObservation { observation, salt: Hash32([oracle.0 as u8; 32]) }
}

fn reveal(setting: &Setting, oracle: OracleId) -> (Reveal, Commit) {
    let seeds = seeds(setting);
    let message = |(slot, seed)| vrf_message(&setting.instance, setting.epoch, slot, seed);
    let vrfs: Vec<_> = (0..).zip(&seeds.slots).map(|slot| key(oracle.0).sign(Domain::Vrf, &message(slot))).collect();
    let observations: Vec<_> = setting.providers.iter().map(|terms| measure(setting, terms, oracle, &vrfs)).collect();
    let reveal = Reveal { epoch: setting.epoch, oracle, seeds, observations, vrfs, facts: vec![], struck: vec![] };
    let commit = Commit {
        epoch: reveal.epoch,
        oracle,
        seeds: reveal.seeds.digest(),
        secure: true,
        root: reveal.root(),
        leaf_count: reveal.observations.len() as u32,
        log_head: Hash32::ZERO,
    };
    (reveal, commit)
}

fn grade(verdict: &Verdict, dimension: Dimension) -> Option<Grade> {
    verdict.dimensions.iter().find(|judged| judged.dimension == dimension).map(|judged| judged.grade)
}

// Defence: nothing outside a kind knows the kinds. A `match` on kinds anywhere between schedule and verdict turns this red.
#[test]
fn a_kind_from_outside_is_measured_and_judged_like_any_other() {
    let setting = setting(WITH_TOY);
    let reveals = setting.members.iter().map(|member| {
        let (reveal, commit) = reveal(&setting, member.oracle);
        let toy = reveal.observations[0].observation.of(TOY).unwrap();
        assert_eq!((toy.scheduled, toy.counted, &toy.bad[..], &toy.readings[..]), (50, 50, &[0][..], &[50][..]));
        (member.oracle, reveal.verify(&commit, &setting).unwrap())
    });
    let reveals: std::collections::BTreeMap<OracleId, VerifiedReveal> = reveals.collect();
    let inputs = Inputs { setting: &setting, view: 0, parent: &Ledger::default(), bit_votes_root: Hash32::ZERO, reveals: &reveals };
    let outcome = Outcome::compute(&inputs);

    let (honest, liar) = (&outcome.verdicts[0], &outcome.verdicts[1]);
    assert_eq!(grade(honest, TOY_DIMENSION), Some(Grade::Pass));
    assert_eq!(grade(liar, TOY_DIMENSION), Some(Grade::Fail));
    for dimension in [Dimension::AVAILABILITY, Dimension::LATENCY_P50, Dimension::LATENCY_P95] {
        assert_eq!((grade(honest, dimension), grade(liar, dimension)), (Some(Grade::Pass), Some(Grade::Pass)), "{dimension}");
    }
    assert_eq!((honest.reward, liar.reward), (100 * TOKEN, 0));
    assert_eq!(outcome.paid_oracles.len(), 4);

    let json = serde_json::to_string(&outcome).unwrap();
    assert!(json.contains("dimension_200"), "a dimension without a name has its number");
    let again: Outcome = serde_json::from_str(&json).unwrap();
    assert!(again == outcome && again.supports(&outcome.report, &setting.token));
}

// Defence: `Kinds` in the setting. Without it two oracles that know different kinds accept each other's observations and disagree later.
#[test]
fn a_network_without_the_kind_refuses_it_and_one_with_it_misses_it() {
    let (toy, standard) = (setting(WITH_TOY), setting(WITHOUT_TOY));
    let (with, with_commit) = reveal(&toy, OracleId(1));
    let (without, without_commit) = reveal(&standard, OracleId(1));
    assert_eq!(with.verify(&with_commit, &standard).unwrap_err(), RevealError::Observation);
    assert_eq!(without.clone().verify(&without_commit, &toy).unwrap_err(), RevealError::Observation);
    assert!(without.verify(&without_commit, &standard).is_ok());
    assert_ne!(toy.kinds, standard.kinds);
}

// Defence: the comparison of scheduled counts runs over every kind of the list. Without it an oracle chooses how much of the toy it asks.
#[test]
fn the_toys_schedule_is_held_against_the_vrfs() {
    let setting = setting(WITH_TOY);
    let (mut reveal, mut commit) = reveal(&setting, OracleId(1));
    let counts = &mut reveal.observations[1].observation.counts;
    let toy = counts.iter_mut().find(|counts| counts.kind == TOY).unwrap();
    (toy.scheduled, toy.counted, toy.bad[0]) = (49, 49, 0);
    commit.root = reveal.root();
    assert_eq!(reveal.verify(&commit, &setting).unwrap_err(), RevealError::Observation);
}
