//! A whole network on one machine: chain, beacon, providers with their faults, a builder, and oracles.
//!
//! `make demo` and the end-to-end tests start the same network.

pub mod chaos;
pub mod data;
pub mod economy;
pub mod faults;
pub mod outcome;
pub mod show;
mod start;
pub mod steps;
mod turns;

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::ExitStatus;
use std::time::{Duration, UNIX_EPOCH};

use assay_core::ids::{Address, OracleId, ProviderId};
use assay_core::params::{Params, TOKEN};
use assay_daemon::keystore::KeystoreError;
use serde_json::Value;

use crate::anvil::{Anvil, AnvilError};
use crate::clock::{Clock, ClockError, Shim};
use crate::deploy::{self, DeployError, DeploySpec, Deployment};
use crate::mesh::Mesh;
use crate::ports::free_port;
use crate::process::{Process, ProcessError};
use crate::proxy::{Faults, Proxy};
use crate::rpc_proxy::RpcProxy;
use start::{Tools, run_oracle, wait_until_ready, write_private};
use turns::Turns;

/// Added to every round trip of a slow provider: over the class's T50, under its T95.
pub const SLOW_ROUND_TRIP: Duration = Duration::from_millis(120);
/// What a throttled provider's line carries each way, kbit/s; its class promises twice as much.
pub const THROTTLED_KBPS: u64 = 10_000;
/// A provider that is away half of the time is down so long, then up so long.
pub const AWAY_TURN: Duration = Duration::from_secs(5);
/// Stake of every provider.
pub const PROVIDER_STAKE: u128 = 10_000 * TOKEN;
/// What the settlement holds to pay from.
pub const POOL: u128 = 1_000_000 * TOKEN;
const ORACLE_STAKE: u128 = 1_000 * TOKEN;
const BEACON_SEED: [u8; 32] = [0xbe; 32];
const READY_DEADLINE: Duration = Duration::from_secs(30);

/// What is wrong with a provider.
#[derive(Clone, Copy, PartialEq, Eq, Debug, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Fault {
    /// Nothing.
    None,
    /// 5 % of its blocks are overwritten after ingest.
    Lossy,
    /// A proxy delays every round trip by [`SLOW_ROUND_TRIP`].
    Slow,
    /// A proxy lets through [`THROTTLED_KBPS`] each way.
    Throttled,
    /// Its process is stopped and started again, turn by turn.
    Away,
}

impl Fault {
    /// As the summary and the table name it.
    pub fn name(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Lossy => "lossy",
            Self::Slow => "slow",
            Self::Throttled => "throttled",
            Self::Away => "away",
        }
    }

    /// What its proxy does to the network; `None` without a proxy.
    fn network(self) -> Option<Faults> {
        match self {
            Self::Slow => Some(Faults { round_trip_delay: SLOW_ROUND_TRIP, ..Faults::default() }),
            Self::Throttled => Some(Faults { rate_bytes_per_s: Some(THROTTLED_KBPS * 1_000 / 8), ..Faults::default() }),
            Self::None | Self::Lossy | Self::Away => None,
        }
    }
}

/// What is wrong with an oracle.
#[derive(Clone, Copy, PartialEq, Eq, Debug, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum OracleFault {
    /// Nothing.
    None,
    /// It reports every provider as perfect.
    Lies,
    /// It is killed and started again in the middle of an epoch.
    Killed,
}

impl OracleFault {
    /// As the table names it.
    pub fn name(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Lies => "lies",
            Self::Killed => "killed",
        }
    }
}

/// What to start.
#[derive(Clone, Debug)]
pub struct Plan {
    /// Where everything goes; made anew.
    pub dir: PathBuf,
    /// What to store: a file or a directory.
    pub data: PathBuf,
    /// One oracle each.
    pub oracles: Vec<OracleFault>,
    /// One provider each.
    pub faults: Vec<Fault>,
}

/// What a test wants otherwise than the demo.
#[derive(Clone, Debug, Default)]
pub struct Changes {
    /// From acceptance to slashes, in seconds.
    pub slash_window_s: Option<u64>,
    /// From the settlement's deployment to genesis, in seconds: the time in which every oracle has to start.
    pub genesis_delay_s: Option<u64>,
    /// Where a provider (by its number, from 1) is registered instead of where it listens: somebody stands between.
    pub registered_at: BTreeMap<usize, SocketAddr>,
    /// Between every oracle and its peers, its chain and its clock stands something that can spoil them ([`Spoilers`]).
    pub spoilers: bool,
}

/// A provider of the network.
#[derive(Debug)]
pub struct ProviderNode {
    /// Registration id.
    pub id: ProviderId,
    /// What is wrong with it.
    pub fault: Fault,
    /// Its operator.
    pub operator: Address,
    /// Who is paid.
    pub recipient: Address,
    /// Its data directory.
    pub data_dir: PathBuf,
    /// Where it really listens.
    pub listen: SocketAddr,
    /// (overwritten, all) blocks of a lossy one.
    pub lost: (u64, u64),
    process: Option<Process>,
    turns: Option<Turns>,
    _proxy: Option<Proxy>,
}

