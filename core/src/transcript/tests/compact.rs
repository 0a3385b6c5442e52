//! Answers by compact proofs, and what is wrong with some.

use std::sync::LazyLock;

use super::*;
use crate::challenge::compact::{CompactAnswer, Positions, ProofGroup, SLICES_ONE_IN, named};
use crate::compact::{Powers, Proof, Prover, Terms};
use crate::replica::OwnerSecret;

fn secret(seed: u8) -> TagSecret {
    TagSecret::derive(&OwnerSecret::new([seed; 32]))
}

/// A big replica and a middling one under two owners' keys, and one without tags.
fn tagged_world() -> World {
    let (first, second) = (secret(1), secret(2));
    let replicas = vec![Replica::new(1, 900_000).tagged(&first), Replica::new(2, 500_000).tagged(&second), Replica::new(3, 300_000)];
    World::of(replicas, vec![first.key(), second.key()])
}

impl World {
    fn powers_of(&self, key: &Hash32) -> &'static Powers {
        static ALL: LazyLock<Vec<(Hash32, Powers)>> = LazyLock::new(|| {
            let parsed = |secret: TagSecret| Powers::parse(&secret.powers(), &secret.key(), &[9; 32]).unwrap();
            [1, 2].map(|seed| (secret(seed).key().id(), parsed(secret(seed)))).into()
        });
        &ALL.iter().find(|(id, _)| id == key).unwrap().1
    }

    fn block_of(&self, block: u64) -> (&[u8], &[u8]) {
        let (claim, block) = self.claims.locate(block).unwrap();
        let replica = self.replicas.iter().find(|replica| replica.claim == *claim).unwrap();
        let at = block as usize;
        (&replica.bytes[at * BLOCK_BYTES..][..BLOCK_BYTES], &replica.tags[at * 48..][..48])
    }

    fn prove(&self, challenge: &Challenge, key: Hash32, positions: Positions) -> ProofGroup {
        let samples = challenge.samples();
        let terms = challenge.compact_terms(&key, positions, |sample| named(&self.claims, PROVIDER, sample)).unwrap();
        let mut prover = Prover::new();
        for (item, position) in terms.items.iter().zip(positions.iter()) {
            let (block, tag) = self.block_of(samples[position].block);
            prover.add(item.nu, block, tag).unwrap();
        }
        ProofGroup { key, positions, proof: prover.finish(&terms, self.powers_of(&key)).unwrap().to_bytes() }
    }

    /// What an honest provider answers to an audit by compact proofs; it does not hold the samples in `missing`.
    fn compact_answer(&self, challenge: &Challenge, missing: &[usize]) -> Answer {
        let plan = challenge.compact_plan(&self.claims);
        assert!(!plan.is_empty(), "an audit by compact proofs");
        let planned = plan.values().fold(Positions::default(), |all, positions| all.and(*positions));
        let missing: Positions = missing.iter().copied().filter(|position| planned.has(*position)).collect();
        let left = plan.iter().map(|(key, positions)| (*key, positions.without(missing))).filter(|(_, left)| !left.is_empty());
        let compact = CompactAnswer { missing, groups: left.map(|(key, left)| self.prove(challenge, key, left)).collect() };
        let slices = self.slices(challenge).into_iter().enumerate().filter(|(position, _)| !planned.has(*position));
        Answer { payload: compact.encode(), samples: slices.map(|(_, slice)| slice).collect() }
    }

    fn answered(&self, challenge: &Challenge, answer: Answer) -> Transcript {
        let signature = self.sign(challenge, &answer);
        let outcome = self.judge(challenge, &answer, Some(&signature));
        transcript(challenge.clone(), outcome, Some(answer), Some(signature), Some(5_000))
    }

    /// A scheduled audit by compact proofs with at least two of them and one slice.
    fn compact_audit(&self) -> Challenge {
        let audits = self.all_challenges(Kind::STORAGE);
        audits.into_iter().find(|challenge| challenge.compact_plan(&self.claims).len() == 2).unwrap()
    }
}

