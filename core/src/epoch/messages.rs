//! What oracles say to each other while they close an epoch, and how each statement is checked.

use std::collections::{BTreeMap, BTreeSet};

use crate::abi::Words;
use crate::bls::{BlsError, Domain, Signature};
use crate::hash::Hash32;
use crate::ids::{Instance, OracleId};
use crate::merkle;
use crate::observation::SignedCommit;
use crate::report::{Setting, signing_message};

/// A statement whose signature has been checked against the epoch's committee. Only the `verify` functions make one, and [`super::Close`]
/// of what it puts together itself.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Verified<T>(T);

impl<T> Verified<T> {
    /// Our own statement, all of whose parts are verified.
    pub(super) fn own(statement: T) -> Self {
        Self(statement)
    }

    /// The statement.
    pub fn get(&self) -> &T {
        &self.0
    }

    /// Takes the statement out.
    pub fn into_inner(self) -> T {
        self.0
    }
}

/// Why a statement is refused.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum MessageError {
    /// For another epoch.
    #[error("the message is for epoch {got}, this is {here}")]
    Epoch {
        /// Its epoch.
        got: u64,
        /// Ours.
        here: u64,
    },
    /// By nobody in the committee.
    #[error("oracle {0} is not in the committee")]
    Stranger(OracleId),
    /// Not by the leader of its view.
    #[error("oracle {sender} does not lead view {view}")]
    Leader {
        /// Who sent it.
        sender: OracleId,
        /// The view.
        view: u64,
    },
    /// Lists out of order, with doubles, or longer than the committee allows.
    #[error("a list in the message is unordered, doubled or too long")]
    List,
    /// The bit-votes weigh no more than 2/3, or a counted commit is missing.
    #[error("the proposal does not carry a quorum of bit-votes and every commit they count")]
    Incomplete,
    /// A signature does not verify.
    #[error("{0}")]
    Signature(#[from] BlsError),
}

/// Which commits an oracle held before the deadline and holds the full reveal of.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct BitVote {
    /// Epoch.
    pub epoch: u64,
    /// Who votes.
    pub oracle: OracleId,
    /// (oracle, commit digest), ascending.
    pub held: Vec<(OracleId, Hash32)>,
}

impl BitVote {
    /// What the verdict key signs (`assay.bitvote.v1`).
    pub fn digest(&self, instance: &Instance) -> Hash32 {
        let mut words = Words::tagged("assay.bitvote.v1").with_instance(instance).with(&self.epoch).with(&self.oracle);
        for (oracle, digest) in &self.held {
            words.push(oracle);
            words.push(digest);
        }
        words.keccak()
    }
}

/// A bit-vote and its signature.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct SignedBitVote {
    /// The statement.
    pub vote: BitVote,
    /// By the verdict key.
    pub signature: Signature,
}

/// What decides whose reveal counts.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Basis {
    /// Commits, ascending by (oracle, digest); two by one oracle exclude it.
    pub commits: Vec<SignedCommit>,
    /// Bit-votes, ascending by oracle.
    pub bit_votes: Vec<SignedBitVote>,
}

/// A leader's proposal: everything a report is a function of, by digest, and the leader's own signature under the result.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Proposal {
    /// Epoch.
    pub epoch: u64,
    /// View.
    pub view: u64,
    /// Leader.
    pub leader: OracleId,
    /// Commits and bit-votes.
    pub basis: Basis,
    /// Digest of the report the leader computed.
    pub report_digest: Hash32,
    /// The leader's report signature.
    pub signature: Signature,
}

/// One member's signature under a report.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ReportSignature {
    /// Epoch.
    pub epoch: u64,
    /// View.
    pub view: u64,
    /// Who signs.
    pub oracle: OracleId,
    /// The report's digest.
    pub digest: Hash32,
    /// By the verdict key.
    pub signature: Signature,
}

