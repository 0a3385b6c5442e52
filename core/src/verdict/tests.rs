use std::cmp::Ordering;

use super::goal::Report;
use super::*;
use crate::epoch::tests::counts_mut;
use crate::observation::Counts;
use crate::params::TOKEN;

/// (counted, over T50, over T95) of latency and (counted, bad) of availability; all else is as promised.
fn seen(oracle: u64, latency: (u64, u64, u64), availability: (u64, u64)) -> (OracleId, Observation) {
    let mut observation = Observation::empty(Kinds::standard(), 0, ProviderId(1), OracleId(oracle));
    let floor = Params::devnet().classes[0].floor_in_kbps;
    for (kind, counted, bad, readings) in [
        (Kind::AVAILABILITY, availability.0, vec![availability.1], vec![]),
        (Kind::LATENCY_ECHO, latency.0, vec![latency.1, latency.2, 0], vec![1_000 * oracle, 0]),
        (Kind::STORAGE, 150, vec![0; 3], vec![]),
        (Kind::INGRESS, floor, vec![0], vec![30_000 + oracle]),
        (Kind::EGRESS, floor, vec![0], vec![25_000 + oracle]),
    ] {
        *counts_mut(&mut observation, kind) = Counts { kind, scheduled: counted, counted, bad, readings };
    }
    (OracleId(oracle), observation)
}

fn judge(panel: &[(OracleId, Observation)], absent: &[u64], facts: &[ProvenFact], secure: bool, previous: u64) -> Verdict {
    let params = Params::devnet();
    let class = params.class(100).unwrap();
    let mut seats: Vec<PanelSeat<'_>> = panel.iter().map(|(id, o)| seat(*id, 1, Some(o))).collect();
    seats.extend(absent.iter().map(|id| seat(OracleId(*id), 1, None)));
    let case = Case {
        epoch: 0,
        provider: ProviderId(1),
        class,
        stake: 1_000 * TOKEN,
        panel: Panel { seats: &seats, kind: PanelKind::Drawn },
        facts,
        watched: None,
        is_refuted: false,
        struck: None,
        secure,
        previous_multiplier_ppm: previous,
    };
    Verdict::judge(&case, Kinds::standard(), &params)
}

fn seat(oracle: OracleId, weight: u16, seen: Option<&Observation>) -> PanelSeat<'_> {
    PanelSeat { oracle, weight, seen }
}

/// Judges a panel that is the whole set; `None` is a member that did not report.
fn judge_whole_set(members: &[(u16, Option<Observation>)]) -> Verdict {
    let params = Params::devnet();
    let seats: Vec<PanelSeat<'_>> = (1..).zip(members).map(|(id, (weight, seen))| seat(OracleId(id), *weight, seen.as_ref())).collect();
    let total_weight = members.iter().map(|(weight, _)| u64::from(*weight)).sum();
    let case = Case {
        epoch: 0,
        provider: ProviderId(1),
        class: params.class(100).unwrap(),
        stake: 1_000 * TOKEN,
        panel: Panel { seats: &seats, kind: PanelKind::WholeSet { total_weight } },
        facts: &[],
        watched: None,
        is_refuted: false,
        struck: None,
        secure: true,
        previous_multiplier_ppm: PPM,
    };
    Verdict::judge(&case, Kinds::standard(), &params)
}

/// A dead provider as seen by an honest oracle, a perfect one, and nothing at all.
fn dead(oracle: u64) -> Option<Observation> {
    Some(seen(oracle, (160, 160, 160), (25, 25)).1)
}

