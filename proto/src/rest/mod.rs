//! The documents of the oracle's REST interface (`docs/api.md`) from which an epoch is recomputed: one definition for the node that serves
//! them and the auditor that reads them.
//!
//! Each has one form: the compact JSON of its fields, in this order. Nothing in a document is believed; what does not even parse into core
//! types is refused here.

mod committee;
mod misbehaviour;
mod reveals;
mod storage;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use assay_core::bls::Signature;
use assay_core::claim::{Claim, ClaimRoot};
use assay_core::hash::{Hash32, decode_hex};
use assay_core::ids::{Address, OracleId, ProviderId};
use assay_core::params::{PPM, Params};
use assay_core::report::{Ledger, Outcome, Report, Standing, Watched};
use assay_core::verdict::Verdict;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

pub use committee::{Acceptance, AggregateSignature, BitVoteDocument, CertifiedReport, Held, ProposalDocument, SignedCommitDocument};
pub use misbehaviour::{ProofList, ProofRef};
pub use reveals::{FactDocument, ObservationsPage, RevealDocument, SaltedDocument, SliceDocument};
pub use storage::{StorageDocument, StoredObject, loss_upper_bound_ppm};

use crate::convert::{ConvertError, malformed};

/// Bytes as `0x` and lower-case hex.
#[derive(Clone, PartialEq, Eq, Default)]
pub struct HexBytes(pub Vec<u8>);

impl HexBytes {
    fn array<const N: usize>(&self, field: &'static str) -> Result<[u8; N], ConvertError> {
        self.0.as_slice().try_into().map_err(|_| malformed(field))
    }
}

impl<T: AsRef<[u8]>> From<T> for HexBytes {
    fn from(bytes: T) -> Self {
        Self(bytes.as_ref().to_vec())
    }
}

impl fmt::Debug for HexBytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "0x{}", hex::encode(&self.0))
    }
}

impl Serialize for HexBytes {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&format_args!("{self:?}"))
    }
}

impl<'de> Deserialize<'de> for HexBytes {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        decode_hex(&text).map(Self).ok_or_else(|| serde::de::Error::custom("expected 0x and hex digits"))
    }
}

fn bls(bytes: &HexBytes, field: &'static str) -> Result<Signature, ConvertError> {
    Signature::from_slice(&bytes.0).map_err(|_| malformed(field))
}

/// `/v1/network`: which network a node belongs to.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Network {
    /// EIP-155 chain id.
    pub chain_id: u64,
    /// `SlaSettlement`.
    pub settlement: Address,
    /// `OracleRegistry`.
    pub oracle_registry: Address,
    /// `ProviderRegistry`.
    pub provider_registry: Address,
    /// Public randomness.
    pub beacon: BeaconChain,
    /// Name of the parameters, if they have one.
    pub preset: Option<String>,
    /// The parameters.
    pub params: Params,
}

/// A beacon's chain, in drand's terms.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BeaconChain {
    /// The group's key in G2, 96 bytes.
    pub public_key: HexBytes,
    /// Time of round 1, unix seconds.
    pub genesis_time: u64,
    /// Seconds between rounds.
    pub period: u64,
    /// SHA-256 over all the others.
    pub chain_hash: Hash32,
    /// Hash of the group that runs it.
    pub group_hash: HexBytes,
    /// Its name; empty or `default` for the default one.
    pub beacon_id: String,
}

/// `/v1/epochs/{e}/beacon`: the rounds that an epoch's seeds come from.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BeaconRounds {
    /// Epoch.
    pub epoch: u64,
    /// The epoch's own round, then that of every slot.
    pub rounds: Vec<BeaconRound>,
}

/// One round.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BeaconRound {
    /// Its number.
    pub round: u64,
    /// Its signature, 48 bytes; none for a round that no relay has.
    pub signature: Option<HexBytes>,
}

/// `/v1/epochs/{e}/ledger`: where everybody stood after an epoch's report, and the verdicts that pin it.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LedgerDocument {
    /// Epoch.
    pub epoch: u64,
    /// Digest of `report`.
    pub report_digest: Hash32,
    /// The report whose `rewardRoot` stands over the accounts, and whose `resultRoot` over the verdicts.
    pub report: Report,
    /// Verdicts, ascending by provider.
    pub verdicts: Vec<Verdict>,
    /// Providers' accounts.
    pub providers: BTreeMap<ProviderId, ProviderAccount>,
    /// Oracles' accounts.
    pub oracles: BTreeMap<OracleId, OracleAccount>,
    /// Challenges that the whole panel asks.
    pub watch: BTreeMap<ProviderId, Watched>,
}

