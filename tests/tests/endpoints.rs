//! Several RPC endpoints on one real anvil: who is asked, and who is believed.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use alloy_primitives::U256;
use alloy_sol_types::SolCall;
use assay_chain::outbox::{Outbox, OutboxConfig, State};
use assay_chain::{BlockTag, ChainConfig, ChainError, Client, RpcUrls};
use assay_contracts_bindings::TestToken;
use assay_core::secp;
use assay_tests::anvil::Anvil;
use assay_tests::deploy::{DeploySpec, Deployment, deploy};
use assay_tests::rpc_proxy::{Lie, RpcProxy};
use axum::http::StatusCode;
use axum::response::IntoResponse;
use serde_json::{Value, json};
use sqlx::SqlitePool;
use sqlx::sqlite::SqliteConnectOptions;
use tokio::net::TcpListener;

/// A chain with a sender that has ether. Blocks come when they are asked for.
struct Bench {
    anvil: Anvil,
    deployment: Deployment,
    dir: tempfile::TempDir,
}

impl Bench {
    async fn new() -> Self {
        let anvil = Anvil::start().await.unwrap();
        let deployment = deploy(anvil.url(), &DeploySpec::default()).await.unwrap();
        anvil.set_balance(&Self::key().address().to_string(), 1_000_000_000_000_000_000).await.unwrap();
        anvil.set_interval_mining(0).await.unwrap();
        anvil.mine(4).await.unwrap();
        Self { anvil, deployment, dir: tempfile::tempdir().unwrap() }
    }

    fn key() -> secp::SecretKey {
        secp::SecretKey::from_bytes(&[0x77; 32]).unwrap()
    }

    async fn proxy(&self, lie: Option<Lie>) -> RpcProxy {
        let proxy = RpcProxy::start(self.anvil.url()).await.unwrap();
        proxy.set(lie);
        proxy
    }

    async fn connect(&self, urls: &[&str]) -> Result<Client, ChainError> {
        let urls: Vec<String> = urls.iter().map(|url| (*url).to_owned()).collect();
        Client::connect(ChainConfig { rpc_url: RpcUrls::try_from(urls).unwrap(), ..self.deployment.chain.clone() }).await
    }

    async fn outbox(&self, urls: &[&str]) -> Outbox {
        let client = self.connect(urls).await.unwrap();
        let options = SqliteConnectOptions::new().filename(self.dir.path().join("outbox.db")).create_if_missing(true);
        let pool = SqlitePool::connect_with(options).await.unwrap();
        let outbox = Outbox::open(pool, client, Self::key(), OutboxConfig::default()).await.unwrap();
        let mint = TestToken::mintCall { to: alloy_primitives::Address::from([0xaa; 20]), amount: U256::from(5) }.abi_encode();
        outbox.enqueue("report/3", self.deployment.token, mint).await.unwrap();
        outbox
    }

    async fn transactions(&self) -> u64 {
        let answer = self.anvil.rpc("eth_getTransactionCount", json!([Self::key().address(), "latest"])).await.unwrap();
        u64::from_str_radix(&answer.as_str().unwrap()[2..], 16).unwrap()
    }
}

async fn state(outbox: &Outbox) -> (State, Option<u64>) {
    let status = outbox.status("report/3").await.unwrap().unwrap();
    (status.state, status.nonce)
}

/// Passes requests on to `target`, but answers some with a result of its own.
async fn liar(target: &str, lie: impl Fn(&Value) -> Said + Clone + Send + Sync + 'static) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let (http, target) = (reqwest::Client::new(), target.to_owned());
    let router = axum::Router::new().fallback(move |axum::Json(request): axum::Json<Value>| {
        let (http, target, said) = (http.clone(), target.clone(), lie(&request));
        async move {
            let answer: Value = match said {
                Said::Away => return StatusCode::SERVICE_UNAVAILABLE.into_response(),
                Said::Lie(result) => json!({ "jsonrpc": "2.0", "id": request["id"], "result": result }),
                Said::Truth => http.post(target).json(&request).send().await.unwrap().json().await.unwrap(),
            };
            axum::Json(answer).into_response()
        }
    });
    tokio::spawn(async move { axum::serve(listener, router).await });
    url
}

enum Said {
    Truth,
    Lie(Value),
    Away,
}

