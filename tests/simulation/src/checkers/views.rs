//! A view is left when more than two thirds of weight wish so, never earlier.

use assay_core::ids::OracleId;
use assay_core::report::Setting;

use super::Judge;

pub const BY_QUORUM: &str = "a view is entered by the wishes of more than two thirds";

impl Judge {
    /// A wish arrived at a node.
    pub fn wished(&mut self, epoch: u64, view: u64, oracle: OracleId, at: OracleId) {
        self.record(epoch).wishes.insert((at, view, oracle));
    }

    /// A node entered a later view.
    pub fn entered(&mut self, setting: &Setting, view: u64, by: OracleId, at_ms: u64) {
        let weight = |oracle: OracleId| setting.member(oracle).map_or(0, |member| u64::from(member.weight));
        let wishes = &self.record(setting.epoch).wishes;
        let wishing: u64 = wishes.iter().filter(|(at, to, _)| (*at, *to) == (by, view)).map(|(_, _, oracle)| weight(*oracle)).sum();
        let total: u64 = setting.members.iter().map(|member| u64::from(member.weight)).sum();
        if 3 * wishing <= 2 * total {
            self.fail(BY_QUORUM, at_ms, format!("{by} entered view {view} of {} by {wishing} of {total}", setting.epoch));
        }
    }
}
