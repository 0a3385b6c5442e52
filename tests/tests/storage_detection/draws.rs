//! What is drawn.

use assay_core::challenge::compact::SLICES_ONE_IN;
use assay_core::challenge::{Challenge, Kind, STORAGE_SAMPLES, Stream};
use assay_core::claim::{Claim, ClaimSet};
use assay_core::hash::{Hash32, keccak};
use assay_core::ids::{Address, Instance, OracleId, ProviderId};
use assay_core::replica::{BLOCK_BYTES, CHUNKS_PER_BLOCK, blocks_for};

/// Audits of each mode.
const AUDITS: usize = 20_000;

/// Twelve replicas of different sizes under one tag key: 4,850 blocks.
fn claims() -> ClaimSet {
    let claim = |number: u64| {
        let object_length = (number * number * 7 + 24) * BLOCK_BYTES as u64;
        Claim {
            object_id: keccak([b"object", &number.to_be_bytes()[..]]),
            replica_index: 0,
            root: keccak([b"root", &number.to_be_bytes()[..]]),
            object_length,
            blocks: blocks_for(object_length),
            tag_key_id: Hash32([7; 32]),
            owner: Address([1; 20]),
        }
    };
    ClaimSet::new((1..=12).map(claim).collect()).unwrap()
}

/// Audits without end, each with a secret of its own.
fn audits(claims: &ClaimSet) -> impl Iterator<Item = Challenge> + use<> {
    let root = claims.root();
    (0u32..).map(move |number| Challenge {
        instance: Instance { chain_id: 31_337, settlement: Address([0xaa; 20]) },
        epoch: 3,
        slot: 1,
        oracle: OracleId(2),
        provider: ProviderId(7),
        kind: Kind::STORAGE,
        index: number,
        class_id: 100,
        claim_root: root.hash,
        claim_blocks: root.blocks,
        chunks: STORAGE_SAMPLES,
        slices_one_in: SLICES_ONE_IN,
        extra: Vec::new(),
        child: keccak([b"audit", &number.to_be_bytes()[..]]).0,
    })
}

/// A random order of `0..count`: the place of each. At a loss of f those in the first f · count places are lost.
fn places(purpose: &[u8], count: u64) -> Vec<u32> {
    let mut stream = Stream::new(&[purpose]);
    let mut places: Vec<u32> = (0..count as u32).collect();
    for last in (1..places.len()).rev() {
        places.swap(last, stream.below(last as u64 + 1) as usize);
    }
    places
}

/// For each audit of one mode the first place that it hits: it finds every loss that reaches there.
struct Hits {
    first: Vec<u32>,
    count: u64,
}

impl Hits {
    /// The share of audits that find a loss of `per_mille` of all, and the share and standard deviation that the formula gives.
    fn found(&self, per_mille: u64) -> (f64, f64, f64) {
        let lost = self.count * per_mille / 1_000;
        let found = self.first.iter().filter(|first| u64::from(**first) < lost).count() as f64 / self.first.len() as f64;
        let due = 1.0 - (1.0 - lost as f64 / self.count as f64).powi(STORAGE_SAMPLES as i32);
        (found, due, (due * (1.0 - due) / self.first.len() as f64).sqrt())
    }
}

/// At least [`AUDITS`] audits by compact proofs, which lose whole blocks, and as many by slices, which lose single chunks.
fn hits(claims: &ClaimSet) -> [Hits; 2] {
    let blocks = claims.root().blocks;
    let (of_blocks, of_chunks) = (places(b"blocks", blocks), places(b"chunks", blocks * CHUNKS_PER_BLOCK));
    let mut compact = Hits { first: Vec::new(), count: blocks };
    let mut slices = Hits { first: Vec::new(), count: blocks * CHUNKS_PER_BLOCK };
    for audit in audits(claims) {
        let samples = audit.samples();
        assert!(samples.len() == STORAGE_SAMPLES as usize && samples.iter().all(|sample| claims.locate(sample.block).is_some()));
        match audit.is_for_slices() {
            true => {
                let chunks = samples.iter().map(|sample| sample.block * CHUNKS_PER_BLOCK + u64::from(sample.chunk));
                slices.first.extend(chunks.map(|chunk| of_chunks[chunk as usize]).min());
            }
            false => compact.first.extend(samples.iter().map(|sample| of_blocks[sample.block as usize]).min()),
        }
        if slices.first.len() >= AUDITS && compact.first.len() >= AUDITS {
            break;
        }
    }
    [compact, slices]
}

