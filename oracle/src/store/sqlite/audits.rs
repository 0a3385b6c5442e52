//! [`AuditStore`] on SQLite.

use assay_core::claim::ClaimSet;
use assay_core::hash::Hash32;
use assay_core::ids::ProviderId;
use async_trait::async_trait;
use serde::Serialize;
use serde::de::DeserializeOwned;
use sqlx::sqlite::SqliteRow;
use sqlx::{Row, SqliteConnection, query};
use tracing::warn;

use super::{SqliteStore, signed, unsigned};
use crate::store::audits::{AuditStore, ClaimAge, ClaimVersion, PLANS_KEPT_EPOCHS, Plan, ProviderAge, Samples, Tally};
use crate::store::{Store, StoreError};

/// Records that are read at once: between two pages others may use the connection.
const PAGE: i64 = 10_000;

impl SqliteStore {
    fn encode(&self, document: &impl Serialize, what: &'static str) -> Result<String, StoreError> {
        serde_json::to_string(document).map_err(|_| self.malformed(what))
    }

    fn decode<T: DeserializeOwned>(&self, row: &SqliteRow, column: usize, what: &'static str) -> Result<T, StoreError> {
        serde_json::from_str(row.get(column)).map_err(|_| self.malformed(what))
    }

    async fn due(&self, now_ms: u64) -> Result<Vec<u64>, StoreError> {
        let rows = query("SELECT DISTINCT epoch FROM storage_tallies WHERE due_ms <= ? ORDER BY epoch")
            .bind(signed(now_ms))
            .fetch_all(&self.pool)
            .await
            .map_err(|error| self.failed(error))?;
        Ok(rows.iter().map(|row| unsigned(row.get(0))).collect())
    }

    async fn tallies(&self, epoch: u64) -> Result<Vec<Tally>, StoreError> {
        let rows = query("SELECT tally FROM storage_tallies WHERE epoch = ? ORDER BY provider")
            .bind(signed(epoch))
            .fetch_all(&self.pool)
            .await
            .map_err(|error| self.failed(error))?;
        rows.iter().map(|row| self.decode(row, 0, "tally")).collect()
    }

    /// The claim set of a tally, when it is another than at the last fold: then claims may have left. One damaged set does not stop everybody's
    /// fold: its provider's records keep what left.
    async fn changed_set(&self, tally: &Tally) -> Result<Option<ClaimSet>, StoreError> {
        if self.provider_age(tally.provider).await?.is_some_and(|age| age.root == tally.root) {
            return Ok(None);
        }
        match self.claims(&tally.root).await {
            Err(error @ StoreError::Malformed { .. }) => {
                warn!(%error, "claims that left a set stay in the records");
                Ok(None)
            }
            set => set,
        }
    }

    async fn fold(&self, epoch: u64) -> Result<bool, StoreError> {
        let mut tallies = Vec::new();
        for tally in self.tallies(epoch).await? {
            // A large set takes seconds to read: before the transaction, which everybody waits for.
            let changed = self.changed_set(&tally).await?;
            tallies.push((tally, changed));
        }
        let failed = |error| self.failed(error);
        let mut transaction = self.pool.begin().await.map_err(failed)?;
        let marked = query(
            "INSERT INTO storage_folded (only, epoch) VALUES (0, ?)
             ON CONFLICT (only) DO UPDATE SET epoch = excluded.epoch WHERE excluded.epoch > storage_folded.epoch",
        );
        let is_new = marked.bind(signed(epoch)).execute(&mut *transaction).await.map_err(failed)?.rows_affected() > 0;
        if is_new {
            for (tally, changed) in &tallies {
                fold_tally(&mut transaction, epoch, tally).await.map_err(failed)?;
                if let Some(set) = changed {
                    forget_claims(&mut transaction, tally.provider, set).await.map_err(failed)?;
                }
            }
        }
        for done in ["DELETE FROM storage_tallies WHERE epoch <= ?", "DELETE FROM storage_plans WHERE epoch <= ?"] {
            query(done).bind(signed(epoch)).execute(&mut *transaction).await.map_err(failed)?;
        }
        transaction.commit().await.map_err(failed)?;
        Ok(is_new)
    }
}

