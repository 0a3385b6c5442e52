//! One epoch's measuring, with a real store, against real servers and against what is none.

use std::collections::BTreeMap;
use std::fmt::Debug;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use assay_chain::ProviderRecord;
use assay_challenger::convert::decode_bundle;
use assay_challenger::link::LinkConfig;
use assay_challenger::watchdog::Watchdog;
use assay_core::beacon::ChainInfo;
use assay_core::bls;
use assay_core::challenge::{Answer, Challenge, Kind, STORAGE_SAMPLES, answer_signing_digest, echo};
use assay_core::claim::{Claim, ClaimRoot, ClaimSet};
use assay_core::hash::Hash32;
use assay_core::ids::{Address, Instance, OracleId, ProviderId};
use assay_core::observation::{Observation, ProviderKeys};
use assay_core::params::Params;
use assay_core::report::{Member, ProviderTerms, Setting};
use assay_core::secp::{SecretKey, Signature65};
use assay_core::transcript::{Fate, Transcript};
use assay_oracle::beacon::{BeaconClient, BeaconConfig};
use assay_oracle::clock::{now_ms, until_unix_ms};
use assay_oracle::frame::Frame;
use assay_oracle::measure::{LEAD, MeasureError, Measurer};
use assay_oracle::signer::{Protection, Signer};
use assay_oracle::store::{SqliteStore, Store};
use assay_proto::provider::v1::provider_server::{Provider, ProviderServer};
use assay_proto::provider::v1::{self as wire, ChallengeReply};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tonic::{Request, Response, Status};

const ME: OracleId = OracleId(1);

/// A provider that answers echoes and states that every stored chunk is missing.
#[derive(Clone, Default)]
struct Host {
    claims: ClaimSet,
    /// How long a page of claims takes.
    claims_take: Duration,
    /// Never answers an echo whose time is measured.
    ignores_latency: bool,
}

fn receipt_key() -> SecretKey {
    SecretKey::from_bytes(&[5; 32]).unwrap()
}

impl Host {
    async fn serve(self) -> Site {
        let claims = self.claims.clone();
        let (incoming, address) = assay_daemon::grpc::bind("127.0.0.1:0".parse().unwrap()).await.unwrap();
        tokio::spawn(tonic::transport::Server::builder().add_service(ProviderServer::new(self)).serve_with_incoming(incoming));
        Site { endpoint: format!("http://{address}"), claims }
    }
}

#[tonic::async_trait]
impl Provider for Host {
    async fn describe(&self, _: Request<wire::DescribeRequest>) -> Result<Response<wire::DescribeReply>, Status> {
        Ok(Response::new(wire::DescribeReply::default()))
    }

    async fn claims(&self, request: Request<wire::ClaimsRequest>) -> Result<Response<wire::ClaimsReply>, Status> {
        tokio::time::sleep(self.claims_take).await;
        let page = self.claims.claims().skip(request.into_inner().offset as usize);
        let claims = page.map(|claim| wire::SignedClaim::new(claim, &Signature65([0; 65]))).collect();
        Ok(Response::new(wire::ClaimsReply { set: None, claims }))
    }

    async fn challenge(&self, request: Request<wire::ChallengeRequest>) -> Result<Response<ChallengeReply>, Status> {
        let challenge = Challenge::try_from(request.into_inner()).unwrap();
        let answer = match challenge.kind {
            Kind::LatencyEcho if self.ignores_latency => std::future::pending().await,
            Kind::Availability | Kind::LatencyEcho => Answer::Echo(echo(&challenge)),
            Kind::LatencyBlock => Answer::Block(None),
            Kind::Storage => Answer::Storage(vec![None; STORAGE_SAMPLES]),
        };
        let digest = answer_signing_digest(&challenge, &answer.digest());
        let signature = (challenge.kind == Kind::Storage).then(|| receipt_key().sign(&digest).unwrap());
        Ok(Response::new(ChallengeReply::new(answer, signature.as_ref())))
    }

    async fn seal(&self, _: Request<wire::SealRequest>) -> Result<Response<wire::SealReply>, Status> {
        Err(Status::unimplemented("not in these tests"))
    }
}

/// What the chain says of a provider.
struct Site {
    endpoint: String,
    claims: ClaimSet,
}

impl Site {
    fn at(endpoint: impl Into<String>) -> Self {
        Self { endpoint: endpoint.into(), claims: ClaimSet::default() }
    }
}

