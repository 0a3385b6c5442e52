//! One epoch's measuring, with a real store, against real servers and against what is none.

mod storage;

use std::collections::BTreeMap;
use std::fmt::Debug;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use assay_chain::{LateAnswer, ProviderRecord, Rebuttal};
use assay_challenger::convert::decode_bundle;
use assay_challenger::link::LinkConfig;
use assay_challenger::watchdog::Watchdog;
use assay_core::beacon::ChainInfo;
use assay_core::bls;
use assay_core::challenge::kinds::storage::Storage;
use assay_core::challenge::kinds::{availability, latency};
use assay_core::challenge::{Answer, Challenge, Kind, Kinds, STORAGE_SAMPLES, answer_signing_digest};
use assay_core::claim::{Claim, ClaimDomain, ClaimRoot, ClaimSet, SignedClaimSet};
use assay_core::hash::Hash32;
use assay_core::ids::{Address, Instance, OracleId, ProviderId};
use assay_core::observation::{Counts, Observation, ProviderKeys, Reveal, Witness};
use assay_core::params::Params;
use assay_core::report::{Inputs, Ledger, Member, Outcome, ProviderTerms, Setting, Watched};
use assay_core::secp::{SecretKey, Signature65};
use assay_core::slice::Slice;
use assay_core::transcript::{Fate, Transcript};
use assay_oracle::beacon::{BeaconClient, BeaconConfig};
use assay_oracle::clock::{now_ms, until_unix_ms};
use assay_oracle::frame::Frame;
use assay_oracle::measure::{LEAD, MeasureError, Measurer, Rebuttals};
use assay_oracle::signer::{Protection, Signer};
use assay_oracle::store::{CertifiedEpoch, SqliteStore, Store};
use assay_proto::provider::v1::provider_server::{Provider, ProviderServer};
use assay_proto::provider::v1::{self as wire, ChallengeReply};
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tonic::{Request, Response, Status};

const ME: OracleId = OracleId(1);
const REGISTRY: Address = Address([6; 20]);

/// What a storage challenge is answered with.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Reply {
    /// Nothing, ever.
    Silence,
    /// Signed: all is missing.
    Missing,
    /// Signed: chunks that are none of the replica's.
    Invalid,
    /// Signed and right. For hosts that have a replica with tags.
    Honest,
    /// Signed: compact proofs over other blocks. Likewise.
    Forged,
}

/// A provider that answers echoes and states that every stored chunk is missing.
#[derive(Clone)]
struct Host {
    claims: ClaimSet,
    /// An older set, version 7.
    older: Option<ClaimSet>,
    /// How long a page of claims takes.
    claims_take: Duration,
    /// Never answers an echo whose time is measured.
    ignores_latency: bool,
    /// The replica behind the claims.
    tagged: Option<Arc<storage::Tagged>>,
    /// What it shows of claims that left.
    releases: Vec<wire::Release>,
    /// The answer to a storage challenge that was asked so often before.
    storage: fn(usize) -> Reply,
    /// How often each storage challenge was asked.
    asked: Arc<watch::Sender<BTreeMap<Hash32, usize>>>,
}

impl Default for Host {
    fn default() -> Self {
        Self {
            claims: ClaimSet::default(),
            older: None,
            claims_take: Duration::ZERO,
            ignores_latency: false,
            tagged: None,
            releases: vec![],
            storage: |_| Reply::Missing,
            asked: Arc::new(watch::channel(BTreeMap::new()).0),
        }
    }
}

