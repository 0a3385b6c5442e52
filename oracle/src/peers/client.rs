//! Sending to peers: one task for each peer and statement, so that no peer waits for another and no statement for the one before it.
//!
//! What is queued here is lost in a crash; the driver queues it again from its log.

use futures::stream::FuturesUnordered;
use futures::{Stream, StreamExt};
use std::collections::{BTreeMap, HashSet};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use assay_core::hash::Hash32;
use assay_core::ids::{OracleId, ProviderId};
use assay_core::observation::{Reveal, SignedCommit};
use assay_core::report::{Certificate, Outcome, StoredDigest};
use assay_proto::convert::wire_bytes;
use assay_proto::oracle::v1 as wire;
use assay_proto::oracle::v1::committee_client::CommitteeClient;
use assay_proto::oracle_convert::{MAX_MESSAGE_BYTES, Message, decode_reveal};
use bytes::Bytes;
use tokio::sync::{Notify, Semaphore};
use tokio_util::sync::CancellationToken;
use tonic::transport::Channel;
use tonic::{Code, Response};
use tracing::{debug, warn};

use super::tls::Tls;
use super::{DeliverOutcome, Inbox, MAX_TRANSPORT_BYTES};

/// A call with a small message; a second more for every MiB.
const CALL_TIMEOUT: Duration = Duration::from_secs(2);
const FETCH_TIMEOUT: Duration = Duration::from_secs(5);
const FIRST_BACKOFF: Duration = Duration::from_millis(50);
const MAX_BACKOFF: Duration = Duration::from_secs(1);
/// A missing reveal is asked for as long as an epoch may close, ever more rarely.
const FETCH_FOR: Duration = Duration::from_secs(60 * 60);
const MAX_FETCH_BACKOFF: Duration = Duration::from_secs(10);
/// A reveal is large: one peer is asked for it, so long after it two more, then four, until somebody gave it.
const FETCH_WIDENS_AFTER: Duration = Duration::from_millis(250);
/// Statements on their way to one peer at the same time.
const IN_FLIGHT: usize = 4;
/// Statements waiting for one peer. Peers share their bytes.
const MAX_PENDING: usize = 512;
const MAX_PENDING_BYTES: usize = 128 * 1024 * 1024;
/// Evidence of one pair in one epoch that is taken from a peer.
const MAX_EVIDENCE_BYTES: usize = 64 * 1024 * 1024;
const MAX_BUNDLES: usize = 16 * 1024;
/// Statements of ours that a peer may show us at once.
const MAX_OWN_STATEMENTS: usize = 512;
const MIB: usize = 1024 * 1024;

type Client = CommitteeClient<Channel>;

/// The node's way to its peers. Cheap to clone; clones share connections and queues. Everything stops with the token.
#[derive(Clone)]
pub struct Outgoing {
    shared: Arc<Shared>,
}

struct Shared {
    me: OracleId,
    tls: Arc<Tls>,
    cancel: CancellationToken,
    inbox: OnceLock<Arc<dyn Inbox>>,
    peers: Mutex<BTreeMap<OracleId, Arc<Peer>>>,
}

/// One peer's connection and queue.
struct Peer {
    oracle: OracleId,
    connection: Mutex<Connection>,
    in_flight: Semaphore,
    pending: Mutex<Pending>,
    /// It took something: whatever waits for it may try at once.
    took: Notify,
}

struct Connection {
    endpoint: String,
    /// None when the endpoint is malformed.
    client: Option<Client>,
}

#[derive(Default)]
struct Pending {
    digests: HashSet<[u8; 32]>,
    bytes: usize,
}

/// One statement on its way to one peer.
struct Parcel {
    name: &'static str,
    epoch: u64,
    digest: [u8; 32],
    envelope: Bytes,
    deadline_ms: u64,
}

/// What one attempt came to.
enum Attempt {
    Replied(DeliverOutcome),
    /// The transport or the peer failed: try again.
    Failed(Code),
    /// The peer's transport cannot take it at all.
    Unfit(Code),
}

impl Outgoing {
    /// Nothing is connected before something is sent. Must be used within a runtime.
    pub fn new(me: OracleId, tls: Arc<Tls>, cancel: CancellationToken) -> Self {
        Self { shared: Arc::new(Shared { me, tls, cancel, inbox: OnceLock::new(), peers: Mutex::default() }) }
    }

