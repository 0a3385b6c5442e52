use super::*;
use crate::challenge::{Challenge, Checked};
use crate::epoch::tests::{commit_to, counts_mut, perfect_reveal, schedule, setting};
use crate::transcript::{OracleFault, Outcome, Pair, SlotSchedule, Transcript, summarise};

/// Commits to the reveal as it stands, so that only what is behind the root can be wrong.
fn verify(setting: &Setting, reveal: Reveal) -> Result<VerifiedReveal, RevealError> {
    let commit = commit_to(&reveal);
    reveal.verify(&commit, setting)
}

// ---- counts ----

// Defence: the comparison with the schedule in `check_pairs`. Without it an oracle states a schedule of one probe, keeps full "coverage" of
// it and its vote, or states that probes were never scheduled which it would rather not report.
#[test]
fn scheduled_counts_other_than_the_vrfs_are_refused() {
    let setting = setting(4, 3);
    let honest = perfect_reveal(&setting, 1, 1);
    assert!(verify(&setting, honest.clone()).is_ok());
    let lies: [fn(&mut Counts); 3] = [
        |counts| (counts.scheduled, counts.counted) = (1, 1),
        |counts| counts.scheduled += 1,
        |counts| (counts.scheduled, counts.counted) = (counts.scheduled - 1, counts.counted - 1),
    ];
    for plug in Kinds::standard().iter() {
        for (number, lie) in lies.into_iter().enumerate() {
            for at in 0..honest.observations.len() {
                let mut reveal = honest.clone();
                let counts = counts_mut(&mut reveal.observations[at].observation, plug.kind());
                assert!(counts.scheduled > 1, "{} is scheduled", plug.name());
                lie(counts);
                let is_possible = reveal.observations[at].observation.counts.are_of(Kinds::standard());
                assert!(is_possible, "lie {number} is a possible count");
                assert_eq!(verify(&setting, reveal).unwrap_err(), RevealError::Observation, "lie {number} about {} of {at}", plug.name());
            }
        }
    }
}

// Defence: the schedule that a reveal is held against is drawn around the panel's windows. Without `is_in_window` in `derive`, or with
// another panel's windows, the honest reveal is refused and the other one passes.
#[test]
fn a_schedule_drawn_without_the_panels_windows_is_refused() {
    let setting = setting(4, 1);
    let mut reveal = perfect_reveal(&setting, 1, 1);
    assert!(verify(&setting, reveal.clone()).is_ok());
    let terms = &setting.providers[0];
    let (pair, class) = (Pair::new(&setting, terms, OracleId(1)), &setting.params.classes[0]);
    let echoes = (0..)
        .zip(&reveal.vrfs)
        .flat_map(|(slot, vrf)| {
            let unhindered = SlotSchedule::new(pair, slot, vrf, &[], class, &setting.params, setting.kinds);
            unhindered.asked().map(|probe| probe.kind).collect::<Vec<_>>()
        })
        .filter(|kind| *kind == Kind::LATENCY_ECHO)
        .count() as u64;
    let counts = counts_mut(&mut reveal.observations[0].observation, Kind::LATENCY_ECHO);
    assert!(echoes > counts.scheduled, "some fall into windows");
    (counts.scheduled, counts.counted) = (echoes, echoes);
    assert_eq!(verify(&setting, reveal).unwrap_err(), RevealError::Observation);
}

