//! A node with one certified epoch: four oracles, three providers, one proven fault.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use assay_core::beacon::{self, Round};
use assay_core::bls::{Domain, SecretKey, Signature};
use assay_core::challenge::kinds::storage::Storage;
use assay_core::challenge::schedule::vrf_message;
use assay_core::challenge::{Challenge, Kind, Kinds, STORAGE_SAMPLES};
use assay_core::claim::{Claim, ClaimProof, ClaimRoot};
use assay_core::epoch::{Basis, BitVote, Proposal, SignedBitVote};
use assay_core::hash::Hash32;
use assay_core::ids::{Address, Instance, OracleId, ProviderId};
use assay_core::observation::{
    Commit, Evidence, Fact, Fault, Observation, PlacedClaim, ProviderKeys, Reveal, SaltedObservation, Seeds, SignedCommit, VerifiedReveal,
    facts_root,
};
use assay_core::params::{Params, TOKEN};
use assay_core::report::{Certificate, Inputs, Ledger, Member, Outcome, ProviderTerms, Setting, signing_message};
use assay_core::secp::Signature65;
use assay_core::slice::Slice;
use assay_core::transcript::PairSchedule;
use assay_proto::oracle_convert::{LogEntry, Message};
use assay_proto::rest::{BeaconChain, Network};
use async_trait::async_trait;
use bytes::Bytes;
use serde_json::Value;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use crate::api::listener::Limits;
use crate::api::{ApiState, Bundles, Health, NodeView, ProviderInfo, load, serve_within};
use crate::store::{AcceptedEpoch, CertifiedEpoch, EvidenceBundle, SqliteStore, Store};

pub(super) const EPOCH: u64 = 7;
pub(super) const OFFENDER: ProviderId = ProviderId(3);

pub(super) fn secret(oracle: u64) -> SecretKey {
    SecretKey::key_gen(&[oracle as u8; 32]).unwrap()
}

pub(super) fn setting(epoch: u64) -> Setting {
    Setting {
        instance: Instance { chain_id: 31_337, settlement: Address([7; 20]) },
        epoch,
        genesis_s: 1_000,
        params: Params::devnet(),
        kinds: Kinds::standard(),
        token: Address([8; 20]),
        epoch_budget: 10_000 * TOKEN,
        set_epoch: 1,
        members: (1..=4)
            .map(|id| Member {
                oracle: OracleId(id * 10),
                weight: 100,
                key: secret(id * 10).public_key(),
                operator: Address([id as u8; 20]),
                recipient: Address([100 + id as u8; 20]),
                network_group: id,
            })
            .collect(),
        providers: (1..=3)
            .map(|id| ProviderTerms {
                provider: ProviderId(id),
                class_id: 100,
                keys: ProviderKeys {
                    receipt_key: Address([50; 20]),
                    class_id: 100,
                    claims: ClaimRoot { hash: Hash32([1; 32]), blocks: 10 },
                },
                stake: 1_000 * TOKEN,
                recipient: Address([200 + id as u8; 20]),
            })
            .collect(),
        ref_block: 5,
        ref_block_hash: Hash32([2; 32]),
        drand_round: 9,
    }
}

/// A fact that nobody has to believe: the interface serves what was verified before.
fn fact(setting: &Setting, oracle: OracleId) -> Fact {
    let terms = setting.provider(OFFENDER).unwrap();
    let claim = Claim {
        object_id: Hash32([11; 32]),
        replica_index: 0,
        root: Hash32([12; 32]),
        object_length: 1_000,
        blocks: 1,
        tag_key_id: Hash32::ZERO,
        owner: Address([13; 20]),
    };
    Fact {
        challenge: Challenge {
            instance: setting.instance,
            epoch: setting.epoch,
            slot: 2,
            oracle,
            provider: OFFENDER,
            kind: Kind::STORAGE,
            index: 4,
            class_id: 100,
            claim_root: terms.keys.claims.hash,
            claim_blocks: terms.keys.claims.blocks,
            chunks: STORAGE_SAMPLES,
            slices_one_in: 0,
            extra: vec![],
            child: [6; 32],
        },
        position: 1,
        payload: vec![],
        words: vec![Hash32([5; 32]); 30],
        evidence: Evidence::Slice {
            slice: Slice { chunk: vec![0xab; 1024], siblings: vec![[9; 32]; 3] },
            place: PlacedClaim { claim, proof: ClaimProof::default() },
        },
        signature: Signature65([14; 65]),
    }
}

