//! The beacon client against a real beacon, and against relays that lie.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

use assay_oracle::beacon::{BeaconClient, BeaconError, RelayFault};
use assay_tests::beacon::{Beacon, BeaconKey, serve_beacon};
use axum::Router;
use axum::http::StatusCode;
use serde_json::json;
use tokio::net::TcpListener;
use tokio_util::sync::{CancellationToken, DropGuard};

struct Relay {
    url: String,
    _end: DropGuard,
}

fn now_s() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs()
}

fn beacon(seed: u8) -> Beacon {
    Beacon::new(BeaconKey::from_seed(&[seed; 32]).unwrap(), now_s() - 100, 1)
}

async fn listener() -> (TcpListener, SocketAddr) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let addr = listener.local_addr().unwrap();
    (listener, addr)
}

async fn relay(beacon: &Beacon) -> Relay {
    let (listener, addr) = listener().await;
    let token = CancellationToken::new();
    tokio::spawn(serve_beacon(listener, beacon.clone(), token.clone()));
    Relay { url: format!("http://{addr}"), _end: token.drop_guard() }
}

/// Answers everything with this status and body.
async fn liar(status: StatusCode, body: String) -> Relay {
    let (listener, addr) = listener().await;
    let token = CancellationToken::new();
    let router = Router::new().fallback(move || async move { (status, body) });
    let ended = token.clone();
    tokio::spawn(async move { axum::serve(listener, router).with_graceful_shutdown(ended.cancelled_owned()).await });
    Relay { url: format!("http://{addr}"), _end: token.drop_guard() }
}

fn only_fault(error: BeaconError) -> RelayFault {
    match error {
        BeaconError::AllRelays(mut failures) if failures.len() == 1 => failures.remove(0).fault,
        other => panic!("{other}"),
    }
}

#[tokio::test]
async fn rounds_are_verified_and_remembered() {
    let beacon = beacon(1);
    let relay = relay(&beacon).await;
    let client = BeaconClient::connect(&beacon.config(vec![relay.url.clone()])).await.unwrap();
    assert_eq!(client.info(), beacon.info());
    let round = client.round(7).await.unwrap();
    assert_eq!(round.number, 7);
    let latest = client.latest().await.unwrap();
    assert!((100..=110).contains(&latest.number), "{}", latest.number);
    assert!(matches!(client.round(1_000_000).await, Err(BeaconError::TooEarly(1_000_000))));
    drop(relay);
    assert_eq!(client.round(7).await.unwrap(), round, "from memory, the relay is gone");
}

#[tokio::test]
async fn another_chain_is_refused_by_name() {
    let (ours, theirs) = (beacon(1), beacon(2));
    let relay = relay(&theirs).await;
    // It has no such path.
    let error = BeaconClient::connect(&ours.config(vec![relay.url.clone()])).await.err().unwrap();
    assert!(error.to_string().contains(&relay.url), "{error}");
    // It answers with its own /info under our path.
    let info = reqwest::get(format!("{}/{}/info", relay.url, hex::encode(theirs.chain_hash().0))).await.unwrap();
    let info = info.text().await.unwrap();
    let lying = liar(StatusCode::OK, info.clone()).await;
    let fault = only_fault(BeaconClient::connect(&ours.config(vec![lying.url.clone()])).await.err().unwrap());
    assert!(matches!(fault, RelayFault::OtherChain { .. }), "{fault}");
}

// Defence: the recomputed chain hash. Without it a relay shifts every round by lying about genesis.
#[tokio::test]
async fn a_shifted_genesis_is_refused() {
    let beacon = beacon(1);
    let honest = relay(&beacon).await;
    let info = reqwest::get(format!("{}/{}/info", honest.url, hex::encode(beacon.chain_hash().0))).await.unwrap();
    let genesis = beacon.info().genesis_s;
    let shifted = info.text().await.unwrap().replace(&genesis.to_string(), &(genesis - 1).to_string());
    let lying = liar(StatusCode::OK, shifted).await;
    let fault = only_fault(BeaconClient::connect(&beacon.config(vec![lying.url.clone()])).await.err().unwrap());
    assert!(matches!(fault, RelayFault::OtherChain { what: "the hash of its genesis, period and key", .. }), "{fault}");
    let both = beacon.config(vec![lying.url.clone(), honest.url.clone()]);
    assert_eq!(BeaconClient::connect(&both).await.unwrap().info(), beacon.info());
}

