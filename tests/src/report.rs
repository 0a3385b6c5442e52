//! A chain whose committee's keys the test holds: it signs what it likes, and nobody measures anything.
//!
//! Everything here panics when the chain does not do what a test's scenery needs.

use alloy_sol_types::SolCall;
use assay_chain::market::Market;
use assay_chain::transaction::{self, SendConfig};
use assay_chain::{BlockTag, Client, calls};
use assay_contracts_bindings::OracleRegistry;
use assay_core::bls;
use assay_core::ids::{Address, OracleId};
use assay_core::params::TOKEN;
use assay_core::report::{self, Report};
use assay_core::secp::SecretKey;
use serde_json::{Value, json};

use crate::anvil::{Anvil, CHAIN_ID};
use crate::deploy::{DeploySpec, Deployment, OracleSpec, deploy};

/// Who posts reports; none of the others.
const POSTER: [u8; 32] = [7; 32];

/// An oracle with a key that is known.
pub fn oracle(i: u8) -> OracleSpec {
    OracleSpec {
        key: bls::SecretKey::key_gen(&[i; 32]).unwrap(),
        operator: Address([0x10 + i; 20]),
        transmitter: Address([0x20 + i; 20]),
        recipient: Address([0x30 + i; 20]),
        endpoint: format!("http://127.0.0.1:{}", 7000 + u16::from(i)),
        network_group: u64::from(i),
        stake: 1_000,
    }
}

/// The chain with all contracts.
pub struct SignedChain {
    /// The chain.
    pub anvil: Anvil,
    /// Who takes part, and all times.
    pub spec: DeploySpec,
    /// Where everything is.
    pub deployment: Deployment,
    /// A connection.
    pub client: Client,
    /// The market.
    pub market: Market,
}

impl SignedChain {
    /// Starts a chain and deploys everything.
    pub async fn start(spec: DeploySpec) -> Self {
        let anvil = Anvil::start().await.unwrap();
        let deployment = deploy(anvil.url(), &spec).await.unwrap();
        let client = Client::connect(deployment.chain.clone()).await.unwrap();
        let market = Market::connect(client.rpc(), &deployment.economy.market).await.unwrap();
        Self { anvil, spec, deployment, client, market }
    }

    /// Moves the chain's clock to this time (unix seconds) or later.
    pub async fn until(&self, time_s: u64) {
        let now_s = self.client.latest().await.unwrap().timestamp_s;
        self.anvil.rpc("evm_increaseTime", json!([time_s.saturating_sub(now_s)])).await.unwrap();
        self.anvil.mine(1).await.unwrap();
    }

    /// Moves the chain's clock to the start of an epoch or later.
    pub async fn until_epoch(&self, epoch: u64) {
        self.until(self.deployment.genesis_s + epoch * self.spec.epoch_length_s + 1).await;
    }

    /// A report of an epoch that says nothing: as the first one, in view 0, of the newest block.
    pub async fn report(&self, epoch: u64) -> Report {
        Report {
            chain_id: CHAIN_ID,
            settlement: self.deployment.settlement,
            set_epoch: 1,
            epoch,
            ref_block: self.client.latest().await.unwrap().number,
            valid_until: self.deployment.genesis_s + (epoch + 1 + self.spec.valid_epochs) * self.spec.epoch_length_s,
            drand_round: 1,
            seed_secure: true,
            params_hash: self.spec.params_hash,
            ..Report::default()
        }
    }

    /// Has a report accepted, signed by everybody.
    pub async fn accept(&self, report: &Report) {
        self.accept_by(report, self.spec.oracles.len()).await;
    }

    /// Has a report accepted, signed by the first oracles.
    pub async fn accept_by(&self, report: &Report, signers: usize) {
        let poster = SecretKey::from_bytes(&POSTER).unwrap();
        self.anvil.set_balance(&poster.address().to_string(), 10 * TOKEN).await.unwrap();
        let keys: Vec<(usize, bls::SecretKey)> =
            self.spec.oracles.iter().take(signers).map(|oracle| oracle.key.clone()).enumerate().collect();
        let call = signed(&self.client, &keys, report);
        transaction::send(self.client.rpc(), &poster, &self.deployment.settlement, &call, &SendConfig::default()).await.unwrap();
    }

    /// An account's tokens, smallest unit.
    pub async fn balance(&self, account: &Address) -> u128 {
        self.market.balance_of(account, BlockTag::Latest).await.unwrap()
    }

    /// Transactions that an account sent.
    pub async fn sent(&self, account: &Address) -> Value {
        self.anvil.rpc("eth_getTransactionCount", json!([account, "latest"])).await.unwrap()
    }
}

/// Calldata that posts a report, signed by members of its committee: by their place in the set, of which there are 64 at most.
pub fn signed(client: &Client, members: &[(usize, bls::SecretKey)], report: &Report) -> Vec<u8> {
    let message = report::signing_message(&client.instance().unwrap(), report.epoch, report.view, &report.digest());
    let signatures: Vec<_> = members.iter().map(|(_, key)| key.sign(bls::Domain::Report, &message)).collect();
    let bits: u64 = members.iter().map(|(place, _)| 1 << place).sum();
    let mut signers = [0; 32];
    signers[24..].copy_from_slice(&bits.to_be_bytes());
    calls::submit_report(report, &signers, &bls::Signature::aggregate(&signatures).unwrap())
}

/// An oracle's stake on the newest block, smallest unit.
pub async fn stake_of(anvil: &Anvil, oracle_registry: &Address, oracle: OracleId) -> u128 {
    let call = OracleRegistry::stakeOfCall { oracleId: oracle.0 }.abi_encode();
    let request = json!([{ "to": oracle_registry, "data": format!("0x{}", hex::encode(call)) }, "latest"]);
    let word = anvil.rpc("eth_call", request).await.unwrap();
    u128::from_str_radix(word.as_str().unwrap().trim_start_matches("0x"), 16).unwrap()
}