fn change(answer: &Answer, change: impl FnOnce(&mut CompactAnswer)) -> Answer {
    let mut compact = CompactAnswer::parse(&answer.payload).unwrap();
    change(&mut compact);
    Answer { payload: compact.encode(), ..answer.clone() }
}

#[test]
fn an_honest_compact_answer_is_valid_and_makes_no_fact() {
    let world = tagged_world();
    let challenge = world.compact_audit();
    let answered = world.answered(&challenge, world.compact_answer(&challenge, &[]));
    assert_eq!(answered.outcome, valid(STORAGE_SAMPLES));
    assert!(facts_of(&[answered], &world.claims, 4).is_empty());
}

#[test]
fn most_audits_ask_for_proofs_and_some_for_slices() {
    let world = tagged_world();
    let challenge = world.compact_audit();
    let asked = |index| Challenge { index, slices_one_in: SLICES_ONE_IN, ..challenge.clone() };
    let slices = (0..16_000).filter(|index| asked(*index).is_for_slices()).count() as f64;
    let (mean, deviation) = (16_000.0 / f64::from(SLICES_ONE_IN), (16_000.0 / 16.0 * 15.0 / 16.0_f64).sqrt());
    assert!((slices - mean).abs() < 4.0 * deviation, "{slices}");
}

#[test]
fn a_drawn_slice_audit_is_answered_by_slices_alone() {
    let world = tagged_world();
    let asked = world.compact_audit();
    let by_slices = (0..).map(|index| Challenge { index, ..asked.clone() }).find(Challenge::is_for_slices).unwrap();
    let answer = Answer { payload: vec![], samples: world.slices(&by_slices) };
    assert_eq!(world.answered(&by_slices, answer.clone()).outcome, valid(STORAGE_SAMPLES));
    let padded = Answer { payload: CompactAnswer::default().encode(), ..answer };
    assert_eq!(world.answered(&by_slices, padded).outcome, Outcome::Silent);
}

// Defence: `compact_plan` decides, not the provider. Were slices always good enough, every audit would cost the oracles 50 kB.
#[test]
fn slices_where_proofs_are_asked_for_are_no_answer_but_late_ones_on_chain_are() {
    let world = tagged_world();
    let challenge = world.compact_audit();
    let answer = Answer { payload: vec![], samples: world.slices(&challenge) };
    let signature = world.sign(&challenge, &answer);
    assert_eq!(world.judge(&challenge, &answer, Some(&signature)), Outcome::Silent);
    let asked = Asked { challenge: &challenge, claims: Some(&world.claims), kept: None };
    assert_eq!(judge_late(&asked, &answer, &signature, &world.key.address()), valid(STORAGE_SAMPLES));
    let forged = world.sign(&world.challenges(Kind::STORAGE)[0], &answer);
    assert_eq!(judge_late(&asked, &answer, &forged, &Address([1; 20])), Outcome::Silent);
}

// Defence: `CompactAnswer::follows`. Without it a provider leaves the samples that it lost out of its proof.
#[test]
fn a_proof_that_leaves_samples_out_is_no_answer() {
    let world = tagged_world();
    let challenge = world.compact_audit();
    let honest = world.compact_answer(&challenge, &[]);
    let fewer = change(&honest, |compact| {
        let ProofGroup { key, positions, .. } = compact.groups[0].clone();
        let first = positions.iter().next().unwrap();
        compact.groups[0] = world.prove(&challenge, key, positions.without([first].into_iter().collect()));
    });
    assert_eq!(world.answered(&challenge, fewer).outcome, Outcome::Silent);
    let none = change(&honest, |compact| compact.groups.truncate(1));
    assert_eq!(world.answered(&challenge, none).outcome, Outcome::Silent);
}

