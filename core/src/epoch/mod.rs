//! The close of one epoch: commit, reveal, bit-vote, propose, sign, certify.
//!
//! [`Close::step`] is the whole committee protocol as a pure function of its inputs and their times; the node's driver and the
//! simulator run the same code. Inputs arrive verified, effects leave as data. Replaying the inputs gives the same state.

mod certify;
mod lead;
mod messages;
mod misbehaviour;
mod views;

use std::collections::{BTreeMap, BTreeSet};

pub use messages::{
    Basis, BitVote, MessageError, Proposal, ReportSignature, SignedBitVote, Verified, Wish, counted_commits, verify_bit_vote,
    verify_commit, verify_proposal, verify_signature, verify_wish, wish_message,
};

pub use misbehaviour::{Misbehaviour, MisbehaviourError, Offence};

use crate::bls::Signature;
use crate::challenge::Stream;
use crate::hash::Hash32;
use crate::ids::OracleId;
use crate::observation::{Commit, Reveal, RevealError, SignedCommit, VerifiedReveal};
use crate::report::{Certificate, Inputs, Ledger, Outcome, Setting};

/// Views beyond this are not entered: by then the epoch has long expired.
const MAX_VIEW: u64 = 1_000;
/// What was asked for and is not known to be done (the disk was busy, say) is asked for again after this long.
const ASK_AGAIN_MS: u64 = 1_000;

/// Something that happened.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Input {
    /// Time passed.
    Tick,
    /// Our own measurements of the epoch are complete.
    Observed(Box<VerifiedReveal>, Commit),
    /// A commit, our own included.
    Commit(Verified<SignedCommit>),
    /// A reveal that [`Close::open`] matched with its commit.
    Reveal(Box<VerifiedReveal>),
    /// A bit-vote, our own included.
    BitVote(Verified<SignedBitVote>),
    /// A proposal by the leader of its view.
    Proposal(Box<Verified<Proposal>>),
    /// A report signature, our own included.
    Signature(Verified<ReportSignature>),
    /// A wish, our own included.
    Wish(Verified<Wish>),
    /// A certificate that [`Certificate::verify`] accepted.
    Certificate(Box<Certificate>),
    /// The report that this epoch's must follow is final on chain (or none is, for the first).
    Parent(Box<Ledger>),
    /// The certified report with this digest is stored, passed on and in the hands of whoever posts it.
    HandedOver(Hash32),
    /// The chain accepted a report of this epoch, or never will: nothing is left to do.
    Settled,
}

/// Something to do. Doing one twice is harmless. Each is asked for again, a second later and while it is of use, until an input says that
/// it was done: our own statement, or [`Input::HandedOver`].
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Effect {
    /// Sign our commit, feed it back and send it to all.
    SignCommit(Commit),
    /// Send our reveal to all, and feed it back.
    SendReveal(Box<VerifiedReveal>),
    /// Sign our bit-vote, feed it back and send it to all.
    SignBitVote(BitVote),
    /// Keep the outcome, then sign its report, feed the signature back and send it to all. Whoever signs must know what it signed even
    /// when somebody else assembles the certificate.
    SignReport {
        /// View.
        view: u64,
        /// Everything under the report's roots; its ledger's digest is what is signed.
        outcome: Box<Outcome>,
    },
    /// Sign a wish, feed it back and send it to all.
    SignWish {
        /// The view wished for.
        view: u64,
    },
    /// Send our proposal to all, and feed it back.
    SendProposal(Box<Verified<Proposal>>),
    /// Ask these oracles for a reveal that counts and that we lack, and for its commit. An honest voter holds both.
    FetchReveal {
        /// Whose reveal.
        oracle: OracleId,
        /// Digest of its commit.
        commit: Hash32,
        /// Who says it holds it.
        from: Vec<OracleId>,
    },
    /// The report stands: keep the outcome, gossip and post the certificate, then say [`Input::HandedOver`].
    Certified(Box<Certificate>, Box<Outcome>),
}

/// A commit and when it came.
#[derive(Clone, PartialEq, Eq, Debug)]
struct HeldCommit {
    signed: SignedCommit,
    in_time: bool,
}