fn signed_samples(reply: Reply, challenge: &Challenge) -> Answer {
    let sample = (reply == Reply::Invalid).then(|| Slice { chunk: vec![7; 1_024], siblings: vec![] });
    Answer { payload: vec![], samples: vec![sample; challenge.samples().len()] }
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
        let request = request.into_inner();
        let asked_for_older = |older: &&ClaimSet| request.sequence == 7 || request.root == older.root().hash.0.to_vec();
        if !request.root.is_empty() && self.older.is_none() {
            return Err(Status::not_found("no such version"));
        }
        if let Some(older) = self.older.as_ref().filter(asked_for_older) {
            let domain = ClaimDomain { chain_id: 1, provider_registry: Address([1; 20]), provider: ProviderId(1) };
            let set = SignedClaimSet::sign(&domain, 7, older, &receipt_key()).unwrap();
            let claims = older.claims().map(|claim| wire::SignedClaim::new(claim, &Signature65([0; 65])));
            return Ok(Response::new(wire::ClaimsReply { set: Some((&set).into()), claims: claims.collect(), tag_keys: vec![] }));
        }
        let page = self.claims.claims().skip(request.offset as usize);
        let claims = page.map(|claim| wire::SignedClaim::new(claim, &Signature65([0; 65]))).collect();
        let tag_keys = self.claims.tag_keys().map(|key| key.to_bytes().to_vec().into()).collect();
        Ok(Response::new(wire::ClaimsReply { set: None, claims, tag_keys }))
    }

    async fn releases(&self, request: Request<wire::ReleasesRequest>) -> Result<Response<wire::ReleasesReply>, Status> {
        let after = request.into_inner().after_sequence;
        let releases = self.releases.iter().filter(|release| release.sequence > after).cloned().collect();
        Ok(Response::new(wire::ReleasesReply { releases }))
    }

    async fn challenge(&self, request: Request<wire::ChallengeRequest>) -> Result<Response<ChallengeReply>, Status> {
        let challenge = Challenge::try_from(request.into_inner()).unwrap();
        let answer = match challenge.kind {
            Kind::LATENCY_ECHO if self.ignores_latency => std::future::pending().await,
            Kind::AVAILABILITY => Answer::of_payload(availability::echo(&challenge)),
            Kind::LATENCY_ECHO => Answer::of_payload(latency::echo(&challenge)),
            Kind::LATENCY_BLOCK => Answer { payload: vec![], samples: vec![None] },
            Kind::STORAGE => {
                let mut before = 0;
                self.asked.send_modify(|asked| {
                    let times = asked.entry(challenge.digest()).or_default();
                    (before, *times) = (*times, *times + 1);
                });
                match (self.storage)(before) {
                    Reply::Silence => std::future::pending().await,
                    Reply::Honest | Reply::Forged => {
                        let (tagged, asked) = (self.tagged.clone().unwrap(), challenge.clone());
                        let is_forged = (self.storage)(before) == Reply::Forged;
                        tokio::task::spawn_blocking(move || tagged.answer(&asked, is_forged)).await.unwrap()
                    }
                    reply => signed_samples(reply, &challenge),
                }
            }
            _ => return Err(Status::unimplemented("not in these tests")),
        };
        let digest = answer_signing_digest(&challenge, &answer.digest());
        let signature = (challenge.kind == Kind::STORAGE).then(|| receipt_key().sign(&digest).unwrap());
        Ok(Response::new(ChallengeReply::new(answer, signature.as_ref())))
    }

    type IngressStream = futures::stream::BoxStream<'static, Result<wire::IngressReply, Status>>;

    async fn ingress(&self, _: Request<tonic::Streaming<wire::IngressFrame>>) -> Result<Response<Self::IngressStream>, Status> {
        Err(Status::unimplemented("not in these tests"))
    }

    type EgressStream = futures::stream::BoxStream<'static, Result<wire::EgressReply, Status>>;

    async fn egress(&self, _: Request<tonic::Streaming<wire::EgressRequest>>) -> Result<Response<Self::EgressStream>, Status> {
        Err(Status::unimplemented("not in these tests"))
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
    a_claim(1)
}