async fn fold_tally(connection: &mut SqliteConnection, epoch: u64, tally: &Tally) -> Result<(), sqlx::Error> {
    let Samples { last_proven_ms, clean, bad } = tally.total;
    query(
        "INSERT INTO storage_providers AS kept (provider, epoch, root, last_proven_ms, clean, bad) VALUES (?, ?, ?, ?, ?, ?)
         ON CONFLICT (provider) DO UPDATE SET epoch = excluded.epoch, root = excluded.root,
             last_proven_ms = coalesce(excluded.last_proven_ms, kept.last_proven_ms),
             clean = excluded.clean + CASE WHEN excluded.bad > 0 THEN 0 ELSE kept.clean END, bad = kept.bad + excluded.bad",
    )
    .bind(signed(tally.provider.0))
    .bind(signed(epoch))
    .bind(tally.root.as_bytes().as_slice())
    .bind(last_proven_ms.map(signed))
    .bind(signed(clean))
    .bind(signed(bad))
    .execute(&mut *connection)
    .await?;
    for (claim, Samples { last_proven_ms, clean, bad }) in &tally.claims {
        query(
            "INSERT INTO storage_claims AS kept (provider, claim, last_proven_ms, clean, bad) VALUES (?, ?, ?, ?, ?)
             ON CONFLICT (provider, claim) DO UPDATE SET last_proven_ms = coalesce(excluded.last_proven_ms, kept.last_proven_ms),
                 clean = excluded.clean + CASE WHEN excluded.bad > 0 THEN 0 ELSE kept.clean END, bad = kept.bad + excluded.bad",
        )
        .bind(signed(tally.provider.0))
        .bind(claim.as_bytes().as_slice())
        .bind(last_proven_ms.map(signed))
        .bind(signed(*clean))
        .bind(signed(*bad))
        .execute(&mut *connection)
        .await?;
    }
    Ok(())
}

async fn forget_claims(connection: &mut SqliteConnection, provider: ProviderId, set: &ClaimSet) -> Result<(), sqlx::Error> {
    let rows = query("SELECT claim FROM storage_claims WHERE provider = ?").bind(signed(provider.0)).fetch_all(&mut *connection).await?;
    let known: Vec<Hash32> = rows.iter().filter_map(|row| Hash32::from_slice(row.get(0))).collect();
    for gone in known.iter().filter(|claim| set.index_of(claim).is_none()) {
        query("DELETE FROM storage_claims WHERE provider = ? AND claim = ?")
            .bind(signed(provider.0))
            .bind(gone.as_bytes().as_slice())
            .execute(&mut *connection)
            .await?;
    }
    Ok(())
}

/// `last_proven_ms`, `clean` and `bad`, from a column on.
fn samples(row: &SqliteRow, first: usize) -> Samples {
    Samples {
        last_proven_ms: row.get::<Option<i64>, _>(first).map(unsigned),
        clean: unsigned(row.get(first + 1)),
        bad: unsigned(row.get(first + 2)),
    }
}

/// The hash after this one; `None` behind the last.
fn after(hash: &Hash32) -> Option<Hash32> {
    let mut next = hash.0;
    for byte in next.iter_mut().rev() {
        *byte = byte.wrapping_add(1);
        if *byte != 0 {
            return Some(Hash32(next));
        }
    }
    None
}

#[async_trait]
impl AuditStore for SqliteStore {
    async fn put_tallies(&self, epoch: u64, due_ms: u64, tallies: &[Tally]) -> Result<(), StoreError> {
        let failed = |error| self.failed(error);
        let mut transaction = self.pool.begin().await.map_err(failed)?;
        for tally in tallies {
            query(
                "INSERT INTO storage_tallies (epoch, provider, due_ms, tally) SELECT ?1, ?2, ?3, ?4
                 WHERE NOT EXISTS (SELECT 1 FROM storage_folded WHERE epoch >= ?1) ON CONFLICT (epoch, provider) DO NOTHING",
            )
            .bind(signed(epoch))
            .bind(signed(tally.provider.0))
            .bind(signed(due_ms))
            .bind(self.encode(tally, "tally")?)
            .execute(&mut *transaction)
            .await
            .map_err(failed)?;
        }
        transaction.commit().await.map_err(failed)
    }

    async fn fold_tallies(&self, now_ms: u64) -> Result<usize, StoreError> {
        let mut folded = 0;
        for epoch in self.due(now_ms).await? {
            folded += usize::from(self.fold(epoch).await?);
        }
        Ok(folded)
    }

    async fn provider_age(&self, provider: ProviderId) -> Result<Option<ProviderAge>, StoreError> {
        let row = query("SELECT epoch, root, last_proven_ms, clean, bad FROM storage_providers WHERE provider = ?")
            .bind(signed(provider.0))
            .fetch_optional(&self.pool)
            .await
            .map_err(|error| self.failed(error))?;
        row.map(|row| Ok(ProviderAge { epoch: unsigned(row.get(0)), root: self.hash(row.get(1))?, samples: samples(&row, 2) })).transpose()
    }