fn one_claim() -> ClaimSet {
    let claim = Claim {
        object_id: Hash32([1; 32]),
        replica_index: 0,
        root: Hash32([2; 32]),
        object_length: 1_000,
        blocks: assay_core::replica::blocks_for(1_000),
        tag_key_id: Hash32::ZERO,
        owner: Address([3; 20]),
    };
    ClaimSet::new(vec![claim]).unwrap()
}

/// Short, busy slots, and no stalls: other tests share the machine.
fn params() -> Params {
    let mut params = Params::devnet();
    (params.slots, params.slot_ms, params.beacon_late_ms) = (2, 2_000, 0);
    params.deadlines.commit_ms = 1_600;
    let probing = &mut params.probing;
    (probing.availability_mean_ms, probing.latency_mean_ms) = (100, 50);
    (probing.retry_first_ms, probing.retry_second_ms) = (50, 100);
    (probing.answer_timeout_ms, probing.storage_timeout_ms) = (500, 500);
    (probing.send_slip_ms, probing.stall_ms) = (400, 60_000);
    params
}

struct World {
    measurer: Arc<Measurer>,
    store: Arc<dyn Store>,
    frame: Arc<Frame>,
    _directory: tempfile::TempDir,
}

impl World {
    /// An epoch that starts at `genesis_s`, with one member: us. The beacon is unreachable, so that seeds are the fallback's.
    async fn new(params: Params, genesis_s: u64, sites: Vec<Site>) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let key = bls::SecretKey::key_gen(&[1; 32]).unwrap();
        let public_key = key.public_key();
        let instance = Instance { chain_id: 31_337, settlement: Address([7; 20]) };
        let path = directory.path().join("protection.sqlite");
        Protection::create(&path, &public_key, &instance).await.unwrap();
        let protection = Protection::open(&path, &public_key, &instance).await.unwrap();
        let store: Arc<dyn Store> = Arc::new(SqliteStore::open(&directory.path().join("node.sqlite")).await.unwrap());
        let beacon = BeaconConfig { urls: vec!["http://127.0.0.1:1".into()], chain_hash: Hash32::ZERO, public_key: String::new() };
        let measurer = Measurer {
            beacon: BeaconClient::with_info(&beacon, ChainInfo { public_key, genesis_s: 0, period_s: 1 }).unwrap(),
            signer: Arc::new(Signer::new(key, ME, instance, protection).unwrap()),
            store: store.clone(),
            links: LinkConfig { allow_private: true, ..LinkConfig::default() },
            watchdog: Watchdog::start(Duration::from_secs(60)).unwrap(),
            bend: None,
        };
        let records: BTreeMap<ProviderId, ProviderRecord> =
            (1..).map(ProviderId).zip(&sites).map(|(id, site)| (id, record(id, site))).collect();
        let setting = Setting {
            instance,
            epoch: 0,
            genesis_s,
            params,
            token: Address([8; 20]),
            epoch_budget: 0,
            set_epoch: 1,
            members: vec![Member {
                oracle: ME,
                weight: 1,
                key: public_key,
                operator: Address([9; 20]),
                recipient: Address([9; 20]),
                network_group: 0,
            }],
            providers: records.values().map(terms).collect(),
            ref_block: 5,
            ref_block_hash: Hash32([2; 32]),
            drand_round: 9,
        };
        let frame = Arc::new(Frame { setting: Arc::new(setting), peers: BTreeMap::new(), records });
        Self { measurer: Arc::new(measurer), store, frame, _directory: directory }
    }

    /// An epoch that starts a little more than [`LEAD`] from now.
    async fn ahead(params: Params, sites: Vec<Site>) -> Self {
        Self::new(params, now_ms() / 1_000 + LEAD.as_secs() + 1, sites).await
    }

    /// Measures as the node does: from [`LEAD`] before the epoch, or from now.
    async fn run(&self) -> Vec<Observation> {
        let lead_ms = LEAD.as_millis() as u64;
        tokio::time::sleep_until(until_unix_ms(self.frame.setting.start_ms() - lead_ms)).await;
        let (reveal, _) = self.measurer.clone().run(self.frame.clone(), CancellationToken::new()).await.unwrap();
        reveal.reveal.observations.iter().map(|salted| salted.observation.clone()).collect()
    }

    async fn transcripts(&self, provider: u64) -> Vec<Transcript> {
        let bundles = self.store.evidence_about(0, ProviderId(provider)).await.unwrap();
        bundles.iter().flat_map(|bundle| decode_bundle(&bundle.bundle).unwrap().transcripts).collect()
    }
}

