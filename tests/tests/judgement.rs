//! The aggregation court's own bytecode against the production verdicts, on a real EVM: whatever an honest committee posts stands, and
//! whatever it is bent to does not.

#[path = "../../core/tests/judgement_cases/mod.rs"]
mod judgement_cases;

use std::path::{Path, PathBuf};
use std::process::Command;

use alloy_primitives::{Address, B256, Bytes, U256, hex, keccak256};
use alloy_sol_types::{SolCall, SolValue, sol};
use assay_core::challenge::Stream;
use assay_core::hash::{Hash32, tag};
use assay_core::merkle::StandardTree;
use assay_tests::anvil::Anvil;
use judgement_cases::{Judgement, Spread, judgement};
use serde_json::{Map, Value, json};

sol! {
    #[derive(Default)]
    struct Report {
        uint256 chainId; address settlement; uint64 setEpoch; uint64 epoch; uint64 view_; bytes32 parentDigest; uint64 refBlock;
        uint64 validUntil; uint64 drandRound; bool seedSecure; bytes32 paramsHash; bytes32 bitVotesRoot; bytes32 obsRoot;
        bytes32 resultRoot; bytes32 rewardRoot; bytes32 slashRoot; uint256 rewardTotal; uint256 slashTotal; bytes32 logHeadsRoot;
        bytes32 dataDigest;
    }
    #[derive(Default)]
    struct Verdict {
        uint64 providerId; uint64 epoch; uint8 outcome; uint32 multiplierPpm; uint256 reward; uint256 slash; bytes32 dimensions;
    }
    struct Case {
        Verdict verdict; bytes32[] verdictProof; uint256 seats; uint256 present; bytes observations; bytes32[] panelProof; bytes params;
        bytes dimensions; bool hasPrevious; Report parent; Verdict previous; bytes32[] previousProof;
    }
    function mismatchOf(Report report, Case case_) returns (uint8);
    function callAll(address target, bytes[] calls) returns (bool[] ok, bytes32[] words);
}

const CASES: u64 = 10_000;
const BATCH: u64 = 20;
/// Where the headers of the committees lie: no precompile has such an address.
const FIRST_SET: u64 = 0x1_0000;

/// `IAggregationCourt.Mismatch`.
mod mismatch {
    pub const NONE: u8 = 0;
    pub const EPOCH: u8 = 1;
    pub const OBSERVATIONS: u8 = 2;
    pub const DIMENSIONS: u8 = 3;
    pub const OUTCOME: u8 = 5;
    pub const MULTIPLIER: u8 = 6;
    pub const REWARD: u8 = 7;
    pub const SLASH: u8 = 8;
}

/// A dispute, and what the court must find.
struct Dispute {
    what: String,
    call: Vec<u8>,
    set: u64,
    header: Vec<u8>,
    expected: u8,
}

// Defence: the contract's arithmetic is the production code's, bit for bit. Were one rounding, tie, rank or limit another one, an honest
// report of some epoch could be voided: then some honest case here is disputable.
#[tokio::test(flavor = "multi_thread")]
async fn honest_verdicts_stand_and_each_bent_number_falls() {
    let court = Court::deploy().await;
    let mut disputes = 0;
    for first in (0..CASES).step_by(BATCH as usize) {
        let batch: Vec<Dispute> = (first..first + BATCH).flat_map(disputes_of).collect();
        court.hear(&batch).await;
        disputes += batch.len();
    }
    println!("{disputes} disputes over {CASES} panels");
}

fn disputes_of(seed: u64) -> Vec<Dispute> {
    let spread = if seed % 3 == 0 { Spread::Usual } else { Spread::Wild };
    let judged = judgement(seed, spread, (1, 16));
    let posted = Posted::of(&judged);
    let bent = bend(&judged, seed);
    let mut disputes = vec![posted.dispute(&judged, seed, "honest", mismatch::NONE), bent.1.dispute(&judged, seed, bent.0, bent.2)];
    disputes.push(match seed % 3 {
        0 => Posted { shows_previous: false, ..posted }.dispute(&judged, seed, "honest, without the previous verdict", mismatch::NONE),
        1 => Posted { shows_dimensions: false, ..posted }.dispute(&judged, seed, "honest, without the dimensions", mismatch::NONE),
        _ => {
            let mut scaled = posted;
            scaled.verdict.reward /= U256::from(3);
            scaled.dispute(&judged, seed, "honest, scaled to the budget", mismatch::NONE)
        }
    });
    disputes
}

/// What the signers post about a provider, and what a challenger shows of it.
#[derive(Clone)]
struct Posted {
    verdict: Verdict,
    dimensions: Vec<u8>,
    packed: Vec<u8>,
    panel_leaf: Hash32,
    shows_previous: bool,
    shows_dimensions: bool,
}

