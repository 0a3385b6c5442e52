//! All that is frozen for an epoch at its reference block.

use crate::bls::PublicKey;
use crate::challenge::Kinds;
use crate::hash::Hash32;
use crate::ids::{Address, Instance, OracleId, ProviderId};
use crate::observation::ProviderKeys;
use crate::panel::{self, Candidate};
use crate::params::Params;

/// A committee member at the reference block.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Member {
    /// Registration id.
    pub oracle: OracleId,
    /// Weight in the set, 1 to 65535.
    pub weight: u16,
    /// Verdict key, possession proved on chain.
    pub key: PublicKey,
    /// Owner.
    pub operator: Address,
    /// Where rewards go.
    pub recipient: Address,
    /// Network group, for panels.
    pub network_group: u64,
}

/// A provider at the reference block.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ProviderTerms {
    /// Registration id.
    pub provider: ProviderId,
    /// Service class.
    pub class_id: u16,
    /// Receipt key and claim set.
    pub keys: ProviderKeys,
    /// Stake, smallest unit.
    pub stake: u128,
    /// Where rewards go.
    pub recipient: Address,
}

/// All that is frozen for an epoch at its reference block.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Setting {
    /// Chain and settlement.
    pub instance: Instance,
    /// Epoch.
    pub epoch: u64,
    /// Start of epoch 0, unix seconds.
    pub genesis_s: u64,
    /// Parameters.
    pub params: Params,
    /// Kinds of challenges.
    pub kinds: Kinds,
    /// Reward token.
    pub token: Address,
    /// Most that one epoch may pay, smallest unit.
    pub epoch_budget: u128,
    /// Committee set number.
    pub set_epoch: u64,
    /// Committee, ascending ids; the position is the signer bit.
    pub members: Vec<Member>,
    /// Active providers, ascending ids.
    pub providers: Vec<ProviderTerms>,
    /// Reference block's number.
    pub ref_block: u64,
    /// Its hash, for the fallback seed.
    pub ref_block_hash: Hash32,
    /// Beacon round of the epoch.
    pub drand_round: u64,
}

impl Setting {
    /// Sum of all weights.
    pub fn total_weight(&self) -> u64 {
        self.members.iter().map(|member| u64::from(member.weight)).fold(0, u64::saturating_add)
    }

    /// A member's entry.
    pub fn member(&self, oracle: OracleId) -> Option<&Member> {
        let index = self.members.binary_search_by_key(&oracle, |member| member.oracle).ok()?;
        self.members.get(index)
    }

    /// Weight of a set of oracles; strangers weigh nothing.
    pub fn weight_of<'a>(&self, oracles: impl IntoIterator<Item = &'a OracleId>) -> u64 {
        oracles.into_iter().filter_map(|oracle| self.member(*oracle)).map(|member| u64::from(member.weight)).fold(0, u64::saturating_add)
    }

    /// Whether a weight is more than 2/3 of the whole.
    pub fn is_quorum(&self, weight: u64) -> bool {
        u128::from(weight).saturating_mul(3) > u128::from(self.total_weight()).saturating_mul(2)
    }

    /// Whether a weight is more than 1/3 of the whole.
    pub fn is_third(&self, weight: u64) -> bool {
        u128::from(weight).saturating_mul(3) > u128::from(self.total_weight())
    }

    /// A provider's terms.
    pub fn provider(&self, provider: ProviderId) -> Option<&ProviderTerms> {
        let index = self.providers.binary_search_by_key(&provider, |terms| terms.provider).ok()?;
        self.providers.get(index)
    }

    /// The panel of a provider under an epoch seed. For many providers see [`Setting::panels`].
    pub fn panel(&self, seed: &Hash32, provider: ProviderId) -> Vec<OracleId> {
        self.panels(seed).of(provider)
    }

    /// The panels of all providers under an epoch seed.
    pub fn panels(&self, seed: &Hash32) -> Panels<'_> {
        let candidates = self
            .members
            .iter()
            .map(|m| Candidate { oracle: m.oracle, weight: m.weight, operator: m.operator, network_group: m.network_group })
            .collect();
        Panels { params: &self.params, seed: *seed, candidates }
    }

    /// Start of the epoch, unix ms.
    pub fn start_ms(&self) -> u64 {
        self.genesis_s.saturating_mul(1_000).saturating_add(self.epoch.saturating_mul(self.params.epoch_ms()))
    }

    /// End of the epoch, unix ms.
    pub fn end_ms(&self) -> u64 {
        self.start_ms().saturating_add(self.params.epoch_ms())
    }

    /// Last second in which the report may be accepted.
    pub fn valid_until_s(&self) -> u64 {
        let epochs = self.params.valid_epochs.saturating_mul(self.params.epoch_ms());
        self.end_ms().saturating_add(epochs) / 1_000
    }
}

/// Panels under one epoch seed, drawn when asked for.
pub struct Panels<'a> {
    params: &'a Params,
    seed: Hash32,
    candidates: Vec<Candidate>,
}

impl Panels<'_> {
    /// A provider's panel, ascending.
    pub fn of(&self, provider: ProviderId) -> Vec<OracleId> {
        panel::draw(&self.seed, provider, &self.candidates, self.params.panel_size, self.params.panel_group_limit)
    }
}
