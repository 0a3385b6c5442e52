//! Whole epochs, honest and not.

mod world;

use std::collections::BTreeMap;

use assay_audit::evidence::{Answer, Question, Tally, examine};
use assay_audit::findings::{Claim, Findings, Mark};
use assay_audit::misbehaviour::check;
use assay_audit::verify::{self, Documents, OnChain, Recomputed};
use assay_core::bls::Domain;
use assay_core::challenge::{Checked, Kind};
use assay_core::epoch::{Misbehaviour, Offence};
use assay_core::hash::Hash32;
use assay_core::ids::{OracleId, ProviderId};
use assay_core::observation::{Commit, Fault, SignedCommit};
use assay_core::transcript::Outcome;
use assay_proto::bundle::{Bundle, decode_bundle, encode_bundle};
use assay_proto::oracle_convert::Message;
use assay_proto::rest::ProofRef;
use world::{LIAR, ORACLES, Plan, World, oracle_key};

fn recomputed(world: &World, chain: &OnChain, documents: &Documents) -> (Option<Recomputed>, Findings) {
    let mut findings = Findings::default();
    let recomputed = verify::epoch(world.setting.epoch, &world.ground, chain, documents, &mut findings);
    (recomputed, findings)
}

fn fails(findings: &Findings) -> Vec<Claim> {
    findings.lines.iter().filter(|line| line.mark == Mark::Fails).map(|line| line.claim).collect()
}

fn answer(
    world: &World,
    recomputed: &Recomputed,
    oracle: OracleId,
    provider: ProviderId,
    bundles: &[Bundle],
    slices: Option<u64>,
) -> Answer {
    let reveal = &recomputed.reveals[&oracle];
    let observation = &reveal.reveal.observations.iter().find(|salted| salted.observation.provider == provider).unwrap().observation;
    let question = Question {
        setting: &recomputed.setting,
        reveal,
        observation,
        claims: &world.claims,
        watched: None,
        most_proofs: slices,
        order: recomputed.digest,
    };
    examine(&question, bundles)
}

fn answers(world: &World, recomputed: &Recomputed) -> Vec<((OracleId, ProviderId), Answer)> {
    let pair = |((oracle, provider), bundles): (&(OracleId, ProviderId), &Vec<Bundle>)| {
        ((*oracle, *provider), answer(world, recomputed, *oracle, *provider, bundles, None))
    };
    world.bundles.iter().map(pair).collect()
}

#[test]
fn an_honest_epoch_holds_and_so_does_the_one_after_it() {
    let first = World::new(Plan::default(), None);
    let second = World::new(Plan::default(), Some(&first));
    for world in [&first, &second] {
        let (recomputed, findings) = recomputed(world, &world.chain, &world.documents);
        assert!(findings.hold() && findings.lines.len() == 14, "{findings}");
        let mut sum = Tally::default();
        for (pair, answer) in answers(world, &recomputed.unwrap()) {
            let Answer::Supported(tally) = answer else { panic!("{pair:?}: {answer:?}") };
            assert_eq!((tally.judged, tally.verified), (tally.answers, tally.proofs));
            assert_eq!((tally.sealed, tally.sealable), (5, 5));
            sum.add(&tally);
        }
        // An audit is 30 slices or one proof; the rest are single blocks and chains.
        assert!(sum.proofs > 600 && sum.transcripts > 8 * 5 * 20, "{sum:?}");
        let slashed: Vec<_> = world.outcome.verdicts.iter().map(|verdict| verdict.slash_reason).collect();
        assert_eq!(slashed, [None, Some(Fault::StorageMissing)]);
    }
}

type Change = fn(&mut OnChain, &mut Documents);

