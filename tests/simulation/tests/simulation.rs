//! The default runs. A failure prints the line that reproduces it.

use assay_simulation::{Adversary, Branch, Config, Fault, Liars, run, run_all};

const THREADS: usize = 2;
/// 20 epochs each.
const RUNS: u64 = 102;

/// Seeds that found something once, and what.
const REGRESSIONS: &[(&str, u64)] = &[
    ("one commit shown to each half of the committee stopped every epoch", 0x8),
    ("the same among seven, with a censoring leader", 0x1b),
    ("the same among sixteen", 0x2d),
    ("several commits to one root: a reveal was matched with one of them only", 0x35),
    ("a flood of commits, voted for by liars alone", 0x7),
];

/// As many faults there were when these seeds were found: others after them would make other histories of them.
const FAULTS_THEN: usize = 37;

#[test]
fn two_thousand_epochs_with_faults_and_liars() {
    let total = run_all(1_000..1_000 + RUNS, THREADS, Config::of_seed);
    println!("{}", total.table());
    assert!(total.failures.is_empty(), "{}", total.failures.join("\n"));
    assert!(total.epochs >= 2_000);
    // Since reports survive all of these faults, only a directed run loses one: `an_epoch_whose_time_is_over_is_skipped`.
    let mut missing = total.coverage.missing();
    missing.retain(|name| *name != Branch::EpochSkipped.name());
    assert_eq!(missing, Vec::<&str>::new(), "what never happens proves nothing");
}

#[test]
fn regressions() {
    for (found, seed) in REGRESSIONS {
        let faults = Fault::ALL[..FAULTS_THEN].to_vec();
        let summary = run(Config { faults, ..Config::of_seed(*seed) });
        assert_eq!(summary.failure(), None, "{found}");
    }
}

// Each way to lie on its own, by as many as are less than a third: what many ways at once may hide.
#[test]
fn every_adversary_alone() {
    for (number, adversary) in (0..).zip(Adversary::ALL) {
        let liars = Liars::All(*adversary);
        let config = Config { epochs: 6, calm_epochs: 6, oracles: (7, 7), liars, faults: vec![], ..Config::of_seed(0xad00 + number) };
        let summary = run(config);
        assert_eq!(summary.violation, None, "{adversary:?}");
        assert_eq!(summary.accepted, 6, "{adversary:?}");
    }
}

#[test]
fn one_seed_is_one_history() {
    let config = Config { epochs: 8, calm_epochs: 2, ..Config::of_seed(0x5eed) };
    let (first, again) = (run(config.clone()), run(config.clone()));
    assert_eq!(first.trace, again.trace);
    let other = run(Config { seed: 0x5eee, ..config });
    assert_ne!(first.trace, other.trace);
}

#[test]
fn an_epoch_of_256_oracles() {
    let config = Config {
        epochs: 1,
        calm_epochs: 1,
        oracles: (256, 256),
        providers: 20,
        liars: Liars::None,
        faults: vec![],
        ..Config::of_seed(0x256)
    };
    let summary = run(config);
    assert_eq!(summary.violation, None);
    assert_eq!(summary.accepted, 1);
}

#[test]
fn two_thousand_providers() {
    let config = Config { epochs: 2, calm_epochs: 1, oracles: (7, 7), providers: 2_000, ..Config::of_seed(0x2000) };
    let summary = run(config);
    assert_eq!(summary.failure(), None);
    assert_eq!(summary.accepted, 2);
}

// Beyond a third nothing lands, and still nobody signs twice and nothing leaks.
#[test]
fn a_mute_third_stops_reports_and_breaks_nothing_else() {
    let config = Config { epochs: 8, liars: Liars::Beyond(Adversary::Mute, 500), oracles: (7, 7), ..Config::of_seed(0xbe) };
    let summary = run(config);
    assert_eq!(summary.violation, None);
    assert_eq!(summary.accepted, 0, "a report without a quorum");
    assert!(summary.coverage.of(Branch::ViewChanged) == 0, "a view without a quorum");
}

// Beyond a third of lying measurers what is published is theirs; that reports land, agree and are signed once still holds.
#[test]
fn three_liars_of_four_measure_what_they_like_and_stop_nothing() {
    let liars = Liars::Beyond(Adversary::LiarBad, 750);
    let config = Config { epochs: 6, calm_epochs: 6, liars, oracles: (4, 4), faults: vec![], ..Config::of_seed(0xbad) };
    let summary = run(config);
    assert_eq!(summary.violation, None, "no promise is made to providers whose panel lies");
    assert_eq!(summary.accepted, 6, "liars agree with each other");
}