impl Posted {
    fn of(judged: &Judgement) -> Self {
        let v = &judged.verdict;
        let verdict = Verdict {
            providerId: v.provider.0,
            epoch: v.epoch,
            outcome: v.outcome as u8,
            multiplierPpm: u32::try_from(v.multiplier_ppm).unwrap(),
            reward: U256::from(v.reward),
            slash: U256::from(v.slash),
            dimensions: v.dimensions_word().0.into(),
        };
        Self {
            verdict,
            dimensions: judged.dimensions(),
            packed: judged.packed(),
            panel_leaf: judged.panel_leaf(),
            shows_previous: true,
            shows_dimensions: true,
        }
    }

    fn dispute(&self, judged: &Judgement, seed: u64, what: &str, expected: u8) -> Dispute {
        let (result_root, verdict_proof) = tree(verdict_leaf(&self.verdict), 5);
        let (obs_root, panel_proof) = tree(self.panel_leaf, 6);
        let (parent, previous, previous_proof) = parent(judged);
        let set = FIRST_SET + seed;
        let report = Report {
            setEpoch: set,
            epoch: judged.verdict.epoch,
            parentDigest: if judged.previous_ppm.is_some() { keccak256(parent.abi_encode()) } else { B256::ZERO },
            seedSecure: judged.secure,
            paramsHash: judged.params.hash().0.into(),
            obsRoot: obs_root,
            resultRoot: result_root,
            ..Report::default()
        };
        let case_ = Case {
            verdict: self.verdict.clone(),
            verdictProof: verdict_proof,
            seats: U256::from(judged.seats.len()),
            present: U256::from(judged.present()),
            observations: self.packed.clone().into(),
            panelProof: panel_proof,
            params: judged.params_words().into(),
            dimensions: if self.shows_dimensions { self.dimensions.clone().into() } else { Bytes::new() },
            hasPrevious: self.shows_previous,
            parent,
            previous,
            previousProof: previous_proof,
        };
        let call = mismatchOfCall { report, case_ }.abi_encode();
        Dispute { what: format!("seed {seed}: {what}"), call, set, header: header(&judged.members), expected }
    }
}

/// One number of what an honest committee posts, bent; and what the court must say to it.
fn bend(judged: &Judgement, seed: u64) -> (&'static str, Posted, u8) {
    let stream = &mut Stream::new(&[b"bend", &seed.to_be_bytes()]);
    let mut posted = Posted::of(judged);
    let verdict = &mut posted.verdict;
    match stream.below(12) {
        0 => {
            verdict.outcome = 1 + (verdict.outcome + stream.below(4) as u8) % 5;
            ("another outcome", posted, mismatch::OUTCOME)
        }
        1 => {
            verdict.multiplierPpm += 1;
            ("a multiplier one too high", posted, mismatch::MULTIPLIER)
        }
        2 if verdict.multiplierPpm > 0 => {
            verdict.multiplierPpm -= 1;
            ("a multiplier one too low", posted, mismatch::MULTIPLIER)
        }
        3 => {
            verdict.reward += U256::ONE;
            ("a reward one too high", posted, mismatch::REWARD)
        }
        4 if verdict.slash.is_zero() && (!judged.secure || !is_faulty(judged)) => {
            verdict.slash = U256::ONE;
            ("a slash without a fact", posted, mismatch::SLASH)
        }
        5 => {
            verdict.epoch += 1;
            ("another epoch", posted, mismatch::EPOCH)
        }
        6 if !posted.packed.is_empty() => {
            overstate(&mut posted, judged);
            ("more bad than counted", posted, mismatch::OBSERVATIONS)
        }
        _ => {
            // All words but the first: the watch list's entry is not committed to elsewhere.
            let word = 1 + stream.below(posted.dimensions.len() as u64 / 32 - 1) as usize;
            let low = &mut posted.dimensions[32 * word + 31];
            *low = if stream.below(2) == 0 { low.wrapping_add(1) } else { low.wrapping_sub(1) };
            let words = [tag("assay.dimensions.v1").as_bytes().as_slice(), &posted.dimensions].concat();
            posted.verdict.dimensions = keccak256(words);
            ("a bent figure of a dimension", posted, mismatch::DIMENSIONS)
        }
    }
}

fn is_faulty(judged: &Judgement) -> bool {
    !judged.verdict.facts_root.is_zero()
}

/// The first observation says that more probes of availability failed than were counted.
fn overstate(posted: &mut Posted, judged: &Judgement) {
    let mut seats = judged.seats.clone();
    let seen = seats.iter_mut().find_map(|(_, seen)| seen.as_mut()).unwrap();
    seen.counts = seen
        .counts
        .to_vec()
        .into_iter()
        .map(|mut counts| {
            if counts.kind == assay_core::challenge::Kind::AVAILABILITY {
                (counts.scheduled, counts.counted, counts.bad) = (7, 7, vec![8]);
            }
            counts
        })
        .collect();
    let bent = Judgement { params: judged.params.clone(), members: vec![], seats, verdict: judged.verdict.clone(), ..*judged };
    posted.packed = bent.packed();
    posted.panel_leaf = bent.panel_leaf();
}

