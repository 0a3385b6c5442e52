//! Who may connect: the committees that this node knows, from the frames that it reads.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use assay_core::bls::PublicKey;
use assay_core::ids::OracleId;
use assay_core::report::Setting;
use tokio::sync::watch;

type Keys = BTreeMap<OracleId, PublicKey>;

/// The verdict keys of every committee whose report may still be accepted. Clones share it.
#[derive(Clone)]
pub struct Members {
    sets: Arc<watch::Sender<BTreeMap<u64, Arc<Keys>>>>,
}

impl Default for Members {
    fn default() -> Self {
        Self { sets: Arc::new(watch::Sender::default()) }
    }
}

impl Members {
    /// A committee that does not change.
    pub fn fixed(keys: impl IntoIterator<Item = (OracleId, PublicKey)>) -> Self {
        let members = Self::default();
        members.sets.send_modify(|sets| drop(sets.insert(0, Arc::new(keys.into_iter().collect()))));
        members
    }

    /// Takes over an epoch's committee. Committees of epochs whose reports can no longer be accepted are forgotten, and with them the
    /// members that left and the keys that were replaced.
    pub fn admit(&self, setting: &Setting) {
        let keys: Keys = setting.members.iter().map(|member| (member.oracle, member.key)).collect();
        self.sets.send_modify(|sets| {
            let last = sets.values().next_back();
            let keys = last.filter(|last| ***last == keys).cloned().unwrap_or_else(|| Arc::new(keys));
            sets.insert(setting.epoch, keys);
            let newest = sets.keys().next_back().copied().unwrap_or(0);
            sets.retain(|epoch, _| epoch.saturating_add(setting.params.valid_epochs) >= newest);
        });
    }

    /// The keys of an oracle, the newest first; none for a stranger. Two when it rotates.
    pub fn keys(&self, oracle: OracleId) -> Vec<PublicKey> {
        let sets = self.sets.borrow();
        let mut keys: Vec<PublicKey> = sets.values().rev().filter_map(|set| set.get(&oracle).copied()).collect();
        keys.dedup();
        keys
    }

    /// Whether this is a member's key.
    pub fn stands(&self, oracle: OracleId, key: &PublicKey) -> bool {
        self.sets.borrow().values().any(|set| set.get(&oracle) == Some(key))
    }

    /// Whether an oracle is in a committee that is known.
    pub fn is_member(&self, oracle: OracleId) -> bool {
        self.sets.borrow().values().any(|set| set.contains_key(&oracle))
    }

    /// All members.
    pub fn ids(&self) -> BTreeSet<OracleId> {
        self.sets.borrow().values().flat_map(|set| set.keys().copied()).collect()
    }

    /// Tells of every change.
    pub fn changes(&self) -> watch::Receiver<impl Sized + use<>> {
        self.sets.subscribe()
    }
}
