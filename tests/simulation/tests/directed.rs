//! Small worlds, each with a fault or a liar aimed at one defence: what runs at random meet too rarely.

use assay_simulation::{Adversary, Branch, Config, Fault, Liars, Strike, Summary, run};

/// A fault from one moment to another, ms after the end of epoch 0; none of its effects passes.
fn strike(config: &Config, fault: Fault, (from, to): (u64, u64), victims: &[u64]) -> Strike {
    let end_ms = config.end_ms(0);
    Strike { fault, from_ms: end_ms + from, to_ms: end_ms + to, victims: victims.to_vec(), skip: 0 }
}

/// Every epoch's report lands, and no invariant is broken on the way.
fn lands(config: Config) -> Summary {
    let summary = run(config);
    assert_eq!(summary.failure(), None);
    assert_eq!(summary.accepted, summary.epochs);
    summary
}

// Defence: `Setting::is_quorum` is more than 2/3. Without it members of exactly 2/3 post a certificate that the chain refuses.
#[test]
fn four_of_six_certify_nothing() {
    let mut config = Config::calm(0xd1, 6, 3);
    config.script = vec![strike(&config, Fault::MinorityPartition, (0, 20_000), &[5, 6])];
    lands(config);
}

// Defence: `Close::change_view` enters a view by a quorum of wishes. Without it each half of a committee goes its own way.
#[test]
fn half_of_a_committee_enters_no_view() {
    let mut config = Config::calm(0xd2, 4, 3);
    config.script = vec![strike(&config, Fault::MajorityPartition, (0, 30_000), &[3, 4])];
    lands(config);
}

// Defence: `counted_commits` counts by more than 1/3. Without it a reveal that half of the members had in time is left out.
#[test]
fn a_reveal_that_four_of_seven_had_in_time_is_in() {
    let mut config = Config::calm(0xd3, 7, 2);
    let leader = config.leader(0, 0);
    let deaf = (1..=7).filter(|oracle| *oracle != leader).take(3);
    config.script = deaf.map(|oracle| strike(&config, Fault::LinkCut, (0, 5_000), &[leader, oracle])).collect();
    let summary = lands(config);
    assert!(summary.coverage.of(Branch::RevealFetched) > 0, "three lacked it");
}

// Defence: a statement is recorded before it is signed, and the record takes one digest. Without either a node that signed a vote, and then
// finds in its log what it did not know to be there, votes twice. Logged before it leaves: without it the vote would be out already.
#[test]
fn a_kill_between_signing_and_logging_makes_nobody_vote_twice() {
    let mut config = Config::calm(0xd4, 4, 2);
    config.script = vec![
        // The log takes our reveal and denies it, and refuses the second attempt: the vote is signed without it.
        strike(&config, Fault::LogFailsAfter, (2_200, 3_000), &[1]),
        strike(&config, Fault::LogFails, (3_000, 4_050), &[1]),
        strike(&config, Fault::KillBeforeLog, (4_050, 6_000), &[1]),
    ];
    let summary = lands(config);
    assert!(summary.coverage.of(Branch::RefusedByProtection) > 0, "nobody was about to vote twice");
}

// Defence: `Close::set_parent` takes another parent, and `assemble` no signatures under the one before. Without either an endpoint that lied
// about the last report to all members costs them the epoch.
#[test]
fn what_was_certified_under_a_wrong_parent_is_certified_again() {
    let mut config = Config::calm(0xd5, 4, 4);
    config.script = vec![strike(&config, Fault::RpcDenies, (7_000, 33_000), &[1, 2, 3, 4])];
    let summary = lands(config);
    assert!(summary.coverage.of(Branch::ChainRefusedParent) > 0, "nobody posted under the wrong parent");
    assert!(summary.coverage.of(Branch::ParentChanged) > 0);
}

// Defence: `Close::basis` lists commits in ascending order. Without it an honest leader's proposal with two commits of one oracle is refused.
#[test]
fn an_honest_leaders_proposal_carries_two_commits_in_order() {
    let mut config = Config::calm(0xd6, 7, 3);
    config.liars = Liars::These(vec![(7, Adversary::CommitStuffer)]);
    let summary = lands(config);
    assert!(summary.coverage.of(Branch::EquivocatorExcluded) > 0);
}

// Defence: `verify_bit_vote` refuses a list with doubles. Without it one vote counts as many, and throws an honest oracle out.
#[test]
fn one_vote_counts_once() {
    let seed = (0xd700..).find(|seed| Config::calm(*seed, 4, 2).leader(0, 0) == 4).unwrap();
    let mut config = Config::calm(seed, 4, 2);
    // The leader, the last of its peers, gets the stuffed one.
    config.liars = Liars::These(vec![(1, Adversary::FalseBitVote)]);
    let summary = lands(config);
    assert!(summary.coverage.of(Branch::StatementRefused) > 0);
}

