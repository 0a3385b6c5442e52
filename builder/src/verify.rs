//! Whether a provider still holds a replica: a sample of its groups, fetched and checked against the root.

use std::collections::BTreeSet;

use assay_core::challenge::Stream;
use assay_core::claim::Claim;
use serde::Serialize;

use crate::client::Client;
use crate::error::BuilderError;
use crate::groups::{Found, Groups, groups_of};

/// Groups that are fetched unless somebody asks for more: less than 1 % is lost then, with 95 % confidence.
pub const DEFAULT_SAMPLES: u64 = 300;

/// What a sample showed.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Verified {
    /// Groups of the replica.
    pub groups: u64,
    /// Different groups that were asked for, each equally likely.
    pub asked: u64,
    /// Came, and lead to the root.
    pub held: u64,
    /// Did not come.
    pub missing: u64,
    /// Came with other bytes.
    pub wrong: u64,
}

impl Verified {
    /// Whether every group asked for is held.
    pub fn is_clean(&self) -> bool {
        self.held == self.asked
    }

    /// The share of the replica that may be lost at most, with 95 % confidence: 3/n after n clean samples, 0 when nothing was left out.
    /// `None` when a sample was not clean: then something is lost.
    pub fn loss_bound(&self) -> Option<f64> {
        match (self.is_clean(), self.asked) {
            (false, _) => None,
            (true, asked) if asked >= self.groups => Some(0.0),
            (true, asked) => Some((3.0 / asked.max(1) as f64).min(1.0)),
        }
    }

    /// In plain words.
    pub fn words(&self) -> String {
        let Self { groups, asked, held, missing, wrong } = self;
        match self.loss_bound() {
            None => format!(
                "{held} of {asked} places are held; {missing} are missing and {wrong} hold other bytes. The provider lost data: restore \
                 from another replica"
            ),
            Some(bound) if bound == 0.0 => format!("all {groups} places of the replica were fetched and are right: nothing is lost"),
            Some(bound) => format!(
                "{held} of {asked} random places (of {groups}) are held and right. With 95 % confidence less than {:.2} % of the replica is \
                 lost (3/{asked})",
                bound * 100.0
            ),
        }
    }
}

/// Fetches `samples` different random groups, or all when there are not so many, and checks each against the claim's root.
pub async fn verify(client: &mut Client, claim: &Claim, samples: u64) -> Result<Verified, BuilderError> {
    let groups = groups_of(claim);
    let drawn = draw(groups, samples)?;
    let mut verified = Verified { groups, asked: drawn.len() as u64, held: 0, missing: 0, wrong: 0 };
    let mut replies = Groups::new(client, claim, drawn.into_iter());
    while let Some((_, found)) = replies.next().await? {
        match found {
            Found::Held(_) => verified.held += 1,
            Found::Missing => verified.missing += 1,
            Found::Wrong => verified.wrong += 1,
        }
    }
    Ok(verified)
}

/// Different group numbers, by a seed that the provider cannot know.
fn draw(groups: u64, samples: u64) -> Result<BTreeSet<u64>, BuilderError> {
    let samples = samples.clamp(1, groups);
    let mut seed = [0; 32];
    getrandom::fill(&mut seed).map_err(|_| BuilderError::Random)?;
    let mut stream = Stream::new(&[&seed]);
    let mut drawn = BTreeSet::new();
    // Floyd's sampling: one draw for every sample, however many of all there are.
    for last in groups - samples..groups {
        let candidate = stream.below(last + 1);
        if !drawn.insert(candidate) {
            drawn.insert(last);
        }
    }
    Ok(drawn)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn samples_are_different_and_equally_likely() {
        for (groups, samples, expected) in [(1, 300, 1), (8, 8, 8), (8, 3, 3), (1000, 300, 300), (5, 0, 1)] {
            let drawn = draw(groups, samples).unwrap();
            assert_eq!(drawn.len(), expected);
            assert!(drawn.iter().all(|group| *group < groups));
        }
        let mut counts = [0_u32; 10];
        for _ in 0..10_000 {
            draw(10, 3).unwrap().iter().for_each(|group| counts[*group as usize] += 1);
        }
        assert!(counts.iter().all(|count| (2_700..3_300).contains(count)), "{counts:?}");
    }

    #[test]
    fn the_bound_is_three_over_n_and_only_of_clean_samples() {
        let clean = Verified { groups: 10_000, asked: 300, held: 300, missing: 0, wrong: 0 };
        assert_eq!(clean.loss_bound(), Some(0.01));
        assert!(clean.words().contains("less than 1.00 %"), "{}", clean.words());
        assert_eq!(Verified { groups: 300, ..clean }.loss_bound(), Some(0.0));
        let bad = Verified { held: 299, wrong: 1, ..clean };
        assert_eq!(bad.loss_bound(), None);
        assert!(bad.words().contains("lost data"));
        let tiny = Verified { groups: 10_000, asked: 2, held: 2, missing: 0, wrong: 0 };
        assert_eq!(tiny.loss_bound(), Some(1.0));
    }
}
