//! Honest live oracles are paid and never excluded; who copies earns nothing.

use assay_core::ids::OracleId;
use assay_core::report::{Outcome, Setting};

use crate::adversary::Adversary;
use crate::coverage::Branch;
use crate::env::Env;

pub const LIVE_PAID: &str = "an honest live oracle is paid";
pub const COPIER: &str = "a copier earns no more than a measurer";

pub fn check(env: &mut Env, setting: &Setting, outcome: &Outcome) {
    let deadlines = &setting.params.deadlines;
    let (from_ms, to_ms) = (setting.start_ms(), setting.end_ms() + deadlines.bit_vote_ms);
    let members: Vec<OracleId> = setting.members.iter().map(|member| member.oracle).collect();
    let is_live = |oracle: &&OracleId| env.is_honest(**oracle) && env.judge.disturbances.is_node_calm(**oracle, from_ms, to_ms);
    let live: Vec<OracleId> = members.iter().filter(is_live).copied().collect();
    // A reveal that was lost is sent again within a second or two.
    let is_calm = env.judge.disturbances.is_network_calm(setting.end_ms().saturating_sub(2_000), to_ms);
    if is_calm && setting.is_quorum(setting.weight_of(&live)) {
        for oracle in live.iter().filter(|oracle| !outcome.paid_oracles.contains(oracle)) {
            env.judge.fail(LIVE_PAID, env.now_ms, format!("{oracle} in {}", setting.epoch));
        }
    }
    if outcome.paid_oracles.len() < members.len() {
        env.coverage.branch(Branch::OracleUnpaid);
    }
    let copiers = members.iter().filter(|oracle| env.liars.get(oracle) == Some(&Adversary::Copycat));
    for copier in copiers.filter(|oracle| outcome.paid_oracles.contains(oracle)).copied().collect::<Vec<_>>() {
        env.judge.fail(COPIER, env.now_ms, format!("{copier} is paid in {} for a copy", setting.epoch));
    }
}
