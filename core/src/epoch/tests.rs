//! The committee in one process: the production `step`, a clock that jumps, and messages that can be dropped, held or forged.

mod again;

use std::collections::VecDeque;

use super::*;
use crate::bls::{Domain, SecretKey, Signature};
use crate::challenge::schedule::vrf_message;
use crate::challenge::{Kind, Kinds};
use crate::claim::ClaimRoot;
use crate::ids::{Address, Instance, ProviderId};
use crate::observation::{Counts, Observation, ProviderKeys, SaltedObservation, Seeds};
use crate::params::{PPM, Params, TOKEN};
use crate::report::{CertificateError, Member, ProviderTerms, signing_message};
use crate::transcript::PairSchedule;
use crate::verdict::Grade;

pub(crate) fn secret(oracle: u64) -> SecretKey {
    SecretKey::key_gen(&[oracle as u8; 32]).unwrap()
}

pub(crate) fn setting(oracles: u64, providers: u64) -> Setting {
    Setting {
        instance: Instance { chain_id: 31_337, settlement: Address([7; 20]) },
        epoch: 0,
        genesis_s: 1_000,
        params: Params::devnet(),
        kinds: Kinds::standard(),
        token: Address([8; 20]),
        epoch_budget: 10_000 * TOKEN,
        set_epoch: 1,
        members: (1..=oracles)
            .map(|id| Member {
                oracle: OracleId(id),
                weight: 100,
                key: secret(id).public_key(),
                operator: Address([id as u8; 20]),
                recipient: Address([100 + id as u8; 20]),
                network_group: id,
            })
            .collect(),
        providers: (1..=providers)
            .map(|id| ProviderTerms {
                provider: ProviderId(id),
                class_id: 100,
                keys: ProviderKeys {
                    receipt_key: Address([50; 20]),
                    class_id: 100,
                    claims: ClaimRoot { hash: Hash32([1; 32]), blocks: 10 },
                },
                stake: 1_000 * TOKEN,
                recipient: Address([200; 20]),
            })
            .collect(),
        ref_block: 5,
        ref_block_hash: Hash32([2; 32]),
        drand_round: 9,
    }
}

pub(crate) fn seeds(setting: &Setting) -> Seeds {
    Seeds { epoch: Hash32([3; 32]), slots: vec![Hash32([4; 32]); setting.params.slots as usize], secure: true }
}

pub(crate) fn vrfs(setting: &Setting, oracle: u64) -> Vec<Signature> {
    let seeds = seeds(setting);
    let message = |(slot, seed)| vrf_message(&setting.instance, setting.epoch, slot, seed);
    (0..).zip(&seeds.slots).map(|slot| secret(oracle).sign(Domain::Vrf, &message(slot))).collect()
}

pub(crate) fn schedule(setting: &Setting, terms: &ProviderTerms, oracle: u64) -> PairSchedule {
    let seeds = seeds(setting);
    let panel = setting.panel(&seeds.epoch, terms.provider);
    PairSchedule::new(setting, &panel, terms, OracleId(oracle), &seeds, &vrfs(setting, oracle)).unwrap()
}

pub(crate) fn counts_mut(observation: &mut Observation, kind: Kind) -> &mut Counts {
    observation.counts.iter_mut().find(|counts| counts.kind == kind).unwrap()
}

/// An oracle that asked everything and got every answer.
pub(crate) fn perfect_reveal(setting: &Setting, oracle: u64, salt: u8) -> Reveal {
    let observed = |terms: &ProviderTerms| {
        let schedule = schedule(setting, terms, oracle);
        let mut observation = Observation::empty(setting.kinds, setting.epoch, terms.provider, OracleId(oracle));
        for counts in &mut observation.counts {
            counts.scheduled = schedule.scheduled(counts.kind);
            counts.counted = counts.scheduled;
        }
        SaltedObservation { observation, salt: Hash32([salt; 32]) }
    };
    Reveal {
        epoch: setting.epoch,
        oracle: OracleId(oracle),
        seeds: seeds(setting),
        observations: setting.providers.iter().map(observed).collect(),
        vrfs: vrfs(setting, oracle),
        facts: vec![],
        struck: vec![],
    }
}

/// The commit that the reveal opens.
pub(crate) fn commit_to(reveal: &Reveal) -> Commit {
    Commit {
        epoch: reveal.epoch,
        oracle: reveal.oracle,
        seeds: reveal.seeds.digest(),
        secure: reveal.seeds.secure,
        root: reveal.root(),
        leaf_count: reveal.observations.len() as u32,
        log_head: Hash32::ZERO,
    }
}

pub(crate) fn observed(setting: &Setting, oracle: u64, salt: u8) -> (VerifiedReveal, Commit) {
    let reveal = perfect_reveal(setting, oracle, salt);
    let commit = commit_to(&reveal);
    (reveal.verify(&commit, setting).unwrap(), commit)
}

fn signed_commit(setting: &Setting, oracle: u64, commit: Commit) -> Verified<SignedCommit> {
    let signature = secret(oracle).sign(Domain::Commit, &commit.digest(&setting.instance));
    verify_commit(setting, SignedCommit { commit, signature }).unwrap()
}