    /// Where fetched reveals go. Set once, before the first [`Outgoing::fetch_reveal`].
    pub fn deliver_to(&self, inbox: Arc<dyn Inbox>) {
        if self.shared.inbox.set(inbox).is_err() {
            warn!("the inbox for fetched reveals was set twice; the first stays");
        }
    }

    /// Sends a statement to every peer but ourselves until it is taken or refused for good, or until `deadline_ms` (unix). Returns at
    /// once; a statement that is on its way to a peer already is not sent twice.
    pub fn broadcast(&self, peers: &BTreeMap<OracleId, String>, message: &Message, deadline_ms: u64) {
        let envelope = message.encode();
        if envelope.len() > MAX_MESSAGE_BYTES {
            warn!(epoch = message.epoch(), name = message.name(), bytes = envelope.len(), "too large to be sent: no peer would read it");
            return;
        }
        let digest = *blake3::hash(&envelope).as_bytes();
        for (oracle, endpoint) in peers {
            if *oracle == self.shared.me {
                continue;
            }
            let peer = self.shared.peer(*oracle, endpoint);
            let parcel = Parcel { name: message.name(), epoch: message.epoch(), digest, envelope: envelope.clone(), deadline_ms };
            if peer.admit(&parcel) {
                let cancel = self.shared.cancel.clone();
                tokio::spawn(async move { cancel.run_until_cancelled(peer.send(parcel)).await });
            }
        }
    }

    /// Statements that some peer has not taken yet, counted for each peer.
    pub fn pending(&self) -> usize {
        locked(&self.shared.peers).values().map(|peer| locked(&peer.pending).digests.len()).sum()
    }

    /// Asks these peers for a commit and its reveal, again and again, and hands what they give to the inbox until it holds both. Returns at
    /// once.
    pub fn fetch_reveal(&self, peers: Vec<(OracleId, String)>, epoch: u64, oracle: OracleId, commit_digest: Hash32) {
        self.fetch_reveal_widening(FETCH_WIDENS_AFTER, peers, epoch, oracle, commit_digest);
    }

    /// As [`Self::fetch_reveal`], asking more peers after so long.
    pub(super) fn fetch_reveal_widening(
        &self,
        widens_after: Duration,
        peers: Vec<(OracleId, String)>,
        epoch: u64,
        oracle: OracleId,
        commit_digest: Hash32,
    ) {
        let Some(inbox) = self.shared.inbox.get().cloned() else {
            warn!(epoch, %oracle, "a reveal is missing and nobody takes it: no inbox is set");
            return;
        };
        let mut peers = self.shared.others(peers);
        // Many may lack the same reveal: each begins with another peer.
        let begin = usize::try_from(self.shared.me.0).unwrap_or(0).checked_rem(peers.len()).unwrap_or(0);
        peers.rotate_left(begin);
        let cancel = self.shared.cancel.clone();
        tokio::spawn(async move {
            let fetching =
                tokio::time::timeout(FETCH_FOR, fetch_until_taken(widens_after, &peers, epoch, oracle, commit_digest, inbox.as_ref()));
            if let Some(Err(_)) = cancel.run_until_cancelled(fetching).await {
                warn!(epoch, %oracle, "no peer gave a reveal that fits its commit");
            }
        });
    }

    /// The first peer's report with this digest for which `stands` holds. Each peer is asked once, in order; one that lies is passed over.
    pub async fn fetch_report(
        &self,
        peers: Vec<(OracleId, String)>,
        epoch: u64,
        digest: StoredDigest,
        stands: impl Fn(Option<&Certificate>, &Outcome) -> bool,
    ) -> Option<(Option<Certificate>, Outcome)> {
        for peer in self.shared.others(peers) {
            match peer.report(epoch, digest).await {
                Some((certificate, outcome)) if stands(certificate.as_ref(), &outcome) => return Some((certificate, outcome)),
                Some(_) => warn!(epoch, peer = %peer.oracle, "a peer gave a report that does not stand"),
                None => {}
            }
        }
        None
    }

