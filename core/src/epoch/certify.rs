//! From signatures to a certificate, and from a certificate to whoever posts it.

use super::{Close, Effect, is_due};
use crate::hash::Hash32;
use crate::report::Certificate;

impl Close {
    /// The certificate of a report that follows the parent, once there is one. Before the parent is known any will do.
    pub fn certificate(&self) -> Option<&Certificate> {
        match &self.parent {
            Some(parent) => self.certificates.get(&parent.digest),
            None => self.certificates.values().next(),
        }
    }

    /// Makes the certificate, or takes a peer's, and asks to hand it over together with the outcome it stands for until that is done.
    pub(super) fn certify(&mut self, now_ms: u64, effects: &mut Vec<Effect>) {
        if self.certificate().is_none()
            && let Some(certificate) = self.assemble(now_ms)
        {
            self.certificates.insert(certificate.report.parent_digest, certificate);
        }
        let Some(digest) = self.certificate().map(|certificate| certificate.report.digest()) else { return };
        if self.handed_over.contains(&digest) || !is_due(self.asked_to_hand_over(&digest), now_ms) {
            return;
        }
        let Some(certificate) = self.certificate().cloned() else { return };
        if !self.outcomes.contains_key(&digest) {
            // A peer's certificate came before we had computed the report: the proposal tells how.
            let view = certificate.report.view;
            let Some(proposal) = self.proposals.get(&view).cloned() else { return };
            let Some(outcome) = self.compute(view, &proposal.basis, effects) else { return };
            self.outcomes.insert(outcome.ledger.digest, outcome);
        }
        if let Some(outcome) = self.outcomes.get(&digest) {
            self.asked_hand_over = Some((digest, now_ms));
            effects.push(Effect::Certified(Box::new(certificate), Box::new(outcome.clone())));
        }
    }

    fn asked_to_hand_over(&self, digest: &Hash32) -> Option<u64> {
        self.asked_hand_over.filter(|(asked, _)| asked == digest).map(|(_, asked_ms)| asked_ms)
    }

    /// After quorum, waits a little for the missing signatures: each costs gas. A report under a parent that proved wrong is nobody's any more.
    fn assemble(&mut self, now_ms: u64) -> Option<Certificate> {
        let parent = self.parent.as_ref()?.digest;
        let follows = |digest: &Hash32| self.outcomes.get(digest).is_some_and(|outcome| outcome.report.parent_digest == parent);
        let is_quorum = |by| self.setting.is_quorum(self.setting.weight_of(by));
        let ((_, digest), by) = self.signatures.iter().find(|((_, digest), by)| follows(digest) && is_quorum(by.keys()))?;
        let since = *self.quorum_since_ms.get_or_insert(now_ms);
        let all = by.len() == self.setting.members.len();
        if !all && now_ms < since.saturating_add(self.setting.params.signature_grace_ms) {
            return None;
        }
        let report = self.outcomes.get(digest)?.report.clone();
        Certificate::assemble(&self.setting, report, by).ok()
    }
}