#[derive(Clone, Debug)]
enum Message {
    Commit(SignedCommit),
    Reveal(Reveal),
    BitVote(SignedBitVote),
    Proposal(Proposal),
    Signature(ReportSignature),
    Wish(Wish),
}

/// Decides what happens to a message on its way: `None` drops it.
type Wire = Box<dyn FnMut(u64, OracleId, OracleId, &Message) -> bool>;

/// Whether an effect can be done; what cannot leaves no trace.
type Disk = Box<dyn FnMut(OracleId, &Effect) -> bool>;

struct Net {
    nodes: Vec<Close>,
    now_ms: u64,
    wire: Wire,
    disk: Disk,
    certified: BTreeMap<OracleId, (Certificate, Outcome)>,
    signed: BTreeMap<(OracleId, u64), BTreeSet<Hash32>>,
}

impl Net {
    fn new(oracles: u64, wire: Wire) -> Self {
        let setting = setting(oracles, 3);
        let nodes = (1..=oracles).map(|id| Close::new(setting.clone(), Some(OracleId(id)))).collect();
        let mut net = Self {
            nodes,
            now_ms: setting.end_ms(),
            wire,
            disk: Box::new(|_, _| true),
            certified: BTreeMap::new(),
            signed: BTreeMap::new(),
        };
        for id in 1..=oracles {
            let (reveal, commit) = observed(&setting, id, id as u8);
            net.input(id, Input::Observed(Box::new(reveal), commit));
            net.input(id, Input::Parent(Box::default()));
        }
        net
    }

    fn input(&mut self, to: u64, input: Input) {
        let mut queue = VecDeque::from([(OracleId(to), input)]);
        while let Some((to, input)) = queue.pop_front() {
            let effects = self.nodes[to.0 as usize - 1].step(self.now_ms, input);
            for effect in effects {
                if (self.disk)(to, &effect) {
                    self.effect(to, effect, &mut queue);
                }
            }
        }
    }

    fn effect(&mut self, by: OracleId, effect: Effect, queue: &mut VecDeque<(OracleId, Input)>) {
        let setting = self.nodes[0].setting().clone();
        let key = secret(by.0);
        let message = match effect {
            Effect::SignCommit(commit) => {
                Message::Commit(SignedCommit { commit, signature: key.sign(Domain::Commit, &commit.digest(&setting.instance)) })
            }
            Effect::SendReveal(verified) => Message::Reveal(verified.reveal),
            Effect::SignBitVote(vote) => {
                let signature = key.sign(Domain::BitVote, &vote.digest(&setting.instance));
                Message::BitVote(SignedBitVote { vote, signature })
            }
            Effect::SignReport { view, outcome } => {
                let digest = outcome.ledger.digest;
                self.signed.entry((by, view)).or_default().insert(digest);
                let signature = key.sign(Domain::Report, &signing_message(&setting.instance, setting.epoch, view, &digest));
                Message::Signature(ReportSignature { epoch: setting.epoch, view, oracle: by, digest, signature })
            }
            Effect::SignWish { view } => {
                let signature = key.sign(Domain::ViewWish, &wish_message(&setting.instance, setting.epoch, view, by));
                Message::Wish(Wish { epoch: setting.epoch, view, oracle: by, signature })
            }
            Effect::SendProposal(proposal) => Message::Proposal(proposal.into_inner()),
            Effect::FetchReveal { oracle, commit, from } => {
                let opened = |node: &Close| Some((*node.commit(oracle, &commit)?, node.reveal(oracle, &commit)?.clone()));
                if let Some((signed, verified)) = from.iter().find_map(|peer| opened(&self.nodes[peer.0 as usize - 1])) {
                    queue.push_back((by, Input::Commit(verify_commit(&setting, signed).unwrap())));
                    queue.push_back((by, Input::Reveal(Box::new(verified))));
                }
                return;
            }
            Effect::Certified(certificate, outcome) => {
                queue.push_back((by, Input::HandedOver(certificate.report.digest())));
                self.certified.insert(by, (*certificate, *outcome));
                return;
            }
        };
        for to in (1..=self.nodes.len() as u64).map(OracleId) {
            let arrives = to == by || (self.wire)(self.now_ms, by, to, &message);
            if arrives && let Some(input) = self.received(to, message.clone()) {
                queue.push_back((to, input));
            }
        }
    }

    fn received(&self, to: OracleId, message: Message) -> Option<Input> {
        let node = &self.nodes[to.0 as usize - 1];
        let setting = node.setting();
        Some(match message {
            Message::Commit(signed) => Input::Commit(verify_commit(setting, signed).ok()?),
            Message::Reveal(reveal) => Input::Reveal(Box::new(node.open(reveal).ok()?)),
            Message::BitVote(signed) => Input::BitVote(verify_bit_vote(setting, signed).ok()?),
            Message::Proposal(proposal) => Input::Proposal(Box::new(node.verify_proposal(proposal).ok()?)),
            Message::Signature(signed) => Input::Signature(verify_signature(setting, signed).ok()?),
            Message::Wish(wish) => Input::Wish(verify_wish(setting, wish).ok()?),
        })
    }