/// An oracle of the network.
#[derive(Debug)]
pub struct OracleNode {
    /// Registration id.
    pub id: OracleId,
    /// Its operator.
    pub operator: Address,
    /// What is wrong with it.
    pub fault: OracleFault,
    /// Whose transactions it sends.
    pub transmitter: Address,
    /// Who is paid.
    pub recipient: Address,
    /// Base URL of its REST API.
    pub api: String,
    /// Its directory: config, keys, database.
    pub dir: PathBuf,
    /// Where it logs: when it was first started, and later.
    pub logs: [PathBuf; 2],
    spoilers: Option<Spoilers>,
    process: Option<Process>,
}

/// What stands between an oracle and its surroundings.
#[derive(Debug)]
pub struct Spoilers {
    /// Its chain, as it sees it.
    pub rpc: RpcProxy,
    /// Its wall clock.
    pub clock: Clock,
}

impl OracleNode {
    /// Whether its process was started and not ended by us.
    pub fn is_running(&self) -> bool {
        self.process.is_some()
    }
}

/// A running network. Dropping it ends every process.
pub struct Devnet {
    /// What was deployed.
    pub deployment: Deployment,
    /// Providers by id.
    pub providers: Vec<ProviderNode>,
    /// Oracles by id.
    pub oracles: Vec<OracleNode>,
    /// The protocol's parameters.
    pub params: Params,
    /// What one upload printed, by provider.
    pub uploads: Vec<Value>,
    anvil: Anvil,
    mesh: Option<Mesh>,
    _beacon: Process,
}