    /// What each of these peers holds of our own statements since an epoch, as they answer. Nothing in it is verified; who does not answer
    /// in time, or with what does not parse, is left out.
    pub fn fetch_statements(
        &self,
        peers: &BTreeMap<OracleId, String>,
        since_epoch: u64,
    ) -> impl Stream<Item = (OracleId, Vec<Message>)> + use<> {
        let peers = self.shared.others(peers.iter().map(|(oracle, endpoint)| (*oracle, endpoint.clone())).collect());
        let asked: FuturesUnordered<_> =
            peers.into_iter().map(|peer| async move { Some((peer.oracle, peer.statements(since_epoch).await?)) }).collect();
        asked.filter_map(std::future::ready)
    }

    /// Everything that a peer recorded of a provider in an epoch, reply by reply; `None` when it does not give all of it. Nothing in it is
    /// checked: whoever audits it compares it with what the peer's observations bind.
    pub async fn fetch_evidence(&self, oracle: OracleId, endpoint: &str, epoch: u64, provider: ProviderId) -> Option<Vec<Bytes>> {
        let peer = self.shared.peer(oracle, endpoint);
        let (mut bundles, mut bytes) = (Vec::new(), 0usize);
        loop {
            let wire::FetchEvidenceReply { bundles: more, total } = peer.evidence(epoch, provider, bundles.len()).await?;
            let total = usize::try_from(total).ok().filter(|total| *total <= MAX_BUNDLES)?;
            let is_stuck = more.is_empty() && bundles.len() < total;
            bytes = bytes.saturating_add(more.iter().map(Bytes::len).sum());
            if is_stuck || bytes > MAX_EVIDENCE_BYTES {
                warn!(epoch, peer = %oracle, bytes, total, "a peer's evidence is too much, or it stops in the middle");
                return None;
            }
            bundles.extend(more);
            if bundles.len() >= total {
                return (bundles.len() == total).then_some(bundles);
            }
        }
    }
}

impl Shared {
    /// The peer with its newest endpoint.
    fn peer(&self, oracle: OracleId, endpoint: &str) -> Arc<Peer> {
        let mut peers = locked(&self.peers);
        let peer = peers.entry(oracle).or_insert_with(|| Arc::new(Peer::new(&self.tls, oracle, endpoint)));
        peer.moved_to(&self.tls, endpoint);
        peer.clone()
    }

    fn others(&self, peers: Vec<(OracleId, String)>) -> Vec<Arc<Peer>> {
        peers.into_iter().filter(|(oracle, _)| *oracle != self.me).map(|(oracle, endpoint)| self.peer(oracle, &endpoint)).collect()
    }
}

impl Connection {
    fn new(tls: &Arc<Tls>, oracle: OracleId, endpoint: &str) -> Self {
        let client = connect(tls, oracle, endpoint);
        if client.is_none() {
            warn!(peer = %oracle, ?endpoint, "the registered endpoint is not of the form https://host:port");
        }
        Self { endpoint: endpoint.to_owned(), client }
    }
}

fn connect(tls: &Arc<Tls>, oracle: OracleId, endpoint: &str) -> Option<Client> {
    let channel = tls.channel(oracle, endpoint)?;
    Some(CommitteeClient::new(channel).max_decoding_message_size(MAX_TRANSPORT_BYTES).max_encoding_message_size(MAX_TRANSPORT_BYTES))
}

impl Peer {
    fn new(tls: &Arc<Tls>, oracle: OracleId, endpoint: &str) -> Self {
        Self {
            oracle,
            connection: Mutex::new(Connection::new(tls, oracle, endpoint)),
            in_flight: Semaphore::new(IN_FLIGHT),
            pending: Mutex::default(),
            took: Notify::new(),
        }
    }

    fn moved_to(&self, tls: &Arc<Tls>, endpoint: &str) {
        let mut connection = locked(&self.connection);
        if connection.endpoint != endpoint {
            *connection = Connection::new(tls, self.oracle, endpoint);
        }
    }

    fn client(&self) -> Option<Client> {
        locked(&self.connection).client.clone()
    }