fn a_claim(object: u8) -> ClaimSet {
    let claim = Claim {
        object_id: Hash32([object; 32]),
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
    params.bandwidth.window_ms = 0;
    params
}

/// Three slots in which whoever is silent on storage strikes out.
fn impatient() -> Params {
    let mut params = params();
    (params.slots, params.reask_ms, params.strikes) = (3, 400, 3);
    params.probing.storage_timeout_ms = 200;
    params
}

struct World {
    epoch: u64,
    measurer: Arc<Measurer>,
    store: Arc<dyn Store>,
    frame: Arc<Frame>,
    _directory: tempfile::TempDir,
}

impl World {
    /// An epoch that starts at `genesis_s`, with one member: us. The beacon is unreachable, so that seeds are the fallback's.
    async fn new(params: Params, genesis_s: u64, sites: Vec<Site>) -> Self {
        Self::of_epoch(0, params, genesis_s, sites, Rebuttals::default()).await
    }

    async fn of_epoch(epoch: u64, params: Params, genesis_s: u64, sites: Vec<Site>, rebuttals: Rebuttals) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let key = bls::SecretKey::key_gen(&[1; 32]).unwrap();
        let public_key = key.public_key();
        let instance = instance();
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
            provider_registry: REGISTRY,
            watchdog: Watchdog::start(Duration::from_secs(60)).unwrap(),
            bend: None,
            rebuttals,
        };
        let records: BTreeMap<ProviderId, ProviderRecord> =
            (1..).map(ProviderId).zip(&sites).map(|(id, site)| (id, record(id, site))).collect();
        let setting = Setting {
            instance,
            epoch,
            genesis_s,
            params,
            kinds: Kinds::standard(),
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
        Self { epoch, measurer: Arc::new(measurer), store, frame, _directory: directory }
    }

    /// An epoch that starts a little more than [`LEAD`] from now.
    async fn ahead(params: Params, sites: Vec<Site>) -> Self {
        Self::new(params, now_ms() / 1_000 + LEAD.as_secs() + 1, sites).await
    }

    /// Epoch 3 after a certified epoch 1, whose ledger says this of provider 1.
    async fn watching(params: Params, site: Site, watched: Watched, rebuttals: Rebuttals) -> Self {
        let genesis_s = now_ms() / 1_000 + LEAD.as_secs() + 1 - 3 * params.epoch_ms() / 1_000;
        let world = Self::of_epoch(3, params, genesis_s, vec![site], rebuttals).await;
        world.certify(1, watched).await;
        world
    }

    /// Stores a certified epoch with this entry on the watch list, and with a slash of provider 1.
    async fn certify(&self, epoch: u64, watched: Watched) {
        let setting = Setting { epoch, ..self.frame.setting.as_ref().clone() };
        let reveals = BTreeMap::new();
        let parent = Ledger::default();
        let inputs = Inputs { setting: &setting, view: 0, parent: &parent, bit_votes_root: Hash32::ZERO, reveals: &reveals };
        let mut outcome = Outcome::compute(&inputs);
        outcome.ledger.watch.insert(ProviderId(1), watched);
        self.store.put_outcome(epoch, &CertifiedEpoch { certificate: vec![], outcome }).await.unwrap();
    }

    /// Measures as the node does: from [`LEAD`] before the epoch, or from now.
    async fn reveal(&self) -> Reveal {
        let lead_ms = LEAD.as_millis() as u64;
        tokio::time::sleep_until(until_unix_ms(self.frame.setting.start_ms() - lead_ms)).await;
        let (verified, _) = self.measurer.clone().run(self.frame.clone(), CancellationToken::new()).await.unwrap();
        verified.reveal
    }

    async fn run(&self) -> Vec<Observation> {
        self.reveal().await.observations.iter().map(|salted| salted.observation.clone()).collect()
    }

    async fn transcripts(&self, provider: u64) -> Vec<Transcript> {
        let bundles = self.store.evidence_about(self.epoch, ProviderId(provider)).await.unwrap();
        bundles.iter().flat_map(|bundle| decode_bundle(&bundle.bundle).unwrap().transcripts).collect()
    }

    /// All asks of a challenge by their numbers: (number, fate).
    async fn asks(&self, challenge: &Hash32) -> Vec<(u32, Fate)> {
        let all = self.transcripts(1).await;
        let mut asks: Vec<(u32, Fate)> =
            all.iter().filter(|t| t.challenge.digest() == *challenge).map(|t| (t.strike, t.outcome.fate())).collect();
        asks.sort_by_key(|(strike, _)| *strike);
        asks
    }

    /// When storage challenges were asked again, in unix microseconds.
    async fn asked_again_us(&self) -> Vec<u64> {
        let mut times = Vec::new();
        for bundle in self.store.evidence_about(self.epoch, ProviderId(1)).await.unwrap() {
            let slot_ms = self.frame.setting.start_ms() + u64::from(bundle.slot) * self.frame.setting.params.slot_ms;
            let again = decode_bundle(&bundle.bundle).unwrap().transcripts.into_iter().filter(|t| t.strike > 0);
            times.extend(again.map(|t| slot_ms * 1_000 + t.scheduled_at_us));
        }
        times.sort_unstable();
        times
    }
}

