//! The challenge plane against bare gRPC.
//!
//! Ours: whole slots of echo challenges through the oracle's prober and a real provider; schedule, challenge, digests, protobuf, answer,
//! bookkeeping for the seal, judging and the transcript's way to its reader are all in. The yardstick: the same generated service and
//! messages on the same transport settings, runtimes, connections and number of tasks, with a handler that copies 32 bytes.

use std::time::Duration;

use assay_challenger::link::WARM_UP_EXCHANGES;
use assay_core::params::Params;
use assay_daemon::grpc;
use assay_proto::provider::v1 as wire;
use assay_proto::provider::v1::provider_client::ProviderClient;
use assay_proto::provider::v1::provider_server::{Provider, ProviderServer};
use assay_provider::config::Limits;
use futures::future::join_all;
use futures::stream::BoxStream;
use tokio::task::JoinSet;
use tonic::transport::{Channel, Endpoint, Server};
use tonic::{Request, Response, Status, Streaming};

use crate::harness::{Plan, pair};
use crate::plane::{Plane, patient};
use crate::table::Table;

/// Connections, each an oracle's.
const CONNECTIONS: u64 = 4;

/// Many short samples: what else the machine does changes from one tenth of a second to the next.
const PLAN: Plan = Plan { samples: 151, sample: Duration::from_millis(20), warm_up: Duration::from_millis(1_000) };

pub fn measure(table: &mut Table) {
    let plane = Plane::start();
    let params = patient(echoes_only());
    let lines: Vec<_> = (0..CONNECTIONS).map(|_| plane.line()).collect();
    let assignments: Vec<_> = (1..=CONNECTIONS).map(|oracle| plane.assignment(oracle, 0, &params)).collect();
    let requests: Vec<Vec<wire::ChallengeRequest>> =
        assignments.iter().map(|slot| slot.schedule.challenges().map(|(_, challenge)| (&challenge).into()).collect()).collect();
    let total: usize = requests.iter().map(Vec::len).sum();

    let ours = || {
        let slots = assignments.iter().zip(&lines).map(|(slot, line)| plane.clients.spawn(plane.slot(slot.clone(), line.clone())));
        let slots: Vec<_> = slots.collect();
        // An answer that was judged right is one to be sealed.
        plane.clients.block_on(join_all(slots)).iter().map(|slot| slot.as_ref().unwrap().0.unsigned.len()).sum::<usize>() == total
    };

    let bare = Bare::start(&plane);
    let clients: Vec<_> = (0..CONNECTIONS).map(|_| bare.client(&plane)).collect();
    let theirs = || {
        let bursts: Vec<_> =
            clients.iter().zip(&requests).map(|(client, requests)| plane.clients.spawn(burst(client.clone(), requests.clone()))).collect();
        plane.clients.block_on(join_all(bursts)).into_iter().map(|answered| answered.unwrap()).sum::<usize>() == total
    };

    let pair = pair(PLAN, ours, theirs);
    let rate = |seconds: f64| total as f64 / seconds;
    table.put(
        "grpc.challenge_over_bare",
        pair.ratio.map(f64::recip),
        "",
        "echo challenges a second, judged and kept / calls a second of a bare tonic echo",
    );
    table.put("grpc.challenge_s", pair.ours.map(rate), "1/s", "the former, alone (client and server on these cpus)");
    table.put("grpc.bare_s", pair.theirs.map(rate), "1/s", "the latter, alone");
}

/// A slot of about 125 echo challenges and nothing else.
fn echoes_only() -> Params {
    let mut params = Params::devnet();
    params.slot_ms = 125;
    params.probing.latency_mean_ms = 1;
    params.probing.block_share_ppm = 0;
    params.probing.availability_mean_ms = 1 << 40;
    params.probing.storage_audits_per_slot = 0;
    params
}

