#![no_main]

libfuzzer_sys::fuzz_target!(init: fuzz::prepare("generic"), |data: &[u8]| fuzz::webhook::generic(data));