fn record(id: ProviderId, site: &Site) -> ProviderRecord {
    ProviderRecord {
        id,
        operator: Address([4; 20]),
        recipient: Address([4; 20]),
        receipt_key: receipt_key().address(),
        class_id: 100,
        claim_root: site.claims.root().hash,
        claim_blocks: site.claims.root().blocks,
        claim_count: site.claims.claims().count() as u64,
        claim_sequence: 1,
        stake: 1,
        region: 1,
        active: true,
        endpoint: site.endpoint.clone(),
    }
}

fn terms(record: &ProviderRecord) -> ProviderTerms {
    let claims = ClaimRoot { hash: record.claim_root, blocks: record.claim_blocks };
    let keys = ProviderKeys { receipt_key: record.receipt_key, class_id: record.class_id, claims };
    ProviderTerms { provider: record.id, class_id: record.class_id, keys, stake: record.stake, recipient: record.recipient }
}

fn everything_is_counted(seen: &Observation) -> bool {
    seen.availability.counted == seen.availability_scheduled && seen.latency_counted == seen.latency_scheduled
}

// Defence: set-up beside the measuring; joined over all providers before slot 0, the one that never speaks takes its call timeout (5 s)
// from everybody and nothing is counted of anybody.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_provider_that_never_speaks_delays_no_other() {
    let tarpit = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let speechless = Site::at(format!("http://{}", tarpit.local_addr().unwrap()));
    let world = World::ahead(params(), vec![speechless, Host::default().serve().await]).await;
    let [speechless, honest] = &world.run().await[..] else { panic!("two observations") };
    assert!(everything_is_counted(honest), "{honest:?}");
    assert_eq!((honest.availability.bad, honest.over_t50), (0, 0), "{honest:?}");
    assert!(everything_is_counted(speechless), "{speechless:?}");
    assert_eq!(speechless.availability.bad, speechless.availability.counted);
}

// Defence: `Line`; when a provider without a link is passed over, nothing is counted of it and it keeps full pay.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whoever_cannot_be_connected_to_is_silent() {
    let sites = ["no endpoint", "http://224.0.0.1:80", "http://no-such-name.invalid:80", "http://127.0.0.1:1"];
    let sites = sites.map(|endpoint| Site { endpoint: endpoint.into(), claims: one_claim() });
    let world = World::ahead(params(), sites.into()).await;
    let observations = world.run().await;
    assert_eq!(observations.len(), 4);
    for seen in observations {
        assert!(everything_is_counted(&seen) && seen.availability.counted > 0, "{seen:?}");
        assert_eq!((seen.availability.bad, seen.over_t50), (seen.availability.counted, seen.latency_counted));
        assert_eq!((seen.storage_silent, seen.storage_oracle_error), (seen.storage_scheduled, 0));
    }
}

// Defence: `Subject::claims` is looked at by every slot; taken once at the start, the last slot is silent, too.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn claims_that_come_late_serve_the_slots_after_them() {
    let host = Host { claims: one_claim(), claims_take: LEAD + Duration::from_secs(1), ..Host::default() };
    let world = World::ahead(params(), vec![host.serve().await]).await;
    let observations = world.run().await;
    assert!(everything_is_counted(&observations[0]), "{observations:?}");
    let stored = world.transcripts(1).await.into_iter().filter(|t| t.challenge.kind == Kind::LatencyBlock);
    let (first, last): (Vec<_>, Vec<_>) = stored.partition(|t| t.challenge.slot == 0);
    assert!(first.iter().all(|t| t.outcome.fate() == Fate::Silent) && !first.is_empty());
    assert!(last.iter().all(|t| t.outcome.fate() == Fate::Missing) && !last.is_empty());
}

// Defence: `keep_arriving`; stored at the slot's end, evidence is not there in its middle, and with probes that outlast the commit never.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn evidence_is_stored_as_it_arrives_and_what_is_stored_counts() {
    let mut params = params();
    params.probing.answer_timeout_ms = 60_000;
    let slot_ms = params.slot_ms;
    let world = World::ahead(params, vec![Host { ignores_latency: true, ..Host::default() }.serve().await]).await;
    let middle = async {
        tokio::time::sleep_until(until_unix_ms(world.frame.setting.start_ms() + slot_ms)).await;
        world.transcripts(1).await.len()
    };
    let (observations, in_the_middle) = tokio::join!(world.run(), middle);
    assert!(in_the_middle > 0);
    let seen = &observations[0];
    assert_eq!((seen.availability.counted, seen.availability.bad), (seen.availability_scheduled, 0), "{seen:?}");
    assert_eq!(seen.latency_counted, 0, "under way at the commit");
    let bundles = world.store.evidence_about(0, ProviderId(1)).await.unwrap().len();
    assert!(bundles <= 30 * 2, "{bundles} bundles");
}

