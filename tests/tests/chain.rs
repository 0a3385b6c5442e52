//! The chain client and the outbox on a real anvil.

use std::sync::Arc;
use std::time::Duration;

use alloy_primitives::U256;
use alloy_sol_types::SolCall;
use assay_builder::error::BuilderError;
use assay_builder::register::Registry;
use assay_chain::outbox::{Outbox, OutboxConfig, OutboxError, State, Status};
use assay_chain::transaction::{self, Mined, SendConfig, TransactionError};
use assay_chain::{BlockTag, ChainConfig, ChainError, ClaimKind, Client, LateAnswer, calls};
use assay_contracts_bindings::{ProviderRegistry, TestToken};
use assay_core::abi::Words;
use assay_core::claim::{ClaimDomain, ClaimSet, SignedClaimSet};
use assay_core::hash::{Hash32, keccak};
use assay_core::ids::{Address, ProviderId};
use assay_core::merkle::{self, StandardTree};
use assay_core::report::{self, Report, StoredDigest};
use assay_core::{bls, secp};
use assay_proto::provider::v1::ingest_client::IngestClient;
use assay_proto::provider::v1::provider_client::ProviderClient;
use assay_tests::anvil::{Anvil, CHAIN_ID};
use assay_tests::deploy::{DeploySpec, Deployment, OracleSpec, ProviderSpec, deploy};
use assay_tests::rpc_proxy::{Lie, RpcProxy};
use serde_json::{Value, json};
use sqlx::SqlitePool;
use sqlx::sqlite::SqliteConnectOptions;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

fn address(byte: u8) -> Address {
    Address([byte; 20])
}

fn oracle(i: u8) -> OracleSpec {
    OracleSpec {
        key: bls::SecretKey::key_gen(&[i; 32]).unwrap(),
        operator: address(0x10 + i),
        transmitter: address(0x20 + i),
        recipient: address(0x30 + i),
        endpoint: format!("http://127.0.0.1:{}", 7000 + u16::from(i)),
        network_group: u64::from(i),
        stake: u128::from(i) * 1000,
    }
}

fn provider(i: u8) -> ProviderSpec {
    ProviderSpec {
        operator: address(0x40 + i),
        receipt_key: address(0x50 + i),
        recipient: address(0x60 + i),
        endpoint: format!("http://127.0.0.1:{}", 8000 + u16::from(i)),
        class_id: 100,
        region: 7,
        stake: 5_000,
    }
}

/// Contracts without participants.
async fn bare() -> (Anvil, Deployment, Client) {
    let anvil = Anvil::start().await.unwrap();
    let deployment = deploy(anvil.url(), &DeploySpec::default()).await.unwrap();
    let client = Client::connect(deployment.chain.clone()).await.unwrap();
    (anvil, deployment, client)
}

// ---- connecting

#[tokio::test(flavor = "multi_thread")]
async fn connecting_says_what_is_wrong() {
    let anvil = Anvil::start().await.unwrap();
    let config = ChainConfig {
        rpc_url: anvil.url().into(),
        chain_id: CHAIN_ID,
        oracle_registry: address(1),
        provider_registry: address(2),
        settlement: None,
    };
    let refusal = async |config: ChainConfig| Client::connect(config).await.err().unwrap();

    let error = refusal(ChainConfig { rpc_url: "127.0.0.1:8545".into(), ..config.clone() }).await;
    assert!(matches!(error, ChainError::Url(_)), "{error}");
    let error = refusal(ChainConfig { rpc_url: "http://127.0.0.1:1/secret-key".into(), ..config.clone() }).await;
    assert!(matches!(error, ChainError::Unreachable { .. }) && !error.to_string().contains("secret"), "{error}");
    let error = refusal(ChainConfig { chain_id: 1, ..config.clone() }).await;
    assert!(matches!(error, ChainError::WrongChain { expected: 1, found: CHAIN_ID, .. }), "{error}");
    let error = refusal(config).await;
    // Addresses 1 and 2 as repeated bytes hold no code.
    assert!(matches!(error, ChainError::NoCode { what: "oracle_registry", .. }), "{error}");
}

// Defence: the bounded transport. Without it a hostile RPC fills the memory.
#[tokio::test(flavor = "multi_thread")]
async fn an_endless_answer_is_cut_off() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let rpc_url = format!("http://{}", listener.local_addr().unwrap());
    let big = Arc::new(" ".repeat(24 * 1024 * 1024));
    let router = axum::Router::new().fallback(move || async move { big.as_str().to_owned() });
    tokio::spawn(async move { axum::serve(listener, router).await });
    let config =
        ChainConfig { rpc_url: rpc_url.into(), chain_id: 1, oracle_registry: address(1), provider_registry: address(2), settlement: None };
    let error = Client::connect(config).await.err().unwrap();
    assert!(matches!(error, ChainError::TooLarge { .. }), "{error}");
}

// ---- reading

#[tokio::test(flavor = "multi_thread")]
async fn registries_and_settlement_are_read_as_of_a_block() {
    let anvil = Anvil::start().await.unwrap();
    let before = {
        let latest = anvil.rpc("eth_blockNumber", json!([])).await.unwrap();
        u64::from_str_radix(&latest.as_str().unwrap()[2..], 16).unwrap()
    };
    let spec = DeploySpec {
        oracles: (1..=4).map(oracle).collect(),
        providers: (1..=2).map(provider).collect(),
        params_hash: Hash32([9; 32]),
        ..DeploySpec::default()
    };
    let deployment = deploy(anvil.url(), &spec).await.unwrap();
    let client = Client::connect(deployment.chain.clone()).await.unwrap();
    let latest = client.latest().await.unwrap();
    let view = client.registry_at(latest.number).await.unwrap();

    assert_eq!(view.block, latest);
    assert_eq!(view.set_epoch, 1);
    assert_eq!(view.members.iter().map(|member| member.oracle).collect::<Vec<_>>(), deployment.oracles);
    for (member, spec) in view.members.iter().zip(&spec.oracles) {
        assert!(member.key == spec.key.public_key());
        assert_eq!((member.operator, member.transmitter, member.recipient), (spec.operator, spec.transmitter, spec.recipient));
        assert_eq!((&member.endpoint, member.network_group), (&spec.endpoint, spec.network_group));
    }
    assert_eq!(view.members[3].weight, 65535, "the largest stake has the largest weight");
    assert_eq!(view.members[0].weight, 65535 / 4);
    assert_eq!(view.providers.len(), 2);
    let (record, spec_1) = (&view.providers[1], &spec.providers[1]);
    assert_eq!((record.id, record.receipt_key, record.stake, record.class_id), (ProviderId(2), spec_1.receipt_key, 5_000, 100));
    assert!(record.active && record.claim_root.is_zero() && record.claim_sequence == 0);

    let config = client.settlement_config().await.unwrap();
    assert_eq!((config.genesis_s, config.epoch_length_s, config.params_hash), (deployment.genesis_s, 25, Hash32([9; 32])));
    assert_eq!((config.token, config.epoch_budget), (deployment.token, spec.epoch_budget));
    assert!(config.genesis_s >= latest.timestamp_s + 5);
    assert_eq!(client.last_accepted(BlockTag::Latest).await.unwrap(), None);
    assert_eq!(client.accepted_report(0, BlockTag::Latest).await.unwrap(), None);
    assert_eq!(client.claimed(ClaimKind::Oracle, 1, BlockTag::Latest).await.unwrap(), 0);
    assert!(!client.slash_executed(ProviderId(1), 0, BlockTag::Latest).await.unwrap());

    // In a block before the deployment there was nothing to ask.
    let error = client.registry_at(before).await.unwrap_err();
    assert!(matches!(error, ChainError::BadAnswer { .. }), "{error}");
}

