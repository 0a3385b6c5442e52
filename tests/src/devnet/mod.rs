//! A whole network on one machine: chain, beacon, providers with their faults, a builder, and oracles.
//!
//! `make demo` and the end-to-end tests start the same network.

pub mod chaos;
pub mod data;
pub mod economy;
pub mod faults;
pub mod outcome;
pub mod show;
mod turns;

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use assay_core::ids::{Address, OracleId, ProviderId};
use assay_core::params::{Params, TOKEN};
use assay_daemon::keystore::{self, KeystoreError, Password};
use serde_json::Value;
use tokio::process::Command;

use crate::anvil::{Anvil, AnvilError};
use crate::beacon::{Beacon, BeaconKey};
use crate::binaries;
use crate::deploy::{self, DeployError, DeploySpec, Deployment, OracleSpec, ProviderSpec};
use crate::ports::free_port;
use crate::process::{Process, ProcessError, Spec};
use crate::proxy::{Faults, Proxy};
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
    /// Where a provider (by its number, from 1) is registered instead of where it listens: somebody stands between.
    pub registered_at: BTreeMap<usize, SocketAddr>,
    /// Every oracle is registered behind a line of its own, which can be cut.
    pub oracle_lines: bool,
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
    /// Who is paid.
    pub recipient: Address,
    /// Base URL of its REST API.
    pub api: String,
    /// Its directory: config, keys, database.
    pub dir: PathBuf,
    /// What its peers reach it through, if it is registered behind a line.
    line: Option<Proxy>,
    process: Option<Process>,
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
        let oracle_seats = tools.oracle_keys(plan.oracles.len(), changes).await?;
        let spec = DeploySpec {
            oracles: oracle_seats.iter().map(|seat| seat.spec.clone()).collect(),
            providers: provider_specs,
            epoch_length_s: params.epoch_ms() / 1_000,
            valid_epochs: params.valid_epochs,
            epoch_budget: 10_000 * TOKEN,
            params_hash: params.hash(),
            pool: POOL,
            slash_window_s: changes.slash_window_s.unwrap_or(DeploySpec::default().slash_window_s),
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
            oracles.push(tools.start_oracle(number, seat, *fault, &deployment, &beacon_config).await?);
        }
        say(&format!("oracles: {} processes started", oracles.len()));
        for provider in providers.iter_mut().filter(|provider| provider.fault == Fault::Away) {
            provider.take_turns(UNIX_EPOCH + Duration::from_secs(deployment.genesis_s), tools.log(&format!("provider-{}", provider.id)));
            say(&format!("fault: provider {} is down for {} s of every {} s", provider.id, AWAY_TURN.as_secs(), AWAY_TURN.as_secs() * 2));
        }
        Ok(Self { deployment, providers, oracles, params, uploads, anvil, _beacon: beacon_process })
    }

    /// The chain's JSON-RPC URL.
    pub fn rpc(&self) -> &str {
        self.anvil.url()
    }

    /// The chain.
    pub fn anvil(&self) -> &Anvil {
        &self.anvil
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

    /// Ends an oracle as a power cut would.
    pub async fn kill_oracle(&mut self, index: usize) -> Result<(), ProcessError> {
        if let Some(process) = self.oracles.get_mut(index).and_then(|oracle| oracle.process.take()) {
            process.kill().await?;
        }
        Ok(())
    }

    /// Starts an oracle that was ended.
    pub async fn restart_oracle(&mut self, index: usize) -> Result<(), DevnetError> {
        if let Some(oracle) = self.oracles.get_mut(index) {
            let log = oracle.dir.join("restarted.log");
            let process = run_oracle(&oracle.dir.join("oracle.toml"), oracle.fault, &log)?;
            wait_until_ready(&format!("oracle {}", oracle.id), &format!("{}/healthz", oracle.api), &log).await?;
            oracle.process = Some(process);
        }
        Ok(())
    }
}

/// An oracle before it runs.
struct OracleSeat {
    spec: OracleSpec,
    dir: PathBuf,
    listen: SocketAddr,
    api_listen: SocketAddr,
    line: Option<Proxy>,
}

/// Runs our own commands.
struct Tools {
    dir: PathBuf,
    password_file: PathBuf,
}

