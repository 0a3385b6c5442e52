//! Composition: opens everything, starts every part, and stops them in order.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use assay_chain::outbox::{Outbox, OutboxConfig, OutboxError};
use assay_chain::{ChainConfig, ChainError, Client, SettlementConfig};
use assay_challenger::watchdog::Watchdog;
use assay_core::ids::Instance;
use assay_core::verdict::REBUTTAL_EPOCHS;
use assay_daemon::grpc::{self, BindError};
use assay_daemon::keystore::{self, KeystoreError, Password};
use assay_daemon::telemetry::{self, TelemetryError};
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tracing::{error, info};

use crate::api::{self, ApiState, reveals_due_ms};
use crate::beacon::{BeaconClient, BeaconError};
use crate::clock::{now_ms, until_unix_ms};
use crate::committee::{Command, Committee};
use crate::config::Config;
use crate::doppelganger::{Doppelganger, DoppelgangerError};
use crate::frame::{Frame, Frames};
use crate::identity::{self, IdentityError};
use crate::measure::{self, Bend, MeasureError, Measurer, Rebuttals};
use crate::peers::tls::{Members, Terms, Tls, TlsError};
use crate::peers::{self, Outgoing};
use crate::settle::Settler;
use crate::signer::{Protection, ProtectionError, Signer};
use crate::store::{SqliteStore, Store, StoreError};
use crate::view::{PeerInbox, View};

/// So long after an epoch's reveals are due its tallies are folded: the two clocks that this compares run apart a little.
const FOLD_AFTER_MS: u64 = 100;

