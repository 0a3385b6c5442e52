-- What the provider promised to keep. Hashes are 32-byte blobs, times are unix seconds.

-- Whose promises these are: signatures below are worth nothing for another provider, chain or registry.
CREATE TABLE identity (
    only_row          INTEGER PRIMARY KEY CHECK (only_row = 1),
    provider_id       INTEGER NOT NULL,
    chain_id          INTEGER NOT NULL,
    provider_registry BLOB NOT NULL CHECK (length(provider_registry) = 20)
) STRICT;

-- Replicas that are announced but not complete.
CREATE TABLE proposal (
    claim_hash   BLOB PRIMARY KEY CHECK (length(claim_hash) = 32),
    blocks       INTEGER NOT NULL,
    signed_claim BLOB NOT NULL,             -- protobuf assay.provider.v1.SignedClaim
    proposed_at  INTEGER NOT NULL
) STRICT;

-- Every version of the claim set that was signed. Version n holds the claims with first_sequence <= n.
CREATE TABLE claim_set (
    sequence  INTEGER PRIMARY KEY CHECK (sequence > 0),
    root      BLOB NOT NULL CHECK (length(root) = 32),
    blocks    INTEGER NOT NULL,
    count     INTEGER NOT NULL,
    signature BLOB NOT NULL CHECK (length(signature) = 65)
) STRICT;

CREATE INDEX claim_set_by_root ON claim_set (root);

CREATE TABLE claim (
    claim_hash     BLOB PRIMARY KEY CHECK (length(claim_hash) = 32),
    root           BLOB NOT NULL UNIQUE CHECK (length(root) = 32),  -- one copy cannot serve two claims
    blocks         INTEGER NOT NULL,
    signed_claim   BLOB NOT NULL,
    first_sequence INTEGER NOT NULL REFERENCES claim_set (sequence)
) STRICT;

CREATE INDEX claim_by_sequence ON claim (first_sequence);
