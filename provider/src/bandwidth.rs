//! The two streams of a bandwidth window: bytes in, stored blocks out.
//!
//! Each stream is one task that ends with its time, its bytes or its oracle, whatever the oracle does. What an oracle leaves unread waits
//! in a channel of a few entries and then stops the task: nothing grows by the peer's word.

use std::sync::Arc;
use std::time::Duration;

use assay_core::challenge::egress::{self, GroupPlace};
use assay_core::challenge::kinds::bandwidth::Total;
use assay_core::challenge::{Answer, Challenge, Kind};
use assay_core::claim::{ClaimRoot, ClaimSet};
use assay_core::hash::Hash32;
use assay_core::slice::group::Group;
use assay_proto::convert;
use assay_proto::provider::v1 as wire;
use bytes::Bytes;
use futures::FutureExt;
use tokio::sync::mpsc;
use tokio::time::timeout;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Status, Streaming};
use tracing::warn;

use crate::error::StoreError;
use crate::files::Files;
use crate::given::SlotKey;
use crate::ingest::MAX_FRAME_BYTES;
use crate::replica::Replica;
use crate::store::Store;

/// Receipts or groups that wait for the network.
const AHEAD: usize = 32;
/// Bytes that are read from disk at a time.
const BATCH_BYTES: u64 = 256 * 1024;
const RECEIPT_HASH_BYTES: usize = 16;

/// What a stream gives its oracle.
pub type Replies<T> = ReceiverStream<Result<T, Status>>;

/// Bytes from the oracle: each frame is acknowledged at once, and at the end all of them are answered for.
pub async fn ingress(store: Arc<Store>, frames: Streaming<wire::IngressFrame>) -> Result<Replies<wire::IngressReply>, Status> {
    use wire::ingress_frame::Frame;
    let mut inbox = Inbox::new(&store, frames);
    let first = inbox.next().await?.and_then(|message| message.frame);
    let Some(Frame::Challenge(request)) = first else { return Err(StoreError::from(convert::absent("challenge")).into()) };
    let challenge = expected(&store, request, Kind::INGRESS)?;
    // Not before somebody asked for what we answer.
    let turn = store.bandwidth()?;
    let (sender, receiver) = mpsc::channel(AHEAD);
    tokio::spawn(async move {
        let limit = stream_time(&store);
        let sink = sender.clone();
        let ended = timeout(limit, Ingress { store, challenge, sink, tally: Tally::default() }.run(inbox)).await;
        conclude(ended, &sender);
        drop(turn);
    });
    Ok(ReceiverStream::new(receiver))
}

/// Stored groups to the oracle as far as its credit goes, and at the end a statement of how much that was.
pub async fn egress(store: Arc<Store>, requests: Streaming<wire::EgressRequest>) -> Result<Replies<wire::EgressReply>, Status> {
    use wire::egress_request::Request;
    let mut inbox = Inbox::new(&store, requests);
    let first = inbox.next().await?.and_then(|message| message.request);
    let Some(Request::Challenge(request)) = first else { return Err(StoreError::from(convert::absent("challenge")).into()) };
    let challenge = expected(&store, request, Kind::EGRESS)?;
    if challenge.claim_blocks == 0 {
        return Err(StoreError::NothingClaimed.into());
    }
    let claims = store.claim_set(&ClaimRoot { hash: challenge.claim_root, blocks: challenge.claim_blocks }).await?;
    let turn = store.bandwidth()?;
    let reader = Reader::new(&challenge, claims);
    let (sender, receiver) = mpsc::channel(AHEAD);
    tokio::spawn(async move {
        let limit = stream_time(&store);
        let sink = sender.clone();
        let ended = timeout(limit, Egress { store, challenge, sink, granted: 0, used: 0 }.run(reader, inbox)).await;
        conclude(ended, &sender);
        drop(turn);
    });
    Ok(ReceiverStream::new(receiver))
}

