//! Puts the contracts on an anvil: token, registries, participants, the first committee, and the settlement last.
//!
//! Transactions go out as one first-in-first-out stream with fixed gas, so that all of it takes two or three blocks.
//! Senders are accounts whose keys anvil does not ask for (`--auto-impersonate`).

mod economy;

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use alloy_primitives as alloy;
use alloy_primitives::U256;
use alloy_sol_types::{SolCall, SolConstructor};
use assay_chain::ChainConfig;
use assay_contracts_bindings::{
    IOracleRegistry, IProviderRegistry, ISlaSettlement, OracleRegistry, ProviderRegistry, SlaSettlement, TestToken,
};
use assay_core::bls::{self, Domain};
use assay_core::hash::Hash32;
use assay_core::ids::{Address, OracleId, ProviderId};
use serde_json::{Value, json};
use tokio::time::{Instant, sleep};

use crate::anvil::{self, AnvilError};

pub use economy::{
    BOOKING_TIP, CLAIM_TIP, Economy, KEEPER_FUNDS, MARGIN_PPM, ORACLE_SHARE_PPM, Offer, REVIEW_S, SIGNERS_PPM, SLASH_TIP, TREASURY,
    open_market,
};

/// Stake behind each GiB that a provider of any class here declares, smallest unit.
pub const STAKE_PER_GIB: u128 = 1_000_000_000_000_000_000;
/// The classes that capacity can be declared in: Bronze, Silver, Gold, the devnet's.
const CLASSES: [u16; 4] = [1, 2, 3, 100];
/// How long after every window a slash may still come.
const EVIDENCE_S: u64 = 60;
/// No limit to one operator's weight: one machine runs them all.
const OPERATOR_CAP_PPM: u32 = 1_000_000;
const ROLL_CALL_S: u64 = 60;
const ESCAPE_DELAY_S: u64 = 7 * 86_400;
/// Ether for every account that sends.
const BALANCE_WEI: u128 = 1_000_000_000_000_000_000_000;
const GAS: u64 = 12_000_000;
const RECEIPT_DEADLINE: Duration = Duration::from_secs(30);
const DEPLOYER: Address = Address([0xde; 20]);
const SETTLEMENT_DEPLOYER: Address = Address([0xdf; 20]);
/// Least time between the settlement's deployment and its genesis.
pub const MIN_GENESIS_DELAY_S: u64 = 10;

/// An oracle to register.
#[derive(Clone)]
pub struct OracleSpec {
    /// Its verdict key.
    pub key: bls::SecretKey,
    /// Who registers it; each its own.
    pub operator: Address,
    /// Who sends its transactions; gets ether.
    pub transmitter: Address,
    /// Who is paid.
    pub recipient: Address,
    /// Where its gRPC will listen.
    pub endpoint: String,
    /// Declared network group.
    pub network_group: u64,
    /// Stake.
    pub stake: u128,
}

/// A provider to register.
#[derive(Clone, Debug)]
pub struct ProviderSpec {
    /// Who registers it; gets ether.
    pub operator: Address,
    /// Signs answers and claim sets.
    pub receipt_key: Address,
    /// Who is paid.
    pub recipient: Address,
    /// Where its gRPC will listen.
    pub endpoint: String,
    /// SLA class.
    pub class_id: u16,
    /// Declared region.
    pub region: u64,
    /// Stake.
    pub stake: u128,
}

/// What to deploy.
#[derive(Clone)]
pub struct DeploySpec {
    /// Oracles, in the order of their ids.
    pub oracles: Vec<OracleSpec>,
    /// Providers, in the order of their ids.
    pub providers: Vec<ProviderSpec>,
    /// From the settlement's deployment to genesis, at least [`MIN_GENESIS_DELAY_S`].
    pub genesis_delay_s: u64,
    /// Length of an epoch.
    pub epoch_length_s: u64,
    /// Epochs after its end in which a report may be accepted.
    pub valid_epochs: u64,
    /// From acceptance to claims.
    pub reward_window_s: u64,
    /// From acceptance to slashes.
    pub slash_window_s: u64,
    /// The most one report may pay.
    pub epoch_budget: u128,
    /// The most one slash takes, in millionths of the stake.
    pub slash_cap_ppm: u64,
    /// Hash of the protocol parameters.
    pub params_hash: Hash32,
    /// What the settlement holds to pay from.
    pub pool: u128,
}