/// Our own proposal until our signature under it is recorded.
#[derive(Clone, PartialEq, Eq, Debug)]
struct Draft {
    view: u64,
    basis: Basis,
    digest: Hash32,
    /// When sending it was last asked for.
    asked_ms: Option<u64>,
}

/// One oracle's state while an epoch closes.
#[derive(Clone, Debug)]
pub struct Close {
    setting: Setting,
    me: Option<OracleId>,
    own: Option<(VerifiedReveal, Commit)>,
    asked_commit_ms: Option<u64>,
    asked_reveal_ms: Option<u64>,
    asked_bit_vote_ms: Option<u64>,
    commits: BTreeMap<(OracleId, Hash32), HeldCommit>,
    reveals: BTreeMap<(OracleId, Hash32), VerifiedReveal>,
    bit_votes: BTreeMap<OracleId, SignedBitVote>,
    parent: Option<Ledger>,
    view: u64,
    view_ends_ms: u64,
    proposals: BTreeMap<u64, Proposal>,
    outcomes: BTreeMap<Hash32, Outcome>,
    /// What we decided to sign in each view, and when we last asked for it.
    decided: BTreeMap<u64, (Hash32, u64)>,
    refuted_views: BTreeSet<u64>,
    own_draft: Option<Draft>,
    signatures: BTreeMap<(u64, Hash32), BTreeMap<OracleId, Signature>>,
    quorum_since_ms: Option<u64>,
    wishes: BTreeMap<u64, BTreeSet<OracleId>>,
    /// The highest view that we were asked to wish for, and when.
    wished: u64,
    asked_wish_ms: Option<u64>,
    fetched: BTreeSet<(OracleId, Hash32)>,
    /// By the parent that each follows: an endpoint may have shown us a wrong one.
    certificates: BTreeMap<Hash32, Certificate>,
    handed_over: BTreeSet<Hash32>,
    /// Which report's hand-over was last asked for, and when.
    asked_hand_over: Option<(Hash32, u64)>,
    settled: bool,
}

impl Close {
    /// Begins an epoch. `me` is none for an observer outside the committee.
    pub fn new(setting: Setting, me: Option<OracleId>) -> Self {
        let me = me.filter(|oracle| setting.member(*oracle).is_some());
        let view_ends_ms = setting.end_ms().saturating_add(setting.params.deadlines.sign_ms);
        Self {
            setting,
            me,
            own: None,
            asked_commit_ms: None,
            asked_reveal_ms: None,
            asked_bit_vote_ms: None,
            commits: BTreeMap::new(),
            reveals: BTreeMap::new(),
            bit_votes: BTreeMap::new(),
            parent: None,
            view: 0,
            view_ends_ms,
            proposals: BTreeMap::new(),
            outcomes: BTreeMap::new(),
            decided: BTreeMap::new(),
            refuted_views: BTreeSet::new(),
            own_draft: None,
            signatures: BTreeMap::new(),
            quorum_since_ms: None,
            wishes: BTreeMap::new(),
            wished: 0,
            asked_wish_ms: None,
            fetched: BTreeSet::new(),
            certificates: BTreeMap::new(),
            handed_over: BTreeSet::new(),
            asked_hand_over: None,
            settled: false,
        }
    }

    /// The epoch's frozen values.
    pub fn setting(&self) -> &Setting {
        &self.setting
    }

    /// The current view.
    pub fn view(&self) -> u64 {
        self.view
    }

    /// Whether the chain has decided this epoch.
    pub fn is_settled(&self) -> bool {
        self.settled
    }

    /// A reveal we hold, for peers that lack it. Commits of one oracle that differ in nothing a reveal is checked against are opened by the
    /// same reveal, whichever of them it was matched with: an oracle that signs several gains nothing by showing each to another node.
    pub fn reveal(&self, oracle: OracleId, commit: &Hash32) -> Option<&VerifiedReveal> {
        self.reveals.get(&(oracle, *commit)).or_else(|| {
            let wanted = self.commit(oracle, commit)?.commit;
            let opens = |other: &Hash32| {
                self.commit(oracle, other).is_some_and(|held| Commit { log_head: wanted.log_head, ..held.commit } == wanted)
            };
            let of = (oracle, Hash32::ZERO)..=(oracle, Hash32([0xff; 32]));
            self.reveals.range(of).find(|((_, other), _)| opens(other)).map(|(_, verified)| verified)
        })
    }

