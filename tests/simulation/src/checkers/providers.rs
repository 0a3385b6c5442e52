//! Providers here serve well: none is slashed or failed while liars are no more than a panel bears, and what is published of them lies
//! among what honest oracles saw.

use assay_core::challenge::Kind;
use assay_core::ids::{OracleId, ProviderId};
use assay_core::report::{Outcome, Setting};
use assay_core::verdict::Grade;

use crate::coverage::Branch;
use crate::env::Env;

pub const NOT_SLASHED: &str = "an honest provider is never slashed at f liars of its panel";
pub const NOT_FAILED: &str = "an honest provider never fails at f liars of its panel";
pub const HONEST_RANGE: &str = "a published median lies in the honest range";

pub fn check(env: &mut Env, setting: &Setting, outcome: &Outcome, parent: Option<&Outcome>) {
    let is_cleared = |provider: &ProviderId| outcome.verdicts.iter().any(|verdict| verdict.provider == *provider && verdict.slash == 0);
    let gone = parent.into_iter().flat_map(|parent| parent.ledger.watch.keys()).filter(|at| !outcome.ledger.watch.contains_key(at));
    if gone.into_iter().any(is_cleared) {
        env.coverage.branch(Branch::WatchCleared);
    }
    for verdict in &outcome.verdicts {
        let Some(panel) = outcome.panels.get(&verdict.provider) else { continue };
        if !verdict.watched.is_zero() {
            env.coverage.branch(Branch::Watched);
        }
        if !bears(env, setting, panel) {
            continue;
        }
        if verdict.slash > 0 {
            env.judge.fail(NOT_SLASHED, env.now_ms, format!("{} in {}: {:?}", verdict.provider, setting.epoch, verdict.slash_reason));
        }
        if verdict.outcome == Grade::Fail {
            env.judge.fail(NOT_FAILED, env.now_ms, format!("{} in {}", verdict.provider, setting.epoch));
        }
        in_range(env, setting, outcome, verdict.provider, panel, verdict.p50_us);
    }
}

/// Whether no more of the panel lie than it bears: ⌊(k − 1) / 3⌋ of k seats, or less than a third of weight when it is the whole set.
fn bears(env: &Env, setting: &Setting, panel: &[OracleId]) -> bool {
    let liars: Vec<OracleId> = panel.iter().copied().filter(|oracle| !env.is_honest(*oracle)).collect();
    match panel.len() == setting.members.len() {
        true => 3 * setting.weight_of(&liars) < setting.total_weight(),
        false => liars.len() <= panel.len().saturating_sub(1) / 3,
    }
}

fn in_range(env: &mut Env, setting: &Setting, outcome: &Outcome, provider: ProviderId, panel: &[OracleId], median: u64) {
    let is_whole = panel.len() == setting.members.len();
    let votes = |oracle: OracleId| if is_whole { setting.weight_of([&oracle]) } else { 1 };
    let (mut honest, mut lying, mut low, mut high) = (0, 0, u64::MAX, 0);
    let record = env.judge.record(setting.epoch);
    let readings: Vec<(OracleId, u64)> = record
        .reveals
        .values()
        .filter(|verified| panel.contains(&verified.reveal.oracle) && outcome.paid_oracles.contains(&verified.reveal.oracle))
        .filter_map(|verified| {
            let seen = verified.reveal.observations.iter().find(|salted| salted.observation.provider == provider)?;
            let reading = seen.observation.of(Kind::LATENCY_ECHO)?.reading(0);
            (reading > 0).then_some((verified.reveal.oracle, reading))
        })
        .collect();
    for (oracle, reading) in readings {
        if env.is_honest(oracle) {
            honest += votes(oracle);
            low = low.min(reading);
            high = high.max(reading);
        } else {
            lying += votes(oracle);
        }
    }
    if honest > lying && !(low..=high).contains(&median) {
        env.judge.fail(HONEST_RANGE, env.now_ms, format!("{provider} in {}: {median} is not in {low}..={high}", setting.epoch));
    }
}
