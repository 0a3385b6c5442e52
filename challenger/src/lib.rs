//! Puts challenges to providers and measures.
