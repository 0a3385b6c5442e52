//! Brings a replica back and decrypts it.

use std::fs::File;
use std::io::{Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

use assay_core::claim::Claim;
use assay_core::hash::Hash32;
use assay_core::replica::{BLOCK_BYTES, Decoder, Header, OwnerSecret, ReplicaKey};
use assay_proto::convert::wire_bytes;
use assay_proto::provider::v1 as wire;
use bytes::Bytes;
use tempfile::NamedTempFile;
use tokio::sync::mpsc;
use tokio::task::spawn_blocking;
use tokio::time::timeout;

use crate::archive;
use crate::client::{Client, within};
use crate::durable;
use crate::error::BuilderError;
use crate::progress::{Progress, Stage};

const CALL_TIMEOUT: Duration = Duration::from_secs(30);
const FRAMES_AHEAD: usize = 8;

/// Where the object goes.
#[derive(Clone, Debug)]
pub enum Target {
    /// A new file with the object's bytes.
    File(PathBuf),
    /// A new directory, unpacked from the archive that the object is.
    Directory(PathBuf),
}

impl Target {
    /// The file or the directory.
    pub fn path(&self) -> &Path {
        match self {
            Self::File(path) | Self::Directory(path) => path,
        }
    }
}

/// Retrieves, verifies the replica's root, decrypts, verifies the object's id, and only then puts the object in place.
pub async fn restore(
    client: &mut Client,
    secret: &OwnerSecret,
    claim: &Claim,
    target: &Target,
    progress: &mut dyn Progress,
) -> Result<(), BuilderError> {
    let path = target.path();
    if path.exists() {
        return Err(BuilderError::Exists(path.to_owned()));
    }
    let key = ReplicaKey::derive(secret, &claim.object_id, claim.replica_index, client.domain.provider);
    let request = wire::RetrieveRequest { root: wire_bytes(&claim.root.0), offset: 0, length: 0 };
    let mut frames = within(CALL_TIMEOUT, "Retrieve", client.ingest.retrieve(request)).await?.into_inner();

    let (sender, receiver) = mpsc::channel(FRAMES_AHEAD);
    let (expected, goal) = (claim.clone(), target.clone());
    let decoding = spawn_blocking(move || decode(receiver, key, &expected, &goal));
    let streamed = async {
        let mut bytes = 0_u64;
        while let Some(frame) = timeout(CALL_TIMEOUT, frames.message()).await.map_err(|_| BuilderError::Timeout("Retrieve"))?? {
            bytes = bytes.saturating_add(frame.data.len() as u64);
            progress.hear(Stage::Fetching, bytes, claim.bytes());
            // A decoder that gave up says why below.
            if sender.send(frame.data).await.is_err() {
                break;
            }
        }
        Ok::<_, BuilderError>(())
    };
    let streamed = streamed.await;
    drop(sender);
    let decoded = decoding.await?;
    streamed?;
    decoded
}

fn decode(mut frames: mpsc::Receiver<Bytes>, key: ReplicaKey, claim: &Claim, target: &Target) -> Result<(), BuilderError> {
    let path = target.path();
    let directory = durable::parent(path);
    let mut out = NamedTempFile::new_in(directory).map_err(BuilderError::file(directory))?;
    let header = Header { object_length: claim.object_length, object_id: claim.object_id, replica_index: claim.replica_index };
    let mut decoder = Decoder::new(key, &header);
    let mut hasher = blake3::Hasher::new();
    let mut block = Vec::with_capacity(BLOCK_BYTES);
    while let Some(frame) = frames.blocking_recv() {
        hasher.update(&frame);
        let mut rest: &[u8] = &frame;
        while !rest.is_empty() {
            let (now, later) = rest.split_at(rest.len().min(BLOCK_BYTES - block.len()));
            block.extend_from_slice(now);
            rest = later;
            if block.len() == BLOCK_BYTES {
                out.write_all(decoder.block(&mut block)?).map_err(BuilderError::file(path))?;
                block.clear();
            }
        }
    }
    let found = Hash32::from(hasher.finalize());
    if found != claim.root {
        return Err(BuilderError::WrongRoot { expected: claim.root, found });
    }
    decoder.finish()?;
    place(out, target)
}

fn place(mut out: NamedTempFile, target: &Target) -> Result<(), BuilderError> {
    let path = target.path();
    out.as_file().sync_all().map_err(BuilderError::file(path))?;
    match target {
        Target::File(path) => {
            out.persist_noclobber(path).map_err(|error| BuilderError::File { path: path.clone(), source: error.error })?;
            durable::sync_parent(path)
        }
        Target::Directory(path) => {
            let archive: &mut File = out.as_file_mut();
            archive.seek(SeekFrom::Start(0)).map_err(BuilderError::file(path))?;
            archive::unpack(archive, path)
        }
    }
}