/// The wish to move to a later view.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Wish {
    /// Epoch.
    pub epoch: u64,
    /// The view wished for.
    pub view: u64,
    /// Who wishes.
    pub oracle: OracleId,
    /// By the verdict key.
    pub signature: Signature,
}

/// What the verdict key signs for a wish (`assay.wish.v1`).
pub fn wish_message(instance: &Instance, epoch: u64, view: u64, oracle: OracleId) -> Hash32 {
    Words::tagged("assay.wish.v1").with_instance(instance).with(&epoch).with(&view).with(&oracle).keccak()
}

fn check(
    setting: &Setting,
    epoch: u64,
    oracle: OracleId,
    domain: Domain,
    message: &Hash32,
    signature: &Signature,
) -> Result<(), MessageError> {
    if epoch != setting.epoch {
        return Err(MessageError::Epoch { got: epoch, here: setting.epoch });
    }
    let member = setting.member(oracle).ok_or(MessageError::Stranger(oracle))?;
    Ok(member.key.verify(domain, message, signature)?)
}

/// Checks a commit.
pub fn verify_commit(setting: &Setting, signed: SignedCommit) -> Result<Verified<SignedCommit>, MessageError> {
    let digest = signed.commit.digest(&setting.instance);
    check(setting, signed.commit.epoch, signed.commit.oracle, Domain::Commit, &digest, &signed.signature)?;
    Ok(Verified(signed))
}

/// Checks a bit-vote.
pub fn verify_bit_vote(setting: &Setting, signed: SignedBitVote) -> Result<Verified<SignedBitVote>, MessageError> {
    let held = &signed.vote.held;
    // An oracle counts at most two commits of one member: enough to show that it equivocated.
    if !is_ascending(held) || held.len() > setting.members.len().saturating_mul(2) {
        return Err(MessageError::List);
    }
    let digest = signed.vote.digest(&setting.instance);
    check(setting, signed.vote.epoch, signed.vote.oracle, Domain::BitVote, &digest, &signed.signature)?;
    Ok(Verified(signed))
}

/// Checks a report signature.
pub fn verify_signature(setting: &Setting, signed: ReportSignature) -> Result<Verified<ReportSignature>, MessageError> {
    let message = signing_message(&setting.instance, signed.epoch, signed.view, &signed.digest);
    check(setting, signed.epoch, signed.oracle, Domain::Report, &message, &signed.signature)?;
    Ok(Verified(signed))
}

/// Checks a wish.
pub fn verify_wish(setting: &Setting, wish: Wish) -> Result<Verified<Wish>, MessageError> {
    let message = wish_message(&setting.instance, wish.epoch, wish.view, wish.oracle);
    check(setting, wish.epoch, wish.oracle, Domain::ViewWish, &message, &wish.signature)?;
    Ok(Verified(wish))
}

/// Checks a proposal down to every commit and bit-vote in it.
pub fn verify_proposal(setting: &Setting, leader: OracleId, proposal: Proposal) -> Result<Verified<Proposal>, MessageError> {
    verify_proposal_beside(setting, leader, proposal, |_, _| false, |_| false)
}

