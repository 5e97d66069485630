//! libFuzzer's bytes for the target `store_latencies`.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| outrigger_fuzz::targets::run("store_latencies", data));
