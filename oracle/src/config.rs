//! The node's config file: a typed contract. Unknown keys and contradictions are refused at start; secrets are never in it.

use std::net::SocketAddr;
use std::path::PathBuf;

use assay_chain::RpcUrls;
use assay_challenger::link::LinkConfig;
use assay_core::ids::{Address, OracleId};
use assay_core::params::Params;
use assay_daemon::telemetry::TelemetryConfig;
use serde::Deserialize;

use crate::beacon::BeaconConfig;
use crate::settle::SettleConfig;

/// `assay-oracle run --config FILE`.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// Our registration id.
    pub oracle_id: OracleId,
    /// Which protocol parameters; their hash must be the settlement contract's.
    pub params: Preset,
    /// Where peers reach us (gRPC).
    pub listen: SocketAddr,
    /// Where readers reach us (REST).
    pub api_listen: SocketAddr,
    /// Directory of the node's database.
    pub data_dir: PathBuf,
    /// Signing protection's own file; keep it with the key, never restore an old copy.
    pub protection_file: PathBuf,
    /// Keys.
    pub keys: KeysConfig,
    /// The chain.
    pub chain: ChainSection,
    /// Public randomness.
    pub beacon: BeaconConfig,
    /// How providers are connected to.
    #[serde(default)]
    pub providers: LinkConfig,
    /// Posting, claims, slashes.
    #[serde(default)]
    pub settle: SettleConfig,
    /// Logs.
    #[serde(default)]
    pub telemetry: TelemetryConfig,
}

/// Named parameter sets.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Preset {
    /// Epochs of 25 seconds.
    Devnet,
}

impl Preset {
    /// The parameters.
    pub fn params(self) -> Params {
        match self {
            Self::Devnet => Params::devnet(),
        }
    }
}

/// Where the keys lie.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct KeysConfig {
    /// EIP-2335 keystore of the verdict key.
    pub verdict: PathBuf,
    /// Web3 keystore of the transmitter key.
    pub transmitter: PathBuf,
    /// File with the password of both.
    pub password_file: PathBuf,
}

/// The chain and its contracts.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ChainSection {
    /// JSON-RPC over HTTP: one URL, or a list of nodes that are independent of each other. The first is preferred; what money hangs on
    /// (final blocks, accepted reports, receipts, nonces) is asked of all. Two notice a lie, three survive one.
    pub rpc_url: RpcUrls,
    /// EIP-155 chain id.
    pub chain_id: u64,
    /// Contract address.
    pub oracle_registry: Address,
    /// Contract address.
    pub provider_registry: Address,
    /// Contract address.
    pub settlement: Address,
    /// Most this node pays for gas, wei per gas.
    #[serde(default = "default_max_fee")]
    pub max_fee_per_gas_wei: u64,
}

impl ChainSection {
    fn contradiction(&self) -> Option<String> {
        let contracts = [
            ("chain.oracle_registry", self.oracle_registry),
            ("chain.provider_registry", self.provider_registry),
            ("chain.settlement", self.settlement),
        ];
        let twice = [(0, 1), (0, 2), (1, 2)].map(|(left, right)| (contracts[left], contracts[right]));
        twice.into_iter().find(|(left, right)| left.1 == right.1).map(|((left, address), (right, _))| {
            format!("{left} and {right} are both {address}: they are two contracts; take each from the network's announcement")
        })
    }
}

fn default_max_fee() -> u64 {
    100_000_000_000
}

impl Config {
    /// What contradicts itself, in words.
    pub fn contradiction(&self) -> Option<String> {
        if self.oracle_id.0 == 0 {
            return Some("oracle_id is 0: registration ids begin at 1; take yours from the OracleRegistered event".into());
        }
        if self.listen == self.api_listen && self.listen.port() != 0 {
            return Some(format!("listen and api_listen are both {}: give each its own port", self.listen));
        }
        if self.protection_file.starts_with(&self.data_dir) && self.protection_file == self.data_dir.join("node.sqlite") {
            return Some("protection_file is the node's database: signing protection needs a file of its own".into());
        }
        if self.keys.verdict == self.keys.transmitter {
            let path = self.keys.verdict.display();
            return Some(format!("keys.verdict and keys.transmitter are both {path}: they are two keys; name a keystore for each"));
        }
        if let Some(problem) = self.chain.contradiction() {
            return Some(problem);
        }
        if self.providers.connect_timeout_ms == 0 || self.providers.call_timeout_ms == 0 {
            return Some("a timeout in [providers] is 0, so that no provider can ever answer: give it milliseconds".into());
        }
        self.params.params().contradiction().map(|problem| format!("params: {problem}"))
    }
}