fn expected(store: &Store, request: wire::ChallengeRequest, kind: Kind) -> Result<Challenge, StoreError> {
    let challenge = Challenge::try_from(request)?;
    store.expect_ours(&challenge.instance, challenge.provider)?;
    match challenge.kind == kind {
        true => Ok(challenge),
        false => Err(StoreError::UnknownKind(challenge.kind)),
    }
}

fn stream_time(store: &Store) -> Duration {
    Duration::from_millis(store.limits().bandwidth_stream_ms)
}

/// Tells the oracle why its stream ended early, if it still listens.
fn conclude<T>(ended: Result<Result<(), Status>, tokio::time::error::Elapsed>, sink: &mpsc::Sender<Result<T, Status>>) {
    if let Err(status) = ended.unwrap_or_else(|_| Err(StoreError::StreamTime.into())) {
        let _ = sink.try_send(Err(status));
    }
}

/// Messages of the oracle, with an end to the wait for each.
struct Inbox<T> {
    messages: Streaming<T>,
    idle: Duration,
}

impl<T> Inbox<T> {
    fn new(store: &Store, messages: Streaming<T>) -> Self {
        Self { messages, idle: Duration::from_millis(store.limits().bandwidth_idle_ms) }
    }

    /// `None` when the oracle has closed its side.
    async fn next(&mut self) -> Result<Option<T>, Status> {
        timeout(self.idle, self.messages.message()).await.map_err(|_| StoreError::StreamIdle)?
    }

    /// As [`Self::next`], if it is there already.
    fn waiting(&mut self) -> Option<Result<Option<T>, Status>> {
        self.messages.message().now_or_never()
    }
}

/// The running count and hash of a stream's bytes.
#[derive(Default)]
struct Tally {
    bytes: u64,
    hasher: blake3::Hasher,
}

impl Tally {
    fn add(&mut self, bytes: &[u8]) {
        self.bytes += bytes.len() as u64;
        self.hasher.update(bytes);
    }

    fn total(&self) -> Total {
        Total { bytes: self.bytes, hash: *self.hasher.finalize().as_bytes() }
    }

    fn receipt(&self) -> wire::Receipt {
        let hash = self.hasher.finalize();
        wire::Receipt { bytes: self.bytes, hash: Bytes::copy_from_slice(&hash.as_bytes()[..RECEIPT_HASH_BYTES]) }
    }
}

/// The answer, remembered before it leaves, so that the slot's seal covers it.
fn answer(store: &Store, challenge: &Challenge, total: Total) -> Result<wire::ChallengeReply, StoreError> {
    let answer = Answer::of_payload(total.to_payload());
    let key = SlotKey { oracle: challenge.oracle, epoch: challenge.epoch, slot: challenge.slot };
    store.given().remember(key, (challenge.digest(), answer.digest()))?;
    Ok(wire::ChallengeReply::new(answer, None))
}

struct Ingress {
    store: Arc<Store>,
    challenge: Challenge,
    sink: mpsc::Sender<Result<wire::IngressReply, Status>>,
    tally: Tally,
}

impl Ingress {
    async fn run(mut self, mut inbox: Inbox<wire::IngressFrame>) -> Result<(), Status> {
        use wire::ingress_frame::Frame;
        use wire::ingress_reply::Reply;
        while let Some(message) = inbox.next().await? {
            let Some(Frame::Data(data)) = message.frame else { return Err(StoreError::from(convert::absent("data")).into()) };
            if data.is_empty() || data.len() > MAX_FRAME_BYTES {
                return Err(StoreError::Frame.into());
            }
            self.tally.add(&data);
            if self.tally.bytes > self.store.limits().bandwidth_bytes {
                return Err(StoreError::StreamBytes(self.store.limits().bandwidth_bytes).into());
            }
            if !self.reply(Reply::Receipt(self.tally.receipt())).await {
                return Ok(());
            }
        }
        let answer = answer(&self.store, &self.challenge, self.tally.total())?;
        self.reply(Reply::Answer(answer)).await;
        Ok(())
    }

    /// `false` when nobody listens any more.
    async fn reply(&self, reply: wire::ingress_reply::Reply) -> bool {
        self.sink.send(Ok(wire::IngressReply { reply: Some(reply) })).await.is_ok()
    }
}

