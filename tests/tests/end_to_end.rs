//! Two epochs of a whole network: real processes, a real chain, and an oracle that dies in the middle.

use std::path::PathBuf;
use std::time::Duration;

use assay_core::params::TOKEN;
use assay_core::verdict::{Dimension, Grade};
use assay_tests::devnet::{Devnet, Fault, OracleFault, Plan};

/// A few megabytes of real files: this repository's own sources.
fn data() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("..").join("core").canonicalize().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_lossy_is_slashed_the_slow_is_not_and_the_honest_is_paid_while_an_oracle_dies() {
    let dir = tempfile::tempdir().unwrap();
    let plan = Plan {
        dir: dir.path().join("net"),
        data: data(),
        oracles: vec![OracleFault::None; 4],
        faults: vec![Fault::None, Fault::Lossy, Fault::Slow],
    };
    let mut devnet = Devnet::start(&plan, |line| println!("{line}")).await.unwrap();
    let epoch = Duration::from_millis(devnet.params.epoch_ms());

    let accepted = devnet.until(epoch * 3, || async { Ok(devnet.epoch(0).await?.is_some()) }).await.unwrap();
    assert!(accepted, "epoch 0 is accepted");
    // Power cut in the middle of epoch 1, and back.
    devnet.kill_oracle(3).await.unwrap();
    devnet.restart_oracle(3).await.unwrap();
    let accepted = devnet.until(epoch * 3, || async { Ok(devnet.epoch(1).await?.is_some()) }).await.unwrap();
    assert!(accepted, "epoch 1 is accepted");
    assert!(devnet.until(epoch * 3, || devnet.is_settled(1)).await.unwrap(), "everything owed is paid");

    let summary = devnet.summary(2).await.unwrap();
    let [honest, lossy, slow] = summary.providers.as_slice() else { panic!("three providers") };
    assert!(honest.outcomes.iter().all(|grade| *grade == Grade::Pass), "{:?}", honest.worst);
    assert_eq!((honest.rewarded, honest.slashed), (200 * TOKEN, 0), "paid to the wei");
    assert!(lossy.worst.iter().all(|worst| *worst == (Grade::Fail, Some(Dimension::STORAGE))), "{:?}", lossy.worst);
    assert!(lossy.slashed > 0 && lossy.slash_reason.is_some() && lossy.rewarded == 0);
    assert!(slow.outcomes.iter().all(|grade| *grade == Grade::Fail));
    assert_eq!(slow.slashed, 0, "timing never slashes");
    assert!(summary.epochs.iter().all(|row| row.gas_used <= 200_000), "{:?}", summary.epochs);
    let restored = restored_bytes(&devnet, dir.path()).await;
    assert!(restored > 100_000, "the honest provider gives the data back");
    devnet.stop().await.unwrap();
}

/// Restores the honest provider's replica as its owner would.
async fn restored_bytes(devnet: &Devnet, dir: &std::path::Path) -> u64 {
    let upload = &devnet.uploads[0];
    let object = upload["objectId"].as_str().unwrap();
    let unpacked = dir.join("restored");
    let output = tokio::process::Command::new(assay_tests::binaries::path("assay-builder"))
        .args(["restore", "--provider-endpoint", &format!("http://{}", devnet.providers[0].listen), "--provider-id", "1"])
        .args(["--keys", &dir.join("net/builder").display().to_string(), "--object-id", object, "--replica", "0", "--json"])
        .args(["--password-file", &dir.join("net/password").display().to_string(), "--unpack", &unpacked.display().to_string()])
        .output()
        .await
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    std::fs::read(data().join("src/lib.rs"))
        .map(|original| assert_eq!(std::fs::read(find(&unpacked, "lib.rs")).unwrap(), original))
        .unwrap();
    serde_json::from_slice::<serde_json::Value>(&output.stdout).unwrap()["bytes"].as_u64().unwrap()
}

fn find(dir: &std::path::Path, name: &str) -> PathBuf {
    let mut queue = vec![dir.to_path_buf()];
    while let Some(dir) = queue.pop() {
        for entry in std::fs::read_dir(dir).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                queue.push(path);
            } else if path.ends_with(std::path::Path::new("src").join(name)) {
                return path;
            }
        }
    }
    panic!("{name} was not restored")
}
