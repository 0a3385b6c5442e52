//! Questions whose wrong answer costs money: they are put to every endpoint.
//!
//! An endpoint that lies or stands still makes a node believe that a report was accepted, that a transaction is final, or that its nonce is
//! free. So an answer counts when more than half of those that answer give it, and a height or a count when more than half reach it: with two
//! endpoints a difference means "not known yet", with three one may be wrong. An endpoint that does not answer is not waited for: whoever
//! silences all others is believed, as with a single endpoint.

use std::cmp::Reverse;
use std::future::Future;
use std::time::Duration;

use alloy_eips::BlockNumberOrTag;
use alloy_provider::transport::{TransportError, TransportErrorKind};
use alloy_provider::{Provider, RootProvider};
use alloy_sol_types::SolCall;
use assay_core::ids::Address;
use futures::future::join_all;
use tokio::time::timeout;
use tracing::warn;

use crate::client::BlockRef;
use crate::rpc::{decode, request};
use crate::{ChainError, Rpc, convert};

/// Beside others an endpoint has so long.
const PATIENCE: Duration = Duration::from_secs(3);

/// What one endpoint says.
struct Answer<T> {
    url: String,
    said: T,
}

impl Rpc {
    /// The answer that more than half give; [`ChainError::Differ`] when there is none.
    pub(crate) async fn agreed<T, F>(&self, what: &str, ask: impl Fn(RootProvider) -> F) -> Result<T, ChainError>
    where
        T: PartialEq,
        F: Future<Output = Result<T, TransportError>>,
    {
        let mut answers = self.answers(what, ask).await?;
        let count = answers.len();
        let agree = |said: &T| answers.iter().filter(|other| other.said == *said).count();
        let Some(index) = answers.iter().position(|answer| agree(&answer.said) * 2 > count) else {
            let urls = answers.into_iter().map(|answer| answer.url).collect::<Vec<_>>().join(", ");
            return Err(ChainError::Differ { what: what.to_owned(), urls });
        };
        let chosen = answers.swap_remove(index);
        for other in answers.iter().filter(|other| other.said != chosen.said) {
            warn!(rpc = other.url, what, "an RPC says otherwise than the others");
        }
        Ok(chosen.said)
    }

    /// The highest number that more than half reach.
    pub(crate) async fn vouched<F>(&self, what: &str, ask: impl Fn(RootProvider) -> F) -> Result<u64, ChainError>
    where
        F: Future<Output = Result<u64, TransportError>>,
    {
        Ok(highest_of_most(self.answers(what, ask).await?.into_iter().map(|answer| answer.said).collect()))
    }

    /// Puts a question to every endpoint. An error only when none answers.
    pub(crate) async fn tell_all<T, F>(&self, what: &str, ask: impl Fn(RootProvider) -> F) -> Result<(), ChainError>
    where
        F: Future<Output = Result<T, TransportError>>,
    {
        self.answers(what, ask).await.map(drop)
    }

    /// The newest block that more than half call final.
    pub(crate) async fn final_block(&self) -> Result<BlockRef, ChainError> {
        let height = self.final_height().await?;
        let found = self.agreed("eth_getBlockByNumber", |provider| block(provider, height)).await?;
        found.ok_or_else(|| ChainError::NoBlock { url: self.url().to_owned(), block: height.to_string() })
    }

    /// One view call as of the newest final block, decoded.
    pub(crate) async fn call_final<C: SolCall>(&self, to: &Address, call: C) -> Result<C::Return, ChainError> {
        let at = self.final_height().await?;
        let request = request(to, &call);
        let ask = |provider: RootProvider| {
            let request = request.clone();
            async move { provider.call(request).block(at.into()).await }
        };
        decode::<C>(&self.agreed(C::SIGNATURE, ask).await?)
    }

    /// One endpoint's tag suffices while it is alone; several are asked about one block, or they would differ whenever one is ahead.
    async fn final_height(&self) -> Result<BlockNumberOrTag, ChainError> {
        if self.each().len() == 1 {
            return Ok(BlockNumberOrTag::Finalized);
        }
        let height = async |provider| Ok(block(provider, BlockNumberOrTag::Finalized).await?.map_or(0, |block| block.number));
        Ok(BlockNumberOrTag::Number(self.vouched("eth_getBlockByNumber", height).await?))
    }

    /// What the endpoints say that answer; those that failed a moment ago are not asked while there are others. When none answers, the
    /// error of one that refused rather than of one that was silent.
    async fn answers<T, F>(&self, what: &str, ask: impl Fn(RootProvider) -> F) -> Result<Vec<Answer<T>>, ChainError>
    where
        F: Future<Output = Result<T, TransportError>>,
    {
        let alone = self.each().len() == 1;
        let all_rest = self.each().iter().all(|each| each.endpoint.rests());
        let asked = self.each().iter().filter(|each| all_rest || !each.endpoint.rests());
        let asking = asked.map(|each| {
            let answer = ask(each.provider.clone());
            async move { (each, if alone { answer.await } else { in_time(answer).await }) }
        });
        let (mut answers, mut failed) = (Vec::new(), None);
        for (each, answer) in join_all(asking).await {
            let url = each.endpoint.shown().to_owned();
            match answer {
                Ok(said) => answers.push(Answer { url, said }),
                Err(error) => {
                    if error.is_transport_error() && !alone {
                        warn!(rpc = url, %error, what, "an RPC fails, the others are asked for a while");
                        each.endpoint.rest();
                    }
                    let error = ChainError::rpc(&url, what, error);
                    if failed.is_none() || matches!(error, ChainError::Refused { .. }) {
                        failed = Some(error);
                    }
                }
            }
        }
        match failed {
            Some(error) if answers.is_empty() => Err(error),
            _ => Ok(answers),
        }
    }
}

pub(crate) async fn block(provider: RootProvider, at: BlockNumberOrTag) -> Result<Option<BlockRef>, TransportError> {
    let block = provider.get_block_by_number(at).await?;
    Ok(block.map(|block| BlockRef {
        number: block.header.number,
        hash: convert::hash(block.header.hash),
        timestamp_s: block.header.timestamp,
    }))
}

async fn in_time<T>(answer: impl Future<Output = Result<T, TransportError>>) -> Result<T, TransportError> {
    timeout(PATIENCE, answer).await.unwrap_or_else(|_| Err(TransportErrorKind::custom_str("no answer in time")))
}

fn highest_of_most(mut numbers: Vec<u64>) -> u64 {
    numbers.sort_unstable_by_key(|number| Reverse(*number));
    numbers.get(numbers.len() / 2).copied().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::highest_of_most;

    // Defence: more than half must reach a height; with the highest taken, one endpoint that runs ahead makes a final block of any.
    #[test]
    fn a_height_counts_when_more_than_half_reach_it() {
        for (numbers, expected) in [(&[7][..], 7), (&[7, 9], 7), (&[9, 7], 7), (&[9, 7, 8], 8), (&[0, 7, 9], 7), (&[6, 7, 8, 9], 7)] {
            assert_eq!(highest_of_most(numbers.to_vec()), expected, "{numbers:?}");
        }
    }
}
