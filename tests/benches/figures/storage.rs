//! Compact proofs and slices of a replica of 1 GiB, on one core, with the blocks in memory: what it costs the owner, the provider and the
//! oracle, each beside what the same library needs for the arithmetic alone.

use std::hint::black_box;
use std::time::Duration;

use assay_core::challenge::STORAGE_SAMPLES;
use assay_core::compact::{self, Evaluation, PROOF_BYTES, Proof, TAG_BYTES, TAG_DST, TagCheck, Terms};
use assay_core::replica::BLOCK_BYTES;
use assay_tests::baseline;

use crate::harness::{Estimate, Plan, alone, pair};
use crate::storage_object::{Object, bytes};
use crate::table::Table;

/// For calls of milliseconds.
const MILLISECONDS: Plan = Plan { samples: 101, sample: Duration::ZERO, warm_up: Duration::from_millis(300) };
/// For calls of about a tenth of a second.
const TENTHS: Plan = Plan { samples: 31, sample: Duration::ZERO, warm_up: Duration::from_millis(300) };
/// For calls of seconds.
const SECONDS: Plan = Plan { samples: 7, sample: Duration::ZERO, warm_up: Duration::ZERO };

/// Blocks that the owner tags in one call, about 32 MB.
const TAGGED: u64 = 256;
/// Blocks with contents of their own in the ingest check, about 134 MB: more than any cache. The replica goes through them again and again.
const CONTENTS: u64 = 1_057;
/// Proofs in a batch, and how many of these differ; nothing is remembered from one to the next.
const BATCH: usize = 1_000;
const DISTINCT: usize = 25;

pub fn measure(table: &mut Table) {
    let object = Object::new();
    sizes(table);
    yardsticks(table);
    owner(table, &object);
    proof(table, &object);
    batch(table, &object);
    ingest(table, &object);
    slices(table, &object);
}

fn sizes(table: &mut Table) {
    table.put_exact("storage.compact.proof_bytes", PROOF_BYTES as f64, "B", "a compact proof, over any number of blocks");
    let overhead = TAG_BYTES as f64 / BLOCK_BYTES as f64 * 1e6;
    table.put_exact("storage.compact.tag_overhead_ppm", overhead, "ppm", "tags / the data that they are of");
}

fn yardsticks(table: &mut Table) {
    let floor = Floor::new(4_096);
    let samples = STORAGE_SAMPLES as usize;
    let hashes = alone(Plan::SHORT, || baseline::hash_all(black_box(&floor.messages[..samples]), TAG_DST));
    let hash = hashes.map(|s| s * 1e6 / samples as f64);
    table.put("storage.compact.hash_to_g1_us", hash, "µs", "blst: one of 30 hashes to G1, to an affine point");
    let short = alone(Plan::SHORT, || floor.sum(samples, 128));
    table.put("storage.compact.msm30_us", short.map(|s| s * 1e6), "µs", "blst: a sum of 30 multiples by 128 bits");
    let long = alone(MILLISECONDS, || floor.sum(4_096, 255));
    table.put("storage.compact.msm4096_ms", long.map(|s| s * 1e3), "ms", "blst: a sum of 4,096 multiples by 255 bits");
    let pairings = alone(Plan::SHORT, || floor.three_pairings());
    table.put("storage.compact.pairings3_us", pairings.map(|s| s * 1e6), "µs", "blst: a product of three pairings");
    let data = bytes(0, TAGGED * BLOCK_BYTES as u64);
    let hashed = alone(MILLISECONDS, || !black_box(blake3::hash(black_box(&data))).as_bytes().is_empty());
    table.put("storage.compact.blake3_mb_s", rate(hashed, data.len()), "MB/s", "BLAKE3 of about 32 MB");
}

fn owner(table: &mut Table, object: &Object) {
    let (data, name) = (bytes(0, TAGGED * BLOCK_BYTES as u64), object.name());
    let made = alone(TENTHS, || {
        let evaluations = evaluate(object, black_box(&data));
        object.secret.tags(&name, 0, &evaluations).len() == TAGGED as usize * TAG_BYTES
    });
    table.put("storage.compact.tag_mb_s", rate(made, data.len()), "MB/s", "the owner: evaluates blocks and makes their tags");
}

fn proof(table: &mut Table, object: &Object) {
    let challenge = object.challenge(0);
    let terms = object.terms(&challenge);
    let blocks: Vec<_> = terms.items.iter().map(|item| object.tagged_block(item.block)).collect();
    let proved = alone(TENTHS, || object.prove(black_box(&terms), &blocks).to_bytes().len() == PROOF_BYTES);
    table.put("storage.compact.prove_ms", proved.map(|s| s * 1e3), "ms", "the provider: a proof over 30 blocks in memory");

    let sent = object.prove(&terms, &blocks).to_bytes();
    let ours = || Proof::from_bytes(black_box(&sent)).is_ok_and(|proof| compact::verify(&object.key, &terms, &proof).is_ok());
    let floor = Floor::new(terms.items.len());
    let theirs = || baseline::hash_all(&floor.messages, TAG_DST) && floor.sum(terms.items.len(), 128) && floor.three_pairings();
    let pair = pair(MILLISECONDS, ours, theirs);
    let what = "time to read and verify a proof over 30 blocks / blst: 30 hashes to G1, their sum, three pairings";
    table.put("storage.compact.verify_over_floor", pair.ratio, "", what);
    table.put("storage.compact.verify_ms", pair.ours.map(|s| s * 1e3), "ms", "the former, alone");
    table.put("storage.compact.verify_floor_ms", pair.theirs.map(|s| s * 1e3), "ms", "the latter, alone");
}

