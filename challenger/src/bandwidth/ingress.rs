//! Bytes to the provider, each frame acknowledged with the hash of all before it.

use std::collections::VecDeque;
use std::pin::pin;

use assay_core::challenge::Challenge;
use assay_core::challenge::kinds::bandwidth::ingress_bytes;
use assay_core::params::Bandwidth;
use assay_proto::provider::v1 as wire;
use bytes::Bytes;
use futures::{StreamExt, TryFutureExt};
use tokio::time::sleep_until;
use wire::ingress_frame::Frame;
use wire::ingress_reply::Reply;

use super::course::{Course, Run, Test};
use super::flow::Terms;
use crate::link::Link;

/// Bytes of a receipt's hash.
const RECEIPT_HASH_BYTES: usize = 16;

/// Runs the test until the provider answers or the window closes.
pub(super) async fn run(link: &Link, challenge: &Challenge, kept: [u8; 32], course: Course, terms: Terms, bandwidth: &Bandwidth) -> Run {
    let first = wire::IngressFrame { frame: Some(Frame::Challenge(challenge.into())) };
    let (mut test, frames) = Test::begin(course, terms, bandwidth, first);
    let mut replies = pin!(link.ingress(frames).try_flatten_stream());
    let mut window = pin!(sleep_until(course.end));
    let mut source = Source::new(kept);
    let answer = loop {
        tokio::select! {
            biased;
            () = &mut window => break None,
            reply = replies.next() => {
                let Some(Ok(message)) = reply else { break None };
                let Some(spoilt) = test.is_spoilt() else { break None };
                match message.reply {
                    Some(Reply::Answer(answer)) => break Some(answer),
                    _ if spoilt => {}
                    Some(Reply::Receipt(receipt)) => match source.is_right(&receipt) {
                        true => test.acknowledged(receipt.bytes, receipt.bytes),
                        false => test.spoil(),
                    },
                    None => test.spoil(),
                }
            }
            (bytes, place) = test.turn() => {
                place.send(wire::IngressFrame { frame: Some(Frame::Data(source.frame(bytes))) });
                test.offered(bytes);
            }
        }
    };
    test.end(answer)
}

/// The bytes, and what a provider that has them can say of them.
struct Source {
    bytes: blake3::OutputReader,
    sent: u64,
    hasher: blake3::Hasher,
    /// Ends of frames that are not acknowledged: (all bytes up to there, start of their hash).
    open: VecDeque<(u64, [u8; RECEIPT_HASH_BYTES])>,
}

impl Source {
    fn new(kept: [u8; 32]) -> Self {
        Self { bytes: ingress_bytes(&kept), sent: 0, hasher: blake3::Hasher::new(), open: VecDeque::new() }
    }

    fn frame(&mut self, bytes: u64) -> Bytes {
        let mut frame = vec![0; usize::try_from(bytes).unwrap_or(0)];
        self.bytes.fill(&mut frame);
        self.hasher.update(&frame);
        self.sent += frame.len() as u64;
        let mut start = [0; RECEIPT_HASH_BYTES];
        start.copy_from_slice(&self.hasher.finalize().as_bytes()[..RECEIPT_HASH_BYTES]);
        self.open.push_back((self.sent, start));
        frame.into()
    }

    /// Whether the receipt is for the end of a frame that was sent and not acknowledged before, and over its very bytes.
    fn is_right(&mut self, receipt: &wire::Receipt) -> bool {
        while let Some((end, hash)) = self.open.pop_front() {
            if end >= receipt.bytes {
                return end == receipt.bytes && hash[..] == receipt.hash[..];
            }
        }
        false
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn receipt(bytes: u64, hash: &[u8]) -> wire::Receipt {
        wire::Receipt { bytes, hash: hash.to_vec().into() }
    }

    // Defence: each condition of `Source::is_right`; one taken out turns its line red.
    #[test]
    fn only_receipts_for_what_was_sent_and_by_somebody_who_has_it_are_right() {
        let source = || {
            let mut source = Source::new([7; 32]);
            let all = [source.frame(5_000), source.frame(4_096), source.frame(1)].concat();
            (source, [5_000, 9_096, 9_097].map(|end| (end as u64, blake3::hash(&all[..end]))))
        };
        let (mut honest, ends) = source();
        assert!(ends.iter().all(|(end, hash)| honest.is_right(&receipt(*end, &hash.as_bytes()[..16]))));
        assert!(!honest.is_right(&receipt(9_097, &ends[2].1.as_bytes()[..16])), "twice");
        let (mut lazy, ends) = source();
        assert!(lazy.is_right(&receipt(9_096, &ends[1].1.as_bytes()[..16])), "one for two frames");
        assert!(!lazy.is_right(&receipt(5_000, &ends[0].1.as_bytes()[..16])), "back in time");
        let right = ends[0].1.as_bytes();
        for (bytes, hash) in
            [(5_000, &[0; 16][..]), (5_000, &right[..15]), (5_000, right), (4_999, &right[..16]), (9_098, &right[..16]), (0, &right[..16])]
        {
            assert!(!source().0.is_right(&receipt(bytes, hash)), "{bytes} {hash:?}");
        }
    }
}