/// Why the node does not start, or stopped.
#[derive(Debug, thiserror::Error)]
pub enum AppError {
    /// Logs.
    #[error(transparent)]
    Telemetry(#[from] TelemetryError),
    /// Signal handlers.
    #[error("signal handlers cannot be installed: {0}")]
    Signals(std::io::Error),
    /// A keystore.
    #[error(transparent)]
    Keystore(#[from] KeystoreError),
    /// The chain.
    #[error(transparent)]
    Chain(#[from] ChainError),
    /// The parameters are not the contract's.
    #[error(
        "params: this node's parameters hash to {ours}, the settlement contract was deployed with {theirs}; set `params` to the set the network runs"
    )]
    Params {
        /// Our hash.
        ours: assay_core::hash::Hash32,
        /// The contract's.
        theirs: assay_core::hash::Hash32,
    },
    /// What may still be answered on the chain would be forgotten before that.
    #[error(
        "the settlement contract lets a silence be answered for {answerable_s} s after its epoch, and this version of assay-oracle remembers \
         one for {remembered_s} s: another version runs this network, or its slash window is too long for its epochs"
    )]
    SlashWindow {
        /// The latest answer, seconds after the epoch's start.
        answerable_s: u64,
        /// How long an entry of the watch list holds, seconds.
        remembered_s: u64,
    },
    /// Key and id are not the registered ones.
    #[error(transparent)]
    Identity(#[from] IdentityError),
    /// The beacon.
    #[error(transparent)]
    Beacon(#[from] BeaconError),
    /// The store.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// Signing protection.
    #[error(transparent)]
    Protection(#[from] ProtectionError),
    /// The outbox.
    #[error(transparent)]
    Outbox(#[from] OutboxError),
    /// A port.
    #[error(transparent)]
    Bind(#[from] BindError),
    /// The data directory.
    #[error("{path}: {source}; create the directory or set data_dir to one this user can write")]
    DataDir {
        /// The directory.
        path: PathBuf,
        /// What the system says.
        source: std::io::Error,
    },
    /// Our own watchdog thread.
    #[error("the watchdog thread cannot be started: {0}")]
    Watchdog(std::io::Error),
    /// Our TLS key.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// Another node signs with our key, or one may.
    #[error(transparent)]
    Doppelganger(#[from] DoppelgangerError),
    /// A server ended by itself.
    #[error("a server ended: {0}")]
    Server(String),
}

/// Where a test makes a node behave otherwise. No config reaches it: the oracle's own binary runs with the default, which is none.
#[derive(Clone, Default)]
pub struct Hooks {
    /// Applied to each observation before it is committed to: how a test makes an oracle that lies.
    pub observe: Option<Bend>,
}

/// Runs the node until a signal.
pub async fn run(config: Config) -> Result<(), AppError> {
    run_with(config, Hooks::default()).await
}

/// As [`run`], with hooks.
pub async fn run_with(config: Config, hooks: Hooks) -> Result<(), AppError> {
    telemetry::init(&config.telemetry)?;
    let cancel = assay_daemon::shutdown::token().map_err(AppError::Signals)?;
    let node = Node::open(&config).await?;
    node.run(&config, hooks, cancel).await
}

/// Everything that is opened before anything runs.
struct Node {
    frames: Frames,
    client: Client,
    beacon: BeaconClient,
    signer: Arc<Signer>,
    doppelganger: Arc<Doppelganger>,
    tls: Arc<Tls>,
    store: SqliteStore,
    outbox: Outbox,
    watchdog: Watchdog,
}

impl Node {
    async fn open(config: &Config) -> Result<Self, AppError> {
        let params = Arc::new(config.params.params());
        std::fs::create_dir_all(&config.data_dir).map_err(|source| AppError::DataDir { path: config.data_dir.clone(), source })?;
        let password = Password::from_file(&config.keys.password_file)?;
        let verdict = keystore::load_bls(&config.keys.verdict, &password)?;
        let transmitter = keystore::load_secp(&config.keys.transmitter, &password)?;
        let client = Client::connect(ChainConfig {
            rpc_url: config.chain.rpc_url.clone(),
            chain_id: config.chain.chain_id,
            oracle_registry: config.chain.oracle_registry,
            provider_registry: config.chain.provider_registry,
            settlement: Some(config.chain.settlement),
        })
        .await?;
        let settlement = client.settlement_config().await?;
        if settlement.params_hash != params.hash() {
            return Err(AppError::Params { ours: params.hash(), theirs: settlement.params_hash });
        }
        check_slash_window(&settlement)?;
        identity::check(&client, config.oracle_id, &verdict.public_key()).await?;
        let beacon = BeaconClient::connect(&config.beacon).await?;
        let instance = Instance { chain_id: config.chain.chain_id, settlement: config.chain.settlement };
        let protection = Protection::open(&config.protection_file, &verdict.public_key(), &instance).await?;
        let signer = Arc::new(Signer::new(verdict, config.oracle_id, instance, protection)?);
        let (terms, members) = (Terms { instance, params_hash: params.hash(), oracle: config.oracle_id }, Members::default());
        let tls = Tls::new(terms, signer.clone(), members.clone())?;
        let store = SqliteStore::open(&config.data_dir.join("node.sqlite")).await?;
        let outbox_config = OutboxConfig {
            poll_interval: Duration::from_millis(config.settle.poll_ms),
            max_fee_per_gas_wei: u128::from(config.chain.max_fee_per_gas_wei),
            ..OutboxConfig::default()
        };
        let outbox = Outbox::open(store.pool().clone(), client.clone(), transmitter, outbox_config).await?;
        let watchdog = Watchdog::start(Duration::from_millis(params.probing.stall_ms)).map_err(AppError::Watchdog)?;
        let frames = Frames::new(client.clone(), instance, settlement, params, beacon.info().clone(), members);
        let running = frames.epoch_at(now_ms());
        let doppelganger = Doppelganger::watch(signer.clone(), running, frames.params().epoch_ms()).await?;
        if let Some(running) = running {
            doppelganger.check_log(&store, running.saturating_sub(frames.params().valid_epochs)..=running).await?;
        }
        let doppelganger = Arc::new(doppelganger);
        Ok(Self { doppelganger, frames, client, beacon, signer, tls, store, outbox, watchdog })
    }

    async fn run(self, config: &Config, hooks: Hooks, cancel: CancellationToken) -> Result<(), AppError> {
        let (peers_listener, grpc_addr) = grpc::listen(config.listen).await?;
        let (listener, api_addr) = grpc::listen(config.api_listen).await?;
        info!(oracle = %config.oracle_id, key = ?self.signer.public_key(), %grpc_addr, %api_addr, "started");
        let store: Arc<dyn Store> = Arc::new(self.store);
        let outgoing = Outgoing::new(self.signer.oracle(), self.tls.clone(), cancel.clone());
        let (certified, handed) = mpsc::channel(16);
        let (committee, actor) = Committee::start(store.clone(), self.signer.clone(), outgoing.clone(), certified, cancel.clone());
        let view = Arc::new(View::new(self.frames.clone(), self.signer.oracle(), self.beacon.clone(), outgoing.clone()));
        let mut parts = JoinSet::new();

        let inbox = Arc::new(PeerInbox::new(committee.clone(), store.clone(), view.clone(), self.doppelganger.clone()));
        outgoing.deliver_to(inbox.clone());
        let (tls, stop) = (self.tls.clone(), cancel.clone());
        parts.spawn(async move {
            tls.keep(stop).await;
            Ok(())
        });
        let (tls, stop) = (self.tls, cancel.clone());
        let serving = peers::serve(peers_listener, tls, inbox, stop);
        parts.spawn(async move { serving.await.map_err(|e| AppError::Server(assay_daemon::describe(&e))) });
        let state = ApiState::new(store.clone(), view.clone());
        let stop = cancel.clone();
        parts.spawn(async move { api::serve(listener, state, stop).await.map_err(|e| AppError::Server(e.to_string())) });
        let (outbox, stop) = (self.outbox.clone(), cancel.clone());
        parts.spawn(async move {
            outbox.run(stop).await;
            Ok(())
        });
        let (watchdog, stop) = (self.watchdog.clone(), cancel.clone());
        parts.spawn(async move {
            watchdog.pulse(stop).await;
            Ok(())
        });
        let (doppelganger, asking, seen, stop) = (self.doppelganger.clone(), outgoing.clone(), view.clone(), cancel.clone());
        parts.spawn(async move { Ok(doppelganger.run(asking, seen, stop).await?) });
        let rebuttals = self.client.clone();
        let settler = Settler {
            client: self.client,
            outbox: self.outbox,
            store: store.clone(),
            committee: committee.clone(),
            outgoing: outgoing.clone(),
            frames: self.frames.clone(),
            view: view.clone(),
            me: self.signer.oracle(),
            config: config.settle.clone(),
        };
        let stop = cancel.clone();
        parts.spawn(async move {
            settler.run(handed, stop).await;
            Ok(())
        });
        let (signer, doppelganger) = (self.signer.clone(), self.doppelganger);
        let measurer = Arc::new(Measurer {
            beacon: self.beacon,
            signer: self.signer,
            store,
            links: config.providers.clone(),
            provider_registry: config.chain.provider_registry,
            watchdog: self.watchdog,
            bend: hooks.observe,
            rebuttals: Rebuttals::of(rebuttals),
        });
        let (frames, stop) = (self.frames, cancel.clone());
        parts.spawn(async move {
            if let Some(running) = frames.epoch_at(now_ms()) {
                let frame = stop.run_until_cancelled(frames.read(running)).await.and_then(Result::ok);
                doppelganger.first_word(&outgoing, frame.as_ref()).await;
            } else {
                doppelganger.first_word(&outgoing, None).await;
            }
            epochs(frames, committee, measurer, view, doppelganger, stop).await;
            Ok(())
        });

        let mut result = Ok(());
        while let Some(ended) = parts.join_next().await {
            // The first part that ends takes the others along; after a signal all end by themselves.
            cancel.cancel();
            match ended {
                Ok(Err(error)) if result.is_ok() => result = Err(error),
                Err(error) if error.is_panic() => result = Err(AppError::Server(error.to_string())),
                _ => {}
            }
        }
        // The actor's last step is on disk when it ends.
        let _ = actor.await;
        if result.is_ok() {
            signer.protection().rest().await?;
        }
        info!("stopped");
        result
    }
}

/// A slashed silence holds its place for [`REBUTTAL_EPOCHS`], so that a wrong answer on the chain can be proven: that must be longer than an
/// answer may take, which is an epoch, its report's validity and the slash window.
fn check_slash_window(settlement: &SettlementConfig) -> Result<(), AppError> {
    let epochs_s = |epochs: u64| epochs.saturating_mul(settlement.epoch_length_s);
    let answerable_s = epochs_s(settlement.valid_epochs.saturating_add(1)).saturating_add(settlement.slash_window_s);
    let remembered_s = epochs_s(REBUTTAL_EPOCHS);
    match answerable_s <= remembered_s {
        true => Ok(()),
        false => Err(AppError::SlashWindow { answerable_s, remembered_s }),
    }
}

/// Opens epoch after epoch and measures each.
async fn epochs(
    frames: Frames,
    committee: Committee,
    measurer: Arc<Measurer>,
    view: Arc<View>,
    doppelganger: Arc<Doppelganger>,
    cancel: CancellationToken,
) {
    let mut epoch = first_epoch(&frames, &committee, &view, &cancel).await;
    measurer.fold().await;
    let mut measuring = JoinSet::new();
    while !cancel.is_cancelled() {
        let lead_ms = u64::try_from(measure::LEAD.as_millis()).unwrap_or(0);
        let begin = until_unix_ms(frames.start_ms(epoch).saturating_sub(lead_ms));
        if cancel.run_until_cancelled(tokio::time::sleep_until(begin)).await.is_none() {
            break;
        }
        let speaks = doppelganger.speaks_in(epoch).await;
        let Some(Some(frame)) = cancel.run_until_cancelled(open(&frames, &committee, &view, epoch)).await else {
            // Unreadable now: the next epoch is another chance.
            epoch = epoch.saturating_add(1);
            continue;
        };
        if !speaks {
            info!(epoch, "watched in silence: neither measured nor signed");
            epoch = epoch.saturating_add(1);
            continue;
        }
        let (measurer, committee, stop) = (measurer.clone(), committee.clone(), cancel.clone());
        measuring.spawn(async move {
            // A task of its own, so that our own bug costs an epoch and is said loudly, not silently.
            match tokio::spawn(measurer.clone().run(frame.clone(), stop.clone())).await {
                Ok(Ok((reveal, commit))) => {
                    committee.send(Command::Observed(Box::new(reveal), commit)).await;
                }
                Ok(Err(MeasureError::Stopped)) => {}
                Ok(Err(error)) => error!(%error, epoch, "this epoch is not measured"),
                Err(error) => error!(%error, epoch, "this epoch is not measured: a bug in this program, please report it"),
            }
            let revealed = until_unix_ms(reveals_due_ms(&frame.setting).saturating_add(FOLD_AFTER_MS));
            if stop.run_until_cancelled(tokio::time::sleep_until(revealed)).await.is_some() {
                measurer.fold().await;
            }
        });
        epoch = epoch.saturating_add(1);
    }
    while measuring.join_next().await.is_some() {}
}

/// Reopens the epochs that may still be closing, and says which one to measure first.
async fn first_epoch(frames: &Frames, committee: &Committee, view: &View, cancel: &CancellationToken) -> u64 {
    let Some(current) = frames.epoch_at(now_ms()) else { return 0 };
    let oldest = current.saturating_sub(frames.params().valid_epochs);
    for epoch in oldest..current {
        let _ = cancel.run_until_cancelled(open(frames, committee, view, epoch)).await;
    }
    current
}

async fn open(frames: &Frames, committee: &Committee, view: &View, epoch: u64) -> Option<Arc<Frame>> {
    // A transport failure has been tried again already; until the epoch is half over it is worth asking once more.
    let give_up = frames.start_ms(epoch).saturating_add(frames.params().epoch_ms() / 2).max(now_ms().saturating_add(5_000));
    loop {
        match frames.read(epoch).await {
            Ok(frame) => {
                let frame = Arc::new(frame);
                view.remember(frame.clone());
                committee.ask(|done| Command::Begin(frame.clone(), done)).await?;
                info!(
                    epoch,
                    ref_block = frame.setting.ref_block,
                    members = frame.setting.members.len(),
                    providers = frame.setting.providers.len(),
                    "epoch opened"
                );
                return Some(frame);
            }
            Err(error) => {
                error!(%error, epoch, "the epoch's reference block cannot be read");
                if now_ms() >= give_up {
                    return None;
                }
                tokio::time::sleep(Duration::from_millis(500)).await;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    // Defence: `check_slash_window`; without it a rubbish answer on the chain outlives the entry that it can be proven wrong by.
    #[test]
    fn a_slash_window_longer_than_the_memory_of_a_silence_is_refused() {
        let none = assay_core::ids::Address::default();
        let day_s = 86_400;
        let mut settlement = SettlementConfig {
            token: none,
            oracle_registry: none,
            provider_registry: none,
            genesis_s: 0,
            epoch_length_s: day_s,
            valid_epochs: 3,
            reward_window_s: day_s,
            slash_window_s: 4 * day_s,
            epoch_budget: 0,
            slash_cap_ppm: 0,
            params_hash: assay_core::hash::Hash32::ZERO,
        };
        check_slash_window(&settlement).unwrap();
        settlement.slash_window_s += 1;
        let error = check_slash_window(&settlement).unwrap_err();
        assert!(matches!(error, AppError::SlashWindow { answerable_s: 691_201, remembered_s: 691_200 }), "{error}");
    }
}
