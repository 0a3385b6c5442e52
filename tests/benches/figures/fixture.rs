//! What the core's figures are measured on: keys, a frozen epoch, observations.

use std::collections::BTreeMap;

use assay_core::bls::SecretKey;
use assay_core::challenge::{Kind, Kinds};
use assay_core::claim::ClaimRoot;
use assay_core::hash::{Hash32, keccak};
use assay_core::ids::{Address, Instance, OracleId, ProviderId};
use assay_core::observation::{Observation, ProviderKeys};
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
        kinds: Kinds::standard(),
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
    let kinds = Kinds::standard();
    let mut observation = Observation::empty(kinds, 0, provider, oracle);
    let mut all = observation.counts.to_vec();
    for counts in &mut all {
        match counts.kind {
            Kind::AVAILABILITY => (counts.scheduled, counts.counted, counts.bad) = (25, 25, vec![seen.unavailable]),
            Kind::LATENCY_ECHO => {
                (counts.scheduled, counts.counted) = seen.latency;
                counts.bad = vec![seen.over.0, seen.over.1, 0];
                counts.readings = vec![seen.p50_us, seen.p50_us.saturating_mul(2)];
            }
            Kind::STORAGE => (counts.scheduled, counts.counted) = (150, 150),
            Kind::INGRESS | Kind::EGRESS => {
                (counts.scheduled, counts.counted, counts.readings) = (20_000, 20_000, vec![30_000]);
            }
            _ => {}
        }
    }
    observation.counts = all.into();
    observation
}
