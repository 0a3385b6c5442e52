use super::*;
use crate::params::TOKEN;

fn seen(oracle: u64, latency: (u64, u64, u64), availability: (u64, u64)) -> (OracleId, Observation) {
    let mut observation = Observation::empty(0, ProviderId(1), OracleId(oracle));
    (observation.latency_scheduled, observation.latency_counted) = (latency.0, latency.0);
    (observation.over_t50, observation.over_t95) = (latency.1, latency.2);
    observation.p50_us = 1_000 * oracle;
    (observation.availability_scheduled, observation.availability.counted) = (availability.0, availability.0);
    observation.availability.bad = availability.1;
    (observation.storage_scheduled, observation.storage_valid) = (150, 150);
    (OracleId(oracle), observation)
}

fn judge(panel: &[(OracleId, Observation)], absent: &[u64], facts: &[ProvenFact], secure: bool, previous: u64) -> Verdict {
    let params = Params::devnet();
    let class = params.class(100).unwrap();
    let mut members: Vec<(OracleId, Option<&Observation>)> = panel.iter().map(|(id, o)| (*id, Some(o))).collect();
    members.extend(absent.iter().map(|id| (OracleId(*id), None)));
    let case = Case {
        epoch: 0,
        provider: ProviderId(1),
        class,
        stake: 1_000 * TOKEN,
        panel: &members,
        facts,
        secure,
        previous_multiplier_ppm: previous,
    };
    Verdict::judge(&case, &params)
}

fn grade(verdict: &Verdict, dimension: Dimension) -> Grade {
    verdict.dimensions.iter().find(|d| d.dimension == dimension).unwrap().grade
}

#[test]
fn an_honest_provider_earns_its_base_to_the_wei() {
    let panel: Vec<_> = (1..=4).map(|id| seen(id, (160, 0, 0), (25, 0))).collect();
    let verdict = judge(&panel, &[], &[], true, PPM);
    assert_eq!((verdict.outcome, verdict.multiplier_ppm), (Grade::Pass, PPM));
    assert_eq!((verdict.reward, verdict.slash), (100 * TOKEN, 0));
    assert_eq!(verdict.p50_us, 2_000);
}

#[test]
fn a_slow_provider_fails_on_latency_alone_and_is_not_slashed() {
    let panel: Vec<_> = (1..=4).map(|id| seen(id, (160, 160, 160), (25, 0))).collect();
    let verdict = judge(&panel, &[], &[], true, PPM);
    assert_eq!(grade(&verdict, Dimension::LatencyP50), Grade::Fail);
    assert_eq!(grade(&verdict, Dimension::LatencyP95), Grade::Fail);
    assert_eq!(grade(&verdict, Dimension::Availability), Grade::Pass);
    assert_eq!(grade(&verdict, Dimension::Storage), Grade::Pass);
    assert_eq!((verdict.outcome, verdict.reward, verdict.slash), (Grade::Fail, 0, 0));
}

// Defence: rank f+1. With the mean, or with any single vote, one liar of four moves the verdict.
#[test]
fn one_liar_of_four_neither_condemns_nor_saves() {
    let mut panel: Vec<_> = (1..=4).map(|id| seen(id, (160, 0, 0), (25, 0))).collect();
    panel[3] = seen(4, (160, 160, 160), (25, 25));
    assert_eq!(judge(&panel, &[], &[], true, PPM).outcome, Grade::Pass);
    let mut panel: Vec<_> = (1..=4).map(|id| seen(id, (160, 160, 160), (25, 0))).collect();
    panel[0] = seen(1, (160, 0, 0), (25, 0));
    assert_eq!(judge(&panel, &[], &[], true, PPM).outcome, Grade::Fail);
}

#[test]
fn too_few_reporting_oracles_are_inconclusive_and_keep_the_multiplier() {
    let panel: Vec<_> = (1..=2).map(|id| seen(id, (160, 160, 160), (25, 25))).collect();
    let verdict = judge(&panel, &[3, 4], &[], true, 600_000);
    assert_eq!(grade(&verdict, Dimension::LatencyP95), Grade::Inconclusive);
    assert_eq!(verdict.multiplier_ppm, 600_000);
}

// Defence: the coverage rule. Without it an oracle that skips inconvenient probes keeps its vote.
#[test]
fn an_oracle_that_skipped_probes_has_no_vote() {
    let mut panel: Vec<_> = (1..=4).map(|id| seen(id, (160, 0, 0), (25, 0))).collect();
    for (_, observation) in &mut panel[1..] {
        observation.latency_counted = 100;
    }
    let verdict = judge(&panel, &[], &[], true, PPM);
    assert_eq!(grade(&verdict, Dimension::LatencyP50), Grade::Inconclusive);
}

