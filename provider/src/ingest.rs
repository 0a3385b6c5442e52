//! The `Ingest` service: replicas in and out.

use std::fs::File;
use std::os::unix::fs::FileExt;
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
use crate::files::Replica;
use crate::index::OwnedClaim;
use crate::store::Store;

/// The most bytes of one frame, in both directions.
pub const MAX_FRAME_BYTES: usize = 256 * 1024;
/// Frames of a download that wait for the network.
const FRAMES_AHEAD: usize = 4;

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
        Ok(wire::ProposeReply { received_bytes: progress.received_bytes, committed: progress.committed })
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
        let opened = spawn_blocking(move || Ok((files.received(&claim_hash)?, files.open_part(&claim_hash)?)));
        let (received, file) = opened.await.map_err(StoreError::from)?.map_err(|error: std::io::Error| StoreError::from(error))?;
        let mut upload = Upload { file: Arc::new(file), received, total: owned.claim.bytes() };
        loop {
            upload.append(frame.offset, frame.data).await?;
            match next().await? {
                Some(following) => frame = following,
                None => return Ok(wire::UploadReply { received_bytes: upload.received }),
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

    async fn retrieved(&self, request: wire::RetrieveRequest) -> Result<Download, StoreError> {
        let root = convert::hash(&request.root, "root")?;
        let (replica, total) = self.store.replica(root).await?;
        let end = match request.length {
            0 => Some(total),
            length => request.offset.checked_add(length),
        };
        match end {
            Some(end) if request.offset <= end && end <= total => Ok(Download { replica, offset: request.offset, end }),
            _ => Err(StoreError::Range(total)),
        }
    }
}

struct Upload {
    file: Arc<File>,
    received: u64,
    total: u64,
}

impl Upload {
    async fn append(&mut self, offset: u64, data: Bytes) -> Result<(), StoreError> {
        if offset != self.received {
            return Err(StoreError::Offset { expected: self.received, found: offset });
        }
        let end = offset.saturating_add(data.len() as u64);
        if data.len() > MAX_FRAME_BYTES || end > self.total {
            return Err(StoreError::Frame);
        }
        let file = Arc::clone(&self.file);
        spawn_blocking(move || file.write_all_at(&data, offset)).await??;
        self.received = end;
        Ok(())
    }
}

struct Download {
    replica: Arc<Replica>,
    offset: u64,
    end: u64,
}

impl Download {
    /// Sends everything, or until nobody listens.
    async fn send(mut self, frames: mpsc::Sender<Result<wire::RetrieveFrame, Status>>) {
        while self.offset < self.end {
            let offset = self.offset;
            let length = usize::try_from(self.end - offset).unwrap_or(usize::MAX).min(MAX_FRAME_BYTES);
            let replica = Arc::clone(&self.replica);
            let read = spawn_blocking(move || replica.read(offset, length)).await;
            let frame = match read {
                Ok(Ok(data)) => Ok(wire::RetrieveFrame { offset, data: data.into() }),
                _ => Err(StoreError::Unreadable.into()),
            };
            let failed = frame.is_err();
            if frames.send(frame).await.is_err() || failed {
                return;
            }
            self.offset += length as u64;
        }
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
        let download = self.retrieved(request.into_inner()).await?;
        let (sender, receiver) = mpsc::channel(FRAMES_AHEAD);
        tokio::spawn(async move {
            download.send(sender).await;
            drop(turn);
        });
        Ok(Response::new(ReceiverStream::new(receiver)))
    }
}
