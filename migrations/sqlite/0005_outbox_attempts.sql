-- Every transaction that was signed for an intent. A replacement has the same nonce and higher fees; whichever of them is mined counts.
CREATE TABLE IF NOT EXISTS outbox_attempts (
    tx_hash          BLOB    NOT NULL PRIMARY KEY CHECK (length(tx_hash) = 32),
    outbox_id        INTEGER NOT NULL REFERENCES outbox (id),
    nonce            INTEGER NOT NULL CHECK (nonce >= 0),
    raw_tx           BLOB    NOT NULL,
    gas_limit        INTEGER NOT NULL,
    max_fee_wei      INTEGER NOT NULL,
    priority_fee_wei INTEGER NOT NULL,
    -- 1: it only takes the nonce, because the intent was given up.
    cancels          INTEGER NOT NULL CHECK (cancels IN (0, 1)),
    signed_ms        INTEGER NOT NULL,
    -- What it cost, in gwei, once it is final.
    cost_gwei        INTEGER
) STRICT;

CREATE INDEX IF NOT EXISTS outbox_attempts_of ON outbox_attempts (outbox_id, nonce);
