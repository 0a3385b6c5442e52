//! Two real nodes on one key: the second stops by itself before it has signed anything, and the first loses nothing.

use std::path::{Path, PathBuf};
use std::time::Duration;

use assay_oracle::clock::now_ms;
use assay_oracle::signer::StatementKind;
use assay_tests::binaries;
use assay_tests::devnet::{Devnet, Fault, OracleFault, Plan, outcome};
use assay_tests::ports::free_port;
use assay_tests::process::Spec;
use assay_tests::record::Record;
use serde_json::Value;

/// What the node says when it stops because of another with its key.
const DOPPELGANGER: i32 = 3;

fn oracle(arguments: &[&str]) -> String {
    let output = std::process::Command::new(binaries::path("assay-oracle")).args(arguments).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

/// A second node with the first one's keys, a place of its own and an empty signing record.
fn second_node(first: &Path, dir: &Path) -> PathBuf {
    let mut config: toml::Table = std::fs::read_to_string(first.join("oracle.toml")).unwrap().parse().unwrap();
    std::fs::create_dir_all(dir).unwrap();
    for (key, value) in [
        ("listen", format!("127.0.0.1:{}", free_port().unwrap())),
        ("api_listen", format!("127.0.0.1:{}", free_port().unwrap())),
        ("data_dir", dir.join("data").display().to_string()),
        ("protection_file", dir.join("protection.sqlite").display().to_string()),
    ] {
        config.insert(key.into(), value.into());
    }
    let path = dir.join("oracle.toml");
    std::fs::write(&path, config.to_string()).unwrap();
    oracle(&["protection", "init", "--config", path.to_str().unwrap()]);
    path
}

// Defence: `Protection::resume` and `Doppelganger::ask`; without the first the second node signs beside the first one, without the second it
// never learns of it and begins an epoch later.
#[tokio::test(flavor = "multi_thread")]
async fn a_second_node_with_the_key_stops_before_it_signs() {
    let dir = tempfile::tempdir().unwrap();
    let data = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("src").canonicalize().unwrap();
    let plan = Plan { dir: dir.path().join("net"), data, oracles: vec![OracleFault::None; 4], faults: vec![Fault::None] };
    let devnet = Devnet::start(&plan, |line| println!("{line}")).await.unwrap();
    let epoch = Duration::from_millis(devnet.params.epoch_ms());
    assert!(devnet.until(epoch * 4, || async { Ok(devnet.epoch(0).await?.is_some()) }).await.unwrap(), "epoch 0 is accepted");

    let first = &devnet.oracles[3];
    let second = dir.path().join("second");
    let config = second_node(&first.dir, &second);
    let log = second.join("log");
    let mut process =
        Spec::new(binaries::path("assay-oracle"), &log).args(["run", "--config"]).arg(config.display()).guarded().start().unwrap();
    let status = process.wait(epoch * 3).await.expect("it stops by itself");
    let said = std::fs::read_to_string(&log).unwrap();
    assert_eq!(status.code(), Some(DOPPELGANGER), "{said}");
    for part in ["another node signs with this node's key", "backup", "protection import", "protection prune --through"] {
        assert!(said.contains(part), "{part}: {said}");
    }
    let export: Value = serde_json::from_str(&oracle(&["protection", "export", "--config", config.to_str().unwrap()])).unwrap();
    assert_eq!(export["statements"].as_array().map(Vec::len), Some(0), "it signed nothing");

    let since_genesis_s = now_ms() / 1_000 - devnet.deployment.genesis_s;
    let next = since_genesis_s * 1_000 / devnet.params.epoch_ms();
    assert!(devnet.until(epoch * 4, || async { Ok(devnet.epoch(next).await?.is_some()) }).await.unwrap(), "the network goes on");
    for api in devnet.oracles.iter().map(|oracle| &oracle.api) {
        for epoch in 0..=next {
            let proofs = outcome::ask::<Value>(format!("{api}/v1/epochs/{epoch}/misbehaviour")).await.unwrap();
            let proven = proofs.as_ref().and_then(|proofs| proofs["items"].as_array()).map_or(0, Vec::len);
            assert_eq!(proven, 0, "{proofs:?}");
        }
    }
    let (first, id) = (devnet.oracles[3].dir.clone(), devnet.oracles[3].id);
    devnet.stop().await.unwrap();
    let signed = Record::of(&first).signed(id).await.unwrap();
    let committed: Vec<u64> = signed.keys().filter(|place| place.1 == StatementKind::Commit).map(|place| place.2).collect();
    assert!((0..=next).all(|epoch| committed.contains(&epoch)), "the first node loses no epoch: it committed in {committed:?}");
}
