//! A large close in a process of its own, so that its memory is its own: this program starts itself again.

use std::hint::black_box;
use std::process::Command;
use std::time::Instant;

use assay_core::hash::{Hash32, keccak};
use assay_core::ids::{Address, ProviderId};
use assay_core::merkle;
use assay_core::observation::Observation;
use assay_core::report::{Inputs, Ledger, Outcome, Payee, Standing, Trees};
use assay_tests::baseline::majority;
use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};
use serde::{Deserialize, Serialize};

use crate::epoch::reveals;
use crate::fixture::setting;

/// The word that makes this program close an epoch, say what it took, and end.
pub const CHILD: &str = "close-in-a-child";
const CORES: usize = 2;
const PANEL: u64 = 7;

/// What a child says.
#[derive(Serialize, Deserialize)]
pub struct Closed {
    pub providers: u64,
    /// Of each close: report, roots and all proofs.
    pub seconds: Vec<f64>,
    /// Of each exact-majority evaluation of the same observations.
    pub majority_seconds: Vec<f64>,
    pub majority_decided: usize,
    /// Resident before the first close.
    pub inputs_kib: u64,
    /// The kernel's own peak after the last close.
    pub peak_kib: u64,
}

impl Closed {
    /// Runs a child to its end.
    pub fn in_a_child(providers: u64, samples: usize) -> Self {
        let program = std::env::current_exe().unwrap();
        let output = Command::new(program).arg(CHILD).args([providers.to_string(), samples.to_string()]).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        serde_json::from_slice(&output.stdout).unwrap()
    }
}

/// The child.
pub fn run(providers: u64, samples: usize) {
    on_two_cores();
    let setting = setting(PANEL, providers);
    let reveals = reveals(&setting);
    // Everybody has earned before: the ledger is as large as it gets.
    let standing = Standing { multiplier_ppm: 1_000_000, cumulative: 5, recipient: Address([2; 20]) };
    let everybody = (1..=providers).map(|id| (ProviderId(id), standing)).collect();
    let parent = Ledger { digest: keccak([b"parent"]), providers: everybody, ..Ledger::default() };
    let inputs = Inputs { setting: &setting, view: 0, parent: &parent, bit_votes_root: Hash32::ZERO, reveals: &reveals };
    let inputs_kib = status_kib("VmRSS:");
    let close = || {
        let begun = Instant::now();
        let (outcome, trees) = Outcome::compute_with_trees(black_box(&inputs));
        let proven = all_proofs(&outcome, &trees, &setting.token);
        let seconds = begun.elapsed().as_secs_f64();
        assert_eq!((outcome.verdicts.len(), proven), (providers as usize, 2 * providers as usize));
        assert!(outcome.verdicts.iter().all(|verdict| verdict.dimensions[0].reporting == PANEL as u32));
        is_proven(&outcome, &trees, &setting.token);
        seconds
    };
    let _warm_up = close();
    let seconds = (0..samples).map(|_| close()).collect();
    let peak_kib = status_kib("VmHWM:");
    let mut decided = 0;
    let majority_seconds = (0..samples)
        .map(|_| {
            let begun = Instant::now();
            decided = by_majority(&inputs);
            begun.elapsed().as_secs_f64()
        })
        .collect();
    let closed = Closed { providers, seconds, majority_seconds, majority_decided: decided, inputs_kib, peak_kib };
    println!("{}", serde_json::to_string(&closed).unwrap());
}

/// Makes every proof that a report promises, one after the other; returns how many.
fn all_proofs(outcome: &Outcome, trees: &Trees, token: &Address) -> usize {
    let of = |id: ProviderId| {
        let verdict = trees.verdict_proof(outcome, id).map(|(_, proof)| black_box(proof)).is_some();
        let reward = trees.reward_proof(outcome, Payee::Provider(id), token).map(|(_, proof)| black_box(proof)).is_some();
        usize::from(verdict) + usize::from(reward)
    };
    outcome.verdicts.iter().map(|verdict| of(verdict.provider)).sum()
}

fn is_proven(outcome: &Outcome, trees: &Trees, token: &Address) {
    let last = outcome.verdicts.last().unwrap().provider;
    let (verdict, proof) = trees.verdict_proof(outcome, last).unwrap();
    assert!(merkle::verify(&outcome.report.result_root, &verdict.leaf(), &proof));
    assert_eq!(outcome.ledger.reward_tree(token).root(), outcome.report.reward_root);
}

/// On how many providers more than half of the panel counts exactly the same. All of the committee sits on every panel here.
fn by_majority(inputs: &Inputs<'_>) -> usize {
    let observed: Vec<_> = inputs.reveals.values().map(|verified| &verified.reveal.observations).collect();
    let decided = |at: &usize| {
        let panel: Vec<&Observation> = observed.iter().map(|observations| &observations[*at].observation).collect();
        let counts: Vec<_> = panel.iter().map(|seen| &seen.counts).collect();
        majority::absolute(black_box(&counts)).is_some()
    };
    (0..inputs.setting.providers.len()).filter(decided).count()
}

fn on_two_cores() {
    let all = sched_getaffinity(None).unwrap();
    let mut two = CpuSet::new();
    (0..CpuSet::MAX_CPU).filter(|cpu| all.is_set(*cpu)).take(CORES).for_each(|cpu| two.set(cpu));
    sched_setaffinity(None, &two).unwrap();
}

fn status_kib(field: &str) -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let value = status.lines().find_map(|line| line.strip_prefix(field)).unwrap();
    value.trim().strip_suffix(" kB").unwrap().trim().parse().unwrap()
}
