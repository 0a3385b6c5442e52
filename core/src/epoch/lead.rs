//! The leader's part: what to propose, and when.

use std::collections::BTreeSet;

use super::messages::{self, Basis, MessageError, Proposal, SignedBitVote, Verified, counted_commits, verify_proposal_beside};
use super::{Close, Draft, Effect, is_due, voters_for};
use crate::hash::Hash32;
use crate::ids::OracleId;
use crate::observation::SignedCommit;

impl Close {
    /// Checks a proposal, but for what it carries of the statements that we hold: they were checked when they came.
    pub fn verify_proposal(&self, proposal: Proposal) -> Result<Verified<Proposal>, MessageError> {
        let leader = self.leader(proposal.view).ok_or(MessageError::Leader { sender: proposal.leader, view: proposal.view })?;
        let knows_commit = |signed: &SignedCommit, digest: &Hash32| self.commit(signed.commit.oracle, digest) == Some(signed);
        let knows_bit_vote = |signed: &SignedBitVote| self.bit_votes.get(&signed.vote.oracle) == Some(signed);
        verify_proposal_beside(&self.setting, leader, proposal, knows_commit, knows_bit_vote)
    }

    /// Proposes in our own view, once.
    pub(super) fn lead(&mut self, now_ms: u64, me: OracleId, effects: &mut Vec<Effect>) {
        if self.leader(self.view) != Some(me) || self.proposals.contains_key(&self.view) {
            return;
        }
        if self.own_draft.as_ref().is_none_or(|draft| draft.view != self.view) {
            self.draft(now_ms, effects);
        }
        // The proposal leaves once our own signature under it is recorded.
        let Some(draft) = self.own_draft.as_mut().filter(|draft| draft.view == self.view && is_due(draft.asked_ms, now_ms)) else { return };
        let Some(signature) = self.signatures.get(&(draft.view, draft.digest)).and_then(|by| by.get(&me)).copied() else { return };
        let (epoch, view, report_digest, basis) = (self.setting.epoch, draft.view, draft.digest, draft.basis.clone());
        let proposal = Proposal { epoch, view, leader: me, basis, report_digest, signature };
        draft.asked_ms = Some(now_ms);
        effects.push(Effect::SendProposal(Box::new(Verified::own(proposal))));
    }

    fn draft(&mut self, now_ms: u64, effects: &mut Vec<Effect>) {
        let voters: Vec<OracleId> = self.bit_votes.keys().copied().collect();
        let complete = voters.len() == self.setting.members.len();
        let due = now_ms >= self.after_end(self.setting.params.deadlines.bit_vote_ms);
        if !(complete || due) || !self.setting.is_quorum(self.setting.weight_of(&voters)) {
            return;
        }
        let Some(basis) = self.basis(effects) else { return };
        let Some(outcome) = self.compute(self.view, &basis, effects) else { return };
        let digest = outcome.ledger.digest;
        self.outcomes.insert(digest, outcome);
        self.own_draft = Some(Draft { view: self.view, basis, digest, asked_ms: None });
        self.decided.entry(self.view).or_insert((digest, 0));
    }

    /// What to propose: every bit-vote held, but for those that name commits withheld from us. These commits are asked for. Meanwhile as few
    /// votes are left out as it takes, so that liars who vote for what nobody else was shown do not keep honest leaders from proposing. Any
    /// quorum has every timely reveal.
    fn basis(&mut self, effects: &mut Vec<Effect>) -> Option<Basis> {
        let mut bit_votes = self.bit_votes.clone();
        let counted = loop {
            let counted = messages::single(&counted_commits(&self.setting, bit_votes.values()));
            let withheld: BTreeSet<(OracleId, Hash32)> =
                counted.iter().map(|(o, d)| (*o, *d)).filter(|key| !self.commits.contains_key(key)).collect();
            if withheld.is_empty() {
                break counted;
            }
            for (oracle, commit) in &withheld {
                if self.fetched.insert((*oracle, *commit)) {
                    let from = voters_for(&(*oracle, *commit), self.bit_votes.values());
                    effects.push(Effect::FetchReveal { oracle: *oracle, commit: *commit, from });
                }
            }
            let names = |signed: &SignedBitVote| signed.vote.held.iter().filter(|key| withheld.contains(key)).count();
            let (voter, _) = bit_votes.iter().max_by_key(|(voter, signed)| (names(signed), **voter))?;
            let voter = *voter;
            bit_votes.remove(&voter);
            if !self.setting.is_quorum(self.setting.weight_of(bit_votes.keys())) {
                // Nobody could follow until what we lack has come, or another leader's turn.
                return None;
            }
        };
        // Every commit that counts, and a second one of its oracle as evidence of equivocation; of others two or none.
        let mut commits = Vec::new();
        for member in &self.setting.members {
            let of = (member.oracle, Hash32::ZERO)..=(member.oracle, Hash32([0xff; 32]));
            let mut held: Vec<(&Hash32, &SignedCommit)> =
                self.commits.range(of).map(|((_, digest), held)| (digest, &held.signed)).collect();
            let single = counted.get(&member.oracle);
            held.sort_by_key(|(digest, _)| single != Some(*digest));
            held.truncate(2);
            if held.len() < 2 && single.is_none() {
                continue;
            }
            held.sort_by_key(|(digest, _)| **digest);
            commits.extend(held.into_iter().map(|(_, signed)| *signed));
        }
        Some(Basis { commits, bit_votes: bit_votes.into_values().collect() })
    }
}
