//! A real provider server on loopback that follows a script.

use std::collections::BTreeMap;
use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use assay_challenger::link::{Line, Link, LinkConfig};
use assay_challenger::measure::{Assignment, SlotReport, Target, run_slot};
use assay_challenger::watchdog::Watchdog;
use assay_core::bls::{self, Domain};
use assay_core::challenge::kinds::{availability, latency, locality};
use assay_core::challenge::schedule::vrf_message;
use assay_core::challenge::{Answer, Challenge, Kind, Kinds, Sample, answer_signing_digest, seal_digest};
use assay_core::claim::{Claim, ClaimDomain, ClaimRoot, ClaimSet, SignedClaimSet};
use assay_core::hash::Hash32;
use assay_core::ids::{Address, Instance, OracleId, ProviderId};
use assay_core::params::Params;
use assay_core::replica::{BLOCK_BYTES, blocks_for};
use assay_core::secp::{SecretKey, Signature65};
use assay_core::slice::{self, Node, OutboardBuilder, Slice};
use assay_core::transcript::{Pair, SlotSchedule, Transcript, answers_root};
use assay_proto::provider::v1::provider_server::{Provider, ProviderServer};
use assay_proto::provider::v1::{self as wire, ChallengeReply};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use tonic::{Request, Response, Status, Streaming};

/// How the provider behaves.
#[derive(Clone, Copy, PartialEq, Debug)]
pub enum Script {
    Honest,
    /// Never replies to a challenge.
    Silent,
    /// Replies rightly after this long.
    Slow(Duration),
    /// Fails at once.
    Refuse,
    /// Fails the first request of every challenge.
    FailFirst,
    /// Random echoes, MACs and chunks; signs what it says.
    Garbage,
    /// Answers of another kind than asked for.
    WrongKind,
    /// No signature, a payload longer than any.
    Malformed,
    /// Right, but signed by another key.
    Stranger,
    /// States that nothing is there.
    Missing,
    /// More bytes than the limit.
    Oversized,
}

pub struct Replica {
    pub claim: Claim,
    bytes: Vec<u8>,
    nodes: Vec<Node>,
}

impl Replica {
    fn new(seed: u8, object_length: u64) -> Self {
        let blocks = blocks_for(object_length);
        let mut bytes = vec![0; blocks as usize * BLOCK_BYTES];
        blake3::Hasher::new().update(&[seed]).finalize_xof().fill(&mut bytes);
        let (mut builder, mut nodes) = (OutboardBuilder::new(bytes.len() as u64), vec![]);
        builder.update(&bytes, &mut nodes).unwrap();
        let claim = Claim {
            object_id: Hash32([seed; 32]),
            replica_index: 0,
            root: builder.finish().unwrap(),
            object_length,
            blocks,
            tag_key_id: Hash32::ZERO,
            owner: Address([seed; 20]),
        };
        Self { claim, bytes, nodes }
    }

    fn slice(&self, chunk: u64) -> Slice {
        let total = self.bytes.len() as u64;
        let (start, length) = slice::group_range(total, chunk);
        let group = &self.bytes[start as usize..(start + length) as usize];
        let node = |position| self.nodes.iter().find(|node| node.position == position).map(|node| node.pair);
        slice::prove(&self.claim.root, total, chunk, group, node).unwrap()
    }
}

pub struct Scripted {
    pub script: Script,
    pub key: SecretKey,
    pub claims: ClaimSet,
    replicas: Vec<Replica>,
    /// Requests per challenge index.
    pub asked: Mutex<HashMap<u32, u32>>,
    pub described: AtomicU64,
    pub claims_served: Mutex<Vec<Claim>>,
    pub refuse_seal: bool,
}

