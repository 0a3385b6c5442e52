//! Counts as varints in one byte string: a list of small messages would cost a receiver many times its bytes.

use assay_core::challenge::Kind;
use assay_core::observation::Counts;
use bytes::Bytes;

use crate::convert::{ConvertError, malformed};

/// The most kinds of challenges: each takes a hundred bytes once decoded, and five on the wire.
const MAX_KINDS: usize = 16;
/// The most grounds, and the most readings, of one kind.
const MAX_VALUES: u64 = 16;

pub(super) fn write(all: &[Counts]) -> Bytes {
    let mut bytes = Vec::new();
    let mut put = |value: u64| prost::encoding::encode_varint(value, &mut bytes);
    for counts in all {
        [u64::from(counts.kind.0), counts.scheduled, counts.counted].into_iter().for_each(&mut put);
        for list in [&counts.bad, &counts.readings] {
            put(list.len() as u64);
            list.iter().copied().for_each(&mut put);
        }
    }
    bytes.into()
}

pub(super) fn read(mut bytes: &[u8]) -> Result<Vec<Counts>, ConvertError> {
    let mut all = Vec::new();
    while !bytes.is_empty() {
        if all.len() == MAX_KINDS {
            return Err(malformed("counts"));
        }
        let kind = u8::try_from(take(&mut bytes)?).map_err(|_| malformed("counts"))?;
        let (scheduled, counted) = (take(&mut bytes)?, take(&mut bytes)?);
        let (bad, readings) = (list(&mut bytes)?, list(&mut bytes)?);
        all.push(Counts { kind: Kind(kind), scheduled, counted, bad, readings });
    }
    Ok(all)
}

fn list(bytes: &mut &[u8]) -> Result<Vec<u64>, ConvertError> {
    match take(bytes)? {
        length if length <= MAX_VALUES => (0..length).map(|_| take(bytes)).collect(),
        _ => Err(malformed("counts")),
    }
}

/// A varint in its shortest form, so that the same counts have one encoding.
fn take(bytes: &mut &[u8]) -> Result<u64, ConvertError> {
    let before = bytes.len();
    let value = prost::encoding::decode_varint(bytes).map_err(|_| malformed("counts"))?;
    match before - bytes.len() == prost::encoding::encoded_len_varint(value) {
        true => Ok(value),
        false => Err(malformed("counts")),
    }
}
