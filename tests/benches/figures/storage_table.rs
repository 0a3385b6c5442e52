//! Schemes side by side: one audit of one object of 1 GiB by each, in one run, on one core, with what is asked for in memory.
//!
//! Verifying is measured from the proof's parsed form, and for every scheme with hashes to the curve in it where it has them. The owner's
//! cost is what the scheme adds to storing bytes: a hash tree, tags, commitments. Each peer asks for as many units as it samples: 5 and 30
//! leaves for PDP's rule, 30 blocks of its own size for the others.

use std::hint::black_box;
use std::time::Duration;

use assay_core::challenge::{STORAGE_SAMPLES, Stream};
use assay_core::compact::{self, PROOF_BYTES, TAG_BYTES};
use assay_core::hash::keccak;
use assay_core::replica::BLOCK_BYTES;
use assay_core::slice::OutboardBuilder;
use assay_tests::baseline::{self, kzg, pdp, shacham_waters as sw};

use crate::harness::{Estimate, Plan, alone};
use crate::storage::rate;
use crate::storage_object::{OBJECT_BYTES, Object, bytes};
use crate::table::Table;

const PLAN: Plan = Plan { samples: 31, sample: Duration::from_millis(2), warm_up: Duration::from_millis(200) };

/// The name of the object under the peers' tags.
const NAME: [u8; 32] = [6; 32];
/// Bytes that an owner works through in one call, where it is quick.
const OWNED: u64 = 32 << 20;

/// One scheme's columns.
struct Row {
    proof_bytes: usize,
    prove: Estimate,
    verify: Estimate,
    owner_mb_s: Estimate,
    stored_ppm: f64,
}

/// Puts a scheme's columns under its keys.
macro_rules! put {
    ($table:expr, $scheme:literal, $what:literal, $row:expr) => {{
        let row: Row = $row;
        $table.put_exact(concat!("storage.table.", $scheme, ".proof_bytes"), row.proof_bytes as f64, "B", concat!($what, ": a proof"));
        $table.put(concat!("storage.table.", $scheme, ".prove_ms"), row.prove.map(|s| s * 1e3), "ms", concat!($what, ": prove"));
        $table.put(concat!("storage.table.", $scheme, ".verify_ms"), row.verify.map(|s| s * 1e3), "ms", concat!($what, ": verify"));
        $table.put(concat!("storage.table.", $scheme, ".owner_mb_s"), row.owner_mb_s, "MB/s", concat!($what, ": the owner's work"));
        let stored = concat!($what, ": kept beside the data");
        $table.put_exact(concat!("storage.table.", $scheme, ".stored_ppm"), row.stored_ppm, "ppm", stored);
    }};
}

pub fn measure(table: &mut Table) {
    let object = Object::new();
    let tree = pdp::Tree::build(OBJECT_BYTES / pdp::SEGMENT_BYTES, |number| bytes(number * pdp::SEGMENT_BYTES, pdp::SEGMENT_BYTES));
    put!(table, "pdp5", "PDP, 5 leaves", pdp_row(&tree, pdp::SAMPLES_A_DAY));
    put!(table, "pdp30", "PDP, 30 leaves", pdp_row(&tree, u64::from(STORAGE_SAMPLES)));
    put!(table, "sw128", "Shacham-Waters, 128 sectors", shacham_waters_row());
    put!(table, "kzg", "public KZG commitments", kzg_row());
    put!(table, "slices", "ours, slices", slices_row(&object));
    put!(table, "compact", "ours, compact proof", compact_row(&object));
}

fn ppm(part: f64, whole: f64) -> f64 {
    (part / whole * 1e6).round()
}

fn pdp_row(tree: &pdp::Tree, samples: u64) -> Row {
    let (root, leaves) = (tree.root(), OBJECT_BYTES / pdp::LEAF_BYTES);
    let asked: Vec<(u64, Vec<u8>)> = pdp::indices(&keccak([b"bench period"]), 1, samples, leaves)
        .into_iter()
        .map(|leaf| (leaf, bytes(leaf * pdp::LEAF_BYTES / pdp::SEGMENT_BYTES * pdp::SEGMENT_BYTES, pdp::SEGMENT_BYTES)))
        .collect();
    let prove = || asked.iter().map(|(leaf, segment)| tree.prove(*leaf, segment)).collect::<Vec<_>>();
    let proofs = prove();
    let data = bytes(0, OWNED);
    let segment = |number: u64| data[(number * pdp::SEGMENT_BYTES) as usize..][..pdp::SEGMENT_BYTES as usize].to_vec();
    let build = || pdp::Tree::build(OWNED / pdp::SEGMENT_BYTES, segment).root() != pdp::Node::default();
    Row {
        proof_bytes: proofs.iter().map(pdp::Proof::size).sum(),
        prove: alone(PLAN, || black_box(prove()).len() == asked.len()),
        verify: alone(PLAN, || asked.iter().zip(&proofs).all(|((leaf, _), proof)| pdp::verify(&root, leaves, *leaf, black_box(proof)))),
        owner_mb_s: rate(alone(PLAN, build), data.len()),
        stored_ppm: ppm(tree.bytes() as f64, OBJECT_BYTES as f64),
    }
}

