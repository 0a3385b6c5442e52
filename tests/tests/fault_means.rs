//! The means by which faults are brought about: each does what it says, or tests of faults would pass without any.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use assay_tests::anvil::Anvil;
use assay_tests::mesh::{Conditions, Mesh};
use assay_tests::process::Spec;
use assay_tests::rpc_proxy::{Lie, RpcProxy};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::{Instant, timeout};

const PATIENCE: Duration = Duration::from_secs(5);
const AT_ONCE: Duration = Duration::from_millis(200);

async fn ask(url: &str, method: &str, params: Value) -> Result<Value, reqwest::Error> {
    let request = json!({ "jsonrpc": "2.0", "id": 1, "method": method, "params": params });
    let reply: Value = reqwest::Client::new().post(url).json(&request).send().await?.json().await?;
    Ok(reply["result"].clone())
}

fn number(value: &Value) -> u64 {
    u64::from_str_radix(value.as_str().unwrap().trim_start_matches("0x"), 16).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn an_rpc_tells_each_lie_and_then_the_truth() {
    let anvil = Anvil::start().await.unwrap();
    anvil.set_interval_mining(0).await.unwrap();
    let (from, to) = (format!("0x{}", "a1".repeat(20)), format!("0x{}", "a2".repeat(20)));
    anvil.set_balance(&from, 10u128.pow(18)).await.unwrap();
    anvil.mine(10).await.unwrap();
    let sent = anvil.rpc("eth_sendTransaction", json!([{ "from": from, "to": to, "value": "0x1" }])).await.unwrap();
    anvil.mine(1).await.unwrap();
    let head = number(&anvil.rpc("eth_blockNumber", json!([])).await.unwrap());
    let final_block = number(&anvil.rpc("eth_getBlockByNumber", json!(["finalized", false])).await.unwrap()["number"]);
    assert!(final_block < head);

    let proxy = RpcProxy::start(anvil.url()).await.unwrap();
    let block = async |tag: &str| ask(proxy.url(), "eth_getBlockByNumber", json!([tag, false])).await.unwrap();
    let nonce = async || number(&ask(proxy.url(), "eth_getTransactionCount", json!([from, "latest"])).await.unwrap());
    let receipt = async || ask(proxy.url(), "eth_getTransactionReceipt", json!([sent])).await.unwrap();

    proxy.set(Some(Lie::HeadHeld(3)));
    assert_eq!((number(&block("latest").await["number"]), nonce().await), (head - 3, 0));
    assert_eq!(number(&ask(proxy.url(), "eth_blockNumber", json!([])).await.unwrap()), head - 3);
    assert!(receipt().await.is_null() && block(&format!("{head:#x}")).await.is_null());

    proxy.set(Some(Lie::OldAnswers(3)));
    assert_eq!((number(&block("latest").await["number"]), nonce().await), (head, 0));

    proxy.set(Some(Lie::NewestFinal));
    assert_eq!(number(&block("finalized").await["number"]), head);

    proxy.set(Some(Lie::WrongNonce(3)));
    assert_eq!(nonce().await, 4);

    proxy.set(Some(Lie::NoReceipt));
    assert!(receipt().await.is_null());

    proxy.set(Some(Lie::Dropped));
    assert!(ask(proxy.url(), "eth_blockNumber", json!([])).await.is_err());

    let delay = Duration::from_millis(300);
    proxy.set(Some(Lie::Delayed(delay)));
    let asked = Instant::now();
    assert_eq!(nonce().await, 1);
    assert!(asked.elapsed() >= delay);

    let told = proxy.told();
    proxy.set(None);
    assert_eq!((number(&block("finalized").await["number"]), nonce().await, receipt().await.is_null()), (final_block, 1, false));
    assert_eq!(proxy.told(), told, "the truth is no lie");
    assert!(told >= 9, "{told}");
}

#[tokio::test(flavor = "multi_thread")]
async fn of_several_rpcs_the_first_that_could_lie_does_and_the_others_do_not() {
    let anvil = Anvil::start().await.unwrap();
    let (one, two) = (RpcProxy::start(anvil.url()).await.unwrap(), RpcProxy::start(anvil.url()).await.unwrap());
    let account = format!("0x{}", "a1".repeat(20));
    let nonce = async |proxy: &RpcProxy| number(&ask(proxy.url(), "eth_getTransactionCount", json!([account, "latest"])).await.unwrap());
    let (of_nonce, of_receipt) = (Arc::default(), Arc::default());
    for proxy in [&one, &two] {
        proxy.set_for_first(Lie::WrongNonce(3), &of_nonce);
        proxy.set_for_first(Lie::NoReceipt, &of_receipt);
    }
    // There is no receipt anyway: that is no occasion.
    let unknown = format!("0x{}", "b1".repeat(32));
    assert!(ask(one.url(), "eth_getTransactionReceipt", json!([unknown])).await.unwrap().is_null());
    assert!(of_receipt.get().is_none() && one.told() == 0);
    assert_eq!((nonce(&two).await, nonce(&one).await, nonce(&two).await), (3, 0, 3));
    // The end of one lie leaves the others alone.
    two.set(Some(Lie::WrongNonce(1)));
    two.end_for_first(Lie::WrongNonce(3));
    assert_eq!(nonce(&two).await, 1);
}

async fn echo_server() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let addr = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            tokio::spawn(async move {
                let (mut from, mut to) = stream.split();
                let _ = tokio::io::copy(&mut from, &mut to).await;
            });
        }
    });
    addr
}