// Defence: `compact::verify` in `proof_holds`, and in `Fact::wrong_proof`: without the first the wrong proof counts as good, without the
// second a good one is made a fact.
#[test]
fn a_wrong_proof_is_invalid_for_all_its_samples_and_one_fact() {
    let world = tagged_world();
    let challenge = world.compact_audit();
    let honest = world.compact_answer(&challenge, &[]);
    let wrong = change(&honest, |compact| compact.groups[0].proof[127] ^= 1);
    let covered = CompactAnswer::parse(&wrong.payload).unwrap().groups[0].positions;
    let answered = world.answered(&challenge, wrong);
    let Outcome::Checked(checked) = &answered.outcome else { panic!("{answered:?}") };
    assert_eq!(checked.invalid, covered.iter().map(|position| position as u32).collect::<Vec<_>>());
    assert_eq!(checked.valid as usize + checked.invalid.len(), STORAGE_SAMPLES as usize);
    let facts = facts_of(&[answered], &world.claims, 4);
    assert_eq!(facts.len(), 1, "the first sample speaks for all");
    assert_eq!(world.verify(&facts[0]), Ok(Fault::StorageInvalid));
    // The same statement with the honest proof was never signed; with the honest signature it proves nothing.
    let mut invented = facts[0].clone();
    invented.payload = honest.payload.clone();
    assert_eq!(world.verify(&invented), Err(FactError::Signature));
    invented.signature = world.sign(&challenge, &honest);
    assert_eq!(world.verify(&invented), Err(FactError::NoFault));
}

// Defence: the key's id in `wrong_proof`, and every sample's place. Without either an oracle frames a provider by showing another key or
// another claim beside its honest proof.
#[test]
fn an_honest_proof_beside_another_key_or_claim_is_no_fact() {
    let world = tagged_world();
    let challenge = world.compact_audit();
    let honest = world.compact_answer(&challenge, &[]);
    let wrong = change(&honest, |compact| compact.groups[0].proof[127] ^= 1);
    let mut fact = facts_of(&[world.answered(&challenge, wrong)], &world.claims, 4).remove(0);
    fact.payload = honest.payload.clone();
    fact.signature = world.sign(&challenge, &honest);
    let verdict = |change: &dyn Fn(&mut [u8; 192], &mut Vec<PlacedClaim>)| {
        let mut forged = fact.clone();
        let Evidence::Compact { key, places } = &mut forged.evidence else { panic!("{forged:?}") };
        change(key, places);
        world.verify(&forged)
    };
    assert_eq!(verdict(&|_, _| ()), Err(FactError::NoFault));
    assert_eq!(verdict(&|key, _| *key = secret(7).key().to_bytes()), Err(FactError::Claim));
    assert_eq!(verdict(&|_, places| places.clear()), Err(FactError::Claim));
    assert_eq!(verdict(&|_, places| places[0].claim.replica_index += 1), Err(FactError::Claim));
    let untagged = world.replicas.iter().find(|replica| replica.tags.is_empty()).unwrap();
    let other = world.claims.index_of(&untagged.claim.hash()).unwrap();
    let elsewhere = PlacedClaim { claim: untagged.claim.clone(), proof: world.claims.proof(other).unwrap() };
    assert_eq!(verdict(&|_, places| places[0] = elsewhere.clone()), Err(FactError::Claim));
}

#[test]
fn what_a_provider_states_missing_is_a_fact_and_the_rest_is_proven() {
    let world = tagged_world();
    let challenge = world.compact_audit();
    let plan = challenge.compact_plan(&world.claims);
    let lost = plan.values().next().unwrap().iter().nth(1).unwrap();
    let answered = world.answered(&challenge, world.compact_answer(&challenge, &[lost]));
    let Outcome::Checked(checked) = &answered.outcome else { panic!("{answered:?}") };
    assert_eq!((checked.valid, &checked.invalid, &checked.missing), (STORAGE_SAMPLES - 1, &vec![], &vec![lost as u32]));
    let facts = facts_of(&[answered], &world.claims, 4);
    assert_eq!(facts.len(), 1);
    assert_eq!(world.verify(&facts[0]), Ok(Fault::StorageMissing));
    let elsewhere = Fact { position: plan.values().last().unwrap().iter().last().unwrap() as u32, ..facts[0].clone() };
    assert!(world.verify(&elsewhere).is_err(), "only the sample that was stated missing");
}

