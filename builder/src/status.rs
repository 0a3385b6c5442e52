//! What a provider claims, and how it is.

use std::fmt::Write;

use assay_chain::ProviderRecord;
use assay_core::claim::{Claim, ClaimSet, SignedClaimSet};
use assay_core::ids::Address;
use serde_json::{Value, json};

use crate::client::Client;
use crate::error::BuilderError;
use crate::progress::size;

/// A provider's claims with what else is known about them.
#[derive(Clone, Debug)]
pub struct Status {
    client: Client,
    /// The newest signed set.
    pub newest: Option<SignedClaimSet>,
    /// Its claims, of one owner if one is named.
    pub claims: Vec<Listed>,
    /// Sequence of the published set; `None` when no chain was asked.
    pub published: Option<u64>,
    /// Stored blocks that the provider itself says are damaged or gone.
    pub damaged_blocks: u64,
    /// Unix seconds of the provider's last complete scrub; 0 before the first.
    pub scrubbed_at: u64,
}

/// One claim.
#[derive(Clone, Debug)]
pub struct Listed {
    /// The claim.
    pub claim: Claim,
    /// Whether the published set holds it; `None` when no chain was asked.
    pub on_chain: Option<bool>,
}

/// Asks a provider, and reads `record` for what is published.
pub async fn status(client: &mut Client, owner: Option<Address>, record: Option<&ProviderRecord>) -> Result<Status, BuilderError> {
    let described = client.describe().await?;
    let newest = client.claim_set(0).await?;
    let published = match record {
        Some(record) => Some(published_set(client, record, newest.as_ref()).await?),
        None => None,
    };
    let list = |claim: &Claim| {
        let on_chain = published.as_ref().map(|set| set.index_of(&claim.hash()).is_some());
        Listed { claim: claim.clone(), on_chain }
    };
    let ours = |claim: &&Claim| owner.is_none_or(|owner| owner == claim.owner);
    let claims = newest.iter().flat_map(|(_, set)| set.claims()).filter(ours).map(list).collect();
    Ok(Status {
        client: client.clone(),
        newest: newest.map(|(signed, _)| signed),
        claims,
        published: record.map(|record| record.claim_sequence),
        damaged_blocks: described.damaged_blocks,
        scrubbed_at: described.scrubbed_at,
    })
}

/// The set that the chain names, as the provider lists it; held against the chain's own root.
async fn published_set(
    client: &mut Client,
    record: &ProviderRecord,
    newest: Option<&(SignedClaimSet, ClaimSet)>,
) -> Result<ClaimSet, BuilderError> {
    let set = match (record.claim_sequence, newest) {
        (0, _) => return Ok(ClaimSet::default()),
        (sequence, Some((signed, set))) if signed.sequence == sequence => Some(set.clone()),
        (sequence, _) => client.claim_set(sequence).await?.map(|(_, set)| set),
    };
    let set = set.ok_or(BuilderError::Untrusted("the published set is absent"))?;
    let root = set.root();
    match (root.hash, root.blocks, set.len() as u64) == (record.claim_root, record.claim_blocks, record.claim_count) {
        true => Ok(set),
        false => Err(BuilderError::Untrusted("it is not the one that the chain names")),
    }
}

impl Status {
    /// For programs.
    pub fn json(&self) -> Value {
        let domain = &self.client.domain;
        let signed = self.newest.as_ref();
        let claims: Vec<_> = self.claims.iter().map(Listed::json).collect();
        json!({
            "providerId": domain.provider, "chainId": domain.chain_id, "receiptKey": self.client.receipt_key,
            "sequence": signed.map_or(0, |s| s.sequence), "publishedSequence": self.published,
            "root": signed.map(|s| s.root.hash), "blocks": signed.map_or(0, |s| s.root.blocks), "count": signed.map_or(0, |s| s.count),
            "damagedBlocks": self.damaged_blocks, "scrubbedAt": self.scrubbed_at, "claims": claims,
        })
    }

    /// For people: a few lines and a table.
    pub fn text(&self) -> String {
        let mut text = String::new();
        // Writing to a string cannot fail.
        let _ = self.write(&mut text);
        text
    }

    fn write(&self, out: &mut String) -> std::fmt::Result {
        let domain = &self.client.domain;
        writeln!(out, "provider {} on chain {}, receipt key {}", domain.provider, domain.chain_id, self.client.receipt_key)?;
        match &self.newest {
            None => writeln!(out, "claims nothing yet")?,
            Some(set) => writeln!(out, "claim set {}: {} claims, {} blocks", set.sequence, set.count, set.root.blocks)?,
        }
        match (self.published, self.newest.as_ref().map_or(0, |set| set.sequence)) {
            (None, _) => writeln!(out, "on chain: not asked (give --rpc and --provider-registry)")?,
            (Some(published), newest) if published == newest => writeln!(out, "on chain: claim set {published}, the newest")?,
            (Some(published), newest) => writeln!(out, "on chain: claim set {published}; {newest} is not published yet")?,
        }
        match (self.scrubbed_at, self.damaged_blocks) {
            (0, damaged) => writeln!(out, "scrub: none has ended yet; {damaged} blocks are known to be damaged")?,
            (at, damaged) => writeln!(out, "scrub: the last one ended at {at} (Unix seconds); {damaged} blocks are damaged")?,
        }
        if !self.claims.is_empty() {
            writeln!(out, "\n{:<66} {:>7} {:>9} {:>9} {:<12} on chain", "object", "replica", "size", "blocks", "tag key")?;
        }
        self.claims.iter().try_for_each(|listed| listed.write(out))
    }
}

impl Listed {
    fn json(&self) -> Value {
        let mut value = json!(self.claim);
        if let Some(fields) = value.as_object_mut() {
            fields.insert("claimHash".into(), json!(self.claim.hash()));
            fields.insert("replicaBytes".into(), json!(self.claim.bytes()));
            fields.insert("onChain".into(), json!(self.on_chain));
        }
        value
    }

    fn write(&self, out: &mut String) -> std::fmt::Result {
        let Claim { object_id, replica_index, object_length, blocks, tag_key_id, .. } = &self.claim;
        let tag_key = match tag_key_id.is_zero() {
            true => "none".to_owned(),
            false => format!("0x{}…", hex::encode(&tag_key_id.0[..4])),
        };
        let on_chain = self.on_chain.map_or("?", |is| if is { "yes" } else { "no" });
        let size = size(*object_length as f64);
        writeln!(out, "{:<66} {replica_index:>7} {size:>9} {blocks:>9} {tag_key:<12} {on_chain}", object_id.to_string())
    }
}
