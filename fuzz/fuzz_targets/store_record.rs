//! libFuzzer's bytes for the target `store_record`.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| outrigger_fuzz::targets::run("store_record", data));