async fn echoes(stream: &mut TcpStream, within: Duration) -> bool {
    let echo = async {
        stream.write_all(b"ping").await?;
        stream.read_exact(&mut [0; 4]).await
    };
    matches!(timeout(within, echo).await, Ok(Ok(_)))
}

// A mesh that did not know its callers would cut nothing, or everything.
#[cfg(target_os = "linux")]
#[tokio::test(flavor = "multi_thread")]
async fn a_mesh_knows_who_calls_and_cuts_those_alone() {
    let mesh = Mesh::start(&[echo_server().await, echo_server().await, echo_server().await]).await.unwrap();
    mesh.set_process(0, Some(std::process::id()));
    let dial = async |member| TcpStream::connect(mesh.addr(member).unwrap()).await.unwrap();
    let (mut to_one, mut to_two) = (dial(1).await, dial(2).await);
    assert!(echoes(&mut to_one, PATIENCE).await && echoes(&mut to_two, PATIENCE).await);
    assert_eq!(mesh.felt(|_, _| true), 0);

    mesh.set(&Conditions { apart: BTreeSet::from([1]), ..Conditions::default() });
    assert!(!echoes(&mut to_one, AT_ONCE).await, "0 and 1 are apart");
    assert!(echoes(&mut to_two, PATIENCE).await, "0 and 2 are not");
    assert!(mesh.felt(|from, to| (from, to) == (0, 1)) > 0 && mesh.felt(|from, to| (from, to) == (0, 2)) == 0);

    mesh.set(&Conditions::default());
    // The ping of before was held back, not lost.
    timeout(PATIENCE, to_one.read_exact(&mut [0; 4])).await.unwrap().unwrap();

    mesh.set_process(0, None);
    assert!(!echoes(&mut dial(1).await, PATIENCE).await, "a stranger gets nowhere");
}

#[cfg(target_os = "linux")]
#[tokio::test(flavor = "multi_thread")]
async fn a_limited_process_fails_to_write_and_lives_on() {
    let dir = tempfile::tempdir().unwrap();
    let (file, log) = (dir.path().join("file"), dir.path().join("log"));
    let script = r#"while :; do if echo 0123456789abcdef >>"$0"; then :; else echo refused; fi; done"#;
    let mut process = Spec::new("/bin/sh", &log).args(["-c", script]).arg(file.display()).guarded().start().unwrap();
    let until = async |met: &dyn Fn() -> bool| {
        let wait = async {
            while !met() {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        timeout(PATIENCE, wait).await.expect("it happens");
    };
    let length = || std::fs::metadata(&file).map_or(0, |metadata| metadata.len());
    let refused = || std::fs::read_to_string(&log).unwrap().contains("refused");
    until(&|| length() > 0).await;
    // The program has its own id by now, below the shell that guards it.
    let limit = length() + 65_536;
    process.limit_files(Some(limit)).unwrap();
    until(&refused).await;
    assert!(length() <= limit && process.ended().is_none());
    process.limit_files(None).unwrap();
    until(&|| length() > limit).await;
}