// Defence: each comparison of `verify`; the one that is removed lets its change pass, or lets another claim take the blame.
#[test]
fn every_change_of_a_document_is_named_where_it_was_made() {
    let first = World::new(Plan::default(), None);
    let world = World::new(Plan::default(), Some(&first));
    let changes: &[(Claim, Change)] = &[
        (Claim::Chain, |chain, _| chain.accepted = None),
        (Claim::Report, |_, d| d.report.as_mut().unwrap().report.reward_total += 1),
        (Claim::Report, |_, d| d.report.as_mut().unwrap().digest.0[31] ^= 1),
        (Claim::Report, |_, d| d.report.as_mut().unwrap().accepted.as_mut().unwrap().gas_used += 1),
        (Claim::Report, |_, d| d.report = Err("GET: status 500".into())),
        (Claim::Certificate, |_, d| d.report.as_mut().unwrap().signers.0[31] ^= 1),
        (Claim::Certificate, |_, d| d.report.as_mut().unwrap().signers.0[0] ^= 0x80),
        (Claim::Certificate, |_, d| d.report.as_mut().unwrap().signature.eip2537.0[127] ^= 1),
        (Claim::Setting, |chain, _| chain.ref_block.number -= 1),
        (Claim::Setting, |chain, _| chain.registry.set_epoch += 1),
        (Claim::Parent, |_, d| ledger(d).providers.get_mut(&ProviderId(1)).unwrap().cumulative += 1),
        (Claim::Parent, |_, d| ledger(d).providers.get_mut(&ProviderId(1)).unwrap().multiplier_ppm -= 1),
        (Claim::Parent, |_, d| ledger(d).providers.get_mut(&ProviderId(2)).unwrap().recipient = Some(Default::default())),
        (Claim::Parent, |_, d| ledger(d).oracles.retain(|oracle, _| *oracle != OracleId(1))),
        (Claim::Parent, |_, d| ledger(d).verdicts[0].p50_us += 1),
        (Claim::Parent, |_, d| ledger(d).verdicts[0].facts_root.0[0] ^= 1),
        (Claim::Parent, |_, d| ledger(d).report.view += 1),
        (Claim::Parent, |chain, _| chain.parent = None),
        (Claim::Inclusion, |_, d| drop(d.proposal.as_mut().unwrap().bit_votes.pop())),
        (Claim::Inclusion, |_, d| drop(d.proposal.as_mut().unwrap().commits.pop())),
        (Claim::Inclusion, |_, d| d.proposal.as_mut().unwrap().commits[0].commit.leaf_count += 1),
        (Claim::Inclusion, |_, d| d.proposal.as_mut().unwrap().signature.0[40] ^= 1),
        (Claim::Inclusion, |_, d| d.proposal.as_mut().unwrap().leader = OracleId(99)),
        (Claim::Reveals, |_, d| drop(d.observations.as_mut().unwrap().reveals.pop())),
        (Claim::Reveals, |_, d| d.observations.as_mut().unwrap().complete = false),
        (Claim::Reveals, |_, d| d.observations.as_mut().unwrap().reveals[1].observations[0].observation.counts[0].counted -= 1),
        (Claim::Reveals, |_, d| d.observations.as_mut().unwrap().reveals[1].observations[0].salt.0[0] ^= 1),
        (Claim::Reveals, |_, d| d.observations.as_mut().unwrap().reveals[1].vrfs.swap(0, 1)),
        (Claim::Reveals, |_, d| d.observations.as_mut().unwrap().reveals[1].commit_signature = Default::default()),
        (Claim::Reveals, |_, d| fact(d).digest.0[0] ^= 1),
        (Claim::Facts, |_, d| fact(d).signature.0[3] ^= 1),
        (Claim::Facts, |_, d| d.observations.as_mut().unwrap().reveals[1].facts.clear()),
        (Claim::Beacon, |_, d| d.beacon.as_mut().unwrap().rounds[3].signature = None),
        (Claim::Beacon, |_, d| d.beacon.as_mut().unwrap().rounds[3].round += 1),
        (Claim::Beacon, |_, d| d.beacon.as_mut().unwrap().rounds.swap(2, 3)),
        (Claim::Verdicts, |_, d| d.verdicts.as_mut().unwrap().verdicts[1].slash = 0),
        (Claim::Verdicts, |_, d| drop(d.verdicts.as_mut().unwrap().verdicts.pop())),
    ];
    for (number, (expected, change)) in changes.iter().enumerate() {
        let (mut chain, mut documents) = (world.chain.clone(), world.documents.clone());
        change(&mut chain, &mut documents);
        let (_, findings) = recomputed(&world, &chain, &documents);
        assert_eq!(fails(&findings), [*expected], "change {number}\n{findings}");
    }
    // The chain says another stake than the committee computed with: only the outcome can show it.
    let mut chain = world.chain.clone();
    chain.registry.providers[1].stake -= 1;
    let (_, findings) = recomputed(&world, &chain, &world.documents);
    assert_eq!(fails(&findings), [Claim::Aggregation, Claim::Money, Claim::Recomputed], "{findings}");
}

