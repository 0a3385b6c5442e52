//! Proofs of misbehaviour.

use assay_core::epoch::Misbehaviour;

use crate::convert::{ConvertError, absent};
use crate::oracle::v1 as wire;

impl TryFrom<wire::Misbehaviour> for Misbehaviour {
    type Error = ConvertError;

    fn try_from(misbehaviour: wire::Misbehaviour) -> Result<Self, ConvertError> {
        use wire::misbehaviour::Proof;
        Ok(match misbehaviour.proof.ok_or(absent("proof"))? {
            Proof::TwoCommits(wire::TwoCommits { first, second }) => Self::Commits(Box::new([there(first)?, there(second)?])),
            Proof::TwoBitVotes(wire::TwoBitVotes { first, second }) => Self::BitVotes(Box::new([there(first)?, there(second)?])),
            Proof::TwoReports(wire::TwoReports { first, second }) => Self::Reports([there(first)?, there(second)?]),
            Proof::FalseObservation(wire::FalseObservation { commit, reveal }) => {
                Self::FalseObservation(there(commit)?, Box::new(there(reveal)?))
            }
        })
    }
}

fn there<W, T: TryFrom<W, Error = ConvertError>>(statement: Option<W>) -> Result<T, ConvertError> {
    statement.ok_or(absent("proof"))?.try_into()
}

impl From<&Misbehaviour> for wire::Misbehaviour {
    fn from(misbehaviour: &Misbehaviour) -> Self {
        use wire::misbehaviour::Proof;
        let proof = match misbehaviour {
            Misbehaviour::Commits(pair) => {
                let [first, second] = pair.each_ref().map(|signed| Some(signed.into()));
                Proof::TwoCommits(wire::TwoCommits { first, second })
            }
            Misbehaviour::BitVotes(pair) => {
                let [first, second] = pair.each_ref().map(|signed| Some(signed.into()));
                Proof::TwoBitVotes(wire::TwoBitVotes { first, second })
            }
            Misbehaviour::Reports(pair) => {
                let [first, second] = pair.each_ref().map(|signed| Some(signed.into()));
                Proof::TwoReports(wire::TwoReports { first, second })
            }
            Misbehaviour::FalseObservation(commit, reveal) => {
                Proof::FalseObservation(wire::FalseObservation { commit: Some(commit.into()), reveal: Some(reveal.as_ref().into()) })
            }
        };
        Self { proof: Some(proof) }
    }
}
