//! Another transaction for the same nonce: with higher fees when no block takes the first one, or a cancellation.

use assay_core::ids::Address;
use tracing::{info, warn};

use super::attempts::{self, Attempt};
use super::row::{Sent, State};
use super::{Outbox, OutboxError, store};
use crate::transaction::{self, Draft, SignedTx, TransactionError};

/// Gas of a transfer of nothing.
const TRANSFER_GAS: u64 = 21_000;

impl Outbox {
    /// Raises the fees of the first transaction that no block has taken for [`super::OutboxConfig::raise_after`]; those behind it wait for
    /// its nonce anyway. At the cap it says so and waits. Part of [`Outbox::step`].
    pub async fn raise_fees(&self) -> Result<(), OutboxError> {
        let rows = store::in_flight(&self.0.pool).await?;
        let Some(row) = rows.iter().find(|row| row.state != State::Mined).filter(|row| row.state == State::Broadcast) else {
            self.set_alert(None);
            return Ok(());
        };
        let Some(last) = &attempts::newest(&self.0.pool, row).await? else { return Ok(()) };
        if u128::from(attempts::now_ms().saturating_sub(last.signed_ms)) < self.0.config.raise_after.as_millis() {
            return Ok(());
        }
        match self.replace(row, last, last.cancels).await {
            Ok(_) => {
                self.set_alert(None);
                Ok(())
            }
            Err(OutboxError::Transaction(error @ TransactionError::TooDear { .. })) => {
                let text = format!("transaction {} of intent {} is stuck: {error}", row.tx_hash, row.intent);
                warn!(intent = row.intent, nonce = row.nonce, %error, "stuck at the cap");
                store::note_error(&self.0.pool, row.id, &text).await?;
                self.set_alert(Some(text));
                Ok(())
            }
            Err(error) => Err(error),
        }
    }

    /// Gives an intent up. One that is queued ends at once. One that has a nonce is replaced by a transfer of nothing to ourselves; whichever
    /// of the two is mined counts, and the intent ends as finalized or as reverted with the reason "cancelled". False when it is mined, done
    /// or unknown.
    pub async fn cancel(&self, intent: &str) -> Result<bool, OutboxError> {
        if store::cancel_queued(&self.0.pool, intent).await? {
            self.changed();
            return Ok(true);
        }
        let rows = store::in_flight(&self.0.pool).await?;
        let Some(row) = rows.iter().find(|row| row.intent == intent && row.state != State::Mined) else { return Ok(false) };
        let Some(last) = &attempts::newest(&self.0.pool, row).await? else { return Ok(false) };
        let replaced = last.cancels || self.replace(row, last, true).await?;
        self.wake();
        Ok(replaced)
    }

    async fn replace(&self, row: &Sent, last: &Attempt, cancels: bool) -> Result<bool, OutboxError> {
        let signed = self.sign_again(row, last, cancels).await?;
        let replaced = attempts::replace(&self.0.pool, row, &signed, cancels).await?;
        if replaced {
            info!(intent = row.intent, nonce = row.nonce, fees = ?signed.fees, cancels, tx = %signed.hash, "replaced");
            self.changed();
        }
        Ok(replaced)
    }

    async fn sign_again(&self, row: &Sent, last: &Attempt, cancels: bool) -> Result<SignedTx, OutboxError> {
        let inner = &*self.0;
        let rpc = inner.client.rpc();
        let cap_wei = inner.config.max_fee_per_gas_wei;
        let fees = last.fees.raised(transaction::current_fees(rpc, cap_wei).await?, cap_wei)?;
        let (to, calldata): (Address, Vec<u8>) = match cancels {
            true => (inner.sender, Vec::new()),
            false => store::call_of(&inner.pool, row.id).await?,
        };
        let gas_limit = if cancels { TRANSFER_GAS } else { last.gas_limit };
        let draft = Draft { chain_id: rpc.chain_id(), to: &to, calldata: &calldata, gas_limit, fees };
        Ok(draft.sign(row.nonce, &inner.key).map_err(TransactionError::Key)?)
    }
}