    async fn claim_ages(&self, provider: ProviderId, first: &Hash32, last: &Hash32) -> Result<Vec<ClaimAge>, StoreError> {
        let (mut ages, mut next) = (Vec::new(), Some(*first));
        while let Some(from) = next.take() {
            let rows = query(
                "SELECT claim, last_proven_ms, clean, bad FROM storage_claims
                 WHERE provider = ? AND claim BETWEEN ? AND ? ORDER BY claim LIMIT ?",
            )
            .bind(signed(provider.0))
            .bind(from.as_bytes().as_slice())
            .bind(last.as_bytes().as_slice())
            .bind(PAGE)
            .fetch_all(&self.pool)
            .await
            .map_err(|error| self.failed(error))?;
            for row in &rows {
                ages.push(ClaimAge { claim: self.hash(row.get(0))?, samples: samples(row, 1) });
            }
            if i64::try_from(rows.len()) == Ok(PAGE) {
                next = ages.last().and_then(|age| after(&age.claim));
            }
        }
        Ok(ages)
    }

    async fn oldest_proof(&self, provider: ProviderId) -> Result<(u64, Option<u64>), StoreError> {
        let row = query("SELECT count(last_proven_ms), min(last_proven_ms) FROM storage_claims WHERE provider = ?")
            .bind(signed(provider.0))
            .fetch_one(&self.pool)
            .await
            .map_err(|error| self.failed(error))?;
        Ok((unsigned(row.get(0)), row.get::<Option<i64>, _>(1).map(unsigned)))
    }

    async fn put_plan(&self, epoch: u64, provider: ProviderId, plan: &Plan) -> Result<(), StoreError> {
        let failed = |error| self.failed(error);
        let mut transaction = self.pool.begin().await.map_err(failed)?;
        query("INSERT INTO storage_plans (epoch, provider, plan) VALUES (?, ?, ?) ON CONFLICT (epoch, provider) DO NOTHING")
            .bind(signed(epoch))
            .bind(signed(provider.0))
            .bind(self.encode(plan, "plan")?)
            .execute(&mut *transaction)
            .await
            .map_err(failed)?;
        query("DELETE FROM storage_plans WHERE epoch < ?")
            .bind(signed(epoch.saturating_sub(PLANS_KEPT_EPOCHS)))
            .execute(&mut *transaction)
            .await
            .map_err(failed)?;
        transaction.commit().await.map_err(failed)
    }

    async fn plans(&self, provider: ProviderId, up_to: u64) -> Result<Vec<(u64, Plan)>, StoreError> {
        let rows = query("SELECT epoch, plan FROM storage_plans WHERE provider = ? AND epoch <= ? ORDER BY epoch")
            .bind(signed(provider.0))
            .bind(signed(up_to))
            .fetch_all(&self.pool)
            .await
            .map_err(|error| self.failed(error))?;
        rows.iter().map(|row| Ok((unsigned(row.get(0)), self.decode(row, 1, "plan")?))).collect()
    }

    async fn accept_claims(&self, provider: ProviderId, version: &ClaimVersion) -> Result<(), StoreError> {
        query(
            "INSERT INTO accepted_claims AS kept (provider, epoch, sequence, root) VALUES (?, ?, ?, ?) ON CONFLICT (provider) DO UPDATE
             SET epoch = excluded.epoch, sequence = excluded.sequence, root = excluded.root WHERE excluded.epoch >= kept.epoch",
        )
        .bind(signed(provider.0))
        .bind(signed(version.epoch))
        .bind(signed(version.sequence))
        .bind(version.root.as_bytes().as_slice())
        .execute(&self.pool)
        .await
        .map(drop)
        .map_err(|error| self.failed(error))
    }

    async fn accepted_claims(&self, provider: ProviderId) -> Result<Option<ClaimVersion>, StoreError> {
        let row = query("SELECT epoch, sequence, root FROM accepted_claims WHERE provider = ?")
            .bind(signed(provider.0))
            .fetch_optional(&self.pool)
            .await
            .map_err(|error| self.failed(error))?;
        row.map(|row| Ok(ClaimVersion { epoch: unsigned(row.get(0)), sequence: unsigned(row.get(1)), root: self.hash(row.get(2))? }))
            .transpose()
    }
}
