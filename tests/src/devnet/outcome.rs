//! What became of a run: read from the oracles' API and checked against the chain.

use std::time::Duration;

use alloy_primitives as alloy;
use alloy_sol_types::SolCall;
use assay_chain::{BlockTag, ChainError, Client};
use assay_contracts_bindings::TestToken;
use assay_core::hash::Hash32;
use assay_core::ids::{Address, OracleId, ProviderId};
use assay_core::params::TOKEN;
use assay_core::verdict::{Dimension, Grade, Verdict};
use assay_proto::rest::{FactDocument, ObservationsPage};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::{Devnet, Fault, OracleFault, POOL, PROVIDER_STAKE, SLOW_ROUND_TRIP, THROTTLED_KBPS};
use crate::anvil::AnvilError;

/// `target/demo/summary.json`.
#[derive(Serialize, Debug)]
pub struct Summary {
    /// One entry an accepted epoch.
    pub epochs: Vec<EpochRow>,
    /// Providers by id.
    pub providers: Vec<ProviderRow>,
    /// Oracles by id.
    pub oracles: Vec<OracleRow>,
    /// Contract.
    pub settlement: Address,
    /// Oracle registry: committee and keys.
    pub registry: Address,
    /// Provider registry: stakes and claims.
    pub provider_registry: Address,
    /// Token.
    pub token: Address,
    /// JSON-RPC URL.
    pub rpc: String,
    /// The oracles' REST APIs.
    pub api: Vec<String>,
    /// What stays in the pool, smallest unit.
    #[serde(with = "assay_core::amount")]
    pub pool_remainder: u128,
    /// What an oracle gets for a reveal, smallest unit.
    #[serde(skip)]
    pub oracle_reward: u128,
}

/// An accepted epoch.
#[derive(Serialize, Debug)]
pub struct EpochRow {
    /// Number.
    pub epoch: u64,
    /// Transaction.
    pub tx: Hash32,
    /// Block.
    pub block: u64,
    /// Gas of the transaction.
    pub gas_used: u64,
    /// Signers of the certificate.
    pub signers: Vec<OracleId>,
    /// Their weight.
    pub weight_signed_ppm: u64,
    /// View of the report.
    pub view: u64,
    /// Its digest.
    pub report_digest: Hash32,
}

/// A provider over all epochs.
#[derive(Serialize, Debug)]
pub struct ProviderRow {
    /// Registration id.
    pub id: ProviderId,
    /// Operator.
    pub address: Address,
    /// What is wrong with it.
    pub fault: Fault,
    /// The grade of every epoch.
    pub outcomes: Vec<Grade>,
    /// Median over the epochs of the panel's median, µs.
    pub p50_latency_us: u64,
    /// Median over the epochs of the panel's median rate from the provider, kbit/s; at most what was offered.
    pub down_kbps: u64,
    /// Towards the provider, likewise.
    pub up_kbps: u64,
    /// Answered availability probes, median oracle, all epochs.
    pub availability_ppm: u64,
    /// Samples over all epochs and oracles.
    pub storage: StorageRow,
    /// Tokens received, by the token's own books.
    #[serde(with = "assay_core::amount")]
    pub rewarded: u128,
    /// Stake lost, by the registry's own books.
    #[serde(with = "assay_core::amount")]
    pub slashed: u128,
    /// Why.
    pub slash_reason: Option<&'static str>,
    /// The verdict of every epoch and the dimension that cost most, for people.
    #[serde(skip)]
    pub worst: Vec<(Grade, Option<Dimension>)>,
}

/// Storage samples.
#[derive(Serialize, Debug, Default, Clone, Copy)]
pub struct StorageRow {
    /// Verified.
    pub valid: u64,
    /// Signed and wrong.
    pub invalid: u64,
    /// Signed as missing.
    pub missing: u64,
    /// No valid answer in time.
    pub silent: u64,
    /// Faults proven by an answer of slices, in all reveals.
    pub faults_by_slices: u64,
    /// Faults proven by a compact answer.
    pub faults_by_proofs: u64,
}

/// An oracle over all epochs.
#[derive(Serialize, Debug)]
pub struct OracleRow {
    /// Registration id.
    pub id: OracleId,
    /// Operator.
    pub address: Address,
    /// What is wrong with it.
    pub fault: OracleFault,
    /// Epochs whose certificate it signed.
    pub signed_epochs: u64,
    /// Tokens received, by the token's own books.
    #[serde(with = "assay_core::amount")]
    pub rewarded: u128,
    /// Epochs whose report pays it for its reveal.
    #[serde(skip)]
    pub paid_epochs: u64,
}

