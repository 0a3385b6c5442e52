//! The `Provider` service: who we are, what we claim, answers, seals.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use assay_core::challenge::kinds::{availability, latency};
use assay_core::challenge::{Answer, Challenge, Kind, Sample, answer_signing_digest, seal_digest, seal_leaf};
use assay_core::claim::{ClaimRoot, ClaimSet};
use assay_core::hash::Hash32;
use assay_core::ids::{Instance, OracleId, ProviderId};
use assay_core::merkle::StandardTree;
use assay_core::replica::CHUNKS_PER_BLOCK;
use assay_core::slice::Slice;
use assay_proto::convert;
use assay_proto::provider::v1 as wire;
use assay_proto::provider::v1::provider_server::Provider;
use tokio::time::timeout;
use tonic::{Request, Response, Status, Streaming};
use tracing::warn;

use crate::bandwidth;
use crate::error::StoreError;
use crate::files::{Files, Replica, present};
use crate::given::{MAX_ANSWERS_PER_SLOT, SlotKey};
use crate::ingest::MAX_FRAME_BYTES;
use crate::store::Store;

/// The most claims of one page.
const MAX_PAGE: u32 = 1000;

/// The service for oracles.
pub struct ProviderService {
    store: Arc<Store>,
}

impl ProviderService {
    /// Over an opened store.
    pub fn new(store: Arc<Store>) -> Self {
        Self { store }
    }

    /// What the `Challenge` call replies.
    pub(crate) async fn answer(&self, request: wire::ChallengeRequest) -> Result<wire::ChallengeReply, StoreError> {
        let challenge = Challenge::try_from(request)?;
        self.store.expect_ours(&challenge.instance, challenge.provider)?;
        let answer = match challenge.kind {
            Kind::AVAILABILITY => Answer::of_payload(availability::echo(&challenge)),
            Kind::LATENCY_ECHO => Answer::of_payload(latency::echo(&challenge)),
            Kind::LATENCY_BLOCK => self.block(&challenge).await?,
            Kind::STORAGE => Answer { payload: Vec::new(), samples: self.slices(&challenge).await? },
            kind => return Err(StoreError::UnknownKind(kind)),
        };
        let digest = answer.digest();
        if challenge.kind == Kind::STORAGE {
            let signature = self.store.key().sign(&answer_signing_digest(&challenge, &digest))?;
            return Ok(wire::ChallengeReply::new(answer, Some(&signature)));
        }
        let key = SlotKey { oracle: challenge.oracle, epoch: challenge.epoch, slot: challenge.slot };
        self.store.given().remember(key, (challenge.digest(), digest))?;
        Ok(wire::ChallengeReply::new(answer, None))
    }

    async fn block(&self, challenge: &Challenge) -> Result<Answer, StoreError> {
        let samples = self.slices(challenge).await?;
        let payload = match samples.first() {
            Some(Some(slice)) => latency::block_mac(challenge, &slice.chunk).to_vec(),
            _ => Vec::new(),
        };
        Ok(Answer { payload, samples })
    }

    async fn slices(&self, challenge: &Challenge) -> Result<Vec<Option<Slice>>, StoreError> {
        if challenge.claim_blocks == 0 {
            return Err(StoreError::NothingClaimed);
        }
        let set = self.store.claim_set(&ClaimRoot { hash: challenge.claim_root, blocks: challenge.claim_blocks }).await?;
        let samples = challenge.samples();
        Ok(self.store.read(move |files| read_slices(files, &set, &samples)).await??)
    }

    async fn sealed(&self, request: wire::SealRequest) -> Result<wire::SealReply, StoreError> {
        let instance = Instance { chain_id: request.chain_id, settlement: convert::address(&request.settlement, "settlement")? };
        let provider = ProviderId(request.provider_id);
        self.store.expect_ours(&instance, provider)?;
        if request.answers.len() > MAX_ANSWERS_PER_SLOT {
            return Err(StoreError::SealCount(MAX_ANSWERS_PER_SLOT));
        }
        let mut pairs = Vec::with_capacity(request.answers.len());
        for answer in &request.answers {
            let challenge = convert::hash(&answer.challenge_digest, "challenge_digest")?;
            pairs.push((challenge, convert::hash(&answer.answer_digest, "answer_digest")?));
        }
        let key = SlotKey { oracle: OracleId(request.oracle_id), epoch: request.epoch, slot: request.slot };
        self.store.given().check(key, &pairs)?;
        let root = StandardTree::new(pairs.iter().map(|(challenge, answer)| seal_leaf(challenge, answer)).collect()).root();
        let count = pairs.len() as u64;
        let digest = seal_digest(&instance, provider, key.oracle, key.epoch, key.slot, count, &root);
        let signature = self.store.key().sign(&digest)?;
        Ok(wire::SealReply { answers_root: convert::wire_bytes(&root.0), count, signature: convert::wire_bytes(&signature.0) })
    }

