//! Critical counts of the one-sided binomial test at α = 10^-4: an integer table that a contract can share.
//!
//! For an allowed share p0 the table's entry `x − 1` is the largest n with P(Binomial(n, p0) ≥ x) ≤ 10^-4. A table ends where every
//! material excess (design section 7) is significant anyway. `tests.rs` recomputes it in exact rational arithmetic.

/// (p0 in ppm, largest n for x = 1, 2, 3, …).
pub const TABLES: [(u64, &[u64]); 5] = [
    (
        1000,
        &[
            0, 14, 87, 233, 446, 715, 1032, 1389, 1780, 2200, 2646, 3115, 3604, 4110, 4633, 5171, 5722, 6286, 6861, 7447, 8042, 8647, 9261,
            9882, 10511, 11147, 11790, 12439, 13094, 13756, 14422, 15094, 15771, 16452, 17138, 17829, 18523, 19222, 19925, 20631, 21341,
            22054,
        ],
    ),
    (
        5000,
        &[
            0, 3, 18, 47, 90, 144, 208, 280, 358, 442, 532, 626, 724, 825, 930, 1038, 1148, 1261, 1376, 1494, 1613, 1734, 1857, 1981, 2107,
            2235, 2363, 2493, 2624, 2757, 2890, 3025, 3160, 3297, 3434, 3572, 3711, 3851, 3992, 4133, 4275, 4418,
        ],
    ),
    (
        10000,
        &[
            0, 1, 9, 24, 46, 73, 105, 141, 180, 223, 268, 315, 364, 415, 467, 521, 576, 633, 691, 749, 809, 870, 931, 994, 1057, 1121,
            1185, 1250, 1316, 1382, 1449, 1516, 1584, 1652, 1721, 1790, 1860, 1930, 2000, 2071, 2142, 2214,
        ],
    ),
    (
        50000,
        &[
            0, 1, 2, 6, 10, 16, 23, 30, 38, 47, 56, 66, 76, 86, 97, 108, 119, 131, 142, 154, 166, 179, 191, 204, 216, 229, 242, 256, 269,
            282, 296, 309, 323, 337, 351, 365, 379, 393, 407, 421,
        ],
    ),
    (
        500000,
        &[
            0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 14, 15, 16, 18, 19, 20, 22, 23, 25, 26, 28, 29, 31, 32, 34, 35, 37, 38, 40, 41, 43,
            44, 46, 47, 49, 51, 52, 54, 55, 57, 58, 60, 62, 63, 65, 67, 68, 70, 71, 73, 75,
        ],
    ),
];

/// Whether `bad` of `counted` is too many for chance when `allowed_ppm` is just kept.
///
/// For an allowance between two tables the next larger one is used: it asks for more, in the provider's favour. `bad` beyond the table's end is
/// significant for every material excess, which the caller has checked.
pub(super) fn is_significant(allowed_ppm: u64, bad: u64, counted: u64) -> bool {
    let Some((_, largest)) = TABLES.iter().find(|(p0, _)| *p0 >= allowed_ppm) else { return false };
    let Some(index) = usize::try_from(bad).ok().and_then(|bad| bad.checked_sub(1)) else { return false };
    match largest.get(index) {
        Some(limit) => counted <= *limit,
        None => true,
    }
}
