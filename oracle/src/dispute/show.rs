//! What the command found, did, and what comes next, in words.

use std::fmt;

use assay_chain::Mismatch;
use assay_chain::command::Outcome;
use assay_core::hash::Hash32;
use assay_core::ids::{Address, ProviderId};
use serde_json::{Value, json};

use super::Next;

/// Where a report is on its way.
#[derive(Clone, Debug)]
pub(super) enum State {
    /// All its verdicts stand before the court.
    Sound,
    /// A verdict is wrong, and the dispute is what is sent.
    Disputed(ProviderId, Mismatch),
    /// Proven wrong, and no signers' court was named.
    Convicted,
    /// Proven wrong by somebody else, whose rewards the next step earns.
    Anothers(Address),
    /// Proven wrong; this was due and is what is sent.
    Followed(Next),
    /// Proven wrong; nothing is due now.
    Idle(Next),
    /// Void without a conviction: by a guardian, for want of data, or with an earlier report.
    Void,
}

/// What the command shows.
#[derive(Clone, Debug)]
pub(super) struct Shown {
    epoch: u64,
    report: Hash32,
    state: State,
    /// What is wrong about the APIs that were asked in vain.
    notes: Vec<String>,
    outcome: Option<Outcome>,
}

/// What is sent for a step.
pub(super) fn what(next: &Next, epoch: u64) -> String {
    match next {
        Next::Slash(left) => format!("slash {} signers of the report of epoch {epoch}", left.len()),
        _ => format!("open the review of who signed the report of epoch {epoch}"),
    }
}

impl Shown {
    pub(super) fn new(epoch: u64, report: Hash32, state: State) -> Self {
        Self { epoch, report, state, notes: Vec::new(), outcome: None }
    }

    /// With what is wrong about the APIs that were asked in vain.
    pub(super) fn noting(self, notes: Vec<String>) -> Self {
        Self { notes, ..self }
    }

    /// With what was sent, or would be.
    pub(super) fn doing(self, outcome: Outcome) -> Self {
        Self { outcome: Some(outcome), ..self }
    }

    /// Whether this report asks for nothing any more.
    pub(super) fn is_over(&self) -> bool {
        matches!(self.state, State::Void | State::Idle(Next::Done | Next::Cancelled))
    }

    fn name(&self) -> &'static str {
        match &self.state {
            State::Sound => "sound",
            State::Disputed(..) => "wrong",
            State::Convicted => "convicted",
            State::Anothers(_) => "anothers",
            State::Followed(Next::Open) => "reviewOpened",
            State::Followed(Next::Slash(_)) => "signersSlashed",
            State::Followed(_) => "rewardsWithdrawn",
            State::Idle(Next::Wait(_)) => "reviewRuns",
            State::Idle(Next::Cancelled) => "cancelled",
            State::Idle(_) => "done",
            State::Void => "void",
        }
    }

    /// What was found, and what comes next.
    fn words(&self) -> (String, String) {
        let nothing = "nothing is left to do".to_owned();
        let again = |what: &str| format!("call this command again to {what}");
        match &self.state {
            State::Sound => {
                ("every verdict follows from its panel, as far as the court can know".to_owned(), "the report is not disputed".to_owned())
            }
            State::Disputed(provider, mismatch) => {
                (format!("the verdict on provider {provider} is wrong: {mismatch}"), again("open the review of who signed it"))
            }
            State::Convicted => (
                "it was proven wrong and is void".to_owned(),
                "name the signers' court with --signers-court to have its signers slashed".to_owned(),
            ),
            State::Anothers(challenger) => (
                format!("{challenger} proved it wrong, and gets the rewards"),
                "nothing is sent; with --for-others the next step is done all the same".to_owned(),
            ),
            State::Followed(Next::Open) => {
                ("it was proven wrong and is void".to_owned(), again("slash who signed it, once the review is over"))
            }
            State::Followed(Next::Slash(left)) => {
                (format!("its review is over: {} signers were not slashed yet", left.len()), again("see whether anything is left"))
            }
            State::Followed(_) => ("everybody who signed it was slashed".to_owned(), nothing),
            State::Idle(Next::Wait(until_s)) => {
                (format!("its review runs until unix time {until_s}"), again("slash who signed it, after that"))
            }
            State::Idle(Next::Cancelled) => ("the owner of the signers' court called the slash off".to_owned(), nothing),
            State::Idle(_) => ("everybody who signed it was slashed".to_owned(), nothing),
            State::Void => ("it is void, and the aggregation court convicted nobody".to_owned(), nothing),
        }
    }

    /// For `--json`.
    pub(super) fn json(&self) -> Value {
        let (found, next) = self.words();
        let (provider, mismatch) = match &self.state {
            State::Disputed(provider, mismatch) => (Some(*provider), Some(format!("{mismatch:?}"))),
            _ => (None, None),
        };
        let due_s = match &self.state {
            State::Idle(Next::Wait(until_s)) => Some(*until_s),
            _ => None,
        };
        json!({
            "epoch": self.epoch, "report": self.report, "state": self.name(), "provider": provider, "mismatch": mismatch, "found": found,
            "next": next, "nextAt": due_s, "notes": self.notes, "sent": self.outcome.as_ref().map(Outcome::json),
        })
    }
}

impl fmt::Display for Shown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for note in &self.notes {
            writeln!(f, "{note}")?;
        }
        let (found, next) = self.words();
        writeln!(f, "epoch {}, report {}: {found}", self.epoch, self.report)?;
        if let Some(outcome) = &self.outcome {
            writeln!(f, "{}", outcome.to_string().trim_end())?;
        }
        write!(f, "Next: {next}.")
    }
}