fn loopback() -> Result<SocketAddr, DevnetError> {
    Ok(SocketAddr::from(([127, 0, 0, 1], free_port().map_err(DevnetError::Network)?)))
}

impl Tools {
    fn log(&self, name: &str) -> PathBuf {
        self.dir.join("logs").join(format!("{name}.log"))
    }

    async fn run(&self, program: &str, args: &[String]) -> Result<String, DevnetError> {
        let command = format!("{program} {}", args.first().map_or("", String::as_str));
        let output = Command::new(binaries::path(program)).args(args).kill_on_drop(true).output().await;
        let output = output.map_err(file_error(&binaries::path(program)))?;
        if !output.status.success() {
            return Err(DevnetError::Command { command, stderr: String::from_utf8_lossy(&output.stderr).into_owned() });
        }
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    }

    async fn run_json(&self, program: &str, args: &[String]) -> Result<Value, DevnetError> {
        let printed = self.run(program, args).await?;
        serde_json::from_str(&printed).map_err(|_| DevnetError::Printed { command: program.into(), field: "JSON" })
    }

    async fn beacon(&self) -> Result<(Beacon, Process, String), DevnetError> {
        let genesis_s = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |elapsed| elapsed.as_secs());
        let key = BeaconKey::from_seed(&BEACON_SEED).map_err(DevnetError::Beacon)?;
        let beacon = Beacon::new(key, genesis_s, 1);
        let listen = loopback()?;
        let log = self.log("beacon");
        let process = Spec::new(binaries::path("assay-devnet"), &log)
            .args(["beacon", "--listen", &listen.to_string(), "--seed", &hex::encode(BEACON_SEED)])
            .args(["--genesis", &genesis_s.to_string(), "--until-stdin-closes"])
            .start()?;
        let url = format!("http://{listen}");
        wait_until_ready("the beacon", &format!("{url}/{}/info", hex::encode(beacon.chain_hash().0)), &log).await?;
        Ok((beacon, process, url))
    }

    /// Provider directories and keys; the processes start once the registry's address is known.
    async fn providers(&self, plan: &Plan, changes: &Changes) -> Result<(Vec<ProviderNode>, Vec<ProviderSpec>), DevnetError> {
        let mut nodes = Vec::new();
        let mut specs = Vec::new();
        for (number, fault) in (1..).zip(&plan.faults) {
            let listen = loopback()?;
            let proxy = match fault.network() {
                Some(faults) => Some(Proxy::start(listen, faults).await.map_err(DevnetError::Network)?),
                None => None,
            };
            let reached = proxy.as_ref().map_or(listen, Proxy::addr);
            let reached = changes.registered_at.get(&number).copied().unwrap_or(reached);
            let data_dir = self.dir.join(format!("provider-{number}"));
            fs::create_dir_all(&data_dir).map_err(file_error(&data_dir))?;
            let password = Password::from_file(&self.password_file)?;
            let receipt_key = keystore::create_secp(&data_dir.join("receipt-key.json"), &password, keystore::Kdf::Pbkdf2)?;
            let (operator, recipient) = (address(0xb0, number), address(0xb1, number));
            specs.push(ProviderSpec {
                operator,
                receipt_key: receipt_key.address(),
                recipient,
                endpoint: format!("http://{reached}"),
                class_id: 100,
                region: 1,
                stake: PROVIDER_STAKE,
            });
            nodes.push(ProviderNode {
                id: ProviderId(number as u64),
                fault: *fault,
                operator,
                recipient,
                data_dir,
                listen,
                lost: (0, 0),
                process: None,
                turns: None,
                _proxy: proxy,
            });
        }
        Ok((nodes, specs))
    }

    async fn start_provider(&self, node: &mut ProviderNode, registries: &deploy::Registries) -> Result<(), DevnetError> {
        let config = format!(
            "provider_id = {}\nlisten = \"{}\"\ndata_dir = \"{dir}\"\nkeystore = \"{dir}/receipt-key.json\"\npassword_file = \"{}\"\nchain_id = {}\nprovider_registry = \"{}\"\nsettlement = \"{}\"\n",
            node.id,
            node.listen,
            self.password_file.display(),
            registries.chain.chain_id,
            registries.chain.provider_registry,
            deploy::settlement_address(),
            dir = node.data_dir.display(),
        );
        let path = node.data_dir.join("provider.toml");
        fs::write(&path, config).map_err(file_error(&path))?;
        let log = self.log(&format!("provider-{}", node.id));
        let process = run_provider(&node.data_dir, &log)?;
        wait_for_port(&format!("provider {}", node.id), node.listen, &log).await?;
        node.process = Some(process);
        Ok(())
    }

    async fn upload(
        &self,
        plan: &Plan,
        providers: &[ProviderNode],
        registries: &deploy::Registries,
        rpc: &str,
    ) -> Result<Vec<Value>, DevnetError> {
        let keys = self.dir.join("builder");
        let strings = |args: &[&str]| args.iter().map(ToString::to_string).collect::<Vec<_>>();
        let (keys, password) = (keys.display().to_string(), self.password_file.display().to_string());
        let made = self
            .run_json(
                "assay-builder",
                &strings(&["keygen", "--keys", &keys, "--password-file", &password, "--i-understand", "--fast-kdf", "--json"]),
            )
            .await?;
        let builder = made.get("address").and_then(Value::as_str).and_then(Address::from_hex);
        let builder = builder.ok_or(DevnetError::Printed { command: "assay-builder keygen".into(), field: "address" })?;
        deploy::endow(rpc, &builder).await?;
        let what = if plan.data.is_dir() { "--dir" } else { "--file" };
        let data = plan.data.display().to_string();
        let registry = registries.chain.provider_registry.to_string();
        let mut printed = Vec::new();
        for provider in providers {
            // Straight to the provider: the proxy's delay is for its users, not for the set-up.
            let (endpoint, id) = (format!("http://{}", provider.listen), provider.id.to_string());
            let replica = provider.id.0.saturating_sub(1).to_string();
            let args = strings(&[
                "upload",
                "--keys",
                &keys,
                "--password-file",
                &password,
                "--provider-endpoint",
                &endpoint,
                "--provider-id",
                &id,
                "--replica",
                &replica,
                what,
                &data,
                "--rpc",
                rpc,
                "--provider-registry",
                &registry,
                "--json",
            ]);
            printed.push(self.run_json("assay-builder", &args).await?);
        }
        Ok(printed)
    }

    async fn oracle_keys(&self, count: usize, changes: &Changes) -> Result<Vec<OracleSeat>, DevnetError> {
        let mut seats = Vec::new();
        for number in 1..=count {
            let dir = self.dir.join(format!("oracle-{number}"));
            fs::create_dir_all(&dir).map_err(file_error(&dir))?;
            let path = |name: &str| dir.join(name).display().to_string();
            let args = [
                "keys".to_owned(),
                "--verdict".into(),
                path("verdict.json"),
                "--transmitter".into(),
                path("transmitter.json"),
                "--password-file".into(),
                self.password_file.display().to_string(),
                "--kdf".into(),
                "pbkdf2".into(),
            ];
            self.run("assay-oracle", &args).await?;
            let password = Password::from_file(&self.password_file)?;
            let (listen, api_listen) = (loopback()?, loopback()?);
            let line = match changes.oracle_lines {
                true => Some(Proxy::start(listen, Faults::default()).await.map_err(DevnetError::Network)?),
                false => None,
            };
            let reached = line.as_ref().map_or(listen, Proxy::addr);
            let spec = OracleSpec {
                key: keystore::load_bls(&dir.join("verdict.json"), &password)?,
                operator: address(0xa0, number),
                transmitter: keystore::load_secp(&dir.join("transmitter.json"), &password)?.address(),
                recipient: address(0xa1, number),
                endpoint: format!("https://{reached}"),
                network_group: number as u64,
                stake: ORACLE_STAKE,
            };
            seats.push(OracleSeat { spec, dir, listen, api_listen, line });
        }
        Ok(seats)
    }

    async fn start_oracle(
        &self,
        number: usize,
        seat: OracleSeat,
        fault: OracleFault,
        deployment: &Deployment,
        beacon: &assay_oracle::beacon::BeaconConfig,
    ) -> Result<OracleNode, DevnetError> {
        let OracleSeat { spec, dir, listen, api_listen, line } = seat;
        let chain = &deployment.chain;
        let shown = dir.display();
        let urls: Vec<String> = beacon.urls.iter().map(|url| format!("\"{url}\"")).collect();
        let config = format!(
            "oracle_id = {id}\nparams = \"devnet\"\nlisten = \"{listen}\"\napi_listen = \"{api_listen}\"\ndata_dir = \"{shown}/data\"\nprotection_file = \"{shown}/protection.sqlite\"\n\n\
             [keys]\nverdict = \"{shown}/verdict.json\"\ntransmitter = \"{shown}/transmitter.json\"\npassword_file = \"{password}\"\n\n\
             [chain]\nrpc_url = \"{rpc}\"\nchain_id = {chain_id}\noracle_registry = \"{oracles}\"\nprovider_registry = \"{providers}\"\nsettlement = \"{settlement}\"\n\n\
             [beacon]\nurls = [{urls}]\nchain_hash = \"{hash}\"\npublic_key = \"{key}\"\n\n\
             [providers]\nallow_private = true\n\n\
             [settle]\npoll_ms = 500\nclaim = \"all\"\nmarket = \"{market}\"\n\n\
             [telemetry]\nfilter = \"info\"\njson = false\n",
            id = number + 1,
            password = self.password_file.display(),
            rpc = chain.rpc_url.first(),
            chain_id = chain.chain_id,
            oracles = chain.oracle_registry,
            providers = chain.provider_registry,
            settlement = deployment.settlement,
            market = deployment.economy.market,
            urls = urls.join(", "),
            hash = beacon.chain_hash,
            key = beacon.public_key,
        );
        let path = dir.join("oracle.toml");
        fs::write(&path, config).map_err(file_error(&path))?;
        self.run("assay-oracle", &["protection".into(), "init".into(), "--config".into(), path.display().to_string()]).await?;
        let log = self.log(&format!("oracle-{}", number + 1));
        let process = run_oracle(&path, fault, &log)?;
        let api = format!("http://{api_listen}");
        wait_until_ready(&format!("oracle {}", number + 1), &format!("{api}/healthz"), &log).await?;
        Ok(OracleNode {
            id: OracleId(number as u64 + 1),
            operator: spec.operator,
            fault,
            recipient: spec.recipient,
            api,
            dir,
            line,
            process: Some(process),
        })
    }
}

