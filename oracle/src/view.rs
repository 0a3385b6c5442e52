//! The running node as its API and its peers see it.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use assay_core::hash::Hash32;
use assay_core::ids::OracleId;
use assay_core::observation::{Reveal, SignedCommit, VerifiedReveal};
use assay_core::report::{Certificate, Outcome, Setting, StoredDigest};
use assay_proto::oracle_convert::{Message, decode_certificate};
use async_trait::async_trait;

use crate::api::{Health, NodeView, ProviderInfo};
use crate::clock::now_ms;
use crate::committee::{Command, Committee, Status};
use crate::frame::{Frame, Frames};
use crate::peers::{DeliverOutcome, Inbox};
use crate::store::Store;

/// Frames kept for readers.
const KEPT_FRAMES: usize = 64;

/// What readers may know of the node.
pub struct View {
    committee: Committee,
    frames: Frames,
    me: OracleId,
    memory: Mutex<Memory>,
}

#[derive(Default)]
struct Memory {
    frames: BTreeMap<u64, Arc<Frame>>,
    status: Status,
    last_accepted: Option<u64>,
    problems: BTreeMap<String, String>,
}

impl View {
    /// Of a node that has opened no epoch yet.
    pub fn new(committee: Committee, frames: Frames, me: OracleId) -> Self {
        Self { committee, frames, me, memory: Mutex::default() }
    }

    fn memory(&self) -> std::sync::MutexGuard<'_, Memory> {
        self.memory.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Keeps an epoch's frame for readers.
    pub fn remember(&self, frame: Arc<Frame>) {
        let mut memory = self.memory();
        memory.frames.insert(frame.setting.epoch, frame);
        while memory.frames.len() > KEPT_FRAMES {
            memory.frames.pop_first();
        }
    }

    /// Takes over what the committee's actor and the settler last said.
    pub fn note(&self, status: Status, last_accepted: Option<u64>) {
        let mut memory = self.memory();
        memory.status = status;
        memory.last_accepted = last_accepted.or(memory.last_accepted);
    }

    /// Says what is wrong with a component, or that nothing is.
    pub fn problem(&self, component: &str, problem: Option<String>) {
        let mut memory = self.memory();
        match problem {
            Some(problem) => memory.problems.insert(component.into(), problem),
            None => memory.problems.remove(component),
        };
    }

    fn phase(&self, epoch: u64) -> &'static str {
        let now = now_ms();
        let Some(end) = epoch.checked_sub(1).map(|before| self.frames.start_ms(before.saturating_add(1))) else {
            return if now < self.frames.start_ms(0) { "waiting" } else { "measuring" };
        };
        let deadlines = &self.frames.params().deadlines;
        match now.saturating_sub(end) {
            since if since <= deadlines.commit_ms => "committing",
            since if since <= deadlines.reveal_ms => "revealing",
            since if since <= deadlines.bit_vote_ms => "voting",
            since if since <= deadlines.sign_ms => "signing",
            _ => "measuring",
        }
    }
}

#[async_trait]
impl NodeView for View {
    fn now_ms(&self) -> u64 {
        now_ms()
    }

    fn health(&self) -> Health {
        let epoch = self.frames.epoch_at(now_ms()).unwrap_or(0);
        let phase = self.phase(epoch);
        let memory = self.memory();
        Health {
            problems: memory.problems.clone(),
            oracle: Some(self.me),
            epoch,
            phase,
            last_certified: memory.status.last_certified,
            last_accepted: memory.last_accepted,
        }
    }

    fn setting(&self, epoch: u64) -> Option<Arc<Setting>> {
        self.memory().frames.get(&epoch).map(|frame| frame.setting.clone())
    }

    fn latest_providers(&self) -> Vec<ProviderInfo> {
        let Some(frame) = self.memory().frames.values().next_back().cloned() else { return Vec::new() };
        let endpoint = |terms: &assay_core::report::ProviderTerms| frame.records.get(&terms.provider).map(|record| record.endpoint.clone());
        frame.setting.providers.iter().filter_map(|terms| Some(ProviderInfo { terms: *terms, endpoint: endpoint(terms)? })).collect()
    }

    async fn reveals(&self, epoch: u64) -> Vec<(SignedCommit, VerifiedReveal)> {
        self.committee.ask(|reply| Command::Reveals(epoch, reply)).await.unwrap_or_default()
    }
}

/// What peers deliver to and ask of the node.
pub struct PeerInbox {
    committee: Committee,
    store: Arc<dyn Store>,
}

impl PeerInbox {
    /// Over the committee's actor and the store.
    pub fn new(committee: Committee, store: Arc<dyn Store>) -> Self {
        Self { committee, store }
    }
}

#[async_trait]
impl Inbox for PeerInbox {
    async fn deliver(&self, message: Message) -> DeliverOutcome {
        self.committee.ask(|reply| Command::Deliver(Box::new(message), reply)).await.unwrap_or_else(DeliverOutcome::stopping)
    }

    async fn reveal(&self, epoch: u64, oracle: OracleId, commit_digest: Hash32) -> Option<Reveal> {
        self.committee.ask(|reply| Command::Reveal(epoch, oracle, commit_digest, reply)).await.flatten()
    }

    async fn report(&self, epoch: u64, digest: StoredDigest) -> Option<(Option<Certificate>, Outcome)> {
        let certified = self.store.outcome(epoch).await.ok().flatten();
        match certified.filter(|certified| digest.is_of(&certified.outcome.ledger.digest)) {
            Some(certified) => Some((decode_certificate(&certified.certificate).ok(), certified.outcome)),
            None => Some((None, self.store.reported(epoch, &digest).await.ok().flatten()?)),
        }
    }
}