// Defence: unusable endpoints are empty. Made an error, or decoded strictly, one stake of a stranger's stops every node, and
// this turns red.
#[tokio::test(flavor = "multi_thread")]
async fn a_strangers_endpoint_does_not_stop_the_reading() {
    let anvil = Anvil::start().await.unwrap();
    let foreign = |text: &str| text.repeat(255 / text.len());
    let spec = DeploySpec {
        oracles: vec![oracle(1), OracleSpec { endpoint: foreign("\u{e9}"), ..oracle(2) }],
        providers: vec![provider(1), ProviderSpec { endpoint: foreign("\u{1f980}"), ..provider(2) }, provider(3)],
        ..DeploySpec::default()
    };
    let deployment = deploy(anvil.url(), &spec).await.unwrap();

    // No Rust string holds bytes that are no UTF-8: they are put into the calldata.
    let (stranger, registry) = (address(0x99), deployment.chain.provider_registry);
    let word = |address: Address| alloy_primitives::Address::from(address.0);
    anvil.set_balance(&stranger.to_string(), 1_000_000_000_000_000_000).await.unwrap();
    let mut register = ProviderRegistry::registerCall {
        receiptKey: word(address(1)),
        endpoint: "x".repeat(255),
        classId: 100,
        region: 7,
        recipient: word(stranger),
        stake: U256::from(1),
    }
    .abi_encode();
    let text = register.windows(255).position(|bytes| bytes == [b'x'; 255]).unwrap();
    register[text..text + 255].fill(0xff);
    let mint = TestToken::mintCall { to: word(stranger), amount: U256::from(1) }.abi_encode();
    let approve = TestToken::approveCall { spender: word(registry), value: U256::from(1) }.abi_encode();
    for (to, data) in [(deployment.token, mint), (deployment.token, approve), (registry, register)] {
        let data = format!("0x{}", hex::encode(data));
        let transaction = json!([{ "from": stranger, "to": to, "data": data, "gas": "0xf4240" }]);
        anvil.rpc("eth_sendTransaction", transaction).await.unwrap();
    }
    anvil.mine(1).await.unwrap();

    let client = Client::connect(deployment.chain.clone()).await.unwrap();
    let view = client.registry_at(client.latest().await.unwrap().number).await.unwrap();
    let endpoints: Vec<_> = view.providers.iter().map(|record| record.endpoint.as_str()).collect();
    assert_eq!(endpoints, [&spec.providers[0].endpoint, "", &spec.providers[2].endpoint, ""]);
    assert!(view.providers.iter().all(|record| record.active));
    let endpoints: Vec<_> = view.members.iter().map(|member| member.endpoint.as_str()).collect();
    assert_eq!(endpoints, [&spec.oracles[0].endpoint, ""]);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_last_block_before_a_time_is_found() {
    let (anvil, _, client) = bare().await;
    anvil.set_interval_mining(0).await.unwrap();
    anvil.mine(70).await.unwrap();
    let latest = client.latest().await.unwrap();
    let genesis = client.block(0).await.unwrap();
    let mut blocks = Vec::new();
    for number in 0..=latest.number {
        blocks.push(client.block(number).await.unwrap());
    }
    for time_s in (genesis.timestamp_s..latest.timestamp_s + 2).step_by(3).chain([latest.timestamp_s, u64::MAX]) {
        let expected = blocks.iter().rev().find(|block| block.timestamp_s <= time_s).copied();
        assert_eq!(client.last_block_at_or_before(time_s).await.unwrap(), expected, "{time_s}");
    }
    assert_eq!(client.last_block_at_or_before(genesis.timestamp_s - 1).await.unwrap(), None);
    let error = client.block(latest.number + 1000).await.unwrap_err();
    assert!(matches!(error, ChainError::NoBlock { .. }), "{error}");
}

// ---- the outbox

/// A chain, a transmitter with ether, and a database file that survives the outbox.
struct Bench {
    anvil: Anvil,
    client: Client,
    token: Address,
    dir: tempfile::TempDir,
}

impl Bench {
    async fn new() -> Self {
        let (anvil, deployment, client) = bare().await;
        let sender = Self::key().address().to_string();
        anvil.set_balance(&sender, 1_000_000_000_000_000_000).await.unwrap();
        Self { anvil, client, token: deployment.token, dir: tempfile::tempdir().unwrap() }
    }

    fn key() -> secp::SecretKey {
        secp::SecretKey::from_bytes(&[0x77; 32]).unwrap()
    }

    /// What a restarted process does.
    async fn open(&self) -> Outbox {
        self.open_with(OutboxConfig::default()).await
    }

    async fn open_with(&self, config: OutboxConfig) -> Outbox {
        let options = SqliteConnectOptions::new().filename(self.dir.path().join("outbox.db")).create_if_missing(true);
        let pool = SqlitePool::connect_with(options).await.unwrap();
        let config = OutboxConfig { poll_interval: Duration::from_millis(100), ..config };
        Outbox::open(pool, self.client.clone(), Self::key(), config).await.unwrap()
    }

    /// (max fee, priority fee) of a transaction that the node knows, wei.
    async fn fees(&self, tx_hash: Hash32) -> (u128, u128) {
        let known = self.anvil.rpc("eth_getTransactionByHash", json!([tx_hash])).await.unwrap();
        let wei = |field: &str| u128::from_str_radix(&known[field].as_str().unwrap()[2..], 16).unwrap();
        (wei("maxFeePerGas"), wei("maxPriorityFeePerGas"))
    }

    async fn base_fee(&self) -> u128 {
        let block = self.anvil.rpc("eth_getBlockByNumber", json!(["latest", false])).await.unwrap();
        u128::from_str_radix(&block["baseFeePerGas"].as_str().unwrap()[2..], 16).unwrap()
    }

    fn mint(amount: u64) -> Vec<u8> {
        let to = alloy_primitives::Address::from(address(0xaa).0);
        TestToken::mintCall { to, amount: U256::from(amount) }.abi_encode()
    }

    async fn minted(&self) -> u64 {
        let owner = alloy_primitives::Address::from(address(0xaa).0);
        let data = format!("0x{}", hex::encode(TestToken::balanceOfCall { account: owner }.abi_encode()));
        let answer = self.anvil.rpc("eth_call", json!([{ "to": self.token, "data": data }, "latest"])).await.unwrap();
        u64::from_str_radix(answer.as_str().unwrap()[2..].trim_start_matches('0'), 16).unwrap_or(0)
    }

    async fn nonce(&self) -> u64 {
        let sender = Self::key().address();
        let answer = self.anvil.rpc("eth_getTransactionCount", json!([sender, "latest"])).await.unwrap();
        u64::from_str_radix(&answer.as_str().unwrap()[2..], 16).unwrap()
    }

    async fn state(&self, outbox: &Outbox, intent: &str) -> State {
        outbox.status(intent).await.unwrap().unwrap().state
    }

    async fn run_until_settled(&self, outbox: &Outbox, intent: &str) -> Status {
        let token = CancellationToken::new();
        let running = tokio::spawn({
            let (outbox, token) = (outbox.clone(), token.clone());
            async move { outbox.run(token).await }
        });
        let settled = tokio::time::timeout(Duration::from_secs(30), outbox.settled(intent)).await;
        token.cancel();
        running.await.unwrap();
        settled.expect("not settled in time").unwrap().unwrap()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn intents_are_sent_once_and_in_order() {
    let bench = Bench::new().await;
    let outbox = bench.open().await;
    for (i, amount) in [1, 10, 100].into_iter().enumerate() {
        for _ in 0..3 {
            outbox.enqueue(&format!("mint/{i}"), bench.token, Bench::mint(amount)).await.unwrap();
        }
    }
    let status = bench.run_until_settled(&outbox, "mint/2").await;
    assert_eq!((status.state, status.nonce, status.error), (State::Finalized, Some(2), None));
    assert!(status.gas_used.unwrap() > 21_000 && status.block_number.is_some());
    assert_eq!((bench.minted().await, bench.nonce().await), (111, 3));

    let error = outbox.enqueue("mint/0", bench.token, Bench::mint(2)).await.unwrap_err();
    assert!(matches!(error, OutboxError::Conflict(_)), "{error}");
    assert_eq!(outbox.status("unknown").await.unwrap(), None);
}

// A crash table: the process ends after each step, and a fresh one goes on from the file.
#[tokio::test(flavor = "multi_thread")]
async fn a_crash_in_any_state_sends_once() {
    for crash_after in [State::Queued, State::Signed, State::Broadcast, State::Mined] {
        let bench = Bench::new().await;
        let outbox = bench.open().await;
        outbox.enqueue("report/3", bench.token, Bench::mint(5)).await.unwrap();
        if crash_after != State::Queued {
            outbox.sign_queued().await.unwrap();
        }
        if matches!(crash_after, State::Broadcast | State::Mined) {
            outbox.send_signed().await.unwrap();
        }
        if crash_after == State::Mined {
            while bench.state(&outbox, "report/3").await != State::Mined {
                outbox.poll_receipts().await.unwrap();
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        }
        assert_eq!(bench.state(&outbox, "report/3").await, crash_after);
        let before = outbox.status("report/3").await.unwrap().unwrap();
        drop(outbox);

        let outbox = bench.open().await;
        outbox.enqueue("report/3", bench.token, Bench::mint(5)).await.unwrap();
        let status = bench.run_until_settled(&outbox, "report/3").await;
        assert_eq!(status.state, State::Finalized);
        assert!(before.tx_hash.is_none_or(|hash| status.tx_hash == Some(hash)), "another transaction after {crash_after:?}");
        assert_eq!((bench.minted().await, bench.nonce().await), (5, 1), "{crash_after:?}");
    }
}

// The crash between sending and noting it: the node knows a transaction that the table calls signed.
#[tokio::test(flavor = "multi_thread")]
async fn a_crash_between_sending_and_noting_it_sends_once() {
    let bench = Bench::new().await;
    let outbox = bench.open().await;
    outbox.enqueue("report/3", bench.token, Bench::mint(5)).await.unwrap();
    outbox.sign_queued().await.unwrap();
    let path = bench.dir.path().join("outbox.db");
    let signed = std::fs::read(&path).unwrap();
    outbox.send_signed().await.unwrap();
    drop(outbox);
    let _ = std::fs::remove_file(bench.dir.path().join("outbox.db-wal"));
    std::fs::write(&path, signed).unwrap();

    let outbox = bench.open().await;
    assert_eq!(bench.state(&outbox, "report/3").await, State::Signed);
    let status = bench.run_until_settled(&outbox, "report/3").await;
    assert_eq!(status.state, State::Finalized);
    assert_eq!((bench.minted().await, bench.nonce().await), (5, 1));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_intent_that_would_revert_takes_no_nonce() {
    let bench = Bench::new().await;
    let outbox = bench.open().await;
    let nobody = alloy_primitives::Address::from(address(0xbb).0);
    let transfer = TestToken::transferCall { to: nobody, value: U256::from(1) }.abi_encode();
    outbox.enqueue("bad", bench.token, transfer).await.unwrap();
    outbox.enqueue("good", bench.token, Bench::mint(1)).await.unwrap();
    let good = bench.run_until_settled(&outbox, "good").await;
    assert_eq!((good.state, good.nonce), (State::Finalized, Some(0)));
    let bad = outbox.status("bad").await.unwrap().unwrap();
    assert_eq!((bad.state, bad.nonce), (State::Reverted, None));
    let reason = bad.error.unwrap();
    assert!(reason.contains("ERC20InsufficientBalance"), "{reason}");

    // What has become possible can be tried again.
    let sender = alloy_primitives::Address::from(outbox.sender().0);
    let mint = TestToken::mintCall { to: sender, amount: U256::from(1) }.abi_encode();
    outbox.enqueue("mint to sender", bench.token, mint).await.unwrap();
    bench.run_until_settled(&outbox, "mint to sender").await;
    assert!(outbox.retry("bad").await.unwrap());
    assert_eq!(bench.run_until_settled(&outbox, "bad").await.state, State::Finalized);
}

// Defence: `requeue_reverted` takes nonce, transaction and receipt from the row. Any of them kept, the old transaction is sent again
// or its receipt is read again, and this turns red.
#[tokio::test(flavor = "multi_thread")]
async fn what_reverted_in_its_block_is_tried_again_with_a_new_transaction() {
    let bench = Bench::new().await;
    let outbox = bench.open().await;
    let word = |address: Address| alloy_primitives::Address::from(address.0);
    let owner = address(0xbb);
    bench.anvil.set_balance(&owner.to_string(), 1_000_000_000_000_000_000).await.unwrap();
    let by_owner = async |call: Vec<u8>| {
        let data = format!("0x{}", hex::encode(call));
        let transaction = json!([{ "from": owner, "to": bench.token, "data": data, "gas": "0xf4240" }]);
        bench.anvil.rpc("eth_sendTransaction", transaction).await.unwrap();
        bench.anvil.mine(1).await.unwrap();
    };
    let mint = || TestToken::mintCall { to: word(owner), amount: U256::from(1) }.abi_encode();
    by_owner(mint()).await;
    by_owner(TestToken::approveCall { spender: word(outbox.sender()), value: U256::MAX }.abi_encode()).await;

    // Right when it is estimated, wrong when it is mined: the owner spends first.
    let take = TestToken::transferFromCall { from: word(owner), to: word(address(0xaa)), value: U256::from(1) }.abi_encode();
    outbox.enqueue("take", bench.token, take).await.unwrap();
    outbox.sign_queued().await.unwrap();
    by_owner(TestToken::transferCall { to: word(address(0xcc)), value: U256::from(1) }.abi_encode()).await;
    let first = bench.run_until_settled(&outbox, "take").await;
    assert_eq!((first.state, first.nonce, bench.minted().await), (State::Reverted, Some(0), 0));
    assert!(first.block_number.is_some() && first.error.unwrap().contains("reverted in block"));

    by_owner(mint()).await;
    assert!(outbox.retry("take").await.unwrap());
    let queued = Status { state: State::Queued, nonce: None, tx_hash: None, block_number: None, gas_used: None, error: None };
    assert_eq!(outbox.status("take").await.unwrap(), Some(queued));
    assert!(!outbox.retry("take").await.unwrap(), "it is not reverted any more");
    let second = bench.run_until_settled(&outbox, "take").await;
    assert_eq!((second.state, second.nonce, second.error), (State::Finalized, Some(1), None));
    assert_ne!(second.tx_hash, first.tx_hash);
    assert_eq!((bench.minted().await, bench.nonce().await), (1, 2));
    assert!(!outbox.retry("take").await.unwrap(), "what is done is never done again");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reorg_sends_the_row_back() {
    let bench = Bench::new().await;
    let outbox = bench.open().await;
    bench.anvil.set_interval_mining(0).await.unwrap();
    outbox.enqueue("report/3", bench.token, Bench::mint(5)).await.unwrap();
    outbox.step().await.unwrap();
    bench.anvil.mine(1).await.unwrap();
    outbox.step().await.unwrap();
    let mined = outbox.status("report/3").await.unwrap().unwrap();
    assert_eq!(mined.state, State::Mined);
    assert_eq!(bench.minted().await, 5);

    bench.anvil.rollback(1).await.unwrap();
    bench.anvil.drop_pending().await.unwrap();
    assert_eq!(bench.minted().await, 0);
    outbox.step().await.unwrap();
    let back = outbox.status("report/3").await.unwrap().unwrap();
    assert_eq!((back.state, back.block_number, back.tx_hash), (State::Broadcast, None, mined.tx_hash));

    bench.anvil.set_interval_mining(1).await.unwrap();
    let status = bench.run_until_settled(&outbox, "report/3").await;
    assert_eq!((status.state, status.tx_hash), (State::Finalized, mined.tx_hash));
    assert_eq!((bench.minted().await, bench.nonce().await), (5, 1));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_transaction_that_no_node_knows_is_sent_again() {
    let bench = Bench::new().await;
    let outbox = bench.open().await;
    bench.anvil.set_interval_mining(0).await.unwrap();
    outbox.enqueue("report/3", bench.token, Bench::mint(5)).await.unwrap();
    outbox.step().await.unwrap();
    bench.anvil.drop_pending().await.unwrap();
    bench.anvil.mine(1).await.unwrap();
    assert_eq!(bench.nonce().await, 0);
    outbox.step().await.unwrap();
    bench.anvil.set_interval_mining(1).await.unwrap();
    assert_eq!(bench.run_until_settled(&outbox, "report/3").await.state, State::Finalized);
    assert_eq!(bench.minted().await, 5);
}

// Defence: `requeue_displaced`. Without it an operator who uses the key by hand blocks the outbox for ever.
#[tokio::test(flavor = "multi_thread")]
async fn a_nonce_taken_by_somebody_else_is_replaced() {
    let bench = Bench::new().await;
    let outbox = bench.open().await;
    outbox.enqueue("report/3", bench.token, Bench::mint(5)).await.unwrap();
    outbox.sign_queued().await.unwrap();
    let by_hand = json!([{ "from": outbox.sender(), "to": address(1), "value": "0x1", "gas": "0x5208" }]);
    bench.anvil.rpc("eth_sendTransaction", by_hand).await.unwrap();
    while bench.nonce().await == 0 {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let status = bench.run_until_settled(&outbox, "report/3").await;
    assert_eq!((status.state, status.nonce), (State::Finalized, Some(1)));
    assert_eq!((bench.minted().await, bench.nonce().await), (5, 2));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sender_without_ether_waits_and_says_so() {
    let bench = Bench::new().await;
    let sender = Bench::key().address().to_string();
    bench.anvil.set_balance(&sender, 0).await.unwrap();
    let outbox = bench.open().await;
    outbox.enqueue("report/3", bench.token, Bench::mint(5)).await.unwrap();
    outbox.step().await.unwrap();
    let status = outbox.status("report/3").await.unwrap().unwrap();
    assert!(!status.state.is_final(), "{status:?}");
    assert!(status.error.unwrap().to_lowercase().contains("insufficient funds"));
    bench.anvil.set_balance(&sender, 1_000_000_000_000_000_000).await.unwrap();
    assert_eq!(bench.run_until_settled(&outbox, "report/3").await.state, State::Finalized);
}

const AT_ONCE: OutboxConfig =
    OutboxConfig { poll_interval: Duration::ZERO, max_fee_per_gas_wei: u128::MAX, gas_margin_percent: 25, raise_after: Duration::ZERO };

// Defence: `Outbox::raise_fees`; without it one transaction that was priced too low holds up all behind it.
#[tokio::test(flavor = "multi_thread")]
async fn a_transaction_that_no_block_takes_is_replaced_by_a_dearer_one() {
    let bench = Bench::new().await;
    let outbox = bench.open_with(OutboxConfig { raise_after: Duration::from_millis(200), ..AT_ONCE }).await;
    bench.anvil.set_interval_mining(0).await.unwrap();
    outbox.enqueue("report/3", bench.token, Bench::mint(5)).await.unwrap();
    outbox.step().await.unwrap();
    let first = outbox.status("report/3").await.unwrap().unwrap();
    let offered = bench.fees(first.tx_hash.unwrap()).await;
    bench.anvil.rpc("anvil_setNextBlockBaseFeePerGas", json!([format!("{:#x}", offered.0 + 1)])).await.unwrap();
    bench.anvil.mine(1).await.unwrap();
    assert_eq!(bench.nonce().await, 0, "priced too low");

    let status = {
        bench.anvil.set_interval_mining(1).await.unwrap();
        bench.run_until_settled(&outbox, "report/3").await
    };
    assert_eq!((status.state, status.nonce), (State::Finalized, Some(0)));
    let taken = bench.fees(status.tx_hash.unwrap()).await;
    assert!(taken.0 * 8 >= offered.0 * 9 && taken.1 * 8 >= offered.1 * 9, "{offered:?} {taken:?}");
    assert_eq!((bench.minted().await, bench.nonce().await), (5, 1));
}

// Defence: `Outbox::find` looks for every transaction of the row; without it the intent is signed again with the next nonce and done twice.
#[tokio::test(flavor = "multi_thread")]
async fn of_a_transaction_and_its_replacement_whichever_is_mined_counts() {
    let bench = Bench::new().await;
    let outbox = bench.open_with(AT_ONCE).await;
    bench.anvil.set_interval_mining(0).await.unwrap();
    outbox.enqueue("report/3", bench.token, Bench::mint(5)).await.unwrap();
    outbox.sign_queued().await.unwrap();
    outbox.send_signed().await.unwrap();
    let first = outbox.status("report/3").await.unwrap().unwrap();
    outbox.raise_fees().await.unwrap();
    let second = outbox.status("report/3").await.unwrap().unwrap();
    assert_eq!((second.state, second.nonce), (State::Signed, first.nonce));
    assert_ne!(second.tx_hash, first.tx_hash);
    bench.anvil.mine(1).await.unwrap();

    let reopened = bench.open_with(AT_ONCE).await;
    bench.anvil.set_interval_mining(1).await.unwrap();
    let status = bench.run_until_settled(&reopened, "report/3").await;
    assert_eq!((status.state, status.tx_hash), (State::Finalized, first.tx_hash));
    assert_eq!((bench.minted().await, bench.nonce().await), (5, 1));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_transaction_that_is_stuck_at_the_cap_raises_an_alert() {
    let bench = Bench::new().await;
    bench.anvil.set_interval_mining(0).await.unwrap();
    let outbox = bench.open_with(OutboxConfig { max_fee_per_gas_wei: bench.base_fee().await + 10, ..AT_ONCE }).await;
    outbox.enqueue("report/3", bench.token, Bench::mint(5)).await.unwrap();
    outbox.step().await.unwrap();
    let alert = outbox.alert().expect("somebody must know");
    assert!(alert.contains("report/3") && alert.contains("max_fee_per_gas_wei"), "{alert}");
    assert_eq!(outbox.status("report/3").await.unwrap().unwrap().state, State::Broadcast);

    let richer = bench.open_with(AT_ONCE).await;
    bench.anvil.set_interval_mining(1).await.unwrap();
    assert_eq!(bench.run_until_settled(&richer, "report/3").await.state, State::Finalized);
    assert_eq!((richer.alert(), bench.minted().await), (None, 5));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_intent_that_is_given_up_takes_its_nonce_and_does_nothing() {
    let bench = Bench::new().await;
    let outbox = bench.open().await;
    // The account has something already, so that what a mint costs does not depend on the one before it.
    outbox.enqueue("report/2", bench.token, Bench::mint(1)).await.unwrap();
    bench.run_until_settled(&outbox, "report/2").await;
    bench.anvil.set_interval_mining(0).await.unwrap();
    for (intent, amount) in [("report/3", 5), ("report/4", 7)] {
        outbox.enqueue(intent, bench.token, Bench::mint(amount)).await.unwrap();
    }
    outbox.step().await.unwrap();
    outbox.enqueue("report/5", bench.token, Bench::mint(11)).await.unwrap();
    assert!(outbox.cancel("report/3").await.unwrap() && outbox.cancel("report/5").await.unwrap());
    assert!(!outbox.cancel("report/6").await.unwrap());
    bench.anvil.set_interval_mining(1).await.unwrap();
    assert_eq!(bench.run_until_settled(&outbox, "report/4").await.state, State::Finalized);
    for (intent, nonce) in [("report/3", Some(1)), ("report/5", None)] {
        let status = outbox.status(intent).await.unwrap().unwrap();
        assert_eq!((status.state, status.nonce, status.error.as_deref()), (State::Reverted, nonce, Some("cancelled")), "{intent}");
    }
    assert_eq!((bench.minted().await, bench.nonce().await), (8, 3));
    assert!(!outbox.cancel("report/4").await.unwrap(), "what is done stays done");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_balance_is_forecast_from_what_was_spent() {
    let bench = Bench::new().await;
    let outbox = bench.open().await;
    let before = outbox.forecast().await.unwrap();
    assert_eq!((before.balance_wei, before.days), (1_000_000_000_000_000_000, None));
    outbox.enqueue("report/3", bench.token, Bench::mint(5)).await.unwrap();
    bench.run_until_settled(&outbox, "report/3").await;
    let after = outbox.forecast().await.unwrap();
    assert!(after.balance_wei < before.balance_wei && after.days.is_some(), "{after:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn unfinished_rows_of_another_key_are_refused() {
    let bench = Bench::new().await;
    let outbox = bench.open().await;
    outbox.enqueue("report/3", bench.token, Bench::mint(5)).await.unwrap();
    let options = SqliteConnectOptions::new().filename(bench.dir.path().join("outbox.db"));
    let pool = SqlitePool::connect_with(options).await.unwrap();
    let other = secp::SecretKey::from_bytes(&keccak([b"other"]).0).unwrap();
    let error = Outbox::open(pool, bench.client.clone(), other, OutboxConfig::default()).await.err().unwrap();
    assert!(matches!(error, OutboxError::OtherSender { sender, .. } if sender == outbox.sender()), "{error}");
}

// ---- single transactions

/// Asks until a transaction of this sender waits to be mined.
async fn pending(anvil: &Anvil, sender: &Address) {
    loop {
        let count = anvil.rpc("eth_getTransactionCount", json!([sender, "pending"])).await.unwrap();
        if count != json!("0x0") {
            return;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_command_sends_one_transaction_and_waits_for_it() {
    let bench = Bench::new().await;
    let (rpc, key, patient) = (bench.client.rpc().clone(), Bench::key(), SendConfig::default());
    let mined = transaction::send(&rpc, &key, &bench.token, &Bench::mint(5), &patient).await.unwrap();
    assert_eq!((bench.minted().await, bench.nonce().await), (5, 1));
    assert!(mined.gas_used > 21_000 && mined.block_number <= bench.client.latest().await.unwrap().number);

    // What the contract refuses is not sent; what is too dear neither.
    let nobody = alloy_primitives::Address::from(address(0xbb).0);
    let transfer = TestToken::transferCall { to: nobody, value: U256::from(1) }.abi_encode();
    let error = transaction::send(&rpc, &key, &bench.token, &transfer, &patient).await.unwrap_err();
    assert!(matches!(&error, TransactionError::WouldRevert(reason) if reason.contains("ERC20InsufficientBalance")), "{error}");
    let thrifty = SendConfig { max_fee_per_gas_wei: 0, ..SendConfig::default() };
    let error = transaction::send(&rpc, &key, &bench.token, &Bench::mint(5), &thrifty).await.unwrap_err();
    assert!(matches!(error, TransactionError::TooDear { cap_wei: 0, .. }), "{error}");
    assert_eq!((bench.minted().await, bench.nonce().await), (5, 1));
}

// Defence: a transaction that nobody mined is told by its hash. Told as a failure, the command is run again and pays twice.
#[tokio::test(flavor = "multi_thread")]
async fn a_transaction_that_is_not_mined_in_time_is_named() {
    let bench = Bench::new().await;
    bench.anvil.set_interval_mining(0).await.unwrap();
    let hasty = SendConfig { receipt_timeout: Duration::ZERO, ..SendConfig::default() };
    let error = transaction::send(bench.client.rpc(), &Bench::key(), &bench.token, &Bench::mint(5), &hasty).await.unwrap_err();
    let TransactionError::NotMined { tx_hash, waited_s: 0 } = error else { panic!("{error}") };
    bench.anvil.mine(1).await.unwrap();
    let receipt = bench.anvil.rpc("eth_getTransactionReceipt", json!([tx_hash])).await.unwrap();
    assert_eq!((receipt["status"].as_str(), bench.minted().await), (Some("0x1"), 5));
}

// Defence: the receipt's status is read. Removed, a reverted rebuttal or claim set passes for done, and this turns red.
#[tokio::test(flavor = "multi_thread")]
async fn what_reverts_in_its_block_is_an_error() {
    let bench = Bench::new().await;
    bench.anvil.set_interval_mining(0).await.unwrap();
    let (rpc, token) = (bench.client.rpc().clone(), bench.token);
    let sending =
        tokio::spawn(async move { transaction::send(&rpc, &Bench::key(), &token, &Bench::mint(5), &SendConfig::default()).await });
    pending(&bench.anvil, &Bench::key().address()).await;
    // The contract is another one by the time of the block: INVALID.
    bench.anvil.rpc("anvil_setCode", json!([bench.token, "0xfe"])).await.unwrap();
    bench.anvil.mine(1).await.unwrap();
    let error = sending.await.unwrap().unwrap_err();
    assert!(matches!(error, TransactionError::Reverted { .. }), "{error}");
}

// ---- claim sets

/// A builder's client of provider 1, which has no need to speak to it.
fn builders_client(domain: ClaimDomain, receipt_key: Address) -> assay_builder::client::Client {
    let channel = tonic::transport::Endpoint::from_static("http://127.0.0.1:1").connect_lazy();
    assay_builder::client::Client {
        provider: ProviderClient::new(channel.clone()),
        ingest: IngestClient::new(channel),
        domain,
        receipt_key,
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_builder_publishes_the_signed_set_of_the_right_provider_once() {
    let anvil = Anvil::start().await.unwrap();
    let (receipt_key, sender) = (receipt_key(1), Bench::key());
    let spec = DeploySpec { providers: vec![ProviderSpec { receipt_key: receipt_key.address(), ..provider(1) }], ..DeploySpec::default() };
    let chain = deploy(anvil.url(), &spec).await.unwrap().chain;
    anvil.set_balance(&sender.address().to_string(), 1_000_000_000_000_000_000).await.unwrap();
    let domain = ClaimDomain { chain_id: CHAIN_ID, provider_registry: chain.provider_registry, provider: ProviderId(1) };
    let set = SignedClaimSet::sign(&domain, 1, &ClaimSet::new(Vec::new()).unwrap(), &receipt_key).unwrap();
    let registry = Registry::connect(anvil.url(), &chain.provider_registry, &sender).await.unwrap();

    let error = Registry::connect(anvil.url(), &address(0xbb), &sender).await.err().unwrap();
    assert!(matches!(error, BuilderError::Chain(ChainError::NoCode { .. })), "{error}");
    let mut elsewhere = builders_client(ClaimDomain { chain_id: 1, ..domain }, receipt_key.address());
    let error = registry.publish(&mut elsewhere, &set).await.unwrap_err();
    assert!(matches!(error, BuilderError::OtherRegistry { chain_id: 1, .. }), "{error}");
    let mut impostor = builders_client(domain, address(7));
    let error = registry.publish(&mut impostor, &set).await.unwrap_err();
    assert!(matches!(error, BuilderError::Untrusted(_)), "{error}");
    let mut client = builders_client(domain, receipt_key.address());
    let forged = SignedClaimSet::sign(&domain, 1, &ClaimSet::new(Vec::new()).unwrap(), &sender).unwrap();
    let error = registry.publish(&mut client, &forged).await.unwrap_err();
    assert!(error.to_string().contains("InvalidClaimsSignature"), "{error}");

    assert!(registry.publish(&mut client, &set).await.unwrap().is_some());
    let record = registry.on_chain(&client).await.unwrap();
    assert_eq!((record.claim_sequence, record.claim_root, record.claim_count), (1, set.root.hash, 0));
    assert_eq!(registry.publish(&mut client, &set).await.unwrap(), None, "it is there already");
}

// ---- rebuttals

const AMOUNT: u128 = 1_000;
const SILENT: u8 = 3;

fn receipt_key(i: u8) -> secp::SecretKey {
    secp::SecretKey::from_bytes(&[i; 32]).unwrap()
}

/// Providers that were all silent in epoch 0, in an accepted report.
struct Silence {
    anvil: Anvil,
    client: Client,
    report: Report,
    tree: StandardTree,
    slash_window_s: u64,
}

impl Silence {
    async fn new(providers: u8) -> Self {
        let anvil = Anvil::start().await.unwrap();
        let spec = DeploySpec {
            oracles: (1..=4).map(oracle).collect(),
            providers: (1..=providers).map(|i| ProviderSpec { receipt_key: receipt_key(i).address(), ..provider(1) }).collect(),
            slash_window_s: 3_600,
            params_hash: Hash32([9; 32]),
            ..DeploySpec::default()
        };
        let deployment = deploy(anvil.url(), &spec).await.unwrap();
        let client = Client::connect(deployment.chain.clone()).await.unwrap();
        let ref_block = client.latest().await.unwrap().number;
        let tree = StandardTree::new((1..=providers).map(Self::leaf).collect());
        let report = Report {
            chain_id: CHAIN_ID,
            settlement: deployment.settlement,
            set_epoch: 1,
            epoch: 0,
            view: 0,
            parent_digest: Hash32::ZERO,
            ref_block,
            valid_until: deployment.genesis_s + (1 + spec.valid_epochs) * spec.epoch_length_s,
            drand_round: 1,
            seed_secure: true,
            params_hash: spec.params_hash,
            bit_votes_root: Hash32::ZERO,
            obs_root: Hash32::ZERO,
            result_root: Hash32::ZERO,
            reward_root: Hash32::ZERO,
            slash_root: tree.root(),
            reward_total: 0,
            slash_total: AMOUNT * u128::from(providers),
            log_heads_root: Hash32::ZERO,
            data_digest: Hash32::ZERO,
        };
        let silence = Self { anvil, client, report, tree, slash_window_s: spec.slash_window_s };
        silence.anvil.set_balance(&Bench::key().address().to_string(), 1_000_000_000_000_000_000_000).await.unwrap();
        silence.pass(spec.genesis_delay_s + spec.epoch_length_s).await;
        let message = report::signing_message(&silence.client.instance().unwrap(), 0, 0, &silence.report.digest());
        let signatures: Vec<_> = spec.oracles.iter().map(|oracle| oracle.key.sign(bls::Domain::Report, &message)).collect();
        let mut signers = [0; 32];
        signers[31] = 0x0f;
        let call = calls::submit_report(&silence.report, &signers, &bls::Signature::aggregate(&signatures).unwrap());
        silence.send(call).await.unwrap();
        let accepted = silence.client.accepted_report(0, BlockTag::Latest).await.unwrap().unwrap();
        assert_eq!(accepted.digest, StoredDigest::of(&silence.report.digest()));
        silence
    }

    fn challenge(i: u8) -> Hash32 {
        keccak([b"a challenge to", &[i]])
    }

    /// By `docs/protocol.md`: one silence is the whole tree of facts.
    fn facts_root(i: u8) -> Hash32 {
        let silence = Words::tagged("assay.silence.v1").with(&Self::challenge(i)).keccak();
        merkle::leaf(&Words::new().with(&silence))
    }

    fn leaf(i: u8) -> Hash32 {
        let words = Words::new().with(&u64::from(i)).with(&0_u64).with(&SILENT).with(&Self::facts_root(i)).with(&AMOUNT);
        merkle::leaf(&words)
    }

    /// Well formed and signed; that the bytes are no replica's is not the contract's business.
    fn answer(&self, i: u8, key: &secp::SecretKey) -> LateAnswer {
        let chunks: Vec<u8> = (0..30 * 1024_usize).map(|at| (at % 251) as u8 ^ i).collect();
        let siblings: Vec<Vec<u8>> = (0..30).map(|sample| vec![sample ^ i; 32 * usize::from(7 + sample % 3)]).collect();
        let mut words = Words::new().with(&keccak([b""]));
        for (chunk, path) in chunks.chunks(1024).zip(&siblings) {
            words.push(&keccak([keccak([chunk]).as_bytes(), path]));
        }
        let challenge_digest = Self::challenge(i);
        let statement = Words::tagged("assay.answer.v1")
            .with_instance(&self.client.instance().unwrap())
            .with(&u64::from(i))
            .with(&challenge_digest)
            .with(&words.keccak());
        LateAnswer { challenge_digest, chunks, siblings, signature: key.sign(&statement.keccak()).unwrap() }
    }

    fn rebut(&self, i: u8, answer: &LateAnswer) -> Vec<u8> {
        let proof = self.tree.proof(&Self::leaf(i)).unwrap();
        calls::rebut(&self.report, ProviderId(i.into()), AMOUNT, &proof, answer)
    }

    fn execute(&self, i: u8) -> Vec<u8> {
        let proof = self.tree.proof(&Self::leaf(i)).unwrap();
        calls::execute_slash(&self.report, ProviderId(i.into()), SILENT, &Self::facts_root(i), AMOUNT, &proof)
    }

    async fn send(&self, call: Vec<u8>) -> Result<Mined, TransactionError> {
        transaction::send(self.client.rpc(), &Bench::key(), &self.report.settlement, &call, &SendConfig::default()).await
    }

    /// The contract's refusal of a call.
    async fn refusal(&self, call: Vec<u8>) -> String {
        match self.send(call).await.unwrap_err() {
            TransactionError::WouldRevert(reason) => reason,
            error => panic!("{error}"),
        }
    }

    async fn pass(&self, seconds: u64) {
        self.anvil.rpc("evm_increaseTime", json!([seconds])).await.unwrap();
        self.anvil.mine(1).await.unwrap();
    }

    async fn is_rebutted(&self, i: u8) -> bool {
        self.client.rebutted(ProviderId(i.into()), 0, BlockTag::Latest).await.unwrap()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_silence_is_rebutted_on_the_chain_and_not_slashed() {
    let silence = Silence::new(2).await;
    assert!(!silence.is_rebutted(1).await);
    assert!(silence.refusal(silence.execute(1)).await.contains("WindowOpen"), "slashes wait");
    let stranger = silence.answer(1, &Bench::key());
    assert!(silence.refusal(silence.rebut(1, &stranger)).await.contains("InvalidAnswerSignature"));

    // Anybody may send it.
    let answer = silence.answer(1, &receipt_key(1));
    let mined = silence.send(silence.rebut(1, &answer)).await.unwrap();
    println!("rebut, 7 to 9 siblings: {} gas", mined.gas_used);
    assert!(silence.is_rebutted(1).await && !silence.is_rebutted(2).await);
    assert!(silence.refusal(silence.rebut(1, &answer)).await.contains("AlreadyRebutted"));

    let latest = silence.client.latest().await.unwrap().number;
    let read = silence.client.rebuttals(0, latest).await.unwrap();
    assert_eq!(read.next_block, latest + 1);
    let [rebuttal] = read.found.as_slice() else { panic!("{} rebuttals", read.found.len()) };
    assert_eq!((rebuttal.provider, rebuttal.epoch, &rebuttal.answer), (ProviderId(1), 0, &answer));
    assert_eq!((rebuttal.tx_hash, rebuttal.block_number), (mined.tx_hash, mined.block_number));
    assert_eq!(silence.client.rebuttals(0, mined.block_number - 1).await.unwrap().found, []);

    silence.pass(silence.slash_window_s).await;
    assert!(silence.refusal(silence.execute(1)).await.contains("AlreadyRebutted"));
    let late = silence.answer(2, &receipt_key(2));
    assert!(silence.refusal(silence.rebut(2, &late)).await.contains("RebuttalTooLate"));
    silence.send(silence.execute(2)).await.unwrap();
    for (i, executed) in [(1, false), (2, true)] {
        assert_eq!(silence.client.slash_executed(ProviderId(i), 0, BlockTag::Latest).await.unwrap(), executed);
    }
}

/// Passes requests on, but gives the logs of one block at a time only, as public RPCs do with larger bounds.
async fn stingy_rpc(target: String) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let http = reqwest::Client::new();
    let router = axum::Router::new().fallback(move |axum::Json(request): axum::Json<Value>| {
        let (http, target) = (http.clone(), target.clone());
        async move {
            let filter = &request["params"][0];
            if request["method"] == "eth_getLogs" && filter["fromBlock"] != filter["toBlock"] {
                let error = json!({ "code": -32005, "message": "block range too large" });
                return axum::Json(json!({ "jsonrpc": "2.0", "id": request["id"], "error": error }));
            }
            axum::Json(http.post(target).json(&request).send().await.unwrap().json().await.unwrap())
        }
    });
    tokio::spawn(async move { axum::serve(listener, router).await });
    url
}

// Defence: what is too much for one answer is asked for in parts, and the reading pauses. With the first refusal taken for the
// answer, many rebuttals at once hide each other from the oracles; without the pause, they fill the memory. Either turns this red.
#[tokio::test(flavor = "multi_thread")]
async fn many_rebuttals_are_read_in_parts() {
    const MANY: u8 = 66;
    let silence = Silence::new(MANY).await;
    silence.anvil.set_interval_mining(0).await.unwrap();
    let sender = address(0xaa);
    silence.anvil.set_balance(&sender.to_string(), 1_000_000_000_000_000_000_000).await.unwrap();
    for i in 1..=MANY {
        let data = format!("0x{}", hex::encode(silence.rebut(i, &silence.answer(i, &receipt_key(i)))));
        let transaction = json!([{ "from": sender, "to": silence.report.settlement, "data": data, "gas": "0x2dc6c0" }]);
        silence.anvil.rpc("eth_sendTransaction", transaction).await.unwrap();
        if i == MANY - 2 {
            silence.anvil.mine(1).await.unwrap();
        }
    }
    silence.anvil.mine(3).await.unwrap();
    let latest = silence.client.latest().await.unwrap().number;
    let all: Vec<_> = (1..=u64::from(MANY)).map(ProviderId).collect();
    let ids = |found: &[assay_chain::Rebuttal]| found.iter().map(|rebuttal| rebuttal.provider).collect::<Vec<_>>();

    let at_once = silence.client.rebuttals(0, latest).await.unwrap();
    assert_eq!((ids(&at_once.found), at_once.next_block), (all.clone(), latest + 1), "four megabytes in one answer");

    let rpc_url = stingy_rpc(silence.anvil.url().to_owned()).await;
    let client = Client::connect(ChainConfig { rpc_url: rpc_url.into(), ..silence.client.config().clone() }).await.unwrap();
    let first = client.rebuttals(0, latest).await.unwrap();
    assert_eq!((first.found.len(), first.next_block), (64, latest - 2), "it pauses behind the block that had enough");
    let second = client.rebuttals(first.next_block, latest).await.unwrap();
    assert_eq!((second.found.len(), second.next_block), (2, latest + 1));
    assert_eq!([first.found, second.found].concat(), at_once.found);
}

// ---- an outbox whose node lies

impl Bench {
    /// An outbox whose node can be made to lie.
    async fn open_behind_proxy(&self, proxy: &RpcProxy) -> Outbox {
        let config = ChainConfig { rpc_url: proxy.url().into(), ..self.client.config().clone() };
        let client = Client::connect(config).await.unwrap();
        let options = SqliteConnectOptions::new().filename(self.dir.path().join("outbox.db")).create_if_missing(true);
        let pool = SqlitePool::connect_with(options).await.unwrap();
        let config = OutboxConfig { poll_interval: Duration::from_millis(100), ..OutboxConfig::default() };
        Outbox::open(pool, client, Self::key(), config).await.unwrap()
    }

    /// All states and nonces, by intent, as they lie on the disk.
    async fn nonces(&self, outbox: &Outbox, intents: &[&str]) -> Vec<(State, Option<u64>)> {
        let mut nonces = Vec::new();
        for intent in intents {
            let status = outbox.status(intent).await.unwrap().unwrap();
            nonces.push((status.state, status.nonce));
        }
        nonces
    }
}

const SET: [&str; 3] = ["report/3", "claim/3", "slash/3"];

// Defence: `Outbox::close_gap`; without it one wrong count stops the outbox for good: all it signs waits behind nonces that nobody used.
#[tokio::test(flavor = "multi_thread")]
async fn one_wrong_count_of_transactions_holds_nothing_up() {
    let bench = Bench::new().await;
    let proxy = RpcProxy::start(bench.anvil.url()).await.unwrap();
    let outbox = bench.open_behind_proxy(&proxy).await;
    for (intent, amount) in SET.into_iter().zip([1, 10, 100]) {
        outbox.enqueue(intent, bench.token, Bench::mint(amount)).await.unwrap();
    }
    proxy.set(Some(Lie::WrongNonce(3)));
    outbox.sign_queued().await.unwrap();
    proxy.set(None);
    outbox.send_signed().await.unwrap();
    let behind = [3, 4, 5].map(|nonce| (State::Broadcast, Some(nonce)));
    assert_eq!(bench.nonces(&outbox, &SET).await, behind);

    bench.run_until_settled(&outbox, SET[2]).await;
    assert_eq!(bench.nonces(&outbox, &SET).await, [0, 1, 2].map(|nonce| (State::Finalized, Some(nonce))));
}

// Defence: `attempts::offered`; without it the pool refuses a new transaction for a nonce of which it still has an old one, and the old one, which
// was sent anew long ago, is executed a second time.
#[tokio::test(flavor = "multi_thread")]
async fn what_was_signed_behind_a_gap_is_outbid_by_what_gets_its_nonce() {
    let bench = Bench::new().await;
    let proxy = RpcProxy::start(bench.anvil.url()).await.unwrap();
    let outbox = bench.open_behind_proxy(&proxy).await;
    outbox.enqueue("report/3", bench.token, Bench::mint(1)).await.unwrap();
    proxy.set(Some(Lie::WrongNonce(1)));
    outbox.sign_queued().await.unwrap();
    proxy.set(None);
    outbox.send_signed().await.unwrap();
    let stale = outbox.status("report/3").await.unwrap().unwrap();
    assert_eq!(stale.nonce, Some(1));

    // Both new ones are there before the next block: the first fills the gap, and the second takes the place of the stale copy.
    bench.anvil.set_interval_mining(0).await.unwrap();
    while outbox.status("report/3").await.unwrap().unwrap().nonce != Some(0) {
        outbox.step().await.unwrap();
    }
    outbox.enqueue("report/4", bench.token, Bench::mint(10)).await.unwrap();
    outbox.step().await.unwrap();
    assert_eq!(bench.nonces(&outbox, &["report/3", "report/4"]).await, [0, 1].map(|nonce| (State::Broadcast, Some(nonce))));
    bench.anvil.set_interval_mining(1).await.unwrap();
    bench.run_until_settled(&outbox, "report/4").await;
    assert_eq!((bench.minted().await, bench.nonce().await), (11, 2), "each once");
    let receipt = bench.anvil.rpc("eth_getTransactionReceipt", json!([stale.tx_hash.unwrap()])).await.unwrap();
    assert!(receipt.is_null());
}

// Defence: `close_gap` brings back what is done and not on the chain; without it the next transactions wait for ever for one that was forgotten.
#[tokio::test(flavor = "multi_thread")]
async fn what_was_called_final_and_left_the_chain_is_sent_again() {
    let bench = Bench::new().await;
    let proxy = RpcProxy::start(bench.anvil.url()).await.unwrap();
    let outbox = bench.open_behind_proxy(&proxy).await;
    bench.anvil.set_interval_mining(0).await.unwrap();
    outbox.enqueue("report/3", bench.token, Bench::mint(1)).await.unwrap();
    outbox.step().await.unwrap();
    bench.anvil.mine(1).await.unwrap();
    proxy.set(Some(Lie::NewestFinal));
    outbox.step().await.unwrap();
    proxy.set(None);
    let done = outbox.status("report/3").await.unwrap().unwrap();
    assert_eq!((done.state, done.nonce), (State::Finalized, Some(0)));
    bench.anvil.rollback(1).await.unwrap();
    bench.anvil.drop_pending().await.unwrap();
    assert_eq!((bench.minted().await, bench.nonce().await), (0, 0));

    bench.anvil.set_interval_mining(1).await.unwrap();
    outbox.enqueue("report/4", bench.token, Bench::mint(10)).await.unwrap();
    bench.run_until_settled(&outbox, "report/4").await;
    let again = bench.run_until_settled(&outbox, "report/3").await;
    assert_eq!((again.state, again.nonce, again.tx_hash), (State::Finalized, Some(0), done.tx_hash));
    assert_eq!((bench.minted().await, bench.nonce().await), (11, 2));
}

// Defence: `Outbox::find` looks for what was signed under other nonces too; without it an intent whose nonces were only denied is executed twice.
#[tokio::test(flavor = "multi_thread")]
async fn a_transaction_that_was_given_up_and_is_mined_after_all_counts() {
    let bench = Bench::new().await;
    let proxy = RpcProxy::start(bench.anvil.url()).await.unwrap();
    let outbox = bench.open_behind_proxy(&proxy).await;
    // The block that will be shown as the newest comes after the contracts.
    bench.anvil.mine(6).await.unwrap();
    // Somebody uses the key by hand, and the node that knew it forgets: the chain is shown as it was before.
    let by_hand = json!([{ "from": outbox.sender(), "to": address(1), "value": "0x1", "gas": "0x5208" }]);
    bench.anvil.rpc("eth_sendTransaction", by_hand).await.unwrap();
    while bench.nonce().await == 0 {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    bench.anvil.set_interval_mining(0).await.unwrap();
    bench.anvil.mine(2).await.unwrap();
    outbox.enqueue("report/3", bench.token, Bench::mint(5)).await.unwrap();
    outbox.step().await.unwrap();
    let first = outbox.status("report/3").await.unwrap().unwrap();
    assert_eq!((first.state, first.nonce), (State::Broadcast, Some(1)));
    proxy.set(Some(Lie::HeadHeld(6)));
    while outbox.status("report/3").await.unwrap().unwrap().state != State::Queued {
        outbox.close_gap().await.unwrap();
    }
    outbox.sign_queued().await.unwrap();
    assert_eq!(outbox.status("report/3").await.unwrap().unwrap().nonce, Some(0), "taken by hand");
    bench.anvil.mine(1).await.unwrap();
    proxy.set(None);
    bench.anvil.set_interval_mining(1).await.unwrap();
    let status = bench.run_until_settled(&outbox, "report/3").await;
    assert_eq!((status.state, status.nonce, status.tx_hash), (State::Finalized, Some(1), first.tx_hash));
    assert_eq!((bench.minted().await, bench.nonce().await), (5, 2), "once");
}