    fn run_until(&mut self, after_end_ms: u64) {
        let end = self.nodes[0].setting().end_ms() + after_end_ms;
        while self.now_ms < end {
            self.now_ms += 50;
            for id in 1..=self.nodes.len() as u64 {
                self.input(id, Input::Tick);
            }
        }
    }

    /// The checker: nobody signs two digests of one view, and all certificates are of one report.
    fn check(&self) -> Option<&(Certificate, Outcome)> {
        for (who, digests) in &self.signed {
            assert_eq!(digests.len(), 1, "{who:?} signed twice");
        }
        let digests: BTreeSet<Hash32> = self.certified.values().map(|(c, _)| c.report.digest()).collect();
        assert!(digests.len() <= 1, "two certified reports of one epoch");
        self.certified.values().next()
    }
}

fn perfect() -> Wire {
    Box::new(|_, _, _, _| true)
}

#[test]
fn four_honest_oracles_certify_one_report_and_everybody_is_paid() {
    let mut net = Net::new(4, perfect());
    net.run_until(7_000);
    let (certificate, outcome) = net.check().expect("certified");
    assert_eq!(net.certified.len(), 4);
    assert_eq!(certificate.signer_bits().collect::<Vec<_>>(), [0, 1, 2, 3]);
    assert_eq!(outcome.report.view, 0);
    assert!(outcome.report.seed_secure);
    assert_eq!(outcome.report.reward_total, 3 * 100 * TOKEN + 4 * 10 * TOKEN);
    assert!(outcome.verdicts.iter().all(|verdict| verdict.outcome == Grade::Pass && verdict.multiplier_ppm == PPM));
    let (verdict, proof) = outcome.verdict_proof(ProviderId(2)).unwrap();
    assert!(crate::merkle::verify(&outcome.report.result_root, &verdict.leaf(), &proof));
}

#[test]
fn a_silent_leader_is_replaced_and_the_report_lands_in_the_next_view() {
    let silent = Net::new(4, perfect()).nodes[0].leader(0).unwrap();
    let mut net = Net::new(
        4,
        Box::new(move |_, from, _, message| from != silent || !matches!(message, Message::Proposal(_) | Message::Signature(_))),
    );
    net.run_until(15_000);
    let (_, outcome) = net.check().expect("certified");
    assert_eq!(outcome.report.view, 1);
    assert_eq!(outcome.paid_oracles.len(), 4, "the leader's reveal still counts");
}

// Defence: `held.in_time` and the bit-vote's moment. Without them a reveal made after seeing all others counts.
#[test]
fn a_late_reveal_forfeits_the_epoch_and_changes_nothing_else() {
    let end = setting(4, 3).end_ms();
    let late = OracleId(3);
    let mut net =
        Net::new(4, Box::new(move |now, from, _, message| !(from == late && matches!(message, Message::Reveal(_)) && now < end + 60_000)));
    net.run_until(15_000);
    let (_, outcome) = net.check().expect("certified");
    assert!(!outcome.paid_oracles.contains(&late));
    assert_eq!(outcome.paid_oracles.len(), 3);
    assert!(outcome.verdicts.iter().all(|verdict| verdict.outcome == Grade::Pass));
}

#[test]
fn a_commit_after_its_deadline_does_not_count() {
    let late = OracleId(2);
    let mut net =
        Net::new(4, Box::new(move |_, from, _, message| !(from == late && matches!(message, Message::Commit(_) | Message::Reveal(_)))));
    net.run_until(2_500);
    let setting = net.nodes[0].setting().clone();
    let (reveal, commit) = observed(&setting, 2, 2);
    let signed = signed_commit(&setting, 2, commit);
    for to in [1, 3, 4] {
        net.input(to, Input::Commit(signed.clone()));
        net.input(to, Input::Reveal(Box::new(reveal.clone())));
    }
    net.run_until(15_000);
    assert!(!net.check().expect("certified").1.paid_oracles.contains(&late));
}

// Defence: `included` drops an oracle of which the proposal carries two commits. Without it the oracle chooses its numbers after the reveals.
#[test]
fn two_commits_by_one_oracle_exclude_it() {
    let mut net = Net::new(4, perfect());
    let setting = net.nodes[0].setting().clone();
    let (second_reveal, second) = observed(&setting, 4, 99);
    let signed = signed_commit(&setting, 4, second);
    for to in 1..=3 {
        net.input(to, Input::Commit(signed.clone()));
        net.input(to, Input::Reveal(Box::new(second_reveal.clone())));
    }
    net.run_until(15_000);
    let (_, outcome) = net.check().expect("certified");
    assert!(!outcome.paid_oracles.contains(&OracleId(4)));
    assert_eq!(outcome.paid_oracles.len(), 3);
}

// Defence: > 1/3 of bit-votes include a reveal. Without it a leader leaves out whom it likes.
#[test]
fn a_reveal_that_reached_one_node_late_is_fetched_not_dropped() {
    let lost_to = OracleId(1);
    let mut net =
        Net::new(4, Box::new(move |_, from, to, message| !(from == OracleId(2) && to == lost_to && matches!(message, Message::Reveal(_)))));
    net.run_until(15_000);
    let (_, outcome) = net.check().expect("certified");
    assert_eq!(outcome.paid_oracles.len(), 4);
    assert_eq!(net.certified.len(), 4, "the node that lacked the reveal certifies too");
}

