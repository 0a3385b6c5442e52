//! The powers of an owner's secret place in G1, which provers need.

use ark_bls12_381::Fr;

use super::{CompactError, POWERS_BYTES, SCALARS, TAG_BYTES, TagKey, coefficient, field, finite_point, sized};
use crate::challenge::Stream;
use crate::curve::{Affine, Point, Width, pairings_cancel, sum_of_multiples};
use crate::hash::{keccak, tag};

const WHAT: &str = "a power";

/// `alpha^j · g1` for j = 0 … 4095. Holds 400 KB.
pub struct Powers(Vec<Affine>);

impl Powers {
    /// Reads 4,096 compressed points and checks that they are the powers of this key's secret, once for a key that is new here.
    ///
    /// `seed` is 32 random bytes, drawn after the powers were received.
    pub fn parse(bytes: &[u8], key: &TagKey, seed: &[u8; 32]) -> Result<Self, CompactError> {
        let powers = Self::read(bytes, |bytes| finite_point(WHAT, bytes))?;
        powers.check(bytes, key, seed)?;
        Ok(powers)
    }

    /// Reads powers that passed [`Powers::parse`] here before. Only their encoding is checked again.
    pub fn reopen(bytes: &[u8]) -> Result<Self, CompactError> {
        Self::read(bytes, |bytes| {
            let point = Affine::from_checked(sized(WHAT, bytes)?);
            point.map_err(|source| CompactError::Point { what: WHAT, source })
        })
    }

    fn read(bytes: &[u8], point: impl Fn(&[u8]) -> Result<Affine, CompactError>) -> Result<Self, CompactError> {
        let bytes: &[u8; POWERS_BYTES] = sized("the list of powers", bytes)?;
        let points = bytes.chunks_exact(TAG_BYTES).map(point).collect::<Result<Vec<_>, _>>()?;
        match points.first() == Some(&Point::generator().affine()) {
            true => Ok(Self(points)),
            false => Err(CompactError::Powers),
        }
    }

    /// `e(Σ ρ_j P_{j+1}, v) = e(Σ ρ_j P_j, w)`: every power is the next lower one times the alpha of `w`.
    fn check(&self, bytes: &[u8], key: &TagKey, seed: &[u8; 32]) -> Result<(), CompactError> {
        let mut stream = Stream::new(&[&tag("assay.powers.v1").0, seed, &key.id().0, &keccak([bytes]).0]);
        let coefficients: Vec<u8> = (1..SCALARS).flat_map(|_| coefficient(&mut stream).to_le_bytes()).collect();
        let upper = sum_of_multiples(self.0.get(1..).unwrap_or_default(), &coefficients, Width::Short);
        let lower = sum_of_multiples(&self.0, &coefficients, Width::Short);
        match pairings_cancel(&[(upper, key.v()), (lower.negated(), key.w())]) {
            true => Ok(()),
            false => Err(CompactError::Powers),
        }
    }

    /// The polynomial at the secret place, times g1; at most 4,096 coefficients, the constant first.
    pub(super) fn commit(&self, polynomial: &[Fr]) -> Point {
        let scalars: Vec<u8> = polynomial.iter().flat_map(|scalar| field::to_little_endian(*scalar)).collect();
        sum_of_multiples(&self.0, &scalars, Width::Full)
    }
}
