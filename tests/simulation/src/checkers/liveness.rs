//! With more than two thirds of weight honest and connected a report lands within D, and no state is final.
//!
//! D, counted from the end of the epoch when its parent is known by the bit-vote's deadline: the first view's end, the views of leaders
//! that are not honest and live (3 s, doubled each time, at most 20 s), the stage of the first live transmitter, the grace for missing
//! signatures, two blocks, and 4 s for messages and polling.

use std::collections::BTreeSet;

use assay_core::epoch::Close;
use assay_core::ids::OracleId;

use crate::coverage::Branch;
use crate::env::Env;

pub const WITHIN_D: &str = "a report lands within D";
pub const NONE_LOST: &str = "no epoch is lost to what passes";
pub const NO_DEAD_END: &str = "no state in which no further report can be accepted";

/// Checks a run that is over. `calm_from` is the first epoch in which no fault strikes any more. A run whose faults pass while each epoch is
/// valid for long enough loses none.
pub fn at_the_end(env: &mut Env, epochs: u64, calm_from: u64, block_ms: u64, loses_none: bool) {
    for epoch in 0..epochs {
        if !env.judge.accepted.contains_key(&epoch) {
            env.coverage.branch(Branch::EpochSkipped);
            if loses_none {
                let now = env.now_ms;
                env.judge.fail(NONE_LOST, now, format!("{epoch} of {epochs}"));
            }
        }
        within_d(env, epoch, block_ms);
    }
    let last = env.judge.accepted.keys().next_back().copied();
    // A skipped epoch holds its successors up until its time is over, three epochs after its end.
    if last.is_none_or(|last| last < calm_from || last + 5 < epochs) {
        let now = env.now_ms;
        env.judge.fail(NO_DEAD_END, now, format!("{epochs} epochs, calm from {calm_from}: the last accepted is {last:?}"));
    }
}

fn within_d(env: &mut Env, epoch: u64, block_ms: u64) {
    let setting = env.frames.setting(epoch);
    let params = &setting.params;
    let end_ms = setting.end_ms();
    // Known early enough: accepted, and final by the bit-votes, which takes the chain's finality.
    let finality_ms = (env.chain.finality as u64 + 2) * block_ms;
    let known_by_s = (end_ms + params.deadlines.bit_vote_ms).saturating_sub(finality_ms) / 1_000;
    let is_parent_known = match epoch.checked_sub(1) {
        None => true,
        Some(before) => env.judge.accepted.get(&before).is_some_and(|accepted| accepted.at_s <= known_by_s),
    };
    if !is_parent_known {
        return;
    }
    let close = Close::new((*setting).clone(), None);
    let until_ms = end_ms + 90_000;
    let is_live = |oracle: OracleId| env.is_honest(oracle) && env.judge.disturbances.is_node_calm(oracle, setting.start_ms(), until_ms);
    let live: BTreeSet<OracleId> = setting.members.iter().map(|member| member.oracle).filter(|oracle| is_live(*oracle)).collect();
    let is_calm = env.judge.disturbances.is_network_calm(end_ms.saturating_sub(2_000), until_ms)
        && env.judge.disturbances.is_chain_calm(end_ms.saturating_sub(10_000), until_ms);
    if !is_calm || !setting.is_quorum(setting.weight_of(&live)) {
        return;
    }
    let is_leader_live = |view: &u64| close.leader(*view).is_some_and(|leader| live.contains(&leader));
    let Some(view) = (0..setting.members.len() as u64).find(is_leader_live) else { return };
    let base_ms = params.deadlines.sign_ms - params.deadlines.bit_vote_ms;
    let views_ms: u64 = (1..=view).map(|view| (base_ms << view.min(20)).min(params.view_cap_ms)).sum();
    let place = close.transmitters().iter().position(|oracle| live.contains(oracle)).unwrap_or(0);
    let stage_ms = u64::from((place + 1).ilog2()) * params.transmit_stage_ms;
    let d_ms = params.deadlines.sign_ms + views_ms + stage_ms + params.signature_grace_ms + 2 * block_ms + 4_000;
    if (end_ms + d_ms) / 1_000 >= setting.valid_until_s() || end_ms + d_ms > env.now_ms {
        return;
    }
    let landed = env.judge.accepted.get(&epoch).map(|accepted| accepted.at_s * 1_000);
    if landed.is_none_or(|at_ms| at_ms > end_ms + d_ms) {
        let now = env.now_ms;
        env.judge.fail(
            WITHIN_D,
            now,
            format!("{epoch}: due {} s after its end, landed {:?}", d_ms / 1_000, landed.map(|at| (at - end_ms) / 1_000)),
        );
    }
}