    async fn page(&self, request: wire::ClaimsRequest) -> Result<wire::ClaimsReply, StoreError> {
        let index = self.store.index();
        let set = match request.sequence {
            0 => index.newest().await?,
            sequence => Some(index.set(sequence).await?.ok_or(StoreError::UnknownSequence(sequence))?),
        };
        let Some(set) = set else { return Ok(wire::ClaimsReply::default()) };
        let limit = request.limit.min(MAX_PAGE);
        let claims = match limit {
            0 => Vec::new(),
            _ => index.claims_page(set.sequence, request.offset, limit).await?,
        };
        let claims = claims.iter().map(|owned| wire::SignedClaim::new(&owned.claim, &owned.signature));
        Ok(wire::ClaimsReply { claims: claims.collect(), set: Some((&set).into()) })
    }

    async fn description(&self) -> Result<wire::DescribeReply, StoreError> {
        let domain = self.store.domain();
        Ok(wire::DescribeReply {
            provider_id: domain.provider.0,
            chain_id: domain.chain_id,
            provider_registry: convert::wire_bytes(&domain.provider_registry.0),
            settlement: convert::wire_bytes(&self.store.instance().settlement.0),
            receipt_key: convert::wire_bytes(&self.store.key().address().0),
            newest: self.store.index().newest().await?.as_ref().map(Into::into),
            max_frame_bytes: MAX_FRAME_BYTES as u32,
            version: env!("CARGO_PKG_VERSION").to_owned(),
        })
    }
}

/// Reads every sample; what is gone or does not lead to its root is missing. An error of the system is none of that: a signed "missing" is
/// slashed, and whoever fills our table of open files must not bring it about.
fn read_slices(files: &Files, set: &ClaimSet, samples: &[Sample]) -> io::Result<Vec<Option<Slice>>> {
    let mut opened: HashMap<Hash32, Option<Replica>> = HashMap::new();
    let mut read = |sample: &Sample| {
        let Some((claim, block)) = set.locate(sample.block) else { return Ok(None) };
        let replica = match opened.entry(claim.root) {
            Entry::Occupied(replica) => replica.into_mut(),
            Entry::Vacant(free) => free.insert(present(files.open_replica(&claim.root, claim.bytes()))?),
        };
        let chunk = block.saturating_mul(CHUNKS_PER_BLOCK).saturating_add(u64::from(sample.chunk));
        let slice = match replica {
            Some(replica) => replica.slice(chunk)?,
            None => None,
        };
        if slice.is_none() {
            warn!(replica = %claim.root, chunk, "a stored chunk is missing or damaged");
        }
        Ok(slice)
    };
    samples.iter().map(&mut read).collect()
}

#[tonic::async_trait]
impl Provider for ProviderService {
    async fn describe(&self, _: Request<wire::DescribeRequest>) -> Result<Response<wire::DescribeReply>, Status> {
        Ok(Response::new(self.description().await?))
    }

    async fn claims(&self, request: Request<wire::ClaimsRequest>) -> Result<Response<wire::ClaimsReply>, Status> {
        Ok(Response::new(self.page(request.into_inner()).await?))
    }

    async fn challenge(&self, request: Request<wire::ChallengeRequest>) -> Result<Response<wire::ChallengeReply>, Status> {
        let limit = Duration::from_millis(self.store.limits().challenge_timeout_ms);
        let reply = timeout(limit, self.answer(request.into_inner())).await.map_err(|_| StoreError::TooBusy)??;
        Ok(Response::new(reply))
    }

    type IngressStream = bandwidth::Replies<wire::IngressReply>;

    async fn ingress(&self, request: Request<Streaming<wire::IngressFrame>>) -> Result<Response<Self::IngressStream>, Status> {
        Ok(Response::new(bandwidth::ingress(Arc::clone(&self.store), request.into_inner()).await?))
    }

    type EgressStream = bandwidth::Replies<wire::EgressReply>;

    async fn egress(&self, request: Request<Streaming<wire::EgressRequest>>) -> Result<Response<Self::EgressStream>, Status> {
        Ok(Response::new(bandwidth::egress(Arc::clone(&self.store), request.into_inner()).await?))
    }

    async fn seal(&self, request: Request<wire::SealRequest>) -> Result<Response<wire::SealReply>, Status> {
        Ok(Response::new(self.sealed(request.into_inner()).await?))
    }
}
