//! Stands between a node and its chain, and lies on demand.

use std::io;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::http::StatusCode;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::time::sleep;
use tokio_util::sync::{CancellationToken, DropGuard};

use crate::anvil::{self, AnvilError};

/// Whom questions are passed on to has so long for an answer.
const TIMEOUT: Duration = Duration::from_secs(10);
/// Questions about a state, with the place of the block among their parameters.
const OF_A_BLOCK: [(&str, usize); 5] =
    [("eth_call", 1), ("eth_estimateGas", 1), ("eth_getTransactionCount", 1), ("eth_getCode", 1), ("eth_getBalance", 1)];

/// What an RPC does instead of telling the truth.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Lie {
    /// The chain ends so many blocks before its end, in every answer.
    HeadHeld(u64),
    /// Blocks are told as they are; questions about the newest are answered from so many blocks before.
    OldAnswers(u64),
    /// The newest block is called final.
    NewestFinal,
    /// The connection ends in the middle of the answer.
    Dropped,
    /// The answer comes so much later.
    Delayed(Duration),
    /// So many transactions more are counted for each account.
    WrongNonce(u64),
    /// No transaction has a receipt.
    NoReceipt,
}

impl Lie {
    /// Whether it is told in answer to this method.
    fn concerns(self, method: &str) -> bool {
        match self {
            Self::HeadHeld(_) | Self::NewestFinal | Self::Dropped | Self::Delayed(_) => true,
            Self::OldAnswers(_) => method != "eth_getBlockByNumber",
            Self::WrongNonce(_) => method == "eth_getTransactionCount",
            Self::NoReceipt => method == "eth_getTransactionReceipt",
        }
    }
}

/// A running proxy; it ends on drop.
#[derive(Debug)]
pub struct RpcProxy {
    shared: Arc<Shared>,
    _end: DropGuard,
}

#[derive(Debug)]
struct Shared {
    url: String,
    chain: String,
    http: reqwest::Client,
    order: watch::Sender<Order>,
    told: AtomicU64,
}

/// What a proxy is to do.
#[derive(Clone, Debug, Default)]
struct Order {
    lie: Option<Lie>,
    /// Several have these orders: of each only the one that could lie first tells it, named here by its URL.
    for_first: Vec<(Lie, First)>,
}

/// The URL of the one that could lie first.
pub type First = Arc<OnceLock<String>>;

impl Order {
    /// What is told in answer to a method, its own lie before those for the first.
    fn about(&self, method: &str) -> (Option<Lie>, Option<&First>) {
        let own = self.lie.filter(|lie| lie.concerns(method));
        let for_first = self.for_first.iter().find(|(lie, _)| own.is_none() && lie.concerns(method));
        (own.or(for_first.map(|(lie, _)| *lie)), for_first.map(|(_, first)| first))
    }
}

impl RpcProxy {
    /// Listens on a free port of 127.0.0.1 and asks `chain` (a URL).
    pub async fn start(chain: &str) -> io::Result<Self> {
        let listener = TcpListener::bind(SocketAddr::from(([127, 0, 0, 1], 0))).await?;
        let url = format!("http://{}", listener.local_addr()?);
        let http = reqwest::Client::builder().timeout(TIMEOUT).build().map_err(io::Error::other)?;
        let (order, _) = watch::channel(Order::default());
        let shared = Arc::new(Shared { url: url.clone(), chain: chain.to_owned(), http, order, told: AtomicU64::new(0) });
        let router = Router::new().route("/", post(answer)).with_state(shared.clone());
        let token = CancellationToken::new();
        let stop = token.clone();
        tokio::spawn(async move { stop.run_until_cancelled(axum::serve(listener, router).into_future()).await });
        Ok(Self { shared, _end: token.drop_guard() })
    }

    /// Where a node finds it.
    pub fn url(&self) -> &str {
        &self.shared.url
    }

    /// Lies from now on, or tells the truth.
    pub fn set(&self, lie: Option<Lie>) {
        self.shared.order.send_modify(|order| order.lie = lie);
    }

    /// Changes answers from now on, unless another that was given the same `first` had the occasion before.
    pub fn set_for_first(&self, lie: Lie, first: &First) {
        self.shared.order.send_modify(|order| order.for_first.push((lie, first.clone())));
    }

    /// Ends what [`Self::set_for_first`] began.
    pub fn end_for_first(&self, lie: Lie) {
        self.shared.order.send_modify(|order| order.for_first.retain(|(other, _)| *other != lie));
    }

    /// Answers so far that were not what the chain says, or not in time.
    pub fn told(&self) -> u64 {
        self.shared.told.load(Ordering::Relaxed)
    }
}