/// A provider's account.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ProviderAccount {
    /// Multiplier of the last judged epoch.
    pub multiplier_ppm: u64,
    /// Rewards of all accepted epochs.
    #[serde(with = "assay_core::amount")]
    pub cumulative: u128,
    /// Where they go; none while there are none.
    pub recipient: Option<Address>,
}

/// An oracle's account.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OracleAccount {
    /// Rewards of all accepted epochs.
    #[serde(with = "assay_core::amount")]
    pub cumulative: u128,
    /// Where they go; none while there are none.
    pub recipient: Option<Address>,
}

fn recipient(standing: &Standing) -> Option<Address> {
    (standing.cumulative > 0).then_some(standing.recipient)
}

impl From<&Outcome> for LedgerDocument {
    fn from(outcome: &Outcome) -> Self {
        let provider = |standing: &Standing| ProviderAccount {
            multiplier_ppm: standing.multiplier_ppm,
            cumulative: standing.cumulative,
            recipient: recipient(standing),
        };
        let oracle = |standing: &Standing| OracleAccount { cumulative: standing.cumulative, recipient: recipient(standing) };
        let ledger = &outcome.ledger;
        Self {
            epoch: outcome.report.epoch,
            report_digest: ledger.digest,
            report: outcome.report.clone(),
            verdicts: outcome.verdicts.clone(),
            providers: ledger.providers.iter().map(|(id, standing)| (*id, provider(standing))).collect(),
            oracles: ledger.oracles.iter().map(|(id, standing)| (*id, oracle(standing))).collect(),
            watch: ledger.watch.clone(),
        }
    }
}

impl LedgerDocument {
    /// The outcome as far as it is here: report, verdicts and ledger. [`Outcome::supports`] tells what it is worth.
    pub fn into_outcome(self) -> Result<Outcome, ConvertError> {
        // Who has earned nothing has no leaf, and its recipient is read anew when it has.
        let standing = |multiplier_ppm: u64, cumulative: u128, recipient: Option<Address>| match recipient.is_some() == (cumulative > 0) {
            true => Ok(Standing { multiplier_ppm, cumulative, recipient: recipient.unwrap_or_default() }),
            false => Err(malformed("recipient")),
        };
        let providers = self.providers.into_iter().map(|(id, a)| Ok((id, standing(a.multiplier_ppm, a.cumulative, a.recipient)?)));
        let oracles = self.oracles.into_iter().map(|(id, a)| Ok((id, standing(PPM, a.cumulative, a.recipient)?)));
        let ledger = Ledger {
            digest: self.report_digest,
            epoch: Some(self.epoch),
            providers: providers.collect::<Result<_, ConvertError>>()?,
            oracles: oracles.collect::<Result<_, ConvertError>>()?,
            watch: self.watch,
        };
        Ok(Outcome { report: self.report, verdicts: self.verdicts, panels: BTreeMap::new(), paid_oracles: BTreeSet::new(), ledger })
    }
}

/// A page of `/v1/epochs/{e}/verdicts`.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct VerdictsPage {
    /// Epoch.
    pub epoch: u64,
    /// Digest of the report they stand under.
    pub report_digest: Hash32,
    /// Verdicts, ascending by provider.
    pub items: Vec<Verdict>,
    /// `after` of the next page; none behind the last.
    pub next: Option<ProviderId>,
}

/// `/v1/epochs/{e}/evidence/{provider}`: where the transcripts lie.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EvidenceList {
    /// Epoch.
    pub epoch: u64,
    /// Whom they are about.
    pub provider: ProviderId,
    /// Who recorded them.
    pub oracle: OracleId,
    /// By slot and order of storing.
    pub bundles: Vec<BundleRef>,
}

/// One bundle.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BundleRef {
    /// BLAKE3 of its bytes.
    pub digest: Hash32,
    /// How many there are.
    pub bytes: u64,
}

/// A page of `/v1/claims/{root}`: a claim set as the chain names it.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ClaimsPage {
    /// Root and blocks of the whole set.
    pub root: ClaimRoot,
    /// Claims in the whole set.
    pub count: u64,
    /// This page's, in the set's order.
    pub items: Vec<Claim>,
    /// The tag keys that this page's claims name, ascending by id: v and w, compressed.
    pub tag_keys: Vec<HexBytes>,
    /// `after` of the next page; none behind the last.
    pub next: Option<u64>,
}
