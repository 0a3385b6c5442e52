//! Stored bytes and groups back to builders.

use std::sync::Arc;

use assay_core::hash::Hash32;
use assay_core::slice::group::Group;
use assay_core::slice::group_count;
use assay_proto::convert;
use assay_proto::provider::v1 as wire;
use tokio::sync::mpsc;
use tokio::task::spawn_blocking;
use tonic::Status;
use tracing::warn;

use crate::error::StoreError;
use crate::ingest::MAX_FRAME_BYTES;
use crate::replica::Replica;
use crate::store::Store;

/// The most groups of one call.
pub const MAX_GROUPS: usize = 4096;
/// Groups that are read at a time.
const GROUPS_AT_A_TIME: usize = 16;

/// Where a stream's frames go.
pub type Sink<T> = mpsc::Sender<Result<T, Status>>;

/// A range of a stored replica.
pub struct Download {
    replica: Arc<Replica>,
    offset: u64,
    end: u64,
}

impl Download {
    /// Of what is stored; refuses a range behind its end.
    pub async fn open(store: &Store, request: wire::RetrieveRequest) -> Result<Self, StoreError> {
        let root = convert::hash(&request.root, "root")?;
        let (replica, total) = store.replica(root).await?;
        let end = match request.length {
            0 => Some(total),
            length => request.offset.checked_add(length),
        };
        match end {
            Some(end) if request.offset <= end && end <= total => Ok(Self { replica, offset: request.offset, end }),
            _ => Err(StoreError::Range(total)),
        }
    }

    /// Sends everything, or until nobody listens.
    pub async fn send(mut self, frames: Sink<wire::RetrieveFrame>) {
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

/// Groups of a stored replica.
pub struct Groups {
    replica: Arc<Replica>,
    root: Hash32,
    numbers: Vec<u64>,
}

impl Groups {
    /// Of what is stored; refuses groups behind its end.
    pub async fn open(store: &Store, request: wire::RetrieveGroupsRequest) -> Result<Self, StoreError> {
        let root = convert::hash(&request.root, "root")?;
        if request.groups.len() > MAX_GROUPS {
            return Err(StoreError::TooManyGroups(MAX_GROUPS));
        }
        let (replica, total) = store.replica(root).await?;
        match request.groups.iter().all(|group| *group < group_count(total)) {
            true => Ok(Self { replica, root, numbers: request.groups }),
            false => Err(StoreError::Range(total)),
        }
    }

    /// Sends everything, or until nobody listens. Empty groups stand for what is missing or damaged.
    pub async fn send(self, groups: Sink<wire::Group>) {
        for numbers in self.numbers.chunks(GROUPS_AT_A_TIME) {
            let (replica, numbers) = (Arc::clone(&self.replica), numbers.to_vec());
            let read = spawn_blocking(move || numbers.iter().map(|number| replica.group(*number)).collect::<std::io::Result<Vec<_>>>());
            let Ok(Ok(read)) = read.await else {
                warn!(root = %self.root, "a stored replica cannot be read");
                let _ = groups.send(Err(StoreError::Unreadable.into())).await;
                return;
            };
            for group in read {
                if groups.send(Ok(group.unwrap_or_else(Group::default).into())).await.is_err() {
                    return;
                }
            }
        }
    }
}