// Defence: `Failover::round`; with the first endpoint alone a node is blind as long as it is away. And `Endpoint::rest`; without it every
// question is put to the broken one first, and one that is late costs each of them its time.
#[tokio::test(flavor = "multi_thread")]
async fn the_next_endpoint_answers_while_the_first_drops_or_delays() {
    let bench = Bench::new().await;
    for lie in [Lie::Dropped, Lie::Delayed(Duration::from_secs(60))] {
        let (first, second) = (bench.proxy(None).await, bench.proxy(None).await);
        let client = bench.connect(&[first.url(), second.url()]).await.unwrap();
        first.set(Some(lie));
        let newest = client.latest().await.unwrap();
        let failed = first.told();
        assert_eq!(failed, 1, "{lie:?}: it is asked once");
        let asked = Instant::now();
        for _ in 0..5 {
            assert_eq!(client.latest().await.unwrap(), newest);
            assert_eq!(client.last_accepted(BlockTag::Finalized).await.unwrap(), None);
        }
        assert!(asked.elapsed() < Duration::from_secs(3), "{lie:?}: {:?}", asked.elapsed());
        assert_eq!(first.told(), failed, "{lie:?}: it rests");

        // The other one fails, too: whoever rests is asked all the same.
        first.set(None);
        second.set(Some(Lie::Dropped));
        assert_eq!(client.latest().await.unwrap(), newest);
    }
}

// Defence: `Endpoint::check_chain`; without it a node whose endpoints are one of the network and one of another goes on with the other's.
#[tokio::test(flavor = "multi_thread")]
async fn an_endpoint_of_another_chain_is_never_asked() {
    let bench = Bench::new().await;
    let foreign = |request: &Value| match request["method"] == "eth_chainId" {
        true => Said::Lie(json!("0x1")),
        false => Said::Truth,
    };
    let url = liar(bench.anvil.url(), foreign).await;
    let error = bench.connect(&[bench.anvil.url(), &url]).await.err().unwrap();
    assert!(matches!(error, ChainError::WrongChain { found: 1, .. }), "{error}");

    // Away at the start, it says later what it serves.
    let asked = Arc::new(AtomicU64::new(0));
    let counted = asked.clone();
    let late = liar(bench.anvil.url(), move |request| match (counted.load(Ordering::SeqCst), request["method"] == "eth_chainId") {
        (0, _) => Said::Away,
        (_, true) => Said::Lie(json!("0x1")),
        (_, false) => {
            counted.fetch_add(1, Ordering::SeqCst);
            Said::Truth
        }
    })
    .await;
    let honest = bench.proxy(None).await;
    let client = bench.connect(&[&late, honest.url()]).await.unwrap();
    asked.store(1, Ordering::SeqCst);
    honest.set(Some(Lie::Dropped));
    let error = client.latest().await.unwrap_err();
    assert!(matches!(error, ChainError::Unreachable { .. }), "{error}");
    assert_eq!(asked.load(Ordering::SeqCst), 1, "no question but for the chain");
}

// Defence: `final_block` takes the height that more than half reach; with the first endpoint's word a row is done before its block is final,
// and a reorg takes the report for good.
#[tokio::test(flavor = "multi_thread")]
async fn one_endpoint_does_not_make_a_block_final() {
    let bench = Bench::new().await;
    let hasty = bench.proxy(Some(Lie::NewestFinal)).await;
    let outbox = bench.outbox(&[hasty.url(), bench.anvil.url()]).await;
    outbox.step().await.unwrap();
    bench.anvil.mine(1).await.unwrap();
    outbox.step().await.unwrap();
    assert_eq!(state(&outbox).await, (State::Mined, Some(0)));
    bench.anvil.mine(4).await.unwrap();
    outbox.step().await.unwrap();
    assert_eq!(state(&outbox).await, (State::Finalized, Some(0)));
    assert!(hasty.told() > 0);
}

// Defence: `transaction::count` takes what more than half reach; a nonce that is too high leaves a gap, and nothing is mined any more.
#[tokio::test(flavor = "multi_thread")]
async fn one_endpoint_does_not_choose_the_nonce() {
    let bench = Bench::new().await;
    let wrong = bench.proxy(Some(Lie::WrongNonce(5))).await;
    let outbox = bench.outbox(&[wrong.url(), bench.anvil.url()]).await;
    outbox.step().await.unwrap();
    assert_eq!(state(&outbox).await, (State::Broadcast, Some(0)));
    bench.anvil.mine(5).await.unwrap();
    outbox.step().await.unwrap();
    assert_eq!(state(&outbox).await, (State::Finalized, Some(0)));
    assert!(wrong.told() > 0);
}

