//! Groups of 16 KiB with their proofs, and the order in which an egress test sends them.

use std::collections::BTreeSet;
use std::sync::Arc;

use assay_core::challenge::egress::{credit_of, groups};
use assay_core::challenge::{Challenge, Kind};
use assay_core::claim::{Claim, ClaimSet};
use assay_core::hash::Hash32;
use assay_core::ids::{Address, Instance, OracleId, ProviderId};
use assay_core::replica::{BLOCK_BYTES, blocks_for};
use assay_core::slice::group::{Group, WrongGroup, group_bytes, prove_group, verify_group};
use assay_core::slice::{self, GROUP_BYTES, Missing, OutboardBuilder, group_count};
use proptest::prelude::*;

const SIZES: &[usize] = &[0, 1, 1024, 16_383, 16_384, 16_385, 32_768, 32_769, 49_152, 65_537, 126_976, 253_952, 1_048_576, 1_142_784];

fn data(length: usize) -> Vec<u8> {
    let mut bytes = vec![0; length];
    blake3::Hasher::new().update(b"group").finalize_xof().fill(&mut bytes);
    bytes
}

fn outboard(bytes: &[u8]) -> Vec<[u8; 64]> {
    let mut builder = OutboardBuilder::new(bytes.len() as u64);
    let mut nodes = Vec::new();
    builder.update(bytes, &mut nodes).unwrap();
    nodes.sort_by_key(|node| node.position);
    nodes.into_iter().map(|node| node.pair).collect()
}

fn prove(bytes: &[u8], nodes: &[[u8; 64]], root: &Hash32, index: u64) -> Result<Group, Missing> {
    let (total, start) = (bytes.len() as u64, (index * GROUP_BYTES) as usize);
    let group = bytes.get(start..start + group_bytes(total, index) as usize).ok_or(Missing)?;
    prove_group(root, total, index, group.to_vec(), |position| nodes.get(position as usize).copied())
}

#[test]
fn every_group_proves_and_only_at_its_own_place() {
    for &size in SIZES {
        let (bytes, total) = (data(size), size as u64);
        let (root, nodes) = (Hash32::from(blake3::hash(&bytes)), outboard(&bytes));
        let count = group_count(total);
        for index in 0..count {
            let group = prove(&bytes, &nodes, &root, index).unwrap();
            assert_eq!(verify_group(&root, total, index, &group), Ok(()), "{size} group {index}");
            for other in [index ^ 1, index + 1, index + count].into_iter().filter(|other| *other != index) {
                assert_eq!(verify_group(&root, total, other, &group), Err(WrongGroup), "{size} group {index} as {other}");
            }
        }
        assert_eq!(prove(&bytes, &nodes, &root, count), Err(Missing));
    }
}

// The siblings are those of a chunk's slice, above its group.
#[test]
fn a_group_and_a_slice_of_it_share_the_path_above() {
    let bytes = data(1_142_784);
    let (root, nodes) = (Hash32::from(blake3::hash(&bytes)), outboard(&bytes));
    for index in [0, 31, 63, 69] {
        let group = prove(&bytes, &nodes, &root, index).unwrap();
        let node = |position: u64| nodes.get(position as usize).copied();
        let slice = slice::prove(&root, bytes.len() as u64, index * 16, &group.bytes, node).unwrap();
        assert!(slice.siblings.ends_with(&group.siblings));
    }
}

#[test]
fn hostile_sizes_and_damage_are_refused() {
    let bytes = data(253_952);
    let (root, nodes) = (Hash32::from(blake3::hash(&bytes)), outboard(&bytes));
    let group = prove(&bytes, &nodes, &root, 5).unwrap();
    let with = |change: fn(&mut Group)| {
        let mut changed = group.clone();
        change(&mut changed);
        verify_group(&root, 253_952, 5, &changed)
    };
    assert_eq!(with(|_| ()), Ok(()));
    assert_eq!(with(|g| g.bytes.push(0)), Err(WrongGroup));
    assert_eq!(with(|g| g.bytes.clear()), Err(WrongGroup));
    assert_eq!(with(|g| g.bytes.truncate(1024)), Err(WrongGroup));
    assert_eq!(with(|g| g.siblings.push([0; 32])), Err(WrongGroup));
    assert_eq!(with(|g| g.siblings.truncate(2)), Err(WrongGroup));
    for (total, index) in [(253_952, u64::MAX), (u64::MAX, 5), (u64::MAX, u64::MAX), (u64::MAX, u64::MAX / GROUP_BYTES), (0, 0)] {
        assert_eq!(verify_group(&root, total, index, &group), Err(WrongGroup));
        assert_eq!(prove_group(&root, total, index, group.bytes.clone(), |_| Some([7; 64])), Err(Missing));
    }
    let mut damaged = bytes.clone();
    damaged[5 * 16_384 + 7] ^= 1;
    assert_eq!(prove(&damaged, &nodes, &root, 5), Err(Missing));
    assert!(prove(&damaged, &nodes, &root, 4).is_ok());
    assert_eq!(prove(&bytes, &nodes[..2], &root, 5), Err(Missing));
}