    /// Whether the parcel is new and there is room for it.
    fn admit(&self, parcel: &Parcel) -> bool {
        let mut pending = locked(&self.pending);
        if pending.digests.contains(&parcel.digest) {
            return false;
        }
        let bytes = pending.bytes.saturating_add(parcel.envelope.len());
        if pending.digests.len() >= MAX_PENDING || bytes > MAX_PENDING_BYTES {
            warn!(peer = %self.oracle, epoch = parcel.epoch, name = parcel.name, "dropped: too much waits for this peer");
            return false;
        }
        pending.bytes = bytes;
        pending.digests.insert(parcel.digest)
    }

    async fn send(&self, parcel: Parcel) {
        let Parcel { name, epoch, .. } = parcel;
        let mut backoff = FIRST_BACKOFF;
        loop {
            let left = Duration::from_millis(parcel.deadline_ms.saturating_sub(now_ms()));
            if left.is_zero() {
                warn!(peer = %self.oracle, epoch, name, "not delivered before its deadline");
                break;
            }
            // Registered before the attempt, so that nothing the peer takes meanwhile is missed.
            let took = self.took.notified();
            let attempt = tokio::time::timeout(left, self.attempt(&parcel)).await;
            match attempt.unwrap_or(Attempt::Failed(Code::DeadlineExceeded)) {
                Attempt::Replied(outcome) if outcome.is_final() => {
                    self.log_final(name, epoch, &outcome);
                    break;
                }
                Attempt::Unfit(code) => {
                    warn!(peer = %self.oracle, epoch, name, ?code, "the peer cannot take this");
                    break;
                }
                Attempt::Replied(outcome) => debug!(peer = %self.oracle, epoch, name, ?outcome, "not yet"),
                Attempt::Failed(code) => debug!(peer = %self.oracle, epoch, name, ?code, "not reached"),
            }
            tokio::select! {
                () = took => {}
                () = tokio::time::sleep(jittered(backoff).min(left)) => {}
            }
            backoff = backoff.saturating_mul(2).min(MAX_BACKOFF);
        }
        let mut pending = locked(&self.pending);
        pending.digests.remove(&parcel.digest);
        pending.bytes = pending.bytes.saturating_sub(parcel.envelope.len());
    }

    fn log_final(&self, name: &'static str, epoch: u64, outcome: &DeliverOutcome) {
        match outcome {
            DeliverOutcome::Refused(refusal) => {
                warn!(peer = %self.oracle, epoch, name, reason = ?refusal.reason, text = ?refusal.text, "the peer refused");
            }
            _ => {
                debug!(peer = %self.oracle, epoch, name, "delivered");
                self.took.notify_waiters();
            }
        }
    }

    async fn attempt(&self, parcel: &Parcel) -> Attempt {
        let Ok(_permit) = self.in_flight.acquire().await else { return Attempt::Failed(Code::Cancelled) };
        let Some(mut client) = self.client() else { return Attempt::Failed(Code::Unavailable) };
        let seconds = u32::try_from(parcel.envelope.len() / MIB).unwrap_or(u32::MAX);
        let timeout = CALL_TIMEOUT.saturating_add(Duration::from_secs(1).saturating_mul(seconds));
        let call = client.deliver(wire::DeliverRequest { envelope: parcel.envelope.clone() });
        match tokio::time::timeout(timeout, call).await {
            Ok(Ok(reply)) => Attempt::Replied(DeliverOutcome::from_reply(reply.into_inner())),
            Ok(Err(status)) if matches!(status.code(), Code::InvalidArgument | Code::OutOfRange) => Attempt::Unfit(status.code()),
            Ok(Err(status)) => Attempt::Failed(status.code()),
            Err(_) => Attempt::Failed(Code::DeadlineExceeded),
        }
    }

    async fn opened(&self, epoch: u64, oracle: OracleId, commit_digest: Hash32) -> Option<(SignedCommit, Reveal)> {
        let mut client = self.client()?;
        let request = wire::FetchRevealRequest { epoch, oracle_id: oracle.0, commit_digest: wire_bytes(commit_digest.as_bytes()) };
        let reply = tokio::time::timeout(FETCH_TIMEOUT, client.fetch_reveal(request)).await.ok()?.ok()?;
        let (commit, reveal) = match reply.into_inner() {
            wire::FetchRevealReply { commit: Some(commit), reveal: Some(reveal) } => (commit.try_into(), decode_reveal(&reveal)),
            _ => return None,
        };
        match (commit, reveal) {
            (Ok(commit), Ok(reveal)) if (reveal.epoch, reveal.oracle) == (epoch, oracle) => Some((commit, reveal)),
            _ => {
                warn!(epoch, %oracle, peer = %self.oracle, "a peer gave something else than the reveal asked for");
                None
            }
        }
    }