#[test]
fn a_loss_is_found_as_often_as_the_formula_says_in_both_modes() {
    for (mode, hits) in ["compact proofs", "slices"].into_iter().zip(hits(&claims())) {
        for per_mille in [5, 10, 50, 500] {
            let (found, due, deviation) = hits.found(per_mille);
            println!("{mode}, {per_mille} per mille lost: found by {found:.5} of {}, due {due:.5} ± {deviation:.5}", hits.first.len());
            assert!((found - due).abs() <= 3.0 * deviation, "{mode} at {per_mille} per mille: {found} instead of {due} ± {deviation}");
        }
    }
}

/// Σ (count − expected)² / expected must be below the 99.99 % quantile for that many classes (Wilson and Hilferty's approximation).
fn assert_follows(what: &str, counts: &[u64], shares: impl Iterator<Item = f64>) {
    let total: u64 = counts.iter().sum();
    let expected: Vec<f64> = shares.map(|share| share * total as f64).collect();
    assert!(expected.len() == counts.len() && expected.iter().all(|expected| *expected >= 5.0), "{what}: too few draws to tell");
    let chi_square: f64 = counts.iter().zip(&expected).map(|(count, due)| (*count as f64 - due).powi(2) / due).sum();
    let freedom = counts.len() as f64 - 1.0;
    let spread = 2.0 / (9.0 * freedom);
    let quantile = freedom * (1.0 - spread + 3.719 * spread.sqrt()).powi(3);
    println!("{what}: chi-square {chi_square:.1} with {freedom} degrees of freedom, bound {quantile:.1}");
    assert!(chi_square < quantile, "{what}: {chi_square} is not below {quantile}");
}

// Defence: rejection in `Stream::below`, one stream for a challenge. Were some blocks drawn less often, a provider would lose those.
#[test]
fn every_block_every_claim_and_every_chunk_is_drawn_as_often_as_its_share() {
    let claims = claims();
    let total = claims.root().blocks;
    let mut blocks = vec![0; total as usize];
    let mut replicas = vec![0; claims.len()];
    let mut chunks = vec![0; CHUNKS_PER_BLOCK as usize];
    for sample in audits(&claims).take(AUDITS).flat_map(|audit| audit.samples()) {
        blocks[sample.block as usize] += 1;
        replicas[claims.index_of_block(sample.block)] += 1;
        chunks[sample.chunk as usize] += 1;
    }
    assert_follows("blocks", &blocks, (0..total).map(|_| 1.0 / total as f64));
    assert_follows("claims", &replicas, claims.claims().map(|claim| claim.blocks as f64 / total as f64));
    assert_follows("chunks of a block", &chunks, (0..CHUNKS_PER_BLOCK).map(|_| 1.0 / CHUNKS_PER_BLOCK as f64));
}

// Defence: the mode follows from the challenge's seed. Without slices an owner could forge for its own provider for ever.
#[test]
fn one_audit_in_sixteen_wants_slices_and_the_plan_says_so() {
    let claims = claims();
    let audits: Vec<_> = audits(&claims).take(160_000).collect();
    let slices = audits.iter().filter(|audit| audit.is_for_slices()).count() as u64;
    let share = 1.0 / f64::from(SLICES_ONE_IN);
    assert_follows("slices and compact proofs", &[slices, audits.len() as u64 - slices], [share, 1.0 - share].into_iter());
    assert!(audits[..2_000].iter().all(|audit| audit.compact_plan(&claims).is_empty() == audit.is_for_slices()));
}

// Defence: the mode has a stream of its own. Were its word the first sample's too, that sample's block would be an even one in every audit by
// slices: 4,850 and 16 share a factor.
#[test]
fn audits_by_slices_ask_for_the_same_blocks_as_the_others() {
    let mut parities = [0, 0];
    for sample in audits(&claims()).filter(Challenge::is_for_slices).take(2_000).flat_map(|audit| audit.samples()) {
        parities[(sample.block % 2) as usize] += 1;
    }
    assert_follows("even and odd blocks in audits by slices", &parities, [0.5, 0.5].into_iter());
}