// Defence: `transaction::receipt` is agreed upon; with the first endpoint's word a transaction that is final is signed anew, and sent twice.
#[tokio::test(flavor = "multi_thread")]
async fn a_receipt_that_one_endpoint_denies_is_not_known_yet() {
    let bench = Bench::new().await;
    let denying = bench.proxy(Some(Lie::NoReceipt)).await;
    let outbox = bench.outbox(&[denying.url(), bench.anvil.url()]).await;
    outbox.step().await.unwrap();
    bench.anvil.mine(5).await.unwrap();
    for _ in 0..3 {
        outbox.step().await.unwrap();
        assert_eq!(state(&outbox).await, (State::Broadcast, Some(0)), "neither mined nor missing");
    }
    assert!(denying.told() > 0);
    // A third endpoint decides.
    let third = bench.proxy(None).await;
    let outbox = bench.outbox(&[denying.url(), bench.anvil.url(), third.url()]).await;
    outbox.step().await.unwrap();
    assert_eq!(state(&outbox).await, (State::Finalized, Some(0)));
    assert_eq!(bench.transactions().await, 1);
}

// Defence: `submit` hands a transaction to every endpoint; with the first alone it is never mined when that one keeps it to itself.
#[tokio::test(flavor = "multi_thread")]
async fn an_endpoint_that_keeps_a_transaction_to_itself_does_not_stop_it() {
    let bench = Bench::new().await;
    let keeps = |request: &Value| match request["method"] == "eth_sendRawTransaction" {
        true => Said::Lie(json!(format!("0x{}", "11".repeat(32)))),
        false => Said::Truth,
    };
    let url = liar(bench.anvil.url(), keeps).await;
    let outbox = bench.outbox(&[&url, bench.anvil.url()]).await;
    outbox.step().await.unwrap();
    bench.anvil.mine(5).await.unwrap();
    outbox.step().await.unwrap();
    assert_eq!(state(&outbox).await, (State::Finalized, Some(0)));
}

// Defence: `Rpc::agreed` behind what is read of the settlement as final; with the first endpoint's word a made-up report is the parent of
// the next one, and this oracle votes apart from all others.
#[tokio::test(flavor = "multi_thread")]
async fn an_accepted_report_that_one_endpoint_makes_up_is_not_known_yet() {
    let bench = Bench::new().await;
    let makes_up = |request: &Value| match request["method"] == "eth_call" {
        true => Said::Lie(json!(format!("0x{}", format!("{:064x}", 1).repeat(3)))),
        false => Said::Truth,
    };
    let url = liar(bench.anvil.url(), makes_up).await;
    let honest = bench.proxy(None).await;

    let believed = bench.connect(&[&url]).await.unwrap();
    assert!(believed.last_accepted(BlockTag::Finalized).await.unwrap().is_some(), "alone it is believed");
    let two = bench.connect(&[&url, honest.url()]).await.unwrap();
    for error in [two.last_accepted(BlockTag::Finalized).await.unwrap_err(), two.accepted_report(0, BlockTag::Finalized).await.unwrap_err()]
    {
        let (error, says) = (error.to_string(), ["differ", &url, honest.url()]);
        assert!(says.iter().all(|part| error.contains(part)), "{error}");
    }
    let three = bench.connect(&[&url, honest.url(), bench.anvil.url()]).await.unwrap();
    assert_eq!(three.last_accepted(BlockTag::Finalized).await.unwrap(), None);
    assert_eq!(three.accepted_report(0, BlockTag::Finalized).await.unwrap(), None);
}

// Defence: `final_block` asks all for one height, and takes what more than half reach: an endpoint that stands still holds nobody up.
#[tokio::test(flavor = "multi_thread")]
async fn of_three_endpoints_one_may_stand_still() {
    let bench = Bench::new().await;
    let frozen = bench.proxy(None).await;
    let other = bench.proxy(None).await;
    let client = bench.connect(&[frozen.url(), bench.anvil.url(), other.url()]).await.unwrap();
    let before = client.finalized().await.unwrap();
    frozen.set(Some(Lie::HeadHeld(4)));
    bench.anvil.mine(4).await.unwrap();
    assert_eq!(client.finalized().await.unwrap().number, before.number + 4);
    assert_eq!(client.last_accepted(BlockTag::Finalized).await.unwrap(), None);
    assert!(frozen.told() > 0);
}