fn ledger(documents: &mut Documents) -> &mut assay_proto::rest::LedgerDocument {
    documents.ledger.as_mut().unwrap().as_mut().unwrap()
}

/// The one fact of the epoch: oracle 2's.
fn fact(documents: &mut Documents) -> &mut assay_proto::rest::FactDocument {
    &mut documents.observations.as_mut().unwrap().reveals[1].facts[0]
}

// Defence: `count_again`. The committee's report stands over the lie, its signatures too: only the evidence tells, and it names the liar.
#[test]
fn an_oracle_that_lies_about_its_own_transcripts_contradicts_itself() {
    let lies: [fn(&mut assay_core::observation::Observation); 3] = [
        |seen| seen.counts.iter_mut().find(|counts| counts.kind == Kind::LATENCY_ECHO).unwrap().bad[0] += 1,
        |seen| seen.counts.iter_mut().find(|counts| counts.kind == Kind::LATENCY_ECHO).unwrap().readings[0] += 1,
        |seen| seen.counts.iter_mut().find(|counts| counts.kind == Kind::AVAILABILITY).unwrap().counted -= 1,
    ];
    for lie in lies {
        let world = World::new(Plan { lie: Some(lie), ..Plan::default() }, None);
        let (recomputed, findings) = recomputed(&world, &world.chain, &world.documents);
        assert!(findings.hold(), "{findings}");
        for ((oracle, provider), answer) in answers(&world, &recomputed.unwrap()) {
            match answer {
                Answer::Contradicted(_, why) if oracle == LIAR => assert!(why.contains("its transcripts give"), "{why}"),
                Answer::Supported(_) if oracle != LIAR => {}
                other => panic!("oracle {oracle} on {provider}: {other:?}"),
            }
        }
    }
}

// Defence: `judge_again` and `check_time`. A liar that forges transcripts and counts them rightly is not caught by counting.
#[test]
fn forged_transcripts_are_judged_again() {
    type Forgery = fn(&mut assay_core::transcript::Transcript);
    let forgeries: [(&str, Forgery); 3] = [
        ("judged otherwise", |t| {
            if t.challenge.kind == Kind::LATENCY_ECHO {
                t.outcome = Outcome::Checked(Checked { valid: 0, invalid: vec![0], missing: vec![] });
            }
        }),
        ("judged otherwise", |t| {
            if t.challenge.kind == Kind::LATENCY_ECHO {
                t.answer.as_mut().unwrap().payload[0] ^= 1;
            }
        }),
        ("another time", |t| t.scheduled_at_us += 1),
    ];
    for (said, forge) in forgeries {
        let world = World::new(Plan { forge: Some(forge), ..Plan::default() }, None);
        let (recomputed, findings) = recomputed(&world, &world.chain, &world.documents);
        assert!(findings.hold(), "{findings}");
        for ((oracle, _), answer) in answers(&world, &recomputed.unwrap()) {
            match answer {
                Answer::Contradicted(_, why) if oracle == LIAR => assert!(why.contains(said), "{why}"),
                Answer::Supported(_) if oracle != LIAR => {}
                other => panic!("oracle {oracle}: {other:?}"),
            }
        }
    }
}

// Defence: the comparison with the evidence root. What an API leaves out, adds or changes is never held against the oracle.
#[test]
fn what_is_not_delivered_is_not_held_against_the_oracle() {
    let world = World::new(Plan::default(), None);
    let (recomputed, _) = recomputed(&world, &world.chain, &world.documents);
    let recomputed = recomputed.unwrap();
    let (oracle, provider) = (OracleId(1), ProviderId(1));
    let examined = |bundles: &[Bundle]| answer(&world, &recomputed, oracle, provider, bundles, None);
    let honest = &world.bundles[&(oracle, provider)];
    assert!(matches!(examined(&honest[1..]), Answer::NotDelivered(_)), "one is missing");
    assert!(matches!(examined(&[]), Answer::NotDelivered(_)));
    assert!(matches!(examined(&world.bundles[&(OracleId(2), provider)]), Answer::NotDelivered(_)), "another oracle's");
    let mut changed = honest.clone();
    changed[0].transcripts[3].rtt_us = Some(1);
    assert!(matches!(examined(&changed), Answer::NotDelivered(_)));
    // Doubled, and mixed with what is on no schedule: nothing is missing.
    let more = [honest.as_slice(), honest, &world.bundles[&(OracleId(2), provider)]].concat();
    assert!(matches!(examined(&more), Answer::Supported(_)));
    let read: Vec<Bundle> = honest.iter().map(|b| decode_bundle(&encode_bundle(&b.transcripts, &b.seals)).unwrap()).collect();
    assert_eq!(&read, honest);
    let none = BTreeMap::new();
    let question_without_claims = {
        let reveal = &recomputed.reveals[&oracle];
        let observation = &reveal.reveal.observations[0].observation;
        let setting = &recomputed.setting;
        Question { setting, reveal, observation, claims: &none, watched: None, most_proofs: None, order: Hash32::ZERO }
    };
    assert!(matches!(examine(&question_without_claims, honest), Answer::NotDelivered(what) if what.contains("claim set")));
}

