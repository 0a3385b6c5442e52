//! Silences that providers rebutted on the chain, answers included.

use alloy_provider::Provider;
use alloy_rpc_types_eth::{Filter, Log};
use alloy_sol_types::SolEvent;
use assay_contracts_bindings::SlaSettlement;
use assay_core::challenge::{MAX_EXTRA, STORAGE_SAMPLES};
use assay_core::hash::Hash32;
use assay_core::ids::ProviderId;
use assay_core::secp::Signature65;
use assay_core::slice::{CHUNK_BYTES, MAX_SIBLINGS};
use tracing::warn;

use crate::{ChainError, Client, convert};

/// Siblings of one sample, as the contract bounds them.
const MAX_SIBLINGS_BYTES: usize = MAX_SIBLINGS * 32;
/// After so many the reading pauses: 92 kB each at most.
const ENOUGH: usize = 64;

/// A provider's answer to one storage challenge, as `SlaSettlement.rebut` takes it and its event gives it back.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct LateAnswer {
    /// The challenge that it answers.
    pub challenge_digest: Hash32,
    /// 30 to 40 samples of 1,024 bytes, one after the other.
    pub chunks: Vec<u8>,
    /// For each sample its chaining values from the chunk up to the root: whole words of 32 bytes, at most 54.
    pub siblings: Vec<Vec<u8>>,
    /// By the receipt key.
    pub signature: Signature65,
}

/// A silence that was rebutted. The contract checked the signature, and that the challenge is the one of the slash; whether the
/// chunks belong to the replica is for the reader to judge.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Rebuttal {
    /// Who rebutted.
    pub provider: ProviderId,
    /// The epoch of the silence.
    pub epoch: u64,
    /// The answer.
    pub answer: LateAnswer,
    /// Transaction.
    pub tx_hash: Hash32,
    /// Its block.
    pub block_number: u64,
}

/// Rebuttals of some blocks.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Rebuttals {
    /// In the order of the chain.
    pub found: Vec<Rebuttal>,
    /// All blocks before this one were read: where to go on.
    pub next_block: u64,
}

impl Client {
    /// The rebuttals from `from_block` on, up to and with `to_block`, or the first of them: the reading pauses after 64, at the end of
    /// a block. Ask again from `next_block` until it is beyond `to_block`, which must be a block that exists.
    ///
    /// Where the answer is too large, or the RPC refuses so many blocks, fewer are asked for. An event that this contract cannot
    /// have emitted is skipped and logged.
    pub async fn rebuttals(&self, from_block: u64, to_block: u64) -> Result<Rebuttals, ChainError> {
        let to_block = to_block.min(u64::MAX - 1);
        let mut found = Vec::new();
        let mut first = from_block;
        let mut more = to_block.saturating_sub(first); // blocks after the first
        while first <= to_block && found.len() < ENOUGH {
            let last = first.saturating_add(more).min(to_block);
            match self.rebuttal_logs(first, last).await {
                Ok(logs) => {
                    found.extend(logs.iter().filter_map(rebuttal));
                    first = last + 1;
                    more = more.saturating_mul(2).max(1);
                }
                Err(ChainError::TooLarge { .. } | ChainError::Refused { .. }) if first < last => more = (last - first) / 2,
                Err(error) => return Err(error),
            }
        }
        Ok(Rebuttals { found, next_block: first })
    }

    async fn rebuttal_logs(&self, first: u64, last: u64) -> Result<Vec<Log>, ChainError> {
        let filter = Filter::new()
            .address(convert::to_alloy(&self.settlement()?))
            .event_signature(SlaSettlement::SlashRebutted::SIGNATURE_HASH)
            .from_block(first)
            .to_block(last);
        self.provider().get_logs(&filter).await.map_err(|error| self.rpc_error("eth_getLogs", error))
    }
}

fn rebuttal(log: &Log) -> Option<Rebuttal> {
    let parsed = parse(log);
    if let Err(reason) = &parsed {
        warn!(block = log.block_number, tx = ?log.transaction_hash, reason, "a SlashRebutted event makes no sense, skipped");
    }
    parsed.ok()
}

