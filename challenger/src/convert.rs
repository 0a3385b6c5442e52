//! Transcripts and seals on the wire: the conversion is [`assay_proto::bundle`]'s, like every other.

pub use assay_proto::bundle::{Bundle, BundleError, MAX_BUNDLE_BYTES, MAX_ENTRIES, decode_bundle, encode_bundle};
