//! Claim sets, by root.

use assay_core::claim::{Claim, ClaimSet};
use assay_core::hash::Hash32;
use assay_proto::provider::v1 as wire;
use prost::Message;
use sqlx::sqlite::SqlitePool;
use sqlx::{Row, query};

/// Keeps a set; keeping it twice changes nothing.
pub(super) async fn put(pool: &SqlitePool, set: &ClaimSet) -> Result<(), sqlx::Error> {
    let root = set.root().hash;
    let known = query("SELECT 1 FROM claim_sets WHERE root = ?").bind(root.as_bytes().as_slice()).fetch_optional(pool).await?;
    if known.is_some() {
        return Ok(());
    }
    query("INSERT INTO claim_sets (root, claims) VALUES (?, ?) ON CONFLICT (root) DO NOTHING")
        .bind(root.as_bytes().as_slice())
        .bind(encode(set))
        .execute(pool)
        .await?;
    Ok(())
}

/// The bytes of a set.
pub(super) async fn bytes(pool: &SqlitePool, root: &Hash32) -> Result<Option<Vec<u8>>, sqlx::Error> {
    let row = query("SELECT claims FROM claim_sets WHERE root = ?").bind(root.as_bytes().as_slice()).fetch_optional(pool).await?;
    Ok(row.map(|row| row.get(0)))
}

fn encode(set: &ClaimSet) -> Vec<u8> {
    set.claims().flat_map(|claim| wire::Claim::from(claim).encode_length_delimited_to_vec()).collect()
}

/// The set with this root; `None` when the bytes are not it.
pub(super) fn decode(mut bytes: &[u8], root: &Hash32) -> Option<ClaimSet> {
    let mut claims = Vec::new();
    while !bytes.is_empty() {
        claims.push(Claim::try_from(wire::Claim::decode_length_delimited(&mut bytes).ok()?).ok()?);
    }
    ClaimSet::new(claims).ok().filter(|set| set.root().hash == *root)
}

#[cfg(test)]
mod tests {
    use assay_core::ids::Address;
    use assay_core::replica::blocks_for;

    use super::*;

    #[test]
    fn a_set_survives_and_another_root_does_not_fit() {
        let claim = |i: u8| Claim {
            object_id: Hash32([i; 32]),
            replica_index: u64::from(i),
            root: Hash32([0x40 + i; 32]),
            object_length: 1_000 * u64::from(i),
            blocks: blocks_for(1_000 * u64::from(i)),
            tag_key_id: Hash32::ZERO,
            owner: Address([i; 20]),
        };
        let set = ClaimSet::new((1..=5).map(claim).collect()).unwrap();
        let bytes = encode(&set);
        assert_eq!(decode(&bytes, &set.root().hash), Some(set.clone()));
        assert_eq!(decode(&bytes, &Hash32::ZERO), None);
        assert_eq!(decode(&bytes[..bytes.len() - 1], &set.root().hash), None);
        assert_eq!(decode(&[], &Hash32::ZERO), Some(ClaimSet::default()));
    }
}
