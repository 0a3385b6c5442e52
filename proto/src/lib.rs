//! Assay's wire messages, the generated gRPC code, and their conversion into core types.
//!
//! The code under `gen/` is generated from `proto/` by `tests/generated.rs`; a build needs no protobuf compiler.

pub mod bundle;
pub mod convert;
pub mod oracle_convert;
pub mod rest;

/// Package `assay.audit`.
pub mod audit {
    /// Version 1.
    #[allow(missing_docs, clippy::all, clippy::pedantic)]
    pub mod v1 {
        include!("gen/assay.audit.v1.rs");
    }
}

/// Package `assay.oracle`.
pub mod oracle {
    /// Version 1.
    #[allow(missing_docs, clippy::all, clippy::pedantic)]
    pub mod v1 {
        include!("gen/assay.oracle.v1.rs");
    }
}

/// Package `assay.provider`.
pub mod provider {
    /// Version 1.
    #[allow(missing_docs, clippy::all, clippy::pedantic)]
    pub mod v1 {
        include!("gen/assay.provider.v1.rs");
    }
}
