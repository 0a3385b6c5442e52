//! Two epochs of a whole network, audited by the real program through an API that lies.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use assay_tests::binaries;
use assay_tests::devnet::{Devnet, Fault, OracleFault, Plan};
use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{StatusCode, Uri};
use serde_json::Value;
use tokio::net::TcpListener;
use tokio::process::Command;

/// Every route that an audit of epoch 1 reads: a name, how its path begins and ends, and on which claims a change may show.
const ROUTES: [(&str, &str, &str, &[&str]); 11] = [
    ("network", "/v1/network", "", &["network"]),
    ("report", "/v1/epochs/1/report", "", &["report", "certificate"]),
    ("ledger", "/v1/epochs/0/ledger", "", &["parent"]),
    ("proposal", "/v1/epochs/1/proposal", "", &["inclusion"]),
    ("observations", "/v1/epochs/1/observations", "", &["reveals", "facts"]),
    ("beacon", "/v1/epochs/1/beacon", "", &["beacon"]),
    ("verdicts", "/v1/epochs/1/verdicts", "", &["verdicts"]),
    ("evidence list of another oracle", "/v1/epochs/1/evidence/2", "oracle=3", &["evidence"]),
    ("evidence of the audited oracle", "/v1/evidence/", "provider=1&oracle=1", &["evidence"]),
    ("claims", "/v1/claims/", "", &["evidence"]),
    ("proofs of misbehaviour", "/v1/epochs/1/misbehaviour", "", &["misbehaviour"]),
];
/// Changes of each route's answer.
const CHANGES: usize = 4;

/// What the API does to the answers of a route.
#[derive(Clone)]
enum Lie {
    /// The byte at so many thousandths of the answer differs in its last bit.
    Flip { begins: &'static str, ends: &'static str, at_milli: usize },
    /// One number behind this name is one more.
    Count { begins: &'static str, name: &'static str },
}

#[derive(Clone)]
struct Liar {
    target: String,
    lie: Arc<Mutex<Option<Lie>>>,
    asked: Arc<Mutex<BTreeSet<String>>>,
}

impl Liar {
    async fn start(target: String) -> (Self, String) {
        let liar = Self { target, lie: Arc::default(), asked: Arc::default() };
        let listener = TcpListener::bind(SocketAddr::from(([127, 0, 0, 1], 0))).await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let router = Router::new().fallback(pass_on).with_state(liar.clone());
        tokio::spawn(async move { axum::serve(listener, router).await });
        (liar, url)
    }

    fn tell(&self, lie: Option<Lie>) {
        *self.lie.lock().unwrap() = lie;
    }
}

async fn pass_on(State(liar): State<Liar>, uri: Uri) -> (StatusCode, Bytes) {
    let path = uri.to_string();
    liar.asked.lock().unwrap().insert(path.clone());
    let response = reqwest::get(format!("{}{path}", liar.target)).await.unwrap();
    let status = StatusCode::from_u16(response.status().as_u16()).unwrap();
    let mut body = response.bytes().await.unwrap().to_vec();
    match liar.lie.lock().unwrap().clone() {
        Some(Lie::Flip { begins, ends, at_milli }) if path.starts_with(begins) && path.ends_with(ends) => {
            let at = body.len() * at_milli / 1_000;
            body[at] ^= 1;
        }
        Some(Lie::Count { begins, name }) if path.starts_with(begins) => body = one_more(body, name),
        _ => {}
    }
    (status, body.into())
}

/// The last number behind `name` is one more, in the same number of digits.
fn one_more(mut body: Vec<u8>, name: &str) -> Vec<u8> {
    let behind = String::from_utf8_lossy(&body).rfind(name).unwrap() + name.len();
    let digit = (behind..).find(|at| body[*at].is_ascii_digit()).unwrap();
    body[digit] = if body[digit] == b'9' { b'8' } else { body[digit] + 1 };
    body
}

/// Exit code and findings of one audit.
async fn audit(api: &str, rpc: &str, epoch: u64, more: &[&str]) -> (i32, Value) {
    let output = Command::new(binaries::path("assay-audit"))
        .args(["verify", "--api", api, "--rpc", rpc, "--epoch", &epoch.to_string(), "--json"])
        .args(more)
        .output()
        .await
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let findings = serde_json::from_str(&text).unwrap_or_else(|_| panic!("{text}{}", String::from_utf8_lossy(&output.stderr)));
    (output.status.code().unwrap(), findings)
}

fn claims<'a>(findings: &'a Value, mark: &str) -> Vec<&'a str> {
    let lines = findings["lines"].as_array().unwrap().iter();
    lines.filter(|line| line["mark"] == mark).map(|line| line["claim"].as_str().unwrap()).collect()
}

/// A few megabytes of real files: this repository's own sources.
fn data() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("..").join("core").canonicalize().unwrap()
}

