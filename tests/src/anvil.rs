//! A real chain: anvil, mining every second, finalizing two blocks behind.

use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde_json::{Value, json};
use tokio::time::{Instant, sleep};

use crate::ports;
use crate::process::{Process, ProcessError, Spec};

/// Anvil's chain id.
pub const CHAIN_ID: u64 = 31337;
const START_DEADLINE: Duration = Duration::from_secs(20);

/// A running anvil; ended on drop.
#[derive(Debug)]
pub struct Anvil {
    process: Process,
    url: String,
    http: reqwest::Client,
    _dir: Option<tempfile::TempDir>,
}

/// What went wrong with anvil.
#[derive(Debug, thiserror::Error)]
pub enum AnvilError {
    /// No binary.
    #[error("anvil was not found in node_modules; run `npm ci` in the repository")]
    NotInstalled,
    /// The process.
    #[error(transparent)]
    Process(#[from] ProcessError),
    /// It ended or did not answer.
    #[error("anvil did not start: {reason}; its log says: {log}")]
    Start {
        /// What happened.
        reason: String,
        /// The end of its log.
        log: String,
    },
    /// A file or port.
    #[error("anvil's files or port are not available")]
    Io(#[from] io::Error),
    /// A request.
    #[error("anvil refused {method}: {reason}")]
    Rpc {
        /// The method.
        method: String,
        /// Its word.
        reason: String,
    },
}

impl Anvil {
    /// Starts anvil on a free port with its log in a temporary directory.
    pub async fn start() -> Result<Self, AnvilError> {
        let dir = tempfile::tempdir()?;
        let log = dir.path().join("anvil.log");
        let mut anvil = Self::start_on(ports::free_port()?, &log).await?;
        anvil._dir = Some(dir);
        Ok(anvil)
    }

    /// Starts anvil on this port with this log, and waits until it answers.
    pub async fn start_on(port: u16, log: &Path) -> Result<Self, AnvilError> {
        let process = Spec::new(binary()?, log)
            .args(["--host", "127.0.0.1", "--port", &port.to_string()])
            .args(["--slots-in-an-epoch", "1", "--block-time", "1", "--chain-id", &CHAIN_ID.to_string()])
            .args(["--auto-impersonate", "--order", "fifo", "--gas-limit", "1000000000"])
            .guarded()
            .start()?;
        let http = reqwest::Client::builder().timeout(Duration::from_secs(10)).build().map_err(io::Error::other)?;
        let mut anvil = Self { process, url: format!("http://127.0.0.1:{port}"), http, _dir: None };
        anvil.wait_until_ready().await?;
        Ok(anvil)
    }

    /// Its JSON-RPC URL.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// One JSON-RPC request.
    pub async fn rpc(&self, method: &str, params: Value) -> Result<Value, AnvilError> {
        rpc(&self.http, &self.url, method, params).await
    }

    /// Mines `count` blocks at once, a second apart by their timestamps.
    pub async fn mine(&self, count: u64) -> Result<(), AnvilError> {
        self.rpc("anvil_mine", json!([format!("{count:#x}")])).await.map(drop)
    }

    /// Stops or resumes mining by the clock (0 stops).
    pub async fn set_interval_mining(&self, seconds: u64) -> Result<(), AnvilError> {
        self.rpc("evm_setIntervalMining", json!([seconds])).await.map(drop)
    }

    /// Replaces the newest `depth` blocks by empty ones.
    pub async fn reorg(&self, depth: u64) -> Result<(), AnvilError> {
        self.rpc("anvil_reorg", json!([depth, []])).await.map(drop)
    }

    /// Sets the chain's clock to ours. A reorganisation leaves it a second or two behind, for good.
    pub async fn set_clock(&self) -> Result<(), AnvilError> {
        let now_s = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
        self.rpc("evm_setTime", json!([now_s])).await.map(drop)
    }

    /// Takes the newest `depth` blocks away.
    pub async fn rollback(&self, depth: u64) -> Result<(), AnvilError> {
        self.rpc("anvil_rollback", json!([depth])).await.map(drop)
    }

    /// Drops all transactions that wait to be mined.
    pub async fn drop_pending(&self) -> Result<(), AnvilError> {
        self.rpc("anvil_dropAllTransactions", json!([])).await.map(drop)
    }

    /// Gives an account ether.
    pub async fn set_balance(&self, address: &str, wei: u128) -> Result<(), AnvilError> {
        self.rpc("anvil_setBalance", json!([address, format!("{wei:#x}")])).await.map(drop)
    }

    async fn wait_until_ready(&mut self) -> Result<(), AnvilError> {
        let deadline = Instant::now() + START_DEADLINE;
        loop {
            if let Some(status) = self.process.ended() {
                return Err(self.start_failed(format!("it ended with {status}")));
            }
            if self.rpc("eth_chainId", json!([])).await.is_ok() {
                return Ok(());
            }
            if Instant::now() > deadline {
                return Err(self.start_failed(format!("no answer within {START_DEADLINE:?}")));
            }
            sleep(Duration::from_millis(20)).await;
        }
    }

    fn start_failed(&self, reason: String) -> AnvilError {
        let log = std::fs::read_to_string(self.process.log()).unwrap_or_default();
        let tail: Vec<_> = log.lines().rev().take(5).collect();
        AnvilError::Start { reason, log: tail.into_iter().rev().collect::<Vec<_>>().join(" | ") }
    }
}

/// One JSON-RPC request to any node.
pub(crate) async fn rpc(http: &reqwest::Client, url: &str, method: &str, params: Value) -> Result<Value, AnvilError> {
    let refused = |reason: String| AnvilError::Rpc { method: method.into(), reason };
    let body = json!({ "jsonrpc": "2.0", "id": 1, "method": method, "params": params });
    let response = http.post(url).json(&body).send().await.map_err(|error| refused(error.to_string()))?;
    let mut answer: Value = response.json().await.map_err(|error| refused(error.to_string()))?;
    match answer.get("error") {
        Some(error) => Err(refused(error.to_string())),
        None => Ok(answer.get_mut("result").map(Value::take).unwrap_or_default()),
    }
}

/// The platform's real binary (so that signals reach anvil, not a launcher), looked for upward from this crate.
fn binary() -> Result<PathBuf, AnvilError> {
    let system = match std::env::consts::OS {
        "macos" => "darwin",
        other => other,
    };
    let machine = match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    };
    let package = format!("node_modules/@foundry-rs/anvil-{system}-{machine}/bin/anvil");
    let start = std::env::var_os("ASSAY_ROOT").map_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join(".."), PathBuf::from);
    start
        .canonicalize()
        .ok()
        .iter()
        .flat_map(|root| root.ancestors())
        .flat_map(|dir| [dir.join(&package), dir.join("node_modules/.bin/anvil")])
        .find(|path| path.exists())
        .ok_or(AnvilError::NotInstalled)
}
