//! The running node as its API and its peers see it.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use assay_core::beacon::Round;
use assay_core::hash::Hash32;
use assay_core::ids::{OracleId, ProviderId};
use assay_core::observation::{Reveal, SignedCommit};
use assay_core::params::Params;
use assay_core::report::{Certificate, Outcome, Setting, StoredDigest};
use assay_proto::oracle_convert::{Message, decode_certificate};
use assay_proto::rest::Network;
use async_trait::async_trait;
use bytes::Bytes;
use tracing::warn;

use crate::api::{Bundles, Health, NodeView, ProviderInfo};
use crate::beacon::{BeaconClient, BeaconError};
use crate::clock::now_ms;
use crate::committee::{Command, Committee, Status};
use crate::doppelganger::{Doppelganger, named};
use crate::frame::{Frame, Frames};
use crate::peers::{DeliverOutcome, EvidenceCache, Heard, Inbox, Outgoing};
use crate::store::Store;

/// Frames kept for readers.
const KEPT_FRAMES: usize = 64;

/// What readers may know of the node.
pub struct View {
    frames: Frames,
    me: OracleId,
    beacon: BeaconClient,
    outgoing: Outgoing,
    memory: Mutex<Memory>,
    /// Held while a peer is asked: one at a time.
    fetched: tokio::sync::Mutex<EvidenceCache>,
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
    pub fn new(frames: Frames, me: OracleId, beacon: BeaconClient, outgoing: Outgoing) -> Self {
        Self { frames, me, beacon, outgoing, memory: Mutex::default(), fetched: tokio::sync::Mutex::default() }
    }

    /// Whether everybody's reveal of an epoch is due.
    fn is_revealed(&self, epoch: u64) -> bool {
        let params = self.frames.params();
        let due_ms =
            self.frames.start_ms(epoch.saturating_add(1)).saturating_add(params.deadlines.reveal_ms).saturating_add(params.skew_ms);
        now_ms() >= due_ms
    }

    /// Where an oracle listened in an epoch, or listens now when the epoch is forgotten.
    fn endpoint(&self, oracle: OracleId, epoch: u64) -> Option<String> {
        let memory = self.memory();
        let frame = memory.frames.get(&epoch).or_else(|| memory.frames.values().next_back())?;
        frame.peers.get(&oracle).cloned()
    }

    /// The frame of the newest epoch that was opened.
    pub fn newest_frame(&self) -> Option<Arc<Frame>> {
        self.memory().frames.values().next_back().cloned()
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

    fn network(&self) -> Network {
        let (instance, settlement, params) = (self.frames.instance(), self.frames.settlement(), self.frames.params());
        Network {
            chain_id: instance.chain_id,
            settlement: instance.settlement,
            oracle_registry: settlement.oracle_registry,
            provider_registry: settlement.provider_registry,
            beacon: self.beacon.published(),
            preset: (**params == Params::devnet()).then(|| "devnet".to_owned()),
            params: params.as_ref().clone(),
        }
    }

    async fn round_at(&self, at_ms: u64) -> Option<(u64, Option<Round>)> {
        let number = self.beacon.info().first_round_at_or_after(at_ms.div_ceil(1_000))?;
        match self.beacon.round(number).await {
            Ok(round) => Some((number, Some(round))),
            Err(error) => {
                if !matches!(error, BeaconError::TooEarly(_)) {
                    warn!(%error, number, "no beacon round for a reader");
                }
                Some((number, None))
            }
        }
    }

    async fn evidence_of(&self, oracle: OracleId, epoch: u64, provider: ProviderId) -> Option<Bundles> {
        let key = (oracle, epoch, provider);
        let mut fetched = self.fetched.lock().await;
        if let Some(known) = fetched.find(&key) {
            return Some(known);
        }
        let endpoint = self.endpoint(oracle, epoch)?;
        let bundles: Bundles = self.outgoing.fetch_evidence(oracle, &endpoint, epoch, provider).await?.into();
        fetched.keep(key, bundles.clone());
        Some(bundles)
    }
}

/// What peers deliver to and ask of the node.
pub struct PeerInbox {
    committee: Committee,
    store: Arc<dyn Store>,
    view: Arc<View>,
    doppelganger: Arc<Doppelganger>,
    heard: Heard,
}

impl PeerInbox {
    /// Over the committee's actor and the store; the view tells when reveals are open, and what is said in our own name goes to `doppelganger`.
    pub fn new(committee: Committee, store: Arc<dyn Store>, view: Arc<View>, doppelganger: Arc<Doppelganger>) -> Self {
        let heard = Heard::new(store.clone());
        Self { committee, store, view, doppelganger, heard }
    }
}

#[async_trait]
impl Inbox for PeerInbox {
    async fn deliver(&self, message: Message) -> DeliverOutcome {
        self.doppelganger.hear(&named(message.oracle()), &message).await;
        let statement = Heard::is_kept(&message).then(|| message.clone());
        let outcome = self.committee.ask(|reply| Command::Deliver(Box::new(message), reply)).await;
        if let Some(statement) = statement.filter(|_| outcome == Some(DeliverOutcome::Accepted)) {
            self.heard.note(&statement).await;
        }
        outcome.unwrap_or_else(DeliverOutcome::stopping)
    }

    async fn statements(&self, oracle: OracleId, since_epoch: u64) -> Vec<Bytes> {
        match self.view.newest_frame() {
            Some(frame) => self.heard.of(oracle, since_epoch, frame.setting.epoch).await,
            None => Vec::new(),
        }
    }

    async fn opened(&self, epoch: u64, oracle: OracleId, commit_digest: Hash32) -> Option<(SignedCommit, Reveal)> {
        self.committee.ask(|reply| Command::Opened(epoch, oracle, commit_digest, reply)).await.flatten()
    }

    async fn report(&self, epoch: u64, digest: StoredDigest) -> Option<(Option<Certificate>, Outcome)> {
        let certified = self.store.outcome(epoch).await.ok().flatten();
        match certified.filter(|certified| digest.is_of(&certified.outcome.ledger.digest)) {
            Some(certified) => Some((decode_certificate(&certified.certificate).ok(), certified.outcome)),
            None => Some((None, self.store.reported(epoch, &digest).await.ok().flatten()?)),
        }
    }

    async fn evidence(&self, epoch: u64, provider: ProviderId) -> Option<Vec<Bytes>> {
        if !self.view.is_revealed(epoch) {
            return None;
        }
        let stored = self.store.evidence_about(epoch, provider).await.inspect_err(|error| warn!(%error, "evidence for a peer"));
        Some(stored.ok()?.into_iter().map(|evidence| evidence.bundle.into()).collect())
    }
}
