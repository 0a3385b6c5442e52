//! The challenge plane as it runs in production, on loopback: a provider with its store, and an oracle's prober that measures it.
//!
//! Each side has a runtime of its own, as it has a process of its own. A slot's probes are all due before it starts, so that they leave at
//! once and the slot lasts as long as the work in it.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use assay_challenger::link::{Line, Link, LinkConfig, WARM_UP_EXCHANGES};
use assay_challenger::measure::{Assignment, SlotReport, Target, run_slot};
use assay_challenger::watchdog::Watchdog;
use assay_core::bls::Domain;
use assay_core::challenge::Kinds;
use assay_core::claim::{Claim, ClaimDomain, ClaimSet};
use assay_core::hash::Hash32;
use assay_core::ids::{Address, Instance, OracleId, ProviderId};
use assay_core::params::Params;
use assay_core::replica::{BLOCK_BYTES, blocks_for};
use assay_core::secp::SecretKey;
use assay_core::transcript::{Pair, SlotSchedule, Transcript};
use assay_proto::convert::wire_bytes;
use assay_proto::provider::v1 as wire;
use assay_proto::provider::v1::ingest_client::IngestClient;
use assay_provider::app::{self, Running};
use assay_provider::config::{Config, Limits};
use tempfile::TempDir;
use tokio::runtime::Runtime;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use crate::fixture::oracle_key;

const PROVIDER: ProviderId = ProviderId(7);
const INSTANCE: Instance = Instance { chain_id: 31_337, settlement: Address([0xaa; 20]) };
const REGISTRY: Address = Address([0xbb; 20]);
const OBJECT_BYTES: u64 = 8 << 20;
const FRAME_BYTES: usize = 256 * 1024;
/// Nothing is lost to time here: what is slow shows in the rate.
const PATIENCE_MS: u64 = 60_000;

/// A provider that serves, and the two runtimes.
pub struct Plane {
    pub servers: Runtime,
    pub clients: Runtime,
    running: Option<Running>,
    shutdown: CancellationToken,
    watchdog: Watchdog,
    receipt_key: Address,
    claims: Arc<ClaimSet>,
    _data: TempDir,
}

impl Plane {
    /// Starts a provider and stores one replica with it.
    pub fn start() -> Self {
        let (servers, clients) = (Runtime::new().unwrap(), Runtime::new().unwrap());
        let data = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
        let (key, shutdown) = (SecretKey::from_bytes(&[0x21; 32]).unwrap(), CancellationToken::new());
        let receipt_key = key.address();
        let running = servers.block_on(app::start(&config(&data), key, shutdown.clone())).unwrap();
        let claims = clients.block_on(store_replica(running.address));
        let watchdog = Watchdog::start(Duration::from_millis(PATIENCE_MS)).unwrap();
        clients.spawn(watchdog.clone().pulse(shutdown.clone()));
        Self { servers, clients, running: Some(running), shutdown, watchdog, receipt_key, claims: Arc::new(claims), _data: data }
    }

    /// A connection as an oracle makes it, warm.
    pub fn line(&self) -> Line {
        let endpoint = format!("http://{}", self.running.as_ref().unwrap().address);
        let config = LinkConfig { allow_private: true, ..LinkConfig::default() };
        let link = self.clients.block_on(Link::open(&endpoint, &config)).unwrap();
        // Also lets the server say how many requests it takes at a time, before there are many.
        assert_eq!(self.clients.block_on(link.warm_up()), WARM_UP_EXCHANGES);
        Line::from(link)
    }

    /// A slot of that epoch, under these parameters, all of whose probes are due. Slots of one oracle differ in nothing but the epoch, so
    /// they are the same work.
    pub fn assignment(&self, oracle: u64, epoch: u64, params: &Arc<Params>) -> Assignment {
        Assignment {
            instance: INSTANCE,
            params: params.clone(),
            epoch,
            slot: 0,
            slot_start_unix_ms: 0,
            oracle: OracleId(oracle),
            provider: Target { id: PROVIDER, class_id: 100, claims: self.claims.root(), receipt_key: self.receipt_key },
            claims: Some(self.claims.clone()),
            kinds: Kinds::standard(),
            extra: BTreeMap::new(),
            schedule: Arc::new(self.schedule(oracle, epoch, params)),
        }
    }

