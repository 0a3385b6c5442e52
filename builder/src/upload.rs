//! Encrypts one replica for one provider and brings it there.

use std::time::Duration;

use assay_core::claim::{Claim, SignedClaimSet};
use assay_core::hash::Hash32;
use assay_core::replica::{Header, ReplicaKey, blocks_for};
use assay_proto::convert::wire_bytes;
use assay_proto::provider::v1 as wire;
use bytes::Bytes;
use tokio::sync::mpsc;
use tokio::task::spawn_blocking;
use tokio_stream::wrappers::ReceiverStream;
use tonic::Code;

use crate::client::{Client, within};
use crate::error::BuilderError;
use crate::keys::Keys;
use crate::source::Source;

const CALL_TIMEOUT: Duration = Duration::from_secs(30);
/// The provider reads the whole replica once more before it signs.
const COMMIT_TIMEOUT: Duration = Duration::from_secs(1800);
const ATTEMPTS: u32 = 5;
const PAUSE: Duration = Duration::from_secs(1);
const FRAMES_AHEAD: usize = 8;

/// A stored replica and the signed set that holds it.
#[derive(Clone, Debug)]
pub struct Uploaded {
    /// The claim.
    pub claim: Claim,
    /// Signed by the provider's receipt key; what is to be published on chain.
    pub set: SignedClaimSet,
}

/// Encrypts, proposes, uploads, commits, and checks that the signed set holds the claim. Repeating it goes on where it broke.
/// `progress` hears (bytes at the provider, bytes of the replica).
pub async fn upload(
    client: &mut Client,
    keys: &Keys,
    source: &Source,
    replica_index: u64,
    mut progress: impl FnMut(u64, u64),
) -> Result<Uploaded, BuilderError> {
    let prepared = Prepared::new(client, keys, source, replica_index).await?;
    let claim_hash = prepared.claim.hash();
    let signature = keys.signer.sign(&client.domain.claim_digest(&claim_hash))?;
    let proposal =
        wire::ProposeRequest { provider_id: client.domain.provider.0, claim: Some(wire::SignedClaim::new(&prepared.claim, &signature)) };
    let mut attempts = 0;
    loop {
        let there = within(CALL_TIMEOUT, "Propose", client.ingest.propose(proposal.clone())).await?.into_inner();
        progress(there.received_bytes, prepared.claim.bytes());
        if there.received_bytes >= prepared.claim.bytes() {
            break;
        }
        let Err(status) = prepared.send(client, there.received_bytes, &mut progress).await? else { continue };
        attempts += 1;
        if attempts == ATTEMPTS || !may_pass(status.code()) {
            return Err(BuilderError::UploadBroke { attempts, last: Box::new(status) });
        }
        tokio::time::sleep(PAUSE).await;
    }
    let request = wire::CommitRequest { claim_hash: wire_bytes(&claim_hash.0) };
    let reply = within(COMMIT_TIMEOUT, "Commit", client.ingest.commit(request)).await?.into_inner();
    let committed = SignedClaimSet::try_from(reply.set.ok_or(BuilderError::Untrusted("it is absent"))?)?;
    let set = expect_claim(client, committed, &claim_hash).await?;
    Ok(Uploaded { claim: prepared.claim, set })
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

async fn expect_claim(client: &mut Client, committed: SignedClaimSet, claim_hash: &Hash32) -> Result<SignedClaimSet, BuilderError> {
    let Some((signed, set)) = client.claim_set(committed.sequence).await? else {
        return Err(BuilderError::Untrusted("it is absent"));
    };
    if signed != committed {
        return Err(BuilderError::Untrusted("two different sets carry one sequence number"));
    }
    match set.claims().any(|claim| claim.hash() == *claim_hash) {
        true => Ok(signed),
        false => Err(BuilderError::Untrusted("the committed claim is not in it")),
    }
}

struct Prepared {
    source: Source,
    key: ReplicaKey,
    header: Header,
    claim: Claim,
}

impl Prepared {
    async fn new(client: &Client, keys: &Keys, source: &Source, replica_index: u64) -> Result<Self, BuilderError> {
        let (source, secret, owner) = (source.clone(), keys.secret.clone(), keys.signer.address());
        let provider = client.domain.provider;
        spawn_blocking(move || {
            let header = source.identify(replica_index)?;
            let key = ReplicaKey::derive(&secret, &header.object_id, replica_index, provider);
            let claim = Claim {
                object_id: header.object_id,
                replica_index,
                root: source.root(&key, &header)?,
                object_length: header.object_length,
                blocks: blocks_for(header.object_length),
                tag_key_id: Hash32::ZERO,
                owner,
            };
            claim.check()?;
            Ok(Self { source, key, header, claim })
        })
        .await?
    }

    /// One upload stream from byte `from`. The inner error is the provider's or the network's, the outer one our own.
    async fn send(
        &self,
        client: &mut Client,
        from: u64,
        progress: &mut impl FnMut(u64, u64),
    ) -> Result<Result<(), tonic::Status>, BuilderError> {
        let (frames, receiver) = mpsc::channel(FRAMES_AHEAD);
        let (sent, mut sent_bytes) = mpsc::unbounded_channel();
        let (source, key, header, claim_hash) = (self.source.clone(), self.key.clone(), self.header, wire_bytes(&self.claim.hash().0));
        let encoding = spawn_blocking(move || {
            let mut offset = 0_u64;
            source.encode(&key, &header, &mut |block: &[u8]| {
                let start = offset;
                offset += block.len() as u64;
                let skip = usize::try_from(from.saturating_sub(start)).unwrap_or(usize::MAX).min(block.len());
                if skip == block.len() {
                    return;
                }
                let data = Bytes::copy_from_slice(&block[skip..]);
                let frame = wire::UploadFrame { claim_hash: claim_hash.clone(), offset: start + skip as u64, data };
                // When the stream broke, nobody listens; its error is told by the call.
                if frames.blocking_send(frame).is_ok() {
                    let _ = sent.send(offset);
                }
            })
        });
        let call = client.ingest.upload(ReceiverStream::new(receiver));
        tokio::pin!(call);
        let outcome = loop {
            tokio::select! {
                outcome = &mut call => break outcome,
                Some(bytes) = sent_bytes.recv() => progress(bytes, self.claim.bytes()),
            }
        };
        encoding.await??;
        Ok(outcome.map(|_| ()))
    }
}
