-- Claim sets that challenges were drawn from, by their root on chain: who audits an epoch later judges the answers against them.
CREATE TABLE claim_sets (
    root   BLOB NOT NULL PRIMARY KEY CHECK (length(root) = 32),
    -- provider.v1.Claim messages, each preceded by its length.
    claims BLOB NOT NULL
);
