//! Whether the registry knows this node by the key that it holds.

use assay_chain::{ChainError, Client};
use assay_core::bls::PublicKey;
use assay_core::ids::OracleId;
use tracing::warn;

/// Why the node would speak in vain: its peers refuse what another key signs.
#[derive(Debug, thiserror::Error)]
pub enum IdentityError {
    /// The registry names another key for our id.
    #[error(
        "keys.verdict holds {held}, but oracle {oracle} is registered with {registered}; name the keystore of the registered key, or \
         correct oracle_id"
    )]
    OtherKey {
        /// Our configured id.
        oracle: OracleId,
        /// The keystore's key.
        held: String,
        /// The registry's key.
        registered: String,
    },
    /// The registry names another id for our key.
    #[error("keys.verdict holds the key of oracle {registered}, but oracle_id is {configured}; set oracle_id = {registered}")]
    OtherId {
        /// The config's id.
        configured: OracleId,
        /// The id of our key.
        registered: OracleId,
    },
    /// The registry cannot be read.
    #[error(transparent)]
    Chain(#[from] ChainError),
}

/// Holds id and key against the newest committee. An oracle that is in none yet may start: it takes part once it is.
pub async fn check(client: &Client, oracle: OracleId, key: &PublicKey) -> Result<(), IdentityError> {
    let members = client.registry_at(client.latest().await?.number).await?.members;
    match members.iter().find(|member| member.oracle == oracle) {
        Some(member) if member.key == *key => return Ok(()),
        Some(member) => {
            return Err(IdentityError::OtherKey { oracle, held: format!("{key:?}"), registered: format!("{:?}", member.key) });
        }
        None => {}
    }
    if let Some(member) = members.iter().find(|member| member.key == *key) {
        return Err(IdentityError::OtherId { configured: oracle, registered: member.oracle });
    }
    warn!(%oracle, "not in the committee: register and wait for the next committee set; until then this node only follows");
    Ok(())
}
