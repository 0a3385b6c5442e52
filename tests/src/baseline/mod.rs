//! Rules of other networks, as far as our figures stand beside theirs: our own small versions of what they published.

pub mod ocr;
