//! Slices of a replica of 1 GiB.

use std::hint::black_box;

use assay_core::challenge::{Answer, Stream};
use assay_core::hash::Hash32;
use assay_core::replica::{BLOCK_BYTES, blocks_for};
use assay_core::slice::{self, CHUNK_BYTES, GROUP_BYTES, OutboardBuilder, Slice};
use assay_proto::provider::v1::ChallengeReply;
use prost::Message as _;

use crate::harness::{Plan, pair};
use crate::table::Table;

pub fn measure(table: &mut Table) {
    let replica = Replica::new(1 << 30);
    let slice = replica.slice(replica.chunks() / 3);
    let bytes = [&slice.chunk[..], slice.siblings.as_flattened()].concat();
    let (total, index) = (replica.total_bytes, replica.chunks() / 3);
    let ours = || slice::verify(&replica.root, total, index, black_box(&slice)).is_ok();
    let theirs = || !black_box(blake3::hash(black_box(&bytes))).as_bytes().is_empty();
    let pair = pair(Plan::SHORT, ours, theirs);
    table.put("slice.verify_over_hash", pair.ratio, "", "time to verify one slice / to hash its bytes with BLAKE3");
    table.put("slice.verify_us", pair.ours.map(|s| s * 1e6), "µs", "the same, alone");

    let mut stream = Stream::new(&[b"bench samples"]);
    let samples: Vec<_> = (0..30).map(|_| Some(replica.slice(stream.below(replica.chunks())))).collect();
    let payload: usize = samples.iter().flatten().map(|slice| slice.chunk.len() + slice.siblings.len() * 32).sum();
    let signature = assay_core::secp::Signature65([1; 65]);
    let reply = ChallengeReply::new(Answer { payload: Vec::new(), samples }, Some(&signature)).encoded_len();
    table.put_exact("slice.bytes_c30_1gib", payload as f64, "B", "30 slices of a replica of 1 GiB: chunks and paths");
    table.put_exact("slice.reply_bytes_c30_1gib", reply as f64, "B", "the whole answer on the wire, signature included");
}

/// A replica whose bytes are made anew whenever they are needed.
struct Replica {
    total_bytes: u64,
    root: Hash32,
    nodes: Vec<[u8; 64]>,
}

impl Replica {
    fn new(object_bytes: u64) -> Self {
        let total_bytes = blocks_for(object_bytes) * BLOCK_BYTES as u64;
        let (mut builder, mut found) = (OutboardBuilder::new(total_bytes), vec![]);
        for start in (0..total_bytes).step_by(GROUP_BYTES as usize) {
            builder.update(&group(start, GROUP_BYTES.min(total_bytes - start)), &mut found).unwrap();
        }
        let mut nodes = vec![[0; 64]; found.len()];
        for node in found {
            nodes[node.position as usize] = node.pair;
        }
        Self { total_bytes, root: builder.finish().unwrap(), nodes }
    }

    fn chunks(&self) -> u64 {
        self.total_bytes / CHUNK_BYTES
    }

    fn slice(&self, index: u64) -> Slice {
        let (start, length) = slice::group_range(self.total_bytes, index);
        let node = |position: u64| self.nodes.get(position as usize).copied();
        slice::prove(&self.root, self.total_bytes, index, &group(start, length), node).unwrap()
    }
}

/// The bytes of a group: they differ from group to group, and chunk to chunk.
fn group(start: u64, length: u64) -> Vec<u8> {
    (start..start + length).map(|at| (at.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 56) as u8).collect()
}
