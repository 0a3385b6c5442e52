//! What the aggregation court is held against: the critical counts, and panels with their verdicts.

use assay_core::challenge::Stream;
use assay_core::ids::ProviderId;
use assay_core::verdict::CRITICAL_COUNTS;
use serde_json::{Value, json};

use crate::judgement_cases::{CLASS, Judgement, Spread, of_committee};
use crate::{hold, shown};

#[test]
fn judgements_do_not_drift() {
    let tables: Vec<Value> =
        CRITICAL_COUNTS.iter().map(|(allowed_ppm, largest)| json!({ "allowedPpm": allowed_ppm, "largest": largest })).collect();
    hold(
        "judgement.json",
        &json!({
            "note": "Made by core/tests/vectors/judgement.rs. Committees have the ids from 1 on, all of weight 65535.",
            "criticalCounts": tables,
            "cases": [
                case("the whole set of fifteen", 15, 15, 1),
                case("fifteen drawn of sixteen", 16, 15, 1),
                case("the first epoch, four of seven", 7, 4, 0),
            ],
        }),
    );
}

/// The first panel of this size with a fault that is nobody's fact, or a fine of some kind: not everything passes.
fn case(what: &str, members: u64, seats: u64, epoch: u64) -> Value {
    let committee: Vec<(u64, u16)> = (1..=members).map(|id| (id, u16::MAX)).collect();
    let drawn = (0u64..).map(|seed| {
        let stream = &mut Stream::new(&[b"judgement vectors", what.as_bytes(), &seed.to_be_bytes()]);
        of_committee(stream, Spread::Usual, (epoch, ProviderId(1)), committee.clone(), seats)
    });
    let is_telling = |judged: &Judgement| {
        let verdict = &judged.verdict;
        let all_present = judged.present().count_ones() as u64 == seats;
        let is_of_its_epoch = judged.previous_ppm.is_some() == (epoch > 0);
        all_present && is_of_its_epoch && verdict.slash == 0 && (1..1_000_000).contains(&verdict.multiplier_ppm)
    };
    let judged = drawn.into_iter().find(is_telling).unwrap();
    let verdict = &judged.verdict;
    json!({
        "what": what,
        "members": members,
        "seats": seats,
        "present": judged.present(),
        "observations": shown(&judged.packed()),
        "panelLeaf": judged.panel_leaf(),
        "classId": CLASS,
        "params": shown(&judged.params_words()),
        "paramsHash": judged.params.hash(),
        "secure": judged.secure,
        "previousPpm": judged.previous_ppm,
        "verdict": {
            "providerId": verdict.provider,
            "epoch": verdict.epoch,
            "outcome": verdict.outcome as u8,
            "multiplierPpm": verdict.multiplier_ppm,
            "reward": verdict.reward.to_string(),
            "slash": verdict.slash.to_string(),
            "dimensions": verdict.dimensions_word(),
            "leaf": verdict.leaf(),
        },
        "dimensions": shown(&judged.dimensions()),
    })
}
