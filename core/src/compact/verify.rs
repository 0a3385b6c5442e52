//! Checking proofs without the data.

use ark_bls12_381::Fr;
use ark_ff::AdditiveGroup;

use super::{CompactError, Proof, TagKey, Terms, block_point, coefficient, field};
use crate::challenge::Stream;
use crate::curve::{Point, Sum, Width, g2, pairings_cancel};
use crate::hash::{Hash32, keccak, tag};

/// Checks one proof: `e(sigma, g2) = e(A - r · psi, v) · e(psi, w)` with `A = Σ nu · H + y · g1`.
pub fn verify(key: &TagKey, terms: &Terms, proof: &Proof) -> Result<(), CompactError> {
    let mut opened = Sum::new(Width::Full);
    opened.add(Point::generator(), &field::to_little_endian(proof.y));
    opened.add(proof.psi.point(), &field::to_little_endian(-terms.place()));
    let shifted = hashes(terms)?.plus(&opened.total());
    stands(key, &proof.sigma.point(), &shifted, &proof.psi.point())
}

/// A of one proof for a contract, which cannot hash to the curve cheaply: everybody computes it from public values.
pub fn statement(terms: &Terms, proof: &Proof) -> Result<[u8; 128], CompactError> {
    let mut opened = Sum::new(Width::Full);
    opened.add(Point::generator(), &field::to_little_endian(proof.y));
    Ok(hashes(terms)?.plus(&opened.total()).affine().to_eip2537())
}

/// Checks any number of proofs under one key with three pairings. When it fails, [`verify`] tells which proof is bad.
///
/// The proofs' coefficients follow from all of them and from `seed`, 32 bytes of the caller's choice.
pub fn verify_batch(key: &TagKey, proofs: &[(Terms, Proof)], seed: &[u8; 32]) -> Result<(), CompactError> {
    if proofs.is_empty() {
        return Err(CompactError::Empty { what: "proofs" });
    }
    let mut stream = Stream::new(&[&tag("assay.compactbatch.v1").0, seed, &key.id().0, &digest(proofs).0]);
    let (mut sigmas, mut psis, mut shifted) = (Sum::new(Width::Short), Sum::new(Width::Short), Sum::new(Width::Full));
    let mut y = Fr::ZERO;
    for (terms, proof) in proofs {
        refuse_empty(terms)?;
        let rho = coefficient(&mut stream);
        sigmas.add(proof.sigma.point(), &rho.to_le_bytes());
        psis.add(proof.psi.point(), &rho.to_le_bytes());
        let rho = Fr::from(rho);
        for item in &terms.items {
            shifted.add(block_point(&item.name, item.block), &field::to_little_endian(rho * Fr::from(item.nu)));
        }
        shifted.add(proof.psi.point(), &field::to_little_endian(-rho * terms.place()));
        y += rho * proof.y;
    }
    shifted.add(Point::generator(), &field::to_little_endian(y));
    stands(key, &sigmas.total(), &shifted.total(), &psis.total())
}

/// `Σ nu · H`.
fn hashes(terms: &Terms) -> Result<Point, CompactError> {
    refuse_empty(terms)?;
    let mut sum = Sum::new(Width::Short);
    for item in &terms.items {
        sum.add(block_point(&item.name, item.block), &item.nu.to_le_bytes());
    }
    Ok(sum.total())
}

/// Without items the proof of nothing would stand.
fn refuse_empty(terms: &Terms) -> Result<(), CompactError> {
    match terms.items.is_empty() {
        true => Err(CompactError::Empty { what: "blocks" }),
        false => Ok(()),
    }
}

fn stands(key: &TagKey, sigma: &Point, shifted: &Point, psi: &Point) -> Result<(), CompactError> {
    match pairings_cancel(&[(sigma.negated(), &g2()), (*shifted, key.v()), (*psi, key.w())]) {
        true => Ok(()),
        false => Err(CompactError::Proof),
    }
}

/// A hash of everything that is checked together.
fn digest(proofs: &[(Terms, Proof)]) -> Hash32 {
    proofs.iter().fold(Hash32::ZERO, |sofar, (terms, proof)| {
        let mut items = Vec::new();
        for item in &terms.items {
            items.extend_from_slice(&item.name.0.0);
            items.extend_from_slice(&item.block.to_be_bytes());
            items.extend_from_slice(&item.nu.to_be_bytes());
        }
        keccak([&sofar.0, &terms.r(), &proof.to_bytes(), &items])
    })
}
