//! The oracle node: schedule, committee, verdicts, store, APIs.