impl Default for DeploySpec {
    /// The devnet's times (epochs of 25 s) and nobody registered.
    fn default() -> Self {
        Self {
            oracles: Vec::new(),
            providers: Vec::new(),
            genesis_delay_s: MIN_GENESIS_DELAY_S,
            epoch_length_s: 25,
            valid_epochs: 3,
            reward_window_s: 5,
            slash_window_s: 10,
            epoch_budget: 1_000_000,
            slash_cap_ppm: 500_000,
            params_hash: Hash32::ZERO,
            pool: 1_000_000_000,
        }
    }
}

/// What was deployed.
#[derive(Clone, Debug)]
pub struct Deployment {
    /// The config of a client: URL, chain id and all addresses.
    pub chain: ChainConfig,
    /// The token.
    pub token: Address,
    /// The settlement.
    pub settlement: Address,
    /// What stands around it.
    pub economy: Economy,
    /// Start of epoch 0, unix seconds.
    pub genesis_s: u64,
    /// Ids in the order of the spec: 1, 2, ….
    pub oracles: Vec<OracleId>,
    /// Ids in the order of the spec: 1, 2, ….
    pub providers: Vec<ProviderId>,
}

/// Why a deployment failed.
#[derive(Debug, thiserror::Error)]
pub enum DeployError {
    /// The node.
    #[error(transparent)]
    Node(#[from] AnvilError),
    /// A transaction reverted.
    #[error("the transaction `{0}` reverted")]
    Reverted(String),
    /// A transaction was not mined.
    #[error("the transaction `{0}` was not mined within {RECEIPT_DEADLINE:?}; does the chain mine?")]
    NotMined(String),
    /// A node answered nonsense.
    #[error("the node's answer to {0} makes no sense")]
    Answer(&'static str),
}

/// Token and registries with everybody registered and the first committee set built; no settlement yet.
#[derive(Clone, Debug)]
pub struct Registries {
    /// The config of a client, without a settlement.
    pub chain: ChainConfig,
    /// The token.
    pub token: Address,
}

/// The address that the settlement will have: its deployer does nothing else.
pub fn settlement_address() -> Address {
    Address(word(&SETTLEMENT_DEPLOYER).create(0).into_array())
}

/// Deploys everything and waits until it is mined.
pub async fn deploy(rpc_url: &str, spec: &DeploySpec) -> Result<Deployment, DeployError> {
    let registries = deploy_registries(rpc_url, spec).await?;
    deploy_settlement(&registries, spec).await
}

/// Deploys token and registries, registers everybody and builds the first committee set.
pub async fn deploy_registries(rpc_url: &str, spec: &DeploySpec) -> Result<Registries, DeployError> {
    let mut chain = Stream::open(rpc_url).await?;
    chain.endow(&DEPLOYER).await?;
    for address in spec.oracles.iter().flat_map(|oracle| [&oracle.operator, &oracle.transmitter]) {
        chain.endow(address).await?;
    }
    for provider in &spec.providers {
        chain.endow(&provider.operator).await?;
    }

    let token = chain.create("deploy TestToken", &DEPLOYER, &TestToken::BYTECODE, Vec::new()).await?;
    let terms = IOracleRegistry::Terms {
        unbondingSeconds: unbonding_s(spec),
        evidenceSeconds: EVIDENCE_S,
        rollCallSeconds: ROLL_CALL_S,
        operatorCapPpm: OPERATOR_CAP_PPM,
    };
    let arguments = OracleRegistry::constructorCall { token_: word(&token), minStake_: U256::from(1), minSetSeconds_: 0, terms };
    let oracle_registry = chain.create("deploy OracleRegistry", &DEPLOYER, &OracleRegistry::BYTECODE, arguments.abi_encode()).await?;
    let classes = CLASSES.map(|class_id| IProviderRegistry::ClassStake { classId: class_id, perGib: U256::from(STAKE_PER_GIB) });
    let terms = IProviderRegistry::Terms { unbondingSeconds: unbonding_s(spec), evidenceSeconds: EVIDENCE_S, classes: classes.to_vec() };
    let arguments = ProviderRegistry::constructorCall { token_: word(&token), minStake_: U256::from(1), terms };
    let provider_registry = chain.create("deploy ProviderRegistry", &DEPLOYER, &ProviderRegistry::BYTECODE, arguments.abi_encode()).await?;

    for oracle in &spec.oracles {
        chain.fund(&token, &oracle.operator, &oracle_registry, oracle.stake).await?;
        let call = oracle_call(chain.chain_id, &oracle_registry, oracle);
        chain.send(format!("register {}", oracle.endpoint), &oracle.operator, &oracle_registry, call).await?;
    }
    for provider in &spec.providers {
        chain.fund(&token, &provider.operator, &provider_registry, provider.stake).await?;
        let call = provider_call(provider);
        chain.send(format!("register {}", provider.endpoint), &provider.operator, &provider_registry, call).await?;
    }
    if !spec.oracles.is_empty() {
        let call = OracleRegistry::buildSnapshotCall { maxMembers: U256::from(256) }.abi_encode();
        chain.send("buildSnapshot", &DEPLOYER, &oracle_registry, call).await?;
    }
    chain.settle().await?;
    let chain = ChainConfig { rpc_url: rpc_url.into(), chain_id: chain.chain_id, oracle_registry, provider_registry, settlement: None };
    Ok(Registries { chain, token })
}

/// Deploys the settlement last, with its genesis ahead, and fills its pool.
pub async fn deploy_settlement(registries: &Registries, spec: &DeploySpec) -> Result<Deployment, DeployError> {
    let Registries { chain: config, token } = registries;
    let mut chain = Stream::open(config.rpc_url.first()).await?;
    chain.endow(&SETTLEMENT_DEPLOYER).await?;
    let genesis_s = chain.now_s().await? + spec.genesis_delay_s.max(MIN_GENESIS_DELAY_S);
    let arguments = settlement_config(spec, token, &config.oracle_registry, &config.provider_registry, genesis_s);
    let roles = ISlaSettlement::Roles { owner: word(&DEPLOYER), guardian: word(&DEPLOYER), escapeDelay: ESCAPE_DELAY_S };
    let arguments = SlaSettlement::constructorCall { c: arguments, roles }.abi_encode();
    let settlement = chain.create("deploy SlaSettlement", &SETTLEMENT_DEPLOYER, &SlaSettlement::BYTECODE, arguments).await?;
    let call = ProviderRegistry::setSettlementCall { settlement_: word(&settlement) }.abi_encode();
    chain.send("setSettlement", &DEPLOYER, &config.provider_registry, call).await?;
    let economy = Economy::deploy(&mut chain, spec, &config.oracle_registry, &config.provider_registry, &settlement, token).await?;
    chain.fund(token, &DEPLOYER, &settlement, spec.pool).await?;
    let call = SlaSettlement::fundCall { amount: U256::from(spec.pool) }.abi_encode();
    chain.send("fund", &DEPLOYER, &settlement, call).await?;
    chain.settle().await?;
    Ok(Deployment {
        chain: ChainConfig { settlement: Some(settlement), ..config.clone() },
        token: *token,
        settlement,
        economy,
        genesis_s,
        // The stream is first-in-first-out: ids follow the spec.
        oracles: (1..).take(spec.oracles.len()).map(OracleId).collect(),
        providers: (1..).take(spec.providers.len()).map(ProviderId).collect(),
    })
}

/// Gives an account ether for gas.
pub async fn endow(rpc_url: &str, address: &Address) -> Result<(), DeployError> {
    Stream::open(rpc_url).await?.endow(address).await
}

/// The shortest that the registries take: until the last window of an epoch is over, and the time for evidence.
fn unbonding_s(spec: &DeploySpec) -> u64 {
    (2 + spec.valid_epochs) * spec.epoch_length_s + spec.reward_window_s.max(spec.slash_window_s) + EVIDENCE_S
}

fn oracle_call(chain_id: u64, registry: &Address, spec: &OracleSpec) -> Vec<u8> {
    let key = spec.key.public_key();
    let message = bls::possession_message(chain_id, registry, &spec.operator, &key);
    OracleRegistry::registerCall {
        blsKey: key.to_eip2537().into(),
        pop: spec.key.sign(Domain::ProofOfPossession, &message).to_eip2537().into(),
        endpoint: spec.endpoint.clone(),
        transmitter: word(&spec.transmitter),
        recipient: word(&spec.recipient),
        networkGroup: spec.network_group,
        stake: U256::from(spec.stake),
    }
    .abi_encode()
}

fn provider_call(spec: &ProviderSpec) -> Vec<u8> {
    ProviderRegistry::registerCall {
        receiptKey: word(&spec.receipt_key),
        endpoint: spec.endpoint.clone(),
        classId: spec.class_id,
        region: spec.region,
        recipient: word(&spec.recipient),
        stake: U256::from(spec.stake),
    }
    .abi_encode()
}

fn settlement_config(
    spec: &DeploySpec,
    token: &Address,
    oracle_registry: &Address,
    provider_registry: &Address,
    genesis_s: u64,
) -> ISlaSettlement::Config {
    ISlaSettlement::Config {
        token: word(token),
        oracleRegistry: word(oracle_registry),
        providerRegistry: word(provider_registry),
        genesis: genesis_s,
        epochLength: spec.epoch_length_s,
        validEpochs: spec.valid_epochs,
        rewardWindow: spec.reward_window_s,
        slashWindow: spec.slash_window_s,
        epochBudget: U256::from(spec.epoch_budget),
        slashCapPpm: U256::from(spec.slash_cap_ppm),
        paramsHash: spec.params_hash.0.into(),
    }
}

fn word(address: &Address) -> alloy::Address {
    alloy::Address::from(address.0)
}

/// Transactions on their way.
struct Stream {
    http: reqwest::Client,
    url: String,
    chain_id: u64,
    sent: Vec<(String, Value)>,
}

impl Stream {
    async fn open(url: &str) -> Result<Self, DeployError> {
        let mut stream = Self { http: reqwest::Client::new(), url: url.into(), chain_id: 0, sent: Vec::new() };
        stream.chain_id = number(&stream.rpc("eth_chainId", json!([])).await?).ok_or(DeployError::Answer("eth_chainId"))?;
        Ok(stream)
    }

    async fn rpc(&self, method: &str, params: Value) -> Result<Value, AnvilError> {
        anvil::rpc(&self.http, &self.url, method, params).await
    }

    async fn endow(&self, address: &Address) -> Result<(), DeployError> {
        self.rpc("anvil_setBalance", json!([address, format!("{BALANCE_WEI:#x}")])).await?;
        Ok(())
    }

    /// Sends a creation and returns the address that it will have.
    async fn create(&mut self, name: &str, from: &Address, bytecode: &[u8], arguments: Vec<u8>) -> Result<Address, DeployError> {
        let count = self.rpc("eth_getTransactionCount", json!([from, "pending"])).await?;
        let nonce = number(&count).ok_or(DeployError::Answer("eth_getTransactionCount"))?;
        let data = [bytecode, &arguments].concat();
        self.submit(name, json!({ "from": from, "data": hex_data(&data), "gas": format!("{GAS:#x}") })).await?;
        Ok(Address(word(from).create(nonce).into_array()))
    }

    async fn send(&mut self, name: impl Into<String>, from: &Address, to: &Address, call: Vec<u8>) -> Result<(), DeployError> {
        let request = json!({ "from": from, "to": to, "data": hex_data(&call), "gas": format!("{GAS:#x}") });
        self.submit(name, request).await
    }

    /// Mints tokens to an account and lets `spender` take them.
    async fn fund(&mut self, token: &Address, owner: &Address, spender: &Address, amount: u128) -> Result<(), DeployError> {
        let amount = U256::from(amount);
        let mint = TestToken::mintCall { to: word(owner), amount }.abi_encode();
        self.send("mint", owner, token, mint).await?;
        let approve = TestToken::approveCall { spender: word(spender), value: amount }.abi_encode();
        self.send("approve", owner, token, approve).await
    }

    async fn submit(&mut self, name: impl Into<String>, request: Value) -> Result<(), DeployError> {
        let hash = self.rpc("eth_sendTransaction", json!([request])).await?;
        self.sent.push((name.into(), hash));
        Ok(())
    }

    /// Waits until all that was sent is mined, and checks that none of it reverted.
    async fn settle(&mut self) -> Result<(), DeployError> {
        let deadline = Instant::now() + RECEIPT_DEADLINE;
        for (name, hash) in std::mem::take(&mut self.sent) {
            loop {
                let receipt = self.rpc("eth_getTransactionReceipt", json!([hash])).await?;
                match receipt.get("status").and_then(Value::as_str) {
                    Some("0x1") => break,
                    Some(_) => return Err(DeployError::Reverted(name)),
                    None if Instant::now() > deadline => return Err(DeployError::NotMined(name)),
                    None => sleep(Duration::from_millis(50)).await,
                }
            }
        }
        Ok(())
    }

    /// The later of the chain's time and the clock's.
    async fn now_s(&self) -> Result<u64, DeployError> {
        let block = self.rpc("eth_getBlockByNumber", json!(["latest", false])).await?;
        let chain_s = block.get("timestamp").and_then(number).ok_or(DeployError::Answer("eth_getBlockByNumber"))?;
        let clock_s = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |elapsed| elapsed.as_secs());
        Ok(chain_s.max(clock_s))
    }
}

fn number(value: &Value) -> Option<u64> {
    u64::from_str_radix(value.as_str()?.strip_prefix("0x")?, 16).ok()
}

fn hex_data(bytes: &[u8]) -> String {
    format!("0x{}", hex::encode(bytes))
}
