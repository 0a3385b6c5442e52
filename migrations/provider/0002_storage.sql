-- Compact proofs, releases, and what is known about the state of the disk.

-- The tag key that a claim names; NULL without tags.
ALTER TABLE proposal ADD COLUMN tag_key_id BLOB;
ALTER TABLE claim ADD COLUMN tag_key_id BLOB;

CREATE INDEX claim_by_tag_key ON claim (tag_key_id);

-- Claims that their owners gave up. Version n of the claim set holds those with first_sequence <= n <= last_sequence.
CREATE TABLE released (
    claim_hash     BLOB PRIMARY KEY CHECK (length(claim_hash) = 32),
    root           BLOB NOT NULL CHECK (length(root) = 32),
    blocks         INTEGER NOT NULL,
    signed_claim   BLOB NOT NULL,
    first_sequence INTEGER NOT NULL,
    last_sequence  INTEGER NOT NULL,
    tag_key_id     BLOB,
    signature      BLOB NOT NULL CHECK (length(signature) = 65),   -- by the owner, assay.release.v1
    released_at    INTEGER NOT NULL,
    purged_at      INTEGER,                                        -- from then on nothing is answered for it
    removed        INTEGER NOT NULL DEFAULT 0                      -- whether its files are gone
) STRICT;

CREATE INDEX released_by_sequence ON released (last_sequence);
CREATE INDEX released_by_root ON released (root);

-- Public halves of tag keys.
CREATE TABLE tag_key (
    id       BLOB PRIMARY KEY CHECK (length(id) = 32),
    key      BLOB NOT NULL CHECK (length(key) = 192),
    checksum BLOB CHECK (length(checksum) = 32)                    -- BLAKE3 of the file of its powers; NULL: they are not here
) STRICT;

-- Stored blocks that are damaged or gone.
CREATE TABLE damaged (
    root     BLOB NOT NULL CHECK (length(root) = 32),
    block    INTEGER NOT NULL,
    found_at INTEGER NOT NULL,
    PRIMARY KEY (root, block)
) STRICT, WITHOUT ROWID;

-- Reads of everything that is stored. The newest run without an end goes on at (at_root, at_block).
CREATE TABLE scrub_run (
    id                INTEGER PRIMARY KEY,
    started_at        INTEGER NOT NULL,
    finished_at       INTEGER,
    blocks            INTEGER NOT NULL DEFAULT 0,
    damaged_blocks    INTEGER NOT NULL DEFAULT 0,
    unreadable_blocks INTEGER NOT NULL DEFAULT 0,                  -- the system failed: that says nothing of the data
    at_root           BLOB,
    at_block          INTEGER NOT NULL DEFAULT 0
) STRICT;
