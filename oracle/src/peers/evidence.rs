//! Limits on evidence that leaves for peers, and the memory of what peers gave.

use std::collections::VecDeque;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use assay_core::ids::{OracleId, ProviderId};

use crate::api::Bundles;

/// Bytes that are read from the store for peers in one [`WINDOW`].
const BYTES_PER_WINDOW: usize = 256 * 1024 * 1024;
const WINDOW: Duration = Duration::from_secs(10);
/// Bytes of other oracles' evidence kept for readers.
const KEPT_BYTES: usize = 64 * 1024 * 1024;

/// How much evidence still leaves in the present window. What is read counts, whether it is sent or not.
#[derive(Default)]
pub(super) struct Budget(Mutex<Option<(Instant, usize)>>);

impl Budget {
    /// Whether a reading may begin.
    pub(super) fn is_open(&self) -> bool {
        self.spend(0)
    }

    /// Takes bytes that were read. The window that they overdraw stays closed.
    pub(super) fn spend(&self, bytes: usize) -> bool {
        let mut window = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let fresh = window.filter(|(since, _)| since.elapsed() < WINDOW);
        let (since, spent) = fresh.unwrap_or((Instant::now(), 0));
        let spent = spent.saturating_add(bytes);
        *window = Some((since, spent));
        spent <= BYTES_PER_WINDOW
    }
}

/// Whose evidence about whom.
pub type EvidenceKey = (OracleId, u64, ProviderId);

/// Evidence of other oracles, as it was fetched last; the oldest goes first.
#[derive(Default)]
pub struct EvidenceCache {
    entries: VecDeque<(EvidenceKey, Bundles)>,
    bytes: usize,
}

impl EvidenceCache {
    /// What was kept.
    pub fn find(&self, key: &EvidenceKey) -> Option<Bundles> {
        self.entries.iter().find(|(kept, _)| kept == key).map(|(_, bundles)| bundles.clone())
    }

    /// Keeps it until there is no more room.
    pub fn keep(&mut self, key: EvidenceKey, bundles: Bundles) {
        self.bytes = self.bytes.saturating_add(size(&bundles));
        self.entries.push_back((key, bundles));
        while self.bytes > KEPT_BYTES && self.entries.len() > 1 {
            let Some((_, oldest)) = self.entries.pop_front() else { return };
            self.bytes = self.bytes.saturating_sub(size(&oldest));
        }
    }
}

fn size(bundles: &Bundles) -> usize {
    bundles.iter().map(bytes::Bytes::len).sum()
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;

    // Defence: the loop of `keep`; without it readers fill the node's memory with evidence of all oracles.
    #[test]
    fn the_oldest_evidence_makes_room() {
        let mut cache = EvidenceCache::default();
        let key = |number: u64| (OracleId(number), 1, ProviderId(1));
        for number in 0..5 {
            cache.keep(key(number), Bundles::from(vec![Bytes::from(vec![0; KEPT_BYTES / 3])]));
        }
        let kept: Vec<bool> = (0..5).map(|number| cache.find(&key(number)).is_some()).collect();
        assert_eq!(kept, [false, false, true, true, true]);
    }

    // Defence: the comparison of `spend`; without it a peer makes the node read its whole evidence as often as it can ask.
    #[test]
    fn a_spent_budget_is_closed() {
        let budget = Budget::default();
        assert!(budget.is_open() && budget.spend(BYTES_PER_WINDOW) && budget.is_open());
        assert!(!budget.spend(1));
        assert!(!budget.is_open());
    }
}
