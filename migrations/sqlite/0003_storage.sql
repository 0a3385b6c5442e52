-- What this oracle's own audits show of stored objects, and what it asks of the longest unproven ones. Times are unix milliseconds.

-- What one epoch's audits of one provider showed. Secret until `due_ms`; then it is folded into the two tables after the next, and is gone.
CREATE TABLE storage_tallies (
    epoch    INTEGER NOT NULL CHECK (epoch >= 0),
    provider INTEGER NOT NULL CHECK (provider > 0),
    due_ms   INTEGER NOT NULL CHECK (due_ms >= 0),
    tally    TEXT    NOT NULL,
    PRIMARY KEY (epoch, provider)
);

-- The newest epoch that was folded: none is folded twice.
CREATE TABLE storage_folded (
    only  INTEGER NOT NULL PRIMARY KEY CHECK (only = 0),
    epoch INTEGER NOT NULL CHECK (epoch >= 0)
);

CREATE TABLE storage_providers (
    provider       INTEGER NOT NULL PRIMARY KEY CHECK (provider > 0),
    epoch          INTEGER NOT NULL CHECK (epoch >= 0),
    root           BLOB    NOT NULL CHECK (length(root) = 32),
    last_proven_ms INTEGER CHECK (last_proven_ms >= 0),
    clean          INTEGER NOT NULL CHECK (clean >= 0),
    bad            INTEGER NOT NULL CHECK (bad >= 0)
);

-- Claims of the set at `storage_providers.root` that were sampled; of the others nothing is known.
CREATE TABLE storage_claims (
    provider       INTEGER NOT NULL CHECK (provider > 0),
    claim          BLOB    NOT NULL CHECK (length(claim) = 32),
    last_proven_ms INTEGER CHECK (last_proven_ms >= 0),
    clean          INTEGER NOT NULL CHECK (clean >= 0),
    bad            INTEGER NOT NULL CHECK (bad >= 0),
    PRIMARY KEY (provider, claim)
) WITHOUT ROWID;

-- Whose blocks an epoch's audits ask for beside the drawn ones, written before the first is asked.
CREATE TABLE storage_plans (
    epoch    INTEGER NOT NULL CHECK (epoch >= 0),
    provider INTEGER NOT NULL CHECK (provider > 0),
    plan     TEXT    NOT NULL,
    PRIMARY KEY (epoch, provider)
);

-- The last claim set of each provider that lacks nothing but what its owners released.
CREATE TABLE accepted_claims (
    provider INTEGER NOT NULL PRIMARY KEY CHECK (provider > 0),
    epoch    INTEGER NOT NULL CHECK (epoch >= 0),
    sequence INTEGER NOT NULL CHECK (sequence >= 0),
    root     BLOB    NOT NULL CHECK (length(root) = 32)
);
CREATE INDEX accepted_claims_by_root ON accepted_claims (root);
