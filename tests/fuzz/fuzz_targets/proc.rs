#![no_main]

libfuzzer_sys::fuzz_target!(init: fuzz::prepare("proc"), |data: &[u8]| fuzz::proc::check(data));
