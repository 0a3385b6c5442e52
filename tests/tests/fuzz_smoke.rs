//! The fuzz targets of `fuzz/`, on stable Rust: a few thousand mutated inputs, the same in every run.
//!
//! `FUZZ_CORPUS=fuzz/corpus` (from the repository's root, absolute or relative to `tests/`) also writes the inputs it starts from.

use std::panic::catch_unwind;
use std::path::Path;

use assay_tests::fuzzing::{TARGETS, Target};

/// Mutated inputs of each target.
const ROUNDS: usize = 3_000;

/// splitmix64: the same draws on every machine.
struct Draw(u64);

impl Draw {
    fn word(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    fn below(&mut self, bound: usize) -> usize {
        (self.word() % bound.max(1) as u64) as usize
    }

    /// Flips, sets, cuts, repeats, inserts, splices: what finds length and border errors.
    fn mutate(&mut self, bytes: &mut Vec<u8>, other: &[u8]) {
        let (at, to) = (self.below(bytes.len()), self.below(bytes.len() + 1));
        match self.below(9) {
            0 => bytes.truncate(at),
            1 => drop(bytes.drain(at.min(to)..at.max(to))),
            2 => {
                let copied = bytes[at.min(to)..at.max(to)].to_vec();
                bytes.splice(at..at, copied);
            }
            3 => bytes.insert(to, self.word() as u8),
            4 => bytes.extend_from_slice(&self.word().to_le_bytes()),
            5 => {
                let tail = &other[self.below(other.len() + 1)..];
                bytes.truncate(to);
                bytes.extend_from_slice(tail);
            }
            kind => {
                if let Some(byte) = bytes.get_mut(at) {
                    *byte = match kind {
                        6 => *byte ^ (1 << self.below(8)),
                        7 => [0, 1, 0x7f, 0x80, 0xff][self.below(5)],
                        _ => self.word() as u8,
                    };
                }
            }
        }
        bytes.truncate(64 * 1024);
    }
}

#[test]
fn seeds_are_accepted() {
    for target in TARGETS {
        let corpus = std::env::var_os("FUZZ_CORPUS").map(|root| Path::new(&root).join(target.name));
        for (number, seed) in (target.seeds)().iter().enumerate() {
            assert!((target.run)(seed), "{} refuses its seed {number}", target.name);
            if let Some(dir) = &corpus {
                std::fs::create_dir_all(dir).unwrap();
                std::fs::write(dir.join(format!("seed-{number}")), seed).unwrap();
            }
        }
    }
}

#[test]
fn no_decoder_panics_on_mutated_inputs() {
    for (number, target) in TARGETS.iter().enumerate() {
        let accepted = hammer(target, Draw(number as u64));
        println!("{}: {accepted} of {ROUNDS} mutated inputs accepted", target.name);
    }
}

fn hammer(target: &Target, mut draw: Draw) -> usize {
    let seeds = (target.seeds)();
    let mut accepted = 0;
    for round in 0..ROUNDS {
        let other = draw.below(seeds.len());
        let mut bytes = match draw.below(20) {
            0 => (0..draw.below(300)).map(|_| draw.word() as u8).collect(),
            _ => seeds[draw.below(seeds.len())].clone(),
        };
        for _ in 0..=draw.below(3) {
            draw.mutate(&mut bytes, &seeds[other]);
        }
        match catch_unwind(|| (target.run)(&bytes)) {
            Ok(was_accepted) => accepted += usize::from(was_accepted),
            Err(_) => panic!("{} fails in round {round} on {}", target.name, hex::encode(&bytes)),
        }
    }
    accepted
}