#[tokio::test]
async fn a_lying_relay_is_named_and_the_next_one_is_asked() {
    let beacon = beacon(1);
    let honest = relay(&beacon).await;
    let other = BeaconKey::from_seed(&[9; 32]).unwrap();
    let other = Beacon::new(other, beacon.info().genesis_s, 1);
    let forged = relay(&other).await;
    let path = format!("{}/{}/public/5", forged.url, hex::encode(other.chain_hash().0));
    let forged_round = reqwest::get(path).await.unwrap().text().await.unwrap();
    let wrong_number = forged_round.replace("\"round\":5", "\"round\":6");
    let cases = [
        (StatusCode::OK, forged_round, "signature that does not verify"),
        (StatusCode::OK, wrong_number, "round 6 when asked for round 5"),
        (StatusCode::OK, json!({ "round": 5, "signature": "zz" }).to_string(), "not hex"),
        (StatusCode::OK, "<html>".into(), "not drand's JSON"),
        (StatusCode::OK, "x".repeat(20_000), "more than 16384 bytes"),
        (StatusCode::BAD_GATEWAY, String::new(), "status 502"),
    ];
    for (status, body, expected) in cases {
        let lying = liar(status, body).await;
        let alone = BeaconClient::with_info(&beacon.config(vec![lying.url.clone()]), beacon.info().clone()).unwrap();
        let error = alone.round(5).await.unwrap_err().to_string();
        assert!(error.contains(expected) && error.contains(&lying.url), "{error} should contain {expected}");
        let config = beacon.config(vec![lying.url.clone(), honest.url.clone()]);
        let both = BeaconClient::with_info(&config, beacon.info().clone()).unwrap();
        assert_eq!(both.round(5).await.unwrap().number, 5);
    }
}

#[tokio::test]
async fn an_absent_relay_is_passed_over() {
    let beacon = beacon(1);
    let (gone, addr) = listener().await;
    drop(gone);
    let honest = relay(&beacon).await;
    let client = BeaconClient::connect(&beacon.config(vec![format!("http://{addr}"), honest.url.clone()])).await.unwrap();
    assert_eq!(client.round(3).await.unwrap().number, 3);
}

// Defence: `HEDGE`. Without it a relay that accepts connections and never answers delays every round by its timeout, and the epoch is measured
// under the fallback seed, which cannot slash.
#[tokio::test]
async fn a_relay_that_never_answers_is_not_waited_for() {
    let beacon = beacon(1);
    let (mute, addr) = listener().await;
    let held = Arc::new(AtomicUsize::new(0));
    let holding = held.clone();
    tokio::spawn(async move {
        while let Ok((mut connection, _)) = mute.accept().await {
            holding.fetch_add(1, Ordering::SeqCst);
            let holding = holding.clone();
            tokio::spawn(async move {
                // Until the client gives up.
                let _ = tokio::io::copy(&mut connection, &mut tokio::io::sink()).await;
                holding.fetch_sub(1, Ordering::SeqCst);
            });
        }
    });
    // What the honest relay saw of the mute one when it was asked itself.
    let (seen, count) = (Arc::new(AtomicUsize::new(0)), held.clone());
    let (behind, honest_addr) = listener().await;
    let (honest, noting) = (relay(&beacon).await, seen.clone());
    let url = honest.url.clone();
    let router = Router::new().fallback(move |uri: axum::http::Uri| async move {
        noting.fetch_add(count.load(Ordering::SeqCst), Ordering::SeqCst);
        reqwest::get(format!("{url}{uri}")).await.unwrap().text().await.unwrap()
    });
    tokio::spawn(async move { axum::serve(behind, router).await });
    let config = beacon.config(vec![format!("http://{addr}"), format!("http://{honest_addr}")]);
    let client = BeaconClient::with_info(&config, beacon.info().clone()).unwrap();
    assert_eq!(client.round(3).await.unwrap().number, 3);
    assert_eq!(seen.load(Ordering::SeqCst), 1, "the honest one was asked while the mute one still held its question");
}
