//! A replica beyond 4 GiB: no length, offset or index may be one of 32 bits.

use std::collections::BTreeMap;

use assay_core::hash::Hash32;
use assay_core::ids::ProviderId;
use assay_core::replica::{BLOCK_BYTES, Encoder, Header, OwnerSecret, ReplicaKey, blocks_for};
use assay_core::slice::{self, OutboardBuilder};

/// 4 GiB of zeros and a little more, as a sparse file reads.
const LENGTH: u64 = (4 << 30) + 77;

#[test]
fn a_sparse_object_of_4_gib_has_the_root_of_its_bytes_and_provable_ends() {
    let object_id = Hash32([9; 32]);
    let key = ReplicaKey::derive(&OwnerSecret::new([1; 32]), &object_id, 0, ProviderId(1));
    let header = Header { object_length: LENGTH, object_id, replica_index: 0 };
    let total = blocks_for(LENGTH) * BLOCK_BYTES as u64;
    assert!(total > u64::from(u32::MAX));

    let (mut plain, mut outboard, mut nodes) = (blake3::Hasher::new(), OutboardBuilder::new(total), Vec::new());
    let (mut first, mut last) = (Vec::new(), Vec::new());
    let mut sink = |block: &[u8]| {
        plain.update(block);
        outboard.update(block, &mut nodes).unwrap();
        if first.is_empty() {
            first = block.to_vec();
        }
        last.clear();
        last.extend_from_slice(block);
    };
    let mut encoder = Encoder::new(key, &header);
    let zeros = vec![0; 1 << 20];
    let mut left = LENGTH;
    while left > 0 {
        let part = left.min(zeros.len() as u64);
        encoder.update(&zeros[..part as usize], &mut sink).unwrap();
        left -= part;
    }
    encoder.finish(&mut sink).unwrap();
    let root = outboard.finish().unwrap();
    assert_eq!(root, Hash32::from(plain.finalize()), "what b3sum prints");
    assert_ne!(first[64..], last[..BLOCK_BYTES - 64], "zeros do not repeat once they are encrypted");

    let pairs: BTreeMap<u64, _> = nodes.iter().map(|node| (node.position, node.pair)).collect();
    let chunks = total / 1024;
    for (chunk, block) in [(0, &first), (chunks - 1, &last)] {
        let (start, length) = slice::group_range(total, chunk);
        let offset = if chunk == 0 { 0 } else { BLOCK_BYTES - (total - start) as usize };
        let group = &block[offset..offset + length as usize];
        let proven = slice::prove(&root, total, chunk, group, |position| pairs.get(&position).copied()).unwrap();
        assert!(slice::verify(&root, total, chunk, &proven).is_ok());
        assert!(slice::verify(&root, total, chunk ^ 1, &proven).is_err());
        assert!(slice::verify(&root, total - BLOCK_BYTES as u64, chunk, &proven).is_err(), "a forged length");
    }
}