fn instance() -> Instance {
    Instance { chain_id: 31_337, settlement: Address([7; 20]) }
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

fn counts(seen: &Observation, kind: Kind) -> &Counts {
    seen.of(kind).unwrap()
}

/// Bad events on a kind's first ground.
fn bad(seen: &Observation, kind: Kind) -> u64 {
    counts(seen, kind).bad_on(0)
}

fn everything_is_counted(seen: &Observation) -> bool {
    [Kind::AVAILABILITY, Kind::LATENCY_ECHO, Kind::LATENCY_BLOCK].iter().all(|kind| {
        let counts = counts(seen, *kind);
        counts.counted == counts.scheduled
    })
}

fn latency_counted(seen: &Observation) -> u64 {
    counts(seen, Kind::LATENCY_ECHO).counted
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
    assert_eq!((bad(honest, Kind::AVAILABILITY), bad(honest, Kind::LATENCY_ECHO)), (0, 0), "{honest:?}");
    assert!(everything_is_counted(speechless), "{speechless:?}");
    assert_eq!(bad(speechless, Kind::AVAILABILITY), counts(speechless, Kind::AVAILABILITY).counted);
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
        assert!(everything_is_counted(&seen) && counts(&seen, Kind::AVAILABILITY).counted > 0, "{seen:?}");
        let all = (counts(&seen, Kind::AVAILABILITY).counted, latency_counted(&seen));
        assert_eq!((bad(&seen, Kind::AVAILABILITY), bad(&seen, Kind::LATENCY_ECHO)), all);
        let storage = counts(&seen, Kind::STORAGE);
        assert_eq!((storage.counted, storage.bad_on(Storage::SILENT)), (storage.scheduled, storage.scheduled));
    }
}

// Defence: `Subject::claims` is looked at by every slot; taken once at the start, the last slot is silent, too.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn claims_that_come_late_serve_the_slots_after_them() {
    let host = Host { claims: one_claim(), claims_take: LEAD + Duration::from_secs(1), ..Host::default() };
    let world = World::ahead(params(), vec![host.serve().await]).await;
    let observations = world.run().await;
    assert!(everything_is_counted(&observations[0]), "{observations:?}");
    let stored = world.transcripts(1).await.into_iter().filter(|t| t.challenge.kind == Kind::LATENCY_BLOCK);
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
    let answered = counts(seen, Kind::AVAILABILITY);
    assert_eq!((answered.counted, answered.bad_on(0)), (answered.scheduled, 0), "{seen:?}");
    assert_eq!(latency_counted(seen), 0, "under way at the commit");
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
    let availability = counts(seen, Kind::AVAILABILITY);
    assert!(availability.counted > 0 && availability.counted < availability.scheduled, "{seen:?}");
    assert_eq!((availability.bad_on(0), bad(seen, Kind::LATENCY_ECHO)), (0, 0), "what we missed is not blamed on it: {seen:?}");
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
    assert!(counts(&observations[0], Kind::STORAGE).bad_on(Storage::MISSING) > 0, "there is something to tell: {observations:?}");
    let mut heard = heard.0.lock().unwrap().clone();
    heard.sort();
    let expected = [("epoch", "0"), ("message", "measured"), ("providers", "2")];
    assert_eq!(heard, expected.map(|(name, value)| (name.to_owned(), value.to_owned())));
}

/// The one challenge of the first slot.
async fn first_audit(world: &World) -> Hash32 {
    let all = world.transcripts(1).await;
    let first = all.iter().find(|t| t.challenge.kind == Kind::STORAGE && t.challenge.slot == 0 && t.challenge.epoch == world.epoch);
    first.unwrap().challenge.digest()
}

fn silent() -> Host {
    Host { claims: one_claim(), storage: |_| Reply::Silence, ..Host::default() }
}

