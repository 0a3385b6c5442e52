//! What keeps an oracle from starting: keys, config, ports, chain, beacon.

use std::fs;

use assay_daemon::keystore::{self, Kdf, Password};
use assay_oracle::signer::Protection;
use assay_tests::beacon::{Beacon, BeaconKey};
use assay_tests::ports::free_port;
use axum::extract::{Path, State};
use axum::routing::get;
use axum::{Json, Router};
use serde_json::Value;
use tokio::net::TcpListener;

use crate::world::{Setup, assert_says, files, key, program, refused, served, world};

// ---- keys

#[tokio::test(flavor = "multi_thread")]
async fn a_missing_key_file() {
    let setup = Setup::new(1).await;
    for name in ["verdict.json", "transmitter.json"] {
        fs::rename(setup.path(name), setup.path("elsewhere")).unwrap();
        assert_says(&setup.refused().await, &[&setup.shown(name), "does not exist", "correct the path"]);
        fs::rename(setup.path("elsewhere"), setup.path(name)).unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_file_that_is_none() {
    let setup = Setup::new(1).await;
    for garbage in ["", "not JSON", "{\"version\": 4}"] {
        fs::write(setup.path("verdict.json"), garbage).unwrap();
        assert_says(&setup.refused().await, &[&setup.shown("verdict.json"), "is not a keystore", "name the JSON file"]);
    }
    fs::copy(setup.path("transmitter.json"), setup.path("verdict.json")).unwrap();
    assert_says(&setup.refused().await, &[&setup.shown("verdict.json"), "version 3", "wanted an EIP-2335", "names the wrong file"]);
}

// Defence: `identity::check`; without it the node runs and every peer refuses what it signs.
#[tokio::test(flavor = "multi_thread")]
async fn a_verdict_key_that_is_not_the_registered_one() {
    let mut setup = Setup::with_key(1, &key(7)).await;
    let (held, registered) = (format!("{:?}", key(7).public_key()), format!("{:?}", key(1).public_key()));
    let message = setup.refused().await;
    assert_says(&message, &["keys.verdict", &held, "oracle 1 is registered with", &registered, "name the keystore", "correct oracle_id"]);
    // A stranger's key under nobody's id follows without taking part, and is told so.
    let mut follower = setup.set("oracle_id", 9).start().await;
    follower.says(&["not in the committee", "oracle=9", "register"]).await;
    follower.stop().await;

    let mut setup = Setup::new(1).await;
    assert_says(&setup.set("oracle_id", 9).refused().await, &["key of oracle 1", "oracle_id is 9", "set oracle_id = 1"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_password() {
    let mut setup = Setup::new(1).await;
    fs::write(setup.path("password"), "wrong horse").unwrap();
    assert_says(&setup.refused().await, &[&setup.shown("verdict.json"), "the password is wrong", "check the password file"]);
    fs::write(setup.path("password"), "\n").unwrap();
    assert_says(&setup.refused().await, &[&setup.shown("password"), "is empty", "write the password"]);
    let nowhere = setup.shown("nowhere");
    assert_says(&setup.set("keys.password_file", nowhere.as_str()).refused().await, &[&nowhere, "create it"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_signing_record_of_another_key_or_none() {
    let setup = Setup::new(1).await;
    let record = setup.path("protection.sqlite");
    fs::remove_file(&record).unwrap();
    assert_says(&setup.refused().await, &[&setup.shown("protection.sqlite"), "does not exist", "assay-oracle protection init", "import"]);
    Protection::create(&record, &key(2).public_key(), &world().instance()).await.unwrap();
    let theirs = format!("{:?}", key(2).public_key());
    let message = refused(&mut setup.run()).await;
    assert_says(&message, &[&setup.shown("protection.sqlite"), &theirs, "correct protection_file, keys.verdict"]);
}

// Defence: the removal in `keys`; without it the next attempt finds half of a pair and refuses.
#[tokio::test(flavor = "multi_thread")]
async fn keys_are_made_both_or_none_and_never_over_others() {
    let setup = Setup::new(1).await;
    let (verdict, transmitter, password) = (setup.shown("new-verdict.json"), setup.shown("transmitter.json"), setup.shown("password"));
    let before = files(setup.dir.path());
    let args = ["keys", "--verdict", &verdict, "--transmitter", &transmitter, "--password-file", &password, "--kdf", "pbkdf2"];
    assert_says(&refused(&mut program("assay-oracle", &args)).await, &[&transmitter, "exists already", "move it away"]);
    assert!(before == files(setup.dir.path()));
}

// ---- config

#[tokio::test(flavor = "multi_thread")]
async fn a_config_with_an_unknown_key() {
    let mut setup = Setup::new(1).await;
    let message = setup.set("chain.chian_id", 5).refused().await;
    assert_says(&message, &[&setup.shown("oracle.toml"), "chain.chian_id", "unknown field", "correct this key"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_config_with_a_contradiction() {
    let refusal = async |key: &str, value: toml::Value| {
        let mut setup = Setup::new(1).await;
        let message = setup.set(key, value).refused().await;
        assert_says(&message, &[&setup.shown("oracle.toml"), "contradicts itself"]);
        message
    };
    assert_says(&refusal("oracle_id", 0.into()).await, &["oracle_id is 0", "take yours from"]);
    let registry = world().deployment.chain.oracle_registry.to_string();
    let message = refusal("chain.settlement", registry.clone().into()).await;
    assert_says(&message, &["chain.oracle_registry and chain.settlement are both", &registry, "take each from"]);
    assert_says(&refusal("providers.call_timeout_ms", 0.into()).await, &["[providers]", "give it milliseconds"]);

    let mut setup = Setup::new(1).await;
    let message = setup.set("listen", "127.0.0.1:9100").set("api_listen", "127.0.0.1:9100").refused().await;
    assert_says(&message, &["listen and api_listen are both 127.0.0.1:9100", "give each its own port"]);
    let (mut setup, verdict) = (Setup::new(1).await, "keys/verdict.json");
    let message = setup.set("keys.verdict", verdict).set("keys.transmitter", verdict).refused().await;
    assert_says(&message, &["keys.verdict and keys.transmitter are both keys/verdict.json", "name a keystore for each"]);
    let mut setup = Setup::new(1).await;
    let database = setup.database().display().to_string();
    assert_says(&setup.set("protection_file", database).refused().await, &["protection_file", "a file of its own"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_config_that_is_not_there() {
    let message = refused(&mut program("assay-oracle", &["run", "--config", "/nowhere/oracle.toml"])).await;
    assert_says(&message, &["/nowhere/oracle.toml", "does not exist", "create it or name another with --config"]);
}

// ---- ports

#[tokio::test(flavor = "multi_thread")]
async fn a_port_that_is_taken() {
    let holder = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let taken = holder.local_addr().unwrap();
    for key in ["listen", "api_listen"] {
        let mut setup = Setup::new(1).await;
        let message = refused(&mut setup.set(key, taken.to_string()).run()).await;
        let port = format!("port {} of 127.0.0.1", taken.port());
        assert_says(&message, &[&port, "taken by another process", "stop that process or choose another port"]);
    }
}

// ---- chain

#[tokio::test(flavor = "multi_thread")]
async fn an_rpc_that_is_not_there() {
    let mut setup = Setup::new(1).await;
    let url = format!("http://127.0.0.1:{}", free_port().unwrap());
    let message = setup.set("chain.rpc_url", format!("{url}/access-key")).refused().await;
    assert_says(&message, &[&url, "does not answer", "check that it runs and that rpc_url is right"]);
    assert!(!message.contains("access-key"), "{message}");
    assert_says(&setup.set("chain.rpc_url", "localhost:8545").refused().await, &["rpc_url", "write it like"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_rpc_of_another_chain() {
    let mut setup = Setup::new(1).await;
    let rpc = world().deployment.chain.rpc_url.first();
    assert_says(
        &setup.set("chain.chain_id", 1).refused().await,
        &[rpc, "serves chain 31337", "config says 1", "correct rpc_url or chain_id"],
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn an_address_without_a_contract() {
    for name in ["oracle_registry", "provider_registry", "settlement"] {
        let mut setup = Setup::new(1).await;
        let nobody = "0x9999999999999999999999999999999999999999";
        let message = setup.set(&format!("chain.{name}"), nobody).refused().await;
        assert_says(&message, &[nobody, name, "there is no contract", "correct the address"]);
    }
}

// ---- beacon

#[tokio::test(flavor = "multi_thread")]
async fn a_beacon_of_another_chain() {
    // A relay that does not know ours, and one that answers with its own under our name.
    let other = Beacon::new(BeaconKey::from_seed(&[0xaa; 32]).unwrap(), 1_000, 1);
    let url = served(other.clone()).await;
    let mut setup = Setup::new(1).await;
    let pinned = world().beacon.chain_hash().to_string();
    let message = setup.set("beacon.urls", vec![url.clone()]).refused().await;
    assert_says(&message, &[&url, "does not serve the chain", &pinned, "correct [beacon] urls, chain_hash and public_key"]);

    let (ours, theirs) = (hex::encode(world().beacon.chain_hash().0), hex::encode(other.chain_hash().0));
    let relay = tampering(url, move |path| path.replace(&ours, &theirs), |answer| answer).await;
    let message = setup.set("beacon.urls", vec![relay.clone()]).refused().await;
    let found = hex::encode(other.chain_hash().0);
    assert_says(&message, &[&relay, "serves another chain", &found, &pinned[2..], "correct [beacon]"]);
    // The right chain under another key: the config's own mistake.
    let their_key = other.config(vec![]).public_key;
    let mut setup = Setup::new(1).await;
    assert_says(&setup.set("beacon.public_key", their_key).refused().await, &["the public key is", "public_key"]);
}

// Defence: `ChainInfo::verify` in `decode_round`; without it the relay chooses the panels.
#[tokio::test(flavor = "multi_thread")]
async fn a_beacon_with_a_bad_signature() {
    let swapped = |mut answer: Value| {
        if answer["round"].is_u64() {
            let signature = assay_core::beacon::sign(&key(9), answer["round"].as_u64().unwrap());
            answer["signature"] = hex::encode(signature.to_compressed()).into();
        }
        answer
    };
    let honest = &world().beacon_url;
    let forger = tampering(honest.clone(), |path| path, swapped).await;
    let mut both = Setup::new(1).await;
    let mut both = both.set("beacon.urls", vec![forger.clone(), honest.clone()]).start().await;
    let mut alone = Setup::new(2).await;
    let mut alone = alone.set("beacon.urls", vec![forger.clone()]).start().await;
    both.says(&[&forger, "a signature that does not verify", "take it out of [beacon] urls", "trying the next"]).await;
    alone.says(&[&forger, "no beacon relay gave a valid answer", "correct [beacon]"]).await;
    alone.says(&["measuring under the fallback seed", "can pay but not slash"]).await;
    // Not fatal: both go on, and stop in order.
    both.stop().await;
    alone.stop().await;
}

/// A relay that asks another one, and changes what is asked for and what is answered.
async fn tampering(
    upstream: String,
    ask: impl Fn(String) -> String + Clone + Send + Sync + 'static,
    change: impl Fn(Value) -> Value + Clone + Send + Sync + 'static,
) -> String {
    let answer = async move |State(upstream): State<String>, Path(path): Path<String>| {
        let response = reqwest::get(format!("{upstream}/{}", ask(path))).await.unwrap();
        let status = response.status();
        let answer = response.json().await.map(&change).unwrap_or_default();
        (status, Json(answer))
    };
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let router = Router::new().route("/{*path}", get(answer)).with_state(upstream);
    tokio::spawn(async move { axum::serve(listener, router).await });
    url
}

#[tokio::test(flavor = "multi_thread")]
async fn a_keystore_is_never_overwritten() {
    let setup = Setup::new(1).await;
    let before = files(setup.dir.path());
    let error = keystore::store_bls(&setup.path("verdict.json"), &key(5), &Password::new("x"), Kdf::Pbkdf2).unwrap_err();
    assert_says(&error.to_string(), &[&setup.shown("verdict.json"), "never overwritten", "move it away"]);
    assert!(before == files(setup.dir.path()));
}