/// The parent report and its verdict on the provider.
fn parent(judged: &Judgement) -> (Report, Verdict, Vec<B256>) {
    let epoch = judged.verdict.epoch.saturating_sub(1);
    let multiplier = u32::try_from(judged.previous_ppm.unwrap_or_default()).unwrap();
    let previous = Verdict { providerId: judged.verdict.provider.0, epoch, outcome: 1, multiplierPpm: multiplier, ..Verdict::default() };
    let (result_root, proof) = tree(verdict_leaf(&previous), 3);
    (Report { epoch, resultRoot: result_root, ..Report::default() }, previous, proof)
}

fn verdict_leaf(verdict: &Verdict) -> Hash32 {
    Hash32(keccak256(keccak256(verdict.abi_encode())).0)
}

/// A tree of some other leaves around this one.
fn tree(leaf: Hash32, others: u8) -> (B256, Vec<B256>) {
    let leaves = (0..others).map(|other| Hash32(keccak256([other]).0)).chain([leaf]).collect();
    let tree = StandardTree::new(leaves);
    let proof = tree.proof(&leaf).unwrap();
    (tree.root().0.into(), proof.iter().map(|hash| hash.0.into()).collect())
}

/// A committee's code as `libraries/Committee.sol` writes it, without keys.
fn header(members: &[(u64, u16)]) -> Vec<u8> {
    let total: u32 = members.iter().map(|(_, weight)| u32::from(*weight)).sum();
    let mut code = vec![0];
    code.extend(total.to_be_bytes());
    code.extend(u16::try_from(members.len()).unwrap().to_be_bytes());
    code.extend([0; 25 + 256 + 40]);
    for (id, weight) in members {
        code.extend(id.to_be_bytes());
        code.extend(weight.to_be_bytes());
        code.extend([0; 192]);
    }
    code
}

struct Court {
    anvil: Anvil,
    world: Address,
    court: Address,
}

impl Court {
    /// Compiles and deploys the court on a stand-in for the contracts that it reads.
    async fn deploy() -> Self {
        let contracts = root().join("contracts");
        let sources = ["src/courts/AggregationCourt.sol", "test/utils/JudgementWorld.sol"];
        let built =
            Command::new(root().join("node_modules/.bin/forge")).arg("build").args(sources).current_dir(&contracts).output().unwrap();
        assert!(built.status.success(), "{}", String::from_utf8_lossy(&built.stderr));
        let anvil = Anvil::start().await.unwrap();
        let world = create(&anvil, bytecode(&contracts, "JudgementWorld")).await;
        let arguments = (world, U256::from(100_000)).abi_encode();
        let court = create(&anvil, [bytecode(&contracts, "AggregationCourt"), arguments].concat()).await;
        Self { anvil, world, court }
    }

    async fn hear(&self, disputes: &[Dispute]) {
        let calls = disputes.iter().map(|dispute| dispute.call.clone().into()).collect();
        let data = callAllCall { target: self.court, calls }.abi_encode();
        let headers: Map<String, Value> = disputes
            .iter()
            .map(|dispute| (format!("{:#042x}", dispute.set), json!({ "code": hex::encode_prefixed(&dispute.header) })))
            .collect();
        let call = json!({ "to": self.world, "data": hex::encode_prefixed(data), "gas": "0x3b9aca00" });
        let answer = self.anvil.rpc("eth_call", json!([call, "latest", headers])).await.unwrap();
        let answer = callAllCall::abi_decode_returns(&hex::decode(answer.as_str().unwrap()).unwrap()).unwrap();
        assert_eq!(answer.ok.len(), disputes.len());
        for (dispute, (ok, word)) in disputes.iter().zip(answer.ok.iter().zip(&answer.words)) {
            assert!(ok, "{}: reverted with {word}", dispute.what);
            assert_eq!(word.0[31], dispute.expected, "{}", dispute.what);
        }
    }
}

async fn create(anvil: &Anvil, code: Vec<u8>) -> Address {
    let from = anvil.rpc("eth_accounts", json!([])).await.unwrap()[0].clone();
    let transaction = json!({ "from": from, "data": hex::encode_prefixed(code), "gas": "0x1000000" });
    let hash = anvil.rpc("eth_sendTransaction", json!([transaction])).await.unwrap();
    anvil.mine(1).await.unwrap();
    let receipt = anvil.rpc("eth_getTransactionReceipt", json!([hash])).await.unwrap();
    assert_eq!(receipt["status"], "0x1");
    receipt["contractAddress"].as_str().unwrap().parse().unwrap()
}

fn bytecode(contracts: &Path, name: &str) -> Vec<u8> {
    let artifact = std::fs::read_to_string(contracts.join(format!("out/{name}.sol/{name}.json"))).unwrap();
    let artifact: Value = serde_json::from_str(&artifact).unwrap();
    hex::decode(artifact["bytecode"]["object"].as_str().unwrap()).unwrap()
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}
