//! Typed bindings generated from the committed contract ABI.