/// Blocks of a scheme's own size, with their coefficients.
fn asked(purpose: &[u8], block_bytes: usize) -> Vec<(u64, u128, Vec<u8>)> {
    let mut stream = Stream::new(&[b"bench blocks", purpose]);
    let draw = |_| {
        let block = stream.below(OBJECT_BYTES / block_bytes as u64);
        let nu = u128::from(stream.word()) << 64 | u128::from(stream.word());
        (block, nu, bytes(block * block_bytes as u64, block_bytes as u64))
    };
    (0..STORAGE_SAMPLES).map(draw).collect()
}

fn shacham_waters_row() -> Row {
    let owner = sw::OwnerKey::new(b"bench owner");
    let public = owner.public();
    let asked = asked(b"sw", sw::BLOCK_BYTES);
    let items: Vec<_> = asked.iter().map(|(number, nu, block)| (*nu, block.as_slice(), owner.tag(&NAME, *number, block))).collect();
    let proof = sw::Proof::new(&items);
    let held: Vec<_> = asked.iter().map(|(number, nu, _)| (sw::point(&NAME, *number), *nu)).collect();
    let messages: Vec<_> = asked.iter().map(|(number, ..)| sw::message(&NAME, *number)).collect();
    // Of the points the clock sees the hashes that a verifier makes; the points themselves were made before, at a higher cost.
    let verify = || baseline::hash_all(&messages, sw::DST) && sw::verify(&public, &held, black_box(&proof));
    let data = bytes(0, 64 * sw::BLOCK_BYTES as u64);
    let tag_all = || (0..).zip(data.chunks(sw::BLOCK_BYTES)).all(|(number, block)| owner.tag(&NAME, number, block) != Default::default());
    Row {
        proof_bytes: proof.to_bytes().len(),
        prove: alone(PLAN, || !black_box(sw::Proof::new(&items)).to_bytes().is_empty()),
        verify: alone(PLAN, verify),
        owner_mb_s: rate(alone(PLAN, tag_all), data.len()),
        stored_ppm: ppm(sw::TAG_BYTES as f64, sw::BLOCK_BYTES as f64),
    }
}

fn kzg_row() -> Row {
    let setup = kzg::Setup::from_seed(b"bench setup");
    let asked = asked(b"kzg", kzg::BLOCK_BYTES);
    let items: Vec<_> = asked.iter().map(|(_, nu, block)| (*nu, block.as_slice())).collect();
    let held: Vec<_> = asked.iter().map(|(_, nu, block)| (setup.commit(block), *nu)).collect();
    let place = kzg::place(b"bench challenge");
    let proof = setup.prove(&items, place);
    Row {
        proof_bytes: proof.to_bytes().len(),
        prove: alone(PLAN, || !black_box(setup.prove(&items, place)).to_bytes().is_empty()),
        verify: alone(PLAN, || setup.verify(&held, place, black_box(&proof))),
        owner_mb_s: rate(alone(PLAN, || setup.commit(black_box(&asked[0].2)) != Default::default()), kzg::BLOCK_BYTES),
        stored_ppm: ppm(kzg::COMMITMENT_BYTES as f64, kzg::BLOCK_BYTES as f64),
    }
}

fn slices_row(object: &Object) -> Row {
    let groups: Vec<_> = object.challenge(0).samples().iter().map(|sample| object.group_of(sample)).collect();
    let prove = || groups.iter().map(|(chunk, group)| (*chunk, object.slice(*chunk, group))).collect::<Vec<_>>();
    let slices = prove();
    let data = bytes(0, OWNED);
    let outboard = || {
        let (mut builder, mut nodes) = (OutboardBuilder::new(OWNED), Vec::new());
        builder.update(black_box(&data), &mut nodes).is_ok() && builder.finish().is_ok()
    };
    Row {
        proof_bytes: slices.iter().map(|(_, slice)| slice.chunk.len() + slice.siblings.len() * 32).sum(),
        prove: alone(PLAN, || black_box(prove()).len() == groups.len()),
        verify: alone(PLAN, || slices.iter().all(|(chunk, slice)| object.verify_slice(*chunk, black_box(slice)))),
        owner_mb_s: rate(alone(PLAN, outboard), data.len()),
        stored_ppm: ppm(object.outboard_bytes() as f64, object.bytes() as f64),
    }
}

fn compact_row(object: &Object) -> Row {
    let terms = object.terms(&object.challenge(0));
    let blocks: Vec<_> = terms.items.iter().map(|item| object.tagged_block(item.block)).collect();
    let proof = object.prove(&terms, &blocks);
    let (data, name) = (bytes(0, 256 * BLOCK_BYTES as u64), object.name());
    let tag_all = || {
        let evaluations: Vec<_> = data.chunks(BLOCK_BYTES).map(|block| object.secret.evaluate(block).unwrap()).collect();
        !object.secret.tags(&name, 0, &evaluations).is_empty()
    };
    Row {
        proof_bytes: PROOF_BYTES,
        prove: alone(PLAN, || object.prove(black_box(&terms), &blocks).to_bytes().len() == PROOF_BYTES),
        verify: alone(PLAN, || compact::verify(&object.key, &terms, black_box(&proof)).is_ok()),
        owner_mb_s: rate(alone(PLAN, tag_all), data.len()),
        stored_ppm: ppm(TAG_BYTES as f64, BLOCK_BYTES as f64),
    }
}
