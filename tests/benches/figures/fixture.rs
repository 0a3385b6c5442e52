//! What the core's figures are measured on: keys, a frozen epoch, observations.

use std::collections::BTreeMap;

use assay_core::bls::SecretKey;
use assay_core::claim::ClaimRoot;
use assay_core::hash::{Hash32, keccak};
use assay_core::ids::{Address, Instance, OracleId, ProviderId};
use assay_core::observation::{Observation, ProviderKeys, Tally};
use assay_core::params::{Params, TOKEN};
use assay_core::report::{Inputs, Ledger, Member, Outcome, ProviderTerms, Report, Setting};

/// The verdict key of an oracle.
pub fn oracle_key(number: u64) -> SecretKey {
    SecretKey::key_gen(&keccak([b"bench oracle", &number.to_be_bytes()]).0).unwrap()
}

/// An epoch with that many oracles of equal weight and that many providers of one class.
pub fn setting(oracles: u64, providers: u64) -> Setting {
    let member = |id: u64| Member {
        oracle: OracleId(id),
        weight: 100,
        key: oracle_key(id).public_key(),
        operator: Address(keccak([&id.to_be_bytes()]).0[..20].try_into().unwrap()),
        recipient: Address([1; 20]),
        network_group: id,
    };
    let claims = ClaimRoot { hash: Hash32([1; 32]), blocks: 10 };
    let keys = ProviderKeys { receipt_key: Address([50; 20]), class_id: 100, claims };
    let terms = |id| ProviderTerms { provider: ProviderId(id), class_id: 100, keys, stake: 1_000 * TOKEN, recipient: Address([2; 20]) };
    Setting {
        instance: Instance { chain_id: 31_337, settlement: Address([7; 20]) },
        epoch: 0,
        genesis_s: 1_000,
        params: Params::devnet(),
        token: Address([8; 20]),
        epoch_budget: 10_000_000 * TOKEN,
        set_epoch: 1,
        members: (1..=oracles).map(member).collect(),
        providers: (1..=providers).map(terms).collect(),
        ref_block: 5,
        ref_block_hash: Hash32([2; 32]),
        drand_round: 9,
    }
}

/// The report of an epoch in which nobody revealed anything.
pub fn empty_report(setting: &Setting) -> Report {
    let inputs = Inputs { setting, view: 0, parent: &Ledger::default(), bit_votes_root: Hash32::ZERO, reveals: &BTreeMap::new() };
    Outcome::compute(&inputs).report
}

/// What one oracle says of one provider, as far as it matters here.
#[derive(Clone, Copy)]
pub struct Seen {
    /// Of 25 availability probes, unanswered.
    pub unavailable: u64,
    /// Latency probes scheduled and counted.
    pub latency: (u64, u64),
    /// Of the counted, slower than T50 and T95.
    pub over: (u64, u64),
    /// Median round trip, µs.
    pub p50_us: u64,
}

/// The only place here that knows what an [`Observation`] is made of.
pub fn observation(provider: ProviderId, oracle: OracleId, seen: &Seen) -> Observation {
    let mut observation = Observation::empty(0, provider, oracle);
    (observation.availability_scheduled, observation.availability) = (25, Tally { counted: 25, bad: seen.unavailable });
    (observation.latency_scheduled, observation.latency_counted) = seen.latency;
    (observation.over_t50, observation.over_t95) = seen.over;
    (observation.p50_us, observation.p95_us) = (seen.p50_us, seen.p50_us.saturating_mul(2));
    (observation.storage_scheduled, observation.storage_valid) = (150, 150);
    observation
}
