//! The oracle as the tests run it: the very same node, with a hook that kills its process at a named point, or one that makes it lie.

use std::io::BufRead;
use std::path::Path;
use std::process::exit;
use std::str::FromStr;
use std::sync::{Arc, Mutex, PoisonError};

use assay_core::hash::Hash32;
use assay_core::observation::{Fact, Observation, Witness};
use assay_daemon::config::ConfigError;
use assay_daemon::persistence::{self, POINTS};
use assay_oracle::app::{self, AppError, Hooks};
use assay_oracle::config::Config;
use assay_oracle::measure::Bend;
use rustix::process::{Signal, getpid, kill_process};

/// Where a process is to die: `POINT`, or `POINT:N` for the N-th time it is passed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct DieAt {
    point: &'static str,
    passes: u64,
}

/// Why the oracle did not run.
#[derive(Debug, thiserror::Error)]
pub enum MortalError {
    /// Its config.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The node.
    #[error(transparent)]
    App(#[from] AppError),
}

impl FromStr for DieAt {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (name, passes) = text.split_once(':').unwrap_or((text, "1"));
        let point = POINTS.iter().find(|point| **point == name);
        let point = point.ok_or_else(|| format!("there is no point {name}; the points are {}", POINTS.join(", ")))?;
        let passes = passes.parse().ok().filter(|passes| *passes > 0);
        let passes = passes.ok_or_else(|| format!("{text}: after the colon goes a number, 1 or more"))?;
        Ok(Self { point, passes })
    }
}

/// What this process dies at.
static ORDER: Mutex<Option<DieAt>> = Mutex::new(None);

fn order(die_at: Option<DieAt>) {
    *ORDER.lock().unwrap_or_else(PoisonError::into_inner) = die_at;
}

/// SIGKILL, as a power cut would end it: nothing is flushed, no destructor runs.
fn passed(point: &'static str) {
    let mut order = ORDER.lock().unwrap_or_else(PoisonError::into_inner);
    let Some(die_at) = order.as_mut().filter(|die_at| die_at.point == point) else { return };
    die_at.passes = die_at.passes.saturating_sub(1);
    if die_at.passes == 0 {
        let _ = kill_process(getpid(), Signal::KILL);
        // The signal reaches this thread at the latest here; it never comes back to write anything.
        loop {
            std::thread::park();
        }
    }
}

/// What a lying oracle makes of what it saw: everything was asked, nothing was bad.
fn perfect(observation: &mut Observation, facts: &mut Vec<Fact>) {
    for counts in &mut observation.counts {
        counts.counted = counts.scheduled;
        counts.bad.fill(0);
    }
    (observation.witness, observation.struck, observation.facts_root) = (Witness::None, Hash32::ZERO, Hash32::ZERO);
    facts.clear();
}

/// Runs an oracle until a signal, or until it passes `die_at`; with `lie` it reports every provider as perfect. With `obey_stdin` a line of standard input, written as `--die-at` is, takes
/// the place of the order before it, and the end of standard input is SIGTERM.
pub async fn run(config: &Path, die_at: Option<DieAt>, lie: bool, obey_stdin: bool) -> Result<(), MortalError> {
    let config: Config = assay_daemon::config::load(config)?;
    order(die_at);
    persistence::install(passed);
    if obey_stdin {
        std::thread::spawn(obey);
    }
    let observe: Option<Bend> = lie.then(|| Arc::new(perfect) as Bend);
    Ok(app::run_with(config, Hooks { observe }).await?)
}

fn obey() {
    for line in std::io::stdin().lock().lines().map_while(Result::ok) {
        match line.parse() {
            Ok(die_at) => order(Some(die_at)),
            Err(problem) => {
                eprintln!("error: {problem}");
                exit(2);
            }
        }
    }
    let _ = kill_process(getpid(), Signal::TERM);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn orders_are_read_and_mistakes_are_named() {
        assert_eq!("evidence.after".parse(), Ok(DieAt { point: "evidence.after", passes: 1 }));
        assert_eq!("statement.before:2".parse(), Ok(DieAt { point: "statement.before", passes: 2 }));
        assert!("evidence".parse::<DieAt>().unwrap_err().contains("evidence.before, evidence.after"));
        assert!("evidence.after:0".parse::<DieAt>().unwrap_err().contains("1 or more"));
    }
}
