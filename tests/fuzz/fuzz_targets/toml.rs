#![no_main]

libfuzzer_sys::fuzz_target!(init: fuzz::prepare("toml"), |data: &[u8]| fuzz::toml::check(data));