/// A node that holds every bit-vote, and what the first leader may propose of all that it holds.
fn proposed() -> (Close, Proposal) {
    let mut net = Net::new(4, perfect());
    net.run_until(4_300);
    let node = net.nodes.swap_remove(0);
    let leader = node.leader(0).unwrap();
    let bit_votes = node.bit_votes.values().cloned().collect();
    let commits = node.commits.values().map(|held| held.signed).collect();
    let ReportSignature { digest, signature, .. } = signed_report(node.setting(), leader.0, 0, Hash32([5; 32]));
    let proposal = Proposal { epoch: 0, view: 0, leader, basis: Basis { commits, bit_votes }, report_digest: digest, signature };
    (node, proposal)
}

#[test]
fn a_proposal_that_leaves_out_a_counted_commit_is_refused() {
    let (node, mut proposal) = proposed();
    let (setting, leader) = (node.setting().clone(), proposal.leader);
    proposal.basis.commits.remove(0);
    assert_eq!(verify_proposal(&setting, leader, proposal.clone()).unwrap_err(), MessageError::Incomplete);
    let mut few = proposal.clone();
    few.basis.bit_votes.truncate(2);
    assert_eq!(verify_proposal(&setting, leader, few).unwrap_err(), MessageError::Incomplete);
    let other = OracleId(if leader.0 == 1 { 2 } else { 1 });
    assert!(matches!(verify_proposal(&setting, other, proposal), Err(MessageError::Leader { .. })));
}

// Defence: `Close::verify_proposal` knows a statement by all of it. Known by its author alone, a leader carries a vote that the author never
// cast; known by its digest alone, one whose signature proves nothing to anybody else.
#[test]
fn a_held_statement_under_another_signature_is_checked() {
    let (node, sound) = proposed();
    let signature = sound.signature;
    assert!(node.verify_proposal(sound.clone()).is_ok());
    let stranger = Close::new(node.setting().clone(), None);
    assert_eq!(stranger.verify_proposal(sound.clone()), node.verify_proposal(sound.clone()), "who holds nothing checks all");

    let mut other_commit = sound.clone();
    other_commit.basis.commits[1].signature = signature;
    let mut other_vote = sound.clone();
    other_vote.basis.bit_votes[1].signature = signature;
    let mut other_text = sound;
    other_text.basis.bit_votes[1].vote.held.pop();
    for bent in [other_commit, other_vote, other_text] {
        for close in [&node, &stranger] {
            assert!(matches!(close.verify_proposal(bent.clone()), Err(MessageError::Signature(_))));
        }
    }
}

#[test]
fn without_quorum_there_is_no_report() {
    let mut net = Net::new(4, Box::new(|_, from, to, _| (from.0 <= 2) == (to.0 <= 2)));
    net.run_until(60_000);
    assert!(net.check().is_none());
}

#[test]
fn a_healed_partition_certifies_in_a_later_view() {
    let heals = setting(4, 3).end_ms() + 20_000;
    let mut net = Net::new(
        4,
        Box::new(move |now, from, to, message| {
            let early = !matches!(message, Message::Proposal(_) | Message::Signature(_) | Message::Wish(_));
            early || now >= heals || (from.0 <= 2) == (to.0 <= 2)
        }),
    );
    net.run_until(20_000);
    assert!(net.check().is_none());
    // Peers send again what was not acknowledged; here: every wish that was lost.
    let setting = net.nodes[0].setting().clone();
    for view in 1..=net.nodes.iter().map(|node| node.wished).max().unwrap() {
        for by in 1..=4u64 {
            if net.nodes[by as usize - 1].wished >= view {
                let signature = secret(by).sign(Domain::ViewWish, &wish_message(&setting.instance, 0, view, OracleId(by)));
                let wish = verify_wish(&setting, Wish { epoch: 0, view, oracle: OracleId(by), signature }).unwrap();
                for to in 1..=4 {
                    net.input(to, Input::Wish(wish.clone()));
                }
            }
        }
    }
    net.run_until(60_000);
    assert!(net.check().expect("certified").0.report.view > 0);
}

// Defence: every message is checked against the committee, its epoch and its purpose.
#[test]
fn strangers_other_epochs_and_forged_signatures_are_refused() {
    let setting = setting(4, 3);
    let (_, commit) = observed(&setting, 1, 1);
    let digest = commit.digest(&setting.instance);
    let forged = SignedCommit { commit, signature: secret(2).sign(Domain::Commit, &digest) };
    assert!(matches!(verify_commit(&setting, forged), Err(MessageError::Signature(_))));
    let wrong_purpose = SignedCommit { commit, signature: secret(1).sign(Domain::BitVote, &digest) };
    assert!(matches!(verify_commit(&setting, wrong_purpose), Err(MessageError::Signature(_))));
    let stranger = Commit { oracle: OracleId(9), ..commit };
    let signed = SignedCommit { commit: stranger, signature: secret(9).sign(Domain::Commit, &stranger.digest(&setting.instance)) };
    assert_eq!(verify_commit(&setting, signed).unwrap_err(), MessageError::Stranger(OracleId(9)));
    let later = Commit { epoch: 1, ..commit };
    let signed = SignedCommit { commit: later, signature: secret(1).sign(Domain::Commit, &later.digest(&setting.instance)) };
    assert_eq!(verify_commit(&setting, signed).unwrap_err(), MessageError::Epoch { got: 1, here: 0 });
}