fn observation(setting: &Setting, oracle: OracleId, terms: &ProviderTerms, schedule: &PairSchedule, facts: &[Fact]) -> Observation {
    let mut seen = Observation::empty(setting.kinds, setting.epoch, terms.provider, oracle);
    let is_faulty = facts.iter().any(|fact| fact.challenge.provider == terms.provider);
    for counts in &mut seen.counts {
        counts.scheduled = schedule.scheduled(counts.kind);
        counts.counted = counts.scheduled;
        match counts.kind {
            Kind::LATENCY_ECHO | Kind::LATENCY_BLOCK => counts.readings = vec![900 + oracle.0, 2_000],
            Kind::STORAGE if is_faulty => counts.bad[Storage::INVALID] = 1,
            _ => {}
        }
    }
    if is_faulty {
        seen.facts_root = facts_root(&facts.iter().map(Fact::digest).collect::<Vec<_>>());
    }
    seen
}

pub(super) fn revealed(setting: &Setting, oracle: OracleId) -> (SignedCommit, VerifiedReveal) {
    let seeds = Seeds { epoch: Hash32([3; 32]), slots: vec![Hash32([4; 32]); setting.params.slots as usize], secure: true };
    let facts = if oracle == OracleId(20) { vec![fact(setting, oracle)] } else { vec![] };
    let vrf =
        |slot: usize| secret(oracle.0).sign(Domain::Vrf, &vrf_message(&setting.instance, setting.epoch, slot as u32, &seeds.slots[slot]));
    let vrfs: Vec<Signature> = (0..seeds.slots.len()).map(vrf).collect();
    let salted = |terms: &ProviderTerms| {
        let panel = setting.panel(&seeds.epoch, terms.provider);
        let schedule = PairSchedule::new(setting, &panel, terms, oracle, &seeds, &vrfs).unwrap();
        let observation = observation(setting, oracle, terms, &schedule, &facts);
        SaltedObservation { observation, salt: Hash32([0xe0 + oracle.0 as u8 / 10; 32]) }
    };
    let reveal = Reveal {
        epoch: setting.epoch,
        oracle,
        observations: setting.providers.iter().map(salted).collect(),
        vrfs: vrfs.clone(),
        facts: facts.clone(),
        struck: vec![],
        seeds: seeds.clone(),
    };
    let commit = Commit {
        epoch: setting.epoch,
        oracle,
        seeds: reveal.seeds.digest(),
        secure: true,
        root: reveal.root(),
        leaf_count: reveal.observations.len() as u32,
        log_head: Hash32::ZERO,
    };
    let commit_digest = commit.digest(&setting.instance);
    let signature = secret(oracle.0).sign(Domain::Commit, &commit_digest);
    let faults = vec![Fault::StorageInvalid; reveal.facts.len()];
    (SignedCommit { commit, signature }, VerifiedReveal { reveal, commit_digest, faults })
}

/// The report over the reveals of all but the last oracle, signed by the first three.
pub(super) fn certified(setting: &Setting, parent: &Ledger) -> (Certificate, Outcome) {
    let oracles = setting.members.iter().take(3).map(|member| member.oracle);
    let reveals: BTreeMap<_, _> = oracles.clone().map(|oracle| (oracle, revealed(setting, oracle).1)).collect();
    let outcome = Outcome::compute(&Inputs { setting, view: 1, parent, bit_votes_root: Hash32([15; 32]), reveals: &reveals });
    let message = signing_message(&setting.instance, setting.epoch, 1, &outcome.ledger.digest);
    let signatures = oracles.map(|oracle| (oracle, secret(oracle.0).sign(Domain::Report, &message))).collect();
    (Certificate::assemble(setting, outcome.report.clone(), &signatures).unwrap(), outcome)
}