/// Why a run cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum OutcomeError {
    /// An API.
    #[error("{url}: {source}")]
    Api {
        /// Asked.
        url: String,
        /// The client's word.
        source: reqwest::Error,
    },
    /// The chain.
    #[error(transparent)]
    Chain(#[from] ChainError),
    /// The chain, directly.
    #[error(transparent)]
    Node(#[from] AnvilError),
    /// A number does not parse.
    #[error("the chain's answer to {0} makes no sense")]
    Answer(&'static str),
}

/// `/v1/epochs/{e}` as far as it is read here.
#[derive(Deserialize, Debug)]
pub struct EpochSummary {
    /// Certified report.
    pub report: Option<ReportSummary>,
    /// What the chain says.
    pub accepted: Option<Acceptance>,
}

/// The certified report of an epoch.
#[derive(Deserialize, Debug)]
pub struct ReportSummary {
    /// Digest.
    pub digest: Hash32,
    /// View.
    pub view: u64,
    /// Signers' ids.
    pub signers: Option<Vec<OracleId>>,
    /// Their weight.
    pub signed_weight: Option<u64>,
    /// Of this.
    pub total_weight: Option<u64>,
    /// Paid for their reveal.
    pub paid_oracles: Vec<OracleId>,
}

/// The accepted transaction.
#[derive(Deserialize, Debug)]
pub struct Acceptance {
    /// Transaction.
    pub tx_hash: Hash32,
    /// Block.
    pub block_number: u64,
    /// Gas.
    pub gas_used: u64,
}

#[derive(Deserialize)]
struct Verdicts {
    items: Vec<Verdict>,
}

/// Asks an API; `None` while it answers with an error status.
pub async fn ask<T: for<'a> Deserialize<'a>>(url: String) -> Result<Option<T>, OutcomeError> {
    let failed = |source| OutcomeError::Api { url: url.clone(), source };
    let response = reqwest::get(&url).await.map_err(failed)?;
    if !response.status().is_success() {
        return Ok(None);
    }
    response.json().await.map(Some).map_err(failed)
}

impl Devnet {
    /// An epoch as the first oracle that knows it says.
    pub async fn epoch(&self, epoch: u64) -> Result<Option<EpochSummary>, OutcomeError> {
        for oracle in self.oracles.iter().filter(|oracle| oracle.is_running()) {
            if let Some(summary) = ask::<EpochSummary>(format!("{}/v1/epochs/{epoch}", oracle.api)).await?
                && summary.accepted.is_some()
            {
                return Ok(Some(summary));
            }
        }
        Ok(None)
    }

    /// An epoch's verdicts.
    pub async fn verdicts(&self, epoch: u64) -> Result<Vec<Verdict>, OutcomeError> {
        for oracle in self.oracles.iter().filter(|oracle| oracle.is_running()) {
            if let Some(verdicts) = ask::<Verdicts>(format!("{}/v1/epochs/{epoch}/verdicts", oracle.api)).await? {
                return Ok(verdicts.items);
            }
        }
        Ok(Vec::new())
    }

    /// The facts of an epoch's reveals.
    async fn facts(&self, epoch: u64) -> Result<Vec<FactDocument>, OutcomeError> {
        for oracle in self.oracles.iter().filter(|oracle| oracle.is_running()) {
            if let Some(page) = ask::<ObservationsPage>(format!("{}/v1/epochs/{epoch}/observations", oracle.api)).await? {
                return Ok(page.reveals.into_iter().flat_map(|reveal| reveal.facts).collect());
            }
        }
        Ok(Vec::new())
    }

    /// What an account holds, by the token's books.
    pub async fn balance(&self, account: &Address) -> Result<u128, OutcomeError> {
        let call = TestToken::balanceOfCall { account: alloy::Address::from(account.0) }.abi_encode();
        let request = json!([{ "to": self.deployment.token, "data": format!("0x{}", hex::encode(call)) }, "latest"]);
        let answer = self.anvil().rpc("eth_call", request).await?;
        let word = answer.as_str().and_then(assay_core::hash::decode_hex).ok_or(OutcomeError::Answer("balanceOf"))?;
        let low: [u8; 16] = word.get(16..32).and_then(|low| low.try_into().ok()).ok_or(OutcomeError::Answer("balanceOf"))?;
        Ok(u128::from_be_bytes(low))
    }

    /// Waits until a condition holds, looking twice a second.
    pub async fn until<F: Future<Output = Result<bool, OutcomeError>>>(
        &self,
        deadline: Duration,
        condition: impl Fn() -> F,
    ) -> Result<bool, OutcomeError> {
        let give_up = tokio::time::Instant::now() + deadline;
        while !condition().await? {
            if tokio::time::Instant::now() >= give_up {
                return Ok(false);
            }
            tokio::time::sleep(Duration::from_millis(500)).await;
        }
        Ok(true)
    }

    /// Whether everything that the reports up to `epoch` owe is paid and slashed.
    pub async fn is_settled(&self, epoch: u64) -> Result<bool, OutcomeError> {
        let client = Client::connect(self.deployment.chain.clone()).await?;
        let mut owed: std::collections::BTreeMap<ProviderId, u128> = std::collections::BTreeMap::new();
        for number in 0..=epoch {
            for verdict in self.verdicts(number).await? {
                *owed.entry(verdict.provider).or_default() += verdict.reward;
                if verdict.slash > 0 && !client.slash_executed(verdict.provider, number, BlockTag::Latest).await? {
                    return Ok(false);
                }
            }
        }
        for (provider, owed) in owed {
            let recipient = self.providers.iter().find(|node| node.id == provider).map(|node| node.recipient).unwrap_or_default();
            if self.balance(&recipient).await? < owed {
                return Ok(false);
            }
        }
        let Some(last) = self.epoch(epoch).await? else { return Ok(false) };
        for oracle in self.oracles.iter().filter(|oracle| last.report.as_ref().is_some_and(|r| r.paid_oracles.contains(&oracle.id))) {
            if self.balance(&oracle.recipient).await? < self.params.oracle_reward {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Reads everything about epochs 0 to `epochs` − 1.
    pub async fn summary(&self, epochs: u64) -> Result<Summary, OutcomeError> {
        let mut rows = Vec::new();
        let (mut verdicts, mut facts) = (Vec::new(), Vec::new());
        let mut paid: Vec<OracleId> = Vec::new();
        for number in 0..epochs {
            let Some(EpochSummary { report: Some(report), accepted: Some(accepted) }) = self.epoch(number).await? else { continue };
            let weight_signed_ppm = match (report.signed_weight, report.total_weight) {
                (Some(signed), Some(total)) if total > 0 => signed * 1_000_000 / total,
                _ => 0,
            };
            paid.extend(&report.paid_oracles);
            rows.push(EpochRow {
                epoch: number,
                tx: accepted.tx_hash,
                block: accepted.block_number,
                gas_used: accepted.gas_used,
                signers: report.signers.unwrap_or_default(),
                weight_signed_ppm,
                view: report.view,
                report_digest: report.digest,
            });
            verdicts.extend(self.verdicts(number).await?);
            facts.extend(self.facts(number).await?);
        }
        let client = Client::connect(self.deployment.chain.clone()).await?;
        let registry = client.registry_at(client.latest().await?.number).await?;
        let mut providers = Vec::new();
        for node in &self.providers {
            let own: Vec<&Verdict> = verdicts.iter().filter(|verdict| verdict.provider == node.id).collect();
            let stake = registry.providers.iter().find(|record| record.id == node.id).map_or(0, |record| record.stake);
            providers.push(ProviderRow {
                id: node.id,
                address: node.operator,
                fault: node.fault,
                outcomes: own.iter().map(|verdict| verdict.outcome).collect(),
                p50_latency_us: median(own.iter().map(|verdict| verdict.p50_us)),
                down_kbps: median(own.iter().map(|verdict| verdict.out_kbps)),
                up_kbps: median(own.iter().map(|verdict| verdict.in_kbps)),
                availability_ppm: availability_ppm(&own),
                storage: storage(&own, facts.iter().filter(|fact| fact.challenge.provider == node.id)),
                rewarded: self.balance(&node.recipient).await?,
                slashed: PROVIDER_STAKE.saturating_sub(stake),
                slash_reason: own.iter().find_map(|verdict| verdict.slash_reason).map(|fault| fault.describe()),
                worst: own.iter().map(|verdict| (verdict.outcome, worst(verdict))).collect(),
            });
        }
        let mut oracles = Vec::new();
        for node in &self.oracles {
            oracles.push(OracleRow {
                id: node.id,
                address: node.operator,
                fault: node.fault,
                signed_epochs: rows.iter().filter(|row| row.signers.contains(&node.id)).count() as u64,
                rewarded: self.balance(&node.recipient).await?,
                paid_epochs: paid.iter().filter(|oracle| **oracle == node.id).count() as u64,
            });
        }
        Ok(Summary {
            epochs: rows,
            providers,
            oracles,
            settlement: self.deployment.settlement,
            registry: self.deployment.chain.oracle_registry,
            provider_registry: self.deployment.chain.provider_registry,
            token: self.deployment.token,
            rpc: self.rpc().to_owned(),
            api: self.oracles.iter().map(|oracle| oracle.api.clone()).collect(),
            pool_remainder: self.balance(&self.deployment.settlement).await?,
            oracle_reward: self.params.oracle_reward,
        })
    }
}

fn within_tenth(measured: u64, imposed: u64) -> bool {
    measured.abs_diff(imposed).saturating_mul(10) <= imposed
}

fn median(values: impl Iterator<Item = u64>) -> u64 {
    let mut values: Vec<u64> = values.collect();
    values.sort_unstable();
    values.get(values.len().saturating_sub(1) / 2).copied().unwrap_or(0)
}

/// The dimension that costs the provider most: a proven fact, or else the largest share of its budget.
fn worst(verdict: &Verdict) -> Option<Dimension> {
    let missed = verdict.dimensions.iter().filter(|d| d.grade != Grade::Pass);
    missed.max_by_key(|d| (d.grade == Grade::Fail && d.burn_ppm == 0, d.burn_ppm, d.grade)).map(|d| d.dimension)
}

fn availability_ppm(verdicts: &[&Verdict]) -> u64 {
    let of = verdicts.iter().flat_map(|verdict| &verdict.dimensions).filter(|d| d.dimension == Dimension::AVAILABILITY);
    let (bad, counted) = of.fold((0, 0), |(bad, counted), d| (bad + d.median_bad, counted + d.median_counted));
    (counted - bad) * 1_000_000 / counted.max(1)
}

fn storage<'a>(verdicts: &[&Verdict], facts: impl Iterator<Item = &'a FactDocument>) -> StorageRow {
    let mut sum = StorageRow::default();
    for Verdict { storage, .. } in verdicts {
        sum.valid += storage.valid;
        sum.invalid += storage.invalid;
        sum.missing += storage.missing;
        sum.silent += storage.silent;
    }
    for fact in facts {
        match fact.payload.0.is_empty() {
            true => sum.faults_by_slices += 1,
            false => sum.faults_by_proofs += 1,
        }
    }
    sum
}

impl Summary {
    /// Every expectation of the demo that does not hold, in words.
    pub fn failures(&self, epochs: u64) -> Vec<String> {
        let mut failures = Vec::new();
        let mut expect = |holds: bool, what: String| {
            if !holds {
                failures.push(what);
            }
        };
        expect(self.epochs.len() as u64 == epochs, format!("{epochs} epochs accepted on chain (there are {})", self.epochs.len()));
        for row in &self.epochs {
            expect(row.weight_signed_ppm > 666_666, format!("epoch {}: more than 2/3 of weight signed", row.epoch));
            let all = row.signers.len() == self.oracles.len();
            expect(
                !all || row.gas_used <= 200_000,
                format!("epoch {}: a report that all signed costs at most 200000 gas (it cost {})", row.epoch, row.gas_used),
            );
        }
        let baseline_us = self.providers.iter().find(|p| p.fault == Fault::None).map_or(0, |p| p.p50_latency_us);
        for provider in &self.providers {
            let name = format!("provider {} ({})", provider.id, provider.fault.name());
            match provider.fault {
                Fault::None => {
                    let due = 100 * TOKEN * u128::from(epochs);
                    // A busy machine may leave a dimension undecided; it never makes a fault of it.
                    expect(
                        provider.outcomes.iter().all(|grade| *grade <= Grade::Inconclusive) && provider.outcomes.contains(&Grade::Pass),
                        format!("{name}: is found at fault in no epoch {:?}", provider.worst),
                    );
                    expect(provider.rewarded == due, format!("{name}: is paid {due}, to the wei (it got {})", provider.rewarded));
                    expect(provider.slashed == 0, format!("{name}: is not slashed"));
                }
                Fault::Lossy => {
                    expect(provider.outcomes.iter().all(|grade| *grade == Grade::Fail), format!("{name}: fails every epoch"));
                    let on_storage = provider.worst.iter().all(|(_, dimension)| *dimension == Some(Dimension::STORAGE));
                    expect(on_storage, format!("{name}: fails on storage {:?}", provider.worst));
                    let (slices, proofs) = (provider.storage.faults_by_slices, provider.storage.faults_by_proofs);
                    expect(
                        slices > 0 && proofs > 0,
                        format!("{name}: is found out by slices ({slices} facts) and by compact proofs ({proofs})"),
                    );
                    expect(
                        provider.slashed >= PROVIDER_STAKE / 20,
                        format!("{name}: is slashed by 5 % of stake an epoch (it lost {})", provider.slashed),
                    );
                    expect(provider.slash_reason.is_some(), format!("{name}: is slashed with a reason"));
                    expect(provider.rewarded == 0, format!("{name}: earns nothing"));
                }
                Fault::Slow => {
                    expect(provider.outcomes.iter().all(|grade| *grade == Grade::Fail), format!("{name}: fails every epoch"));
                    let on_latency = provider.worst.iter().all(|(_, d)| matches!(d, Some(Dimension::LATENCY_P50 | Dimension::LATENCY_P95)));
                    expect(on_latency, format!("{name}: fails on latency {:?}", provider.worst));
                    expect(provider.slashed == 0, format!("{name}: is not slashed"));
                    let added = provider.p50_latency_us.saturating_sub(baseline_us);
                    let imposed = u64::try_from(SLOW_ROUND_TRIP.as_micros()).unwrap_or(0);
                    expect(
                        within_tenth(added, imposed),
                        format!("{name}: measured {added} µs above the baseline, imposed are {imposed}, within 10 %"),
                    );
                }
                Fault::Throttled => {
                    expect(provider.outcomes.iter().all(|grade| *grade == Grade::Fail), format!("{name}: fails every epoch"));
                    let on_bandwidth =
                        provider.worst.iter().all(|(_, d)| matches!(d, Some(Dimension::BANDWIDTH_IN | Dimension::BANDWIDTH_OUT)));
                    expect(on_bandwidth, format!("{name}: fails on bandwidth {:?}", provider.worst));
                    expect(provider.slashed == 0, format!("{name}: is not slashed"));
                    for (way, measured) in [("up", provider.up_kbps), ("down", provider.down_kbps)] {
                        expect(
                            within_tenth(measured, THROTTLED_KBPS),
                            format!("{name}: measured {measured} kbit/s {way}, the line carries {THROTTLED_KBPS}, within 10 %"),
                        );
                    }
                }
                Fault::Away => {
                    expect(provider.outcomes.iter().all(|grade| *grade == Grade::Fail), format!("{name}: fails every epoch"));
                    let on_availability = provider.worst.iter().all(|(_, d)| *d == Some(Dimension::AVAILABILITY));
                    expect(on_availability, format!("{name}: fails on availability {:?}", provider.worst));
                    expect(provider.slashed == 0, format!("{name}: is not slashed"));
                    expect(
                        (300_000..=700_000).contains(&provider.availability_ppm),
                        format!("{name}: is up half of the time (measured {} ppm)", provider.availability_ppm),
                    );
                    expect(provider.rewarded == 0, format!("{name}: earns nothing"));
                }
            }
        }
        for oracle in &self.oracles {
            let due = self.oracle_reward * u128::from(oracle.paid_epochs);
            expect(
                oracle.rewarded == due,
                format!("oracle {}: is paid {due} for {} reveals (it got {})", oracle.id, oracle.paid_epochs, oracle.rewarded),
            );
            // The one that is killed may miss the commit of that epoch, and no other.
            let missed = u64::from(oracle.fault == OracleFault::Killed);
            expect(
                oracle.paid_epochs + missed >= epochs,
                format!("oracle {}: every reveal counts ({} of {epochs})", oracle.id, oracle.paid_epochs),
            );
            expect(
                oracle.fault != OracleFault::Killed || self.epochs.last().is_some_and(|last| last.signers.contains(&oracle.id)),
                format!("oracle {}: signs again after it was killed", oracle.id),
            );
        }
        let paid: u128 = self.providers.iter().map(|p| p.rewarded).chain(self.oracles.iter().map(|o| o.rewarded)).sum();
        expect(
            paid + self.pool_remainder == POOL,
            format!("what is paid ({paid}) and what is left ({}) make the pool", self.pool_remainder),
        );
        failures
    }

    /// The JSON that is written.
    pub fn to_json(&self) -> Value {
        serde_json::to_value(self).unwrap_or_default()
    }
}
