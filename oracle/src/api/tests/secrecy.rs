//! Nothing of an epoch leaves before everybody's reveal is due.

use std::sync::Arc;

use assay_core::epoch::Offence;
use assay_core::ids::OracleId;
use serde_json::Value;

use super::world::{EPOCH, World, bundle, setting};
use crate::store::{Store, StoredProof};

fn measured_routes() -> Vec<String> {
    let of_epoch = ["verdicts", "report", "observations", "ledger", "proposal", "beacon", "evidence/1", "evidence/1?oracle=20"]
        .map(|part| format!("/v1/epochs/{EPOCH}/{part}"));
    let of_provider = [format!("/v1/verdicts/1/{EPOCH}"), format!("/v1/verdicts/1/{EPOCH}?claim=1"), format!("/v1/slashes/3/{EPOCH}")];
    of_epoch.into_iter().chain(of_provider).collect()
}

// Defence: `check_revealed` in front of every read of a certified epoch. Without it this test sees 200.
#[tokio::test]
async fn before_the_reveals_every_measured_route_says_when_to_come_back() {
    let world = World::start().await;
    world.accept(EPOCH, world.outcome.ledger.digest).await;
    world.set_now(world.reveals_due_ms() - 1);
    for path in measured_routes() {
        let answer = world.get(&path).await;
        assert_eq!((answer.status, answer.code().as_str()), (425, "too_early"), "{path}");
        assert!(answer.text.contains(&world.reveals_due_ms().to_string()), "{path}: {}", answer.text);
        assert_eq!(answer.headers["retry-after"], "1", "{path}");
    }
    world.set_now(world.reveals_due_ms());
    for path in measured_routes() {
        assert_eq!(world.get(&path).await.status, 200, "{path}");
    }
}

#[tokio::test]
async fn what_was_read_once_is_gone_again_when_the_clock_says_so() {
    let world = World::start().await;
    world.accept(EPOCH, world.outcome.ledger.digest).await;
    for path in measured_routes() {
        assert_eq!(world.get(&path).await.status, 200, "{path}");
    }
    world.set_now(world.reveals_due_ms() - 1);
    for path in measured_routes() {
        assert_eq!(world.get(&path).await.status, 425, "{path}");
    }
}

#[tokio::test]
async fn before_the_reveals_no_list_knows_the_epoch() {
    let world = World::start().await;
    world.accept(EPOCH, world.outcome.ledger.digest).await;
    world.set_now(world.reveals_due_ms() - 1);
    assert_eq!(world.read("/v1/epochs").await["epochs"], serde_json::json!([]));
    assert_eq!(world.refused("/v1/rewards/provider/1").await, (404, "not_found".to_owned()));
    let provider = world.read("/v1/providers/3").await;
    assert_eq!((&provider["last_verdict"], &provider["p50_us"]), (&Value::Null, &Value::Null));
    assert_eq!((&provider["storage"]["valid"], &provider["storage"]["epochs"]), (&0.into(), &0.into()));
    assert_eq!(provider["cumulative_reward"], "0");
    let digest = world.outcome.ledger.digest.to_string();
    for path in ["/v1/epochs/7", "/v1/providers", "/healthz"] {
        assert!(!world.get(path).await.text.contains(&digest), "{path}");
    }
}

// Defence: evidence answers by epoch, and an early question learns not even that the bundle exists.
#[tokio::test]
async fn unrevealed_evidence_answers_like_unknown_evidence() {
    let world = World::start().await;
    let path = format!("/v1/evidence/{}", bundle(EPOCH).digest);
    assert_eq!(world.get(&path).await.status, 200);
    world.set_now(world.reveals_due_ms() - 1);
    let (early, unknown) = (world.get(&path).await, world.get(&format!("/v1/evidence/0x{}", "11".repeat(32))).await);
    assert_eq!((early.status, early.text), (404, unknown.text));
    assert_eq!(unknown.status, 404);
}

#[tokio::test]
async fn an_epoch_without_setting_opens_only_when_it_is_long_past() {
    let world = World::start().await;
    let path = format!("/v1/epochs/{EPOCH}/verdicts");
    world.view.settings.lock().unwrap().clear();
    assert_eq!(world.refused(&path).await, (404, "not_found".to_owned()), "the node knows no time at all");
    for (present, status) in [(EPOCH + 1, 404), (EPOCH + 2, 404), (EPOCH + 3, 200)] {
        *world.view.settings.lock().unwrap() = [(present, Arc::new(setting(present)))].into();
        world.view.health.lock().unwrap().epoch = present;
        assert_eq!(world.get(&path).await.status, status, "at epoch {present}");
    }
    let summary = world.read(&format!("/v1/epochs/{EPOCH}")).await;
    assert_eq!((&summary["times"], &summary["report"]["signers"]), (&Value::Null, &Value::Null));
    assert_eq!(summary["report"]["signer_bits"], serde_json::json!([0, 1, 2]));
    world.accept(EPOCH, world.outcome.ledger.digest).await;
    assert_eq!(world.get("/v1/rewards/provider/1").await.status, 200, "the present setting names the token");
}

// Defence: `check_revealed` in both routes. A proof may hold a reveal.
#[tokio::test]
async fn proofs_of_misbehaviour_wait_for_the_reveals() {
    let world = World::start().await;
    let held = StoredProof { epoch: EPOCH, oracle: OracleId(3), offence: Offence::TwoCommits, proof: b"proof".to_vec() };
    world.store.put_proof(&held).await.unwrap();
    world.store.put_proof(&StoredProof { proof: b"another".to_vec(), ..held.clone() }).await.unwrap();
    let list = format!("/v1/epochs/{EPOCH}/misbehaviour");
    let expected = serde_json::json!({"epoch": EPOCH, "items": [{"oracle": 3, "offence": "two_commits", "bytes": 5}]});
    assert_eq!(world.read(&list).await, expected, "the first of its kind stays");
    assert_eq!(world.get(&format!("{list}/3/two_commits")).await.text, "proof");
    assert_eq!(world.get(&format!("{list}/3/two_reports")).await.status, 404);
    world.set_now(world.reveals_due_ms() - 1);
    for path in [list.clone(), format!("{list}/3/two_commits")] {
        assert_ne!(world.get(&path).await.status, 200, "{path}");
    }
}