// Defence: `ask_open`; without it nobody strikes out and silence is paid like little else. And its turn: without it slots ask side by side.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn silence_is_asked_again_one_at_a_time_and_strikes_out() {
    let world = World::ahead(impatient(), vec![silent().serve().await]).await;
    let reveal = world.reveal().await;
    let first = first_audit(&world).await;
    let asks = world.asks(&first).await;
    assert!(asks.len() >= 3 && asks.iter().all(|(_, fate)| *fate == Fate::Silent), "{asks:?}");
    assert!(asks.iter().map(|(strike, _)| *strike).eq(0..asks.len() as u32), "{asks:?}");
    let seen = &reveal.observations[0].observation;
    assert_eq!(reveal.struck.iter().map(Challenge::digest).collect::<Vec<_>>(), [seen.struck]);
    assert_eq!(counts(seen, Kind::STORAGE).counted, counts(seen, Kind::STORAGE).scheduled, "first asks alone are counted");
    assert_eq!((reveal.facts.len(), seen.witness), (0, Witness::None));
    let times = world.asked_again_us().await;
    assert!(times.windows(2).all(|pair| pair[1] - pair[0] >= 200_000), "each waits for the one before: {times:?}");
}

// Defence: `OpenChallenges::asked` and `proven` over all asks; without them an answered challenge stays open, or a late lie is none.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_answer_to_the_third_ask_closes_and_what_it_admits_is_a_fact() {
    let host = Host { claims: one_claim(), storage: |before| if before < 2 { Reply::Silence } else { Reply::Missing }, ..Host::default() };
    let world = World::ahead(impatient(), vec![host.serve().await]).await;
    let reveal = world.reveal().await;
    let first = first_audit(&world).await;
    assert_eq!(world.asks(&first).await, [(0, Fate::Silent), (1, Fate::Silent), (2, Fate::Missing)], "and then it rests");
    let seen = &reveal.observations[0].observation;
    assert!(seen.struck.is_zero() && reveal.struck.is_empty());
    let storage = counts(seen, Kind::STORAGE);
    assert_eq!((storage.bad_on(Storage::SILENT), storage.bad_on(Storage::MISSING)), (storage.counted, 0), "a late answer mends no count");
    assert_eq!(reveal.facts.len(), 4, "but what it says counts");
}

// Defence: `reopen`; without it a restart forgives every silence before it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_restart_keeps_challenges_open() {
    let host = silent();
    let mut asked = host.asked.subscribe();
    let mut params = impatient();
    params.slots = 4;
    let world = World::ahead(params, vec![host.serve().await]).await;
    let cancel = CancellationToken::new();
    let running = tokio::spawn(world.measurer.clone().run(world.frame.clone(), cancel.clone()));
    asked.wait_for(|asked| asked.values().any(|times| *times >= 2)).await.unwrap();
    cancel.cancel();
    assert!(matches!(running.await.unwrap(), Err(MeasureError::Stopped)));
    let first = first_audit(&world).await;
    let before = asked.borrow()[&first];
    let reveal = world.reveal().await;
    let asks = world.asks(&first).await;
    assert!(asked.borrow()[&first] > before, "asked on");
    assert!(asks.len() >= 3 && asks.iter().all(|(_, fate)| *fate == Fate::Silent), "{asks:?}");
    assert!(asks.iter().map(|(strike, _)| *strike).eq(0..asks.len() as u32), "counted on where it was left: {asks:?}");
    assert_eq!(reveal.struck.len(), 1);
}

/// A challenge of epoch 1 by somebody else.
fn old_challenge(claims: &ClaimSet) -> Challenge {
    Challenge {
        instance: instance(),
        epoch: 1,
        slot: 0,
        oracle: OracleId(9),
        provider: ProviderId(1),
        kind: Kind::STORAGE,
        index: 5,
        class_id: 100,
        claim_root: claims.root().hash,
        claim_blocks: claims.root().blocks,
        chunks: STORAGE_SAMPLES,
        slices_one_in: 0,
        extra: vec![],
        child: [6; 32],
    }
}

// Defence: the watched challenge in `ask_open` and `compile`; without it nobody can witness and silence is never slashed.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_watched_challenge_is_asked_once_a_slot_and_its_silence_witnessed() {
    let challenge = old_challenge(&one_claim());
    let watched = Watched { challenge: challenge.clone(), slashed_in: None };
    let world = World::watching(impatient(), silent().serve().await, watched, Rebuttals::default()).await;
    let reveal = world.reveal().await;
    let asks = world.asks(&challenge.digest()).await;
    assert_eq!(asks, [(1, Fate::Silent), (2, Fate::Silent), (3, Fate::Silent)], "one a slot");
    let seen = &reveal.observations[0].observation;
    assert_eq!(seen.witness, Witness::Silent(challenge.digest()));
    assert_eq!(reveal.struck.iter().map(|struck| struck.epoch).collect::<Vec<_>>(), [3], "what strikes out is our own");
    assert_eq!(counts(seen, Kind::STORAGE).counted, counts(seen, Kind::STORAGE).scheduled, "the watched one is in no count");
}

