//! Chains of dependent reads.

use super::*;
use crate::challenge::Sample;
use crate::challenge::kinds::locality::{READS, walk};

impl World {
    fn read(&self, sample: &Sample) -> Option<Slice> {
        let (claim, block) = self.claims.locate(sample.block).unwrap();
        let replica = self.replicas.iter().find(|replica| replica.claim == *claim).unwrap();
        Some(replica.slice(block * 124 + u64::from(sample.chunk)))
    }

    fn chain(&self, challenge: &Challenge) -> Vec<Option<Slice>> {
        walk(challenge, |sample| Ok::<_, ()>(self.read(sample))).unwrap()
    }

    fn judge_chain(&self, challenge: &Challenge, samples: Vec<Option<Slice>>) -> Outcome {
        self.judge(challenge, &Answer { payload: vec![], samples }, None)
    }
}

fn checked(valid: u32, invalid: &[u32], missing: &[u32]) -> Outcome {
    Outcome::Checked(Checked { valid, invalid: invalid.to_vec(), missing: missing.to_vec() })
}

#[test]
fn a_whole_chain_is_valid_and_its_times_are_read() {
    let world = World::new();
    let challenges = world.all_challenges(Kind::LOCALITY);
    assert_eq!(challenges.len(), world.setting.params.slots as usize, "one a slot");
    let times = [900, 300, 500];
    let transcripts: Vec<_> = challenges
        .iter()
        .zip(times)
        .map(|(challenge, rtt_us)| {
            let samples = world.chain(challenge);
            assert_eq!(samples.len(), READS);
            let outcome = world.judge_chain(challenge, samples.clone());
            assert_eq!(outcome, valid(READS as u32));
            transcript(challenge.clone(), outcome, Some(Answer { payload: vec![], samples }), None, Some(rtt_us))
        })
        .collect();
    let counts = world.summarise(&transcripts, None).of(Kind::LOCALITY).unwrap().clone();
    assert_eq!((counts.counted, counts.bad, counts.readings), (3, vec![0], vec![300, 500]));
}

// Defence: each sample follows from the chunk before it. Were they all drawn from the seed, a relay would fetch them side by side.
#[test]
fn what_comes_later_in_a_chain_cannot_be_known_before() {
    let world = World::new();
    let challenge = world.challenge(Kind::LOCALITY);
    let drawn = |change: usize| {
        let mut drawn = Vec::new();
        let walked = walk(&challenge, |sample| {
            drawn.push(*sample);
            let mut slice = world.read(sample).unwrap();
            slice.chunk[17] ^= u8::from(drawn.len() == change);
            Ok::<_, ()>(Some(slice))
        });
        walked.unwrap();
        drawn
    };
    let (honest, changed) = (drawn(0), drawn(5));
    assert_eq!(honest[..5], changed[..5]);
    assert!(honest[5..].iter().zip(&changed[5..]).all(|(a, b)| a != b));
}

#[test]
fn a_broken_chain_counts_as_far_as_it_holds_and_proves_nothing() {
    let world = World::new();
    let challenge = world.challenge(Kind::LOCALITY);
    let chain = world.chain(&challenge);
    let mut lost = chain[..7].to_vec();
    lost[6] = None;
    assert_eq!(world.judge_chain(&challenge, lost), checked(6, &[], &[6]));
    let mut wrong = chain.clone();
    wrong[3].as_mut().unwrap().chunk[0] ^= 1;
    assert_eq!(world.judge_chain(&challenge, wrong.clone()), checked(3, &[3], &[]));
    let answer = Answer { payload: vec![], samples: wrong };
    let outcome = world.judge(&challenge, &answer, None);
    assert!(facts_of(&[transcript(challenge.clone(), outcome, Some(answer), None, None)], &world.claims, 4).is_empty());
    let mut swapped = chain.clone();
    swapped.swap(1, 2);
    assert_eq!(world.judge_chain(&challenge, swapped), checked(1, &[1], &[]));
    for length in [0, READS - 1] {
        assert_eq!(world.judge_chain(&challenge, chain[..length].to_vec()), Outcome::Silent, "short of {READS}");
    }
    assert_eq!(world.judge_chain(&challenge, [chain.clone(), chain].concat()), Outcome::Silent, "too long");
}

#[test]
fn locality_decides_nothing() {
    let kinds = Kinds::standard();
    let class = &Setting::clone(&World::new().setting).params.classes[0];
    assert!(kinds.get(Kind::LOCALITY).unwrap().objectives(class).is_empty());
}
