//! What the routes ask of the running node.

use std::collections::BTreeMap;
use std::sync::Arc;

use assay_core::ids::OracleId;
use assay_core::observation::{SignedCommit, VerifiedReveal};
use assay_core::report::{ProviderTerms, Setting};
use async_trait::async_trait;
use serde::Serialize;

/// The node as readers see it. Every method answers from memory, at once; none may block on the chain or on a peer.
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
    /// The reveals of an epoch that the node holds, each with the commit it opens. May hand out more than is included in the report,
    /// and before the deadline: the routes filter.
    async fn reveals(&self, epoch: u64) -> Vec<(SignedCommit, VerifiedReveal)>;
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
