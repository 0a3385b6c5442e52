//! Which report is accepted, what it follows from, and whose reveals it rests on.

use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

use assay_core::epoch::Basis;
use assay_core::hash::Hash32;
use assay_core::ids::OracleId;
use assay_core::report::{Inputs, Ledger, Outcome, Setting};

use crate::coverage::Branch;
use crate::env::Env;

pub const ONE_REPORT: &str = "at most one accepted report per epoch";
pub const COMPUTED: &str = "an accepted report is one that members computed";
pub const IDENTICAL: &str = "identical inputs give byte-identical reports";
pub const CHAINED: &str = "a report follows the last accepted one";
pub const TIMELY: &str = "a timely honest reveal is included";

/// What is final stays, one digest an epoch.
pub fn at_most_one(env: &mut Env, now: &BTreeMap<u64, Hash32>) {
    let changed: Vec<u64> =
        env.judge.accepted.iter().filter(|(epoch, accepted)| now.get(epoch) != Some(&accepted.digest)).map(|(epoch, _)| *epoch).collect();
    for epoch in changed {
        env.judge.fail(ONE_REPORT, env.now_ms, format!("the final report of {epoch} changed to {:?}", now.get(&epoch)));
    }
}

pub fn check(env: &mut Env, setting: &Setting, outcome: &Rc<Outcome>, last: Option<Hash32>) {
    let epoch = setting.epoch;
    let report = &outcome.report;
    if report.parent_digest != last.unwrap_or(Hash32::ZERO) {
        env.judge.fail(CHAINED, env.now_ms, format!("{epoch} follows {}, not {last:?}", report.parent_digest));
        return;
    }
    let parent = match last {
        None => Ledger::default(),
        Some(digest) => {
            let known = env.judge.records.values().find_map(|record| record.outcomes.get(&digest));
            match known {
                Some(parent) => parent.ledger.clone(),
                None => return,
            }
        }
    };
    let Some(basis) = env.judge.records.get(&epoch).and_then(|record| record.bases.get(&outcome.ledger.digest)).cloned() else {
        env.judge.fail(COMPUTED, env.now_ms, format!("nobody proposed the accepted report of {epoch}"));
        return;
    };
    let included = included(setting, &basis);
    let record = env.judge.record(epoch);
    let mut reveals = BTreeMap::new();
    for (oracle, digest) in &included {
        if let Some(verified) = record.reveals.get(&(*oracle, *digest)) {
            reveals.insert(*oracle, (**verified).clone());
        }
    }
    let bit_votes_root = basis.bit_votes_root(&setting.instance);
    let again = Outcome::compute(&Inputs { setting, view: report.view, parent: &parent, bit_votes_root, reveals: &reveals });
    if again != **outcome {
        env.judge.fail(IDENTICAL, env.now_ms, format!("{epoch}: recomputed {}, accepted {}", again.ledger.digest, outcome.ledger.digest));
    }
    timely(env, setting, &included);
    let two_commits = |oracle: &OracleId| basis.commits.iter().filter(|signed| signed.commit.oracle == *oracle).count() > 1;
    for member in setting.members.iter().filter(|member| two_commits(&member.oracle)) {
        env.coverage.branch(Branch::EquivocatorExcluded);
        if included.contains_key(&member.oracle) || outcome.paid_oracles.contains(&member.oracle) {
            env.judge.fail("an equivocator is excluded", env.now_ms, format!("{} committed twice in {epoch}", member.oracle));
        }
    }
}

/// The rule of inclusion, counted here in its own way: more than a third of weight votes for it and for no other of its oracle, and the
/// proposal shows no other. What is counted is in whether or not the proposal carries its commit.
fn included(setting: &Setting, basis: &Basis) -> BTreeMap<OracleId, Hash32> {
    let total: u64 = setting.members.iter().map(|member| u64::from(member.weight)).sum();
    let carried: BTreeSet<(OracleId, Hash32)> =
        basis.commits.iter().map(|signed| (signed.commit.oracle, signed.commit.digest(&setting.instance))).collect();
    let named: BTreeSet<(OracleId, Hash32)> = basis.bit_votes.iter().flat_map(|signed| signed.vote.held.iter().copied()).collect();
    let is_counted = |key: &(OracleId, Hash32)| {
        let voters = basis.bit_votes.iter().filter(|signed| signed.vote.held.contains(key));
        let weight: u64 = voters.filter_map(|signed| setting.member(signed.vote.oracle)).map(|member| u64::from(member.weight)).sum();
        3 * weight > total
    };
    let counted: BTreeSet<(OracleId, Hash32)> = named.into_iter().filter(is_counted).collect();
    let is_single = |key: &&(OracleId, Hash32)| {
        let is_other = |other: &(OracleId, Hash32)| other.0 == key.0 && other.1 != key.1;
        !counted.iter().chain(&carried).any(is_other)
    };
    counted.iter().filter(is_single).copied().collect()
}

/// A reveal that honest oracles of more than two thirds of weight had in time is in: any quorum has more than a third of them.
fn timely(env: &mut Env, setting: &Setting, included: &BTreeMap<OracleId, Hash32>) {
    let votes = env.judge.record(setting.epoch).votes.clone();
    let mut weights: BTreeMap<(OracleId, Hash32), u64> = BTreeMap::new();
    for (voter, held) in &votes {
        for key in held {
            *weights.entry(*key).or_default() += setting.weight_of([voter]);
        }
    }
    for ((oracle, digest), weight) in weights {
        let is_timely = env.is_honest(oracle) && setting.is_quorum(weight);
        if is_timely && included.get(&oracle) != Some(&digest) {
            env.judge.fail(TIMELY, env.now_ms, format!("{oracle} is not in the report of {} that {weight} saw in time", setting.epoch));
        }
    }
}
