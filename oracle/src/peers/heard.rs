//! What each member said, for the member itself: an oracle that reads what others hold of it learns whether somebody else signs with its key.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::sync::Arc;

use assay_core::ids::OracleId;
use assay_proto::oracle_convert::{LogEntry, Message};
use bytes::Bytes;
use tokio::sync::Mutex;
use tracing::warn;

use crate::doppelganger::MAX_STATEMENT_BYTES;
use crate::store::Store;

/// Epochs kept in memory.
const KEPT_EPOCHS: usize = 8;
/// Statements of one member in one epoch: a commit, a bit-vote, signatures in some views, and what contradicts them.
const MAX_STATEMENTS: usize = 32;

type ByAuthor = BTreeMap<OracleId, Vec<Bytes>>;

/// Statements by epoch and author, read from the log when an epoch is first asked for.
pub struct Heard {
    store: Arc<dyn Store>,
    epochs: Mutex<BTreeMap<u64, ByAuthor>>,
}

impl Heard {
    /// Over the node's log.
    pub fn new(store: Arc<dyn Store>) -> Self {
        Self { store, epochs: Mutex::default() }
    }

    /// Whether it is a statement that a record of signatures knows.
    pub fn is_kept(message: &Message) -> bool {
        matches!(message, Message::Commit(_) | Message::BitVote(_) | Message::Signature(_))
    }

    /// Takes in what was just stored, if its epoch was asked for before.
    pub async fn note(&self, message: &Message) {
        if let Some(epoch) = self.epochs.lock().await.get_mut(&message.epoch()) {
            keep(epoch, message);
        }
    }

    /// What the log holds of a member's statements in the newest epochs from `since` to `newest`.
    pub async fn of(&self, oracle: OracleId, since: u64, newest: u64) -> Vec<Bytes> {
        let oldest = since.max(newest.saturating_sub(KEPT_EPOCHS as u64 - 1));
        let mut epochs = self.epochs.lock().await;
        let mut found = Vec::new();
        for epoch in oldest..=newest {
            let by_author = match epochs.entry(epoch) {
                Entry::Occupied(known) => known.into_mut(),
                Entry::Vacant(unread) => unread.insert(self.read(epoch).await),
            };
            found.extend(by_author.get(&oracle).into_iter().flatten().cloned());
        }
        while epochs.len() > KEPT_EPOCHS {
            epochs.pop_first();
        }
        found
    }

    async fn read(&self, epoch: u64) -> ByAuthor {
        let mut by_author = ByAuthor::new();
        let inputs = self.store.small_inputs(epoch, MAX_STATEMENT_BYTES).await;
        for stored in inputs.inspect_err(|error| warn!(%error, epoch, "a member's statements cannot be read")).unwrap_or_default() {
            if let Ok(LogEntry::Received(message)) = LogEntry::decode(&stored.message) {
                keep(&mut by_author, &message);
            }
        }
        by_author
    }
}

fn keep(by_author: &mut ByAuthor, message: &Message) {
    let Some(author) = message.oracle().filter(|_| Heard::is_kept(message)) else { return };
    let statements = by_author.entry(author).or_default();
    let encoded = message.encode();
    if statements.len() < MAX_STATEMENTS && !statements.contains(&encoded) {
        statements.push(encoded);
    }
}
