//! How far the close of an epoch was when: read from what oracles that no longer run have left, from their logs of inputs and their log files.

use std::fs;
use std::path::PathBuf;

use assay_core::ids::OracleId;
use assay_proto::oracle_convert::Message;

use super::Devnet;
use crate::record::{Record, RecordError};

const DAY_MS: u64 = 86_400_000;

/// Where an oracle leaves what it did.
#[derive(Clone, Debug)]
pub struct Place {
    oracle: OracleId,
    dir: PathBuf,
    log: PathBuf,
}

impl Devnet {
    /// Where every oracle leaves what it does; of one that was started again, what its first process logged.
    pub fn places(&self) -> Vec<Place> {
        let place = |node: &super::OracleNode| Place { oracle: node.id, dir: node.dir.clone(), log: node.logs[0].clone() };
        self.oracles.iter().map(place).collect()
    }
}

/// The steps of one close, in ms after a given time.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Steps {
    /// View of the report that was certified first.
    pub view: u64,
    /// Signers of that certificate.
    pub signers: u64,
    /// The last member signed its bit-vote.
    pub voted_ms: u64,
    /// The leader had checked the last bit-vote that it proposed with.
    pub votes_ms: u64,
    /// The last of the others had checked the proposal.
    pub proposal_ms: u64,
    /// The first oracle had the certificate.
    pub certified_ms: u64,
    /// The first transaction with it was given to the chain.
    pub sent_ms: u64,
}

/// What the oracles left of a run.
#[derive(Debug)]
pub struct Traces(Vec<Trace>);

#[derive(Debug)]
struct Trace {
    oracle: OracleId,
    arrivals: Vec<(u64, Message)>,
    log: String,
}

impl Traces {
    /// Reads them. The oracles must not run.
    pub async fn read(places: &[Place]) -> Result<Self, RecordError> {
        let mut traces = Vec::new();
        for Place { oracle, dir, log } in places {
            let file_error = |source| RecordError::File { path: log.clone(), source };
            let text = fs::read_to_string(log).map_err(file_error)?;
            traces.push(Trace { oracle: *oracle, arrivals: Record::of(dir).arrivals().await?, log: text });
        }
        Ok(Self(traces))
    }

    /// The steps of an epoch's close after `since_ms` (unix), which is before all of them; `None` if one was not made.
    pub fn steps(&self, epoch: u64, since_ms: u64) -> Option<Steps> {
        let (certified_ms, line) = self.earliest(&format!(": certified epoch={epoch} "), since_ms)?;
        let (sent_ms, _) = self.earliest(&format!(": sent intent=\"report/{epoch}/"), since_ms)?;
        let (view, signers) = (field(line, "view=")?, field(line, "signers=")?);
        let mut proposals = self.0.iter().flat_map(|trace| &trace.arrivals).filter_map(|(_, message)| match message {
            Message::Proposal(proposal) if proposal.epoch == epoch && proposal.view == view => Some(proposal),
            _ => None,
        });
        let proposal = proposals.next()?;
        let proposed_with = |oracle: OracleId| proposal.basis.bit_votes.iter().any(|signed| signed.vote.oracle == oracle);
        let last = |of: &dyn Fn(&Trace, &Message) -> bool| {
            let arrivals = self.0.iter().flat_map(|trace| trace.arrivals.iter().map(move |(ms, message)| (trace, ms, message)));
            arrivals.filter(|(trace, _, message)| of(trace, message)).map(|(_, ms, _)| ms.saturating_sub(since_ms)).max()
        };
        Some(Steps {
            view,
            signers,
            voted_ms: last(&|trace, message| voter(message, epoch) == Some(trace.oracle))?,
            votes_ms: last(&|trace, message| trace.oracle == proposal.leader && voter(message, epoch).is_some_and(proposed_with))?,
            proposal_ms: last(&|trace, message| match message {
                Message::Proposal(p) => trace.oracle != p.leader && (p.epoch, p.view) == (epoch, view),
                _ => false,
            })?,
            certified_ms,
            sent_ms,
        })
    }

    /// The earliest line that contains these words, in ms after `since_ms`.
    fn earliest(&self, words: &str, since_ms: u64) -> Option<(u64, &str)> {
        let lines = self.0.iter().filter_map(|trace| trace.log.lines().find(|line| line.contains(words)));
        lines.filter_map(|line| Some((ms_after(line, since_ms)?, line))).min()
    }
}

/// Whose bit-vote of the epoch this is.
fn voter(message: &Message, epoch: u64) -> Option<OracleId> {
    match message {
        Message::BitVote(signed) if signed.vote.epoch == epoch => Some(signed.vote.oracle),
        _ => None,
    }
}

fn field(line: &str, name: &str) -> Option<u64> {
    line.split_whitespace().find_map(|word| word.strip_prefix(name))?.parse().ok()
}

/// How long after `since_ms` (unix) a line was logged, less than a day: its date is not looked at.
fn ms_after(line: &str, since_ms: u64) -> Option<u64> {
    let time = line.split_whitespace().next()?.strip_suffix('Z')?.split_once('T')?.1;
    let mut parts = time.split(':');
    let (hours, minutes): (u64, u64) = (parts.next()?.parse().ok()?, parts.next()?.parse().ok()?);
    let seconds: f64 = parts.next()?.parse().ok()?;
    let of_day_ms = (hours * 60 + minutes) * 60_000 + (seconds * 1_000.0) as u64;
    Some((of_day_ms + DAY_MS - since_ms % DAY_MS) % DAY_MS)
}

#[cfg(test)]
mod tests {
    use super::*;

    const LINE: &str = "2026-11-23T00:00:01.250999Z  INFO assay_oracle::committee: certified epoch=3 view=1 digest=0x00 signers=16";

    #[test]
    fn a_line_is_so_long_after_a_time_even_across_midnight() {
        let midnight_ms = 20_780 * DAY_MS;
        assert_eq!(ms_after(LINE, midnight_ms), Some(1_250));
        assert_eq!(ms_after(LINE, midnight_ms - 4_000), Some(5_250));
        assert_eq!(ms_after("no time", midnight_ms), None);
    }

    #[test]
    fn fields_are_found_by_name() {
        assert_eq!((field(LINE, "view="), field(LINE, "signers="), field(LINE, "gas=")), (Some(1), Some(16), None));
    }
}
