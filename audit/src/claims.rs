//! Claim sets, page by page, believed when their root is the chain's.

use std::collections::BTreeMap;

use assay_core::claim::{Claim, ClaimRoot, ClaimSet, MAX_CLAIMS, MAX_TAG_KEYS};
use assay_core::compact::TagKey;
use assay_core::hash::Hash32;
use assay_proto::convert;
use assay_proto::rest::ClaimsPage;

use crate::api::Api;

const PAGE: usize = 1_000;

/// The claim set with this root.
pub async fn fetch(api: &Api, root: &ClaimRoot) -> Result<ClaimSet, String> {
    let (mut claims, mut keys): (Vec<Claim>, BTreeMap<Hash32, TagKey>) = Default::default();
    loop {
        let path = format!("/v1/claims/{}?after={}&limit={PAGE}", root.hash, claims.len());
        let page: ClaimsPage = api.document(&path).await?;
        claims.extend(page.items.iter().cloned());
        for key in &page.tag_keys {
            let key = convert::tag_key(&key.0).map_err(|error| format!("GET {path}: {error}"))?;
            keys.insert(key.id(), key);
        }
        let expected_next = (page.count > claims.len() as u64).then_some(claims.len() as u64);
        if keys.len() > MAX_TAG_KEYS {
            return Err(format!("GET {path}: more tag keys than a claim set may name"));
        }
        if page.root != *root || page.next != expected_next || page.count > MAX_CLAIMS as u64 || (page.items.is_empty() && page.count > 0) {
            return Err(format!("GET {path}: another set, or a page that leads nowhere"));
        }
        if page.next.is_none() {
            break;
        }
    }
    let set = ClaimSet::new(claims)
        .and_then(|set| set.with_tag_keys(keys.into_values()))
        .map_err(|error| format!("the claim set {}: {error}", root.hash))?;
    match set.root() == *root {
        true => Ok(set),
        false => Err(format!("the claims do not give the root {} that the chain names", root.hash)),
    }
}