impl Scripted {
    pub fn new(script: Script) -> Self {
        let replicas = vec![Replica::new(1, 100_000), Replica::new(2, 300_000)];
        let claims = ClaimSet::new(replicas.iter().map(|replica| replica.claim.clone()).collect()).unwrap();
        Self {
            script,
            key: SecretKey::from_bytes(&[5; 32]).unwrap(),
            claims_served: Mutex::new(claims.claims().cloned().collect()),
            claims,
            replicas,
            asked: Mutex::default(),
            described: AtomicU64::new(0),
            refuse_seal: false,
        }
    }

    fn slices(&self, challenge: &Challenge) -> Vec<Slice> {
        challenge.samples().iter().map(|sample| self.slice(sample)).collect()
    }

    fn slice(&self, sample: &Sample) -> Slice {
        let (claim, block) = self.claims.locate(sample.block).unwrap();
        let replica = self.replicas.iter().find(|replica| replica.claim == *claim).unwrap();
        replica.slice(block * 124 + u64::from(sample.chunk))
    }

    fn honest(&self, challenge: &Challenge) -> Answer {
        match challenge.kind {
            Kind::AVAILABILITY => Answer::of_payload(availability::echo(challenge)),
            Kind::LATENCY_ECHO => Answer::of_payload(latency::echo(challenge)),
            Kind::LATENCY_BLOCK => {
                let slice = self.slices(challenge).remove(0);
                Answer { payload: latency::block_mac(challenge, &slice.chunk).to_vec(), samples: vec![Some(slice)] }
            }
            Kind::LOCALITY => {
                let read = |sample: &Sample| Ok::<_, std::convert::Infallible>(Some(self.slice(sample)));
                Answer { payload: vec![], samples: locality::walk(challenge, read).unwrap() }
            }
            _ => Answer { payload: vec![], samples: self.slices(challenge).into_iter().map(Some).collect() },
        }
    }

    fn garbage(&self, challenge: &Challenge) -> Answer {
        let mut answer = self.honest(challenge);
        match challenge.kind {
            Kind::STORAGE | Kind::LOCALITY => answer.samples.iter_mut().flatten().for_each(|slice| slice.chunk[0] ^= 1),
            _ => answer.payload[0] ^= 1,
        }
        answer
    }

    fn signed(&self, challenge: &Challenge, answer: Answer, key: &SecretKey) -> ChallengeReply {
        let signature: Option<Signature65> =
            (challenge.kind == Kind::STORAGE).then(|| key.sign(&answer_signing_digest(challenge, &answer.digest())).unwrap());
        ChallengeReply::new(answer, signature.as_ref())
    }

    async fn answer(&self, challenge: &Challenge, times_asked: u32) -> Result<ChallengeReply, Status> {
        let reply = |answer| Ok(self.signed(challenge, answer, &self.key));
        match self.script {
            Script::Honest => reply(self.honest(challenge)),
            Script::Silent => std::future::pending().await,
            Script::Slow(delay) => {
                tokio::time::sleep(delay).await;
                reply(self.honest(challenge))
            }
            Script::Refuse => Err(Status::resource_exhausted("busy")),
            Script::FailFirst if times_asked == 1 => Err(Status::unavailable("once")),
            Script::FailFirst => reply(self.honest(challenge)),
            Script::Garbage => reply(self.garbage(challenge)),
            Script::WrongKind => reply(match challenge.kind {
                Kind::STORAGE | Kind::LATENCY_BLOCK | Kind::LOCALITY => Answer::of_payload([0; 32]),
                _ => Answer { payload: vec![], samples: vec![None] },
            }),
            Script::Malformed => Ok(match challenge.kind {
                Kind::STORAGE => ChallengeReply::default(),
                _ => ChallengeReply { payload: vec![0; Answer::MAX_PAYLOAD_BYTES + 1].into(), ..Default::default() },
            }),
            Script::Stranger => Ok(self.signed(challenge, self.honest(challenge), &SecretKey::from_bytes(&[6; 32]).unwrap())),
            Script::Missing => reply(match challenge.kind {
                Kind::STORAGE => Answer { payload: vec![], samples: vec![None; 30] },
                Kind::LATENCY_BLOCK | Kind::LOCALITY => Answer { payload: vec![], samples: vec![None] },
                _ => self.honest(challenge),
            }),
            Script::Oversized => Ok(ChallengeReply { payload: vec![0; 3 << 20].into(), ..Default::default() }),
        }
    }
}

