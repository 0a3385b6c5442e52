//! Nobody learns a value of an honest reveal while any honest node would still take a commit.

use assay_core::ids::OracleId;

use super::Judge;

pub const SECRECY: &str = "nothing leaks before the commit deadline";

impl Judge {
    /// The reveal of an oracle leaves a node. `commit_deadline_ms` is by each node's own clock.
    pub fn disclosed_at(&mut self, oracle: OracleId, epoch: u64, at_ms: u64, commit_deadline_ms: u64) {
        if self.liars.contains(&oracle) {
            return;
        }
        let slowest = self.clocks_ms.values().copied().min().unwrap_or(0);
        if at_ms.saturating_add_signed(slowest) <= commit_deadline_ms {
            self.fail(SECRECY, at_ms, format!("the reveal of {oracle} in {epoch} is out while the slowest clock still takes commits"));
        }
    }
}
