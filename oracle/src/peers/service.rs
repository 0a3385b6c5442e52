//! The gRPC side of the inbox: limits first, then parsing, then the node.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use assay_core::hash::Hash32;
use assay_core::ids::{OracleId, ProviderId};
use assay_core::report::StoredDigest;
use assay_proto::convert::{ConvertError, hash};
use assay_proto::oracle::v1 as wire;
use assay_proto::oracle::v1::committee_server::{Committee, CommitteeServer};
use assay_proto::oracle_convert::{MAX_MESSAGE_BYTES, Message, encode_reveal};
use bytes::Bytes;
use tokio::net::TcpListener;
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tonic::transport::Server;
use tonic::{Request, Response, Status};
use tracing::debug;

use super::evidence::Budget;
use super::tls::{self, Caller, Tls};
use super::{Inbox, MAX_TRANSPORT_BYTES};

/// Requests that are parsed and answered at the same time, over all peers. Each may hold some times [`MAX_MESSAGE_BYTES`].
const CONCURRENT_CALLS: usize = 16;
/// Of these, requests for evidence: what closes an epoch goes first.
const CONCURRENT_EVIDENCE_CALLS: usize = 2;
/// Requests of one connection that are read at the same time: what a peer holds of our memory is so many messages.
const CONCURRENT_PER_CONNECTION: usize = 4;
/// Requests of one connection that are begun; what is read of a waiting one is less than a window.
const STREAMS_PER_CONNECTION: u32 = 64;
/// For one call, its waiting included.
const CALL_TIMEOUT: Duration = Duration::from_secs(15);
const MAX_HEADER_BYTES: u32 = 16 * 1024;
const KEEP_ALIVE_INTERVAL: Duration = Duration::from_secs(30);
/// Parsing more than this is put on a thread of its own: every signature in it is a curve point to check.
const PARSED_IN_PLACE_BYTES: usize = 4 * 1024;

/// The committee service over an inbox.
pub struct CommitteeService<I> {
    inbox: Arc<I>,
    calls: Semaphore,
    evidence_calls: Semaphore,
    evidence: Budget,
}

impl<I: Inbox> CommitteeService<I> {
    /// The service as tonic takes it, with its size limits.
    pub fn server(inbox: Arc<I>) -> CommitteeServer<Self> {
        let (calls, evidence_calls) = (Semaphore::new(CONCURRENT_CALLS), Semaphore::new(CONCURRENT_EVIDENCE_CALLS));
        CommitteeServer::new(Self { inbox, calls, evidence_calls, evidence: Budget::default() })
            .max_decoding_message_size(MAX_TRANSPORT_BYTES)
            .max_encoding_message_size(MAX_TRANSPORT_BYTES)
    }

    /// Within the caller's quota first, then within what all callers may take together.
    async fn limited<T>(&self, caller: Caller, call: impl Future<Output = Result<T, Status>>) -> Result<Response<T>, Status> {
        if !caller.quota.take_call() {
            debug!(peer = %caller.oracle, "calls too often");
            return Err(Status::resource_exhausted("more calls than a peer may make; try again in some seconds"));
        }
        let stopping = || Status::unavailable("the node is stopping");
        let limited = async {
            let _own = caller.quota.calls.acquire().await.map_err(|_| stopping())?;
            let _permit = self.calls.acquire().await.map_err(|_| stopping())?;
            call.await
        };
        match tokio::time::timeout(CALL_TIMEOUT, limited).await {
            Ok(reply) => reply.map(Response::new),
            Err(_) => Err(Status::resource_exhausted("too much to do; try again")),
        }
    }
}

/// Serves the members of the committee until the token is cancelled. Nobody else gets further than the handshake.
pub async fn serve<I: Inbox>(
    listener: TcpListener,
    tls: Arc<Tls>,
    inbox: Arc<I>,
    stop: CancellationToken,
) -> Result<(), tonic::transport::Error> {
    let incoming = tls::incoming(listener, tls, stop.clone());
    Server::builder()
        .concurrency_limit_per_connection(CONCURRENT_PER_CONNECTION)
        .max_concurrent_streams(STREAMS_PER_CONNECTION)
        .http2_max_header_list_size(MAX_HEADER_BYTES)
        .http2_keepalive_interval(Some(KEEP_ALIVE_INTERVAL))
        .add_service(CommitteeService::server(inbox))
        .serve_with_incoming_shutdown(incoming, stop.cancelled_owned())
        .await
}

#[tonic::async_trait]
impl<I: Inbox> Committee for CommitteeService<I> {
    async fn deliver(&self, request: Request<wire::DeliverRequest>) -> Result<Response<wire::DeliverReply>, Status> {
        let (caller, envelope) = (caller(&request)?, request.into_inner().envelope);
        self.limited(caller, async {
            let message = parse(envelope).await?;
            Ok(self.inbox.deliver(message).await.into())
        })
        .await
    }