async fn answer(State(shared): State<Arc<Shared>>, body: Bytes) -> Response {
    let order = shared.order.borrow().clone();
    match order.lie {
        Some(Lie::Dropped) => {
            shared.told.fetch_add(1, Ordering::Relaxed);
            let broken = futures::stream::once(async { Err::<Bytes, _>(io::Error::from(io::ErrorKind::ConnectionReset)) });
            return Body::from_stream(broken).into_response();
        }
        Some(Lie::Delayed(by)) => {
            shared.told.fetch_add(1, Ordering::Relaxed);
            sleep(by).await;
        }
        _ => {}
    }
    let Ok(request) = serde_json::from_slice::<Value>(&body) else { return StatusCode::BAD_REQUEST.into_response() };
    match shared.reply(request, &order).await {
        Ok(reply) => ([(CONTENT_TYPE, "application/json")], reply.to_string()).into_response(),
        Err(_) => StatusCode::BAD_GATEWAY.into_response(),
    }
}

impl Shared {
    /// A batch is answered in its order.
    async fn reply(&self, request: Value, order: &Order) -> Result<Value, AnvilError> {
        let Value::Array(batch) = request else { return self.reply_one(request, order).await };
        let mut replies = Vec::new();
        for request in batch {
            replies.push(self.reply_one(request, order).await?);
        }
        Ok(Value::Array(replies))
    }

    async fn reply_one(&self, mut request: Value, order: &Order) -> Result<Value, AnvilError> {
        let method = request.get("method").and_then(Value::as_str).unwrap_or_default().to_owned();
        let asked = request.clone();
        let (lie, first) = order.about(&method);
        match lie {
            Some(Lie::HeadHeld(blocks)) => until(&mut request, &method, self.head().await?.saturating_sub(blocks)),
            Some(Lie::OldAnswers(blocks)) => until(&mut request, &method, self.head().await?.saturating_sub(blocks)),
            Some(Lie::NewestFinal) => replace(&mut request, "finalized", "latest"),
            _ => {}
        }
        let truth = self.forward(&request).await?;
        let mut told = truth.clone();
        match lie {
            Some(Lie::HeadHeld(blocks)) => hide_after(&mut told, &method, self.head().await?.saturating_sub(blocks)),
            Some(Lie::WrongNonce(more)) => add(&mut told, more),
            Some(Lie::NoReceipt) => set_result(&mut told, Value::Null),
            _ => {}
        }
        // Whoever is told the truth anyway has not had the occasion.
        if told != truth && !self.is_first(first) {
            told = truth.clone();
        }
        if request != asked || told != truth {
            self.told.fetch_add(1, Ordering::Relaxed);
        }
        Ok(told)
    }

    fn is_first(&self, first: Option<&First>) -> bool {
        first.is_none_or(|first| *first.get_or_init(|| self.url.clone()) == self.url)
    }

    async fn head(&self) -> Result<u64, AnvilError> {
        let answer = anvil::rpc(&self.http, &self.chain, "eth_blockNumber", json!([])).await?;
        Ok(number(&answer).unwrap_or(0))
    }

    async fn forward(&self, request: &Value) -> Result<Value, AnvilError> {
        let refused = |error: reqwest::Error| AnvilError::Rpc { method: "a request".into(), reason: error.to_string() };
        let response = self.http.post(&self.chain).json(request).send().await.map_err(refused)?;
        response.json().await.map_err(refused)
    }
}

/// Lets a question about the newest blocks end at `head`.
fn until(request: &mut Value, method: &str, head: u64) {
    if let Some((_, place)) = OF_A_BLOCK.iter().find(|(name, _)| *name == method)
        && let Some(Value::Array(params)) = request.get_mut("params")
    {
        // Left out, the block is the newest.
        params.resize((*place + 1).max(params.len()), json!("latest"));
    }
    for tag in ["latest", "pending", "safe", "finalized"] {
        replace(request, tag, &format!("{head:#x}"));
    }
}

fn number(value: &Value) -> Option<u64> {
    u64::from_str_radix(value.as_str()?.strip_prefix("0x")?, 16).ok()
}

/// Every string `from` among the parameters becomes `to`, also inside a filter.
fn replace(value: &mut Value, from: &str, to: &str) {
    match value {
        Value::String(text) if text == from => *text = to.to_owned(),
        Value::Array(items) => items.iter_mut().for_each(|item| replace(item, from, to)),
        Value::Object(fields) => fields.iter_mut().filter(|(key, _)| *key != "method").for_each(|(_, field)| replace(field, from, to)),
        _ => {}
    }
}

/// Blocks, receipts and transactions after `head` are not there.
fn hide_after(answer: &mut Value, method: &str, head: u64) {
    let result = answer.get("result").cloned().unwrap_or_default();
    let of = match method {
        "eth_blockNumber" => return set_result(answer, json!(format!("{head:#x}"))),
        "eth_getBlockByNumber" => result.get("number").and_then(number),
        "eth_getTransactionReceipt" | "eth_getTransactionByHash" => result.get("blockNumber").and_then(number),
        _ => None,
    };
    if of.is_some_and(|block| block > head) {
        set_result(answer, Value::Null);
    }
}

fn add(answer: &mut Value, more: u64) {
    if let Some(count) = answer.get("result").and_then(number) {
        set_result(answer, json!(format!("{:#x}", count + more)));
    }
}

fn set_result(answer: &mut Value, result: Value) {
    if let Some(held) = answer.get_mut("result") {
        *held = result;
    }
}
