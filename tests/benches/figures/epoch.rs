//! Closing an epoch.

use std::collections::BTreeMap;
use std::hint::black_box;
use std::time::Duration;

use assay_core::hash::{Hash32, keccak};
use assay_core::ids::{OracleId, ProviderId};
use assay_core::observation::{Reveal, SaltedObservation, Seeds, VerifiedReveal};
use assay_core::report::{Inputs, Ledger, Outcome, Setting};

use crate::fixture::{Seen, observation, setting};
use crate::harness::{Plan, alone};
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
}

/// What every panel observed. Times differ, so that medians have something to sort.
fn reveals(setting: &Setting) -> BTreeMap<OracleId, VerifiedReveal> {
    let seeds = Seeds { epoch: Hash32([3; 32]), slots: vec![Hash32([4; 32]); setting.params.slots as usize], secure: true };
    let mut seen: BTreeMap<OracleId, Vec<SaltedObservation>> = setting.members.iter().map(|m| (m.oracle, vec![])).collect();
    for terms in &setting.providers {
        for oracle in setting.panel(&seeds.epoch, terms.provider) {
            let observation = observation(terms.provider, oracle, &noisy(terms.provider, oracle));
            seen.entry(oracle).or_default().push(SaltedObservation { observation, salt: Hash32([5; 32]) });
        }
    }
    let verified = |(oracle, observations): (OracleId, _)| {
        let reveal = Reveal { epoch: 0, oracle, seeds: seeds.clone(), observations, vrfs: vec![], facts: vec![], struck: vec![] };
        let commit_digest = keccak([&oracle.0.to_be_bytes()]);
        (oracle, VerifiedReveal { reveal, commit_digest, faults: vec![] })
    };
    seen.into_iter().map(verified).collect()
}

fn noisy(provider: ProviderId, oracle: OracleId) -> Seen {
    let noise = provider.0.wrapping_mul(31).wrapping_add(oracle.0.wrapping_mul(17)) % 13;
    Seen { unavailable: noise / 12, latency: (160, 160 - noise), over: (40 + noise, noise / 3), p50_us: 50_000 + noise }
}