// Defence: every check of `assay-audit`; the route whose check is removed turns this red, and a byte that is read by nobody would.
#[tokio::test(flavor = "multi_thread")]
async fn an_honest_api_passes_and_one_changed_byte_of_any_route_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let mut oracles = vec![OracleFault::None; 4];
    oracles.push(OracleFault::Lies);
    let faults = vec![Fault::None, Fault::Lossy, Fault::Slow];
    let plan = Plan { dir: dir.path().join("net"), data: data(), oracles, faults };
    let devnet = Devnet::start(&plan, |line| println!("{line}")).await.unwrap();
    let epoch = Duration::from_millis(devnet.params.epoch_ms());
    let first = devnet.oracles[0].api.clone();
    let accepted = async || match assay_tests::devnet::outcome::ask::<Value>(format!("{first}/v1/epochs/1")).await? {
        Some(summary) => Ok(summary["accepted"].is_object() && summary["report"].is_object()),
        None => Ok(false),
    };
    assert!(devnet.until(epoch * 5, accepted).await.unwrap(), "epoch 1 is accepted");
    let (liar, api) = Liar::start(first).await;
    let rpc = devnet.rpc().to_owned();

    for number in [0, 1] {
        let began = std::time::Instant::now();
        let (code, findings) = audit(&api, &rpc, number, &[]).await;
        println!("epoch {number} audited in {} ms", began.elapsed().as_millis());
        for line in findings["lines"].as_array().unwrap() {
            println!("{:<10} {:<12} {}", line["mark"].as_str().unwrap(), line["claim"].as_str().unwrap(), line["text"].as_str().unwrap());
        }
        println!("{}", findings["flags"]);
        assert_eq!((code, claims(&findings, "holds").len(), &findings["holds"]), (0, 18, &true.into()), "epoch {number}");
        // The report stands over the liar, and its own evidence names it.
        let flags = findings["flags"].as_array().unwrap();
        assert!(flags.len() == 1 && flags[0]["oracle"] == 5, "epoch {number}: {flags:?}");
    }
    assert_eq!(audit(&api, &rpc, 1, &["--strict"]).await.0, 1, "unless told that no lie may be");
    let text = |findings: &Value, claim: &str| {
        let line = findings["lines"].as_array().unwrap().iter().find(|line| line["claim"] == claim).unwrap().clone();
        line["text"].as_str().unwrap().to_owned()
    };
    let (code, sampled) = audit(&api, &rpc, 1, &["--proofs", "1", "--settlement", &devnet.deployment.settlement.to_string()]).await;
    assert!(code == 0 && text(&sampled, "proofs").contains("a sample of 1"), "{sampled}");
    assert_eq!(sampled["trusted"].as_array().unwrap().len(), 1, "the beacon's key alone");
    let (code, pinned) = audit(&api, &rpc, 1, &["--settlement", &format!("0x{}", "11".repeat(20))]).await;
    assert_eq!((code, claims(&pinned, "fails")), (1, vec!["network"]));

    // Every path that the audit of epoch 1 asked for is one of the routes above.
    let asked = liar.asked.lock().unwrap().clone();
    let known = |path: &String| ROUTES.iter().any(|(_, begins, ..)| path.starts_with(&begins.replace("evidence/2", "evidence/")));
    let of_epoch_0 = |path: &String| path.starts_with("/v1/epochs/0/");
    assert_eq!(asked.iter().filter(|path| !known(path) && !of_epoch_0(path)).collect::<Vec<_>>(), Vec::<&String>::new());

    for (name, begins, ends, expected) in ROUTES {
        for change in 0..CHANGES {
            // Spread over the answer, its first and last bytes among them.
            let at_milli = [0, 377, 731, 999][change];
            liar.tell(Some(Lie::Flip { begins, ends, at_milli }));
            named(name, expected, audit(&api, &rpc, 1, &[]).await);
        }
    }
    for (begins, name, expected) in [
        ("/v1/network", "\"slots\":", "network"),
        ("/v1/epochs/1/report", "\"rewardTotal\":", "report"),
        ("/v1/epochs/1/report", "\"gas_used\":", "report"),
        ("/v1/epochs/0/ledger", "\"cumulative\":", "parent"),
        ("/v1/epochs/1/observations", "\"counted\":", "reveals"),
        ("/v1/epochs/1/verdicts", "\"p50_us\":", "verdicts"),
        ("/v1/epochs/1/beacon", "\"round\":", "beacon"),
        ("/v1/epochs/1/evidence/1", "\"bytes\":", "evidence"),
        ("/v1/claims/", "\"blocks\":", "evidence"),
    ] {
        liar.tell(Some(Lie::Count { begins, name }));
        named(name, &[expected], audit(&api, &rpc, 1, &[]).await);
    }
    liar.tell(None);
    assert_eq!(audit(&api, &rpc, 1, &[]).await.0, 0, "and it was the lies alone");
    devnet.stop().await.unwrap();
}

/// Exactly one claim fails, one of those expected.
fn named(what: &str, expected: &[&str], (code, findings): (i32, Value)) {
    let fails = claims(&findings, "fails");
    assert!(code == 1 && fails.len() == 1 && expected.contains(&fails[0]), "{what}: {code} {fails:?}, expected {expected:?}\n{findings:#}");
}
