//! An honest node never signs two digests for one (kind, epoch, view), across every crash.

use assay_core::hash::Hash32;
use assay_core::ids::OracleId;

use super::Judge;
use crate::disk::Kind;

pub const ONE_STATEMENT: &str = "an honest node never signs twice";

impl Judge {
    /// A signature was made.
    pub fn signed(&mut self, oracle: OracleId, kind: Kind, epoch: u64, view: u64, digest: &Hash32, at_ms: u64) {
        if self.liars.contains(&oracle) {
            return;
        }
        let first = *self.statements.entry((oracle, kind, epoch, view)).or_insert(*digest);
        if first != *digest {
            self.fail(ONE_STATEMENT, at_ms, format!("{oracle} signed {first} and {digest} as {kind:?} of {epoch}, view {view}"));
        }
    }
}