// Defence: `is_consistent`. Without it an oracle leaves out a kind it would rather not report, reports one twice, or hides bad events where
// nobody looks for them.
#[test]
fn another_list_of_kinds_and_other_arities_are_refused() {
    let setting = setting(4, 1);
    let honest = perfect_reveal(&setting, 1, 1);
    type Change = fn(&mut Vec<Counts>);
    let changes: [(&str, Change); 10] = [
        ("a kind is missing", |counts| drop(counts.remove(2))),
        ("no kind at all", Vec::clear),
        ("a kind twice", |counts| counts.insert(0, counts[0].clone())),
        ("another order", |counts| counts.swap(0, 1)),
        ("a kind of its own", |counts| counts.push(Counts { kind: Kind(200), scheduled: 0, counted: 0, bad: vec![], readings: vec![] })),
        ("a ground more", |counts| counts[0].bad.push(0)),
        ("a ground less", |counts| counts[3].bad.truncate(2)),
        ("a reading more", |counts| counts[3].readings.push(0)),
        ("more bad than counted", |counts| counts[1].bad[1] = counts[1].counted + 1),
        ("more counted than scheduled", |counts| counts[0].counted = counts[0].scheduled + 1),
    ];
    for (what, change) in changes {
        let mut reveal = honest.clone();
        change(&mut reveal.observations[0].observation.counts);
        assert_eq!(verify(&setting, reveal).unwrap_err(), RevealError::Observation, "{what}");
    }
}

// Defence: the first `ok_or` of `check_pairs`. Without it an oracle is believed about a provider that the chain does not know.
#[test]
fn an_observation_of_an_unknown_provider_is_refused() {
    let mut setting = setting(4, 1);
    let reveal = perfect_reveal(&setting, 1, 1);
    setting.providers.clear();
    assert_eq!(verify(&setting, reveal).unwrap_err(), RevealError::Observation);
}

// Defence: the schedule is counted by the same rule on both sides. Otherwise honest reveals are refused.
#[test]
fn whatever_became_of_its_probes_an_honest_summary_states_the_schedule() {
    for claim_blocks in [0, 10] {
        let mut setting = setting(4, 1);
        setting.providers[0].keys.claims.blocks = claim_blocks;
        let terms = setting.providers[0];
        let schedule = schedule(&setting, &terms, 1);
        let mut reveal = perfect_reveal(&setting, 1, 1);
        for kept in [0, 1, 2, 5] {
            let transcripts = transcripts(&schedule, kept);
            let observation = summarise(&setting, &terms, reveal.oracle, &schedule, &transcripts, None, &[]);
            reveal.struck = transcripts.iter().map(|t| t.challenge.clone()).filter(|c| c.digest() == observation.struck).take(1).collect();
            reveal.observations[0].observation = observation;
            assert!(verify(&setting, reveal.clone()).is_ok(), "{claim_blocks} blocks, {kept} of 5 kept");
        }
    }
}

/// Transcripts of `kept` of every five challenges that are asked, each twice, with every outcome there is.
fn transcripts(schedule: &PairSchedule, kept: usize) -> Vec<Transcript> {
    let challenges = schedule.slots().iter().flat_map(SlotSchedule::challenges).enumerate();
    challenges
        .filter(|(number, _)| number % 5 < kept)
        .flat_map(|(number, (scheduled, challenge))| {
            let asked = challenge.chunks.max(1);
            let outcome = match number % 4 {
                0 => Outcome::Silent,
                1 => Outcome::OracleError(OracleFault::Stall),
                2 => Outcome::Checked(Checked { valid: asked, invalid: vec![], missing: vec![] }),
                _ => Outcome::Checked(Checked { valid: asked - 1, invalid: vec![], missing: vec![0] }),
            };
            let transcript = asked_once(challenge, scheduled.at_us, outcome);
            [transcript.clone(), transcript]
        })
        .collect()
}

fn asked_once(challenge: Challenge, scheduled_at_us: u64, outcome: Outcome) -> Transcript {
    Transcript {
        challenge,
        strike: 0,
        scheduled_at_us,
        slip_us: 0,
        rtt_us: Some(900),
        readings: vec![],
        outcome,
        answer: None,
        signature: None,
    }
}

// ---- silence ----

/// Storage challenges that oracle 1 asks a provider.
fn audits(setting: &Setting, provider: usize, oracle: u64) -> Vec<Challenge> {
    let schedule = schedule(setting, &setting.providers[provider], oracle);
    let challenges: Vec<_> = schedule.slots().iter().flat_map(SlotSchedule::challenges).map(|(_, challenge)| challenge).collect();
    challenges.into_iter().filter(|challenge| challenge.kind == Kind::STORAGE).collect()
}