    fn schedule(&self, oracle: u64, epoch: u64, params: &Params) -> SlotSchedule {
        let pair =
            Pair { instance: INSTANCE, epoch, oracle: OracleId(oracle), provider: PROVIDER, class_id: 100, claims: self.claims.root() };
        let (vrf, class) = (oracle_key(oracle).sign(Domain::Vrf, &Hash32::ZERO), params.class(100).unwrap());
        // Without windows: a bandwidth test is no part of the challenge plane's rate.
        SlotSchedule::new(pair, 0, &vrf, &[], class, params, Kinds::standard())
    }

    /// Runs a slot and takes its transcripts, as the oracle's driver does.
    pub fn slot(&self, assignment: Assignment, line: Line) -> impl Future<Output = (SlotReport, Vec<Transcript>)> + Send + 'static {
        let (sink, mut source) = mpsc::channel(1_024);
        let (watchdog, mut transcripts) = (self.watchdog.clone(), Vec::new());
        async move {
            let probes = run_slot(assignment, &line, &watchdog, sink, CancellationToken::new());
            let arriving = async { while source.recv_many(&mut transcripts, 1_024).await > 0 {} };
            let (report, ()) = tokio::join!(probes, arriving);
            (report, transcripts)
        }
    }
}

impl Drop for Plane {
    fn drop(&mut self) {
        self.shutdown.cancel();
        if let Some(running) = self.running.take() {
            let _ = self.servers.block_on(running.wait());
        }
    }
}

/// The parameters under which probes are never lost to time.
pub fn patient(params: Params) -> Arc<Params> {
    let mut params = params;
    (params.probing.answer_timeout_ms, params.probing.storage_timeout_ms) = (PATIENCE_MS, PATIENCE_MS);
    // Due at the start of 1970: no slip is too long.
    params.probing.send_slip_ms = u64::MAX;
    Arc::new(params)
}

fn config(data: &TempDir) -> Config {
    Config {
        provider_id: PROVIDER,
        listen: "127.0.0.1:0".parse().unwrap(),
        data_dir: data.path().to_owned(),
        keystore: data.path().join("unused"),
        password_file: data.path().join("unused"),
        chain_id: INSTANCE.chain_id,
        provider_registry: REGISTRY,
        settlement: INSTANCE.settlement,
        limits: Limits::default(),
        scrub: Default::default(),
        telemetry: Default::default(),
    }
}

/// A builder's hand movements: propose, upload, commit.
async fn store_replica(provider: SocketAddr) -> ClaimSet {
    let mut bytes = vec![0; blocks_for(OBJECT_BYTES) as usize * BLOCK_BYTES];
    blake3::Hasher::new().update(b"bench replica").finalize_xof().fill(&mut bytes);
    let owner = SecretKey::from_bytes(&[0x42; 32]).unwrap();
    let claim = Claim {
        object_id: Hash32([1; 32]),
        replica_index: 0,
        root: blake3::hash(&bytes).into(),
        object_length: OBJECT_BYTES,
        blocks: blocks_for(OBJECT_BYTES),
        tag_key_id: Hash32::ZERO,
        owner: owner.address(),
    };
    let domain = ClaimDomain { chain_id: INSTANCE.chain_id, provider_registry: REGISTRY, provider: PROVIDER };
    let signature = owner.sign(&domain.claim_digest(&claim.hash())).unwrap();
    let claim_hash = wire_bytes(&claim.hash().0);
    let frame = |(number, part): (usize, &[u8])| wire::UploadFrame {
        claim_hash: claim_hash.clone(),
        offset: (number * FRAME_BYTES) as u64,
        data: wire_bytes(part),
    };
    let frames: Vec<_> = bytes.chunks(FRAME_BYTES).enumerate().map(frame).collect();
    let mut client = IngestClient::connect(format!("http://{provider}")).await.unwrap();
    let proposal = wire::ProposeRequest { provider_id: PROVIDER.0, claim: Some(wire::SignedClaim::new(&claim, &signature)) };
    client.propose(proposal).await.unwrap();
    client.upload(futures::stream::iter(frames)).await.unwrap();
    client.commit(wire::CommitRequest { claim_hash: claim_hash.clone() }).await.unwrap();
    ClaimSet::new(vec![claim]).unwrap()
}
