//! A day of audits against a provider that lost 1 % of its blocks, whichever it likes.
//!
//! Every hour each of a panel of seven asks for 30 samples, drawn as the core draws them. Two of the seven lie and say that everything is
//! fine. The provider adapts: after every audit, the liars' too, it drops the blocks that it has just proven and gets as many of the lost
//! ones back, the longest lost first, so that exactly 1 % is lost at any time. (It gets them back for nothing, which no real one does.)
//! *Found* means that at least one honest oracle draws a lost block in the day: its audit then fails under the provider's signature.
//!
//! Beside it PDP's rule on the same blocks and the same loss: five leaves a day, and nobody lies.

use std::collections::VecDeque;

use assay_core::challenge::compact::SLICES_ONE_IN;
use assay_core::challenge::{Challenge, Kind, STORAGE_SAMPLES};
use assay_core::claim::{Claim, ClaimSet};
use assay_core::hash::{Hash32, keccak};
use assay_core::ids::{Address, Instance, OracleId, ProviderId};
use assay_core::replica::{BLOCK_BYTES, blocks_for};
use assay_tests::baseline::pdp;

use crate::harness::{Estimate, Random};
use crate::table::Table;

const DAYS: u64 = 20_000;
const AUDITS_A_DAY: u32 = 24;
const PANEL: u64 = 7;
const LIARS: usize = 2;
/// One block in so many is lost.
const LOST_ONE_IN: u64 = 100;
/// Replicas and bytes of their objects: 10,000 blocks in all.
const REPLICAS: u64 = 40;
const OBJECT_BYTES: u64 = 250 * BLOCK_BYTES as u64 - 64;

pub fn measure(table: &mut Table) {
    let (claims, mut random) = (claims(), Random::new(11));
    let blocks = claims.root().blocks;
    assert_eq!(blocks, REPLICAS * 250);
    let found: Vec<f64> = (0..DAYS).map(|day| ppm(is_found(&claims, day, &mut random))).collect();
    let what = "1 % lost, dropped adaptively: days of hourly audits by 7, of whom 2 lie, in which an honest one draws a lost block";
    table.put("storage.detect_day_ppm", Estimate::mean(&found), "ppm", what);
    let found: Vec<f64> = (0..DAYS).map(|day| ppm(is_found_by_pdp(blocks, day))).collect();
    let what = "the same loss under PDP's rule, 5 leaves a day, nobody lies";
    table.put("baseline.pdp_detect_day_ppm", Estimate::mean(&found), "ppm", what);
}

fn ppm(found: bool) -> f64 {
    if found { 1e6 } else { 0.0 }
}

fn claims() -> ClaimSet {
    let claim = |number: u64| Claim {
        object_id: keccak([b"bench object", &number.to_be_bytes()[..]]),
        replica_index: 0,
        root: keccak([b"bench root", &number.to_be_bytes()[..]]),
        object_length: OBJECT_BYTES,
        blocks: blocks_for(OBJECT_BYTES),
        tag_key_id: Hash32::ZERO,
        owner: Address([1; 20]),
    };
    ClaimSet::new((0..REPLICAS).map(claim).collect()).unwrap()
}

/// Whether an honest oracle draws a lost block in the day.
fn is_found(claims: &ClaimSet, day: u64, random: &mut Random) -> bool {
    let mut provider = Dropper::new(claims.root().blocks, random);
    let mut panel: Vec<u64> = (1..=PANEL).collect();
    for place in 0..LIARS {
        let drawn = place + random.below(panel.len() - place);
        panel.swap(place, drawn);
    }
    let liars = panel[..LIARS].to_vec();
    for hour in 0..AUDITS_A_DAY {
        for oracle in 1..=PANEL {
            let drawn: Vec<u64> = audit(claims, day, hour, oracle).samples().iter().map(|sample| sample.block).collect();
            if !liars.contains(&oracle) && drawn.iter().any(|block| provider.has_lost(*block)) {
                return true;
            }
            drawn.into_iter().for_each(|block| provider.drop_instead(block));
        }
    }
    false
}

fn audit(claims: &ClaimSet, day: u64, hour: u32, oracle: u64) -> Challenge {
    Challenge {
        instance: Instance { chain_id: 31_337, settlement: Address([0xaa; 20]) },
        epoch: day,
        slot: hour,
        oracle: OracleId(oracle),
        provider: ProviderId(7),
        kind: Kind::STORAGE,
        index: 0,
        class_id: 100,
        claim_root: claims.root().hash,
        claim_blocks: claims.root().blocks,
        chunks: STORAGE_SAMPLES,
        slices_one_in: SLICES_ONE_IN,
        extra: Vec::new(),
        child: keccak([&day.to_be_bytes()[..], &hour.to_be_bytes(), &oracle.to_be_bytes()]).0,
    }
}

/// Whether PDP draws a lost block. Its leaves are uniform, so it does not matter which blocks are lost.
fn is_found_by_pdp(blocks: u64, day: u64) -> bool {
    let leaves_of_block = BLOCK_BYTES as u64 / pdp::LEAF_BYTES;
    let seed = keccak([b"bench period", &day.to_be_bytes()[..]]);
    let drawn = pdp::indices(&seed, 1, pdp::SAMPLES_A_DAY, blocks * leaves_of_block);
    drawn.into_iter().any(|leaf| (leaf / leaves_of_block).is_multiple_of(LOST_ONE_IN))
}

/// A provider that has lost a fixed number of blocks and chooses which.
struct Dropper {
    lost: Vec<bool>,
    /// The lost blocks, the longest lost first.
    order: VecDeque<u64>,
}

impl Dropper {
    /// Begins the day with blocks at random.
    fn new(blocks: u64, random: &mut Random) -> Self {
        let mut dropper = Self { lost: vec![false; blocks as usize], order: VecDeque::new() };
        while (dropper.order.len() as u64) < blocks / LOST_ONE_IN {
            dropper.lose(random.below(blocks as usize) as u64);
        }
        dropper
    }

    fn has_lost(&self, block: u64) -> bool {
        self.lost[block as usize]
    }

    fn lose(&mut self, block: u64) {
        if !std::mem::replace(&mut self.lost[block as usize], true) {
            self.order.push_back(block);
        }
    }

    /// Loses a block that it has and gets the longest lost one back.
    fn drop_instead(&mut self, block: u64) {
        if self.has_lost(block) {
            return;
        }
        if let Some(back) = self.order.pop_front() {
            self.lost[back as usize] = false;
        }
        self.lose(block);
    }
}