    async fn evidence(&self, epoch: u64, provider: ProviderId, offset: usize) -> Option<wire::FetchEvidenceReply> {
        let mut client = self.client()?;
        let request = wire::FetchEvidenceRequest { epoch, provider_id: provider.0, offset: u32::try_from(offset).ok()? };
        let reply = tokio::time::timeout(FETCH_TIMEOUT, client.fetch_evidence(request)).await.ok()?;
        reply.inspect_err(|status| debug!(epoch, peer = %self.oracle, code = ?status.code(), "no evidence")).ok().map(Response::into_inner)
    }

    async fn statements(&self, since_epoch: u64) -> Option<Vec<Message>> {
        let mut client = self.client()?;
        let call = client.fetch_statements(wire::FetchStatementsRequest { since_epoch });
        let reply = tokio::time::timeout(CALL_TIMEOUT, call).await.ok()?.ok()?.into_inner();
        if reply.envelopes.len() > MAX_OWN_STATEMENTS {
            return None;
        }
        reply.envelopes.iter().map(|envelope| Message::decode(envelope).ok()).collect()
    }

    async fn report(&self, epoch: u64, digest: StoredDigest) -> Option<(Option<Certificate>, Outcome)> {
        let mut client = self.client()?;
        let call = client.fetch_report(wire::FetchReportRequest { epoch, stored_digest: digest.0.0.to_vec().into() });
        let reply = tokio::time::timeout(FETCH_TIMEOUT, call).await.ok()?.ok()?.into_inner();
        let certificate = reply.certificate.map(Certificate::try_from).transpose().ok()?;
        let outcome: Outcome = serde_json::from_slice(&reply.outcome_json).ok()?;
        let same = certificate.as_ref().is_none_or(|certificate| certificate.report == outcome.report);
        (same && outcome.report.epoch == epoch && digest.is_of(&outcome.report.digest())).then_some((certificate, outcome))
    }
}

async fn fetch_until_taken(
    widens_after: Duration,
    peers: &[Arc<Peer>],
    epoch: u64,
    oracle: OracleId,
    commit_digest: Hash32,
    inbox: &dyn Inbox,
) {
    let mut backoff = FIRST_BACKOFF;
    loop {
        // One that stalls does not stand before one that has it for long.
        let ask = async |(place, peer): (u32, &Arc<Peer>)| {
            tokio::time::sleep(widens_after.saturating_mul(place.saturating_add(1).ilog2())).await;
            (peer.oracle, peer.opened(epoch, oracle, commit_digest).await)
        };
        let mut asked: FuturesUnordered<_> = (0..).zip(peers).map(ask).collect();
        while let Some((peer, opened)) = asked.next().await {
            let Some((commit, reveal)) = opened else { continue };
            for message in [Message::Commit(commit), Message::Reveal(Box::new(reveal))] {
                let name = message.name();
                if let DeliverOutcome::Refused(refusal) = inbox.deliver(message).await {
                    warn!(epoch, %oracle, %peer, name, reason = ?refusal.reason, text = ?refusal.text, "what a peer gave was not taken");
                }
            }
            // A liar gives what we hold already: taken is not enough.
            if inbox.opened(epoch, oracle, commit_digest).await.is_some() {
                return;
            }
        }
        tokio::time::sleep(jittered(backoff)).await;
        if inbox.opened(epoch, oracle, commit_digest).await.is_some() {
            return;
        }
        backoff = backoff.saturating_mul(2).min(MAX_FETCH_BACKOFF);
    }
}

/// Three quarters to all of it, so that peers that went down together do not come back together.
fn jittered(backoff: Duration) -> Duration {
    let nanos = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.subsec_nanos());
    backoff.saturating_mul(75 + (nanos / 1_000) % 26) / 100
}

fn now_ms() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
}

fn locked<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