/// As [`verify_proposal`], but for signatures of statements that were checked before, signature and all. A commit comes with its digest.
pub(super) fn verify_proposal_beside(
    setting: &Setting,
    leader: OracleId,
    proposal: Proposal,
    knows_commit: impl Fn(&SignedCommit, &Hash32) -> bool,
    knows_bit_vote: impl Fn(&SignedBitVote) -> bool,
) -> Result<Verified<Proposal>, MessageError> {
    if proposal.leader != leader {
        return Err(MessageError::Leader { sender: proposal.leader, view: proposal.view });
    }
    let message = signing_message(&setting.instance, proposal.epoch, proposal.view, &proposal.report_digest);
    check(setting, proposal.epoch, leader, Domain::Report, &message, &proposal.signature)?;
    let commit_keys: Vec<(OracleId, Hash32)> =
        proposal.basis.commits.iter().map(|signed| (signed.commit.oracle, signed.commit.digest(&setting.instance))).collect();
    let voters: Vec<OracleId> = proposal.basis.bit_votes.iter().map(|signed| signed.vote.oracle).collect();
    // Two show that an oracle equivocated, a third shows nothing.
    let is_third = |(a, c): (&(OracleId, Hash32), &(OracleId, Hash32))| a.0 == c.0;
    let has_third = commit_keys.iter().zip(commit_keys.iter().skip(2)).any(is_third);
    if !is_ascending(&commit_keys) || !is_ascending(&voters) || has_third || commit_keys.len() > setting.members.len().saturating_mul(2) {
        return Err(MessageError::List);
    }
    for (signed, (_, digest)) in proposal.basis.commits.iter().zip(&commit_keys) {
        if !knows_commit(signed, digest) {
            verify_commit(setting, *signed)?;
        }
    }
    for signed in &proposal.basis.bit_votes {
        if !knows_bit_vote(signed) {
            verify_bit_vote(setting, signed.clone())?;
        }
    }
    let commits: BTreeSet<(OracleId, Hash32)> = commit_keys.into_iter().collect();
    let counted = single(&counted_commits(setting, proposal.basis.bit_votes.iter()));
    if !setting.is_quorum(setting.weight_of(&voters)) || !counted.iter().all(|(oracle, digest)| commits.contains(&(*oracle, *digest))) {
        return Err(MessageError::Incomplete);
    }
    Ok(Verified(proposal))
}

fn is_ascending<T: Ord>(list: &[T]) -> bool {
    list.iter().zip(list.iter().skip(1)).all(|(a, b)| a < b)
}

/// Every (oracle, commit digest) that more than 1/3 of weight votes for: no leader can leave out a timely reveal.
pub fn counted_commits<'a>(setting: &Setting, votes: impl Iterator<Item = &'a SignedBitVote>) -> BTreeSet<(OracleId, Hash32)> {
    let mut weights: BTreeMap<(OracleId, Hash32), u64> = BTreeMap::new();
    for signed in votes {
        let weight = setting.weight_of([&signed.vote.oracle]);
        for key in &signed.vote.held {
            let entry = weights.entry(*key).or_default();
            *entry = entry.saturating_add(weight);
        }
    }
    weights.into_iter().filter(|(_, weight)| setting.is_third(*weight)).map(|(key, _)| key).collect()
}

/// The oracles of which one commit is counted. Of whom two are, equivocated: each was in the hands of an honest voter. Then nobody has to
/// hold both to follow, so that showing one commit to each half of the committee stops nothing.
pub(super) fn single(counted: &BTreeSet<(OracleId, Hash32)>) -> BTreeMap<OracleId, Hash32> {
    let commits_of = |oracle: OracleId| counted.range((oracle, Hash32::ZERO)..=(oracle, Hash32([0xff; 32]))).count();
    counted.iter().copied().filter(|(oracle, _)| commits_of(*oracle) == 1).collect()
}

impl Basis {
    /// The reveals that count: voted for by more than 1/3, and neither is another commit of the same oracle nor does the proposal carry one.
    pub fn included(&self, setting: &Setting) -> BTreeMap<OracleId, Hash32> {
        let mut commits: BTreeMap<OracleId, BTreeSet<Hash32>> = BTreeMap::new();
        for signed in &self.commits {
            commits.entry(signed.commit.oracle).or_default().insert(signed.commit.digest(&setting.instance));
        }
        single(&counted_commits(setting, self.bit_votes.iter()))
            .into_iter()
            .filter(|(oracle, _)| commits.get(oracle).is_some_and(|digests| digests.len() == 1))
            .collect()
    }

    /// `bitVotesRoot` of the report.
    pub fn bit_votes_root(&self, instance: &Instance) -> Hash32 {
        merkle::root(
            self.bit_votes
                .iter()
                .map(|signed| merkle::leaf(&Words::new().with(&signed.vote.oracle).with(&signed.vote.digest(instance))))
                .collect(),
        )
    }
}