// Defence: bits, weight and aggregate of a certificate, each on its own.
#[test]
fn forged_certificates_are_refused() {
    let mut net = Net::new(4, perfect());
    net.run_until(7_000);
    let (certificate, _) = net.check().unwrap().clone();
    let setting = net.nodes[0].setting().clone();
    assert!(certificate.verify(&setting).is_ok());
    let mut stranger = certificate.clone();
    stranger.signers[0] |= 1 << 4;
    assert_eq!(stranger.verify(&setting), Err(CertificateError::Stranger));
    let mut few = certificate.clone();
    few.signers[0] = 0b0011;
    assert_eq!(few.verify(&setting), Err(CertificateError::SubQuorum { signed: 200, total: 400 }));
    let mut claimed = certificate.clone();
    claimed.signers[0] = 0b0111;
    assert!(matches!(claimed.verify(&setting), Err(CertificateError::Signature(_))));
    let mut changed = certificate.clone();
    changed.report.reward_total += 1;
    assert!(matches!(changed.verify(&setting), Err(CertificateError::Signature(_))));
    let mut elsewhere = certificate;
    elsewhere.report.settlement = Address([9; 20]);
    assert_eq!(elsewhere.verify(&setting), Err(CertificateError::Context));
}

// Defence: exactly 2/3 is no quorum.
#[test]
fn two_thirds_of_weight_exactly_is_not_enough() {
    let setting = setting(3, 1);
    assert!(!setting.is_quorum(200));
    assert!(setting.is_quorum(201));
}

// Defence: the reveal must hash to the commit. Without it an oracle fits its numbers to the others'.
#[test]
fn a_reveal_that_differs_from_its_commit_is_refused() {
    let setting = setting(4, 3);
    let (verified, commit) = observed(&setting, 1, 1);
    let mut node = Close::new(setting.clone(), Some(OracleId(2)));
    node.step(setting.end_ms(), Input::Commit(signed_commit(&setting, 1, commit)));
    let mut changed = verified.reveal.clone();
    counts_mut(&mut changed.observations[0].observation, Kind::LATENCY_ECHO).readings[0] += 1;
    assert_eq!(node.open(changed).unwrap_err(), RevealError::Mismatch);
    let mut copied = verified.reveal.clone();
    copied.oracle = OracleId(3);
    assert_eq!(node.open(copied).unwrap_err(), RevealError::Mismatch);
    let mut other_vrf = verified.reveal.clone();
    other_vrf.vrfs.swap(0, 1);
    assert_eq!(node.open(other_vrf).unwrap_err(), RevealError::Vrf);
    assert!(node.open(verified.reveal).is_ok());
}

#[test]
fn replaying_the_inputs_gives_the_same_state() {
    let mut net = Net::new(4, perfect());
    net.run_until(7_000);
    let (_, first) = net.check().unwrap().clone();
    let mut again = Net::new(4, perfect());
    again.run_until(7_000);
    assert_eq!(again.check().unwrap().1, first);
}

// Defence: `hold_proposal` takes over the commits a proposal carries. Without it an oracle that shows its commit to two of three honest
// nodes stops every epoch: the third can neither follow nor lead.
#[test]
fn a_commit_withheld_from_one_node_does_not_stop_the_report() {
    let (liar, victim) = (OracleId(4), OracleId(1));
    let mut net = Net::new(
        4,
        Box::new(move |_, from, to, message| {
            let withheld = from == liar && to == victim && matches!(message, Message::Commit(_) | Message::Reveal(_));
            let unsigned = from == liar && matches!(message, Message::Signature(_) | Message::Proposal(_));
            !withheld && !unsigned
        }),
    );
    net.run_until(60_000);
    let (certificate, outcome) = net.check().expect("certified by the three honest");
    assert_eq!(certificate.signer_bits().count(), 3);
    assert!(outcome.paid_oracles.contains(&liar), "its reveal was timely for more than a third");
}

/// Who leads the first views.
fn leaders<const N: usize>(oracles: u64) -> [OracleId; N] {
    let close = Close::new(setting(oracles, 3), None);
    std::array::from_fn(|view| close.leader(view as u64).unwrap())
}

// Defence: `Close::basis` asks for withheld commits. Without it an oracle that shows its commit to some takes their turns from all leaders
// that it does not show it to, whenever every other vote is needed.
#[test]
fn a_leader_fetches_a_withheld_commit_that_counts() {
    let [victim, liar] = leaders(4);
    let wire = move |_, from, to, message: &Message| match message {
        Message::Commit(_) | Message::Reveal(_) => (from, to) != (liar, victim),
        _ => from != liar,
    };
    let mut net = Net::new(4, Box::new(wire));
    net.run_until(7_000);
    let (certificate, outcome) = net.check().expect("certified");
    assert_eq!((certificate.report.view, certificate.signer_bits().count()), (0, 3));
    assert!(outcome.paid_oracles.contains(&liar), "its reveal was timely for more than a third");
}

