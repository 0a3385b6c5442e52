#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    assay_tests::fuzzing::tls_certificate(bytes);
});
