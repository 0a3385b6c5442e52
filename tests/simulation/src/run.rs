//! Runs: what a seed stands for, many seeds on some threads, and what is said of them.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::thread;

use crate::adversary::Adversary;
use crate::checkers::Violation;
use crate::coverage::{Branch, Coverage};
use crate::faults::Fault;
use crate::prng::Prng;
use crate::world::World;

/// Sizes of committees, small ones more often.
const SIZES: [u64; 16] = [4, 4, 4, 5, 5, 6, 7, 7, 7, 8, 10, 10, 13, 16, 22, 31];

/// Who lies.
#[derive(Clone, Debug)]
pub enum Liars {
    /// Nobody.
    None,
    /// Less than a third of weight, each in its own way.
    Some,
    /// Less than a third of weight, all in one way.
    All(Adversary),
    /// So many thousandths of weight, all in one way: liveness is not promised.
    Beyond(Adversary, u64),
}

/// One run.
#[derive(Clone, Debug)]
pub struct Config {
    /// Everything that happens follows from it.
    pub seed: u64,
    /// Epochs.
    pub epochs: u64,
    /// The last of them without faults; liars go on.
    pub calm_epochs: u64,
    /// Least and most oracles.
    pub oracles: (u64, u64),
    /// Providers.
    pub providers: u64,
    /// Who lies.
    pub liars: Liars,
    /// How the environment fails; the same fault may stand there more than once, to be more frequent.
    pub faults: Vec<Fault>,
    /// Whether the lines of the trace are kept.
    pub is_traced: bool,
}

impl Config {
    /// What a seed means in `make sim`: 20 epochs, the last 7 of them calm.
    pub fn of_seed(seed: u64) -> Self {
        Self {
            seed,
            epochs: 20,
            calm_epochs: 7,
            oracles: (4, 31),
            providers: 2,
            liars: Liars::Some,
            faults: Fault::ALL.to_vec(),
            is_traced: false,
        }
    }

    pub(crate) fn size(&self, prng: &mut Prng) -> u64 {
        let (low, high) = self.oracles;
        let fitting: Vec<u64> = SIZES.iter().copied().filter(|size| (low..=high).contains(size)).collect();
        if fitting.is_empty() { prng.between(low, high) } else { prng.pick(&fitting) }
    }

    /// Whether the protocol promises progress.
    pub(crate) fn is_live(&self) -> bool {
        !matches!(self.liars, Liars::Beyond(..))
    }
}

/// What became of a run.
#[derive(Clone, Debug)]
pub struct Summary {
    /// Its seed.
    pub seed: u64,
    /// Oracles.
    pub oracles: u64,
    /// Epochs.
    pub epochs: u64,
    /// Who lied, and how.
    pub liars: Vec<(u64, Adversary)>,
    /// Reports that were accepted and final.
    pub accepted: u64,
    /// Hash over everything that happened.
    pub trace: [u8; 32],
    /// What went wrong first.
    pub violation: Option<Violation>,
    /// What happened how often.
    pub coverage: Coverage,
    /// The lines, when they were asked for.
    pub lines: Vec<String>,
}

impl Summary {
    /// One line that reproduces a failure.
    pub fn failure(&self) -> Option<String> {
        let violation = self.violation.as_ref()?;
        Some(format!("make sim SEED=0x{:x}  # {}: {}", self.seed, violation.invariant, violation.detail))
    }
}

/// Runs one seed.
pub fn run(config: Config) -> Summary {
    let mut world = World::new(config);
    world.run();
    let env = &mut world.env;
    Summary {
        seed: world.config.seed,
        oracles: world.oracles,
        epochs: world.config.epochs,
        liars: env.liars.iter().map(|(id, adversary)| (id.0, *adversary)).collect(),
        accepted: env.judge.accepted.len() as u64,
        trace: env.trace.hash(),
        violation: env.judge.violations.first().cloned(),
        coverage: env.coverage.clone(),
        lines: env.trace.lines.take().unwrap_or_default(),
    }
}

/// Sums over many runs.
#[derive(Default, Debug)]
pub struct Total {
    /// Runs.
    pub runs: u64,
    /// Epochs.
    pub epochs: u64,
    /// Of these, with an accepted report.
    pub accepted: u64,
    /// One line for each failed run.
    pub failures: Vec<String>,
    /// What happened how often.
    pub coverage: Coverage,
}

impl Total {
    fn add(&mut self, summary: &Summary) {
        self.runs += 1;
        self.epochs += summary.epochs;
        self.accepted += summary.accepted;
        self.failures.extend(summary.failure());
        self.coverage.merge(&summary.coverage);
    }

    /// A table for people.
    pub fn table(&self) -> String {
        let mut text = format!("{} runs, {} epochs, {} accepted, {} failed\n", self.runs, self.epochs, self.accepted, self.failures.len());
        for (group, name, count) in self.coverage.table() {
            text.push_str(&format!("{group:<10} {name:<24} {count:>10}\n"));
        }
        text
    }

    /// How often a branch was taken.
    pub fn of(&self, branch: Branch) -> u64 {
        self.coverage.of(branch)
    }
}

/// Runs the seeds of a range on some threads. Each run is one thread's alone, so the order of threads changes nothing.
pub fn run_all(seeds: std::ops::Range<u64>, threads: usize, config: impl Fn(u64) -> Config + Sync) -> Total {
    let next = AtomicU64::new(seeds.start);
    let summaries = Mutex::new(Vec::new());
    thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                loop {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed >= seeds.end {
                        return;
                    }
                    let summary = run(config(seed));
                    summaries.lock().unwrap_or_else(PoisonError::into_inner).push(summary);
                }
            });
        }
    });
    let mut summaries = summaries.into_inner().unwrap_or_else(PoisonError::into_inner);
    summaries.sort_by_key(|summary| summary.seed);
    let mut total = Total::default();
    for summary in &summaries {
        total.add(summary);
    }
    total
}
