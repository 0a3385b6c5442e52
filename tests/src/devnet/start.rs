//! Runs our own commands: keys, configs, processes, the upload.

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use assay_core::ids::{Address, OracleId, ProviderId};
use assay_daemon::keystore::{self, Password};
use serde_json::Value;
use tokio::process::Command;

use super::{
    BEACON_SEED, Changes, DevnetError, ORACLE_STAKE, OracleFault, OracleNode, PROVIDER_STAKE, Plan, ProviderNode, READY_DEADLINE, Spoilers,
    address, file_error,
};
use crate::beacon::{Beacon, BeaconKey};
use crate::binaries;
use crate::clock::Shim;
use crate::deploy::{self, Deployment, OracleSpec, ProviderSpec};
use crate::mesh::Mesh;
use crate::ports::free_port;
use crate::process::{Process, ProcessError, Spec};
use crate::proxy::Proxy;
use crate::rpc_proxy::RpcProxy;

/// An oracle before it runs.
pub(super) struct OracleSeat {
    pub(super) spec: OracleSpec,
    dir: PathBuf,
    listen: SocketAddr,
    api_listen: SocketAddr,
}

/// Runs our own commands.
pub(super) struct Tools {
    pub(super) dir: PathBuf,
    pub(super) password_file: PathBuf,
}

fn loopback() -> Result<SocketAddr, DevnetError> {
    Ok(SocketAddr::from(([127, 0, 0, 1], free_port().map_err(DevnetError::Network)?)))
}

