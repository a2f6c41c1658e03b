#![no_main]

libfuzzer_sys::fuzz_target!(init: fuzz::prepare("netlink"), |data: &[u8]| fuzz::netlink::check(data));
