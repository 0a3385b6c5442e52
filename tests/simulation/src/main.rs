//! `assay-sim`: runs seeds, and says what happened.

use std::io::Write;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use assay_simulation::{Config, Summary, run, watch_all};

/// Between two words about how far it is.
const EVERY: Duration = Duration::from_secs(25);

const USAGE: &str = "assay-sim [--seed S [--trace]] [--runs N] [--epochs N] [--oracles A..B] [--providers N] [--threads N]
  --seed S       one run; 0x and hex digits, or decimal
  --trace        every line of it
  --runs N       so many runs from seed 0 on, or from --seed
  --epochs N     epochs of a run (20), the last 7 calm
  --oracles A..B committee sizes (4..31)
  --providers N  providers (2)
  --threads N    threads (2)";

struct Options {
    seed: Option<u64>,
    runs: Option<u64>,
    threads: usize,
    config: Config,
}

fn main() -> ExitCode {
    let options = match parse(std::env::args().skip(1)) {
        Ok(options) => options,
        Err(problem) => {
            eprintln!("{problem}\n{USAGE}");
            return ExitCode::from(2);
        }
    };
    match (options.seed, options.runs) {
        (Some(seed), None) => one(Config { seed, ..options.config }),
        (seed, runs) => many(seed.unwrap_or(0), runs.unwrap_or(100), options.threads, &options.config),
    }
}

fn one(config: Config) -> ExitCode {
    let began = Instant::now();
    let summary = run(config);
    for line in &summary.lines {
        println!("{line}");
    }
    let hash: String = summary.trace.iter().map(|byte| format!("{byte:02x}")).collect();
    println!(
        "seed 0x{:x}: {} oracles, {} of {} epochs accepted, trace {hash}",
        summary.seed, summary.oracles, summary.accepted, summary.epochs
    );
    println!("liars: {:?}", summary.liars);
    println!("{:.1} s", began.elapsed().as_secs_f64());
    match summary.failure() {
        Some(line) => {
            println!("FAILED {line}");
            ExitCode::FAILURE
        }
        None => ExitCode::SUCCESS,
    }
}

fn many(first: u64, runs: u64, threads: usize, config: &Config) -> ExitCode {
    let began = Instant::now();
    let mut progress = Progress { began, told: began, runs: 0, epochs: 0, failed: 0 };
    let seeds = first..first.saturating_add(runs);
    let total = watch_all(seeds, threads, |seed| Config { seed, is_traced: false, ..config.clone() }, |over| progress.tell(over, runs));
    print!("{}", total.table());
    let seconds = began.elapsed().as_secs_f64();
    println!("{seconds:.1} s, {:.1} epochs/s", total.epochs as f64 / seconds);
    for failure in &total.failures {
        println!("FAILED {failure}");
    }
    if total.failures.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// What is said while it runs: failures at once, how far it is at least every minute.
struct Progress {
    began: Instant,
    told: Instant,
    runs: u64,
    epochs: u64,
    failed: u64,
}

impl Progress {
    fn tell(&mut self, over: Option<&Summary>, of: u64) {
        self.runs += u64::from(over.is_some());
        self.epochs += over.map_or(0, |summary| summary.epochs);
        if let Some(failure) = over.and_then(Summary::failure) {
            self.failed += 1;
            say(&format!("FAILED {failure}"));
        }
        if self.told.elapsed() >= EVERY {
            self.told = Instant::now();
            let seconds = self.began.elapsed().as_secs_f64();
            let rate = self.epochs as f64 / seconds;
            say(&format!("{seconds:.0} s: {} of {of} runs, {} epochs, {rate:.1} epochs/s, {} failed", self.runs, self.epochs, self.failed));
        }
    }
}

/// Writes a line and flushes it: into a file, too, it can be read while the run goes on.
fn say(line: &str) {
    let mut out = std::io::stdout().lock();
    // Whoever closed our output wants no more of it.
    let _ = writeln!(out, "{line}").and_then(|()| out.flush());
}

fn parse(mut arguments: impl Iterator<Item = String>) -> Result<Options, String> {
    let mut options = Options { seed: None, runs: None, threads: 2, config: Config::of_seed(0) };
    while let Some(name) = arguments.next() {
        if name == "--trace" {
            options.config.is_traced = true;
            continue;
        }
        let value = arguments.next().ok_or(format!("{name} needs a value"))?;
        match name.as_str() {
            "--seed" => options.seed = Some(number(&value)?),
            "--runs" => options.runs = Some(number(&value)?),
            "--epochs" => options.config.epochs = number(&value)?,
            "--providers" => options.config.providers = number(&value)?,
            "--threads" => options.threads = number(&value)? as usize,
            "--oracles" => {
                let (low, high) = value.split_once("..").ok_or("--oracles needs a range such as 4..31")?;
                options.config.oracles = (number(low)?, number(high)?);
            }
            _ => return Err(format!("{name} is not an option")),
        }
    }
    options.config.calm_epochs = options.config.calm_epochs.min(options.config.epochs);
    Ok(options)
}

fn number(text: &str) -> Result<u64, String> {
    let parsed = match text.strip_prefix("0x") {
        Some(digits) => u64::from_str_radix(digits, 16),
        None => text.parse(),
    };
    parsed.map_err(|_| format!("{text} is no number"))
}
