//! alloy's transport: the first endpoint that answers.

use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use alloy_json_rpc::{RequestPacket, ResponsePacket};
use alloy_provider::transport::{BoxFuture, TransportError, TransportErrorKind};
use tower_service::Service;
use tracing::{debug, warn};

use crate::endpoint::{Endpoint, Failure};

const REQUEST_TIMEOUT: Duration = Duration::from_secs(10);
/// What an endpoint has while there is another to ask.
const IMPATIENT_TIMEOUT: Duration = Duration::from_secs(3);
/// Waits before the second and third round. Every request that the client makes may be repeated: reads, and raw
/// transactions whose hash is fixed.
const BACKOFF: [Duration; 2] = [Duration::from_millis(100), Duration::from_millis(400)];

/// Asks the endpoints in their order; those that failed a moment ago come last.
#[derive(Clone)]
pub(crate) struct Failover {
    endpoints: Arc<[Arc<Endpoint>]>,
    /// Whoever serves another chain is passed over; none while the chain is asked for.
    chain_id: Option<u64>,
}

impl Failover {
    pub fn new(endpoints: impl IntoIterator<Item = Arc<Endpoint>>, chain_id: Option<u64>) -> Self {
        Self { endpoints: endpoints.into_iter().collect(), chain_id }
    }

    async fn request(self, packet: RequestPacket) -> Result<ResponsePacket, TransportError> {
        let impatient = if self.endpoints.len() > 1 { IMPATIENT_TIMEOUT } else { REQUEST_TIMEOUT };
        for (wait, timeout) in BACKOFF.into_iter().zip([impatient, REQUEST_TIMEOUT]) {
            match self.round(&packet, timeout).await {
                Ok(response) => return Ok(response),
                Err(Failure::Lasting(error)) => return Err(error),
                Err(Failure::Passing(error)) => debug!(%error, ?wait, "RPC request failed, trying again"),
            }
            tokio::time::sleep(wait).await;
        }
        self.round(&packet, REQUEST_TIMEOUT).await.map_err(|failure| match failure {
            Failure::Passing(error) | Failure::Lasting(error) => error,
        })
    }

    /// Asks one after the other until one answers. It fails for good only if all do.
    async fn round(&self, packet: &RequestPacket, timeout: Duration) -> Result<ResponsePacket, Failure> {
        let (resting, fresh): (Vec<_>, Vec<_>) = self.endpoints.iter().partition(|endpoint| endpoint.rests());
        let mut failed = None;
        for endpoint in fresh.into_iter().chain(resting) {
            match self.attempt(endpoint, packet, timeout).await {
                Ok(response) => return Ok(response),
                Err(failure) if !matches!(failed, Some(Failure::Passing(_))) => failed = Some(failure),
                Err(_) => {}
            }
        }
        Err(failed.unwrap_or_else(|| Failure::Lasting(TransportErrorKind::custom_str("there is no endpoint"))))
    }

    async fn attempt(&self, endpoint: &Endpoint, packet: &RequestPacket, timeout: Duration) -> Result<ResponsePacket, Failure> {
        if let Some(chain_id) = self.chain_id {
            endpoint.check_chain(chain_id, timeout).await.inspect_err(|failure| self.note(endpoint, failure))?;
        }
        let response = endpoint.attempt(packet, timeout).await.inspect_err(|failure| self.note(endpoint, failure))?;
        endpoint.wake();
        Ok(response)
    }

    /// A failure that lasts is about the request, not the endpoint.
    fn note(&self, endpoint: &Endpoint, failure: &Failure) {
        if let Failure::Passing(error) = failure
            && self.endpoints.len() > 1
        {
            warn!(rpc = endpoint.shown(), %error, "an RPC fails, the others are asked first for a while");
            endpoint.rest();
        }
    }
}

impl Service<RequestPacket> for Failover {
    type Response = ResponsePacket;
    type Error = TransportError;
    type Future = BoxFuture<'static, Result<ResponsePacket, TransportError>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, packet: RequestPacket) -> Self::Future {
        Box::pin(self.clone().request(packet))
    }
}
