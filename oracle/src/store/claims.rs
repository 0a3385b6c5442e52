//! A claim set as it is stored: the page of a provider's own claims, without the builders' signatures.

use assay_core::claim::{Claim, ClaimSet};
use assay_proto::provider::v1::{ClaimsReply, SignedClaim};
use prost::Message;

pub(super) fn encode(set: &ClaimSet) -> Vec<u8> {
    let claims = set.claims().map(|claim| SignedClaim { claim: Some(claim.into()), ..SignedClaim::default() });
    ClaimsReply { set: None, claims: claims.collect() }.encode_to_vec()
}

/// `None` for anything but an encoded set.
pub(super) fn decode(bytes: &[u8]) -> Option<ClaimSet> {
    let reply = ClaimsReply::decode(bytes).ok()?;
    let claims: Option<Vec<Claim>> = reply.claims.into_iter().map(|signed| Claim::try_from(signed.claim?).ok()).collect();
    ClaimSet::new(claims?).ok()
}