    async fn fetch_reveal(&self, request: Request<wire::FetchRevealRequest>) -> Result<Response<wire::FetchRevealReply>, Status> {
        let (caller, request) = (caller(&request)?, request.into_inner());
        let digest: Hash32 = hash(&request.commit_digest, "commit_digest").map_err(invalid)?;
        self.limited(caller, async {
            Ok(match self.inbox.opened(request.epoch, OracleId(request.oracle_id), digest).await {
                Some((commit, reveal)) => wire::FetchRevealReply { reveal: Some(encode_reveal(&reveal)), commit: Some((&commit).into()) },
                None => wire::FetchRevealReply::default(),
            })
        })
        .await
    }

    async fn fetch_report(&self, request: Request<wire::FetchReportRequest>) -> Result<Response<wire::FetchReportReply>, Status> {
        let caller = caller(&request)?;
        let wire::FetchReportRequest { epoch, stored_digest } = request.into_inner();
        let digest = Hash32::from_slice(&stored_digest).ok_or_else(|| Status::invalid_argument("stored_digest: expected 32 bytes"))?;
        self.limited(caller, async {
            let found = self.inbox.report(epoch, StoredDigest(digest)).await;
            let (certificate, outcome) = found.ok_or_else(|| Status::not_found(format!("no such report of epoch {epoch} is here")))?;
            let outcome_json = serde_json::to_vec(&outcome).map_err(|_| Status::internal("the outcome has no JSON form"))?;
            if outcome_json.len() > MAX_MESSAGE_BYTES {
                return Err(Status::internal("the outcome is larger than a reply may be"));
            }
            Ok(wire::FetchReportReply { certificate: certificate.as_ref().map(Into::into), outcome_json: outcome_json.into() })
        })
        .await
    }

    async fn fetch_statements(
        &self,
        request: Request<wire::FetchStatementsRequest>,
    ) -> Result<Response<wire::FetchStatementsReply>, Status> {
        let (caller, since_epoch) = (caller(&request)?, request.into_inner().since_epoch);
        let oracle = caller.oracle;
        self.limited(caller, async { Ok(wire::FetchStatementsReply { envelopes: self.inbox.statements(oracle, since_epoch).await }) }).await
    }

    async fn fetch_evidence(&self, request: Request<wire::FetchEvidenceRequest>) -> Result<Response<wire::FetchEvidenceReply>, Status> {
        let caller = caller(&request)?;
        let wire::FetchEvidenceRequest { epoch, provider_id, offset } = request.into_inner();
        self.limited(caller, async {
            let _turn = self.evidence_calls.acquire().await.map_err(|_| Status::unavailable("the node is stopping"))?;
            if !self.evidence.is_open() {
                return Err(Status::resource_exhausted("enough evidence was read for now; try again in some seconds"));
            }
            let found = self.inbox.evidence(epoch, ProviderId(provider_id)).await;
            let bundles = found.ok_or_else(|| Status::failed_precondition(format!("epoch {epoch} is not revealed yet")))?;
            self.evidence.spend(bundles.iter().map(Bytes::len).sum());
            page_of(bundles, offset)
        })
        .await
    }
}

/// The member whose connection a request came by.
fn caller<T>(request: &Request<T>) -> Result<Caller, Status> {
    request.extensions().get().cloned().ok_or_else(|| Status::unauthenticated("the connection has no peer"))
}

/// As many bundles behind `offset` as one reply holds.
fn page_of(bundles: Vec<Bytes>, offset: u32) -> Result<wire::FetchEvidenceReply, Status> {
    let total = u32::try_from(bundles.len()).map_err(|_| Status::internal("more bundles than can be counted"))?;
    let mut room = MAX_MESSAGE_BYTES;
    let rest = bundles.into_iter().skip(usize::try_from(offset).unwrap_or(usize::MAX));
    let page: Vec<Bytes> = rest
        .take_while(|bundle| {
            let fits = bundle.len() <= room;
            room = room.saturating_sub(bundle.len());
            fits
        })
        .collect();
    match page.is_empty() && offset < total {
        true => Err(Status::internal("a bundle is larger than a reply may be")),
        false => Ok(wire::FetchEvidenceReply { bundles: page, total }),
    }
}

async fn parse(envelope: Bytes) -> Result<Message, Status> {
    if envelope.len() > MAX_MESSAGE_BYTES {
        return Err(Status::invalid_argument(format!("the envelope has {} bytes, at most {MAX_MESSAGE_BYTES} are taken", envelope.len())));
    }
    let parsed = match envelope.len() > PARSED_IN_PLACE_BYTES {
        false => Message::decode(&envelope),
        true => {
            let parsing = tokio::task::spawn_blocking(move || Message::decode(&envelope));
            parsing.await.map_err(|_| Status::internal("parsing failed"))?
        }
    };
    parsed.map_err(invalid)
}

fn invalid(error: ConvertError) -> Status {
    Status::invalid_argument(error.to_string())
}