    /// A commit we hold.
    pub fn commit(&self, oracle: OracleId, digest: &Hash32) -> Option<&SignedCommit> {
        self.commits.get(&(oracle, *digest)).map(|held| &held.signed)
    }

    /// All reveals we hold.
    pub fn reveals(&self) -> impl Iterator<Item = &VerifiedReveal> {
        self.reveals.values()
    }

    /// Who leads a view: a permutation of the committee, seeded by chain, epoch and reference block.
    pub fn leader(&self, view: u64) -> Option<OracleId> {
        let order = self.order(b"assay.leaders.v1");
        let count = u64::try_from(order.len()).ok()?;
        order.get(usize::try_from(view.checked_rem(count)?).ok()?).copied()
    }

    /// The order in which members post a certified report.
    pub fn transmitters(&self) -> Vec<OracleId> {
        self.order(b"assay.transmitters.v1")
    }

    fn order(&self, purpose: &[u8]) -> Vec<OracleId> {
        let seed = [purpose, &self.setting.epoch.to_be_bytes(), self.setting.ref_block_hash.as_bytes()];
        let mut stream = Stream::new(&seed);
        let mut keyed: Vec<(u64, OracleId)> = self.setting.members.iter().map(|member| (stream.word(), member.oracle)).collect();
        keyed.sort_unstable();
        keyed.into_iter().map(|(_, oracle)| oracle).collect()
    }

    /// Matches a reveal with a commit we hold.
    pub fn open(&self, reveal: Reveal) -> Result<VerifiedReveal, RevealError> {
        let root = reveal.root();
        let held = self
            .commits
            .range((reveal.oracle, Hash32::ZERO)..=(reveal.oracle, Hash32([0xff; 32])))
            .find(|(_, held)| held.signed.commit.root == root)
            .ok_or(RevealError::Mismatch)?;
        reveal.verify_under(root, &held.1.signed.commit, &self.setting)
    }

    /// Takes one input at a time and says what to do.
    pub fn step(&mut self, now_ms: u64, input: Input) -> Vec<Effect> {
        let mut effects = Vec::new();
        match input {
            Input::Tick => {}
            Input::Observed(reveal, commit) => self.own = Some((*reveal, commit)),
            Input::Commit(signed) => self.hold_commit(now_ms, signed.into_inner()),
            Input::Reveal(verified) => {
                self.reveals.entry((verified.reveal.oracle, verified.commit_digest)).or_insert(*verified);
            }
            Input::BitVote(signed) => {
                let signed = signed.into_inner();
                self.bit_votes.entry(signed.vote.oracle).or_insert(signed);
            }
            Input::Proposal(proposal) => self.hold_proposal(proposal.into_inner()),
            Input::Signature(signed) => {
                let signed = signed.into_inner();
                self.add_signature(signed.view, signed.oracle, signed.digest, signed.signature);
            }
            Input::Wish(wish) => {
                let wish = wish.into_inner();
                if wish.view <= MAX_VIEW {
                    self.wishes.entry(wish.view).or_default().insert(wish.oracle);
                }
            }
            Input::Certificate(certificate) => {
                self.certificates.entry(certificate.report.parent_digest).or_insert(*certificate);
            }
            Input::Parent(ledger) => self.set_parent(now_ms, *ledger),
            Input::HandedOver(digest) => {
                self.handed_over.insert(digest);
            }
            Input::Settled => self.settled = true,
        }
        if !self.settled {
            self.advance(now_ms, &mut effects);
        }
        effects
    }

    fn after_end(&self, offset_ms: u64) -> u64 {
        self.setting.end_ms().saturating_add(offset_ms)
    }

    fn hold_commit(&mut self, now_ms: u64, signed: SignedCommit) {
        let key = (signed.commit.oracle, signed.commit.digest(&self.setting.instance));
        if self.has_room_for(&key) {
            let in_time = now_ms <= self.after_end(self.setting.params.deadlines.commit_ms);
            self.commits.entry(key).or_insert(HeldCommit { signed, in_time });
        }
    }