#[tonic::async_trait]
impl Provider for Scripted {
    async fn describe(&self, _: Request<wire::DescribeRequest>) -> Result<Response<wire::DescribeReply>, Status> {
        self.described.fetch_add(1, Ordering::Relaxed);
        let version = if self.script == Script::Oversized { "x".repeat(3 << 20) } else { String::new() };
        Ok(Response::new(wire::DescribeReply { version, ..Default::default() }))
    }

    async fn releases(&self, _: Request<wire::ReleasesRequest>) -> Result<Response<wire::ReleasesReply>, Status> {
        Err(Status::unimplemented("nothing was released"))
    }

    async fn claims(&self, request: Request<wire::ClaimsRequest>) -> Result<Response<wire::ClaimsReply>, Status> {
        let wire::ClaimsRequest { offset, limit, .. } = request.into_inner();
        let served = self.claims_served.lock().unwrap().clone();
        let domain = ClaimDomain { chain_id: 1, provider_registry: Address([1; 20]), provider: ProviderId(1) };
        let set = SignedClaimSet::sign(&domain, 1, &self.claims, &self.key).unwrap();
        // One a page, so that paging is seen.
        let page = served.iter().skip(offset as usize).take(limit.min(1) as usize);
        let claims = page.map(|claim| wire::SignedClaim::new(claim, &Signature65([0; 65]))).collect();
        Ok(Response::new(wire::ClaimsReply { set: Some((&set).into()), claims, tag_keys: vec![] }))
    }

    async fn challenge(&self, request: Request<wire::ChallengeRequest>) -> Result<Response<ChallengeReply>, Status> {
        let challenge = Challenge::try_from(request.into_inner()).map_err(|error| Status::invalid_argument(error.to_string()))?;
        let times_asked = {
            let mut asked = self.asked.lock().unwrap();
            let times = asked.entry(challenge.index).or_default();
            *times += 1;
            *times
        };
        self.answer(&challenge, times_asked).await.map(Response::new)
    }

    type IngressStream = futures::stream::Empty<Result<wire::IngressReply, Status>>;

    async fn ingress(&self, _: Request<Streaming<wire::IngressFrame>>) -> Result<Response<Self::IngressStream>, Status> {
        Err(Status::unavailable("no window is scheduled here"))
    }

    type EgressStream = futures::stream::Empty<Result<wire::EgressReply, Status>>;

    async fn egress(&self, _: Request<Streaming<wire::EgressRequest>>) -> Result<Response<Self::EgressStream>, Status> {
        Err(Status::unavailable("no window is scheduled here"))
    }

    async fn seal(&self, request: Request<wire::SealRequest>) -> Result<Response<wire::SealReply>, Status> {
        if self.refuse_seal {
            return Err(Status::failed_precondition("never gave that"));
        }
        let request = request.into_inner();
        let word = |bytes: &[u8]| Hash32::from_slice(bytes).unwrap();
        let answers: Vec<_> = request.answers.iter().map(|a| (word(&a.challenge_digest), word(&a.answer_digest))).collect();
        let (root, count) = (answers_root(&answers), answers.len() as u64);
        let (provider, oracle) = (ProviderId(request.provider_id), OracleId(request.oracle_id));
        let digest = seal_digest(&instance(), provider, oracle, request.epoch, request.slot, count, &root);
        let key = match self.script {
            Script::Stranger => SecretKey::from_bytes(&[6; 32]).unwrap(),
            _ => self.key.clone(),
        };
        let signature = key.sign(&digest).unwrap().0.to_vec().into();
        let answers_root = root.0.to_vec().into();
        let count = if self.script == Script::Garbage { count + 1 } else { count };
        Ok(Response::new(wire::SealReply { answers_root, count, signature }))
    }
}

