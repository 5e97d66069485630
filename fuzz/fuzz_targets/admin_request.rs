//! libFuzzer's bytes for the target `admin_request`.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| outrigger_fuzz::targets::run("admin_request", data));