#[test]
fn a_wrong_or_missing_slice_in_a_compact_answer_is_a_fact() {
    let world = tagged_world();
    let asked = world.compact_audit();
    let challenge = world.all_challenges(Kind::STORAGE).into_iter().find(|c| {
        let plan = c.compact_plan(&world.claims);
        !plan.is_empty() && plan.values().fold(Positions::default(), |all, p| all.and(*p)).iter().count() + 2 <= STORAGE_SAMPLES as usize
    });
    let challenge = challenge.unwrap_or(asked);
    let mut answer = world.compact_answer(&challenge, &[]);
    assert!(answer.samples.len() >= 2);
    answer.samples[0].as_mut().unwrap().chunk[5] ^= 1;
    answer.samples[1] = None;
    let answered = world.answered(&challenge, answer);
    let faults: Vec<_> = facts_of(&[answered], &world.claims, 4).iter().map(|fact| world.verify(fact)).collect();
    assert_eq!(faults, [Ok(Fault::StorageInvalid), Ok(Fault::StorageMissing)]);
}

// Defence: the seed over everything but the extra blocks draws ν and r. Without it an answer serves twice.
#[test]
fn a_proof_replayed_for_another_audit_is_invalid() {
    let world = tagged_world();
    let challenge = world.compact_audit();
    let group = CompactAnswer::parse(&world.compact_answer(&challenge, &[]).payload).unwrap().groups.remove(0);
    let proof = Proof::from_bytes(&group.proof).unwrap();
    let locate = |sample: &crate::challenge::Sample| named(&world.claims, PROVIDER, sample);
    let terms = challenge.compact_terms(&group.key, group.positions, locate).unwrap();
    let key = world.claims.tag_key(&group.key).unwrap();
    assert!(crate::compact::verify(key, &terms, &proof).is_ok());
    for later in [Challenge { epoch: challenge.epoch + 1, ..challenge.clone() }, Challenge { child: [1; 32], ..challenge.clone() }] {
        let blocks: Vec<_> = terms.items.iter().map(|item| (item.name, item.block)).collect();
        let later = Terms::draw(&later.seed(), &group.key, blocks.into_iter());
        assert!(crate::compact::verify(key, &later, &proof).is_err());
    }
}

// Defence: extra blocks stay out of the seed, and out of the counts. Without the first an oracle grinds them until the draw suits it; without
// the second it fills its counts with blocks of its choice.
#[test]
fn extra_blocks_are_answered_and_change_neither_the_draw_nor_the_counts() {
    let world = tagged_world();
    let plain = world.compact_audit();
    let challenge = Challenge { extra: vec![0, 1, 14], ..plain.clone() };
    assert_eq!(challenge.seed(), plain.seed());
    assert_eq!(challenge.samples()[..30], plain.samples()[..]);
    assert_ne!(challenge.digest(), plain.digest(), "what was asked is signed");
    assert!(world.schedule.has(&challenge));
    let answered = world.answered(&challenge, world.compact_answer(&challenge, &[]));
    assert_eq!(answered.outcome, valid(STORAGE_SAMPLES + 3));
    let counts = |transcript: Transcript| world.summarise(&[transcript], None).of(Kind::STORAGE).unwrap().clone();
    assert_eq!(counts(answered).counted, u64::from(STORAGE_SAMPLES));
    let lost = world.answered(&challenge, world.compact_answer(&challenge, &[30, 31, 32]));
    let facts = facts_of(std::slice::from_ref(&lost), &world.claims, 4);
    assert!(!facts.is_empty() && facts.iter().all(|fact| world.verify(fact) == Ok(Fault::StorageMissing)), "{facts:?}");
    assert_eq!(counts(lost).bad, [0, 0, 0], "a proven loss, and none of the drawn samples");
}

// Defence: `has_possible_extra`. Without it an oracle asks for more than anybody can read, or for what is not claimed.
#[test]
fn too_many_extra_blocks_or_unclaimed_ones_are_on_no_schedule() {
    let world = tagged_world();
    let plain = world.compact_audit();
    for extra in [vec![0; 11], vec![world.claims.root().blocks]] {
        assert!(!world.schedule.has(&Challenge { extra, ..plain.clone() }));
    }
    let echo = Challenge { extra: vec![0], ..world.challenge(Kind::LATENCY_ECHO) };
    assert!(!world.schedule.has(&echo));
}

