//! Logs: one subscriber, to standard error, as text or as JSON lines.

use serde::{Deserialize, Serialize};
use tracing_subscriber::EnvFilter;
use tracing_subscriber::util::TryInitError;

/// The `[telemetry]` table of every config file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct TelemetryConfig {
    /// Directives as in `info,assay_chain=debug`.
    pub filter: String,
    /// JSON lines instead of text.
    pub json: bool,
}

impl Default for TelemetryConfig {
    fn default() -> Self {
        Self { filter: "info".into(), json: false }
    }
}

/// Why logging could not start.
#[derive(Debug, thiserror::Error)]
pub enum TelemetryError {
    /// The filter does not parse.
    #[error("telemetry.filter `{filter}` is not understood: {reason}; write it like `info,assay_chain=debug`")]
    Filter {
        /// The text from the config.
        filter: String,
        /// The parser's word.
        reason: String,
    },
    /// Another subscriber is installed.
    #[error("logging was started twice in one process")]
    Twice(#[source] TryInitError),
}

/// Installs the process's subscriber. Call once.
pub fn init(config: &TelemetryConfig) -> Result<(), TelemetryError> {
    use tracing_subscriber::util::SubscriberInitExt;

    let filter = EnvFilter::try_new(&config.filter)
        .map_err(|error| TelemetryError::Filter { filter: config.filter.clone(), reason: error.to_string() })?;
    // A line that cannot be written is lost. To say so on the same standard error would panic.
    let builder = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).log_internal_errors(false);
    let installed = if config.json {
        builder.json().flatten_event(true).finish().try_init()
    } else {
        builder.with_ansi(std::io::IsTerminal::is_terminal(&std::io::stderr())).finish().try_init()
    };
    installed.map_err(TelemetryError::Twice)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bad_filter_is_named() {
        let config = TelemetryConfig { filter: "info,=,=".into(), json: false };
        let text = init(&config).unwrap_err().to_string();
        assert!(text.contains("telemetry.filter `info,=,=`"), "{text}");
    }

    #[cfg(target_os = "linux")]
    const CHILD: &str = "ASSAY_TEST_LOGS_FOR_ANOTHER";

    // Defence: `; without it a full disk under the log file, or a log reader that went away, ends whichever task
    // says something next.
    #[cfg(target_os = "linux")]
    #[test]
    fn a_log_that_cannot_be_written_ends_nothing() {
        let full = std::fs::OpenOptions::new().write(true).open("/dev/full").unwrap();
        let output = std::process::Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "telemetry::tests::child", "--nocapture"])
            .env(CHILD, "1")
            .stderr(full)
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(output.status.success() && said.contains("went on"), "{said}");
    }

    /// The other process of the test above; does nothing when it runs as a test of its own.
    #[cfg(target_os = "linux")]
    #[test]
    fn child() {
        if std::env::var_os(CHILD).is_none() {
            return;
        }
        init(&TelemetryConfig::default()).unwrap();
        tracing::error!("nowhere to write this");
        println!("went on");
    }
}