impl Tools {
    pub(super) fn log(&self, name: &str) -> PathBuf {
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

    pub(super) async fn beacon(&self) -> Result<(Beacon, Process, String), DevnetError> {
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
    pub(super) async fn providers(&self, plan: &Plan, changes: &Changes) -> Result<(Vec<ProviderNode>, Vec<ProviderSpec>), DevnetError> {
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

    pub(super) async fn start_provider(&self, node: &mut ProviderNode, registries: &deploy::Registries) -> Result<(), DevnetError> {
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

    pub(super) async fn upload(
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

    /// Keys and addresses; with spoilers the registered addresses are those of the mesh.
    pub(super) async fn oracle_keys(&self, count: usize, changes: &Changes) -> Result<(Option<Mesh>, Vec<OracleSeat>), DevnetError> {
        let listens = (0..count).map(|_| loopback()).collect::<Result<Vec<_>, _>>()?;
        let mesh = match changes.spoilers {
            true => Some(Mesh::start(&listens).await.map_err(DevnetError::Network)?),
            false => None,
        };
        let mut seats = Vec::new();
        for (number, listen) in (1..).zip(listens) {
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
            let api_listen = loopback()?;
            let reached = mesh.as_ref().and_then(|mesh| mesh.addr(seats.len())).unwrap_or(listen);
            let spec = OracleSpec {
                key: keystore::load_bls(&dir.join("verdict.json"), &password)?,
                operator: address(0xa0, number),
                transmitter: keystore::load_secp(&dir.join("transmitter.json"), &password)?.address(),
                recipient: address(0xa1, number),
                endpoint: format!("https://{reached}"),
                network_group: number as u64,
                stake: ORACLE_STAKE,
            };
            seats.push(OracleSeat { spec, dir, listen, api_listen });
        }
        Ok((mesh, seats))
    }

    /// A right clock and an honest RPC, for now.
    pub(super) async fn spoilers(&self, seat: &OracleSeat, shim: &Shim, chain: &str) -> Result<Spoilers, DevnetError> {
        let rpc = RpcProxy::start(chain).await.map_err(DevnetError::Network)?;
        Ok(Spoilers { rpc, clock: shim.clock(&seat.dir.join("clock"))? })
    }

    pub(super) async fn start_oracle(
        &self,
        number: usize,
        seat: OracleSeat,
        fault: OracleFault,
        spoilers: Option<Spoilers>,
        deployment: &Deployment,
        beacon: &assay_oracle::beacon::BeaconConfig,
    ) -> Result<OracleNode, DevnetError> {
        let OracleSeat { spec, dir, listen, api_listen } = seat;
        let chain = &deployment.chain;
        let shown = dir.display();
        let urls: Vec<String> = beacon.urls.iter().map(|url| format!("\"{url}\"")).collect();
        let config = format!(
            "oracle_id = {id}\nparams = \"devnet\"\nlisten = \"{listen}\"\napi_listen = \"{api_listen}\"\ndata_dir = \"{shown}/data\"\nprotection_file = \"{shown}/protection.sqlite\"\n\n\
             [keys]\nverdict = \"{shown}/verdict.json\"\ntransmitter = \"{shown}/transmitter.json\"\npassword_file = \"{password}\"\n\n\
             [chain]\nrpc_url = \"{rpc}\"\nchain_id = {chain_id}\noracle_registry = \"{oracles}\"\nprovider_registry = \"{providers}\"\nsettlement = \"{settlement}\"\n\n\
             [beacon]\nurls = [{urls}]\nchain_hash = \"{hash}\"\npublic_key = \"{key}\"\n\n\
             [providers]\nallow_private = true\n\n\
             [settle]\npoll_ms = 500\nclaim = \"all\"\nmarket = \"{market}\"\nequivocation_court = \"{court}\"\n\
             aggregation_court = \"{aggregation}\"\nsigners_court = \"{signers}\"\n\n\
             [telemetry]\nfilter = \"info\"\njson = false\n",
            id = number + 1,
            password = self.password_file.display(),
            rpc = spoilers.as_ref().map_or(chain.rpc_url.first(), |spoilers| spoilers.rpc.url()),
            chain_id = chain.chain_id,
            oracles = chain.oracle_registry,
            providers = chain.provider_registry,
            settlement = deployment.settlement,
            market = deployment.economy.market,
            court = deployment.economy.equivocation_court,
            aggregation = deployment.economy.aggregation_court,
            signers = deployment.economy.signers_court,
            urls = urls.join(", "),
            hash = beacon.chain_hash,
            key = beacon.public_key,
        );
        let path = dir.join("oracle.toml");
        fs::write(&path, config).map_err(file_error(&path))?;
        self.run("assay-oracle", &["protection".into(), "init".into(), "--config".into(), path.display().to_string()]).await?;
        let log = self.log(&format!("oracle-{}", number + 1));
        let process = run_oracle(&path, fault, spoilers.as_ref(), &log)?;
        let api = format!("http://{api_listen}");
        wait_until_ready(&format!("oracle {}", number + 1), &format!("{api}/healthz"), &log).await?;
        Ok(OracleNode {
            id: OracleId(number as u64 + 1),
            operator: spec.operator,
            fault,
            transmitter: spec.transmitter,
            recipient: spec.recipient,
            api,
            logs: [log, dir.join("restarted.log")],
            dir,
            spoilers,
            process: Some(process),
        })
    }
}

pub(super) fn run_oracle(config: &Path, fault: OracleFault, spoilers: Option<&Spoilers>, log: &Path) -> Result<Process, DevnetError> {
    let spec = match fault {
        // The same node, with the one hook that makes a liar; it obeys its standard input by itself.
        OracleFault::Lies => Spec::new(binaries::path("assay-devnet"), log)
            .args(["oracle", "--lie", "--until-stdin-closes", "--config"])
            .arg(config.display()),
        OracleFault::None | OracleFault::Killed => {
            Spec::new(binaries::path("assay-oracle"), log).args(["run", "--config"]).arg(config.display()).guarded()
        }
    };
    Ok(spec.envs(spoilers.iter().flat_map(|spoilers| spoilers.clock.env())).start()?)
}

pub(super) fn run_provider(data_dir: &Path, log: &Path) -> Result<Process, ProcessError> {
    let config = data_dir.join("provider.toml");
    Spec::new(binaries::path("assay-provider"), log).args(["run", "--config"]).arg(config.display()).guarded().start()
}

pub(super) fn write_private(path: &Path, text: &str) -> Result<(), DevnetError> {
    use std::os::unix::fs::PermissionsExt;
    fs::write(path, text).and_then(|()| fs::set_permissions(path, fs::Permissions::from_mode(0o600))).map_err(file_error(path))
}

pub(super) async fn wait_until_ready(what: &str, url: &str, log: &Path) -> Result<(), DevnetError> {
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
