//! Σ rewards + unallocated = budget, in every report and over all of them.

use assay_core::report::{Outcome, Setting};

use crate::env::Env;

pub const BUDGET: &str = "rewards and what is not allocated are the budget";

pub fn check(env: &mut Env, setting: &Setting, outcome: &Outcome) {
    let providers: u128 = outcome.verdicts.iter().map(|verdict| verdict.reward).sum();
    let oracles = outcome.paid_oracles.len() as u128 * setting.params.oracle_reward;
    let total = outcome.report.reward_total;
    if providers + oracles != total {
        env.judge.fail(BUDGET, env.now_ms, format!("{}: {providers} + {oracles} is not {total}", setting.epoch));
    }
    let Some(unallocated) = setting.epoch_budget.checked_sub(total) else {
        env.judge.fail(BUDGET, env.now_ms, format!("{}: {total} of {} are paid", setting.epoch, setting.epoch_budget));
        return;
    };
    env.judge.unallocated += unallocated;
    let ledger: u128 = outcome.ledger.payees().map(|(_, standing)| standing.cumulative).sum();
    let budgets: u128 =
        env.judge.accepted.keys().copied().collect::<Vec<_>>().into_iter().map(|epoch| env.frames.setting(epoch).epoch_budget).sum();
    if ledger + env.judge.unallocated != budgets {
        let unallocated = env.judge.unallocated;
        env.judge.fail(BUDGET, env.now_ms, format!("{}: {ledger} paid and {unallocated} left of {budgets}", setting.epoch));
    }
}