/// A reveal that names the first audit of its first provider as struck out.
fn struck_reveal(setting: &Setting) -> Reveal {
    let mut reveal = perfect_reveal(setting, 1, 1);
    name_struck(&mut reveal, 0, audits(setting, 0, 1).remove(0));
    reveal
}

fn name_struck(reveal: &mut Reveal, provider: usize, challenge: Challenge) {
    let observation = &mut reveal.observations[provider].observation;
    counts_mut(observation, Kind::STORAGE).bad[Storage::SILENT] = u64::from(STORAGE_SAMPLES);
    observation.struck = challenge.digest();
    reveal.struck.push(challenge);
}

// Defence: `check_struck`. Without it one oracle puts on the whole network's watch list what it never asked or what was answered.
#[test]
fn a_challenge_that_did_not_strike_out_is_refused() {
    let setting = setting(4, 2);
    let honest = struck_reveal(&setting);
    assert!(verify(&setting, honest.clone()).is_ok());
    let own = audits(&setting, 0, 1);
    let echo = schedule(&setting, &setting.providers[0], 1).slots()[0]
        .challenges()
        .find(|(_, challenge)| challenge.kind == Kind::LATENCY_ECHO)
        .unwrap()
        .1;
    let committed_to: [(&str, Challenge); 5] = [
        ("not scheduled", Challenge { index: own[0].index + 1, ..own[0].clone() }),
        ("of another epoch", Challenge { epoch: 9, ..own[0].clone() }),
        ("of another oracle", audits(&setting, 0, 2).remove(0)),
        ("another claim set", Challenge { claim_blocks: 11, ..own[0].clone() }),
        ("no storage", echo),
    ];
    for (what, challenge) in committed_to {
        let mut reveal = perfect_reveal(&setting, 1, 1);
        name_struck(&mut reveal, 0, challenge);
        assert_eq!(verify(&setting, reveal).unwrap_err(), RevealError::Struck, "{what}");
    }

    let mut answered = honest.clone();
    counts_mut(&mut answered.observations[0].observation, Kind::STORAGE).bad[Storage::SILENT] = u64::from(STORAGE_SAMPLES) - 1;
    assert_eq!(verify(&setting, answered).unwrap_err(), RevealError::Struck, "too few silent samples");
    let mut other = honest.clone();
    other.struck[0] = own[1].clone();
    assert_eq!(verify(&setting, other).unwrap_err(), RevealError::Struck, "not the committed one");
    let mut withheld = honest.clone();
    withheld.struck.clear();
    assert_eq!(verify(&setting, withheld).unwrap_err(), RevealError::Struck, "committed to, not revealed");
    let mut uncommitted = honest;
    uncommitted.observations[0].observation.struck = Hash32::ZERO;
    assert_eq!(verify(&setting, uncommitted).unwrap_err(), RevealError::Struck, "revealed, not committed to");
}

// Defence: one entry for each provider in `check_pairs`, and none left over. Without it an oracle chooses afterwards which one counts, and
// names providers that it has not observed.
#[test]
fn one_struck_challenge_a_provider_and_only_of_observed_ones() {
    let setting = setting(4, 2);
    let mut two = struck_reveal(&setting);
    two.struck.push(audits(&setting, 0, 1).remove(1));
    assert_eq!(verify(&setting, two).unwrap_err(), RevealError::Struck);

    let mut foreign = perfect_reveal(&setting, 1, 1);
    name_struck(&mut foreign, 0, audits(&setting, 1, 1).remove(0));
    assert_eq!(verify(&setting, foreign).unwrap_err(), RevealError::Struck, "of another provider");

    let mut unobserved = perfect_reveal(&setting, 1, 1);
    unobserved.observations.pop();
    unobserved.struck.push(audits(&setting, 1, 1).remove(0));
    assert_eq!(verify(&setting, unobserved).unwrap_err(), RevealError::Struck);
}
