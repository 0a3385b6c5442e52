//! The frame of an epoch: everything that is frozen at its reference block, read from the chain once.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use assay_chain::{ChainError, Client, ProviderRecord, SettlementConfig};
use assay_core::beacon::ChainInfo;
use assay_core::challenge::Kinds;
use assay_core::ids::{Instance, OracleId, ProviderId};
use assay_core::params::Params;
use assay_core::report::Setting;

use crate::peers::tls::Members;

/// An epoch's [`Setting`] with what the network side needs besides.
#[derive(Debug)]
pub struct Frame {
    /// The frozen values.
    pub setting: Arc<Setting>,
    /// Where the members listen.
    pub peers: BTreeMap<OracleId, String>,
    /// The providers' registry entries.
    pub records: BTreeMap<ProviderId, ProviderRecord>,
}

/// Reads frames.
#[derive(Clone)]
pub struct Frames {
    client: Client,
    instance: Instance,
    settlement: SettlementConfig,
    params: Arc<Params>,
    beacon: ChainInfo,
    members: Members,
}

impl Frames {
    /// For one protocol instance. The members of every frame that is read may connect.
    pub fn new(
        client: Client,
        instance: Instance,
        settlement: SettlementConfig,
        params: Arc<Params>,
        beacon: ChainInfo,
        members: Members,
    ) -> Self {
        Self { client, instance, settlement, params, beacon, members }
    }

    /// Protocol parameters.
    pub fn params(&self) -> &Arc<Params> {
        &self.params
    }

    /// Chain id and settlement contract.
    pub fn instance(&self) -> Instance {
        self.instance
    }

    /// The settlement contract's constants.
    pub fn settlement(&self) -> &SettlementConfig {
        &self.settlement
    }

    /// Start of an epoch, unix ms.
    pub fn start_ms(&self, epoch: u64) -> u64 {
        self.settlement.genesis_s.saturating_mul(1_000).saturating_add(epoch.saturating_mul(self.params.epoch_ms()))
    }

    /// The epoch running at a time; `None` before genesis.
    pub fn epoch_at(&self, now_ms: u64) -> Option<u64> {
        now_ms.checked_sub(self.start_ms(0))?.checked_div(self.params.epoch_ms())
    }

    /// The last second in which an epoch's report may be accepted.
    pub fn valid_until_s(&self, epoch: u64) -> u64 {
        self.start_ms(epoch.saturating_add(1).saturating_add(self.params.valid_epochs)) / 1_000
    }

    /// Reads the epoch's frame. Waits until the reference block is decided: until a block later than its time exists.
    pub async fn read(&self, epoch: u64) -> Result<Frame, ChainError> {
        let start_s = self.start_ms(epoch) / 1_000;
        let until_s = start_s.saturating_sub(self.params.ref_block_lag_s);
        let poll = Duration::from_millis(200);
        let block = loop {
            if self.client.latest().await?.timestamp_s > until_s
                && let Some(block) = self.client.last_block_at_or_before(until_s).await?
            {
                break block;
            }
            tokio::time::sleep(poll).await;
        };
        let view = self.client.registry_at(block.number).await?;
        let round = self.beacon.first_round_at_or_after(start_s).unwrap_or(0);
        let setting = view.setting(epoch, self.instance, &self.settlement, &self.params, Kinds::standard(), round);
        self.members.admit(&setting);
        Ok(Frame {
            setting: Arc::new(setting),
            peers: view.members.iter().map(|m| (m.oracle, m.endpoint.clone())).collect(),
            records: view.providers.into_iter().map(|p| (p.id, p)).collect(),
        })
    }
}
