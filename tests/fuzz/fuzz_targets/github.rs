#![no_main]

libfuzzer_sys::fuzz_target!(init: fuzz::prepare("github"), |data: &[u8]| fuzz::webhook::github(data));
