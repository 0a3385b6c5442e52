//! Sums in the group G1 of BLS12-381 and pairing products, for `compact`. The only file that calls C: `blst`'s Rust interface has no
//! hash to the curve and no single multiplication, and it spreads sums over a thread pool of its own.
//!
//! Every function is safe to call with any arguments. Coordinates are `blst`'s; nothing here accepts one from outside but
//! [`Affine::from_compressed`] and [`Affine::from_checked`].
#![allow(unsafe_code)]

use blst::min_sig as scheme;
use blst::{blst_fp12, blst_p1, blst_p1_affine, blst_p2_affine};

use crate::bls::{BlsError, PublicKey, Signature, classified};

/// Bytes of a scalar, little-endian.
pub(crate) const SCALAR: usize = 32;

/// Points that one sum takes at a time, so that its memory does not grow with the number of points.
const CHUNK: usize = 8192;

/// A point of G1 in Jacobian coordinates: cheap to add.
#[derive(Clone, Copy)]
#[repr(transparent)]
pub(crate) struct Point(blst_p1);

impl Point {
    /// Hashes to the group (RFC 9380, random oracle).
    pub(crate) fn hash(message: &[u8], dst: &[u8]) -> Self {
        let mut out = blst_p1::default();
        let nothing: &[u8] = &[];
        // SAFETY: all three slices are read within their lengths.
        unsafe { blst::blst_hash_to_g1(&mut out, message.as_ptr(), message.len(), dst.as_ptr(), dst.len(), nothing.as_ptr(), 0) };
        Self(out)
    }

    /// The group's generator.
    pub(crate) fn generator() -> Self {
        // SAFETY: the pointer is to a constant of the library.
        Self(unsafe { *blst::blst_p1_generator() })
    }

    /// The neutral element.
    pub(crate) fn infinity() -> Self {
        Self(blst_p1::default())
    }

    /// The sum, also of equal points and of infinity.
    pub(crate) fn plus(&self, other: &Self) -> Self {
        let mut out = blst_p1::default();
        // SAFETY: two valid points in, one out.
        unsafe { blst::blst_p1_add_or_double(&mut out, &self.0, &other.0) };
        Self(out)
    }

    /// The inverse.
    pub(crate) fn negated(&self) -> Self {
        let mut out = self.0;
        // SAFETY: one valid point, changed in place.
        unsafe { blst::blst_p1_cneg(&mut out, true) };
        Self(out)
    }

    /// The multiple by a secret scalar below the group order, in constant time.
    pub(crate) fn times_secret(&self, scalar: &[u8; SCALAR]) -> Self {
        let mut out = blst_p1::default();
        // SAFETY: 255 bits are read from 32 bytes.
        unsafe { blst::blst_p1_mult(&mut out, &self.0, scalar.as_ptr(), 255) };
        Self(out)
    }

    /// The same point with z = 1.
    pub(crate) fn affine(&self) -> Affine {
        let mut out = blst_p1_affine::default();
        // SAFETY: one valid point in, one out.
        unsafe { blst::blst_p1_to_affine(&mut out, &self.0) };
        Affine(out)
    }

    /// All points with z = 1, for little more than one inversion.
    pub(crate) fn all_affine(points: &[Self]) -> Vec<Affine> {
        let mut out = vec![Affine(blst_p1_affine::default()); points.len()];
        if points.is_empty() {
            return out;
        }
        // The null says that all points follow the first in memory.
        let list: [*const blst_p1; 2] = [points.as_ptr().cast(), std::ptr::null()];
        // SAFETY: `points.len()` points are read and as many written; the newtypes have the layout of their field.
        unsafe { blst::blst_p1s_to_affine(out.as_mut_ptr().cast(), list.as_ptr(), points.len()) };
        out
    }
}

/// A point of G1 with z = 1: what encodings hold.
#[derive(Clone, Copy, PartialEq)]
#[repr(transparent)]
pub(crate) struct Affine(blst_p1_affine);

impl Affine {
    /// Reads the 48-byte compressed form: canonical, on the curve, in the subgroup. Infinity is read too.
    pub(crate) fn from_compressed(bytes: &[u8; 48]) -> Result<Self, BlsError> {
        let point = Self::uncompressed(bytes)?;
        point.validate(false).map_err(classified)?;
        Ok(Self(point.into()))
    }

    /// Reads a compressed point that passed [`Affine::from_compressed`] before: its subgroup is not checked again.
    pub(crate) fn from_checked(bytes: &[u8; 48]) -> Result<Self, BlsError> {
        Self::uncompressed(bytes).map(|point| Self(point.into()))
    }

    fn uncompressed(bytes: &[u8; 48]) -> Result<scheme::Signature, BlsError> {
        scheme::Signature::uncompress(bytes).map_err(classified)
    }

    /// The 48-byte compressed form.
    pub(crate) fn to_compressed(self) -> [u8; 48] {
        scheme::Signature::from(self.0).compress()
    }

    /// The 128-byte EIP-2537 form; infinity is all zero.
    pub(crate) fn to_eip2537(self) -> [u8; 128] {
        match self.is_infinity() {
            true => [0; 128],
            false => Signature(scheme::Signature::from(self.0)).to_eip2537(),
        }
    }

