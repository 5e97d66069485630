//! libFuzzer's bytes for the target `cgroup`.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| outrigger_fuzz::targets::run("cgroup", data));