// Defence: `Close::has_room_for`, a commit that counts is held beside two others. Without it an oracle takes their turns from leaders by
// showing them two commits that nobody else sees.
#[test]
fn a_leader_that_was_shown_two_other_commits_fetches_the_one_that_counts() {
    let [victim, liar, away] = leaders(7);
    let wire = move |_, from, to, message: &Message| match message {
        Message::Commit(_) => (from, to) != (liar, victim),
        Message::Reveal(_) => true,
        _ => ![liar, away].contains(&from),
    };
    let mut net = Net::new(7, Box::new(wire));
    let setting = net.nodes[0].setting().clone();
    let (_, commit) = observed(&setting, liar.0, liar.0 as u8);
    for other in [1, 2] {
        let other = Commit { log_head: Hash32([other; 32]), ..commit };
        net.input(victim.0, Input::Commit(signed_commit(&setting, liar.0, other)));
    }
    net.run_until(7_000);
    let (certificate, outcome) = net.check().expect("certified");
    assert_eq!((certificate.report.view, certificate.signer_bits().count()), (0, 5));
    assert!(!outcome.paid_oracles.contains(&liar));
    assert_eq!(outcome.paid_oracles.len(), 6);
}

// Defence: `single` and `Close::reveal`; without it an oracle that shows one commit to each half stops every epoch: no leader holds both.
#[test]
fn one_commit_shown_to_each_half_stops_nothing() {
    let liar = OracleId(7);
    let mut net = Net::new(7, Box::new(move |_, from, to, message| !(from == liar && to.0 > 3 && matches!(message, Message::Commit(_)))));
    let setting = net.nodes[0].setting().clone();
    let (_, commit) = observed(&setting, 7, 7);
    let second = signed_commit(&setting, 7, Commit { log_head: Hash32([1; 32]), ..commit });
    for to in 4..=6 {
        net.input(to, Input::Commit(second.clone()));
    }
    net.run_until(9_000);
    let (_, outcome) = net.check().expect("certified in the first view");
    assert!(!outcome.paid_oracles.contains(&liar));
    assert_eq!(outcome.paid_oracles.len(), 6);
}

// Defence: `Close::basis` passes over votes for what was withheld; without it a third that votes for one oracle's secret commits decides
// which honest leader may propose.
#[test]
fn votes_for_withheld_commits_do_not_stop_a_leader() {
    let liar = OracleId(4);
    let mut net = Net::new(4, Box::new(move |_, from, _, message| from != liar || matches!(message, Message::Reveal(_))));
    let setting = net.nodes[0].setting().clone();
    let (_, commit) = observed(&setting, 4, 4);
    let shown_to_one = signed_commit(&setting, 4, Commit { log_head: Hash32([1; 32]), ..commit });
    let other =
        (1..=3).map(OracleId).find(|oracle| net.nodes[0].leader(0) != Some(*oracle) && net.nodes[0].leader(1) != Some(*oracle)).unwrap();
    net.input(other.0, Input::Commit(shown_to_one.clone()));
    let held = vec![(liar, shown_to_one.get().commit.digest(&setting.instance))];
    let vote = BitVote { epoch: 0, oracle: liar, held };
    let signature = secret(4).sign(Domain::BitVote, &vote.digest(&setting.instance));
    let vote = verify_bit_vote(&setting, SignedBitVote { vote, signature }).unwrap();
    for to in 1..=3 {
        net.input(to, Input::BitVote(vote.clone()));
    }
    net.run_until(9_000 + 3_000 + 6_000);
    let (certificate, _) = net.check().expect("certified");
    let first_honest = (0..4).find(|view| net.nodes[0].leader(*view) != Some(liar)).unwrap();
    assert_eq!(certificate.report.view, first_honest);
}

// Defence: `is_news`. Without it one member fills every disk with valid statements that change nothing.
#[test]
fn useless_statements_are_no_news() {
    let setting = setting(4, 3);
    let mut node = Close::new(setting.clone(), Some(OracleId(1)));
    let commits: Vec<_> = (0..3).map(|salt| signed_commit(&setting, 4, observed(&setting, 4, 90 + salt).1)).collect();
    for commit in &commits[..2] {
        assert!(node.is_news(&Input::Commit(commit.clone())));
        node.step(setting.end_ms(), Input::Commit(commit.clone()));
        assert!(!node.is_news(&Input::Commit(commit.clone())), "known");
    }
    let third = Input::Commit(commits[2].clone());
    assert!(!node.is_news(&third), "two prove the equivocation, a third proves nothing");
    let votes_for_third = |by| {
        Input::BitVote(Verified::own(signed_vote(&setting, by, vec![(OracleId(4), commits[2].get().commit.digest(&setting.instance))])))
    };
    node.step(setting.end_ms(), votes_for_third(4));
    assert!(!node.is_news(&third), "what a quarter votes for does not count");
    node.step(setting.end_ms(), votes_for_third(3));
    assert!(node.is_news(&third));
    node.step(setting.end_ms(), third.clone());
    assert!(!node.is_news(&third), "known");
    let wish = |view| {
        let signature = secret(4).sign(Domain::ViewWish, &wish_message(&setting.instance, 0, view, OracleId(4)));
        Input::Wish(verify_wish(&setting, Wish { epoch: 0, view, oracle: OracleId(4), signature }).unwrap())
    };
    assert!(node.is_news(&wish(1)));
    assert!(!node.is_news(&wish(u64::MAX)), "views beyond the cap are never entered");
    let sign = |digest: Hash32| {
        let signature = secret(4).sign(Domain::Report, &signing_message(&setting.instance, 0, 0, &digest));
        Input::Signature(verify_signature(&setting, ReportSignature { epoch: 0, view: 0, oracle: OracleId(4), digest, signature }).unwrap())
    };
    node.step(setting.end_ms(), sign(Hash32([1; 32])));
    assert!(!node.is_news(&sign(Hash32([2; 32]))), "one signature a view counts");
}