    /// Whether this is the neutral element.
    pub(crate) fn is_infinity(&self) -> bool {
        self.0 == blst_p1_affine::default()
    }

    /// The same point, ready to be added.
    pub(crate) fn point(&self) -> Point {
        let mut out = blst_p1::default();
        // SAFETY: one valid point in, one out.
        unsafe { blst::blst_p1_from_affine(&mut out, &self.0) };
        Point(out)
    }
}

/// Bits of the scalars of a sum.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Width {
    /// Random coefficients below 2^128.
    Short = 128,
    /// Any scalar below the group order.
    Full = 255,
}

impl Width {
    fn bits(self) -> usize {
        self as usize
    }

    fn bytes(self) -> usize {
        self.bits().div_ceil(8)
    }
}

/// `Σ scalar · point` on one thread. Its time tells about the scalars: for public ones only.
///
/// `scalars` holds `width` bits of each, little-endian, one behind the other; points without a scalar do not count.
pub(crate) fn sum_of_multiples(points: &[Affine], scalars: &[u8], width: Width) -> Point {
    let count = points.len().min(scalars.len().checked_div(width.bytes()).unwrap_or(0));
    let mut out = blst_p1::default();
    if count == 0 {
        return Point(out);
    }
    // The nulls say that all points and all scalars follow the first in memory.
    let (points, scalars) = ([points.as_ptr().cast(), std::ptr::null()], [scalars.as_ptr(), std::ptr::null()]);
    // SAFETY: `count` points and scalars are there, the scratch has the size that the library asks for, in words of its limbs.
    unsafe {
        let mut scratch = vec![0_u64; blst::blst_p1s_mult_pippenger_scratch_sizeof(count).div_ceil(8)];
        blst::blst_p1s_mult_pippenger(&mut out, points.as_ptr(), count, scalars.as_ptr(), width.bits(), scratch.as_mut_ptr());
    }
    Point(out)
}

/// A sum of multiples that takes one term at a time and holds a bounded number of them.
pub(crate) struct Sum {
    width: Width,
    points: Vec<Point>,
    scalars: Vec<u8>,
    total: Point,
}

impl Sum {
    /// Nothing yet.
    pub(crate) fn new(width: Width) -> Self {
        Self { width, points: Vec::new(), scalars: Vec::new(), total: Point::infinity() }
    }

    /// Adds a multiple; of the scalar's little-endian bytes the first `width` bits count.
    pub(crate) fn add(&mut self, point: Point, scalar: &[u8]) {
        let start = self.scalars.len();
        self.scalars.extend(scalar.iter().take(self.width.bytes()));
        self.scalars.resize(start.saturating_add(self.width.bytes()), 0);
        self.points.push(point);
        if self.points.len() >= CHUNK {
            self.flush();
        }
    }

    /// The sum.
    pub(crate) fn total(mut self) -> Point {
        self.flush();
        self.total
    }

    fn flush(&mut self) {
        let part = sum_of_multiples(&Point::all_affine(&self.points), &self.scalars, self.width);
        self.total = self.total.plus(&part);
        self.points.clear();
        self.scalars.clear();
    }
}

/// The generator of G2.
pub(crate) fn g2() -> PublicKey {
    // SAFETY: the pointer is to a constant of the library.
    let generator = unsafe { *blst::blst_p2_affine_generator() };
    PublicKey(scheme::PublicKey::from(generator))
}

/// The multiple of G2's generator by a secret scalar in [1, order), in constant time.
pub(crate) fn g2_times_secret(scalar: &[u8; SCALAR]) -> PublicKey {
    let (mut product, mut out) = (blst::blst_p2::default(), blst_p2_affine::default());
    // SAFETY: 255 bits are read from 32 bytes; the other pointers are to valid points.
    unsafe {
        blst::blst_p2_mult(&mut product, blst::blst_p2_generator(), scalar.as_ptr(), 255);
        blst::blst_p2_to_affine(&mut out, &product);
    }
    PublicKey(scheme::PublicKey::from(out))
}

/// Whether `Π e(point, key)` is one.
pub(crate) fn pairings_cancel(pairs: &[(Point, &PublicKey)]) -> bool {
    let (points, keys): (Vec<Point>, Vec<&PublicKey>) = pairs.iter().map(|(point, key)| (*point, *key)).unzip();
    // Infinity pairs to one with everything; the library's loop promises nothing for it.
    let pairs = Point::all_affine(&points).into_iter().zip(keys).filter(|(point, _)| !point.is_infinity());
    let (points, keys): (Vec<Affine>, Vec<blst_p2_affine>) = pairs.map(|(point, key)| (point, blst_p2_affine::from(key.0))).unzip();
    let one = blst_fp12::default();
    let mut product = one;
    if !points.is_empty() {
        let (points_list, keys_list) = ([points.as_ptr().cast(), std::ptr::null()], [keys.as_ptr(), std::ptr::null()]);
        // SAFETY: both vectors have `points.len()` members, one behind the other in memory.
        unsafe { blst::blst_miller_loop_n(&mut product, keys_list.as_ptr(), points_list.as_ptr(), points.len()) };
    }
    blst_fp12::finalverify(&product, &one)
}