#[test]
fn a_sample_is_as_large_as_it_says() {
    let world = World::new(Plan::default(), None);
    let (recomputed, _) = recomputed(&world, &world.chain, &world.documents);
    let recomputed = recomputed.unwrap();
    let (oracle, provider) = (OracleId(ORACLES), ProviderId(1));
    let bundles = &world.bundles[&(oracle, provider)];
    let verified = |most| match answer(&world, &recomputed, oracle, provider, bundles, Some(most)) {
        Answer::Supported(tally) => tally.verified,
        other => panic!("{other:?}"),
    };
    assert_eq!(verified(0), 0);
    assert!((40..70).contains(&verified(40)), "the last answer may have thirty");
    assert!(verified(u64::MAX) > 149);
}

// Defence: the recomputation of the fallback in `beacon::check`.
#[test]
fn a_late_round_is_the_fallback_and_nothing_else() {
    let world = World::new(Plan { silent_slot: Some(2), ..Plan::default() }, None);
    let (_, findings) = recomputed(&world, &world.chain, &world.documents);
    assert!(findings.hold(), "{findings}");
    assert!(findings.to_string().contains("1 of 6 seeds are the fallback"), "{findings}");
    assert!(world.outcome.verdicts.iter().all(|verdict| verdict.slash == 0));
    let mut chain = world.chain.clone();
    chain.ref_block.hash = Hash32([3; 32]);
    let (_, findings) = recomputed(&world, &chain, &world.documents);
    // Leaders are drawn by that hash, too.
    assert_eq!(fails(&findings), [Claim::Inclusion]);
}

// Defence: each comparison in `misbehaviour::check`. Without it an API has an honest member flagged.
#[test]
fn a_proof_of_misbehaviour_is_believed_only_when_it_holds() {
    let world = World::new(Plan::default(), None);
    let setting = &world.setting;
    let signed = |root: u8| {
        let (seeds, root) = (Hash32([1; 32]), Hash32([root; 32]));
        let commit = Commit { epoch: setting.epoch, oracle: LIAR, seeds, secure: true, root, leaf_count: 1, log_head: Hash32::ZERO };
        SignedCommit { commit, signature: oracle_key(LIAR.0).sign(Domain::Commit, &commit.digest(&setting.instance)) }
    };
    let encode = |proof: Misbehaviour| Message::Misbehaviour(Box::new(proof)).encode();
    let proof = encode(Misbehaviour::commits(signed(7), signed(8), &setting.instance));
    let listed = ProofRef { oracle: LIAR, offence: Offence::TwoCommits, bytes: proof.len() as u64 };
    check(setting, &listed, &proof).unwrap();

    let honest = ProofRef { oracle: OracleId(LIAR.0 - 1), ..listed };
    assert!(check(setting, &honest, &proof).is_err(), "another member is listed");
    assert!(check(setting, &ProofRef { offence: Offence::TwoReports, ..listed }, &proof).is_err(), "another offence is listed");
    let once = encode(Misbehaviour::Commits(Box::new([signed(7), signed(7)])));
    assert!(check(setting, &listed, &once).unwrap_err().contains("contradict"));
    let forged = SignedCommit { signature: signed(7).signature, ..signed(8) };
    assert!(check(setting, &listed, &encode(Misbehaviour::commits(signed(7), forged, &setting.instance))).is_err());
    assert!(check(setting, &listed, &Message::Commit(signed(7)).encode()).unwrap_err().contains("a commit, no proof"));
    assert!(check(setting, &listed, &proof[1..]).is_err());
}
