#![no_main]

libfuzzer_sys::fuzz_target!(init: fuzz::prepare("aws"), |data: &[u8]| fuzz::webhook::aws(data));
