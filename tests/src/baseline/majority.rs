//! The rule of Filecoin Spark's evaluator: of all answers to one task, the exact one that more than half of the committee gave is the
//! result. Who answered otherwise gets nothing, and without such an answer there is no result.

/// The answer that more than half of all gave, by Boyer and Moore's vote and one count. `None` without such an answer.
pub fn absolute<'a, T: PartialEq>(answers: &[&'a T]) -> Option<&'a T> {
    let (mut candidate, mut lead) = (*answers.first()?, 0usize);
    for answer in answers {
        match (lead, *answer == candidate) {
            (0, _) => (candidate, lead) = (answer, 1),
            (_, true) => lead += 1,
            (_, false) => lead -= 1,
        }
    }
    let given = answers.iter().filter(|answer| **answer == candidate).count();
    (given * 2 > answers.len()).then_some(candidate)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(answers: &[u8]) -> Option<u8> {
        absolute(&answers.iter().collect::<Vec<_>>()).copied()
    }

    #[test]
    fn more_than_half_agree_or_nobody_is_right() {
        assert_eq!(of(&[]), None);
        assert_eq!(of(&[3]), Some(3));
        assert_eq!(of(&[3, 4]), None, "half is not more than half");
        assert_eq!(of(&[1, 2, 2, 3, 2]), Some(2));
        assert_eq!(of(&[2, 2, 1, 1, 3, 1, 1]), Some(1));
        assert_eq!(of(&[50_000u64, 50_001, 50_002].map(|us| us as u8)), None, "times never agree");
    }

    #[test]
    fn it_is_what_counting_every_answer_gives() {
        for number in 0..3u32.pow(7) {
            let answers: Vec<u8> = (0..7).map(|place| (number / 3u32.pow(place) % 3) as u8).collect();
            let counted = (0..3).find(|value| answers.iter().filter(|answer| *answer == value).count() > 3);
            assert_eq!(of(&answers), counted, "{answers:?}");
        }
    }
}