fn run_oracle(config: &Path, fault: OracleFault, log: &Path) -> Result<Process, DevnetError> {
    let spec = match fault {
        // The same node, with the one hook that makes a liar; it obeys its standard input by itself.
        OracleFault::Lies => Spec::new(binaries::path("assay-devnet"), log)
            .args(["oracle", "--lie", "--until-stdin-closes", "--config"])
            .arg(config.display()),
        OracleFault::None | OracleFault::Killed => {
            Spec::new(binaries::path("assay-oracle"), log).args(["run", "--config"]).arg(config.display()).guarded()
        }
    };
    Ok(spec.start()?)
}

fn run_provider(data_dir: &Path, log: &Path) -> Result<Process, ProcessError> {
    let config = data_dir.join("provider.toml");
    Spec::new(binaries::path("assay-provider"), log).args(["run", "--config"]).arg(config.display()).guarded().start()
}

fn write_private(path: &Path, text: &str) -> Result<(), DevnetError> {
    use std::os::unix::fs::PermissionsExt;
    fs::write(path, text).and_then(|()| fs::set_permissions(path, fs::Permissions::from_mode(0o600))).map_err(file_error(path))
}

async fn wait_until_ready(what: &str, url: &str, log: &Path) -> Result<(), DevnetError> {
    let answered = async {
        loop {
            match reqwest::get(url).await {
                // An oracle that still waits for its first epoch answers too.
                Ok(response) if response.status().is_success() || response.status().as_u16() == 503 => return,
                _ => tokio::time::sleep(Duration::from_millis(50)).await,
            }
        }
    };
    tokio::time::timeout(READY_DEADLINE, answered).await.map_err(|_| DevnetError::NotReady { what: what.into(), log: log.into() })
}

async fn wait_for_port(what: &str, addr: SocketAddr, log: &Path) -> Result<(), DevnetError> {
    let connected = async {
        while tokio::net::TcpStream::connect(addr).await.is_err() {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    tokio::time::timeout(READY_DEADLINE, connected).await.map_err(|_| DevnetError::NotReady { what: what.into(), log: log.into() })
}
