//! Runs: what a seed stands for, many seeds on some threads, and what is said of them.

use std::ops::Range;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread;
use std::time::Duration;

use assay_core::epoch::Close;

use crate::adversary::Adversary;
use crate::checkers::Violation;
use crate::coverage::{Branch, Coverage};
use crate::faults::Fault;
use crate::prng::Prng;
use crate::world::World;

/// Sizes of committees, small ones more often.
const SIZES: [u64; 16] = [4, 4, 4, 5, 5, 6, 7, 7, 7, 8, 10, 10, 13, 16, 22, 31];

/// Whoever watches hears something at least this often.
const SILENCE: Duration = Duration::from_secs(30);

/// Who lies.
#[derive(Clone, Debug)]
pub enum Liars {
    /// Nobody.
    None,
    /// Less than a third of weight, each in its own way.
    Some,
    /// Less than a third of weight, all in one way.
    All(Adversary),
    /// These.
    These(Vec<(u64, Adversary)>),
    /// So many thousandths of weight, all in one way: liveness is not promised.
    Beyond(Adversary, u64),
}

/// A fault at a chosen moment, for runs that aim at something.
#[derive(Clone, Debug)]
pub struct Strike {
    /// What strikes.
    pub fault: Fault,
    /// From when, ms; see [`Config::end_ms`].
    pub from_ms: u64,
    /// Until when, ms.
    pub to_ms: u64,
    /// Whom.
    pub victims: Vec<u64>,
    /// A fault that is tied to an effect lets so many of them pass.
    pub skip: u32,
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
    /// Faults besides those of the seed.
    pub script: Vec<Strike>,
    /// All weigh the same, whatever the seed says.
    pub is_unweighted: bool,
    /// Each epoch's report must land: no fault lasts as long as a report is valid.
    pub loses_none: bool,
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
            script: Vec::new(),
            is_unweighted: false,
            loses_none: false,
            is_traced: false,
        }
    }

    /// A run without faults or liars but those that are named later, which loses no epoch.
    pub fn calm(seed: u64, oracles: u64, epochs: u64) -> Self {
        let (liars, faults) = (Liars::None, Vec::new());
        Self {
            epochs,
            calm_epochs: epochs,
            oracles: (oracles, oracles),
            liars,
            faults,
            is_unweighted: true,
            loses_none: true,
            ..Self::of_seed(seed)
        }
    }

    /// When an epoch ends, ms of simulated time.
    pub fn end_ms(&self, epoch: u64) -> u64 {
        World::new(self.clone()).env.frames.end_ms(epoch)
    }

    /// Who leads a view of an epoch.
    pub fn leader(&self, epoch: u64, view: u64) -> u64 {
        let setting = World::new(self.clone()).env.frames.setting(epoch);
        Close::new((*setting).clone(), None).leader(view).map_or(0, |leader| leader.0)
    }

    /// The command that runs it again.
    fn command(&self) -> String {
        let usual = Self::of_seed(self.seed);
        let (seed, epochs, (low, high), providers) = (self.seed, self.epochs, self.oracles, self.providers);
        if (epochs, (low, high), providers) == (usual.epochs, usual.oracles, usual.providers) {
            return format!("make sim SEED=0x{seed:x}");
        }
        format!("assay-sim --seed 0x{seed:x} --epochs {epochs} --oracles {low}..{high} --providers {providers}")
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
    /// The command that runs it again.
    command: String,
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
        Some(format!("{}  # {}: {}", self.command, violation.invariant, violation.detail))
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
        command: world.config.command(),
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
pub fn run_all(seeds: Range<u64>, threads: usize, config: impl Fn(u64) -> Config + Sync) -> Total {
    watch_all(seeds, threads, config, |_| {})
}

/// The same, and tells of each run that is over, or of none after so long.
pub fn watch_all(
    seeds: Range<u64>,
    threads: usize,
    config: impl Fn(u64) -> Config + Sync,
    mut watch: impl FnMut(Option<&Summary>),
) -> Total {
    let next = AtomicU64::new(seeds.start);
    let mut summaries = Vec::new();
    thread::scope(|scope| {
        let (done, finished) = mpsc::channel();
        for _ in 0..threads {
            let (done, next, config) = (done.clone(), &next, &config);
            scope.spawn(move || {
                loop {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    // Nobody listens any more only when a run has panicked.
                    if seed >= seeds.end || done.send(run(config(seed))).is_err() {
                        return;
                    }
                }
            });
        }
        drop(done);
        loop {
            match finished.recv_timeout(SILENCE) {
                Ok(summary) => {
                    watch(Some(&summary));
                    summaries.push(summary);
                }
                Err(RecvTimeoutError::Timeout) => watch(None),
                Err(RecvTimeoutError::Disconnected) => break,
            }
        }
    });
    summaries.sort_by_key(|summary| summary.seed);
    let mut total = Total::default();
    for summary in &summaries {
        total.add(summary);
    }
    total
}