/// What the node logged of the epoch: every reveal, and the proposal that counts the first three.
pub(super) fn inputs(setting: &Setting, certificate: &Certificate) -> Vec<LogEntry> {
    let all: Vec<_> = setting.members.iter().map(|member| revealed(setting, member.oracle)).collect();
    let held: Vec<_> = all.iter().take(3).map(|(_, verified)| (verified.reveal.oracle, verified.commit_digest)).collect();
    let vote = |oracle: OracleId| {
        let vote = BitVote { epoch: setting.epoch, oracle, held: held.clone() };
        let signature = secret(oracle.0).sign(Domain::BitVote, &vote.digest(&setting.instance));
        SignedBitVote { vote, signature }
    };
    let basis = Basis {
        commits: all.iter().map(|(signed, _)| *signed).collect(),
        bit_votes: held.iter().map(|(oracle, _)| vote(*oracle)).collect(),
    };
    let (view, report_digest) = (certificate.report.view, certificate.report.digest());
    let signature = secret(10).sign(Domain::Report, &signing_message(&setting.instance, setting.epoch, view, &report_digest));
    let proposal = Proposal { epoch: setting.epoch, view, leader: OracleId(10), basis, report_digest, signature };
    let reveals = all.into_iter().map(|(_, verified)| Message::Reveal(Box::new(verified.reveal)));
    reveals.chain([Message::Proposal(Box::new(proposal))]).map(LogEntry::Received).collect()
}

pub(super) fn beacon_key() -> SecretKey {
    SecretKey::key_gen(&[0xbe; 32]).unwrap()
}

pub(super) fn bundle(epoch: u64) -> EvidenceBundle {
    let bundle = b"transcripts of a slot".to_vec();
    EvidenceBundle { digest: blake3::hash(&bundle).into(), epoch, slot: 1, provider: ProviderId(1), bundle }
}

/// What the tests tell the node.
pub(super) struct TestView {
    now_ms: AtomicU64,
    pub(super) health: Mutex<Health>,
    pub(super) settings: Mutex<BTreeMap<u64, Arc<Setting>>>,
    /// What other oracles give.
    pub(super) peers: Mutex<BTreeMap<OracleId, Vec<Bytes>>>,
}

#[async_trait]
impl NodeView for TestView {
    fn now_ms(&self) -> u64 {
        self.now_ms.load(Ordering::SeqCst)
    }

    fn health(&self) -> Health {
        self.health.lock().unwrap().clone()
    }

    fn setting(&self, epoch: u64) -> Option<Arc<Setting>> {
        self.settings.lock().unwrap().get(&epoch).cloned()
    }

    fn latest_providers(&self) -> Vec<ProviderInfo> {
        let info = |terms: &ProviderTerms| ProviderInfo { terms: *terms, endpoint: format!("http://provider-{}:7000", terms.provider) };
        let mut providers: Vec<_> = setting(EPOCH).providers.iter().map(info).collect();
        // One that registered after the epoch.
        providers
            .insert(0, ProviderInfo { terms: ProviderTerms { provider: ProviderId(4), ..providers[0].terms }, endpoint: String::new() });
        providers
    }

    fn network(&self) -> Network {
        let setting = setting(EPOCH);
        Network {
            chain_id: setting.instance.chain_id,
            settlement: setting.instance.settlement,
            oracle_registry: Address([21; 20]),
            provider_registry: Address([22; 20]),
            beacon: BeaconChain {
                public_key: beacon_key().public_key().to_compressed().into(),
                genesis_time: 1,
                period: 1,
                chain_hash: Hash32([23; 32]),
                group_hash: [24; 32].into(),
                beacon_id: "test".into(),
            },
            preset: Some("devnet".into()),
            params: setting.params,
        }
    }

    /// A round a second, but the one of the third slot is lost.
    async fn round_at(&self, at_ms: u64) -> Option<(u64, Option<Round>)> {
        let number = at_ms / 1_000;
        let signature = beacon::sign(&beacon_key(), number);
        let lost = at_ms == setting(EPOCH).start_ms() + 10_000;
        Some((number, (!lost).then(|| Round { number, randomness: beacon::randomness(&signature), signature })))
    }

    async fn evidence_of(&self, oracle: OracleId, _: u64, _: ProviderId) -> Option<Bundles> {
        self.peers.lock().unwrap().get(&oracle).cloned().map(Into::into)
    }
}

/// A serving node.
pub(super) struct World {
    dir: tempfile::TempDir,
    pub(super) store: SqliteStore,
    pub(super) view: Arc<TestView>,
    pub(super) setting: Setting,
    pub(super) certificate: Certificate,
    pub(super) outcome: Outcome,
    pub(super) address: SocketAddr,
    pub(super) stop: CancellationToken,
    pub(super) server: tokio::task::JoinHandle<std::io::Result<()>>,
    client: reqwest::Client,
}

