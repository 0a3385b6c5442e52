-- What a verdict key has signed. Losing this file, or going back to an older copy of it, can make the node sign twice and be slashed.

-- Whose file this is. One row.
CREATE TABLE binding (
    one            INTEGER NOT NULL PRIMARY KEY CHECK (one = 1),
    public_key     BLOB    NOT NULL CHECK (length(public_key) = 96),
    chain_id       INTEGER NOT NULL CHECK (chain_id >= 0),
    settlement     BLOB    NOT NULL CHECK (length(settlement) = 20),
    -- Nothing at or below this epoch is signed any more; null before the first pruning.
    pruned_through INTEGER CHECK (pruned_through >= 0),
    -- How often a process opened the file: this write takes the lock that the process then keeps.
    opened         INTEGER NOT NULL DEFAULT 0
) STRICT;

-- At most one digest for each (kind, epoch, view). Commits and bit-votes have view 0.
CREATE TABLE statements (
    kind   TEXT    NOT NULL CHECK (kind IN ('commit', 'bit_vote', 'report')),
    epoch  INTEGER NOT NULL CHECK (epoch >= 0),
    view   INTEGER NOT NULL CHECK (view >= 0),
    -- Null: imported files named different digests, so nothing is signed here again.
    digest BLOB    CHECK (length(digest) = 32),
    PRIMARY KEY (kind, epoch, view)
) STRICT, WITHOUT ROWID;

CREATE TRIGGER statements_stay BEFORE UPDATE ON statements WHEN NEW.digest IS NOT NULL
BEGIN SELECT RAISE(ABORT, 'a recorded digest never becomes another'); END;