fn parse(log: &Log) -> Result<Rebuttal, String> {
    let (Some(tx_hash), Some(block_number), false) = (log.transaction_hash, log.block_number, log.removed) else {
        return Err("it is in no block".to_owned());
    };
    let event = SlaSettlement::SlashRebutted::decode_log(&log.inner).map_err(|error| error.to_string())?.data;
    let samples = event.siblings.len() as u64;
    if !(u64::from(STORAGE_SAMPLES)..=u64::from(STORAGE_SAMPLES) + MAX_EXTRA as u64).contains(&samples) {
        return Err(format!("{samples} samples"));
    }
    if event.chunks.len() as u64 != samples * CHUNK_BYTES {
        return Err(format!("chunks of {} bytes", event.chunks.len()));
    }
    if let Some(path) = event.siblings.iter().find(|path| path.len() > MAX_SIBLINGS_BYTES || path.len() % 32 != 0) {
        return Err(format!("siblings of {} bytes", path.len()));
    }
    let signature = Signature65::from_slice(&event.signature).map_err(|error| error.to_string())?;
    Ok(Rebuttal {
        provider: ProviderId(event.providerId),
        epoch: event.epoch,
        answer: LateAnswer {
            challenge_digest: convert::hash(event.challengeDigest),
            chunks: event.chunks.to_vec(),
            siblings: event.siblings.iter().map(|path| path.to_vec()).collect(),
            signature,
        },
        tx_hash: convert::hash(tx_hash),
        block_number,
    })
}

#[cfg(test)]
mod tests {
    use alloy_primitives::{Bytes, LogData};

    use super::*;

    fn event() -> SlaSettlement::SlashRebutted {
        SlaSettlement::SlashRebutted {
            providerId: 7,
            epoch: 3,
            challengeDigest: [1; 32].into(),
            chunks: vec![2; 30 * 1024].into(),
            siblings: vec![vec![3; 96].into(); 30],
            signature: vec![4; 65].into(),
        }
    }

    fn log(data: LogData) -> Log {
        let inner = alloy_primitives::Log { address: Default::default(), data };
        Log { inner, block_number: Some(9), transaction_hash: Some([5; 32].into()), ..Log::default() }
    }

    #[test]
    fn an_event_reads_back() {
        let answer = LateAnswer {
            challenge_digest: Hash32([1; 32]),
            chunks: vec![2; 30 * 1024],
            siblings: vec![vec![3; 96]; 30],
            signature: Signature65([4; 65]),
        };
        let expected = Rebuttal { provider: ProviderId(7), epoch: 3, answer, tx_hash: Hash32([5; 32]), block_number: 9 };
        assert_eq!(rebuttal(&log(event().encode_log_data())), Some(expected));
    }

    // Defence: every size is checked. Any of the checks removed, a lying RPC hands the node an answer of other than 30 to 40 samples, and
    // this turns red.
    #[test]
    fn what_the_contract_cannot_have_emitted_is_skipped() {
        let with_path = |length: usize| {
            let mut siblings = event().siblings;
            siblings[17] = vec![0; length].into();
            siblings
        };
        let of = |samples: usize| SlaSettlement::SlashRebutted {
            chunks: vec![2; samples * 1024].into(),
            siblings: vec![vec![3; 96].into(); samples],
            ..event()
        };
        assert!([30, 40].into_iter().all(|samples| rebuttal(&log(of(samples).encode_log_data())).is_some()));
        let bent = [
            of(29),
            of(41),
            SlaSettlement::SlashRebutted { chunks: vec![2; 30 * 1024 - 1].into(), ..event() },
            SlaSettlement::SlashRebutted { chunks: Bytes::new(), ..event() },
            SlaSettlement::SlashRebutted { siblings: event().siblings[1..].to_vec(), ..event() },
            SlaSettlement::SlashRebutted { siblings: vec![Bytes::new(); 31], ..event() },
            SlaSettlement::SlashRebutted { siblings: with_path(33), ..event() },
            SlaSettlement::SlashRebutted { siblings: with_path(65 * 32), ..event() },
            SlaSettlement::SlashRebutted { signature: vec![4; 64].into(), ..event() },
        ];
        for event in bent {
            assert_eq!(rebuttal(&log(event.encode_log_data())), None);
        }
        let sound = event().encode_log_data();
        let mut cut = sound.clone();
        cut.data = sound.data.slice(..sound.data.len() / 2);
        assert_eq!(rebuttal(&log(cut)), None);
        assert_eq!(rebuttal(&Log { removed: true, ..log(sound.clone()) }), None);
        assert_eq!(rebuttal(&Log { block_number: None, ..log(sound) }), None);
    }
}