fn perfect(oracle: u64) -> Option<Observation> {
    Some(seen(oracle, (160, 0, 0), (25, 0)).1)
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
    assert_eq!(grade(&verdict, Dimension::LATENCY_P50), Grade::Fail);
    assert_eq!(grade(&verdict, Dimension::LATENCY_P95), Grade::Fail);
    assert_eq!(grade(&verdict, Dimension::AVAILABILITY), Grade::Pass);
    assert_eq!(grade(&verdict, Dimension::STORAGE), Grade::Pass);
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

// Defence: `PanelKind::WholeSet` in `Panel::votes` and `exceeds_liars`. With one vote a seat, two liars of a tenth each are rank f+1.
#[test]
fn two_light_liars_of_a_whole_set_neither_save_nor_condemn() {
    let ratios = [Dimension::AVAILABILITY, Dimension::LATENCY_P50, Dimension::LATENCY_P95];
    let saved = judge_whole_set(&[(70, dead(1)), (10, dead(2)), (10, perfect(3)), (10, perfect(4))]);
    let condemned = judge_whole_set(&[(70, perfect(1)), (10, perfect(2)), (10, dead(3)), (10, dead(4))]);
    // The second honest one is away: with one vote a seat, rank f+1 of three is a liar's.
    let condemned_by_more = judge_whole_set(&[(70, perfect(1)), (10, None), (10, dead(3)), (10, dead(4))]);
    for dimension in ratios {
        assert_eq!(grade(&saved, dimension), Grade::Fail);
        assert_eq!(grade(&condemned, dimension), Grade::Pass);
        assert_eq!(grade(&condemned_by_more, dimension), Grade::Pass);
    }
    assert_eq!((saved.multiplier_ppm, condemned.multiplier_ppm, condemned_by_more.multiplier_ppm), (0, PPM, PPM));
}

// Defence: as above, and the weighted median. The ids of the light ones do not matter.
#[test]
fn a_heavy_honest_oracle_holds_against_all_light_ones() {
    let verdict = judge_whole_set(&[(10, perfect(1)), (10, perfect(2)), (10, perfect(3)), (70, dead(4))]);
    assert_eq!(grade(&verdict, Dimension::AVAILABILITY), Grade::Fail);
    let verdict = judge_whole_set(&[(10, dead(1)), (10, dead(2)), (10, dead(3)), (70, perfect(4))]);
    assert_eq!(verdict.outcome, Grade::Pass);
    assert_eq!((verdict.dimensions[0].bad, verdict.dimensions[0].median_bad), (0, 0));
    assert_eq!(verdict.p50_us, 4_000, "the heavy one's");
}

// Defence: `Panel::is_enough` by weight. By seats, three light ones with 30 of 100 are 2f+1 and judge without the heavy one.
#[test]
fn two_thirds_of_the_sets_weight_exactly_is_inconclusive() {
    let verdict = judge_whole_set(&[(70, None), (10, dead(2)), (10, dead(3)), (10, dead(4))]);
    assert_eq!(grade(&verdict, Dimension::AVAILABILITY), Grade::Inconclusive);
    assert_eq!(verdict.multiplier_ppm, PPM);
    let exactly = judge_whole_set(&[(30, dead(1)), (30, dead(2)), (10, None), (20, None)]);
    assert_eq!(grade(&exactly, Dimension::AVAILABILITY), Grade::Inconclusive);
    let more = judge_whole_set(&[(30, dead(1)), (31, dead(2)), (10, None), (20, None)]);
    assert_eq!(grade(&more, Dimension::AVAILABILITY), Grade::Fail);
}

// Defence: the strict comparisons of `exceeds_liars` and `is_enough`, and the lower median.
#[test]
fn equal_weights_rank_as_seats_do() {
    for size in [4u64, 7] {
        for absent in 0..=size {
            let observations: Vec<_> = (1..=size).map(|id| seen(id, (160, 7 * id % 160, id), (25, id * 5 % 7))).collect();
            let (there, away) = observations.split_at((size - absent) as usize);
            let by_seat = judge(there, &away.iter().map(|(id, _)| id.0).collect::<Vec<_>>(), &[], true, PPM);
            for weight in [1, 100, u16::MAX] {
                let members: Vec<_> =
                    observations.iter().map(|(id, o)| (weight, Some(o.clone()).filter(|_| id.0 <= size - absent))).collect();
                assert_eq!(judge_whole_set(&members), by_seat, "{absent} of {size} absent, weight {weight}");
            }
        }
    }
}

// Defence: `Outcome::compute` names the kind of panel. With `PanelKind::Drawn` for everybody the first verdict is a pass.
#[test]
fn a_report_weighs_a_whole_set_and_counts_a_drawn_panel() {
    use crate::epoch::tests::{perfect_reveal, setting};
    use crate::observation::VerifiedReveal;
    use crate::report::{Inputs, Ledger, Outcome};
    let mut setting = setting(4, 1);
    for (member, weight) in setting.members.iter_mut().zip([70, 10, 10, 10]) {
        member.weight = weight;
    }
    // Of two members of one operator only one enters a panel: four seats of five, not the whole set.
    let mut five = setting.clone();
    five.members.push(crate::report::Member { oracle: OracleId(5), ..setting.members[3] });
    let reveals = (1..=5)
        .map(|id| {
            let mut verified = VerifiedReveal { reveal: perfect_reveal(&five, id, 1), commit_digest: Hash32::ZERO, faults: vec![] };
            let seen = counts_mut(&mut verified.reveal.observations[0].observation, Kind::AVAILABILITY);
            seen.bad[0] = if id <= 2 { seen.counted } else { 0 };
            (OracleId(id), verified)
        })
        .collect();
    let availability = |setting: &crate::report::Setting| {
        let inputs = Inputs { setting, view: 0, parent: &Ledger::default(), bit_votes_root: Hash32::ZERO, reveals: &reveals };
        grade(&Outcome::compute(&inputs).verdicts[0], Dimension::AVAILABILITY)
    };
    assert_eq!(availability(&setting), Grade::Fail);
    assert_eq!(availability(&five), Grade::Pass);
}

// Defence: equal ratios rank the larger count first. By id alone, a liar's thin 0/24 stands for all and hides how many were counted.
#[test]
fn of_equal_ratios_the_larger_count_ranks_first() {
    let thin = |id| {
        let mut thin = seen(id, (160, 0, 0), (25, 0));
        counts_mut(&mut thin.1, Kind::AVAILABILITY).counted = 24;
        thin
    };
    let panel = [thin(1), thin(2), seen(3, (160, 0, 0), (25, 0)), seen(4, (160, 0, 0), (25, 0))];
    let verdict = judge(&panel, &[], &[], true, PPM);
    assert_eq!((verdict.dimensions[0].bad, verdict.dimensions[0].counted, verdict.dimensions[0].median_counted), (0, 25, 25));
    let order = |bad: u64, counted: u64, id: u64, than: (u64, u64, u64)| {
        let report = |(bad, counted, id)| Report { oracle: OracleId(id), bad, counted };
        report((bad, counted, id)).order(&report(than))
    };
    assert_eq!(order(2, 20, 9, (1, 10, 1)), Ordering::Less);
    assert_eq!(order(2, 20, 1, (2, 20, 2)), Ordering::Less, "then by id");
    assert_eq!(order(3, 20, 1, (1, 10, 2)), Ordering::Greater, "never over the ratio");
}

#[test]
fn too_few_reporting_oracles_are_inconclusive_and_keep_the_multiplier() {
    let panel: Vec<_> = (1..=2).map(|id| seen(id, (160, 160, 160), (25, 25))).collect();
    let verdict = judge(&panel, &[3, 4], &[], true, 600_000);
    assert_eq!(grade(&verdict, Dimension::LATENCY_P95), Grade::Inconclusive);
    assert_eq!(verdict.multiplier_ppm, 600_000);
}

// Defence: the coverage rule. Without it an oracle that skips inconvenient probes keeps its vote.
#[test]
fn an_oracle_that_skipped_probes_has_no_vote() {
    let mut panel: Vec<_> = (1..=4).map(|id| seen(id, (160, 0, 0), (25, 0))).collect();
    for (_, observation) in &mut panel[1..] {
        counts_mut(observation, Kind::LATENCY_ECHO).counted = 100;
    }
    let verdict = judge(&panel, &[], &[], true, PPM);
    assert_eq!(grade(&verdict, Dimension::LATENCY_P50), Grade::Inconclusive);
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

// ---- bandwidth ----

/// Judges ingress by what each member of a panel saw missing of the floor of 20,000 kbit/s; `None` is a member without a test.
fn bandwidth(shortfalls: &[Option<u64>]) -> DimensionVerdict {
    let panel: Vec<_> = (1..)
        .zip(shortfalls)
        .map(|(id, shortfall)| {
            let mut seen = seen(id, (160, 0, 0), (25, 0));
            let counts = counts_mut(&mut seen.1, Kind::INGRESS);
            match shortfall {
                Some(shortfall) => counts.bad[0] = *shortfall,
                None => counts.counted = 0,
            }
            seen
        })
        .collect();
    let verdict = judge(&panel, &[], &[], true, PPM);
    *verdict.dimensions.iter().find(|d| d.dimension == Dimension::BANDWIDTH_IN).unwrap()
}

fn tested(shortfalls: [u64; 5]) -> DimensionVerdict {
    bandwidth(&shortfalls.map(Some))
}

// Defence: `Rule::Median`. With the mean, or with any single vote, one liar of five moves the verdict.
#[test]
fn one_liar_of_five_neither_condemns_nor_saves_a_line() {
    assert_eq!(tested([20_000, 0, 0, 0, 0]).grade, Grade::Pass);
    assert_eq!(tested([0, 0, 0, 0, 20_000]).multiplier_ppm, PPM);
    let saved = tested([0, 3_000, 3_000, 3_000, 3_000]);
    assert_eq!((saved.grade, saved.bad, saved.counted), (Grade::Fail, 3_000, 20_000));
    assert_eq!(tested([3_000, 3_000, 3_000, 3_000, 0]).grade, Grade::Fail);
}

#[test]
fn a_line_passes_degrades_and_fails_at_its_borders() {
    assert_eq!(tested([1_000; 5]).grade, Grade::Pass, "5 % may be missing");
    assert_eq!(tested([1_001; 5]).grade, Grade::Degraded);
    assert_eq!(tested([1_999; 5]).grade, Grade::Degraded);
    assert_eq!(tested([2_000; 5]).grade, Grade::Fail, "twice of what may be missing");
    assert_eq!(tested([2_000; 5]).multiplier_ppm, 500_000);
    assert_eq!(tested([5_000; 5]).multiplier_ppm, 0);
}

// Defence: the second condition of `Rule::Median`. Without it two of five that were disturbed, with one liar, fail an honest line.
#[test]
fn a_low_median_alone_degrades_a_line_and_does_not_fail_it() {
    assert_eq!(tested([1_000, 1_000, 9_000, 9_000, 9_000]).grade, Grade::Degraded);
    assert_eq!(tested([1_000, 1_001, 9_000, 9_000, 9_000]).grade, Grade::Fail);
}

#[test]
fn too_few_tests_of_a_line_are_inconclusive() {
    let two = bandwidth(&[Some(9_000), Some(9_000), None, None, None]);
    assert_eq!((two.grade, two.reporting, two.multiplier_ppm), (Grade::Inconclusive, 2, PPM));
    assert_eq!(bandwidth(&[Some(9_000), Some(9_000), Some(9_000), None, None]).grade, Grade::Fail);
    assert_eq!(bandwidth(&[None; 5]).grade, Grade::Inconclusive);
}

#[test]
fn the_published_rate_is_the_panels_median_reading() {
    let panel: Vec<_> = (1..=5).map(|id| seen(id, (160, 0, 0), (25, 0))).collect();
    let verdict = judge(&panel, &[], &[], true, PPM);
    assert_eq!((verdict.in_kbps, verdict.out_kbps), (30_003, 25_003));
}

// ---- silence ----

/// Judges a drawn panel's witnesses of a watched challenge: (slash reason, the entry from now on).
fn watch(witnesses: &[fn(Hash32) -> Witness]) -> (Option<Fault>, Option<Watched>) {
    let setting = crate::epoch::tests::setting(4, 1);
    let schedule = crate::epoch::tests::schedule(&setting, &setting.providers[0], 1);
    let challenge = schedule.slots()[0].challenges().find(|(_, challenge)| challenge.kind == Kind::STORAGE).unwrap().1;
    let watched = Watched { challenge, slashed_in: None };
    let digest = watched.challenge.digest();
    let panel: Vec<_> = (1..)
        .zip(witnesses)
        .map(|(id, witness)| {
            let (oracle, mut seen) = seen(id, (160, 0, 0), (25, 0));
            seen.witness = witness(digest);
            (oracle, seen)
        })
        .collect();
    let seats: Vec<_> = panel.iter().map(|(id, o)| seat(*id, 1, Some(o))).collect();
    let params = Params::devnet();
    let case = Case {
        epoch: 0,
        provider: ProviderId(1),
        class: &params.classes[0],
        stake: 1_000 * TOKEN,
        panel: Panel { seats: &seats, kind: PanelKind::Drawn },
        facts: &[],
        watched: Some(&watched),
        is_refuted: false,
        struck: None,
        secure: true,
        previous_multiplier_ppm: PPM,
    };
    (Verdict::judge(&case, Kinds::standard(), &params).slash_reason, case.watch_from_now_on())
}

// Defence: `is_all_but_liars`. With 2f + 1 of five or six seats a provider is slashed that answered more members than may lie.
#[test]
fn silence_takes_all_members_but_those_who_may_lie() {
    type Says = fn(Hash32) -> Witness;
    let (silent, answered): (Says, Says) = (Witness::Silent, Witness::Answered);
    for (size, faulty) in [(4usize, 1usize), (5, 1), (6, 1), (7, 2), (10, 3), (1, 0), (3, 0)] {
        let of = |silents: usize| {
            let witnesses: Vec<_> = (0..size).map(|seat| if seat < silents { silent } else { answered }).collect();
            watch(&witnesses)
        };
        let (reason, entry) = of(size - faulty);
        assert_eq!((reason, entry.map(|entry| entry.is_slashed())), (Some(Fault::StorageSilent), Some(true)), "{size}");
        assert_eq!(of(size - faulty - 1), (None, None), "of {size} more than {faulty} had an answer");
    }
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