    /// Two commits of one oracle are held, since the second proves that it equivocated, and beyond these what counts: whoever was shown two
    /// others must be able to propose. Fewer than six for each member can count, for a vote names no more than two for each.
    fn has_room_for(&self, key: &(OracleId, Hash32)) -> bool {
        let of_oracle = self.commits.keys().filter(|(by, _)| *by == key.0).count();
        of_oracle < 2 || self.setting.is_third(self.setting.weight_of(&voters_for(key, self.bit_votes.values())))
    }

    /// Takes over a proposal with the commits and bit-votes it carries: an oracle that withheld its commit from us cannot keep us from
    /// opening a reveal that counts. Such a commit never enters our own bit-vote.
    fn hold_proposal(&mut self, proposal: Proposal) {
        if proposal.view > MAX_VIEW || self.proposals.contains_key(&proposal.view) {
            return;
        }
        for signed in &proposal.basis.commits {
            let key = (signed.commit.oracle, signed.commit.digest(&self.setting.instance));
            self.commits.entry(key).or_insert(HeldCommit { signed: *signed, in_time: false });
        }
        for signed in &proposal.basis.bit_votes {
            self.bit_votes.entry(signed.vote.oracle).or_insert_with(|| signed.clone());
        }
        self.add_signature(proposal.view, proposal.leader, proposal.report_digest, proposal.signature);
        self.proposals.insert(proposal.view, proposal);
    }

    /// Whether an input can change anything. What cannot is neither stored nor applied, so that no member fills a disk with valid but
    /// useless statements.
    pub fn is_news(&self, input: &Input) -> bool {
        if self.settled {
            return false;
        }
        match input {
            Input::Tick | Input::Observed(..) | Input::Parent(_) | Input::HandedOver(_) | Input::Settled => true,
            Input::Commit(signed) => {
                let commit = &signed.get().commit;
                let key = (commit.oracle, commit.digest(&self.setting.instance));
                !self.commits.contains_key(&key) && self.has_room_for(&key)
            }
            Input::Reveal(verified) => !self.reveals.contains_key(&(verified.reveal.oracle, verified.commit_digest)),
            Input::BitVote(signed) => !self.bit_votes.contains_key(&signed.get().vote.oracle),
            Input::Proposal(proposal) => {
                let view = proposal.get().view;
                view <= MAX_VIEW && !self.proposals.contains_key(&view)
            }
            Input::Signature(signed) => {
                let signed = signed.get();
                let signs = |((view, _), by): (&(u64, Hash32), &BTreeMap<OracleId, Signature>)| {
                    *view == signed.view && by.contains_key(&signed.oracle)
                };
                signed.view <= MAX_VIEW && !self.signatures.iter().any(signs)
            }
            Input::Wish(wish) => {
                let wish = wish.get();
                wish.view <= MAX_VIEW && !self.wishes.get(&wish.view).is_some_and(|by| by.contains(&wish.oracle))
            }
            Input::Certificate(certificate) => !self.certificates.contains_key(&certificate.report.parent_digest),
        }
    }

    /// What an input proves of its author together with what is held here. Ask before the input is applied, whether it is news or not.
    pub fn misbehaviour(&self, input: &Input) -> Vec<Misbehaviour> {
        let mut proofs = Vec::new();
        match input {
            Input::Commit(signed) => proofs.extend(self.second_commit(signed.get())),
            Input::BitVote(signed) => proofs.extend(self.second_bit_vote(signed.get())),
            Input::Signature(signed) => proofs.extend(self.second_report(signed.get())),
            Input::Proposal(proposal) => {
                let Proposal { epoch, view, leader, basis, report_digest, signature } = proposal.get();
                proofs.extend(basis.commits.iter().filter_map(|signed| self.second_commit(signed)));
                proofs.extend(basis.bit_votes.iter().filter_map(|signed| self.second_bit_vote(signed)));
                let signed = ReportSignature { epoch: *epoch, view: *view, oracle: *leader, digest: *report_digest, signature: *signature };
                proofs.extend(self.second_report(&signed));
            }
            Input::Tick
            | Input::Observed(..)
            | Input::Reveal(_)
            | Input::Wish(_)
            | Input::Certificate(_)
            | Input::Parent(_)
            | Input::HandedOver(_)
            | Input::Settled => {}
        }
        proofs
    }

