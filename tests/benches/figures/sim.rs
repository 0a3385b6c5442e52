//! The committee's simulator: how many epochs it closes.

use std::time::Instant;

use assay_simulation::{Config, run_all};

use crate::harness::Estimate;
use crate::table::Table;

/// The same seeds in every sample: committees of 4 to 31 with faults and liars, as `make sim` runs them.
const RUNS: u64 = 6;
const SAMPLES: usize = 5;
const THREADS: usize = 2;

/// Simulated epochs per second of the clock.
pub fn measure(table: &mut Table) {
    let sample = || {
        let begun = Instant::now();
        let total = run_all(0..RUNS, THREADS, Config::of_seed);
        assert!(total.failures.is_empty(), "{}", total.failures.join("\n"));
        total.epochs as f64 / begun.elapsed().as_secs_f64()
    };
    let rates: Vec<f64> = (0..SAMPLES).map(|_| sample()).collect();
    table.put(
        "sim.epochs_s",
        Estimate::median(&rates),
        "1/s",
        "simulated epochs per second, 4 to 31 oracles with faults and liars, two threads",
    );
}
