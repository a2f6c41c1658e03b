#![no_main]

libfuzzer_sys::fuzz_target!(init: fuzz::prepare("supabase"), |data: &[u8]| fuzz::webhook::supabase(data));
