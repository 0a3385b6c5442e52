//! What the routes ask of the running node.

use std::collections::BTreeMap;
use std::sync::Arc;

use assay_core::beacon::Round;
use assay_core::ids::{OracleId, ProviderId};
use assay_core::report::{ProviderTerms, Setting};
use assay_proto::rest::Network;
use async_trait::async_trait;
use bytes::Bytes;
use serde::Serialize;

/// Bundles of transcripts, by slot and order of storing.
pub type Bundles = Arc<[Bytes]>;

/// The node as readers see it. What is not async answers from memory, at once.
#[async_trait]
pub trait NodeView: Send + Sync {
    /// Unix ms by the clock that the node keeps its deadlines with: what decides whether an epoch is revealed.
    fn now_ms(&self) -> u64;
    /// How the node does.
    fn health(&self) -> Health;
    /// An epoch's frozen values; `None` for one that is unknown, in the future or forgotten. The epoch of [`NodeView::health`] has one.
    fn setting(&self, epoch: u64) -> Option<Arc<Setting>>;
    /// Registered providers with their newest terms, in any order.
    fn latest_providers(&self) -> Vec<ProviderInfo>;
    /// Which network it belongs to.
    fn network(&self) -> Network;
    /// The beacon's first round at or after a time (unix ms): its number, and the round itself if a relay has it. Asks relays for a round
    /// that it does not remember. `None` when the beacon has no round for such a time.
    async fn round_at(&self, at_ms: u64) -> Option<(u64, Option<Round>)>;
    /// What another oracle recorded of a provider in an epoch, fetched from it or remembered; `None` when it does not give it. One at a
    /// time: readers cannot make a node load its peers.
    async fn evidence_of(&self, oracle: OracleId, epoch: u64, provider: ProviderId) -> Option<Bundles>;
}

/// How the node does.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct Health {
    /// Components that do not work, each with what is wrong; healthy when empty.
    pub problems: BTreeMap<String, String>,
    /// This node's id, once it is registered.
    pub oracle: Option<OracleId>,
    /// The epoch being measured.
    pub epoch: u64,
    /// What the node is doing, one word: `waiting`, `measuring`, `committing`, `revealing`, `voting`, `signing`.
    pub phase: &'static str,
    /// The last epoch with a certificate.
    pub last_certified: Option<u64>,
    /// The last epoch whose report the chain accepted, finally.
    pub last_accepted: Option<u64>,
}

/// A registered provider.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ProviderInfo {
    /// Its terms.
    pub terms: ProviderTerms,
    /// Where it answers.
    pub endpoint: String,
}
