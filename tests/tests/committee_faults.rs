//! Seven real oracles on a real chain through every kind of fault at once, at times that a seed gives.

use assay_tests::devnet::chaos::Chaos;
use assay_tests::devnet::chaos::plan::FaultKind;

// Defences: write before speak and the signing record (nobody signs twice), the replay of the log (a killed member comes back into the
// epoch), delivery until it is taken and view changes (a report in spite of deaf or divided members), observations under the beacon's seed
// and deadlines by everybody's own clock (who is out of time loses itself alone), an epoch that cannot be stored is not committed to (a full
// disk), final blocks and an outbox that assumes nothing of its node (reorganisations and lies of an RPC).
#[tokio::test(flavor = "multi_thread")]
async fn every_epoch_is_settled_to_the_wei_in_spite_of_every_kind_of_fault() {
    let chaos = Chaos { seed: 1, epochs: 4, kinds: FaultKind::passing() };
    let directory = tempfile::tempdir().unwrap();
    let report = chaos.run_in(&directory.path().join("net"), |line| println!("{line}")).await.unwrap();
    println!("{report}");
    assert!(report.faults.keys().eq(&FaultKind::passing()));
    assert!(report.is_sound(), "{report}");
}
