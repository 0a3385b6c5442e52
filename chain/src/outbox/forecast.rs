//! How long the sender's balance lasts.

use super::{Outbox, OutboxError, attempts};
use crate::transaction;

const DAY_MS: u64 = 24 * 60 * 60 * 1_000;
/// What was spent in so many days says what will be.
const WINDOW_DAYS: u64 = 7;

/// The sender's balance and how long it lasts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Forecast {
    /// Balance now.
    pub balance_wei: u128,
    /// Whole days until it is spent, at the rate of the last week; none before anything was spent.
    pub days: Option<u64>,
}

impl Outbox {
    /// Reads the balance and compares it with what final transactions of the last week cost.
    pub async fn forecast(&self) -> Result<Forecast, OutboxError> {
        let now_ms = attempts::now_ms();
        let balance_wei = transaction::balance(self.0.client.rpc(), &self.0.sender).await?;
        let (spent_gwei, first_ms) = attempts::spent(&self.0.pool, now_ms.saturating_sub(WINDOW_DAYS * DAY_MS)).await?;
        let spent_in_ms = first_ms.map_or(0, |first_ms| now_ms.saturating_sub(first_ms));
        Ok(Forecast { balance_wei, days: days(balance_wei, spent_gwei, spent_in_ms) })
    }
}

fn days(balance_wei: u128, spent_gwei: u64, spent_in_ms: u64) -> Option<u64> {
    let balance_gwei = balance_wei / 1_000_000_000;
    let lasts_ms = balance_gwei.saturating_mul(spent_in_ms.max(1).into()).checked_div(spent_gwei.into())?;
    Some(u64::try_from(lasts_ms / u128::from(DAY_MS)).unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_balance_lasts_as_long_as_the_rate_says() {
        let gwei = 1_000_000_000;
        assert_eq!(days(10 * gwei, 1, DAY_MS), Some(10));
        assert_eq!(days(10 * gwei, 4, 2 * DAY_MS), Some(5));
        assert_eq!(days(0, 4, DAY_MS), Some(0));
        assert_eq!(days(10 * gwei, 0, DAY_MS), None, "nothing was spent");
        assert_eq!(days(u128::MAX, 1, u64::MAX), Some(u64::MAX));
    }
}
