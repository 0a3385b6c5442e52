//! Brings a prepared replica to its provider.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::time::Duration;

use assay_core::claim::{Claim, SignedClaimSet};
use assay_core::compact::TagSecret;
use assay_core::hash::Hash32;
use assay_core::replica::{BLOCK_BYTES, OwnerSecret, ReplicaKey};
use assay_proto::convert::wire_bytes;
use assay_proto::provider::v1 as wire;
use bytes::Bytes;
use tokio::sync::mpsc;
use tokio::task::spawn_blocking;
use tokio_stream::wrappers::ReceiverStream;
use tokio_stream::{StreamExt, once};
use tonic::{Code, Status};

use crate::client::{Client, within};
use crate::encrypt::encrypt;
use crate::error::BuilderError;
use crate::keys::Keys;
use crate::prepare::Prepared;
use crate::progress::{Progress, Stage};

const CALL_TIMEOUT: Duration = Duration::from_secs(30);
/// The provider reads the whole replica once more before it signs.
const COMMIT_TIMEOUT: Duration = Duration::from_secs(1800);
/// Without a byte more at the provider.
const ATTEMPTS: u32 = 5;
/// A provider that finds other bytes than were sent lost them; twice is no accident.
const COMMITS: u32 = 2;
const PAUSE: Duration = Duration::from_secs(1);
const FRAMES_AHEAD: usize = 8;
const TAG_FRAME_BYTES: usize = 128 * 1024;

/// A stored replica and the signed set that holds it.
#[derive(Clone, Debug)]
pub struct Uploaded {
    /// The claim.
    pub claim: Claim,
    /// Signed by the provider's receipt key; what is to be published on chain.
    pub set: SignedClaimSet,
}

/// Proposes, gives the tag key when asked, uploads data and tags, commits, and checks that the signed set holds the claim.
///
/// Repeating it goes on where it broke. Before the first byte it refuses another provider's or owner's directory, damaged tags and a
/// source that changed.
pub async fn upload(client: &mut Client, keys: &Keys, prepared: &Prepared, progress: &mut dyn Progress) -> Result<Uploaded, BuilderError> {
    prepared.expect(&client.domain, keys)?;
    check_files(prepared).await?;
    let proposal = proposal(client, keys, prepared.claim())?;
    let mut commits = 0;
    loop {
        transfer(client, keys, prepared, &proposal, progress).await?;
        commits += 1;
        match commit(client, prepared.claim()).await {
            Err(BuilderError::Refused(status)) if status.code() == Code::DataLoss && commits < COMMITS => continue,
            Err(error) => return Err(error),
            Ok(set) => return Ok(Uploaded { claim: prepared.claim().clone(), set }),
        }
    }
}

async fn check_files(prepared: &Prepared) -> Result<(), BuilderError> {
    let prepared = prepared.clone();
    spawn_blocking(move || {
        prepared.check_tags()?;
        prepared.expect_source()
    })
    .await?
}

fn proposal(client: &Client, keys: &Keys, claim: &Claim) -> Result<wire::ProposeRequest, BuilderError> {
    let signature = keys.signer.sign(&client.domain.claim_digest(&claim.hash()))?;
    Ok(wire::ProposeRequest { provider_id: client.domain.provider.0, claim: Some(wire::SignedClaim::new(claim, &signature)) })
}

/// Until everything is at the provider, the tag key as well.
async fn transfer(
    client: &mut Client,
    keys: &Keys,
    prepared: &Prepared,
    proposal: &wire::ProposeRequest,
    progress: &mut dyn Progress,
) -> Result<(), BuilderError> {
    let total = prepared.claim().bytes().saturating_add(prepared.tags_bytes());
    let (mut attempts, mut most) = (0, 0);
    loop {
        let there = within(CALL_TIMEOUT, "Propose", client.ingest.propose(proposal.clone())).await?.into_inner();
        if there.needs_tag_key {
            put_tag_key(client, &keys.secret).await?;
        }
        if there.committed || there.received_bytes >= total {
            progress.hear(Stage::Uploading, total, total);
            return Ok(());
        }
        progress.hear(Stage::Uploading, there.received_bytes, total);
        if there.received_bytes > most {
            (attempts, most) = (0, there.received_bytes);
        }
        let sent = Sending::new(client, keys, prepared).send(client, there.received_bytes, progress).await?;
        attempts += 1;
        match sent {
            Err(status) if attempts >= ATTEMPTS || !may_pass(status.code()) => {
                return Err(BuilderError::UploadBroke { attempts, last: Box::new(status) });
            }
            Err(_) => tokio::time::sleep(PAUSE).await,
            Ok(()) if attempts >= ATTEMPTS => {
                return Err(BuilderError::Untrusted("it takes bytes and does not keep them"));
            }
            Ok(()) => (),
        }
    }
}

/// Broken connections, a busy provider, a gap after a broken frame: worth another attempt.
fn may_pass(code: Code) -> bool {
    matches!(
        code,
        Code::Unavailable
            | Code::ResourceExhausted
            | Code::OutOfRange
            | Code::Aborted
            | Code::DeadlineExceeded
            | Code::Unknown
            | Code::Cancelled
    )
}