pub(super) struct Answer {
    pub(super) status: u16,
    pub(super) headers: reqwest::header::HeaderMap,
    pub(super) text: String,
}

impl Answer {
    pub(super) fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap_or_else(|_| panic!("no JSON: {}", self.text))
    }

    /// The refusal's code, after a look at its form.
    pub(super) fn code(&self) -> String {
        let body = self.json();
        assert!(body["error"]["message"].as_str().is_some_and(|message| message.len() > 8), "{body}");
        body["error"]["code"].as_str().unwrap().to_owned()
    }
}

impl World {
    /// Certified and revealed; not accepted.
    pub(super) async fn start() -> Self {
        Self::start_within(Limits::default()).await
    }

    pub(super) async fn start_within(limits: Limits) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let store = SqliteStore::open(&dir.path().join("node.sqlite")).await.unwrap();
        let setting = setting(EPOCH);
        let (certificate, outcome) = certified(&setting, &Ledger::default());
        let health = Health {
            problems: BTreeMap::new(),
            oracle: Some(OracleId(10)),
            epoch: EPOCH + 1,
            phase: "measuring",
            last_certified: Some(EPOCH),
            last_accepted: None,
        };
        let view = Arc::new(TestView {
            now_ms: AtomicU64::new(load::reveals_due_ms(&setting)),
            health: Mutex::new(health),
            settings: Mutex::new(BTreeMap::from([(EPOCH, Arc::new(setting.clone()))])),
            peers: Mutex::new(BTreeMap::from([(OracleId(20), vec![Bytes::from_static(b"theirs")])])),
        });
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let (address, stop) = (listener.local_addr().unwrap(), CancellationToken::new());
        let state = ApiState::new(Arc::new(store.clone()), view.clone());
        let server = tokio::spawn(serve_within(limits, listener, state, stop.clone()));
        let client = reqwest::Client::builder().no_proxy().build().unwrap();
        let world = Self { dir, store, view, setting, certificate, outcome, address, stop, server, client };
        world.put(EPOCH, &world.certificate, &world.outcome).await;
        for entry in inputs(&world.setting, &world.certificate) {
            world.store.append_input(EPOCH, 1, &entry.encode()).await.unwrap();
        }
        world.store.put_evidence(&bundle(EPOCH)).await.unwrap();
        world
    }

    pub(super) async fn put(&self, epoch: u64, certificate: &Certificate, outcome: &Outcome) {
        let certificate = assay_proto::oracle_convert::encode_certificate(certificate).to_vec();
        self.store.put_outcome(epoch, &CertifiedEpoch { certificate, outcome: outcome.clone() }).await.unwrap();
    }

    pub(super) async fn accept(&self, epoch: u64, digest: Hash32) {
        let accepted = AcceptedEpoch { epoch, digest, tx_hash: Hash32([77; 32]), block_number: 41, gas_used: 187_000 };
        self.store.put_accepted(&accepted).await.unwrap();
    }

    pub(super) fn set_now(&self, now_ms: u64) {
        self.view.now_ms.store(now_ms, Ordering::SeqCst);
    }

    pub(super) fn reveals_due_ms(&self) -> u64 {
        load::reveals_due_ms(&self.setting)
    }

    pub(super) fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    pub(super) async fn send(&self, method: &str, path: &str, body: &'static str) -> Answer {
        let method = reqwest::Method::from_bytes(method.as_bytes()).unwrap();
        let response = self.client.request(method, self.url(path)).body(body).send().await.unwrap();
        let (status, headers) = (response.status().as_u16(), response.headers().clone());
        Answer { status, headers, text: response.text().await.unwrap() }
    }

    pub(super) async fn get(&self, path: &str) -> Answer {
        self.send("GET", path, "").await
    }

    /// The JSON of an answer that must be 200.
    pub(super) async fn read(&self, path: &str) -> Value {
        let answer = self.get(path).await;
        assert_eq!(answer.status, 200, "{path}: {}", answer.text);
        answer.json()
    }

    /// (status, code) of a refusal.
    pub(super) async fn refused(&self, path: &str) -> (u16, String) {
        let answer = self.get(path).await;
        (answer.status, answer.code())
    }

    pub(super) fn path(&self) -> std::path::PathBuf {
        self.dir.path().join("node.sqlite")
    }
}
