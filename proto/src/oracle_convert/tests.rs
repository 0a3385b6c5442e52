use assay_core::bls::{Domain, SecretKey, Signature};
use assay_core::challenge::{Challenge, Kind, Kinds};
use assay_core::claim::{Claim, ClaimProof, ClaimRoot, ProofStep};
use assay_core::compact::{TagKey, TagSecret};
use assay_core::epoch::{Basis, BitVote};
use assay_core::hash::Hash32;
use assay_core::ids::{Address, Instance, ProviderId};
use assay_core::observation::{Counts, Evidence, Fact, Observation, PlacedClaim, SaltedObservation, Seeds, Witness};
use assay_core::replica::OwnerSecret;
use assay_core::report::Report;
use assay_core::secp::Signature65;
use assay_core::slice::Slice;

use super::reveal::MAX_WORDS;
use super::*;
use crate::convert::wire_bytes;

/// Values as a property test draws them, from a fixed seed.
struct Draw(u64);

fn tag_key() -> TagKey {
    TagSecret::derive(&OwnerSecret::new([7; 32])).key()
}

impl Draw {
    fn word(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// Small, large and extreme numbers.
    fn number(&mut self) -> u64 {
        match self.word() % 4 {
            0 => 0,
            1 => self.word() % 200,
            2 => self.word(),
            _ => u64::MAX,
        }
    }

    fn below(&mut self, bound: usize) -> usize {
        (self.word() % bound as u64) as usize
    }

    fn coin(&mut self) -> bool {
        self.word().is_multiple_of(2)
    }

    fn bytes(&mut self, length: usize) -> Vec<u8> {
        (0..length).map(|_| self.word() as u8).collect()
    }

    fn hash(&mut self) -> Hash32 {
        match self.word() % 8 {
            0 => Hash32::ZERO,
            _ => Hash32::from_slice(&self.bytes(32)).unwrap(),
        }
    }

    fn address(&mut self) -> Address {
        Address::from_slice(&self.bytes(20)).unwrap()
    }

    fn signature(&mut self) -> Signature {
        let key = SecretKey::key_gen(&[self.word() as u8; 32]).unwrap();
        key.sign(Domain::Commit, &Hash32([self.word() as u8; 32]))
    }

    fn commit(&mut self) -> Commit {
        Commit {
            epoch: self.number(),
            oracle: OracleId(self.number()),
            seeds: self.hash(),
            secure: self.coin(),
            root: self.hash(),
            leaf_count: self.word() as u32,
            log_head: self.hash(),
        }
    }

    fn signed_commit(&mut self) -> SignedCommit {
        SignedCommit { commit: self.commit(), signature: self.signature() }
    }

    fn counts(&mut self) -> Counts {
        let (grounds, readings) = (self.below(4), self.below(3));
        Counts {
            kind: Kind(self.word() as u8),
            scheduled: self.number(),
            counted: self.number(),
            bad: (0..grounds).map(|_| self.number()).collect(),
            readings: (0..readings).map(|_| self.number()).collect(),
        }
    }

    fn witness(&mut self) -> Witness {
        match self.below(3) {
            0 => Witness::None,
            1 => Witness::Silent(Hash32::from_slice(&self.bytes(32)).unwrap()),
            _ => Witness::Answered(Hash32::from_slice(&self.bytes(32)).unwrap()),
        }
    }

    fn observation(&mut self) -> SaltedObservation {
        let observation = Observation {
            epoch: self.number(),
            provider: ProviderId(self.number()),
            oracle: OracleId(self.number()),
            counts: (0..self.below(8)).map(|_| self.counts()).collect(),
            witness: self.witness(),
            struck: self.hash(),
            evidence_root: self.hash(),
            facts_root: self.hash(),
        };
        SaltedObservation { observation, salt: self.hash() }
    }

    fn challenge(&mut self) -> Challenge {
        Challenge {
            instance: Instance { chain_id: self.number(), settlement: self.address() },
            epoch: self.number(),
            slot: self.word() as u32,
            oracle: OracleId(self.number()),
            provider: ProviderId(self.number()),
            kind: Kind::STORAGE,
            index: self.word() as u32,
            class_id: self.word() as u16,
            claim_root: self.hash(),
            claim_blocks: self.number(),
            chunks: self.below(65) as u32,
            slices_one_in: self.below(65) as u32,
            extra: vec![],
            child: self.hash().0,
        }
    }

    fn slice(&mut self) -> Slice {
        let siblings = (0..self.below(54)).map(|_| self.hash().0).collect();
        Slice { chunk: self.bytes(1024), siblings }
    }

    fn place(&mut self) -> PlacedClaim {
        let steps = (0..self.below(20))
            .map(|_| ProofStep { sibling_is_left: self.coin(), sibling: ClaimRoot { hash: self.hash(), blocks: self.number() } })
            .collect();
        let claim = Claim {
            object_id: self.hash(),
            replica_index: self.number(),
            root: self.hash(),
            object_length: self.number(),
            blocks: self.number(),
            tag_key_id: self.hash(),
            owner: self.address(),
        };
        PlacedClaim { claim, proof: ClaimProof { steps } }
    }

    fn fact(&mut self) -> Fact {
        let evidence = match self.below(3) {
            0 => Evidence::Missing,
            1 => Evidence::Slice { slice: self.slice(), place: self.place() },
            _ => Evidence::Compact { key: tag_key().to_bytes(), places: (0..self.below(30)).map(|_| self.place()).collect() },
        };
        Fact {
            challenge: self.challenge(),
            position: self.word() as u32,
            payload: self.bytes(9),
            words: (0..30).map(|_| self.hash()).collect(),
            evidence,
            signature: Signature65::from_slice(&self.bytes(65)).unwrap(),
        }
    }

    fn reveal(&mut self) -> Reveal {
        let slots = self.below(6);
        Reveal {
            epoch: self.number(),
            oracle: OracleId(self.number()),
            seeds: Seeds { epoch: self.hash(), slots: (0..slots).map(|_| self.hash()).collect(), secure: self.coin() },
            observations: (0..self.below(9)).map(|_| self.observation()).collect(),
            vrfs: (0..slots).map(|_| self.signature()).collect(),
            facts: (0..self.below(3)).map(|_| self.fact()).collect(),
            struck: (0..self.below(3)).map(|_| self.challenge()).collect(),
        }
    }

    fn bit_vote(&mut self) -> SignedBitVote {
        let held = (0..self.below(9)).map(|_| (OracleId(self.number()), self.hash())).collect();
        let vote = BitVote { epoch: self.number(), oracle: OracleId(self.number()), held };
        SignedBitVote { vote, signature: self.signature() }
    }

    fn report(&mut self) -> Report {
        Report {
            chain_id: self.number(),
            settlement: self.address(),
            set_epoch: self.number(),
            epoch: self.number(),
            view: self.number(),
            parent_digest: self.hash(),
            ref_block: self.number(),
            valid_until: self.number(),
            drand_round: self.number(),
            seed_secure: self.coin(),
            params_hash: self.hash(),
            bit_votes_root: self.hash(),
            obs_root: self.hash(),
            result_root: self.hash(),
            reward_root: self.hash(),
            slash_root: self.hash(),
            reward_total: u128::from(self.number()) << 64 | u128::from(self.number()),
            slash_total: u128::from(self.number()),
            log_heads_root: self.hash(),
            data_digest: self.hash(),
        }
    }

    fn message(&mut self, kind: usize) -> Message {
        match kind % 8 {
            0 => Message::Commit(self.signed_commit()),
            1 => Message::Reveal(Box::new(self.reveal())),
            2 => Message::BitVote(self.bit_vote()),
            3 => Message::Proposal(Box::new(Proposal {
                epoch: self.number(),
                view: self.number(),
                leader: OracleId(self.number()),
                basis: Basis {
                    commits: (0..self.below(5)).map(|_| self.signed_commit()).collect(),
                    bit_votes: (0..self.below(5)).map(|_| self.bit_vote()).collect(),
                },
                report_digest: self.hash(),
                signature: self.signature(),
            })),
            4 => Message::Signature(self.report_signature()),
            5 => Message::Wish(Wish {
                epoch: self.number(),
                view: self.number(),
                oracle: OracleId(self.number()),
                signature: self.signature(),
            }),
            6 => Message::Certificate(Box::new(Certificate { report: self.report(), signers: self.hash().0, signature: self.signature() })),
            _ => Message::Misbehaviour(Box::new(self.misbehaviour(kind / 8))),
        }
    }

    fn report_signature(&mut self) -> ReportSignature {
        ReportSignature {
            epoch: self.number(),
            view: self.number(),
            oracle: OracleId(self.number()),
            digest: self.hash(),
            signature: self.signature(),
        }
    }

    fn misbehaviour(&mut self, kind: usize) -> Misbehaviour {
        match kind % 4 {
            0 => Misbehaviour::Commits(Box::new([self.signed_commit(), self.signed_commit()])),
            1 => Misbehaviour::BitVotes(Box::new([self.bit_vote(), self.bit_vote()])),
            2 => Misbehaviour::Reports([self.report_signature(), self.report_signature()]),
            _ => Misbehaviour::FalseObservation(self.signed_commit(), Box::new(self.reveal())),
        }
    }
}

#[test]
fn every_message_comes_back_the_same() {
    let mut draw = Draw(1);
    for round in 0..350 {
        let message = draw.message(round);
        let bytes = message.encode();
        assert_eq!(Message::decode(&bytes).as_ref(), Ok(&message));
        let entry = LogEntry::Received(message);
        assert_eq!(LogEntry::decode(&entry.encode()), Ok(entry));
        let own = LogEntry::Own(Box::new(draw.reveal()), draw.commit());
        assert_eq!(LogEntry::decode(&own.encode()), Ok(own));
    }
}

#[test]
fn reveals_and_certificates_come_back_alone() {
    let mut draw = Draw(2);
    let reveal = draw.reveal();
    assert_eq!(decode_reveal(&encode_reveal(&reveal)), Ok(reveal));
    let Message::Certificate(certificate) = draw.message(6) else { panic!() };
    assert_eq!(decode_certificate(&encode_certificate(&certificate)), Ok(*certificate));
}

#[test]
fn garbage_never_panics_and_what_decodes_encodes_the_same() {
    let mut draw = Draw(3);
    let mut decoded = 0;
    for round in 0..4_000 {
        let mut bytes = match round % 4 {
            0 => {
                let length = draw.below(400);
                draw.bytes(length)
            }
            _ => draw.message(round / 4).encode().to_vec(),
        };
        for _ in 0..draw.below(4) {
            let at = draw.below(bytes.len().max(1));
            match (draw.below(3), bytes.get_mut(at)) {
                (0, _) => bytes.truncate(at),
                (1, Some(byte)) => *byte ^= 1 << draw.below(8),
                (_, Some(byte)) => *byte = draw.word() as u8,
                (_, None) => {}
            }
        }
        if let Ok(message) = Message::decode(&bytes) {
            decoded += 1;
            let canonical = message.encode();
            let again = Message::decode(&canonical).unwrap();
            assert_eq!((again.encode(), again), (canonical, message));
        }
        let _ = LogEntry::decode(&bytes);
        let _ = decode_reveal(&bytes);
        let _ = decode_certificate(&bytes);
    }
    assert!(decoded > 500, "only {decoded} decoded: the mutations are too strong to test anything");
}

fn refused(envelope: wire::envelope::Body) -> ConvertError {
    Message::decode(&wire::Envelope { body: Some(envelope) }.encode_to_vec()).unwrap_err()
}

#[test]
fn an_error_names_the_field() {
    use wire::envelope::Body;
    let mut draw = Draw(4);
    let mut commit = wire::SignedCommit::from(&draw.signed_commit());
    commit.commit.as_mut().unwrap().log_head = Bytes::new();
    assert_eq!(refused(Body::Commit(commit.clone())), malformed("log_head"));
    commit.commit = None;
    assert_eq!(refused(Body::Commit(commit.clone())), absent("commit"));

    let mut commit = wire::SignedCommit::from(&draw.signed_commit());
    commit.signature = wire_bytes(&[0; 48]);
    assert_eq!(refused(Body::Commit(commit)), malformed("commit.signature"));

    let Message::Certificate(certificate) = draw.message(6) else { panic!() };
    let mut certificate = wire::Certificate::from(certificate.as_ref());
    certificate.report.as_mut().unwrap().slash_total = wire_bytes(&[0; 17]);
    assert_eq!(refused(Body::Certificate(certificate)), malformed("slash_total"));
    assert_eq!(Message::decode(&[]), Err(absent("body")));
}

#[test]
fn lists_have_limits() {
    use wire::envelope::Body;
    let mut draw = Draw(5);
    let mut vote = draw.bit_vote();
    vote.vote.held = (0..=MAX_COMMITS as u64).map(|id| (OracleId(id), Hash32([1; 32]))).collect();
    assert_eq!(refused(Body::BitVote((&vote).into())).field, "held");
    vote.vote.held.pop();
    assert!(Message::decode(&Message::BitVote(vote).encode()).is_ok());

    let mut reveal = draw.reveal();
    reveal.seeds.slots = vec![Hash32::ZERO; MAX_SLOTS + 1];
    assert_eq!(refused(Body::Reveal((&reveal).into())).field, "seeds.slots");

    let mut reveal = draw.reveal();
    let smallest = Fact { payload: Vec::new(), words: Vec::new(), evidence: Evidence::Missing, ..draw.fact() };
    reveal.facts = vec![smallest; MAX_FACTS + 1];
    assert_eq!(refused(Body::Reveal((&reveal).into())), ConvertError { field: "facts", problem: "too long" });
    reveal.facts.pop();
    assert!(Message::decode(&Message::Reveal(Box::new(reveal)).encode()).is_ok());

    let mut fact = draw.fact();
    fact.words = vec![Hash32::ZERO; MAX_WORDS + 1];
    let mut reveal = draw.reveal();
    reveal.facts = vec![fact];
    assert_eq!(refused(Body::Reveal((&reveal).into())).field, "words");
}

#[test]
fn empty_messages_by_the_million_are_refused_before_they_are_decoded() {
    let observations = vec![wire::Observation::default(); 100_000];
    let reveal = wire::Reveal { observations, ..Default::default() };
    let error = refused(wire::envelope::Body::Reveal(reveal));
    assert_eq!(error.problem, "too many messages for its length");
    assert_eq!(Message::decode(&vec![0; MAX_MESSAGE_BYTES + 1]).unwrap_err().problem, "too long");
}

fn facts_refused(fact: wire::Fact, count: usize) -> bool {
    let reveal = wire::Reveal { facts: vec![fact; count], ..Default::default() };
    refused(wire::envelope::Body::Reveal(reveal)) == ConvertError { field: "facts", problem: "one of them too short or too long" }
}

// Defence: a fact's length is checked before it is decoded; without a lower limit, 32 bytes on the wire make a fact of hundreds
// in memory, without an upper one, a reveal is one fact. Either removed turns this red.
#[test]
fn a_fact_has_a_length_that_facts_have() {
    let mut draw = Draw(7);
    let padded = |length: usize| wire::Fact { signature: vec![0; length].into(), ..Default::default() };
    assert!(facts_refused(padded(30), 10_000));
    assert!(facts_refused(padded(MIN_FACT_BYTES - 4), 1));
    assert!(!facts_refused(padded(MIN_FACT_BYTES), 1));
    assert!(!facts_refused(padded(MAX_FACT_BYTES - 4), 1));
    assert!(facts_refused(padded(MAX_FACT_BYTES), 1));

    let mut smallest = draw.fact();
    smallest.challenge = Challenge {
        instance: Instance { chain_id: 0, settlement: Address([0; 20]) },
        epoch: 0,
        slot: 0,
        oracle: OracleId(0),
        provider: ProviderId(0),
        kind: Kind::STORAGE,
        index: 0,
        class_id: 0,
        claim_root: Hash32::ZERO,
        claim_blocks: 0,
        chunks: 0,
        slices_one_in: 0,
        extra: vec![],
        child: Hash32::ZERO.0,
    };
    // A compact answer that states every sample missing.
    (smallest.position, smallest.payload, smallest.words, smallest.evidence) = (0, vec![1; 9], Vec::new(), Evidence::Missing);
    let length = wire::Fact::from(&smallest).encoded_len();
    assert!(length >= MIN_FACT_BYTES, "a fact may have {length} bytes");
    let reveal = Reveal { facts: vec![smallest], ..draw.reveal() };
    assert_eq!(decode_reveal(&encode_reveal(&reveal)), Ok(reveal));
}

// Defence: facts are limited one by one. Limited in sum to 256 KiB, some 40 faulty providers silence every honest oracle, and this
// turns red.
#[test]
fn many_faulty_providers_do_not_silence_an_honest_reveal() {
    let mut draw = Draw(8);
    let mut reveal = draw.reveal();
    reveal.facts.clear();
    for provider in 1..=200 {
        for _ in 0..4 {
            let mut fact = draw.fact();
            fact.challenge.provider = ProviderId(provider);
            let siblings = (0..24).map(|_| draw.hash().0).collect();
            fact.evidence = Evidence::Slice { slice: Slice { chunk: draw.bytes(1024), siblings }, place: draw.place() };
            reveal.facts.push(fact);
        }
    }
    let bytes = encode_reveal(&reveal);
    assert!(bytes.len() > 800 * 3_000 && bytes.len() < MAX_MESSAGE_BYTES, "{}", bytes.len());
    assert_eq!(decode_reveal(&bytes), Ok(reveal.clone()));
    let message = Message::Reveal(Box::new(reveal));
    assert_eq!(Message::decode(&message.encode()), Ok(message));
}

#[test]
fn the_largest_honest_messages_pass() {
    let mut draw = Draw(6);
    let mut reveal = draw.reveal();
    let observation =
        SaltedObservation { observation: Observation::empty(Kinds::standard(), 1, ProviderId(1), OracleId(1)), salt: Hash32([1; 32]) };
    reveal.observations = vec![observation; 100_000];
    assert!(Message::decode(&Message::Reveal(Box::new(reveal)).encode()).is_ok());

    let held = (0..MAX_MEMBERS as u64).map(|id| (OracleId(id), Hash32([1; 32]))).collect();
    let vote = BitVote { epoch: 1, oracle: OracleId(1), held };
    let signature = draw.signature();
    let basis = Basis { commits: vec![draw.signed_commit(); MAX_COMMITS], bit_votes: vec![SignedBitVote { vote, signature }; MAX_MEMBERS] };
    let proposal = Proposal { epoch: 1, view: 0, leader: OracleId(1), basis, report_digest: Hash32::ZERO, signature };
    let bytes = Message::Proposal(Box::new(proposal)).encode();
    assert!(bytes.len() < MAX_MESSAGE_BYTES, "{}", bytes.len());
    assert!(Message::decode(&bytes).is_ok());
}

// Defence: `MAX_STRUCK`, and a challenge's shortest form in `shape`. Without them a reveal of 16 MiB decodes into gigabytes of challenges.
#[test]
fn struck_challenges_have_a_number_and_a_length() {
    use wire::envelope::Body;
    let mut draw = Draw(9);
    let mut reveal = draw.reveal();
    reveal.facts.clear();
    reveal.struck = vec![draw.challenge(); MAX_STRUCK + 1];
    assert_eq!(refused(Body::Reveal((&reveal).into())), ConvertError { field: "struck", problem: "too long" });
    reveal.struck.pop();
    assert!(Message::decode(&Message::Reveal(Box::new(reveal)).encode()).is_ok());
    let empty = wire::Reveal { struck: vec![Default::default(); 3], ..Default::default() };
    assert_eq!(refused(Body::Reveal(empty)).problem, "one of them too short or too long");
}

/// Decodes a reveal with one observation whose counts are these bytes.
fn with_counts(bytes: &[u8]) -> Result<Vec<Counts>, ConvertError> {
    let mut draw = Draw(10);
    let mut reveal = draw.reveal();
    reveal.observations = vec![draw.observation()];
    let mut wire = wire::Reveal::from(&reveal);
    wire.observations[0].counts = bytes.to_vec().into();
    decode_reveal(&wire.encode_to_vec()).map(|reveal| reveal.observations.into_iter().next().unwrap().observation.counts.to_vec())
}

// Defence: the bounds and the shortest form in `counts`. Without them few bytes claim endless lists, or one observation has two encodings.
#[test]
fn counts_are_bounded_and_have_one_encoding() {
    let honest = [1, 25, 24, 1, 2, 0, 4, 160, 1, 150, 1, 3, 0, 0, 7, 1, 9];
    let decoded = with_counts(&honest).unwrap();
    assert_eq!(decoded[0], Counts { kind: Kind(1), scheduled: 25, counted: 24, bad: vec![2], readings: vec![] });
    assert_eq!(decoded[1], Counts { kind: Kind(4), scheduled: 160, counted: 150, bad: vec![0, 0, 7], readings: vec![9] });
    assert_eq!(with_counts(&[]), Ok(vec![]));
    let refused: [(&str, Vec<u8>); 8] = [
        ("cut off", honest[..honest.len() - 1].to_vec()),
        ("cut off within a kind", honest[..3].to_vec()),
        ("a kind above 255", vec![128, 2, 0, 0, 0, 0]),
        ("a varint in a longer form", vec![1, 128, 0, 0, 0, 0]),
        ("a varint of eleven bytes", [vec![1], vec![255; 10], vec![1, 0, 0, 0]].concat()),
        ("seventeen grounds", [vec![1, 0, 0, 17], vec![0; 18]].concat()),
        ("endless readings", [&[1, 0, 0, 0][..], &[255; 9], &[1]].concat()),
        ("seventeen kinds", [1, 0, 0, 0, 0].repeat(17)),
    ];
    for (what, bytes) in refused {
        assert_eq!(with_counts(&bytes), Err(malformed("counts")), "{what}");
    }
    assert_eq!(with_counts(&[1, 0, 0, 0, 0].repeat(16)).unwrap().len(), 16);
}

#[test]
fn a_witness_has_one_encoding() {
    let mut draw = Draw(11);
    let mut reveal = draw.reveal();
    reveal.observations = vec![draw.observation()];
    reveal.observations[0].observation.witness = Witness::None;
    let decode = |how: u32, witnessed: &[u8], struck: &[u8]| {
        let mut wire = wire::Reveal::from(&reveal);
        wire.observations[0].witness = how;
        (wire.observations[0].witnessed, wire.observations[0].struck) = (wire_bytes(witnessed), wire_bytes(struck));
        decode_reveal(&wire.encode_to_vec())
    };
    assert!(decode(0, &[], &[]).is_ok() && decode(1, &[7; 32], &[8; 32]).is_ok() && decode(2, &[7; 32], &[]).is_ok());
    assert_eq!(decode(0, &[7; 32], &[]), Err(malformed("witness")));
    assert_eq!(decode(3, &[7; 32], &[]), Err(malformed("witness")));
    assert_eq!(decode(0, &[0; 32], &[]), Err(malformed("witnessed")), "zero is the empty field");
    assert_eq!(decode(0, &[], &[0; 32]), Err(malformed("struck")));
    assert_eq!(decode(0, &[], &[8; 31]), Err(malformed("struck")));
}
