//! What the two directions have in common: their times, their control, and what is left of them at the end.

use std::time::Duration;

use assay_core::params::Bandwidth;
use assay_proto::provider::v1::ChallengeReply;
use futures::Stream;
use tokio::sync::mpsc;
use tokio::time::Instant;

use super::flow::{Flow, Next, Terms};
use super::slices::Slices;

/// Messages to the provider that wait for the network; offering stops while they do.
pub(super) const AHEAD: usize = 8;
/// Replies that are read and dropped after a wrong one, until the answer comes: far more than an honest provider has under way.
const DROPPED_REPLIES: u32 = 256;

/// When a test begins and ends.
#[derive(Clone, Copy, Debug)]
pub(super) struct Course {
    pub start: Instant,
    /// Nothing is offered afterwards.
    pub offer_until: Instant,
    /// The window closes.
    pub end: Instant,
}

/// What became of one direction, before anybody judges it.
#[derive(Debug)]
pub(super) struct Run {
    pub slices: Slices,
    pub ended: Instant,
    /// Something that came is not what an honest provider sends.
    pub wrong: bool,
    /// The provider's last word, and how long after ours it came.
    pub answer: Option<(ChallengeReply, Duration)>,
}

/// One direction under way.
pub(super) struct Test<M> {
    course: Course,
    flow: Flow,
    slices: Slices,
    /// `None` when our side is closed.
    sender: Option<mpsc::Sender<M>>,
    closed_at: Instant,
    wrong: bool,
    dropped: u32,
}

impl<M: Send + 'static> Test<M> {
    /// Begins with the message that names the challenge. The messages are for the call.
    pub fn begin(course: Course, terms: Terms, bandwidth: &Bandwidth, first: M) -> (Self, impl Stream<Item = M> + Send + use<M>) {
        let (sender, mut receiver) = mpsc::channel(AHEAD);
        // It has room for at least one.
        let _ = sender.try_send(first);
        let test = Self {
            course,
            flow: Flow::new(terms, course.start, course.end),
            slices: Slices::new(bandwidth, course.start),
            sender: Some(sender),
            closed_at: course.end,
            wrong: false,
            dropped: 0,
        };
        (test, futures::stream::poll_fn(move |context| receiver.poll_recv(context)))
    }

    /// Waits until bytes may be offered: how many, and the place for their message. Closes our side when there will be none any more, and
    /// then waits for ever.
    pub async fn turn(&mut self) -> (u64, mpsc::OwnedPermit<M>) {
        loop {
            let now = Instant::now();
            let Some(sender) = self.sender.clone().filter(|_| now < self.course.offer_until) else {
                self.close();
                return std::future::pending().await;
            };
            let until = match self.flow.next(now) {
                Next::Now(bytes) => match tokio::time::timeout_at(self.course.offer_until, sender.reserve_owned()).await {
                    Ok(Ok(permit)) => return (bytes, permit),
                    _ => continue,
                },
                Next::At(at) => at.min(self.course.offer_until),
                // What is acknowledged comes as a reply, and then this is called again.
                Next::Acknowledged => self.course.offer_until,
                Next::Done => now,
            };
            if until == now {
                self.close();
                continue;
            }
            drop(sender);
            tokio::time::sleep_until(until).await;
        }
    }

    /// `bytes` are on their way.
    pub fn offered(&mut self, bytes: u64) {
        self.flow.offer(Instant::now(), bytes);
    }

    /// `acknowledged` bytes of what was offered have done their way; `counted` of them are to the provider's credit.
    pub fn acknowledged(&mut self, acknowledged: u64, counted: u64) {
        let now = Instant::now();
        self.flow.acknowledge(now, acknowledged);
        self.slices.note(now, counted);
    }

    /// Bytes offered so far.
    pub fn all_offered(&self) -> u64 {
        self.flow.offered()
    }

    /// Nothing that comes from now on counts.
    pub fn spoil(&mut self) {
        self.wrong = true;
        self.close();
    }

    /// Whether the test is spoilt; when too much comes all the same, `None`: nobody waits for an answer any more.
    pub fn is_spoilt(&mut self) -> Option<bool> {
        self.dropped += u32::from(self.wrong);
        (self.dropped <= DROPPED_REPLIES).then_some(self.wrong)
    }

    fn close(&mut self) {
        if self.sender.take().is_some() {
            self.closed_at = Instant::now();
        }
    }

    /// Ends the test with the provider's last word, if it had one.
    pub fn end(self, answer: Option<ChallengeReply>) -> Run {
        let ended = Instant::now();
        let after = ended.saturating_duration_since(self.closed_at);
        Run { slices: self.slices, ended, wrong: self.wrong, answer: answer.map(|reply| (reply, after)) }
    }
}
