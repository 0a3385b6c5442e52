//! Gives a claim up.

use std::time::Duration;

use assay_core::claim::{Claim, SignedClaimSet};
use assay_core::secp::SecretKey;
use assay_proto::convert::wire_bytes;
use assay_proto::provider::v1 as wire;

use crate::client::{Client, Wanted, within};
use crate::error::BuilderError;

const CALL_TIMEOUT: Duration = Duration::from_secs(120);

/// A claim that is no longer in the provider's newest set.
#[derive(Clone, Debug)]
pub struct Released {
    /// The claim.
    pub claim: Claim,
    /// The newest set, without it; what is to be published on chain.
    pub set: SignedClaimSet,
    /// Unix seconds until which the data is kept; `None` when it was released before.
    pub kept_until: Option<u64>,
}

/// Finds a claim that stands, or the last one that was released: a release that broke before it was published is repeated so.
pub async fn find(client: &mut Client, wanted: &Wanted) -> Result<Claim, BuilderError> {
    match client.find(wanted).await {
        Err(BuilderError::NotClaimed { object, replica }) => {
            client.find_released(wanted).await?.ok_or(BuilderError::NotClaimed { object, replica })
        }
        other => other,
    }
}

/// Signs the release and checks that the provider's new set is without the claim. Repeating it is harmless.
pub async fn release(client: &mut Client, signer: &SecretKey, claim: &Claim) -> Result<Released, BuilderError> {
    let claim_hash = claim.hash();
    let newest = client.claim_set(0).await?.ok_or(BuilderError::Untrusted("it is absent"))?;
    if newest.1.index_of(&claim_hash).is_none() {
        return Ok(Released { claim: claim.clone(), set: newest.0, kept_until: None });
    }
    let signature = signer.sign(&client.domain.release_digest(&claim_hash))?;
    let request = wire::ReleaseRequest { claim_hash: wire_bytes(&claim_hash.0), signature: wire_bytes(&signature.0) };
    let reply = within(CALL_TIMEOUT, "Release", client.ingest.release(request)).await?.into_inner();
    let set = SignedClaimSet::try_from(reply.set.ok_or(BuilderError::Untrusted("it is absent"))?)?;
    match client.holds(&set, &claim_hash).await? {
        true => Err(BuilderError::Untrusted("the released claim is still in it")),
        false => Ok(Released { claim: claim.clone(), set, kept_until: Some(reply.kept_until) }),
    }
}
