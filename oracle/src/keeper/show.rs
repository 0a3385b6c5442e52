//! What a pass shows: before each transaction what it earns and costs, afterwards what became of all.

use std::fmt;

use assay_chain::keeper::{Action, Kept, Tariff, Trial};
use assay_chain::tokens::Tokens;
use assay_core::hash::Hash32;
use serde_json::{Value, json};

use super::due::Batch;

/// One transaction.
#[derive(Clone, Debug)]
pub(super) struct Row {
    epoch: u64,
    what: String,
    action: Option<Action>,
    /// Items, by the trial.
    done: u64,
    /// By the trial, smallest unit.
    tip: u128,
    gas_limit: u64,
    gas: u64,
    max_cost_wei: u128,
    pub(super) state: State,
}

/// What became of it.
#[derive(Clone, Debug)]
pub(super) enum State {
    /// Only shown.
    Announced,
    /// In a block.
    Sent(Kept),
    /// In a block, and reverted: somebody else was faster.
    TooLate(Hash32),
}

/// What a pass found and did.
#[derive(Clone, Debug, Default)]
pub(super) struct Summary {
    pub(super) dry_run: bool,
    /// What actions earn; empty when nothing is due.
    pub(super) tariffs: Vec<(Action, Tariff)>,
    /// What the keeper holds to pay from, smallest unit.
    pub(super) holds: u128,
    pub(super) rows: Vec<Row>,
    /// What is due and would not work, with the reason.
    pub(super) refused: Vec<String>,
    /// What the reader should know.
    pub(super) notes: Vec<String>,
}

fn name(action: Action) -> &'static str {
    match action {
        Action::Claim => "claim",
        Action::Slash => "slash",
        Action::Booking => "booking",
    }
}

/// The tariffs, before the first transaction.
pub(super) fn offered(summary: &Summary) -> String {
    let one = |(action, tariff): &(Action, Tariff)| {
        format!("{} a {} ({} of {} used today)", Tokens(tariff.tip), name(*action), tariff.used, tariff.per_day)
    };
    let all: Vec<String> = summary.tariffs.iter().map(one).collect();
    format!("The keeper holds {} tokens and tips {}", Tokens(summary.holds), all.join(", "))
}

impl Row {
    pub(super) fn of(batch: &Batch, trial: &Trial, gas_limit: u64, max_cost_wei: u128) -> Self {
        Self {
            epoch: batch.epoch,
            what: batch.what(),
            action: batch.action(),
            done: trial.done,
            tip: trial.tip,
            gas_limit,
            gas: trial.gas,
            max_cost_wei,
            state: State::Announced,
        }
    }

    /// Before it is sent.
    pub(super) fn announced(&self) -> String {
        let cost = Tokens(self.max_cost_wei);
        format!("epoch {}: {}: tip {} tokens, {} gas, at most {cost} ether", self.epoch, self.what, Tokens(self.tip), self.gas)
    }

    /// After it was.
    pub(super) fn reported(&self) -> String {
        match &self.state {
            State::Announced => "  not sent: dry run".to_owned(),
            State::Sent(kept) => {
                let (block, tx) = (kept.mined.block_number, kept.mined.tx_hash);
                format!("  block {block}, {} gas, tip {} tokens, transaction {tx}", kept.mined.gas_used, Tokens(kept.tip))
            }
            State::TooLate(tx) => format!("  somebody else was faster: transaction {tx} reverted"),
        }
    }

    /// (items, tip, gas) as it is or would be.
    fn figures(&self) -> (u64, u128, u64) {
        match &self.state {
            State::Announced => (self.done, self.tip, self.gas),
            State::Sent(kept) => (self.done.saturating_sub(kept.skipped), kept.tip, kept.mined.gas_used),
            State::TooLate(_) => (0, 0, self.gas),
        }
    }

    fn json(&self) -> Value {
        let (done, tip, gas) = self.figures();
        let (state, tx) = match &self.state {
            State::Announced => ("dryRun", None),
            State::Sent(kept) => ("sent", Some(kept.mined.tx_hash)),
            State::TooLate(tx) => ("tooLate", Some(*tx)),
        };
        json!({
            "epoch": self.epoch, "what": self.what, "action": self.action, "done": done, "tip": Tokens(tip), "gas": gas,
            "gasLimit": self.gas_limit, "maxCostWei": self.max_cost_wei.to_string(), "state": state, "tx": tx,
        })
    }
}

impl Summary {
    /// What all of it earned, or would.
    fn tip(&self) -> u128 {
        self.rows.iter().fold(0, |sum, row| sum.saturating_add(row.figures().1))
    }

    /// For `--json`.
    pub(super) fn json(&self) -> Value {
        let tariff = |(action, tariff): &(Action, Tariff)| json!({ "action": action, "tip": Tokens(tariff.tip), "perDay": tariff.per_day, "used": tariff.used });
        json!({
            "dryRun": self.dry_run, "tariffs": self.tariffs.iter().map(tariff).collect::<Vec<_>>(), "holds": Tokens(self.holds),
            "transactions": self.rows.iter().map(Row::json).collect::<Vec<_>>(), "tip": Tokens(self.tip()),
            "refused": self.refused, "notes": self.notes,
        })
    }
}

impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for note in &self.notes {
            writeln!(f, "{note}")?;
        }
        for refused in &self.refused {
            writeln!(f, "not sent: {refused}")?;
        }
        if self.rows.is_empty() {
            return write!(f, "Nothing is due.");
        }
        let width = self.rows.iter().map(|row| row.what.len()).max().unwrap_or(0);
        writeln!(f, "{:>7}  {:width$}  {:>5}  {:>9}  tip", "epoch", "what", "items", "gas")?;
        for row in &self.rows {
            let (done, tip, gas) = row.figures();
            writeln!(f, "{:>7}  {:width$}  {done:>5}  {gas:>9}  {}", row.epoch, row.what, Tokens(tip))?;
        }
        let earned = if self.dry_run { "Would earn" } else { "Earned" };
        write!(f, "{earned} {} tokens.", Tokens(self.tip()))
    }
}
