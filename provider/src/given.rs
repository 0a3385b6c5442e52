//! Which answers were given, so that a seal signs no other.

use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::{Mutex, PoisonError};

use assay_core::hash::Hash32;
use assay_core::ids::OracleId;

use crate::error::StoreError;

/// The most answers that one slot of one oracle can hold.
pub const MAX_ANSWERS_PER_SLOT: usize = 8192;
/// The most answers that are remembered altogether; the slots asked about first are forgotten first.
const MAX_ANSWERS: usize = 500_000;

/// One oracle's slot.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct SlotKey {
    /// Who asked.
    pub oracle: OracleId,
    /// Epoch.
    pub epoch: u64,
    /// Slot in the epoch.
    pub slot: u32,
}

/// (challenge digest, answer digest).
pub type Pair = (Hash32, Hash32);

/// Bounded memory of the answers given since the process started.
#[derive(Debug)]
pub struct Given {
    inner: Mutex<Inner>,
    max: usize,
}

#[derive(Debug, Default)]
struct Inner {
    slots: HashMap<SlotKey, HashSet<Pair>>,
    order: VecDeque<SlotKey>,
    total: usize,
}

impl Default for Given {
    fn default() -> Self {
        Self::with_limit(MAX_ANSWERS)
    }
}

impl Given {
    fn with_limit(max: usize) -> Self {
        Self { inner: Mutex::default(), max }
    }

    /// Remembers an answer. Call before the answer leaves.
    pub fn remember(&self, key: SlotKey, pair: Pair) -> Result<(), StoreError> {
        let mut guard = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        let inner = &mut *guard;
        let slot = inner.slots.entry(key).or_insert_with(|| {
            inner.order.push_back(key);
            HashSet::new()
        });
        if slot.len() >= MAX_ANSWERS_PER_SLOT && !slot.contains(&pair) {
            // Somebody asks in an oracle's name. The oracle still gets its answers; only the seal is lost.
            return Ok(());
        }
        inner.total += usize::from(slot.insert(pair));
        while inner.total > self.max {
            let Some(oldest) = inner.order.pop_front() else { break };
            inner.total -= inner.slots.remove(&oldest).map_or(0, |slot| slot.len());
        }
        Ok(())
    }

    /// Checks that every answer was given in that slot, and each is named once.
    pub fn check(&self, key: SlotKey, pairs: &[Pair]) -> Result<(), StoreError> {
        let distinct: HashSet<_> = pairs.iter().collect();
        if pairs.is_empty() || pairs.len() > MAX_ANSWERS_PER_SLOT || distinct.len() != pairs.len() {
            return Err(StoreError::SealCount(MAX_ANSWERS_PER_SLOT));
        }
        let inner = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        let slot = inner.slots.get(&key);
        match pairs.iter().find(|pair| !slot.is_some_and(|slot| slot.contains(pair))) {
            Some((challenge, answer)) => Err(StoreError::NotGiven { challenge: *challenge, answer: *answer }),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(slot: u32) -> SlotKey {
        SlotKey { oracle: OracleId(1), epoch: 2, slot }
    }

    fn pair(i: u8) -> Pair {
        (Hash32([i; 32]), Hash32([i + 100; 32]))
    }

    #[test]
    fn only_what_was_given_in_the_slot_passes() {
        let given = Given::default();
        given.remember(key(0), pair(1)).unwrap();
        given.remember(key(0), pair(2)).unwrap();
        given.remember(key(1), pair(3)).unwrap();
        assert!(given.check(key(0), &[pair(2), pair(1)]).is_ok());
        assert!(given.check(key(0), &[pair(1)]).is_ok());
        assert!(matches!(given.check(key(0), &[pair(1), pair(3)]), Err(StoreError::NotGiven { .. })));
        assert!(matches!(given.check(key(1), &[pair(1)]), Err(StoreError::NotGiven { .. })));
        assert!(matches!(given.check(key(0), &[pair(1), pair(1)]), Err(StoreError::SealCount(_))));
        assert!(matches!(given.check(key(0), &[]), Err(StoreError::SealCount(_))));
        let crossed = (pair(1).0, pair(2).1);
        assert!(given.check(key(0), &[crossed]).is_err());
    }

    // Defence: the `Ok` of a full slot in `remember`. With an error there, whoever asks cheap things in an oracle's name silences us to it.
    #[test]
    fn a_slot_filled_by_strangers_costs_the_seal_and_no_answer() {
        let given = Given::default();
        let numbered = |i: usize| (Hash32([7; 32]), blake3::hash(&i.to_le_bytes()).into());
        (0..MAX_ANSWERS_PER_SLOT).for_each(|i| given.remember(key(0), numbered(i)).unwrap());
        given.remember(key(0), pair(1)).unwrap();
        assert!(matches!(given.check(key(0), &[pair(1)]), Err(StoreError::NotGiven { .. })));
        assert!(given.check(key(0), &[numbered(3)]).is_ok());
    }

    #[test]
    fn memory_is_bounded_and_forgets_the_oldest_slot() {
        let given = Given::with_limit(4);
        for slot in 0..3 {
            given.remember(key(slot), pair(1)).unwrap();
            given.remember(key(slot), pair(2)).unwrap();
            given.remember(key(slot), pair(2)).unwrap();
        }
        assert!(given.check(key(0), &[pair(1)]).is_err());
        assert!(given.check(key(1), &[pair(1)]).is_ok());
        assert!(given.check(key(2), &[pair(1), pair(2)]).is_ok());
        assert_eq!(given.inner.lock().unwrap().total, 4);
    }
}
