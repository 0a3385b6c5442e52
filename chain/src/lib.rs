//! Assay's EVM client: registry reading and the transaction outbox.
