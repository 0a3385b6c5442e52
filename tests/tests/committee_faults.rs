//! Seven real oracles through kills, deaf and slow members and reorganisations of a real chain.

use assay_tests::devnet::chaos::{Chaos, Event};

// Defences: write before speak and the signing record (nobody signs twice), the replay of the log (a killed member comes back into the
// epoch), delivery until it is taken and view changes (a report in spite of deaf members), final blocks alone (a reorganisation loses none).
#[tokio::test(flavor = "multi_thread")]
async fn every_epoch_has_its_report_in_spite_of_kills_deafness_and_reorganisations() {
    let chaos = Chaos { seed: 1, epochs: 4 };
    let events = chaos.events(7, 25_000);
    for wanted in [Event::Kill(0), Event::Deafen(0), Event::Slow(0), Event::Reorg] {
        let kind = std::mem::discriminant(&wanted);
        assert!(events.iter().any(|(_, event)| std::mem::discriminant(event) == kind), "{wanted:?}");
    }
    let directory = tempfile::tempdir().unwrap();
    let report = chaos.run_in(&directory.path().join("net"), |line| println!("{line}")).await.unwrap();
    println!("{report}");
    assert_eq!(report.events, events.len());
    assert!(report.is_sound(), "{report}");
}
