//! What a node could not do is asked for again, and what it learnt too late is not lost.

use super::*;

/// Fails once for each oracle.
fn once(is_struck: impl Fn(OracleId, &Effect) -> bool + 'static) -> Disk {
    let mut struck = BTreeSet::new();
    Box::new(move |by, effect| !is_struck(by, effect) || !struck.insert(by))
}

// Defence: `asked_reveal_ms`, the reveal is asked for until it comes back. Without it a log that fails in that moment costs the epoch's pay.
#[test]
fn a_reveal_that_could_not_be_logged_leaves_a_second_later() {
    let mut net = Net::new(4, perfect());
    net.disk = once(|by, effect| by == OracleId(2) && matches!(effect, Effect::SendReveal(_)));
    net.run_until(7_000);
    assert_eq!(net.check().expect("certified").1.paid_oracles.len(), 4);
}

// Defence: `Draft::asked_ms`. Without it a leader whose log fails in that moment loses its view.
#[test]
fn a_proposal_that_could_not_be_logged_leaves_in_the_same_view() {
    let mut net = Net::new(4, perfect());
    net.disk = once(|_, effect| matches!(effect, Effect::SendProposal(_)));
    net.run_until(9_000);
    assert_eq!(net.check().expect("certified").1.report.view, 0);
}

// Defence: `Input::HandedOver`. Without it nobody posts a report that all have certified.
#[test]
fn a_certificate_that_could_not_be_stored_is_handed_over_a_second_later() {
    let mut net = Net::new(4, perfect());
    net.disk = once(|_, effect| matches!(effect, Effect::Certified(..)));
    net.run_until(8_000);
    assert_eq!(net.certified.len(), 4);
    let mut asked = 0;
    let end = net.nodes[0].setting().end_ms();
    for now in (end + 8_000..end + 12_000).step_by(50) {
        asked += net.nodes[0].step(now, Input::Tick).len();
    }
    assert_eq!(asked, 0, "what is handed over is not asked for again");
}

// Defence: `asked_wish_ms`. Without it members whose logs fail when a view ends stay in it for ever.
#[test]
fn a_wish_that_could_not_be_logged_is_made_a_second_later() {
    let silent = Net::new(4, perfect()).nodes[0].leader(0).unwrap();
    let mut net = Net::new(4, Box::new(move |_, from, _, message| from != silent || !matches!(message, Message::Proposal(_))));
    net.disk = once(|_, effect| matches!(effect, Effect::SignWish { .. }));
    net.run_until(15_000);
    assert_eq!(net.check().expect("certified").1.report.view, 1);
}

// Defence: the highest view that we wished for is read off what came back, a replay included. Without it a restarted node takes wishes back.
#[test]
fn nobody_wishes_for_a_lower_view_after_a_higher_one() {
    let setting = setting(4, 3);
    let mut node = Close::new(setting.clone(), Some(OracleId(1)));
    let signature = secret(1).sign(Domain::ViewWish, &wish_message(&setting.instance, 0, 3, OracleId(1)));
    let own = verify_wish(&setting, Wish { epoch: 0, view: 3, oracle: OracleId(1), signature }).unwrap();
    node.step(setting.end_ms(), Input::Wish(own));
    node.step(setting.end_ms(), Input::Parent(Box::default()));
    let effects = node.step(setting.end_ms() + 60_000, Input::Tick);
    assert!(!effects.iter().any(|effect| matches!(effect, Effect::SignWish { .. })), "view 1 is over, and 3 is wished for");
}

fn parent(fill: u8) -> Ledger {
    Ledger { digest: Hash32([fill; 32]), ..Ledger::default() }
}

// Defence: `assemble` counts signatures under the present parent only, and `set_parent` takes another one. Without the first a node makes
// the same worthless certificate again and again, and without the second it never learns: the epoch is lost.
#[test]
fn after_a_wrong_parent_the_epoch_goes_on_under_the_right_one() {
    let mut net = Net::new(4, perfect());
    net.run_until(7_000);
    let wrong = net.check().expect("certified under the wrong parent").0.clone();
    for id in 1..=4 {
        net.input(id, Input::Parent(Box::new(parent(9))));
    }
    net.run_until(20_000);
    assert_eq!(net.certified.len(), 4);
    for (certificate, outcome) in net.certified.values() {
        assert_eq!(certificate.report.parent_digest, parent(9).digest);
        assert_eq!(outcome.report.digest(), certificate.report.digest());
        assert!(certificate.report.view > wrong.report.view, "one digest a view");
    }
}

// Defence: certificates are held by parent. Without it one under a parent that the chain has left keeps whoever hears of it late from signing.
#[test]
fn a_certificate_under_another_parent_stops_nobody() {
    let mut before = Net::new(4, perfect());
    before.run_until(7_000);
    let stale = before.check().unwrap().0.clone();
    let mut net = Net::new(4, perfect());
    for id in 1..=4 {
        net.input(id, Input::Parent(Box::new(parent(9))));
        net.input(id, Input::Certificate(Box::new(stale.clone())));
        assert_eq!(net.nodes[id as usize - 1].certificate(), None);
        assert!(!net.nodes[id as usize - 1].is_news(&Input::Certificate(Box::new(stale.clone()))), "kept once");
    }
    net.run_until(9_000);
    assert_eq!(net.check().expect("certified").0.report.parent_digest, parent(9).digest);
}
