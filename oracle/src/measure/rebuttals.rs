//! Silences that providers rebutted on the chain. The contract checked whose answer it is; whether it is right is for us to say, and a
//! wrong one is a fact like any other.

use std::collections::VecDeque;
use std::sync::Arc;

use assay_chain::{ChainError, Client, LateAnswer, Rebuttal};
use assay_core::challenge::{Answer, Asked, Challenge};
use assay_core::claim::ClaimSet;
use assay_core::ids::Address;
use assay_core::report::Ledger;
use assay_core::slice::{CHUNK_BYTES, Slice};
use assay_core::transcript::{Outcome, Transcript, judge_late};
use tokio::sync::Mutex;
use tracing::warn;

use super::subject::Subject;
use super::{MeasureError, Measurer};
use crate::store::StoreError;

/// Rebuttals remembered: each has 92 kB, and cost its sender two million gas.
const REMEMBERED: usize = 256;

/// What was read of the chain's rebuttals; shared by all epochs.
#[derive(Default)]
pub struct Rebuttals {
    client: Option<Client>,
    read: Mutex<Read>,
}

#[derive(Default)]
struct Read {
    next_block: u64,
    /// The newest last.
    found: VecDeque<Rebuttal>,
}

impl Rebuttals {
    /// Of the settlement contract that the client knows.
    pub fn of(client: Client) -> Self {
        Self { client: Some(client), read: Mutex::default() }
    }

    /// These alone; nothing is read.
    pub fn known(found: impl IntoIterator<Item = Rebuttal>) -> Self {
        Self { client: None, read: Mutex::new(Read { next_block: 0, found: found.into_iter().collect() }) }
    }

    /// Reads the blocks from `from_block` to `to_block` that were not read before.
    async fn read(&self, from_block: u64, to_block: u64) -> Result<(), ChainError> {
        let Some(client) = &self.client else { return Ok(()) };
        loop {
            // Not held while the chain is asked: an epoch that closes in the meantime must not wait for a slow node.
            let next_block = self.read.lock().await.next_block.max(from_block);
            if next_block > to_block {
                return Ok(());
            }
            let page = client.rebuttals(next_block, to_block).await?;
            let mut read = self.read.lock().await;
            // Somebody else may have read the same blocks.
            if read.next_block <= next_block {
                read.next_block = page.next_block;
                read.found.extend(page.found);
            }
            while read.found.len() > REMEMBERED {
                read.found.pop_front();
            }
        }
    }

    /// The answer to a challenge in a block up to `to_block`.
    async fn of_challenge(&self, challenge: &Challenge, to_block: u64) -> Option<Rebuttal> {
        let digest = challenge.digest();
        let read = self.read.lock().await;
        read.found.iter().find(|rebuttal| rebuttal.answer.challenge_digest == digest && rebuttal.block_number <= to_block).cloned()
    }
}

/// The answer as if it had come to an ask of ours; `None` when it is none that can be judged.
fn transcript(answer: LateAnswer, challenge: &Challenge, claims: &ClaimSet, receipt_key: &Address) -> Option<Transcript> {
    let chunks = answer.chunks.chunks(usize::try_from(CHUNK_BYTES).ok()?);
    let samples =
        chunks.zip(&answer.siblings).map(|(chunk, path)| Some(Slice { chunk: chunk.to_vec(), siblings: path.as_chunks().0.to_vec() }));
    let (signature, answer) = (answer.signature, Answer { payload: Vec::new(), samples: samples.collect() });
    let asked = Asked { challenge, claims: Some(claims), kept: None };
    let outcome = judge_late(&asked, &answer, &signature, receipt_key);
    matches!(outcome, Outcome::Checked(_)).then(|| Transcript {
        challenge: challenge.clone(),
        strike: 0,
        scheduled_at_us: 0,
        slip_us: 0,
        rtt_us: None,
        readings: Vec::new(),
        outcome,
        answer: Some(answer),
        signature: Some(signature),
    })
}

impl Measurer {
    /// Reads what was rebutted up to the epoch's reference block, if there is any silence that may be.
    pub(super) async fn read_rebuttals(self: Arc<Self>, ledger: Ledger, ref_block: u64) {
        let slashed = ledger.watch.values().filter(|watched| watched.is_slashed()).map(|watched| watched.challenge.epoch);
        let Some(oldest) = slashed.min() else { return };
        let since = match self.ref_block_of(oldest).await {
            Ok(Some(block)) => block,
            // We were not there then: what is new is ours to read, the rest was others'.
            Ok(None) | Err(_) => ref_block,
        };
        if let Err(error) = self.rebuttals.read(since, ref_block).await {
            warn!(%error, "rebuttals could not be read; they are read with the next epoch");
        }
    }

    async fn ref_block_of(&self, epoch: u64) -> Result<Option<u64>, StoreError> {
        Ok(self.store.outcome(epoch).await?.map(|certified| certified.outcome.report.ref_block))
    }

    /// What the provider answered on the chain to the challenge whose silence is slashed. A wrong answer that was slashed takes the entry off the list.
    pub(super) async fn rebuttal(&self, subject: &Subject, ref_block: u64) -> Result<Option<Transcript>, MeasureError> {
        let Some(watched) = subject.watched.as_ref().filter(|watched| watched.is_slashed()) else { return Ok(None) };
        let Some(rebuttal) = self.rebuttals.of_challenge(&watched.challenge, ref_block).await else { return Ok(None) };
        let Some(claims) = subject.claims_of(&watched.challenge) else { return Ok(None) };
        Ok(transcript(rebuttal.answer, &watched.challenge, &claims, &subject.terms.keys.receipt_key))
    }
}
