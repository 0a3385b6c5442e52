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
    let owner = Owner { devnet: &devnet, dir: dir.path() };
    owner.gets_it_back().await;
    owner.moves_it().await;
    devnet.stop().await.unwrap();
}

/// An owner with its commands.
struct Owner<'a> {
    devnet: &'a Devnet,
    dir: &'a std::path::Path,
}

impl Owner<'_> {
    fn path(&self, name: &str) -> String {
        self.dir.join(name).display().to_string()
    }

    fn object(&self) -> String {
        self.devnet.uploads[0]["objectId"].as_str().unwrap().to_owned()
    }

    /// Runs one command of `assay-builder` and gives what it prints.
    async fn run(&self, arguments: &[&str]) -> serde_json::Value {
        let output = tokio::process::Command::new(assay_tests::binaries::path("assay-builder"))
            .args(arguments)
            .arg("--json")
            .output()
            .await
            .unwrap();
        assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
        serde_json::from_slice(&output.stdout).unwrap()
    }

    /// A command about a replica at a provider.
    async fn at(&self, provider: usize, arguments: &[&str]) -> serde_json::Value {
        let node = &self.devnet.providers[provider];
        let (endpoint, id) = (format!("http://{}", node.listen), node.id.to_string());
        let (command, rest) = arguments.split_first().unwrap();
        self.run(&[&[*command, "--provider-endpoint", &endpoint, "--provider-id", &id], rest].concat()).await
    }

    /// Restores the honest provider's replica, whole and in part, and verifies it without restoring.
    async fn gets_it_back(&self) {
        let (object, keys, password, unpacked) =
            (self.object(), self.path("net/builder"), self.path("net/password"), self.path("restored"));
        let secret = ["--object-id", &object, "--keys", &keys, "--password-file", &password];
        let restored = self.at(0, &[&["restore"], &secret[..], &["--unpack", &unpacked]].concat()).await;
        let bytes = restored["bytes"].as_u64().unwrap();
        assert!(bytes > 100_000, "the honest provider gives the data back");
        let original = std::fs::read(data().join("src/lib.rs")).unwrap();
        assert_eq!(std::fs::read(find(std::path::Path::new(&unpacked), "lib.rs")).unwrap(), original);
        let part = self.path("part");
        let range = format!("{}..{}", bytes / 2, bytes / 2 + 1_000);
        self.at(0, &[&["restore"], &secret[..], &["--range", &range, "--output", &part]].concat()).await;
        assert_eq!(std::fs::metadata(&part).unwrap().len(), 1_000);
        let verified = self.at(0, &["verify", "--object-id", &object, "--keys", &keys]).await;
        assert_eq!((verified["missing"].as_u64(), verified["wrong"].as_u64()), (Some(0), Some(0)), "{verified}");
    }

    /// Moves the replica from the first provider to the third; the chain follows, and the new one is proved before the old one is released.
    async fn moves_it(&self) {
        let (object, keys, password) = (self.object(), self.path("net/builder"), self.path("net/password"));
        let registry = self.devnet.deployment.chain.provider_registry.to_string();
        let chain = ["--rpc", self.devnet.rpc(), "--provider-registry", &registry];
        let endpoint = |provider: usize| format!("http://{}", self.devnet.providers[provider].listen);
        let (from, to) = (endpoint(0), endpoint(2));
        let ids = [self.devnet.providers[0].id.to_string(), self.devnet.providers[2].id.to_string()];
        let order = ["move", "--from-endpoint", &from, "--from-id", &ids[0], "--to-endpoint", &to, "--to-id", &ids[1]];
        let what = ["--object-id", &object, "--to-replica", "7", "--keys", &keys, "--password-file", &password];
        self.run(&[&order[..], &what, &chain].concat()).await;
        let status = async |provider: usize| self.at(provider, &[&["status"], &chain[..]].concat()).await;
        let (old, new) = (status(0).await, status(2).await);
        assert_eq!(old["claims"].as_array().map(Vec::len), Some(0), "{old}");
        let claims = new["claims"].as_array().unwrap();
        let moved = claims.iter().find(|claim| claim["replicaIndex"] == 7).unwrap_or_else(|| panic!("{new}"));
        assert_eq!((moved["objectId"].as_str(), moved["onChain"].as_bool()), (Some(object.as_str()), Some(true)));
    }
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