// Defence: the first proposal of a view stands (`hold_proposal`, `is_news`, `follow`). Without it members decide anew at every proposal.
#[test]
fn two_proposals_in_a_view_are_one_decision() {
    let mut config = Config::calm(0xd8, 7, 2);
    config.liars = Liars::These(vec![(config.leader(0, 0), Adversary::EquivocatingLeader)]);
    lands(config);
}

// Defence: `Running::unlogged`. Without it whoever's log fails when its observations are complete is paid nothing.
#[test]
fn observations_that_the_log_did_not_take_are_offered_again() {
    for fault in [Fault::AppendFails, Fault::AppendFailsAfter] {
        let mut config = Config::calm(0xd9, 4, 1);
        config.script = vec![strike(&config, fault, (0, 600), &[1, 2, 3, 4])];
        let summary = lands(config);
        assert!(summary.coverage.of(Branch::AskedAgain) > 0);
    }
}

// Defence: `Close::commit_and_reveal` asks until the reveal comes back. Without it a log that fails in that moment costs the epoch's pay.
#[test]
fn a_reveal_that_the_log_did_not_take_is_sent_later() {
    for fault in [Fault::LogFails, Fault::LogFailsAfter] {
        let mut config = Config::calm(0xda, 4, 1);
        config.script = vec![strike(&config, fault, (2_200, 3_200), &[1, 2, 3, 4])];
        let summary = lands(config);
        assert!(summary.coverage.of(Branch::AskedAgain) > 0);
    }
}

// Defence: `Draft::asked_ms`. Without it a leader whose log fails in that moment loses its view.
#[test]
fn a_proposal_that_the_log_did_not_take_is_sent_in_the_same_view() {
    let mut config = Config::calm(0xdb, 4, 1);
    let leader = config.leader(0, 0);
    // Its bit-vote and its signature pass.
    config.script = vec![Strike { skip: 2, ..strike(&config, Fault::LogFails, (4_000, 8_000), &[leader]) }];
    let summary = lands(config);
    assert!(summary.coverage.of(Branch::AskedAgain) > 0);
    assert_eq!(summary.coverage.of(Branch::ViewChanged), 0, "the view was lost");
}

// Defence: `Input::HandedOver`. Without it nobody posts what all have certified.
#[test]
fn a_certificate_that_no_disk_took_is_handed_over_later() {
    let mut config = Config::calm(0xdc, 4, 1);
    config.script = vec![strike(&config, Fault::OutcomeFails, (4_000, 9_000), &[1, 2, 3, 4])];
    let summary = lands(config);
    assert!(summary.coverage.of(Branch::AskedAgain) >= 4);
}

// Defence: `asked_wish_ms`. Without it members whose logs fail when a view ends stay in it.
#[test]
fn a_wish_that_no_log_took_is_made_later() {
    let mut config = Config::calm(0xdd, 4, 1);
    let leader = config.leader(0, 0);
    config.liars = Liars::These(vec![(leader, Adversary::SilentLeader)]);
    let others: Vec<u64> = (1..=4).filter(|oracle| *oracle != leader).collect();
    config.script = vec![strike(&config, Fault::LogFails, (8_000, 11_000), &others)];
    let summary = lands(config);
    assert!(summary.coverage.of(Branch::AskedAgain) >= 3);
    assert!(summary.coverage.of(Branch::LaterViewAccepted) > 0);
}

// Defence: what the log knows and the state machine does not is applied. Without it a reveal that a log took and denied is missing until a
// restart, however often it is sent or fetched.
#[test]
fn a_reveal_that_a_log_took_and_denied_is_applied_when_it_comes_again() {
    let mut config = Config::calm(0xde, 7, 1);
    // The seventh reveal is the slowest oracle's own, and for all others what they hear last.
    config.script = vec![Strike { skip: 6, ..strike(&config, Fault::AppendFailsAfter, (2_200, 4_000), &[1, 2, 3, 4, 5, 6, 7]) }];
    let summary = lands(config);
    assert!(summary.coverage.of(Branch::KnownToTheLogAlone) >= 6);
}

// Defence: `valid_until`, an epoch without a report is over in time. Without it a partition of 80 s would hold up every epoch after it.
#[test]
fn an_epoch_whose_time_is_over_is_skipped() {
    let mut config = Config { loses_none: false, ..Config::calm(0xdf, 4, 8) };
    config.script = vec![strike(&config, Fault::MajorityPartition, (0, 80_000), &[3, 4])];
    let summary = run(config);
    assert_eq!(summary.failure(), None);
    assert!(summary.coverage.of(Branch::EpochSkipped) > 0);
    assert!(summary.accepted > 0, "the epochs after it land");
}
