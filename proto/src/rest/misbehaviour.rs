//! Proofs that members broke the protocol.

use assay_core::epoch::Offence;
use assay_core::ids::OracleId;
use serde::{Deserialize, Serialize};

/// `/v1/epochs/{e}/misbehaviour`: the proofs that a node holds.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ProofList {
    /// Epoch.
    pub epoch: u64,
    /// By oracle and offence, at most one of each.
    pub items: Vec<ProofRef>,
}

/// One proof, at `/v1/epochs/{e}/misbehaviour/{oracle}/{offence}`.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ProofRef {
    /// Of whom.
    pub oracle: OracleId,
    /// Of what.
    pub offence: Offence,
    /// Bytes of the encoded message.
    pub bytes: u64,
}
