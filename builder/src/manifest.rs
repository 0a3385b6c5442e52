//! What a prepared directory says about itself: `manifest.json`.

use std::path::Path;

use assay_core::claim::{Claim, ClaimDomain};
use assay_core::hash::Hash32;
use assay_core::ids::{Address, ProviderId};
use assay_core::replica::Header;
use serde::{Deserialize, Serialize};

use crate::durable;
use crate::error::BuilderError;
use crate::source::Source;

/// The version that this code writes and reads.
pub const VERSION: u32 = 1;

/// One replica, ready for one provider. Nothing in it is secret.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Manifest {
    /// [`VERSION`].
    pub version: u32,
    /// EIP-155 id of the provider's chain.
    pub chain_id: u64,
    /// The contract that the provider is registered at.
    pub provider_registry: Address,
    /// The provider that the replica is encrypted for.
    pub provider: ProviderId,
    /// What will be claimed.
    pub claim: Claim,
    /// The claim's hash: tells a manifest that somebody edited.
    pub claim_hash: Hash32,
    /// Id of the owner's tag key, also when the claim has no tags: tells another owner secret.
    pub owner_tag_key_id: Hash32,
    /// BLAKE3 of the file `tags`; absent without tags.
    pub tags_hash: Option<Hash32>,
    /// Where the object's bytes are.
    pub source: Source,
    /// [`Source::fingerprint`] from before the first pass.
    pub fingerprint: Hash32,
}

impl Manifest {
    /// Reads and checks a manifest; `None` when there is none.
    pub fn read(path: &Path) -> Result<Option<Self>, BuilderError> {
        let bytes = match std::fs::read(path) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            other => other.map_err(BuilderError::file(path))?,
        };
        let refused = |problem: String| BuilderError::Manifest { path: path.to_owned(), problem };
        let manifest: Self = serde_json::from_slice(&bytes).map_err(|error| refused(error.to_string()))?;
        if manifest.version != VERSION {
            return Err(refused(format!("its version is {}, only {VERSION} is read", manifest.version)));
        }
        manifest.claim.check().map_err(|error| refused(error.to_string()))?;
        if manifest.claim_hash != manifest.claim.hash() || manifest.tags_hash.is_some() == manifest.claim.tag_key_id.is_zero() {
            return Err(refused("its fields contradict each other".into()));
        }
        Ok(Some(manifest))
    }

    /// Writes it whole or not at all.
    pub fn write(&self, path: &Path) -> Result<(), BuilderError> {
        let text = serde_json::to_string_pretty(self);
        let text = text.map_err(|error| BuilderError::Manifest { path: path.to_owned(), problem: error.to_string() })?;
        durable::write(path, |out| writeln!(out, "{text}").map_err(BuilderError::file(path)))
    }

    /// The provider that it is for.
    pub fn domain(&self) -> ClaimDomain {
        ClaimDomain { chain_id: self.chain_id, provider_registry: self.provider_registry, provider: self.provider }
    }

    /// The object's header in the replica.
    pub fn header(&self) -> Header {
        let Claim { object_length, object_id, replica_index, .. } = self.claim;
        Header { object_length, object_id, replica_index }
    }

    /// The same manifest for a source with the same content; `None` when the content differs. Reads the source only when its place,
    /// lengths or times differ. Blocks.
    pub fn of(&self, source: &Source) -> Result<Option<Self>, BuilderError> {
        let fingerprint = source.fingerprint()?;
        if *source == self.source && fingerprint == self.fingerprint {
            return Ok(Some(self.clone()));
        }
        let is_same = source.identify(self.claim.replica_index, &mut |_| ())? == self.header();
        Ok(is_same.then(|| Self { source: source.clone(), fingerprint, ..self.clone() }))
    }
}
