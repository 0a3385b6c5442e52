//! Bad input, one test each: every fault gets a message that names the thing and the remedy, a non-zero exit where it is fatal, and no
//! data is lost. Real programs on a real chain.
//!
//! Covered elsewhere, and not again here:
//!
//! | input | test |
//! |---|---|
//! | provider that answers garbage in the form of an answer | `challenger/tests/slot.rs: garbage_is_invalid…`, `answers_without_the_form…`, `a_strangers_signature…` |
//! | provider that answers too much | `slot.rs: an_oversized_reply_is_silence_and_costs_no_memory` |
//! | provider that answers too late, or never | `slot.rs: a_late_answer_is_none`, `a_silent_provider_is_asked_everything…`, `a_provider_that_is_not_there…` |
//! | claims that are not the registered ones | `slot.rs: claims_are_fetched_in_pages_and_must_lead_to_the_root` |
//! | slow set-up beside other providers, whole epoch | `oracle/tests/measure.rs` |
//! | every decoder of bytes from outside | `tests/tests/fuzz_smoke.rs` |
//! | commits, reveals, votes, proposals of the wrong content | `core/src/epoch/tests.rs` |

mod peers;
mod provider;
mod providers;
mod start;
mod storage;
mod world;
