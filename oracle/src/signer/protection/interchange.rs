//! A signing record as JSON, out and in.

use assay_core::bls::PublicKey;
use assay_core::hash::{Hash32, decode_hex};
use assay_core::ids::Address;
use serde::{Deserialize, Serialize};
use sqlx::{query, query_as};

use super::error::damaged;
use super::{Protection, ProtectionError, StatementKind, Tx, stored};

/// Version of the exported JSON.
const EXPORT_VERSION: u32 = 1;

/// A record as JSON: `assay-oracle protection export`.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct Export {
    /// 1.
    pub(super) version: u32,
    /// Compressed, 96 bytes, `0x` and hex.
    pub(super) public_key: String,
    /// Chain.
    pub(super) chain_id: u64,
    /// Settlement contract.
    pub(super) settlement: Address,
    /// Nothing at or below this epoch is signed.
    pub(super) pruned_through: Option<u64>,
    /// Ascending by kind, epoch, view.
    pub(super) statements: Vec<ExportedStatement>,
}

/// One line of an export.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct ExportedStatement {
    /// What was signed.
    pub(super) kind: StatementKind,
    /// Epoch.
    pub(super) epoch: u64,
    /// View.
    pub(super) view: u64,
    /// Its digest; null when records contradicted each other, so that nothing is signed here.
    pub(super) digest: Option<Hash32>,
}

/// What an import changed.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct ImportSummary {
    /// Statements that were new.
    pub added: u64,
    /// Statements that were recorded before.
    pub known: u64,
    /// Statements recorded with another digest: the key has probably equivocated. Nothing is signed there again.
    pub contradicted: u64,
    /// Statements at or below the watermark.
    pub pruned: u64,
}

impl Protection {
    pub(super) async fn record(&self) -> Result<Export, ProtectionError> {
        let mut connection = self.connection.lock().await;
        let mut tx = self.begin(&mut connection).await?;
        let pruned_through = self.watermark(&mut tx).await?;
        let rows: Vec<(String, i64, i64, Option<Vec<u8>>)> =
            query_as("SELECT kind, epoch, view, digest FROM statements ORDER BY kind, epoch, view")
                .fetch_all(&mut *tx)
                .await
                .map_err(|source| self.failed(source))?;
        let statements = rows.into_iter().map(|row| self.statement(row)).collect::<Result<_, _>>()?;
        Ok(Export {
            version: EXPORT_VERSION,
            public_key: shown_key(&self.binding.public_key),
            chain_id: self.binding.instance.chain_id,
            settlement: self.binding.instance.settlement,
            pruned_through,
            statements,
        })
    }

    /// The whole record as JSON.
    pub async fn export_json(&self) -> Result<String, ProtectionError> {
        let export = self.record().await?;
        serde_json::to_string_pretty(&export).map_err(|error| damaged(&self.path, &error.to_string()))
    }

    pub(super) async fn merge_record(&self, export: &Export) -> Result<ImportSummary, ProtectionError> {
        self.check_import(export)?;
        let mut connection = self.connection.lock().await;
        let mut tx = self.begin(&mut connection).await?;
        if let Some(through) = export.pruned_through {
            self.raise_watermark(&mut tx, through).await?;
        }
        let watermark = self.watermark(&mut tx).await?;
        let mut summary = ImportSummary::default();
        for statement in &export.statements {
            let counter = match watermark.is_some_and(|through| statement.epoch <= through) {
                true => &mut summary.pruned,
                false => self.merge(&mut tx, statement, &mut summary).await?,
            };
            *counter = counter.saturating_add(1);
        }
        tx.commit().await.map_err(|source| self.failed(source))?;
        Ok(summary)
    }

    /// Merges an export so that afterwards no more may be signed than under either record. All of it or nothing is imported.
    pub async fn import_json(&self, text: &str) -> Result<ImportSummary, ProtectionError> {
        let export: Export = serde_json::from_str(text).map_err(|error| ProtectionError::Import { problem: error.to_string() })?;
        self.merge_record(&export).await
    }

    fn check_import(&self, export: &Export) -> Result<(), ProtectionError> {
        if export.version != EXPORT_VERSION {
            return Err(ProtectionError::Import { problem: format!("its version is {}, this one reads {EXPORT_VERSION}", export.version) });
        }
        let bytes = decode_hex(&export.public_key).and_then(|bytes| <[u8; 96]>::try_from(bytes).ok());
        let key = bytes.and_then(|bytes| PublicKey::from_compressed(&bytes).ok());
        if key != Some(self.binding.public_key) {
            return Err(ProtectionError::Import {
                problem: format!("it is of key {}, the record of {}", export.public_key, shown_key(&self.binding.public_key)),
            });
        }
        if export.chain_id != self.binding.instance.chain_id || export.settlement != self.binding.instance.settlement {
            return Err(ProtectionError::Import {
                problem: format!("it is for chain {}, settlement {}, which is another instance", export.chain_id, export.settlement),
            });
        }
        Ok(())
    }

    async fn merge<'a>(
        &self,
        tx: &mut Tx<'_>,
        statement: &ExportedStatement,
        summary: &'a mut ImportSummary,
    ) -> Result<&'a mut u64, ProtectionError> {
        let ExportedStatement { kind, epoch, view, digest } = *statement;
        match self.recorded(tx, kind, epoch, view).await? {
            None => {
                self.insert(tx, kind, epoch, view, digest.as_ref()).await?;
                Ok(&mut summary.added)
            }
            Some(recorded) if recorded == digest => Ok(&mut summary.known),
            Some(None) => Ok(&mut summary.contradicted),
            Some(Some(_)) => {
                query("UPDATE statements SET digest = NULL WHERE kind = ? AND epoch = ? AND view = ?")
                    .bind(kind.column())
                    .bind(stored("epoch", epoch)?)
                    .bind(stored("view", view)?)
                    .execute(&mut **tx)
                    .await
                    .map_err(|source| self.failed(source))?;
                Ok(&mut summary.contradicted)
            }
        }
    }

    fn statement(&self, (kind, epoch, view, digest): (String, i64, i64, Option<Vec<u8>>)) -> Result<ExportedStatement, ProtectionError> {
        Ok(ExportedStatement {
            kind: StatementKind::from_column(&kind).ok_or_else(|| damaged(&self.path, "an unknown kind"))?,
            epoch: self.loaded(epoch)?,
            view: self.loaded(view)?,
            digest: self.digest(digest)?,
        })
    }
}

pub(super) fn shown_key(key: &PublicKey) -> String {
    format!("{key:?}")
}
