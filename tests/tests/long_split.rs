//! Seven real oracles without a quorum for longer than a report may be accepted.

use std::collections::BTreeSet;

use assay_tests::devnet::chaos::Chaos;
use assay_tests::devnet::chaos::plan::FaultKind;

// Defence: an epoch is skipped once no report of it can be accepted (`Settler::decide_parents`), and those that ended meanwhile are
// certified behind the last one that was. Without it no report would ever be accepted again.
#[tokio::test(flavor = "multi_thread")]
async fn a_split_that_outlasts_a_reports_validity_costs_that_epoch_alone() {
    let chaos = Chaos { seed: 1, epochs: 6, kinds: BTreeSet::from([FaultKind::LongSplit]) };
    let directory = tempfile::tempdir().unwrap();
    let report = chaos.run_in(&directory.path().join("net"), |line| println!("{line}")).await.unwrap();
    println!("{report}");
    assert_eq!((report.accepted, report.skipped.len()), (5, 1), "{report}");
    assert!(report.is_sound(), "{report}");
}
