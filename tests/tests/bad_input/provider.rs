//! What keeps a provider from starting.

use std::fs;
use std::net::SocketAddr;
use std::path::PathBuf;

use assay_core::ids::{Address, Instance};
use assay_core::secp::SecretKey;
use assay_daemon::keystore::{self, Kdf, Password};
use assay_tests::binaries;
use assay_tests::process::{Process, Spec};
use tempfile::TempDir;
use tokio::process::Command;
use tokio::time::{Duration, Instant, sleep};

use crate::world::{PATIENCE, assert_says, assert_unchanged, files, program, refused};

/// A provider in a directory of its own, ready to be started or to be spoilt first. It needs no chain.
pub struct Setup {
    dir: TempDir,
    config: toml::Table,
}

pub struct Running {
    pub address: SocketAddr,
    process: Process,
}

impl Setup {
    pub fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let path = |name: &str| dir.path().join(name).display().to_string();
        fs::write(path("password"), "correct horse").unwrap();
        let key = SecretKey::from_bytes(&[9; 32]).unwrap();
        keystore::store_secp(&dir.path().join("receipt.json"), &key, &Password::new("correct horse"), Kdf::Pbkdf2).unwrap();
        let text = format!(
            "provider_id = 1\nlisten = '127.0.0.1:0'\ndata_dir = '{}'\nkeystore = '{}'\npassword_file = '{}'\nchain_id = 31337\n\
             provider_registry = '{}'\nsettlement = '{}'\n",
            path("data"),
            path("receipt.json"),
            path("password"),
            Address([2; 20]),
            Address([7; 20]),
        );
        let config = text.parse().unwrap();
        Self { dir, config }
    }

    pub fn instance(&self) -> Instance {
        Instance { chain_id: 31_337, settlement: Address([7; 20]) }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn shown(&self, name: &str) -> String {
        self.path(name).display().to_string()
    }

    fn set(&mut self, key: &str, value: impl Into<toml::Value>) -> &mut Self {
        self.config.insert(key.into(), value.into());
        self
    }

    fn write(&self) -> String {
        fs::write(self.path("provider.toml"), toml::to_string(&self.config).unwrap()).unwrap();
        self.shown("provider.toml")
    }

    fn run(&self) -> Command {
        program("assay-provider", &["run", "--config", &self.write()])
    }

    /// Runs it; it must refuse to start and leave every file as it was.
    async fn refused(&self) -> String {
        let mut command = self.run();
        let before = files(self.dir.path());
        let message = refused(&mut command).await;
        assert_unchanged(self.dir.path(), &before, &message);
        message
    }

    pub async fn start(&self) -> Running {
        let log = self.path("log");
        let mut process =
            Spec::new(binaries::path("assay-provider"), &log).args(["run", "--config", &self.write()]).guarded().start().unwrap();
        let deadline = Instant::now() + PATIENCE;
        loop {
            let text = fs::read_to_string(&log).unwrap();
            if let Some(line) = text.lines().find(|line| line.contains("serving")) {
                let address = line.split("address=").nth(1).and_then(|rest| rest.split_whitespace().next()).unwrap();
                return Running { address: address.parse().unwrap(), process };
            }
            assert!(process.ended().is_none() && Instant::now() < deadline, "{text}");
            sleep(Duration::from_millis(20)).await;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_provider_with_a_wrong_key_or_password() {
    let setup = Setup::new();
    fs::write(setup.path("password"), "wrong horse").unwrap();
    assert_says(&setup.refused().await, &[&setup.shown("receipt.json"), "the password is wrong", "check the password file"]);
    fs::write(setup.path("receipt.json"), "{}").unwrap();
    assert_says(&setup.refused().await, &[&setup.shown("receipt.json"), "is not a keystore", "name the JSON file"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_provider_with_an_unknown_key_or_a_contradiction() {
    let mut setup = Setup::new();
    assert_says(&setup.set("lisen", 1).refused().await, &[&setup.shown("provider.toml"), "`lisen`", "unknown field", "correct this key"]);
    let mut setup = Setup::new();
    let both = Address([7; 20]).to_string();
    let message = setup.set("provider_registry", both.as_str()).refused().await;
    assert_says(&message, &[&setup.shown("provider.toml"), "provider_registry and settlement are both", &both, "take each from"]);
    let mut setup = Setup::new();
    let message = setup.set("limits", toml::Table::from_iter([("reads".to_owned(), 0.into())])).refused().await;
    assert_says(&message, &["limits.reads is 0", "give it at least 1"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_providers_port_or_directory_that_is_taken() {
    let setup = Setup::new();
    let mut running = setup.start().await;
    let mut second = Setup::new();
    let port = format!("port {} of 127.0.0.1", running.address.port());
    let message = refused(&mut second.set("listen", running.address.to_string()).run()).await;
    assert_says(&message, &[&port, "taken by another process", "choose another port"]);
    let message = refused(&mut second.set("data_dir", setup.shown("data")).run()).await;
    assert_says(&message, &[&setup.shown("data"), "used by another process", "stop it"]);
    assert!(running.process.ended().is_none(), "the first one goes on");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_provider_with_a_damaged_index_or_anothers() {
    let mut setup = Setup::new();
    drop(setup.start().await);
    let message = refused(&mut setup.set("provider_id", 2).run()).await;
    assert_says(&message, &["holds claims of provider 1", "correct provider_id"]);
    for name in ["data/index.sqlite-wal", "data/index.sqlite-shm"] {
        // Left by a kill: what is in them is read instead of the file.
        let _ = fs::remove_file(setup.path(name));
    }
    fs::write(setup.path("data/index.sqlite"), vec![0x5a; 20_000]).unwrap();
    let message = setup.set("provider_id", 1).refused().await;
    assert_says(&message, &[&setup.shown("data/index.sqlite"), "not a database", "assay-provider index rebuild"]);
}
