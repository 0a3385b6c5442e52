-- Proofs that members broke the protocol: one of each kind for each member and epoch. `proof` is an encoded Envelope.
CREATE TABLE misbehaviour (
    epoch   INTEGER NOT NULL CHECK (epoch >= 0),
    oracle  INTEGER NOT NULL CHECK (oracle >= 0),
    offence TEXT    NOT NULL CHECK (offence IN ('two_commits', 'two_bit_votes', 'two_reports', 'false_observation')),
    proof   BLOB    NOT NULL,
    PRIMARY KEY (epoch, oracle, offence)
);