async fn put_tag_key(client: &mut Client, secret: &OwnerSecret) -> Result<(), BuilderError> {
    let secret = secret.clone();
    let made = spawn_blocking(move || {
        let secret = TagSecret::derive(&secret);
        wire::PutTagKeyRequest { key: wire_bytes(&secret.key().to_bytes()), powers: secret.powers().into() }
    });
    within(CALL_TIMEOUT, "PutTagKey", client.ingest.put_tag_key(made.await?)).await?;
    Ok(())
}

async fn commit(client: &mut Client, claim: &Claim) -> Result<SignedClaimSet, BuilderError> {
    let claim_hash = claim.hash();
    let request = wire::CommitRequest { claim_hash: wire_bytes(&claim_hash.0) };
    let reply = within(COMMIT_TIMEOUT, "Commit", client.ingest.commit(request)).await?.into_inner();
    let committed = SignedClaimSet::try_from(reply.set.ok_or(BuilderError::Untrusted("it is absent"))?)?;
    match client.holds(&committed, &claim_hash).await? {
        true => Ok(committed),
        false => Err(BuilderError::Untrusted("the committed claim is not in it")),
    }
}

/// What one upload stream needs, owned, so that a thread can read and encrypt meanwhile.
struct Sending {
    prepared: Prepared,
    key: ReplicaKey,
    claim_hash: Hash32,
}

type Frames = mpsc::Sender<wire::UploadFrame>;

impl Sending {
    fn new(client: &Client, keys: &Keys, prepared: &Prepared) -> Self {
        let claim = prepared.claim();
        let key = ReplicaKey::derive(&keys.secret, &claim.object_id, claim.replica_index, client.domain.provider);
        Self { prepared: prepared.clone(), key, claim_hash: claim.hash() }
    }

    /// One upload stream from byte `from`. The inner error is the provider's or the network's, the outer one our own.
    async fn send(self, client: &mut Client, from: u64, progress: &mut dyn Progress) -> Result<Result<(), Status>, BuilderError> {
        let (frames, mut receiver) = mpsc::channel(FRAMES_AHEAD);
        let (sent, mut sent_bytes) = mpsc::unbounded_channel();
        let total = self.prepared.claim().bytes().saturating_add(self.prepared.tags_bytes());
        let encoding = spawn_blocking(move || self.fill(from, &frames, &sent));
        // The provider's patience begins with the call, so the first frame is made before it.
        let Some(first) = receiver.recv().await else { return encoding.await?.map(Ok) };
        let call = client.ingest.upload(once(first).chain(ReceiverStream::new(receiver)));
        tokio::pin!(call);
        let outcome = loop {
            tokio::select! {
                outcome = &mut call => break outcome,
                Some(bytes) = sent_bytes.recv() => progress.hear(Stage::Uploading, bytes, total),
            }
        };
        match encoding.await? {
            // When the stream broke, its own error says why.
            Ok(()) | Err(BuilderError::Stopped) => Ok(outcome.map(|_| ())),
            Err(error) => Err(error),
        }
    }

    fn fill(&self, from: u64, frames: &Frames, sent: &mpsc::UnboundedSender<u64>) -> Result<(), BuilderError> {
        let mut pass_on = |offset: u64, data: &[u8]| {
            let frame = wire::UploadFrame { claim_hash: wire_bytes(&self.claim_hash.0), offset, data: Bytes::copy_from_slice(data) };
            frames.blocking_send(frame).map_err(|_| BuilderError::Stopped)?;
            // Whoever draws progress may have gone.
            let _ = sent.send(offset.saturating_add(data.len() as u64));
            Ok(())
        };
        let bytes = self.prepared.claim().bytes();
        if from < bytes {
            self.fill_blocks(from, &mut pass_on)?;
        }
        self.fill_tags(from.saturating_sub(bytes), &mut |offset, data| pass_on(bytes.saturating_add(offset), data))
    }

    fn fill_blocks(&self, from: u64, pass_on: &mut dyn FnMut(u64, &[u8]) -> Result<(), BuilderError>) -> Result<(), BuilderError> {
        let manifest = self.prepared.manifest();
        let size = BLOCK_BYTES as u64;
        encrypt(
            &manifest.source,
            &self.key,
            &manifest.header(),
            from / size,
            |_| Ok(()),
            |batch| {
                for (number, block) in (batch.first_block..).zip(batch.bytes.chunks(BLOCK_BYTES)) {
                    let start = number.saturating_mul(size);
                    let skip = usize::try_from(from.saturating_sub(start)).unwrap_or(usize::MAX).min(block.len());
                    pass_on(start + skip as u64, &block[skip..])?;
                }
                Ok(())
            },
        )?;
        // From a later block on, the hash over all bytes cannot tell.
        self.prepared.expect_source()
    }

    fn fill_tags(&self, from: u64, pass_on: &mut dyn FnMut(u64, &[u8]) -> Result<(), BuilderError>) -> Result<(), BuilderError> {
        if self.prepared.tags_bytes() == 0 {
            return Ok(());
        }
        let path = self.prepared.tags_file();
        let mut file = File::open(&path).map_err(BuilderError::file(&path))?;
        file.seek(SeekFrom::Start(from)).map_err(BuilderError::file(&path))?;
        let mut buffer = vec![0; TAG_FRAME_BYTES];
        let mut offset = from;
        loop {
            match file.read(&mut buffer).map_err(BuilderError::file(&path))? {
                0 => return Ok(()),
                length => pass_on(offset, &buffer[..length])?,
            }
            offset = file.stream_position().map_err(BuilderError::file(&path))?;
        }
    }
}
