//! Stored groups from the provider, each proven before it counts.

use std::pin::pin;
use std::sync::Arc;

use assay_core::challenge::Challenge;
use assay_core::challenge::egress::{GroupPlace, credit_of, groups};
use assay_core::challenge::kinds::bandwidth::Total;
use assay_core::claim::ClaimSet;
use assay_core::params::Bandwidth;
use assay_core::slice::group::{Group, verify_group};
use assay_proto::provider::v1 as wire;
use futures::{StreamExt, TryFutureExt};
use tokio::time::sleep_until;
use wire::egress_reply::Reply;
use wire::egress_request::Request;

use super::course::{Course, Run, Test};
use super::flow::Terms;
use crate::link::Link;

/// Runs the test until the provider answers or the window closes.
pub(super) async fn run(
    link: &Link,
    challenge: &Challenge,
    claims: Arc<ClaimSet>,
    course: Course,
    terms: Terms,
    bandwidth: &Bandwidth,
) -> Run {
    let first = wire::EgressRequest { request: Some(Request::Challenge(challenge.into())) };
    let (mut test, requests) = Test::begin(course, terms, bandwidth, first);
    let mut replies = pin!(link.egress(requests).try_flatten_stream());
    let mut window = pin!(sleep_until(course.end));
    let mut sink = Sink::new(groups(challenge, claims));
    let answer = loop {
        tokio::select! {
            biased;
            () = &mut window => break None,
            reply = replies.next() => {
                let Some(Ok(message)) = reply else { break None };
                let Some(spoilt) = test.is_spoilt() else { break None };
                match message.reply {
                    Some(Reply::Answer(answer)) => {
                        if !spoilt && !sink.agrees_with(&answer) {
                            test.spoil();
                        }
                        break Some(answer);
                    }
                    _ if spoilt => {}
                    Some(Reply::Group(group)) => match sink.take(group, test.all_offered()) {
                        Some(()) => test.acknowledged(sink.used, sink.proven),
                        None => test.spoil(),
                    },
                    None => test.spoil(),
                }
            }
            (credit, place) = test.turn() => {
                place.send(wire::EgressRequest { request: Some(Request::Credit(credit)) });
                test.offered(credit);
            }
        }
    };
    test.end(answer)
}

/// What has come.
struct Sink<I> {
    places: I,
    /// Credit that was used up.
    used: u64,
    /// Bytes, siblings included, whose groups lead to their roots.
    proven: u64,
    received: u64,
    hasher: blake3::Hasher,
}

impl<I: Iterator<Item = GroupPlace>> Sink<I> {
    fn new(places: I) -> Self {
        Self { places, used: 0, proven: 0, received: 0, hasher: blake3::Hasher::new() }
    }

    /// Takes the next group; `None` when it is more than there is `credit` for in all, or not the group that is next. An empty one is no
    /// wrong one and counts nothing.
    fn take(&mut self, group: wire::Group, credit: u64) -> Option<()> {
        if self.used >= credit {
            return None;
        }
        let group = Group::try_from(group).ok()?;
        let place = self.places.next()?;
        self.used += credit_of(&group);
        self.received += group.size();
        self.hasher.update(&group.bytes).update(group.siblings.as_flattened());
        if !group.bytes.is_empty() {
            verify_group(&place.root, place.total_bytes, place.group, &group).ok()?;
            self.proven += group.size();
        }
        Some(())
    }

    /// Whether the answer, if it is one, states what has come.
    fn agrees_with(&self, answer: &wire::ChallengeReply) -> bool {
        let received = Total { bytes: self.received, hash: *self.hasher.finalize().as_bytes() };
        Total::from_payload(&answer.payload).is_none_or(|stated| stated == received)
    }
}
