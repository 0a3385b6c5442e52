//! Views: how long one lasts, and how members agree to leave it.

use super::{Close, Effect, MAX_VIEW, is_due};
use crate::ids::OracleId;

impl Close {
    pub(super) fn view_length_ms(&self) -> u64 {
        let deadlines = &self.setting.params.deadlines;
        let base = deadlines.sign_ms.saturating_sub(deadlines.bit_vote_ms);
        let doubled = u32::try_from(self.view).ok().and_then(|view| base.checked_shl(view)).unwrap_or(u64::MAX);
        doubled.min(self.setting.params.view_cap_ms).max(base)
    }

    /// Wishes for a later view when this one is over or a third of weight waits there, and enters what a quorum wishes for.
    pub(super) fn change_view(&mut self, now_ms: u64, me: OracleId, effects: &mut Vec<Effect>) {
        let next = self.view.saturating_add(1);
        // Amplify: one honest oracle already waits there.
        let amplified = self
            .wishes
            .iter()
            .filter(|(view, by)| **view > self.view && self.setting.is_third(self.setting.weight_of(*by)))
            .map(|(view, _)| *view)
            .max();
        let timed_out = (now_ms >= self.view_ends_ms).then_some(next);
        // Never a lower view than one that we wished for.
        let said = self.wishes.iter().filter(|(_, by)| by.contains(&me)).map(|(view, _)| *view).max();
        if let Some(wish) = amplified.max(timed_out).filter(|view| Some(*view) > said && *view <= MAX_VIEW)
            && (wish > self.wished || is_due(self.asked_wish_ms, now_ms))
        {
            self.wished = wish;
            self.asked_wish_ms = Some(now_ms);
            effects.push(Effect::SignWish { view: wish });
        }
        let agreed = self
            .wishes
            .iter()
            .filter(|(view, by)| **view > self.view && self.setting.is_quorum(self.setting.weight_of(*by)))
            .map(|(view, _)| *view)
            .max();
        if let Some(view) = agreed {
            self.view = view;
            self.quorum_since_ms = None;
            self.view_ends_ms = now_ms.saturating_add(self.view_length_ms());
        }
    }
}
