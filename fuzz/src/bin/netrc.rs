//! `.netrc`: a login or none.
#![no_main]

use icecore_remote::netrc::search;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    for user in [None, Some("ann")] {
        if let Some(login) = search(text, "host.example", user) {
            assert!(login.password.expose().len() <= text.len());
        }
    }
});
