//! The config file of `assay-provider`.

use std::net::SocketAddr;
use std::path::PathBuf;

use assay_core::challenge::kinds::bandwidth::MAX_TEST_BYTES;
use assay_core::claim::ClaimDomain;
use assay_core::ids::{Address, Instance, ProviderId};
use assay_daemon::telemetry::TelemetryConfig;
use serde::{Deserialize, Serialize};

/// Everything that is configured. Unknown keys are refused.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// The id from the provider registry; 0 until registered, and then only `Describe` is answered.
    pub provider_id: ProviderId,
    /// Where gRPC is served.
    pub listen: SocketAddr,
    /// Index, replicas and uploads in progress.
    pub data_dir: PathBuf,
    /// The receipt key.
    pub keystore: PathBuf,
    /// Password of the keystore.
    pub password_file: PathBuf,
    /// EIP-155 chain id.
    pub chain_id: u64,
    /// Address of `ProviderRegistry`.
    pub provider_registry: Address,
    /// Address of `SlaSettlement`.
    pub settlement: Address,
    /// Bounds on what strangers can make this process do.
    #[serde(default)]
    pub limits: Limits,
    /// The regular read of everything that is stored.
    #[serde(default)]
    pub scrub: Scrub,
    /// Logs.
    #[serde(default)]
    pub telemetry: TelemetryConfig,
}

impl Config {
    /// What contradicts itself, in words.
    pub fn contradiction(&self) -> Option<String> {
        if self.provider_registry == self.settlement {
            let address = self.settlement;
            return Some(format!(
                "provider_registry and settlement are both {address}: they are two contracts; take each from the network's announcement"
            ));
        }
        if self.scrub.bytes_per_s == 0 {
            return Some(
                "scrub.bytes_per_s is 0, so that a scrub never ends: give it a rate, or set scrub.every_s to 0 for none".to_owned(),
            );
        }
        let limits = [
            ("transfers", self.limits.transfers as u64),
            ("reads", self.limits.reads as u64),
            ("requests_per_connection", self.limits.requests_per_connection as u64),
            ("upload_idle_s", self.limits.upload_idle_s),
            ("challenge_timeout_ms", self.limits.challenge_timeout_ms),
            ("bandwidth_streams", self.limits.bandwidth_streams as u64),
            ("bandwidth_bytes", self.limits.bandwidth_bytes),
            ("bandwidth_stream_ms", self.limits.bandwidth_stream_ms),
            ("bandwidth_idle_ms", self.limits.bandwidth_idle_ms),
            ("stream_window_bytes", u64::from(self.limits.stream_window_bytes)),
        ];
        let (name, _) = limits.into_iter().find(|(_, limit)| *limit == 0)?;
        Some(format!("limits.{name} is 0, so that no request can ever be served: give it at least 1, or leave it out"))
    }

    /// What claims are bound to.
    pub fn domain(&self) -> ClaimDomain {
        ClaimDomain { chain_id: self.chain_id, provider_registry: self.provider_registry, provider: self.provider_id }
    }

    /// What challenges are bound to.
    pub fn instance(&self) -> Instance {
        Instance { chain_id: self.chain_id, settlement: self.settlement }
    }
}

/// The regular read of everything that is stored.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Scrub {
    /// The most bytes read in a second.
    pub bytes_per_s: u64,
    /// From the end of one read to the beginning of the next, in seconds; 0 for none.
    pub every_s: u64,
}

impl Default for Scrub {
    fn default() -> Self {
        Self { bytes_per_s: 20_000_000, every_s: 7 * 86_400 }
    }
}

/// Bounds on what strangers can make this process do.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Limits {
    /// Bytes of all replicas together, proposed ones included.
    pub capacity_bytes: u64,
    /// Builders whose claims are taken; empty: everybody's.
    pub owners: Vec<Address>,
    /// Uploads, commits and downloads at a time.
    pub transfers: usize,
    /// Challenges that read the disk at a time.
    pub reads: usize,
    /// Requests of one connection at a time.
    pub requests_per_connection: usize,
    /// How long an upload may pause between two frames, in seconds.
    pub upload_idle_s: u64,
    /// How long an incomplete upload is kept, in seconds.
    pub proposal_ttl_s: u64,
    /// How long the data of a released claim is kept, in seconds: as long as a challenge may ask for it.
    pub release_grace_s: u64,
    /// How long a challenge may wait and read, in milliseconds.
    pub challenge_timeout_ms: u64,
    /// Bandwidth streams at a time, each direction of a window counted.
    pub bandwidth_streams: usize,
    /// Bytes of one bandwidth stream.
    pub bandwidth_bytes: u64,
    /// How long a bandwidth stream may last, in milliseconds.
    pub bandwidth_stream_ms: u64,
    /// How long a bandwidth stream may wait for its oracle, in milliseconds.
    pub bandwidth_idle_ms: u64,
    /// Bytes of one stream that its sender may have under way; a connection may have twice as many. A line carries no more than this in one
    /// round trip: 4 MiB are 300 Mbit/s at 100 ms.
    pub stream_window_bytes: u32,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            capacity_bytes: 1 << 40,
            owners: Vec::new(),
            transfers: 8,
            reads: 8,
            requests_per_connection: 64,
            upload_idle_s: 30,
            proposal_ttl_s: 86_400,
            release_grace_s: 10 * 86_400,
            challenge_timeout_ms: 10_000,
            bandwidth_streams: 8,
            bandwidth_bytes: MAX_TEST_BYTES,
            bandwidth_stream_ms: 10_000,
            bandwidth_idle_ms: 2_000,
            stream_window_bytes: 4 << 20,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_config_survives_its_own_text() {
        let config = Config {
            provider_id: ProviderId(0),
            listen: "127.0.0.1:9300".parse().unwrap(),
            data_dir: "data".into(),
            keystore: "data/receipt.json".into(),
            password_file: "password".into(),
            chain_id: 31_337,
            provider_registry: Address([1; 20]),
            settlement: Address([2; 20]),
            limits: Limits { owners: vec![Address([3; 20])], ..Limits::default() },
            scrub: Scrub::default(),
            telemetry: TelemetryConfig::default(),
        };
        let text = toml::to_string(&config).unwrap();
        assert_eq!(toml::from_str::<Config>(&text).unwrap(), config);
        assert!(toml::from_str::<Config>(&format!("lisen = 1\n{text}")).is_err());
    }
}