/// Why the network does not start.
#[derive(Debug, thiserror::Error)]
pub enum DevnetError {
    /// A file.
    #[error("{}: {source}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// The system's word.
        source: io::Error,
    },
    /// A port or the proxy.
    #[error("network: {0}")]
    Network(io::Error),
    /// The chain.
    #[error(transparent)]
    Anvil(#[from] AnvilError),
    /// The contracts.
    #[error(transparent)]
    Deploy(#[from] DeployError),
    /// A process.
    #[error(transparent)]
    Process(#[from] ProcessError),
    /// A key.
    #[error(transparent)]
    Keystore(#[from] KeystoreError),
    /// A command of ours failed.
    #[error("{command} failed:\n{stderr}")]
    Command {
        /// Which.
        command: String,
        /// What it said.
        stderr: String,
    },
    /// A command printed something else than announced.
    #[error("{command} printed no {field}")]
    Printed {
        /// Which.
        command: String,
        /// What is missing.
        field: &'static str,
    },
    /// A process does not answer.
    #[error("{what} does not answer; its log is {}", log.display())]
    NotReady {
        /// Which.
        what: String,
        /// Its log.
        log: PathBuf,
    },
    /// A clock.
    #[error(transparent)]
    Clock(#[from] ClockError),
    /// The beacon's key.
    #[error("the beacon's key: {0}")]
    Beacon(assay_core::bls::BlsError),
}

fn address(kind: u8, number: usize) -> Address {
    let mut bytes = [kind; 20];
    bytes[19] = u8::try_from(number).unwrap_or(u8::MAX);
    Address(bytes)
}

fn file_error(path: &Path) -> impl FnOnce(io::Error) -> DevnetError {
    let path = path.to_path_buf();
    move |source| DevnetError::File { path, source }
}

impl Devnet {
    /// Starts everything up to the first epoch's genesis; `say` gets one line a step.
    pub async fn start(plan: &Plan, say: impl FnMut(&str)) -> Result<Self, DevnetError> {
        Self::start_changed(plan, &Changes::default(), say).await
    }

    /// As [`Self::start`], with changes.
    pub async fn start_changed(plan: &Plan, changes: &Changes, mut say: impl FnMut(&str)) -> Result<Self, DevnetError> {
        let dir = &plan.dir;
        if dir.exists() {
            fs::remove_dir_all(dir).map_err(file_error(dir))?;
        }
        fs::create_dir_all(dir.join("logs")).map_err(file_error(dir))?;
        let password_file = dir.join("password");
        write_private(&password_file, "devnet\n")?;
        let tools = Tools { dir: dir.clone(), password_file };

        say("chain: anvil with one-second blocks");
        let anvil = Anvil::start_on(free_port().map_err(DevnetError::Network)?, &tools.log("anvil")).await?;
        say("beacon: drand's HTTP API, quicknet scheme, one round a second");
        let (beacon, beacon_process, beacon_url) = tools.beacon().await?;

        let params = Params::devnet();
        let (mut providers, provider_specs) = tools.providers(plan, changes).await?;
        let (mesh, oracle_seats) = tools.oracle_keys(plan.oracles.len(), changes).await?;
        let shim = if changes.spoilers { Some(Shim::build(dir)?) } else { None };
        let spec = DeploySpec {
            oracles: oracle_seats.iter().map(|seat| seat.spec.clone()).collect(),
            providers: provider_specs,
            epoch_length_s: params.epoch_ms() / 1_000,
            valid_epochs: params.valid_epochs,
            epoch_budget: 10_000 * TOKEN,
            params_hash: params.hash(),
            pool: POOL,
            slash_window_s: changes.slash_window_s.unwrap_or(DeploySpec::default().slash_window_s),
            genesis_delay_s: changes.genesis_delay_s.unwrap_or(DeploySpec::default().genesis_delay_s),
            ..DeploySpec::default()
        };
        say("contracts: token, registries, everybody registered, committee snapshot");
        let registries = deploy::deploy_registries(anvil.url(), &spec).await?;
        for provider in &mut providers {
            tools.start_provider(provider, &registries).await?;
        }
        say(&format!("builder: one encrypted replica for each of {} providers", providers.len()));
        let uploads = tools.upload(plan, &providers, &registries, anvil.url()).await?;
        for provider in providers.iter_mut().filter(|provider| provider.fault == Fault::Lossy) {
            provider.lost = faults::lose_blocks(&provider.data_dir).map_err(file_error(&provider.data_dir))?;
            say(&format!("fault: provider {} lost {} of {} blocks on its disk", provider.id, provider.lost.0, provider.lost.1));
        }
        let deployment = deploy::deploy_settlement(&registries, &spec).await?;
        say(&format!("contracts: settlement {} deployed last, genesis at {}", deployment.settlement, deployment.genesis_s));
        let beacon_config = beacon.config(vec![beacon_url]);
        let mut oracles = Vec::new();
        for ((number, seat), fault) in oracle_seats.into_iter().enumerate().zip(&plan.oracles) {
            let spoilers = match &shim {
                Some(shim) => Some(tools.spoilers(&seat, shim, anvil.url()).await?),
                None => None,
            };
            let oracle = tools.start_oracle(number, seat, *fault, spoilers, &deployment, &beacon_config).await?;
            note_process(mesh.as_ref(), number, oracle.process.as_ref());
            oracles.push(oracle);
        }
        say(&format!("oracles: {} processes started", oracles.len()));
        for provider in providers.iter_mut().filter(|provider| provider.fault == Fault::Away) {
            provider.take_turns(UNIX_EPOCH + Duration::from_secs(deployment.genesis_s), tools.log(&format!("provider-{}", provider.id)));
            say(&format!("fault: provider {} is down for {} s of every {} s", provider.id, AWAY_TURN.as_secs(), AWAY_TURN.as_secs() * 2));
        }
        Ok(Self { deployment, providers, oracles, params, uploads, anvil, mesh, _beacon: beacon_process })
    }

    /// The chain's JSON-RPC URL.
    pub fn rpc(&self) -> &str {
        self.anvil.url()
    }

    /// The chain.
    pub fn anvil(&self) -> &Anvil {
        &self.anvil
    }

    /// The network between the oracles, if it can be spoiled.
    pub fn mesh(&self) -> Option<&Mesh> {
        self.mesh.as_ref()
    }

    /// Sends SIGTERM to every process of ours and waits for each, at most five seconds.
    pub async fn stop(mut self) -> Result<(), ProcessError> {
        let oracles = self.oracles.iter_mut().map(|oracle| &mut oracle.process);
        let providers = self.providers.iter_mut().map(|provider| &mut provider.process);
        let mut running: Vec<Process> = oracles.chain(providers).filter_map(Option::take).collect();
        for turns in self.providers.iter_mut().filter_map(|provider| provider.turns.take()) {
            running.extend(turns.end().await);
        }
        let stops = running.into_iter().map(|process| process.stop(Duration::from_secs(5)));
        for stopped in futures::future::join_all(stops).await {
            stopped?;
        }
        Ok(())
    }

    /// Ends an oracle as a power cut would. How it ended; `None` when it did not run.
    pub async fn kill_oracle(&mut self, index: usize) -> Result<Option<ExitStatus>, ProcessError> {
        note_process(self.mesh.as_ref(), index, None);
        match self.oracles.get_mut(index).and_then(|oracle| oracle.process.take()) {
            Some(process) => process.kill().await.map(Some),
            None => Ok(None),
        }
    }

    /// Starts an oracle that was ended.
    pub async fn restart_oracle(&mut self, index: usize) -> Result<(), DevnetError> {
        if let Some(oracle) = self.oracles.get_mut(index) {
            let [_, log] = &oracle.logs;
            let process = run_oracle(&oracle.dir.join("oracle.toml"), oracle.fault, oracle.spoilers.as_ref(), log)?;
            note_process(self.mesh.as_ref(), index, Some(&process));
            wait_until_ready(&format!("oracle {}", oracle.id), &format!("{}/healthz", oracle.api), log).await?;
            oracle.process = Some(process);
        }
        Ok(())
    }
}

fn note_process(mesh: Option<&Mesh>, index: usize, process: Option<&Process>) {
    if let Some(mesh) = mesh {
        mesh.set_process(index, process.and_then(Process::id));
    }
}
