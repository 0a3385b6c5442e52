//! What the shell of the state machine owes to it: write before speaking, one decision a view, and no certificate that the chain finds false.

use assay_core::hash::Hash32;
use assay_core::ids::OracleId;

use super::Judge;
use crate::chain::Revert;

pub const LOGGED: &str = "a statement is in the log before it leaves";
pub const ONE_DECISION: &str = "a node decides once in a view";
pub const STANDS: &str = "what an honest node posts stands";

impl Judge {
    /// A statement leaves its author.
    pub fn left(&mut self, oracle: OracleId, what: &str, is_logged: bool, at_ms: u64) {
        if !is_logged {
            self.fail(LOGGED, at_ms, format!("{oracle}: {what}"));
        }
    }

    /// The state machine asks for a signature for the second time: `first` is what it asked for before.
    pub fn decided(&mut self, oracle: OracleId, view: u64, first: &Hash32, digest: &Hash32, at_ms: u64) {
        if first != digest {
            self.fail(ONE_DECISION, at_ms, format!("{oracle} decided for {first} and {digest} in view {view}"));
        }
    }

    /// The chain refused a report. An honest poster may be late, or misled about the parent; its certificate is sound.
    pub fn refused(&mut self, by: OracleId, epoch: u64, revert: Revert, at_ms: u64) {
        let is_late = matches!(
            revert,
            Revert::EpochAlreadySettled | Revert::WrongParent | Revert::ReportExpired | Revert::EarlierEpochOpen | Revert::WrongSet
        );
        if !is_late && !self.liars.contains(&by) {
            self.fail(STANDS, at_ms, format!("the report of {epoch} by {by}: {revert:?}"));
        }
    }
}
