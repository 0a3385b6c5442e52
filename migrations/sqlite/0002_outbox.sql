-- The transaction outbox: one row per intent, written before anything is sent.
--
-- queued     wanted, not signed: no nonce is taken
-- signed     nonce and raw transaction fixed in one commit, not yet sent
-- broadcast  a node took it
-- mined      it has a receipt; a reorg brings it back to broadcast
-- finalized  its block is final (the end)
-- reverted   it failed: in the gas estimate (no nonce), or in a block that is final (the end)
CREATE TABLE IF NOT EXISTS outbox (
    id           INTEGER PRIMARY KEY,
    intent       TEXT    NOT NULL UNIQUE CHECK (length(intent) BETWEEN 1 AND 200),
    chain_id     INTEGER NOT NULL,
    sender       BLOB    NOT NULL CHECK (length(sender) = 20),
    recipient    BLOB    NOT NULL CHECK (length(recipient) = 20),
    calldata     BLOB    NOT NULL CHECK (length(calldata) <= 131072),
    state        TEXT    NOT NULL CHECK (state IN ('queued', 'signed', 'broadcast', 'mined', 'finalized', 'reverted')),
    nonce        INTEGER CHECK (nonce >= 0),
    raw_tx       BLOB,
    tx_hash      BLOB    CHECK (length(tx_hash) = 32),
    block_number INTEGER,
    gas_used     INTEGER,
    error        TEXT,
    created_s    INTEGER NOT NULL,
    updated_s    INTEGER NOT NULL,
    UNIQUE (chain_id, sender, nonce),
    CHECK ((nonce IS NULL) = (raw_tx IS NULL) AND (nonce IS NULL) = (tx_hash IS NULL)),
    CHECK (state <> 'queued' OR nonce IS NULL),
    CHECK (state IN ('queued', 'reverted') OR nonce IS NOT NULL),
    CHECK (state NOT IN ('mined', 'finalized') OR (block_number IS NOT NULL AND gas_used IS NOT NULL))
) STRICT;

CREATE INDEX IF NOT EXISTS outbox_unfinished ON outbox (id) WHERE state NOT IN ('finalized', 'reverted');
