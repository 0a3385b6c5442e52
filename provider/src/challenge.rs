//! The `Provider` service: who we are, what we claim, answers, seals.

use std::sync::Arc;
use std::time::Duration;

use assay_core::challenge::kinds::{availability, latency};
use assay_core::challenge::{Answer, Challenge, Kind, Kinds, answer_signing_digest, seal_digest, seal_leaf};
use assay_core::claim::{ClaimRoot, ClaimSet};
use assay_core::ids::{Instance, OracleId, ProviderId};
use assay_core::merkle::StandardTree;
use assay_core::secp::Signature65;
use assay_core::slice::Slice;
use assay_proto::convert;
use assay_proto::provider::v1 as wire;
use assay_proto::provider::v1::provider_server::Provider;
use tokio::time::timeout;
use tonic::{Request, Response, Status, Streaming};

use crate::bandwidth;
use crate::error::StoreError;
use crate::given::{MAX_ANSWERS_PER_SLOT, SlotKey};
use crate::index::ReleasedClaim;
use crate::ingest::MAX_FRAME_BYTES;
use crate::storage;
use crate::store::Store;

/// The most claims or releases of one page.
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
        if !challenge.has_possible_extra() {
            return Err(convert::malformed("extra").into());
        }
        // More chunks than its kind asks for are no audit, and would cost us as much as we let them.
        if Kinds::standard().get(challenge.kind).is_some_and(|plug| plug.chunks() != challenge.chunks) {
            return Err(convert::malformed("chunks").into());
        }
        let answer = match challenge.kind {
            Kind::AVAILABILITY => Answer::of_payload(availability::echo(&challenge)),
            Kind::LATENCY_ECHO => Answer::of_payload(latency::echo(&challenge)),
            Kind::LATENCY_BLOCK => self.block(&challenge).await?,
            Kind::STORAGE => self.storage(&challenge).await?,
            Kind::LOCALITY => self.chain(&challenge).await?,
            kind => return Err(StoreError::UnknownKind(kind)),
        };
        if challenge.kind == Kind::STORAGE {
            let signature = self.signed(&challenge, &answer)?;
            return Ok(wire::ChallengeReply::new(answer, Some(&signature)));
        }
        let digest = answer.digest();
        let key = SlotKey { oracle: challenge.oracle, epoch: challenge.epoch, slot: challenge.slot };
        self.store.given().remember(key, (challenge.digest(), digest))?;
        Ok(wire::ChallengeReply::new(answer, None))
    }

    /// What goes to the chain: slices, whatever the storage challenge would have wanted here.
    pub(crate) async fn late_answer(&self, challenge: &Challenge) -> Result<(Answer, Signature65), StoreError> {
        self.store.expect_ours(&challenge.instance, challenge.provider)?;
        let answer = Answer { payload: Vec::new(), samples: self.slices(challenge).await? };
        let signature = self.signed(challenge, &answer)?;
        Ok((answer, signature))
    }

    fn signed(&self, challenge: &Challenge, answer: &Answer) -> Result<Signature65, StoreError> {
        Ok(self.store.key().sign(&answer_signing_digest(challenge, &answer.digest()))?)
    }

    async fn block(&self, challenge: &Challenge) -> Result<Answer, StoreError> {
        let samples = self.slices(challenge).await?;
        let payload = match samples.first() {
            Some(Some(slice)) => latency::block_mac(challenge, &slice.chunk).to_vec(),
            _ => Vec::new(),
        };
        Ok(Answer { payload, samples })
    }

    /// By compact proofs where the challenge asks for them, by slices elsewhere.
    async fn storage(&self, challenge: &Challenge) -> Result<Answer, StoreError> {
        let set = self.claims_of(challenge).await?;
        if challenge.compact_plan(&set).is_empty() {
            return Ok(Answer { payload: Vec::new(), samples: self.slices(challenge).await? });
        }
        let (claims, asked) = (Arc::clone(&set), challenge.clone());
        let (gathered, found) = self.store.read(move |files| storage::gather(files, &claims, &asked)).await??;
        self.store.note(found).await;
        let mut powers = storage::PowersByKey::new();
        for key in gathered.keys() {
            powers.insert(key, self.store.powers(key).await?.1);
        }
        self.store.compute(move || gathered.prove(&set, &powers)).await?
    }

    async fn slices(&self, challenge: &Challenge) -> Result<Vec<Option<Slice>>, StoreError> {
        let set = self.claims_of(challenge).await?;
        let samples = challenge.samples();
        let (slices, found) = self.store.read(move |files| storage::read_slices(files, &set, &samples)).await??;
        self.store.note(found).await;
        Ok(slices)
    }

    async fn chain(&self, challenge: &Challenge) -> Result<Answer, StoreError> {
        let (set, asked) = (self.claims_of(challenge).await?, challenge.clone());
        let (samples, found) = self.store.read(move |files| storage::read_chain(files, &set, &asked)).await??;
        self.store.note(found).await;
        Ok(Answer { payload: Vec::new(), samples })
    }

    async fn claims_of(&self, challenge: &Challenge) -> Result<Arc<ClaimSet>, StoreError> {
        if challenge.claim_blocks == 0 {
            return Err(StoreError::NothingClaimed);
        }
        self.store.claim_set(&ClaimRoot { hash: challenge.claim_root, blocks: challenge.claim_blocks }).await
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
        let sequence = match request.root.is_empty() {
            true => request.sequence,
            false => {
                let root = ClaimRoot { hash: convert::hash(&request.root, "root")?, blocks: request.blocks };
                index.sequence_of(&root).await?.ok_or(StoreError::UnknownClaimSet(root))?
            }
        };
        let set = match sequence {
            0 => index.newest().await?,
            sequence => Some(index.set(sequence).await?.ok_or(StoreError::UnknownSequence(sequence))?),
        };
        let Some(set) = set else { return Ok(wire::ClaimsReply::default()) };
        let limit = request.limit.min(MAX_PAGE);
        let claims = match limit {
            0 => Vec::new(),
            _ => index.claims_page(set.sequence, request.offset, limit).await?,
        };
        let named = claims.iter().map(|owned| owned.claim.tag_key_id).filter(|id| !id.is_zero()).collect();
        let tag_keys = index.tag_keys(named).await?.iter().map(|key| convert::wire_bytes(&key.to_bytes())).collect();
        let claims = claims.iter().map(|owned| wire::SignedClaim::new(&owned.claim, &owned.signature));
        Ok(wire::ClaimsReply { claims: claims.collect(), set: Some((&set).into()), tag_keys })
    }

    async fn released(&self, request: wire::ReleasesRequest) -> Result<wire::ReleasesReply, StoreError> {
        let limit = request.limit.min(MAX_PAGE);
        let releases = self.store.index().releases_after(request.after_sequence, limit).await?;
        Ok(wire::ReleasesReply { releases: releases.iter().map(ReleasedClaim::to_wire).collect() })
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
            damaged_blocks: self.store.damaged_blocks().await?,
            scrubbed_at: self.store.index().scrubbed_at().await?.map_or(0, i64::cast_unsigned),
        })
    }
}

#[tonic::async_trait]
impl Provider for ProviderService {
    async fn describe(&self, _: Request<wire::DescribeRequest>) -> Result<Response<wire::DescribeReply>, Status> {
        Ok(Response::new(self.description().await?))
    }

    async fn claims(&self, request: Request<wire::ClaimsRequest>) -> Result<Response<wire::ClaimsReply>, Status> {
        Ok(Response::new(self.page(request.into_inner()).await?))
    }

    async fn releases(&self, request: Request<wire::ReleasesRequest>) -> Result<Response<wire::ReleasesReply>, Status> {
        Ok(Response::new(self.released(request.into_inner()).await?))
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
