//! Composes the process: lock, store, services, server.

use std::fs::{self, File, TryLockError};
use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use assay_core::secp::SecretKey;
use assay_daemon::grpc::{self, BindError};
use assay_proto::provider::v1::ingest_server::IngestServer;
use assay_proto::provider::v1::provider_server::ProviderServer;
use thiserror::Error;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tonic::transport::Server;
use tracing::{error, info};

use crate::challenge::ProviderService;
use crate::config::Config;
use crate::error::StoreError;
use crate::ingest::{IngestService, MAX_FRAME_BYTES};
use crate::scrub;
use crate::store::{Store, now_s};

/// The longest request to the `Provider` service: a seal over a full slot.
const MAX_REQUEST_BYTES: usize = 1 << 20;
/// The longest message to the `Ingest` service: a frame and its envelope.
const MAX_INGEST_BYTES: usize = MAX_FRAME_BYTES + 1024;
/// After a failure to remove something.
const PURGE_RETRY: Duration = Duration::from_secs(60);
/// How long calls may go on after a shutdown began.
const SHUTDOWN_GRACE: Duration = Duration::from_secs(5);

/// Why the process cannot start or go on.
#[derive(Debug, Error)]
pub enum AppError {
    /// The data directory cannot be used.
    #[error("data directory {}: {source}; give this user write permission there, or set data_dir to another directory", path.display())]
    DataDir {
        /// The directory.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// Another process works in the data directory.
    #[error("data directory {} is used by another process; stop it, or give this provider a data_dir of its own", .0.display())]
    Locked(PathBuf),
    /// The store does not open.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The address is taken or not ours.
    #[error(transparent)]
    Bind(#[from] BindError),
    /// The server broke.
    #[error("the gRPC server failed; start again")]
    Serve(#[from] tonic::transport::Error),
}

/// A serving provider.
pub struct Running {
    /// The address that is listened on; also when the config asked for port 0.
    pub address: SocketAddr,
    serving: JoinHandle<Result<(), tonic::transport::Error>>,
    shutdown: CancellationToken,
    /// What else goes on; each ends with the shutdown.
    tasks: Vec<JoinHandle<()>>,
    store: Arc<Store>,
    _lock: File,
}

impl Running {
    /// Waits for the shutdown and for calls in flight, for a few seconds.
    pub async fn wait(self) -> Result<(), AppError> {
        let shutdown = self.shutdown;
        let grace = async {
            shutdown.cancelled().await;
            tokio::time::sleep(SHUTDOWN_GRACE).await;
        };
        let abort = self.serving.abort_handle();
        let ended = tokio::select! {
            served = self.serving => served.map_err(|_| StoreError::Task)?.map_err(AppError::Serve),
            () = grace => {
                abort.abort();
                Ok(())
            }
        };
        shutdown.cancel();
        for task in self.tasks {
            // A read that hangs keeps nobody here.
            let _ = tokio::time::timeout(SHUTDOWN_GRACE, task).await;
        }
        // While the lock is still held: the index's last writes are not to fall into the next process's hands.
        let _ = tokio::time::timeout(SHUTDOWN_GRACE, self.store.index().close()).await;
        ended
    }
}

/// Starts serving; returns when the port is bound. Cancel `shutdown` to end.
pub async fn start(config: &Config, key: SecretKey, shutdown: CancellationToken) -> Result<Running, AppError> {
    let lock = lock(&config.data_dir)?;
    let store = Store::open(config, key).await?;
    let (incoming, address) = grpc::bind(config.listen).await?;
    let provider = ProviderServer::new(ProviderService::new(Arc::clone(&store))).max_decoding_message_size(MAX_REQUEST_BYTES);
    let ingest = IngestServer::new(IngestService::new(Arc::clone(&store))).max_decoding_message_size(MAX_INGEST_BYTES);
    let server = Server::builder()
        .concurrency_limit_per_connection(config.limits.requests_per_connection)
        .max_concurrent_streams(u32::try_from(config.limits.requests_per_connection).ok())
        .initial_stream_window_size(config.limits.stream_window_bytes)
        .initial_connection_window_size(config.limits.stream_window_bytes.saturating_mul(2))
        .http2_keepalive_interval(Some(Duration::from_secs(30)))
        .add_service(provider)
        .add_service(ingest);
    let scrubbing = tokio::spawn(scrub::keep_scrubbing(Arc::clone(&store), config.scrub.clone(), shutdown.clone()));
    let tasks = vec![scrubbing, tokio::spawn(keep_purging(Arc::clone(&store), shutdown.clone()))];
    let serving = tokio::spawn(server.serve_with_incoming_shutdown(incoming, shutdown.clone().cancelled_owned()));
    info!(%address, provider = %config.provider_id, "serving");
    Ok(Running { address, serving, shutdown, tasks, store, _lock: lock })
}

/// Removes the data of released claims when it is due.
async fn keep_purging(store: Arc<Store>, shutdown: CancellationToken) {
    loop {
        let next = match store.purge_due().await {
            Ok(()) => store.next_purge().await,
            Err(error) => Err(error),
        };
        let due = match next {
            Ok(next) => next.map(|at| Duration::from_secs(at.saturating_sub(now_s()).max(1).cast_unsigned())),
            Err(error) => {
                error!(%error, "the data of released claims cannot be removed; it is tried again");
                Some(PURGE_RETRY)
            }
        };
        tokio::select! {
            () = shutdown.cancelled() => return,
            () = store.next_release() => (),
            () = sleep_if(due) => (),
        }
    }
}

/// For ever without a time.
async fn sleep_if(due: Option<Duration>) {
    match due {
        Some(due) => tokio::time::sleep(due).await,
        None => std::future::pending().await,
    }
}

/// One process per data directory.
pub(crate) fn lock(data_dir: &Path) -> Result<File, AppError> {
    let failed = |source| AppError::DataDir { path: data_dir.to_owned(), source };
    fs::create_dir_all(data_dir).map_err(failed)?;
    let file = File::create(data_dir.join("lock")).map_err(failed)?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(AppError::Locked(data_dir.to_owned())),
        Err(TryLockError::Error(error)) => Err(failed(error)),
    }
}
