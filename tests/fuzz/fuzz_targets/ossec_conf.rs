#![no_main]

libfuzzer_sys::fuzz_target!(init: fuzz::prepare("ossec_conf"), |data: &[u8]| fuzz::ossec_conf::check(data));