    /// What a reveal that [`Self::open`] refused proves, if anything: that its author committed to false observations.
    pub fn false_observation(&self, reveal: &Reveal) -> Option<Misbehaviour> {
        let root = reveal.root();
        let mut held = self.commits.values().filter(|held| held.signed.commit.oracle == reveal.oracle);
        let signed = held.find(|held| held.signed.commit.root == root)?.signed;
        let proof = Misbehaviour::FalseObservation(signed, Box::new(reveal.clone()));
        proof.verify(&self.setting).is_ok().then_some(proof)
    }

    fn second_commit(&self, signed: &SignedCommit) -> Option<Misbehaviour> {
        let instance = &self.setting.instance;
        let digest = signed.commit.digest(instance);
        let mut held = self.commits.iter().filter(|((oracle, _), _)| *oracle == signed.commit.oracle);
        let (_, other) = held.find(|((_, held), _)| *held != digest)?;
        Some(Misbehaviour::commits(other.signed, *signed, instance))
    }

    fn second_bit_vote(&self, signed: &SignedBitVote) -> Option<Misbehaviour> {
        let held = self.bit_votes.get(&signed.vote.oracle).filter(|held| held.vote != signed.vote)?;
        Some(Misbehaviour::bit_votes(held.clone(), signed.clone(), &self.setting.instance))
    }

    fn second_report(&self, signed: &ReportSignature) -> Option<Misbehaviour> {
        let mut other = self.signatures.iter().filter(|((view, digest), _)| *view == signed.view && *digest != signed.digest);
        let (digest, signature) = other.find_map(|((_, digest), by)| Some((*digest, *by.get(&signed.oracle)?)))?;
        Some(Misbehaviour::reports(ReportSignature { digest, signature, ..*signed }, *signed))
    }

    /// One signature per (view, member): whoever signs two digests of one view counts once here and is slashed elsewhere.
    fn add_signature(&mut self, view: u64, oracle: OracleId, digest: Hash32, signature: Signature) {
        let doubled = self.signatures.iter().any(|((v, d), by)| *v == view && *d != digest && by.contains_key(&oracle));
        if !doubled && view <= MAX_VIEW {
            self.signatures.entry((view, digest)).or_default().insert(oracle, signature);
        }
    }

    fn set_parent(&mut self, now_ms: u64, ledger: Ledger) {
        if self.parent.as_ref().is_some_and(|parent| parent.digest == ledger.digest) {
            return;
        }
        // What was certified under another parent cannot be accepted: the chain has decided.
        self.quorum_since_ms = None;
        self.parent = Some(ledger);
        self.refuted_views.clear();
        // Views run only while a proposal is possible.
        self.view_ends_ms = self.view_ends_ms.max(now_ms.saturating_add(self.view_length_ms()));
    }

    fn advance(&mut self, now_ms: u64, effects: &mut Vec<Effect>) {
        let Some(me) = self.me else {
            self.certify(now_ms, effects);
            return;
        };
        self.commit_and_reveal(now_ms, me, effects);
        self.vote(now_ms, me, effects);
        if self.parent.is_some() && self.certificate().is_none() {
            self.lead(now_ms, me, effects);
            self.follow(effects);
            self.sign(now_ms, me, effects);
            self.change_view(now_ms, me, effects);
        }
        self.certify(now_ms, effects);
    }

    fn commit_and_reveal(&mut self, now_ms: u64, me: OracleId, effects: &mut Vec<Effect>) {
        let Some((own, commit)) = &self.own else { return };
        let deadlines = &self.setting.params.deadlines;
        let commit_deadline = self.after_end(deadlines.commit_ms);
        let committed = self.commits.contains_key(&(me, own.commit_digest));
        let may_commit = now_ms >= self.setting.end_ms() && now_ms <= commit_deadline;
        if !committed && may_commit && is_due(self.asked_commit_ms, now_ms) {
            self.asked_commit_ms = Some(now_ms);
            effects.push(Effect::SignCommit(*commit));
        }
        let opens = commit_deadline.saturating_add(self.setting.params.skew_ms.saturating_mul(2));
        let revealed = self.reveals.contains_key(&(me, own.commit_digest));
        if committed && !revealed && now_ms >= opens && is_due(self.asked_reveal_ms, now_ms) {
            self.asked_reveal_ms = Some(now_ms);
            effects.push(Effect::SendReveal(Box::new(own.clone())));
        }
    }

