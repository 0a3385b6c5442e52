//! The network between oracles: what becomes of one message on one link.

use std::collections::{BTreeMap, BTreeSet};

use assay_core::ids::OracleId;

use crate::prng::Prng;

/// Its present state. Everything off is a good network of 5 to 40 ms.
#[derive(Default)]
pub struct Net {
    pub loss_permille: u64,
    pub late_ms: u64,
    pub doubled_permille: u64,
    pub jitter_ms: u64,
    /// Whoever stands on different sides cannot talk; those without a side stand on side 0.
    pub sides: BTreeMap<OracleId, u8>,
    pub cut: BTreeSet<(OracleId, OracleId)>,
}

impl Net {
    /// When the message arrives: not at all, once, or twice.
    pub fn delays(&self, prng: &mut Prng, from: OracleId, to: OracleId) -> Vec<u64> {
        let side = |oracle| self.sides.get(&oracle).copied().unwrap_or(0);
        if side(from) != side(to) || self.cut.contains(&(from, to)) || prng.chance(self.loss_permille) {
            return Vec::new();
        }
        let mut one = || prng.between(5, 40) + prng.below(self.late_ms + 1) + prng.below(self.jitter_ms + 1);
        let first = one();
        let second = one();
        if prng.chance(self.doubled_permille) { vec![first, second] } else { vec![first] }
    }
}
