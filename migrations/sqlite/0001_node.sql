-- What an oracle node knows. Hashes are 32-byte BLOBs, times unix milliseconds, documents canonical protobuf or JSON.

-- Every input of an epoch's committee protocol, in the order of arrival: replaying them restores the state.
CREATE TABLE inputs (
    sequence    INTEGER PRIMARY KEY AUTOINCREMENT,
    epoch       INTEGER NOT NULL CHECK (epoch >= 0),
    received_ms INTEGER NOT NULL CHECK (received_ms >= 0),
    digest      BLOB    NOT NULL CHECK (length(digest) = 32),
    message     BLOB    NOT NULL,
    UNIQUE (epoch, digest)
);

-- Transcripts as bundles, content-addressed.
CREATE TABLE evidence (
    digest   BLOB    NOT NULL PRIMARY KEY CHECK (length(digest) = 32),
    epoch    INTEGER NOT NULL CHECK (epoch >= 0),
    slot     INTEGER NOT NULL CHECK (slot >= 0),
    provider INTEGER NOT NULL CHECK (provider > 0),
    bundle   BLOB    NOT NULL
);
CREATE INDEX evidence_by_epoch ON evidence (epoch, provider, slot);

-- Providers' claim sets by their root: an unanswered challenge is asked and judged under the claims of its own epoch. `epoch` is the last
-- one in which the set was of use.
CREATE TABLE claim_sets (
    root   BLOB    NOT NULL CHECK (length(root) = 32),
    blocks INTEGER NOT NULL CHECK (blocks >= 0),
    epoch  INTEGER NOT NULL CHECK (epoch >= 0),
    claims BLOB    NOT NULL,
    PRIMARY KEY (root, blocks)
);
CREATE INDEX claim_sets_by_epoch ON claim_sets (epoch);

-- The report of an epoch as this node computed and the committee certified it.
CREATE TABLE outcomes (
    epoch       INTEGER NOT NULL PRIMARY KEY CHECK (epoch >= 0),
    digest      BLOB    NOT NULL UNIQUE CHECK (length(digest) = 32),
    certificate BLOB    NOT NULL,
    outcome     TEXT    NOT NULL
);

-- Every report this node signed, kept before the signature: somebody else may assemble the certificate.
CREATE TABLE candidates (
    digest  BLOB    NOT NULL PRIMARY KEY CHECK (length(digest) = 32),
    epoch   INTEGER NOT NULL CHECK (epoch >= 0),
    outcome TEXT    NOT NULL
);
CREATE INDEX candidates_by_epoch ON candidates (epoch);

-- What the chain says of it, once final.
CREATE TABLE accepted (
    epoch        INTEGER NOT NULL PRIMARY KEY CHECK (epoch >= 0),
    digest       BLOB    NOT NULL CHECK (length(digest) = 32),
    tx_hash      BLOB    NOT NULL CHECK (length(tx_hash) = 32),
    block_number INTEGER NOT NULL CHECK (block_number >= 0),
    gas_used     INTEGER NOT NULL CHECK (gas_used >= 0)
);

-- Nothing that was measured or received is ever changed.
CREATE TRIGGER inputs_append_only BEFORE UPDATE ON inputs BEGIN SELECT RAISE(ABORT, 'inputs are append-only'); END;
CREATE TRIGGER evidence_append_only BEFORE UPDATE ON evidence BEGIN SELECT RAISE(ABORT, 'evidence is append-only'); END;