// Defence: a signature that did not come is asked for again. Without it one busy disk silences a node for the epoch.
#[test]
fn a_signature_that_failed_is_asked_for_again() {
    let setting = setting(4, 3);
    let mut node = Close::new(setting.clone(), Some(OracleId(1)));
    let (reveal, commit) = observed(&setting, 1, 1);
    let asks = |effects: &[Effect]| effects.iter().any(|effect| matches!(effect, Effect::SignCommit(_)));
    let end = setting.end_ms();
    assert!(asks(&node.step(end, Input::Observed(Box::new(reveal), commit))));
    assert!(!asks(&node.step(end + 50, Input::Tick)), "not at every tick");
    assert!(asks(&node.step(end + 1_000, Input::Tick)));
    node.step(end + 1_100, Input::Commit(signed_commit(&setting, 1, commit)));
    assert!(!asks(&node.step(end + 1_999, Input::Tick)), "it came");
}

fn signed_vote(setting: &Setting, by: u64, held: Vec<(OracleId, Hash32)>) -> SignedBitVote {
    let vote = BitVote { epoch: setting.epoch, oracle: OracleId(by), held };
    let signature = secret(by).sign(Domain::BitVote, &vote.digest(&setting.instance));
    SignedBitVote { vote, signature }
}

fn signed_report(setting: &Setting, by: u64, view: u64, digest: Hash32) -> ReportSignature {
    let signature = secret(by).sign(Domain::Report, &signing_message(&setting.instance, setting.epoch, view, &digest));
    ReportSignature { epoch: setting.epoch, view, oracle: OracleId(by), digest, signature }
}

// Defence: `Close::misbehaviour`. Without it a member that shows half of the committee one statement and half of it another leaves no trace.
#[test]
fn whoever_says_two_things_is_proven_to_have_said_both() {
    let setting = setting(4, 3);
    let mut node = Close::new(setting.clone(), Some(OracleId(1)));
    let commits = [90, 91].map(|salt| signed_commit(&setting, 4, observed(&setting, 4, salt).1));
    let votes =
        [vec![], vec![(OracleId(4), Hash32([1; 32]))]].map(|held| verify_bit_vote(&setting, signed_vote(&setting, 4, held)).unwrap());
    let reports = [1, 2].map(|fill| verify_signature(&setting, signed_report(&setting, 4, 0, Hash32([fill; 32]))).unwrap());
    let said = [
        (commits.map(Input::Commit), Offence::TwoCommits),
        (votes.map(Input::BitVote), Offence::TwoBitVotes),
        (reports.map(Input::Signature), Offence::TwoReports),
    ];
    for ([first, second], offence) in said {
        assert_eq!(node.misbehaviour(&first), [], "one is what honest members say");
        node.step(setting.end_ms(), first.clone());
        assert_eq!(node.misbehaviour(&first), [], "once more is not another");
        let proof = node.misbehaviour(&second).remove(0);
        assert_eq!((proof.oracle(), proof.epoch(), proof.offence()), (OracleId(4), setting.epoch, offence));
        proof.verify(&setting).unwrap();
        let mut other = Close::new(setting.clone(), Some(OracleId(1)));
        other.step(setting.end_ms(), second);
        assert_eq!(other.misbehaviour(&first), [proof], "whoever saw them the other way round has the same proof");
    }
}

// Defence: the statements inside of a proposal count like any others. Without them a leader shows one commit to us and another to the rest.
#[test]
fn a_proposal_may_prove_what_its_leader_and_its_voters_said_elsewhere() {
    let setting = setting(4, 3);
    let mut node = Close::new(setting.clone(), Some(OracleId(1)));
    let leader = node.leader(0).unwrap();
    node.step(setting.end_ms(), Input::Commit(signed_commit(&setting, 4, observed(&setting, 4, 90).1)));
    node.step(setting.end_ms(), Input::BitVote(verify_bit_vote(&setting, signed_vote(&setting, 2, vec![])).unwrap()));
    let elsewhere = Hash32([9; 32]);
    node.step(setting.end_ms(), Input::Signature(verify_signature(&setting, signed_report(&setting, leader.0, 0, elsewhere)).unwrap()));

    let commit = signed_commit(&setting, 4, observed(&setting, 4, 91).1).into_inner();
    let key = (OracleId(4), commit.commit.digest(&setting.instance));
    let bit_votes = (1..=3).map(|by| signed_vote(&setting, by, vec![key])).collect();
    let ReportSignature { digest, signature, .. } = signed_report(&setting, leader.0, 0, Hash32([8; 32]));
    let basis = Basis { commits: vec![commit], bit_votes };
    let proposal = Proposal { epoch: setting.epoch, view: 0, leader, basis, report_digest: digest, signature };
    let proposal = verify_proposal(&setting, leader, proposal).unwrap();
    let proofs = node.misbehaviour(&Input::Proposal(Box::new(proposal)));
    let found: Vec<_> = proofs.iter().map(|proof| (proof.oracle(), proof.offence())).collect();
    assert_eq!(found, [(OracleId(4), Offence::TwoCommits), (OracleId(2), Offence::TwoBitVotes), (leader, Offence::TwoReports)]);
    assert!(proofs.iter().all(|proof| proof.verify(&setting).is_ok()));
}

