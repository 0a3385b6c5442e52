//! Closing an epoch.

use std::collections::BTreeMap;
use std::hint::black_box;
use std::time::Duration;

use assay_core::hash::{Hash32, keccak};
use assay_core::ids::{OracleId, ProviderId};
use assay_core::observation::{Reveal, SaltedObservation, Seeds, VerifiedReveal};
use assay_core::report::{Inputs, Ledger, Outcome, Setting};

use crate::epoch_close::Closed;
use crate::fixture::{Seen, observation, setting};
use crate::harness::{Estimate, Plan, alone};
use crate::table::Table;

/// A close takes long enough to be a sample by itself.
const PLAN: Plan = Plan { samples: 21, sample: Duration::ZERO, warm_up: Duration::from_millis(500) };

/// From verified reveals to the report: panels, verdicts, ledger and all roots.
pub fn measure(table: &mut Table) {
    for (key, oracles, what) in [
        ("epoch.close_10k_s", 7, "close an epoch of 10,000 providers, 7 observations each, a committee of 7"),
        ("epoch.close_10k_committee256_s", 256, "the same, panels of 7 drawn from a committee of 256"),
    ] {
        let setting = setting(oracles, 10_000);
        let reveals = reveals(&setting);
        let parent = Ledger::default();
        let inputs = Inputs { setting: &setting, view: 0, parent: &parent, bit_votes_root: Hash32::ZERO, reveals: &reveals };
        let outcome = Outcome::compute(&inputs);
        assert!(outcome.verdicts.len() == 10_000 && outcome.verdicts.iter().all(|verdict| verdict.dimensions[0].reporting == 7));
        table.put(key, alone(PLAN, || Outcome::compute(black_box(&inputs)).verdicts.len() == 10_000), "s", what);
    }
    large(table);
}

/// 100,000 and 1,000,000 providers, each in a process of its own.
fn large(table: &mut Table) {
    let (small, large) = (Closed::in_a_child(100_000, 9), Closed::in_a_child(1_000_000, 3));
    let close = Estimate::median(&small.seconds);
    let observations = (7 * small.providers) as f64;
    let mib = |kib: u64| kib as f64 / 1024.0;
    table.put(
        "epoch.close_100k_s",
        close,
        "s",
        "close 100,000 providers × 7 observations on two cores: report, roots, and two proofs for each",
    );
    table.put_exact("epoch.close_100k_rss_mib", mib(small.peak_kib), "MiB", "peak resident set of that process, the reveals included");
    table.put_exact(
        "epoch.close_100k_inputs_mib",
        mib(small.inputs_kib),
        "MiB",
        "of it before the first close: registry, reveals, the last ledger",
    );
    table.put("epoch.observations_s", close.map(|s| observations / s), "1/s", "observations judged per second of that close");
    table.put(
        "baseline.majority_observations_s",
        Estimate::median(&small.majority_seconds).map(|s| observations / s),
        "1/s",
        "exact-majority evaluation of the same observations on one core, without hashes, roots or a report",
    );
    let decided = small.majority_decided as f64 / small.providers as f64 * 1e6;
    table.put_exact(
        "baseline.majority_decided_ppm",
        decided,
        "ppm",
        "providers on which more than half of the panel says exactly the same",
    );
    let ratio = Estimate::median(&large.seconds).map(|s| s / close.value);
    table.put("epoch.close_1m_over_100k", ratio, "", "time to close 1,000,000 providers / 100,000: 10 is linear");
    table.put_exact("epoch.close_1m_rss_mib", mib(large.peak_kib), "MiB", "peak resident set with 1,000,000 providers");
}

/// What every panel observed. Times differ, so that medians have something to sort.
pub fn reveals(setting: &Setting) -> BTreeMap<OracleId, VerifiedReveal> {
    let seeds = seeds(setting);
    let panels = setting.panels(&seeds.epoch);
    let mut seen: BTreeMap<OracleId, Vec<SaltedObservation>> = setting.members.iter().map(|m| (m.oracle, vec![])).collect();
    for terms in &setting.providers {
        for oracle in panels.of(terms.provider) {
            let observation = observation(terms.provider, oracle, &noisy(terms.provider, oracle));
            seen.entry(oracle).or_default().push(SaltedObservation { observation, salt: Hash32([5; 32]) });
        }
    }
    let verified = |(oracle, mut observations): (OracleId, Vec<SaltedObservation>)| {
        // As they come from the wire, where their number is known beforehand.
        observations.shrink_to_fit();
        let reveal = Reveal { epoch: 0, oracle, seeds: seeds.clone(), observations, vrfs: vec![], facts: vec![], struck: vec![] };
        let commit_digest = keccak([&oracle.0.to_be_bytes()]);
        (oracle, VerifiedReveal { reveal, commit_digest, faults: vec![] })
    };
    seen.into_iter().map(verified).collect()
}

/// The seeds that all of them measured under.
pub fn seeds(setting: &Setting) -> Seeds {
    Seeds { epoch: Hash32([3; 32]), slots: vec![Hash32([4; 32]); setting.params.slots as usize], secure: true }
}

/// What a member of a panel saw: no two see the same.
pub fn noisy(provider: ProviderId, oracle: OracleId) -> Seen {
    let noise = provider.0.wrapping_mul(31).wrapping_add(oracle.0.wrapping_mul(17)) % 13;
    Seen { unavailable: noise / 12, latency: (160, 160 - noise), over: (40 + noise, noise / 3), p50_us: 50_000 + noise }
}
