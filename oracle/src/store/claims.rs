//! A claim set as it is stored: the page of a provider's own claims, without the builders' signatures.

use assay_core::claim::{Claim, ClaimSet};
use assay_proto::convert;
use assay_proto::provider::v1::{ClaimsReply, SignedClaim};
use prost::Message;

pub(super) fn encode(set: &ClaimSet) -> Vec<u8> {
    let claims = set.claims().map(|claim| SignedClaim { claim: Some(claim.into()), ..SignedClaim::default() });
    let tag_keys = set.tag_keys().map(|key| convert::wire_bytes(&key.to_bytes())).collect();
    ClaimsReply { set: None, claims: claims.collect(), tag_keys }.encode_to_vec()
}

/// `None` for anything but an encoded set.
pub(super) fn decode(bytes: &[u8]) -> Option<ClaimSet> {
    let reply = ClaimsReply::decode(bytes).ok()?;
    let claims: Option<Vec<Claim>> = reply.claims.into_iter().map(|signed| Claim::try_from(signed.claim?).ok()).collect();
    let keys: Option<Vec<_>> = reply.tag_keys.iter().map(|key| convert::tag_key(key).ok()).collect();
    ClaimSet::new(claims?).ok()?.with_tag_keys(keys?).ok()
}
