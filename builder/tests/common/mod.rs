//! A real provider on loopback, keys, objects, and the real binary.
#![allow(dead_code, reason = "every test file takes what it needs")]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use assay_builder::client::{Client, Wanted};
use assay_builder::error::BuilderError;
use assay_builder::keys::{KeyDir, Keys};
use assay_builder::prepare::{Order, prepare};
use assay_builder::source::Source;
use assay_builder::upload::{Uploaded, upload};
use assay_core::claim::Claim;
use assay_core::hash::Hash32;
use assay_core::ids::{Address, ProviderId};
use assay_core::replica::OwnerSecret;
use assay_core::secp::SecretKey;
use assay_daemon::keystore::{Kdf, Password};
use assay_provider::app::{self, Running};
use assay_provider::config::{Config, Limits};
use serde_json::Value;
use tokio_util::sync::CancellationToken;

pub fn keys() -> Keys {
    Keys { secret: OwnerSecret::new([9; 32]), signer: SecretKey::from_bytes(&[8; 32]).unwrap() }
}

pub struct Node {
    pub endpoint: String,
    pub id: ProviderId,
    pub data_dir: PathBuf,
    running: Running,
    shutdown: CancellationToken,
}

impl Node {
    pub async fn start(data_dir: &Path, id: u64) -> Self {
        Self::with(data_dir, id, Limits::default()).await
    }

    pub async fn with(data_dir: &Path, id: u64, limits: Limits) -> Self {
        let config = Config {
            provider_id: ProviderId(id),
            listen: "127.0.0.1:0".parse().unwrap(),
            data_dir: data_dir.to_owned(),
            keystore: PathBuf::new(),
            password_file: PathBuf::new(),
            chain_id: 31_337,
            provider_registry: Address([1; 20]),
            settlement: Address([2; 20]),
            limits,
            telemetry: Default::default(),
        };
        let shutdown = CancellationToken::new();
        let key = SecretKey::from_bytes(&[id as u8; 32]).unwrap();
        let running = app::start(&config, key, shutdown.clone()).await.unwrap();
        let endpoint = format!("http://{}", running.address);
        Self { endpoint, id: ProviderId(id), data_dir: data_dir.to_owned(), running, shutdown }
    }

    pub async fn client(&self) -> Client {
        Client::connect(&self.endpoint, self.id).await.unwrap()
    }

    pub async fn stop(self) {
        self.shutdown.cancel();
        self.running.wait().await.unwrap();
    }

    /// Flips one byte of a stored replica.
    pub fn damage(&self, claim: &Claim, at: usize) {
        let stored = self.data_dir.join("replicas").join(format!("{}.replica", hex::encode(claim.root.0)));
        let mut bytes = fs::read(&stored).unwrap();
        bytes[at] ^= 1;
        fs::write(&stored, bytes).unwrap();
    }

    /// The endpoint's arguments.
    pub fn args(&self) -> Vec<String> {
        ["--provider-endpoint", &self.endpoint, "--provider-id", &self.id.to_string()].map(str::to_owned).to_vec()
    }
}

pub fn write_object(path: &Path, length: usize) -> Vec<u8> {
    let mut bytes = vec![0; length];
    blake3::Hasher::new().update(b"builder test").finalize_xof().fill(&mut bytes);
    fs::write(path, &bytes).unwrap();
    bytes
}

/// Prepares in a directory of its own and uploads.
pub async fn store(
    client: &mut Client,
    source: &Source,
    replica_index: u64,
    progress: impl FnMut(u64, u64) + Send,
) -> Result<Uploaded, BuilderError> {
    let directory = tempfile::tempdir().unwrap();
    let order = Order { source: source.clone(), replica_index, domain: client.domain, tags: true };
    let place = directory.path().join("prepared");
    let prepared = tokio::task::spawn_blocking(move || prepare(&place, &keys(), &order, &mut |_, _, _| ())).await.unwrap()?;
    let mut progress = progress;
    upload(client, &keys(), &prepared, &mut move |_, done, total| progress(done, total)).await
}

pub fn wanted(claim: &Claim) -> Wanted {
    Wanted { object: claim.object_id, replica: claim.replica_index, owner: Some(claim.owner) }
}

/// Bytes of a replica and its tags.
pub fn upload_bytes(claim: &Claim) -> u64 {
    claim.bytes() + claim.blocks * 48
}

/// A key directory for the real binary.
pub struct Owner {
    pub keys: PathBuf,
    pub password: PathBuf,
}

impl Owner {
    pub fn new(directory: &Path) -> Self {
        let (keys, password) = (directory.join("keys"), directory.join("password"));
        fs::write(&password, "a long enough password\n").unwrap();
        KeyDir::new(&keys).create(&Password::from_file(&password).unwrap(), Kdf::Pbkdf2).unwrap();
        Self { keys, password }
    }

    pub fn load(&self) -> Keys {
        KeyDir::new(&self.keys).load(&Password::from_file(&self.password).unwrap()).unwrap()
    }

    pub fn args(&self) -> Vec<String> {
        ["--keys", &self.keys.display().to_string(), "--password-file", &self.password.display().to_string()].map(str::to_owned).to_vec()
    }
}

pub fn strings(args: &[&str]) -> Vec<String> {
    args.iter().map(ToString::to_string).collect()
}

/// The real binary.
pub fn builder(parts: &[Vec<String>]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_assay-builder"));
    command.args(parts.concat()).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

/// Runs it to its end; gives its JSON, or what it said on standard error.
pub async fn run(parts: &[Vec<String>]) -> Result<Value, String> {
    let mut command = builder(parts);
    command.arg("--json");
    let output = tokio::task::spawn_blocking(move || command.output().unwrap()).await.unwrap();
    match output.status.success() {
        true => Ok(serde_json::from_slice(&output.stdout).unwrap()),
        false => Err(String::from_utf8_lossy(&output.stderr).into_owned()),
    }
}

/// Starts it and kills it with SIGKILL after `delay`. Gives whether it was still running then.
pub async fn kill_after(parts: &[Vec<String>], delay: Duration) -> bool {
    let mut child: Child = builder(parts).spawn().unwrap();
    tokio::time::sleep(delay).await;
    let was_running = child.try_wait().unwrap().is_none();
    child.kill().unwrap();
    child.wait().unwrap();
    was_running
}

pub fn hash(value: &Value) -> Hash32 {
    Hash32::from_hex(value.as_str().unwrap()).unwrap()
}