// Defence: one transcript a scheduled ask in `summarise`. Without it an oracle counts one audit as many by asking with other extra blocks.
#[test]
fn one_scheduled_audit_counts_once_whatever_was_asked_beside_it() {
    let world = tagged_world();
    let plain = world.compact_audit();
    let twice = [Challenge { extra: vec![1], ..plain.clone() }, plain];
    let transcripts: Vec<_> = twice.iter().map(|c| world.answered(c, world.compact_answer(c, &[]))).collect();
    assert_eq!(world.summarise(&transcripts, None).of(Kind::STORAGE).unwrap().counted, u64::from(STORAGE_SAMPLES));
}

// Defence: `resize` in `judge_late`. Without it a provider that lost an extra block keeps silent, then rebuts with the thirty drawn ones; or it
// rebuts with forty samples where thirty were asked for, and nobody can judge them.
#[test]
fn a_rebuttal_with_another_number_of_samples_is_judged_by_what_was_asked() {
    let world = tagged_world();
    let challenge = Challenge { extra: vec![0, 1], ..world.compact_audit() };
    let late = |samples: Vec<Option<Slice>>| {
        let answer = Answer { payload: vec![], samples };
        let signature = world.sign(&challenge, &answer);
        let asked = Asked { challenge: &challenge, claims: Some(&world.claims), kept: None };
        let outcome = judge_late(&asked, &answer, &signature, &world.key.address());
        transcript(challenge.clone(), outcome, Some(answer), Some(signature), None)
    };
    let whole = world.slices(&challenge);
    let short = late(whole[..30].to_vec());
    assert_eq!(short.outcome, Outcome::Checked(Checked { valid: 30, invalid: vec![], missing: vec![30, 31] }));
    let facts = facts_of(&[short], &world.claims, 4);
    assert_eq!(facts.iter().map(|fact| world.verify(fact)).collect::<Vec<_>>(), [Ok(Fault::StorageMissing); 2]);
    assert!(world.verify(&Fact { position: 29, ..facts[0].clone() }).is_err(), "that one it gave");
    assert_eq!(late([whole.clone(), whole.clone()].concat()).outcome, valid(32), "what is beyond is of no account");
    let mut wrong = [whole.clone(), whole].concat();
    wrong[3].as_mut().unwrap().chunk[0] ^= 1;
    let facts = facts_of(&[late(wrong)], &world.claims, 4);
    assert_eq!(facts.iter().map(|fact| world.verify(fact)).collect::<Vec<_>>(), [Ok(Fault::StorageInvalid)]);
}

#[test]
fn payloads_out_of_order_are_none() {
    let world = tagged_world();
    let challenge = world.compact_audit();
    let honest = CompactAnswer::parse(&world.compact_answer(&challenge, &[]).payload).unwrap();
    assert_eq!(CompactAnswer::parse(&honest.encode()), Some(honest.clone()));
    let parses = |change: &dyn Fn(&mut CompactAnswer)| {
        let mut changed = honest.clone();
        change(&mut changed);
        CompactAnswer::parse(&changed.encode()).is_some()
    };
    assert!(!parses(&|compact| compact.groups.reverse()));
    assert!(!parses(&|compact| compact.groups[1].key = compact.groups[0].key));
    assert!(!parses(&|compact| compact.groups[1].positions = compact.groups[0].positions));
    assert!(!parses(&|compact| compact.groups[0].positions = Positions::default()));
    assert!(!parses(&|compact| compact.missing = compact.groups[0].positions));
    let mut bytes = honest.encode();
    bytes.push(0);
    assert_eq!(CompactAnswer::parse(&bytes), None);
    bytes.truncate(bytes.len() - 2);
    assert_eq!(CompactAnswer::parse(&bytes), None);
    bytes = honest.encode();
    bytes[0] = 2;
    assert_eq!(CompactAnswer::parse(&bytes), None);
}