fn batch(table: &mut Table, object: &Object) {
    let distinct: Vec<(Terms, Proof)> = (1..=DISTINCT as u32)
        .map(|number| {
            let terms = object.terms(&object.challenge(number));
            let blocks: Vec<_> = terms.items.iter().map(|item| object.tagged_block(item.block)).collect();
            let proof = object.prove(&terms, &blocks);
            (terms, proof)
        })
        .collect();
    let proofs: Vec<_> = distinct.iter().cycle().take(BATCH).cloned().collect();
    let verified = alone(SECONDS, || compact::verify_batch(&object.key, black_box(&proofs), &[9; 32]).is_ok());
    table.put("storage.compact.batch1000_s", verified, "s", "1,000 proofs of one key, 30 blocks each, verified together");
}

fn ingest(table: &mut Table, object: &Object) {
    let (data, name) = (bytes(0, CONTENTS * BLOCK_BYTES as u64), object.name());
    let contents = evaluate(object, &data);
    let evaluations: Vec<Evaluation> = contents.iter().cycle().take(object.blocks() as usize).cloned().collect();
    let tags = object.secret.tags(&name, 0, &evaluations);
    let checked = alone(SECONDS, || {
        let mut check = TagCheck::new(&object.key, &object.powers, name, &[5; 32]);
        let blocks = data.chunks(BLOCK_BYTES).cycle().take(object.blocks() as usize);
        blocks.zip(tags.chunks(TAG_BYTES)).all(|(block, tag)| check.block(block).is_ok() && check.tags(tag).is_ok())
            && check.finish().is_ok()
    });
    let what = "the provider: checks all tags of 1 GiB against their blocks, without the disk";
    table.put("storage.compact.ingest_mb_s", rate(checked, object.bytes() as usize), "MB/s", what);
}

fn slices(table: &mut Table, object: &Object) {
    let samples = object.challenge(0).samples();
    let slices: Vec<_> = samples
        .iter()
        .map(|sample| {
            let (chunk, group) = object.group_of(sample);
            (chunk, object.slice(chunk, &group))
        })
        .collect();
    let payload: usize = slices.iter().map(|(_, slice)| slice.chunk.len() + slice.siblings.len() * 32).sum();
    table.put_exact("storage.slice.bytes", payload as f64, "B", "30 slices of a replica of 1 GiB: chunks and paths");
    let (chunk, slice) = &slices[0];
    let hashed = [&slice.chunk[..], slice.siblings.as_flattened()].concat();
    let ours = || object.verify_slice(*chunk, black_box(slice));
    let theirs = || !black_box(blake3::hash(black_box(&hashed))).as_bytes().is_empty();
    let pair = pair(Plan::SHORT, ours, theirs);
    table.put("storage.slice.verify_over_hash", pair.ratio, "", "time to verify one slice / to hash its bytes with BLAKE3");
    table.put("storage.slice.hash_us", pair.theirs.map(|s| s * 1e6), "µs", "the latter, alone");
}

fn evaluate(object: &Object, data: &[u8]) -> Vec<Evaluation> {
    data.chunks(BLOCK_BYTES).map(|block| object.secret.evaluate(block).unwrap()).collect()
}

/// MB/s of calls over that many bytes.
pub fn rate(seconds: Estimate, bytes: usize) -> Estimate {
    seconds.map(|s| bytes as f64 / 1e6 / s)
}

/// What the arithmetic alone costs with `blst`.
struct Floor {
    messages: Vec<[u8; 40]>,
    points: Vec<baseline::Point>,
    scalars: Vec<baseline::Scalar>,
    key: baseline::Key,
}

impl Floor {
    fn new(terms: usize) -> Self {
        let random = bytes(1 << 40, terms as u64 * 31);
        let scalars: Vec<_> = baseline::scalars_of(&random).collect();
        let points = scalars.iter().map(|scalar| baseline::multiple_of_g1(*scalar)).collect();
        let messages = (0..terms as u64).map(|block| baseline::shacham_waters::message(&[8; 32], block)).collect();
        Self { messages, points, scalars, key: baseline::g2() }
    }

    fn sum(&self, terms: usize, bits: usize) -> bool {
        black_box(baseline::sum_of_multiples(&self.points[..terms], &self.scalars[..terms], bits)) != baseline::Point::default()
    }

    /// Random points: their product is not one.
    fn three_pairings(&self) -> bool {
        !baseline::pairings_cancel(black_box(&[0, 1, 2].map(|at| (self.points[at], self.key))))
    }
}
