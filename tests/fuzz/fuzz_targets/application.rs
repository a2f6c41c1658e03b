#![no_main]

libfuzzer_sys::fuzz_target!(init: fuzz::prepare("application"), |data: &[u8]| fuzz::webhook::application(data));
