-- When the record was last in use. A node that comes back after a while listens before it signs: another may have taken its key over.

-- Unix ms of the last sign of life; null before the first.
ALTER TABLE binding ADD COLUMN alive_ms INTEGER CHECK (alive_ms >= 0);
-- 1 when the last process that signed with it said good-bye.
ALTER TABLE binding ADD COLUMN rests INTEGER NOT NULL DEFAULT 0 CHECK (rests IN (0, 1));
-- Nothing of an earlier epoch is signed; kept, so that a restart does not cut the listening short.
ALTER TABLE binding ADD COLUMN signs_from INTEGER NOT NULL DEFAULT 0 CHECK (signs_from >= 0);
