//! One token that ends a process in order.

use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

/// A token that is cancelled at the first SIGINT or SIGTERM. A second signal ends the process at once with exit code
/// 130: everything that matters is already on disk.
///
/// Must be called inside a tokio runtime; fails only when the signal handlers cannot be installed.
pub fn token() -> std::io::Result<CancellationToken> {
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    let token = CancellationToken::new();
    let cancelled = token.clone();
    tokio::spawn(async move {
        let mut next = async || {
            tokio::select! {
                _ = interrupt.recv() => "SIGINT",
                _ = terminate.recv() => "SIGTERM",
            }
        };
        let name = next().await;
        info!(signal = name, "shutting down");
        cancelled.cancel();
        let name = next().await;
        warn!(signal = name, "second signal, leaving at once");
        std::process::exit(130);
    });
    Ok(token)
}
