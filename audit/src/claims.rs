//! Claim sets, page by page, believed when their root is the chain's.

use assay_core::claim::{Claim, ClaimRoot, ClaimSet, MAX_CLAIMS};
use assay_proto::rest::ClaimsPage;

use crate::api::Api;

const PAGE: usize = 1_000;

/// The claim set with this root.
pub async fn fetch(api: &Api, root: &ClaimRoot) -> Result<ClaimSet, String> {
    let mut claims: Vec<Claim> = Vec::new();
    loop {
        let path = format!("/v1/claims/{}?after={}&limit={PAGE}", root.hash, claims.len());
        let page: ClaimsPage = api.document(&path).await?;
        claims.extend(page.items.iter().cloned());
        let expected_next = (page.count > claims.len() as u64).then_some(claims.len() as u64);
        if page.root != *root || page.next != expected_next || page.count > MAX_CLAIMS as u64 || (page.items.is_empty() && page.count > 0) {
            return Err(format!("GET {path}: another set, or a page that leads nowhere"));
        }
        if page.next.is_none() {
            break;
        }
    }
    let set = ClaimSet::new(claims).map_err(|error| format!("the claim set {}: {error}", root.hash))?;
    match set.root() == *root {
        true => Ok(set),
        false => Err(format!("the claims do not give the root {} that the chain names", root.hash)),
    }
}