// Defence: each check of `Misbehaviour::verify`. Without it an honest member is accused of what it never signed.
#[test]
fn nobody_is_proven_guilty_by_what_others_could_have_made() {
    let setting = setting(4, 3);
    let commit = |by, salt| signed_commit(&setting, by, observed(&setting, by, salt).1).into_inner();
    let (a, b) = (commit(4, 90), commit(4, 91));
    let proof = Misbehaviour::commits(a, b, &setting.instance);
    proof.verify(&setting).unwrap();
    let Misbehaviour::Commits(pair) = &proof else { panic!() };
    let refused = |proof: Misbehaviour| proof.verify(&setting).unwrap_err();
    let none = MisbehaviourError::NoContradiction;
    assert_eq!(refused(Misbehaviour::Commits(Box::new([pair[1], pair[0]]))), none, "in the other order: two proofs of one thing");
    assert_eq!(refused(Misbehaviour::Commits(Box::new([a, a]))), none);
    assert_eq!(refused(Misbehaviour::commits(a, commit(3, 90), &setting.instance)), none, "two members may differ");
    let forged = SignedCommit { signature: a.signature, ..b };
    assert!(matches!(refused(Misbehaviour::commits(a, forged, &setting.instance)), MisbehaviourError::Statement(_)));
    let [first, second] = [1, 2].map(|fill| signed_report(&setting, 4, 0, Hash32([fill; 32])));
    assert_eq!(refused(Misbehaviour::reports(first, signed_report(&setting, 4, 1, Hash32([2; 32])))), none, "each view has its report");
    Misbehaviour::reports(first, second).verify(&setting).unwrap();
    let forged = ReportSignature { signature: first.signature, ..second };
    assert!(matches!(refused(Misbehaviour::reports(first, forged)), MisbehaviourError::Statement(_)));
    let [none_held, mut forged] = [vec![], vec![(OracleId(4), Hash32([1; 32]))]].map(|held| signed_vote(&setting, 4, held));
    forged.signature = none_held.signature;
    assert!(matches!(refused(Misbehaviour::bit_votes(none_held, forged, &setting.instance)), MisbehaviourError::Statement(_)));
    let mut later = setting.clone();
    later.epoch += 1;
    assert!(matches!(proof.verify(&later), Err(MisbehaviourError::Statement(MessageError::Epoch { .. }))));
}

fn false_observation(setting: &Setting, reveal: Reveal) -> (Misbehaviour, SignedCommit) {
    let signed = signed_commit(setting, reveal.oracle.0, commit_to(&reveal)).into_inner();
    (Misbehaviour::FalseObservation(signed, Box::new(reveal)), signed)
}

// Defence: only `RevealError::Observation` proves anything. A reveal is signed by nobody, and its VRFs, facts and challenges are under no
// commit: taken for a proof, whoever passes an honest reveal on damaged it and accuses its author.
#[test]
fn a_reveal_that_somebody_damaged_proves_nothing() {
    let setting = setting(4, 3);
    let honest = perfect_reveal(&setting, 4, 90);
    let (sound, signed) = false_observation(&setting, honest.clone());
    assert_eq!(sound.verify(&setting), Err(MisbehaviourError::Sound));
    let damaged = |change: fn(&mut Reveal)| {
        let mut reveal = honest.clone();
        change(&mut reveal);
        Misbehaviour::FalseObservation(signed, Box::new(reveal)).verify(&setting).unwrap_err()
    };
    assert_eq!(damaged(|reveal| reveal.vrfs.swap(0, 1)), MisbehaviourError::NotTheirs(RevealError::Vrf));
    assert_eq!(damaged(|reveal| reveal.observations[0].salt = Hash32::ZERO), MisbehaviourError::NotTheirs(RevealError::Mismatch));

    let mut node = Close::new(setting.clone(), Some(OracleId(1)));
    let mut lying = honest;
    counts_mut(&mut lying.observations[0].observation, Kind::LATENCY_ECHO).scheduled += 1;
    let (proof, signed) = false_observation(&setting, lying.clone());
    proof.verify(&setting).unwrap();
    assert_eq!(node.false_observation(&lying), None, "without its commit nobody knows whose it is");
    node.step(setting.end_ms(), Input::Commit(verify_commit(&setting, signed).unwrap()));
    assert_eq!(node.false_observation(&lying), Some(proof));
}
