//! Rules of other networks, as far as our figures stand beside theirs: our own small versions of what they published.

mod curve;
pub mod doc;
pub mod kzg;
pub mod majority;
pub mod ocr;
pub mod pdp;
pub mod scaling_doc;
pub mod shacham_waters;

pub use ark_bls12_381::Fr as Scalar;
pub use blst::{blst_p1_affine as Point, blst_p2_affine as Key};
pub use curve::{SHORT_BITS, g2, hash_all, multiple_of_g1, pairings_cancel, scalars_of, sum_of_multiples};
