//! The `Ingest` service: replicas in and out.

use std::sync::Arc;
use std::time::Duration;

use assay_core::claim::SignedClaimSet;
use assay_core::ids::ProviderId;
use assay_proto::convert;
use assay_proto::provider::v1 as wire;
use assay_proto::provider::v1::ingest_server::Ingest;
use bytes::Bytes;
use tokio::sync::mpsc;
use tokio::task::spawn_blocking;
use tokio::time::timeout;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status, Streaming};

use crate::error::StoreError;
use crate::files::{Upload, upload_bytes};
use crate::index::OwnedClaim;
use crate::retrieve::{Download, Groups};
use crate::store::Store;

/// The most bytes of one frame, in both directions.
pub const MAX_FRAME_BYTES: usize = 256 * 1024;
/// Frames of a download that wait for the network.
const FRAMES_AHEAD: usize = 4;
/// Groups that wait for the network.
const GROUPS_AHEAD: usize = 32;

/// The service for builders.
pub struct IngestService {
    store: Arc<Store>,
}

impl IngestService {
    /// Over an opened store.
    pub fn new(store: Arc<Store>) -> Self {
        Self { store }
    }

    async fn proposed(&self, request: wire::ProposeRequest) -> Result<wire::ProposeReply, StoreError> {
        self.store.expect_provider(ProviderId(request.provider_id))?;
        let (claim, signature) = request.claim.ok_or(convert::absent("claim"))?.parse()?;
        let progress = self.store.propose(OwnedClaim { claim, signature }).await?;
        Ok(wire::ProposeReply {
            received_bytes: progress.received_bytes,
            committed: progress.committed,
            needs_tag_key: progress.needs_tag_key,
        })
    }

    async fn uploaded(&self, mut frames: Streaming<wire::UploadFrame>) -> Result<wire::UploadReply, Status> {
        let _turn = self.store.transfer()?;
        let idle = Duration::from_secs(self.store.limits().upload_idle_s);
        let mut next = async || timeout(idle, frames.message()).await.map_err(|_| StoreError::Idle)?;
        let Some(mut frame) = next().await? else {
            return Err(StoreError::Malformed(convert::absent("claim_hash")).into());
        };
        let claim_hash = convert::hash(&frame.claim_hash, "claim_hash").map_err(StoreError::from)?;
        let (_in_use, owned) = self.store.use_proposal(claim_hash).await?;
        let files = self.store.files().clone();
        let total = upload_bytes(&owned.claim);
        let opened = spawn_blocking(move || {
            Ok((files.received(&claim_hash, &owned.claim)?, Arc::new(files.open_upload(&claim_hash, &owned.claim)?)))
        });
        let (received, upload) = opened.await.map_err(StoreError::from)?.map_err(|error: std::io::Error| StoreError::from(error))?;
        let mut receiving = Receiving { upload, received, total };
        loop {
            receiving.append(frame.offset, frame.data).await?;
            match next().await? {
                Some(following) => frame = following,
                None => return Ok(wire::UploadReply { received_bytes: receiving.received }),
            }
        }
    }

    async fn committed(&self, request: wire::CommitRequest) -> Result<SignedClaimSet, StoreError> {
        let claim_hash = convert::hash(&request.claim_hash, "claim_hash")?;
        let store = Arc::clone(&self.store);
        // A task of its own: what has begun is finished even when the builder hangs up.
        let task = tokio::spawn(async move {
            let _turn = store.transfer()?;
            store.commit(claim_hash).await
        });
        task.await?
    }

    async fn put(&self, request: wire::PutTagKeyRequest) -> Result<(), StoreError> {
        let key = convert::tag_key(&request.key)?;
        let store = Arc::clone(&self.store);
        let task = tokio::spawn(async move {
            let _turn = store.transfer()?;
            store.put_tag_key(key, request.powers).await
        });
        task.await?
    }

    async fn released(&self, request: wire::ReleaseRequest) -> Result<wire::ReleaseReply, StoreError> {
        let claim_hash = convert::hash(&request.claim_hash, "claim_hash")?;
        let signature = convert::signature(&request.signature)?;
        let store = Arc::clone(&self.store);
        let (set, kept_until) = tokio::spawn(async move { store.release(claim_hash, signature).await }).await??;
        Ok(wire::ReleaseReply { set: Some((&set).into()), kept_until: kept_until.cast_unsigned() })
    }
}

/// Where an upload stands.
struct Receiving {
    upload: Arc<Upload>,
    received: u64,
    total: u64,
}

impl Receiving {
    async fn append(&mut self, offset: u64, data: Bytes) -> Result<(), StoreError> {
        if offset != self.received {
            return Err(StoreError::Offset { expected: self.received, found: offset });
        }
        let end = offset.saturating_add(data.len() as u64);
        if data.len() > MAX_FRAME_BYTES || end > self.total {
            return Err(StoreError::Frame);
        }
        let upload = Arc::clone(&self.upload);
        spawn_blocking(move || upload.write_at(&data, offset)).await??;
        self.received = end;
        Ok(())
    }
}

#[tonic::async_trait]
impl Ingest for IngestService {
    type RetrieveStream = ReceiverStream<Result<wire::RetrieveFrame, Status>>;

    async fn propose(&self, request: Request<wire::ProposeRequest>) -> Result<Response<wire::ProposeReply>, Status> {
        Ok(Response::new(self.proposed(request.into_inner()).await?))
    }

    async fn upload(&self, request: Request<Streaming<wire::UploadFrame>>) -> Result<Response<wire::UploadReply>, Status> {
        Ok(Response::new(self.uploaded(request.into_inner()).await?))
    }

    async fn commit(&self, request: Request<wire::CommitRequest>) -> Result<Response<wire::CommitReply>, Status> {
        let set = self.committed(request.into_inner()).await?;
        Ok(Response::new(wire::CommitReply { set: Some((&set).into()) }))
    }

    async fn retrieve(&self, request: Request<wire::RetrieveRequest>) -> Result<Response<Self::RetrieveStream>, Status> {
        let turn = self.store.transfer()?;
        let download = Download::open(&self.store, request.into_inner()).await?;
        let (sender, receiver) = mpsc::channel(FRAMES_AHEAD);
        tokio::spawn(async move {
            download.send(sender).await;
            drop(turn);
        });
        Ok(Response::new(ReceiverStream::new(receiver)))
    }

    type RetrieveGroupsStream = ReceiverStream<Result<wire::Group, Status>>;

    async fn retrieve_groups(&self, request: Request<wire::RetrieveGroupsRequest>) -> Result<Response<Self::RetrieveGroupsStream>, Status> {
        let turn = self.store.transfer()?;
        let groups = Groups::open(&self.store, request.into_inner()).await?;
        let (sender, receiver) = mpsc::channel(GROUPS_AHEAD);
        tokio::spawn(async move {
            groups.send(sender).await;
            drop(turn);
        });
        Ok(Response::new(ReceiverStream::new(receiver)))
    }

    async fn put_tag_key(&self, request: Request<wire::PutTagKeyRequest>) -> Result<Response<wire::PutTagKeyReply>, Status> {
        self.put(request.into_inner()).await?;
        Ok(Response::new(wire::PutTagKeyReply {}))
    }

    async fn release(&self, request: Request<wire::ReleaseRequest>) -> Result<Response<wire::ReleaseReply>, Status> {
        Ok(Response::new(self.released(request.into_inner()).await?))
    }
}