// Defence: passing over slots that are over; asked all the same, they are stored as thousands of lost probes.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn after_a_late_start_nothing_is_asked_of_slots_that_are_over() {
    let mut params = params();
    params.slots = 5;
    // Somewhere in slot 2.
    let world = World::new(params, now_ms() / 1_000 - 4, vec![Host::default().serve().await]).await;
    let observations = world.run().await;
    let slots: Vec<u32> = world.transcripts(1).await.iter().map(|t| t.challenge.slot).collect();
    assert!(slots.iter().all(|slot| *slot >= 2) && slots.contains(&4), "{slots:?}");
    let seen = &observations[0];
    assert!(seen.availability.counted > 0 && seen.availability.counted < seen.availability_scheduled, "{seen:?}");
    assert_eq!((seen.availability.bad, seen.over_t50), (0, 0), "what we missed is not blamed on it: {seen:?}");
}

// Defence: `cancel` around every wait; without it a node that stops waits for the epoch.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn measuring_stops_at_once() {
    let tarpit = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let mut params = params();
    params.slot_ms = 600_000;
    params.probing.answer_timeout_ms = 600_000;
    let sites = vec![Site::at(format!("http://{}", tarpit.local_addr().unwrap()))];
    let world = World::ahead(params, sites).await;
    for wait in [Duration::from_millis(100), LEAD + Duration::from_secs(3)] {
        let cancel = CancellationToken::new();
        let running = tokio::spawn(world.measurer.clone().run(world.frame.clone(), cancel.clone()));
        tokio::time::sleep(wait).await;
        cancel.cancel();
        let result = tokio::time::timeout(Duration::from_secs(60), running).await.expect("stops").unwrap();
        assert!(matches!(result, Err(MeasureError::Stopped)));
    }
}

/// Writes down every field of the measuring's log.
#[derive(Clone, Default)]
struct Eavesdropper(Arc<Mutex<Vec<(String, String)>>>);

impl tracing::field::Visit for Eavesdropper {
    fn record_debug(&mut self, field: &tracing::field::Field, value: &dyn Debug) {
        self.0.lock().unwrap().push((field.name().into(), format!("{value:?}")));
    }
}

impl tracing::Subscriber for Eavesdropper {
    fn enabled(&self, metadata: &tracing::Metadata<'_>) -> bool {
        ["assay_oracle::measure", "assay_challenger"].iter().any(|target| metadata.target().starts_with(target))
    }
    fn new_span(&self, _: &tracing::span::Attributes<'_>) -> tracing::span::Id {
        tracing::span::Id::from_u64(1)
    }
    fn record(&self, _: &tracing::span::Id, _: &tracing::span::Record<'_>) {}
    fn record_follows_from(&self, _: &tracing::span::Id, _: &tracing::span::Id) {}
    fn event(&self, event: &tracing::Event<'_>) {
        event.record(&mut self.clone());
    }
    fn enter(&self, _: &tracing::span::Id) {}
    fn exit(&self, _: &tracing::span::Id) {}
}

// Defence: what `compile` and `set_up` do not log; facts, outages and refused seals in the log are measurements before their reveal.
// One thread, so that the log of every task is heard.
#[tokio::test]
async fn nothing_measured_gets_into_the_log() {
    let heard = Eavesdropper::default();
    let _listening = tracing::subscriber::set_default(heard.clone());
    let faulty = Host { claims: one_claim(), ..Host::default() }.serve().await;
    let world = World::ahead(params(), vec![faulty, Site::at("no endpoint")]).await;
    let observations = world.run().await;
    assert!(observations[0].storage_missing > 0, "there is something to tell: {observations:?}");
    let mut heard = heard.0.lock().unwrap().clone();
    heard.sort();
    let expected = [("epoch", "0"), ("message", "measured"), ("providers", "2")];
    assert_eq!(heard, expected.map(|(name, value)| (name.to_owned(), value.to_owned())));
}
