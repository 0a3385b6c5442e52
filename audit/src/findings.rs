//! What an audit found: one line a claim.

use std::fmt;

use assay_core::ids::OracleId;
use serde::{Serialize, Serializer};

/// How a claim came out.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Mark {
    /// Recomputed, and so.
    Holds,
    /// Not so, or what would show it was not delivered.
    Fails,
    /// What it rests on fails.
    Unchecked,
}

impl Mark {
    /// The sign in front of a line.
    pub fn sign(self) -> char {
        match self {
            Self::Holds => '✓',
            Self::Fails => '✗',
            Self::Unchecked => '–',
        }
    }
}

impl Serialize for Mark {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(match self {
            Self::Holds => "holds",
            Self::Fails => "fails",
            Self::Unchecked => "unchecked",
        })
    }
}

/// What is claimed, in the order of the lines.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Claim {
    /// Chain, contracts and parameters are one network's.
    Network,
    /// The chain accepted a report of the epoch.
    Chain,
    /// The API's report is that one.
    Report,
    /// It was computed for the registries as they stood at the reference block.
    Setting,
    /// More than two thirds of the committee's weight signed it.
    Certificate,
    /// It continues from the ledger of the last accepted report.
    Parent,
    /// Whose reveal counts follows from signed bit-votes.
    Inclusion,
    /// All of these reveals are here, open their signed commits, and count what their VRFs schedule.
    Reveals,
    /// Every fact is proven.
    Facts,
    /// The seeds are the beacon's.
    Beacon,
    /// Panels drawn anew give the root over observations.
    Panels,
    /// Observations aggregated anew give the verdicts' root.
    Aggregation,
    /// Rewards and slashes computed anew give their roots and totals.
    Money,
    /// The whole report computed anew is the accepted one, to the byte.
    Recomputed,
    /// The verdicts that the API publishes are these.
    Verdicts,
    /// Every observation's evidence is there.
    Evidence,
    /// Every slice that was looked at is what the oracle says of it.
    Proofs,
    /// Whoever is said to have broken the protocol did.
    Misbehaviour,
}

impl Claim {
    /// All of them, in order.
    pub const ALL: [Self; 18] = [
        Self::Network,
        Self::Chain,
        Self::Report,
        Self::Setting,
        Self::Certificate,
        Self::Parent,
        Self::Inclusion,
        Self::Reveals,
        Self::Facts,
        Self::Beacon,
        Self::Panels,
        Self::Aggregation,
        Self::Money,
        Self::Recomputed,
        Self::Verdicts,
        Self::Evidence,
        Self::Proofs,
        Self::Misbehaviour,
    ];

    /// Its name in a line.
    pub fn name(self) -> &'static str {
        match self {
            Self::Network => "network",
            Self::Chain => "chain",
            Self::Report => "report",
            Self::Setting => "setting",
            Self::Certificate => "certificate",
            Self::Parent => "parent",
            Self::Inclusion => "inclusion",
            Self::Reveals => "reveals",
            Self::Facts => "facts",
            Self::Beacon => "beacon",
            Self::Panels => "panels",
            Self::Aggregation => "aggregation",
            Self::Money => "money",
            Self::Recomputed => "recomputed",
            Self::Verdicts => "verdicts",
            Self::Evidence => "evidence",
            Self::Proofs => "proofs",
            Self::Misbehaviour => "misbehaviour",
        }
    }
}

/// One line.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct Line {
    /// What is claimed.
    pub claim: Claim,
    /// How it came out.
    pub mark: Mark,
    /// The numbers, or what is wrong.
    pub text: String,
}

/// An oracle that says something else than its own evidence. Attributable: the evidence is the one that its signed commit binds.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct Flag {
    /// Who.
    pub oracle: OracleId,
    /// What.
    pub text: String,
}

/// Everything that was found about one epoch.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize)]
pub struct Findings {
    /// What was believed without proof, each with how to pin it.
    pub trusted: Vec<String>,
    /// At most one line a claim.
    pub lines: Vec<Line>,
    /// By oracle.
    pub flags: Vec<Flag>,
}

impl Findings {
    /// Adds a line; `None` when the claim fails.
    pub fn check<T>(&mut self, claim: Claim, outcome: Result<(T, String), String>) -> Option<T> {
        let (value, mark, text) = match outcome {
            Ok((value, text)) => (Some(value), Mark::Holds, text),
            Err(text) => (None, Mark::Fails, text),
        };
        self.lines.push(Line { claim, mark, text });
        value
    }

    /// Adds a line for every claim that has none yet.
    pub fn finish(&mut self) {
        for claim in Claim::ALL {
            if self.mark(claim).is_none() {
                self.lines.push(Line { claim, mark: Mark::Unchecked, text: "not checked: what it rests on fails".into() });
            }
        }
        self.lines.sort_by_key(|line| line.claim);
    }

    /// How a claim came out, if it was looked at.
    pub fn mark(&self, claim: Claim) -> Option<Mark> {
        self.lines.iter().find(|line| line.claim == claim).map(|line| line.mark)
    }

    /// Whether every claim holds.
    pub fn hold(&self) -> bool {
        self.lines.iter().all(|line| line.mark == Mark::Holds)
    }
}

impl fmt::Display for Findings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for trusted in &self.trusted {
            writeln!(f, "· {trusted}")?;
        }
        for Line { claim, mark, text } in &self.lines {
            writeln!(f, "{} {:<12} {text}", mark.sign(), claim.name())?;
        }
        for Flag { oracle, text } in &self.flags {
            writeln!(f, "⚑ {:<12} {text}", format!("oracle {oracle}"))?;
        }
        Ok(())
    }
}

/// `1 oracle`, `2 oracles`.
pub fn plural(count: usize, what: &str) -> String {
    let end = if count == 1 { "" } else { "s" };
    format!("{count} {what}{end}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_aligned_and_in_order_and_what_was_not_reached_is_said() {
        let mut findings = Findings::default();
        findings.trusted.push("settlement 0x01 taken from the API: pin it with --settlement".into());
        findings.check(Claim::Chain, Ok(((), "accepted".into())));
        findings.check::<()>(Claim::Network, Err("no network".into()));
        findings.flags.push(Flag { oracle: OracleId(5), text: "lies".into() });
        findings.finish();
        assert_eq!(findings.lines.len(), Claim::ALL.len());
        assert!(!findings.hold());
        let text = findings.to_string();
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(
            lines[1..4],
            ["✗ network      no network", "✓ chain        accepted", "– report       not checked: what it rests on fails"]
        );
        assert_eq!(lines.last(), Some(&"⚑ oracle 5     lies"));
    }
}