    fn vote(&mut self, now_ms: u64, me: OracleId, effects: &mut Vec<Effect>) {
        let opens = self.after_end(self.setting.params.deadlines.reveal_ms).saturating_add(self.setting.params.skew_ms);
        if self.bit_votes.contains_key(&me) || now_ms < opens || !is_due(self.asked_bit_vote_ms, now_ms) {
            return;
        }
        self.asked_bit_vote_ms = Some(now_ms);
        let held = self.commits.iter().filter(|(key, held)| held.in_time && self.reveals.contains_key(key)).map(|(key, _)| *key).collect();
        effects.push(Effect::SignBitVote(BitVote { epoch: self.setting.epoch, oracle: me, held }));
    }

    /// Decides to sign the current view's proposal if recomputing it gives the same digest.
    fn follow(&mut self, effects: &mut Vec<Effect>) {
        let view = self.view;
        if self.decided.contains_key(&view) || self.refuted_views.contains(&view) {
            return;
        }
        let Some(proposal) = self.proposals.get(&view).cloned() else { return };
        let Some(outcome) = self.compute(view, &proposal.basis, effects) else { return };
        if outcome.ledger.digest == proposal.report_digest {
            self.outcomes.insert(proposal.report_digest, outcome);
            self.decided.insert(view, (proposal.report_digest, 0));
        } else {
            self.refuted_views.insert(view);
        }
    }

    /// Asks for our signature under what we decided in the current view: one digest a view, whatever happens later.
    fn sign(&mut self, now_ms: u64, me: OracleId, effects: &mut Vec<Effect>) {
        let view = self.view;
        let Some((digest, asked_ms)) = self.decided.get_mut(&view) else { return };
        let signed = self.signatures.get(&(view, *digest)).is_some_and(|by| by.contains_key(&me));
        if signed || !is_due(Some(*asked_ms).filter(|ms| *ms > 0), now_ms) {
            return;
        }
        *asked_ms = now_ms;
        if let Some(outcome) = self.outcomes.get(digest) {
            effects.push(Effect::SignReport { view, outcome: Box::new(outcome.clone()) });
        }
    }

    /// The outcome that commits and bit-votes lead to, or a request for the reveals that are missing.
    fn compute(&mut self, view: u64, basis: &Basis, effects: &mut Vec<Effect>) -> Option<Outcome> {
        let parent = self.parent.as_ref()?;
        let mut reveals = BTreeMap::new();
        let mut complete = true;
        for (oracle, digest) in basis.included(&self.setting) {
            match self.reveal(oracle, &digest) {
                Some(verified) => {
                    reveals.insert(oracle, VerifiedReveal { commit_digest: digest, ..verified.clone() });
                }
                None => {
                    complete = false;
                    if self.fetched.insert((oracle, digest)) {
                        let from = voters_for(&(oracle, digest), &basis.bit_votes);
                        effects.push(Effect::FetchReveal { oracle, commit: digest, from });
                    }
                }
            }
        }
        complete.then(|| {
            Outcome::compute(&Inputs {
                setting: &self.setting,
                view,
                parent,
                bit_votes_root: basis.bit_votes_root(&self.setting.instance),
                reveals: &reveals,
            })
        })
    }
}

fn voters_for<'a>(key: &(OracleId, Hash32), votes: impl IntoIterator<Item = &'a SignedBitVote>) -> Vec<OracleId> {
    votes.into_iter().filter(|signed| signed.vote.held.binary_search(key).is_ok()).map(|signed| signed.vote.oracle).collect()
}

fn is_due(asked_ms: Option<u64>, now_ms: u64) -> bool {
    asked_ms.is_none_or(|asked_ms| now_ms >= asked_ms.saturating_add(ASK_AGAIN_MS))
}

#[cfg(test)]
pub(crate) mod tests;