/// Sends all requests at once, each in a task of its own, and counts the answers.
async fn burst(client: ProviderClient<Channel>, requests: Vec<wire::ChallengeRequest>) -> usize {
    let mut calls = JoinSet::new();
    for request in requests {
        let mut client = client.clone();
        calls.spawn(async move { client.challenge(request).await.is_ok() });
    }
    let mut answered = 0;
    while let Some(call) = calls.join_next().await {
        answered += usize::from(call.unwrap());
    }
    answered
}

/// A server with the provider's transport settings and none of its work.
struct Bare {
    endpoint: String,
}

impl Bare {
    fn start(plane: &Plane) -> Self {
        let limits = Limits::default();
        let (incoming, address) = plane.servers.block_on(grpc::bind("127.0.0.1:0".parse().unwrap())).unwrap();
        // As in assay_provider::app.
        let server = Server::builder()
            .concurrency_limit_per_connection(limits.requests_per_connection)
            .max_concurrent_streams(u32::try_from(limits.requests_per_connection).ok())
            .initial_stream_window_size(4 << 20)
            .initial_connection_window_size(8 << 20)
            .http2_keepalive_interval(Some(Duration::from_secs(30)))
            .add_service(ProviderServer::new(Echo).max_decoding_message_size(1 << 20));
        plane.servers.spawn(server.serve_with_incoming(incoming));
        Self { endpoint: format!("http://{address}") }
    }

    /// With the settings of assay_challenger::link, and as warm.
    fn client(&self, plane: &Plane) -> ProviderClient<Channel> {
        let inside = plane.clients.enter();
        let channel = Endpoint::from_shared(self.endpoint.clone())
            .unwrap()
            .connect_timeout(Duration::from_secs(2))
            .tcp_nodelay(true)
            .http2_keep_alive_interval(Duration::from_secs(10))
            .keep_alive_timeout(Duration::from_secs(5))
            .keep_alive_while_idle(true)
            .http2_max_header_list_size(16 * 1024)
            .connect_lazy();
        drop(inside);
        let client = ProviderClient::new(channel).max_decoding_message_size(1 << 20);
        for _ in 0..WARM_UP_EXCHANGES {
            plane.clients.block_on(client.clone().describe(wire::DescribeRequest {})).unwrap();
        }
        client
    }
}

struct Echo;

#[tonic::async_trait]
impl Provider for Echo {
    async fn challenge(&self, request: Request<wire::ChallengeRequest>) -> Result<Response<wire::ChallengeReply>, Status> {
        let payload = request.into_inner().child;
        Ok(Response::new(wire::ChallengeReply { payload, ..Default::default() }))
    }

    async fn describe(&self, _: Request<wire::DescribeRequest>) -> Result<Response<wire::DescribeReply>, Status> {
        Ok(Response::new(wire::DescribeReply::default()))
    }

    async fn releases(&self, _: Request<wire::ReleasesRequest>) -> Result<Response<wire::ReleasesReply>, Status> {
        Err(Status::unimplemented("an echo"))
    }

    async fn claims(&self, _: Request<wire::ClaimsRequest>) -> Result<Response<wire::ClaimsReply>, Status> {
        Err(Status::unimplemented("an echo"))
    }

    async fn seal(&self, _: Request<wire::SealRequest>) -> Result<Response<wire::SealReply>, Status> {
        Err(Status::unimplemented("an echo"))
    }

    type IngressStream = BoxStream<'static, Result<wire::IngressReply, Status>>;

    async fn ingress(&self, _: Request<Streaming<wire::IngressFrame>>) -> Result<Response<Self::IngressStream>, Status> {
        Err(Status::unimplemented("an echo"))
    }

    type EgressStream = BoxStream<'static, Result<wire::EgressReply, Status>>;

    async fn egress(&self, _: Request<Streaming<wire::EgressRequest>>) -> Result<Response<Self::EgressStream>, Status> {
        Err(Status::unimplemented("an echo"))
    }
}