// Defences: `claims_of`; under the registered claims an answer to an older challenge is no answer, and its fact proves nothing. And
// `fetch_watched`: a member that never held the older set has to fetch it, and one that is not served is silence. Else a provider is silent,
// publishes any other claims, and nobody can ever say so.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_answer_to_the_watched_challenge_is_judged_under_its_own_claims() {
    let older = a_claim(8);
    let challenge = old_challenge(&older);
    let watched = || Watched { challenge: challenge.clone(), slashed_in: None };
    let lies = |before: usize| if before == 0 { Reply::Silence } else { Reply::Invalid };
    for (is_kept, is_served) in [(true, false), (false, true), (false, false)] {
        let older_served = is_served.then(|| older.clone());
        let host = Host { claims: one_claim(), older: older_served, storage: lies, ..Host::default() };
        let world = World::watching(impatient(), host.serve().await, watched(), Rebuttals::default()).await;
        if is_kept {
            world.store.put_claims(1, &older).await.unwrap();
        }
        let reveal = world.reveal().await;
        let seen = &reveal.observations[0].observation;
        let asks = world.asks(&challenge.digest()).await;
        let facts = reveal.facts.iter().filter(|fact| fact.challenge == challenge).count();
        if is_kept || is_served {
            assert_eq!(asks, [(1, Fate::Silent), (2, Fate::Invalid), (3, Fate::Invalid)]);
            assert_eq!((seen.witness, facts), (Witness::Answered(challenge.digest()), 4));
        } else {
            assert_eq!(asks, [(1, Fate::Silent), (2, Fate::Silent), (3, Fate::Silent)]);
            assert_eq!((seen.witness, facts), (Witness::Silent(challenge.digest()), 0), "an answer that nobody can check is silence");
        }
    }
}

fn rebuttal(challenge: &Challenge) -> Rebuttal {
    let signature = receipt_key().sign(&answer_signing_digest(challenge, &signed_samples(Reply::Invalid, challenge).digest())).unwrap();
    let chunks = vec![7; 1_024 * STORAGE_SAMPLES as usize];
    let siblings = vec![vec![]; STORAGE_SAMPLES as usize];
    let answer = LateAnswer { challenge_digest: challenge.digest(), chunks, siblings, signature };
    Rebuttal { provider: ProviderId(1), epoch: 1, answer, tx_hash: Hash32::ZERO, block_number: 4 }
}

// Defence: `rebuttal` in `compile`; without it garbage on the chain clears a silence. That it is slashed once is the core's (`is_refuted`).
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_wrong_rebuttal_is_a_fact() {
    let challenge = old_challenge(&one_claim());
    let watched = Watched { challenge: challenge.clone(), slashed_in: Some(0) };
    let host = Host { claims: one_claim(), storage: |_| Reply::Silence, ..Host::default() };
    let world = World::watching(impatient(), host.serve().await, watched, Rebuttals::known([rebuttal(&challenge)])).await;
    let reveal = world.reveal().await;
    assert_eq!(world.asks(&challenge.digest()).await, [], "what is slashed is not asked");
    assert_eq!(reveal.observations[0].observation.witness, Witness::None);
    assert_eq!(reveal.facts.iter().filter(|fact| fact.challenge == challenge).count(), 4);
}

// Defence: `recall`; without it a provider whose list takes longer than the lead is silent in every epoch's first slot.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn claims_that_are_kept_serve_the_first_slot() {
    let host = Host { claims: one_claim(), claims_take: Duration::from_secs(600), ..Host::default() };
    let world = World::ahead(params(), vec![host.serve().await]).await;
    world.store.put_claims(0, &one_claim()).await.unwrap();
    world.run().await;
    let stored: Vec<Transcript> = world.transcripts(1).await.into_iter().filter(|t| t.challenge.kind == Kind::LATENCY_BLOCK).collect();
    assert!(!stored.is_empty() && stored.iter().all(|t| t.outcome.fate() == Fate::Missing));
}