#[test]
fn a_proven_fact_slashes_five_percent_once_and_pays_nothing() {
    let panel: Vec<_> = (1..=4).map(|id| seen(id, (160, 0, 0), (25, 0))).collect();
    let fact = ProvenFact { fault: Fault::StorageMissing, digest: Hash32([9; 32]) };
    let verdict = judge(&panel, &[], &[fact, fact], true, PPM);
    assert_eq!((verdict.outcome, verdict.multiplier_ppm, verdict.reward), (Grade::Fail, 0, 0));
    assert_eq!((verdict.slash, verdict.slash_reason), (50 * TOKEN, Some(Fault::StorageMissing)));
    assert_eq!(judge(&panel, &[], &[fact], true, PPM).facts_root, verdict.facts_root);
}

// Defence: the `secure` flag. A seed from the fallback can be ground by a block proposer, so it never slashes.
#[test]
fn an_insecure_epoch_never_slashes() {
    let panel: Vec<_> = (1..=4).map(|id| seen(id, (160, 0, 0), (25, 0))).collect();
    let fact = ProvenFact { fault: Fault::StorageMissing, digest: Hash32([9; 32]) };
    let verdict = judge(&panel, &[], &[fact], false, PPM);
    assert_eq!((verdict.slash, verdict.slash_reason), (0, None));
}

#[test]
fn the_multiplier_falls_at_once_and_rises_by_half_the_gap() {
    let panel: Vec<_> = (1..=4).map(|id| seen(id, (160, 0, 0), (25, 0))).collect();
    assert_eq!(judge(&panel, &[], &[], true, 0).multiplier_ppm, 500_000);
    assert_eq!(judge(&panel, &[], &[], true, 999_999).multiplier_ppm, PPM);
}

#[test]
fn the_multiplier_has_no_cliff() {
    assert_eq!(multiplier_of_burn(1_000_000), PPM);
    assert_eq!(multiplier_of_burn(2_000_000), 500_000);
    assert_eq!(multiplier_of_burn(5_000_000), 0);
    assert_eq!(multiplier_of_burn(u64::MAX), 0);
    for burn in (0..6_000_000).step_by(1_000) {
        let step = multiplier_of_burn(burn).abs_diff(multiplier_of_burn(burn + 1_000));
        assert!(step <= 501, "{burn}: {step}");
    }
}

#[test]
fn a_single_lost_probe_degrades_but_does_not_fail() {
    let panel: Vec<_> = (1..=4).map(|id| seen(id, (160, 0, 0), (25, 1))).collect();
    assert_eq!(judge(&panel, &[], &[], true, PPM).outcome, Grade::Degraded);
}

/// P(Binomial(n, ppm / 10^6) ≥ x), by a recurrence that loses no precision where it matters.
fn upper_tail(n: u64, ppm: u64, x: u64) -> f64 {
    let p = ppm as f64 / 1e6;
    let ln_choose: f64 = (0..x).map(|i| ((n - i) as f64 / (x - i) as f64).ln()).sum();
    let mut term = (ln_choose + x as f64 * p.ln() + (n - x) as f64 * (1.0 - p).ln()).exp();
    let mut sum = 0.0;
    for k in x..=n {
        sum += term;
        term *= (n - k) as f64 / (k + 1) as f64 * p / (1.0 - p);
    }
    sum
}

#[test]
fn the_critical_table_is_the_binomial_test() {
    for (ppm, largest) in critical::TABLES {
        for (x, n) in (1u64..).zip(largest.iter().copied()) {
            if n >= x {
                assert!(upper_tail(n, ppm, x) <= 1e-4, "{ppm} {x} {n}");
            }
            if n + 1 >= x {
                assert!(upper_tail(n + 1, ppm, x) > 1e-4, "{ppm} {x} {n}");
            }
        }
    }
}

#[test]
fn beyond_the_table_every_material_excess_is_significant() {
    for (ppm, largest) in critical::TABLES {
        let material = (2 * ppm).min((PPM + ppm) / 2);
        for x in largest.len() as u64..largest.len() as u64 + 200 {
            // Rounding down x may cost one event.
            let n = (x + 1) * PPM / material;
            assert!(upper_tail(n, ppm, x) <= 1e-4, "{ppm} {x} {n}");
        }
    }
}

#[test]
fn shares_round_down_and_never_overflow() {
    assert_eq!(share(7, 500_000), 3);
    assert_eq!(share(100 * TOKEN, PPM), 100 * TOKEN);
    assert_eq!(share(u128::MAX, PPM), u128::MAX);
    assert_eq!(share(123_456_789_012_345_678_901, 1), 123_456_789_012_345);
}