pub fn instance() -> Instance {
    Instance { chain_id: 31_337, settlement: Address([7; 20]) }
}

/// A short, busy slot. Slip and stalls are tolerated: other tests share the machine.
pub fn params() -> Params {
    let mut params = Params::devnet();
    params.slot_ms = 400;
    let probing = &mut params.probing;
    probing.availability_mean_ms = 60;
    probing.latency_mean_ms = 15;
    probing.storage_audits_per_slot = 2;
    (probing.retry_first_ms, probing.retry_second_ms) = (50, 100);
    (probing.answer_timeout_ms, probing.storage_timeout_ms) = (5_000, 5_000);
    (probing.send_slip_ms, probing.stall_ms) = (60_000, 60_000);
    params
}

/// A running provider and a link to it.
pub struct Stage {
    pub provider: Arc<Scripted>,
    pub link: Link,
    pub watchdog: Watchdog,
    pub params: Params,
    pub cancel: CancellationToken,
    pub know_claims: bool,
}

impl Stage {
    pub async fn new(script: Script) -> Self {
        Self::with(Scripted::new(script)).await
    }

    pub async fn with(provider: Scripted) -> Self {
        let provider = Arc::new(provider);
        let (incoming, address) = assay_daemon::grpc::bind("127.0.0.1:0".parse().unwrap()).await.unwrap();
        let server = tonic::transport::Server::builder().add_service(ProviderServer::from_arc(provider.clone()));
        tokio::spawn(server.serve_with_incoming(incoming));
        let endpoint = format!("http://{address}");
        let config = LinkConfig { allow_private: true, ..LinkConfig::default() };
        Self {
            provider,
            link: Link::open(&endpoint, &config).await.unwrap(),
            watchdog: Watchdog::start(Duration::from_secs(60)).unwrap(),
            params: params(),
            cancel: CancellationToken::new(),
            know_claims: true,
        }
    }

    pub fn assignment(&self) -> Assignment {
        self.assignment_of(self.provider.claims.root())
    }

    pub fn assignment_of(&self, claims: ClaimRoot) -> Assignment {
        let (oracle, provider, kinds) = (OracleId(3), ProviderId(9), Kinds::standard());
        let pair = Pair { instance: instance(), epoch: 4, oracle, provider, class_id: 100, claims };
        let message = vrf_message(&instance(), 4, 2, &Hash32([1; 32]));
        let vrf = bls::SecretKey::key_gen(&[1; 32]).unwrap().sign(Domain::Vrf, &message);
        let schedule = SlotSchedule::new(pair, 2, &vrf, &[], &self.params.classes[0], &self.params, kinds);
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
        Assignment {
            instance: instance(),
            params: Arc::new(self.params.clone()),
            epoch: 4,
            slot: 2,
            slot_start_unix_ms: now.as_millis() as u64 + 20,
            oracle,
            provider: Target { id: provider, class_id: 100, claims, receipt_key: self.provider.key.address() },
            claims: self.know_claims.then(|| Arc::new(self.provider.claims.clone())),
            kinds,
            extra: BTreeMap::new(),
            schedule: Arc::new(schedule),
        }
    }

    /// Measures one slot.
    pub async fn run(&self) -> (SlotReport, Vec<Transcript>) {
        self.run_assignment(self.assignment()).await
    }

    pub async fn run_assignment(&self, assignment: Assignment) -> (SlotReport, Vec<Transcript>) {
        self.run_over(&self.link.clone().into(), assignment).await
    }

    pub async fn run_over(&self, line: &Line, assignment: Assignment) -> (SlotReport, Vec<Transcript>) {
        let (sink, mut source) = mpsc::channel(8);
        let collect = async {
            let mut transcripts = vec![];
            while let Some(transcript) = source.recv().await {
                transcripts.push(transcript);
            }
            transcripts
        };
        tokio::join!(run_slot(assignment, line, &self.watchdog, sink, self.cancel.clone()), collect)
    }
}
