//! When the record was last in use, and what a node that starts with it may sign.
//!
//! A record that rested for a while may be a copy, or its key may have moved on: whoever starts with it listens through the running epoch
//! before it signs. One that was in use a moment ago goes on at once, so that a crash costs no epoch.

use sqlx::{query, query_as};

use super::{Protection, ProtectionError, stored};

impl Protection {
    /// Takes the record into use and says from which epoch on it may sign. `epoch` is the running one, none before genesis; a gap shorter
    /// than an epoch (`epoch_ms`) is a restart.
    ///
    /// Epoch 0 is not listened through: no earlier statement could be heard, and everybody's record is new.
    pub async fn resume(&self, now_ms: u64, epoch: Option<u64>, epoch_ms: u64) -> Result<u64, ProtectionError> {
        let mut connection = self.connection.lock().await;
        let mut tx = self.begin(&mut connection).await?;
        let (alive_ms, rests, signs_from): (Option<i64>, bool, i64) =
            query_as("SELECT alive_ms, rests, signs_from FROM binding").fetch_one(&mut *tx).await.map_err(|source| self.failed(source))?;
        let alive_ms = alive_ms.map(|alive_ms| self.loaded(alive_ms)).transpose()?;
        let continues = rests || alive_ms.is_some_and(|alive_ms| now_ms.abs_diff(alive_ms) <= epoch_ms);
        let after_listening = match epoch {
            Some(running) if running > 0 && !continues => running.saturating_add(1),
            _ => 0,
        };
        let signs_from = self.loaded(signs_from)?.max(after_listening);
        query("UPDATE binding SET alive_ms = ?, rests = 0, signs_from = ?")
            .bind(stored("time", now_ms)?)
            .bind(stored("epoch", signs_from)?)
            .execute(&mut *tx)
            .await
            .map_err(|source| self.failed(source))?;
        tx.commit().await.map_err(|source| self.failed(source))?;
        Ok(signs_from)
    }

    /// Signs nothing of an earlier epoch than this, even after a restart.
    pub async fn put_off(&self, signs_from: u64) -> Result<(), ProtectionError> {
        self.set(query("UPDATE binding SET signs_from = max(signs_from, ?)").bind(stored("epoch", signs_from)?)).await
    }

    /// A sign of life.
    pub async fn alive(&self, now_ms: u64) -> Result<(), ProtectionError> {
        self.set(query("UPDATE binding SET alive_ms = ?").bind(stored("time", now_ms)?)).await
    }

    /// The process ends in order: whoever opens the record next knows everything that was signed.
    pub async fn rest(&self) -> Result<(), ProtectionError> {
        self.set(query("UPDATE binding SET rests = 1")).await
    }

    async fn set(&self, update: sqlx::query::Query<'_, sqlx::Sqlite, sqlx::sqlite::SqliteArguments>) -> Result<(), ProtectionError> {
        let mut connection = self.connection.lock().await;
        let mut tx = self.begin(&mut connection).await?;
        update.execute(&mut *tx).await.map_err(|source| self.failed(source))?;
        tx.commit().await.map_err(|source| self.failed(source))
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{fresh, open};

    const EPOCH_MS: u64 = 25_000;

    // Defence: `signs_from` of a record that was not in use; without it a second node with the key signs as soon as it runs.
    #[tokio::test]
    async fn a_record_that_was_not_in_use_listens_through_the_running_epoch() {
        let (_directory, path) = fresh().await;
        let record = open(&path).await;
        assert_eq!(record.resume(1_000_000, Some(7), EPOCH_MS).await.unwrap(), 8);
        // A restart while it listens goes on listening, and nothing more.
        assert_eq!(record.resume(1_001_000, Some(7), EPOCH_MS).await.unwrap(), 8);
        record.put_off(9).await.unwrap();
        assert_eq!(record.resume(1_020_000, Some(8), EPOCH_MS).await.unwrap(), 9);
        // A backup that is older than an epoch.
        assert_eq!(record.resume(1_045_001, Some(9), EPOCH_MS).await.unwrap(), 10);
    }

    #[tokio::test]
    async fn a_restart_loses_no_epoch() {
        let (_directory, path) = fresh().await;
        let record = open(&path).await;
        assert_eq!(record.resume(1_000_000, None, EPOCH_MS).await.unwrap(), 0, "before genesis");
        record.alive(1_200_000).await.unwrap();
        assert_eq!(record.resume(1_225_000, Some(7), EPOCH_MS).await.unwrap(), 0, "killed a moment ago");
        record.rest().await.unwrap();
        assert_eq!(record.resume(9_000_000, Some(300), EPOCH_MS).await.unwrap(), 0, "stopped in order");
        assert_eq!(record.resume(19_000_000, Some(700), EPOCH_MS).await.unwrap(), 701, "the good-bye counts once");
    }

    #[tokio::test]
    async fn the_first_epoch_of_a_network_is_signed_by_new_records() {
        let (_directory, path) = fresh().await;
        assert_eq!(open(&path).await.resume(1_000_000, Some(0), EPOCH_MS).await.unwrap(), 0);
    }
}
