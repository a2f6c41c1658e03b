#![no_main]

libfuzzer_sys::fuzz_target!(init: fuzz::prepare("request"), |data: &[u8]| fuzz::request::check(data));
