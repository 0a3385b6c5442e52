//! Proofs that a member broke the protocol: what it signed, in a form that anybody can check who knows the epoch's committee.
//!
//! Only what its author alone could have made is a proof. A reveal is signed by nobody: what does not open the commit proves nothing, and
//! neither do wrong VRFs, facts or challenges beside the right observations, which whoever passes a reveal on could have put there.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::messages::{MessageError, ReportSignature, SignedBitVote, verify_bit_vote, verify_commit, verify_signature};
use crate::bls::{Domain, PublicKey};
use crate::hash::Hash32;
use crate::ids::{Instance, OracleId};
use crate::observation::{Reveal, RevealError, SignedCommit};
use crate::report::{Setting, signing_message};

/// What a member did that no honest node does. Pairs are ascending by digest, so that a proof has one form.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Misbehaviour {
    /// It committed to two sets of observations.
    Commits(Box<[SignedCommit; 2]>),
    /// It voted twice.
    BitVotes(Box<[SignedBitVote; 2]>),
    /// It signed two reports in one view.
    Reports([ReportSignature; 2]),
    /// It committed to observations that are impossible, or not of what its VRFs schedule.
    FalseObservation(SignedCommit, Box<Reveal>),
}

/// The kinds of [`Misbehaviour`].
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Offence {
    /// Two commits.
    TwoCommits,
    /// Two bit-votes.
    TwoBitVotes,
    /// Two reports in one view.
    TwoReports,
    /// False observations under a commit.
    FalseObservation,
}

impl Offence {
    /// Every kind.
    pub const ALL: [Self; 4] = [Self::TwoCommits, Self::TwoBitVotes, Self::TwoReports, Self::FalseObservation];

    /// Its name in JSON and in stores.
    pub fn name(self) -> &'static str {
        match self {
            Self::TwoCommits => "two_commits",
            Self::TwoBitVotes => "two_bit_votes",
            Self::TwoReports => "two_reports",
            Self::FalseObservation => "false_observation",
        }
    }
}

impl fmt::Display for Offence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// Why a proof does not hold.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum MisbehaviourError {
    /// One of the statements is not of this epoch, or not by a member.
    #[error("a statement in the proof does not stand: {0}")]
    Statement(#[from] MessageError),
    /// By two authors, in two views, twice the same, or not in ascending order.
    #[error("the two statements do not contradict each other, or are not in ascending order")]
    NoContradiction,
    /// Its author may have revealed just that.
    #[error("the revealed observations are sound")]
    Sound,
    /// Not what was committed to, or something beside the observations that anybody could have put there.
    #[error("the reveal proves nothing about its author: {0}")]
    NotTheirs(RevealError),
}

impl Misbehaviour {
    /// Two commits, in their order.
    pub fn commits(a: SignedCommit, b: SignedCommit, instance: &Instance) -> Self {
        Self::Commits(Box::new(ascending([a, b], |signed| signed.commit.digest(instance))))
    }

    /// Two bit-votes, in their order.
    pub fn bit_votes(a: SignedBitVote, b: SignedBitVote, instance: &Instance) -> Self {
        Self::BitVotes(Box::new(ascending([a, b], |signed| signed.vote.digest(instance))))
    }

    /// Two report signatures, in their order.
    pub fn reports(a: ReportSignature, b: ReportSignature) -> Self {
        Self::Reports(ascending([a, b], |signed| signed.digest))
    }

    /// What it proves.
    pub fn offence(&self) -> Offence {
        match self {
            Self::Commits(_) => Offence::TwoCommits,
            Self::BitVotes(_) => Offence::TwoBitVotes,
            Self::Reports(_) => Offence::TwoReports,
            Self::FalseObservation(..) => Offence::FalseObservation,
        }
    }

    /// Of whom.
    pub fn oracle(&self) -> OracleId {
        match self {
            Self::Commits(pair) => {
                let [first, _] = pair.as_ref();
                first.commit.oracle
            }
            Self::BitVotes(pair) => {
                let [first, _] = pair.as_ref();
                first.vote.oracle
            }
            Self::Reports([first, _]) => first.oracle,
            Self::FalseObservation(signed, _) => signed.commit.oracle,
        }
    }

    /// In which epoch.
    pub fn epoch(&self) -> u64 {
        match self {
            Self::Commits(pair) => {
                let [first, _] = pair.as_ref();
                first.commit.epoch
            }
            Self::BitVotes(pair) => {
                let [first, _] = pair.as_ref();
                first.vote.epoch
            }
            Self::Reports([first, _]) => first.epoch,
            Self::FalseObservation(signed, _) => signed.commit.epoch,
        }
    }

    /// Whether its first statement is signed with a key. Says nothing else about the proof.
    pub fn is_signed_with(&self, key: &PublicKey, instance: &Instance) -> bool {
        let (domain, message, signature) = match self {
            Self::Commits(pair) => {
                let [first, _] = pair.as_ref();
                (Domain::Commit, first.commit.digest(instance), first.signature)
            }
            Self::BitVotes(pair) => {
                let [first, _] = pair.as_ref();
                (Domain::BitVote, first.vote.digest(instance), first.signature)
            }
            Self::Reports([first, _]) => {
                (Domain::Report, signing_message(instance, first.epoch, first.view, &first.digest), first.signature)
            }
            Self::FalseObservation(signed, _) => (Domain::Commit, signed.commit.digest(instance), signed.signature),
        };
        key.verify(domain, &message, &signature).is_ok()
    }

    /// Checks the proof against the epoch's frozen values. Costs two signature checks, or one and those of a reveal.
    pub fn verify(&self, setting: &Setting) -> Result<(), MisbehaviourError> {
        match self {
            Self::Commits(pair) => {
                let [a, b] = pair.each_ref().map(|signed| (signed.commit.oracle, signed.commit.digest(&setting.instance)));
                contradiction(a.0 == b.0, a.1, b.1)?;
                for signed in pair.iter() {
                    verify_commit(setting, *signed)?;
                }
            }
            Self::BitVotes(pair) => {
                let [a, b] = pair.each_ref().map(|signed| (signed.vote.oracle, signed.vote.digest(&setting.instance)));
                contradiction(a.0 == b.0, a.1, b.1)?;
                for signed in pair.iter() {
                    verify_bit_vote(setting, signed.clone())?;
                }
            }
            Self::Reports(pair) => {
                let [a, b] = pair;
                contradiction((a.oracle, a.view) == (b.oracle, b.view), a.digest, b.digest)?;
                for signed in pair {
                    verify_signature(setting, *signed)?;
                }
            }
            Self::FalseObservation(signed, reveal) => {
                verify_commit(setting, *signed)?;
                match reveal.as_ref().clone().verify(&signed.commit, setting) {
                    Err(RevealError::Observation) => {}
                    Ok(_) => return Err(MisbehaviourError::Sound),
                    Err(error) => return Err(MisbehaviourError::NotTheirs(error)),
                }
            }
        }
        Ok(())
    }
}

fn ascending<T>(mut pair: [T; 2], digest: impl Fn(&T) -> Hash32) -> [T; 2] {
    pair.sort_by_key(|statement| digest(statement));
    pair
}

fn contradiction(same_place: bool, first: Hash32, second: Hash32) -> Result<(), MisbehaviourError> {
    match same_place && first < second {
        true => Ok(()),
        false => Err(MisbehaviourError::NoContradiction),
    }
}