proptest! {
    #[test]
    fn no_flipped_bit_verifies(size in 1_usize..200_000, at in any::<prop::sample::Index>(), bit in any::<prop::sample::Index>()) {
        let bytes = data(size);
        let root = Hash32::from(blake3::hash(&bytes));
        let index = at.index(group_count(size as u64) as usize) as u64;
        let mut group = prove(&bytes, &outboard(&bytes), &root, index).unwrap();
        let data_bits = group.bytes.len() * 8;
        let bit = bit.index(data_bits + group.siblings.len() * 256);
        match bit < data_bits {
            true => group.bytes[bit / 8] ^= 1 << (bit % 8),
            false => group.siblings[(bit - data_bits) / 256][(bit - data_bits) % 256 / 8] ^= 1 << (bit % 8),
        }
        prop_assert_eq!(verify_group(&root, size as u64, index, &group), Err(WrongGroup));
    }
}

fn claim(seed: u8, object_length: u64) -> Claim {
    Claim {
        object_id: Hash32([seed; 32]),
        replica_index: 0,
        root: Hash32([seed; 32]),
        object_length,
        blocks: blocks_for(object_length),
        tag_key_id: Hash32::ZERO,
        owner: Address([seed; 20]),
    }
}

fn challenge(claims: &ClaimSet) -> Challenge {
    Challenge {
        instance: Instance { chain_id: 1, settlement: Address([2; 20]) },
        epoch: 3,
        slot: 2,
        oracle: OracleId(5),
        provider: ProviderId(7),
        kind: Kind::EGRESS,
        index: 4,
        class_id: 100,
        claim_root: claims.root().hash,
        claim_blocks: claims.root().blocks,
        chunks: 0,
        slices_one_in: 0,
        extra: vec![],
        child: [9; 32],
    }
}

#[test]
fn an_egress_test_sends_every_group_of_every_drawn_block_in_order() {
    let claims = Arc::new(ClaimSet::new(vec![claim(1, 100_000), claim(2, 3_000_000), claim(3, 10)]).unwrap());
    let challenge = challenge(&claims);
    let mut sent = groups(&challenge, claims.clone());
    let mut roots = BTreeSet::new();
    for sample in challenge.draws().take(200) {
        let (claim, block) = claims.locate(sample.block).unwrap();
        let start = block * BLOCK_BYTES as u64;
        let mut held = 0;
        for group in start / GROUP_BYTES..=(start + BLOCK_BYTES as u64 - 1) / GROUP_BYTES {
            let place = sent.next().unwrap();
            assert_eq!((place.root, place.total_bytes, place.group), (claim.root, claim.bytes(), group));
            assert!(group < group_count(claim.bytes()), "it is inside the replica");
            let (from, to) = (group * GROUP_BYTES, group * GROUP_BYTES + group_bytes(claim.bytes(), group));
            held += to.min(start + BLOCK_BYTES as u64) - from.max(start);
        }
        assert_eq!(held, BLOCK_BYTES as u64, "the groups hold the whole block");
        roots.insert(claim.root);
    }
    assert_eq!(roots.len(), 3, "uniform over the claim set");
}

#[test]
fn nothing_claimed_and_another_set_end_the_sequence() {
    let nothing = Arc::new(ClaimSet::default());
    assert_eq!(groups(&challenge(&nothing), nothing.clone()).next(), None);
    let small = Arc::new(ClaimSet::new(vec![claim(1, 10)]).unwrap());
    let large = ClaimSet::new(vec![claim(2, 3_000_000)]).unwrap();
    assert!(groups(&challenge(&large), small).take(10_000).count() < 10_000);
}

// Defence: the empty group's price in `credit_of`; at 0 a provider without its data sends empty groups without end.
#[test]
fn a_missing_group_uses_up_credit() {
    assert_eq!(credit_of(&Group::default()), GROUP_BYTES);
    assert_eq!(credit_of(&Group { bytes: vec![1; 100], siblings: vec![[2; 32]; 3] }), 196);
}