struct Egress {
    store: Arc<Store>,
    challenge: Challenge,
    sink: mpsc::Sender<Result<wire::EgressReply, Status>>,
    granted: u64,
    /// May be more than was granted, by less than a group: later credit makes up for it first.
    used: u64,
}

impl Egress {
    async fn run(mut self, mut reader: Reader, mut inbox: Inbox<wire::EgressRequest>) -> Result<(), Status> {
        use wire::egress_reply::Reply;
        while self.take_credit(&mut inbox).await? {
            let credit = self.credit().min(BATCH_BYTES);
            let groups;
            (reader, groups) = self.store.read(move |files| reader.read(files, credit)).await?;
            if groups.is_empty() {
                return Err(StoreError::Damaged("claims").into());
            }
            if reader.tally.bytes > self.store.limits().bandwidth_bytes {
                return Err(StoreError::StreamBytes(self.store.limits().bandwidth_bytes).into());
            }
            for group in groups {
                self.used = self.used.saturating_add(egress::credit_of(&group));
                if !self.reply(Reply::Group(group.into())).await {
                    return Ok(());
                }
            }
        }
        if reader.missing > 0 {
            warn!(groups = reader.missing, "stored groups are missing or damaged");
        }
        let answer = answer(&self.store, &self.challenge, reader.tally.total())?;
        self.reply(Reply::Answer(answer)).await;
        Ok(())
    }

    fn credit(&self) -> u64 {
        self.granted.saturating_sub(self.used)
    }

    /// Takes the credit that has come, and waits for some while there is none; `false` when the oracle has closed its side.
    async fn take_credit(&mut self, inbox: &mut Inbox<wire::EgressRequest>) -> Result<bool, Status> {
        use wire::egress_request::Request;
        loop {
            let message = match self.credit() {
                0 => inbox.next().await?,
                _ => match inbox.waiting() {
                    Some(message) => message?,
                    None => return Ok(true),
                },
            };
            match message.map(|message| message.request) {
                None => return Ok(false),
                Some(Some(Request::Credit(more))) => self.granted = self.granted.saturating_add(more),
                Some(_) => return Err(StoreError::from(convert::absent("credit")).into()),
            }
        }
    }

    /// `false` when nobody listens any more.
    async fn reply(&self, reply: wire::egress_reply::Reply) -> bool {
        self.sink.send(Ok(wire::EgressReply { reply: Some(reply) })).await.is_ok()
    }
}

/// Reads the drawn groups one after the other and hashes what it gives out. It blocks.
struct Reader {
    places: Box<dyn Iterator<Item = GroupPlace> + Send>,
    /// The replica of the last group; `None` when it does not open.
    opened: Option<(Hash32, Option<Replica>)>,
    tally: Tally,
    missing: u64,
}

impl Reader {
    fn new(challenge: &Challenge, claims: Arc<ClaimSet>) -> Self {
        Self { places: Box::new(egress::groups(challenge, claims)), opened: None, tally: Tally::default(), missing: 0 }
    }

    /// The next groups until the credit is used up. Empty ones stand for what is missing or damaged.
    fn read(mut self, files: &Files, mut credit: u64) -> (Self, Vec<Group>) {
        let mut groups = Vec::new();
        while credit > 0 {
            let Some(place) = self.places.next() else { break };
            let group = self.group(files, place).unwrap_or_default();
            self.missing += u64::from(group.bytes.is_empty());
            self.tally.add(&group.bytes);
            self.tally.add(group.siblings.as_flattened());
            credit = credit.saturating_sub(egress::credit_of(&group));
            groups.push(group);
        }
        (self, groups)
    }

    fn group(&mut self, files: &Files, place: GroupPlace) -> Option<Group> {
        if self.opened.as_ref().is_none_or(|(root, _)| *root != place.root) {
            self.opened = Some((place.root, files.open_replica(&place.root, place.total_bytes).ok()));
        }
        let (_, replica) = self.opened.as_ref()?;
        replica.as_ref()?.group(place.group).ok().flatten()
    }
}
