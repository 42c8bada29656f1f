//! Files of passwords: whatever stands there, somebody is found or nobody, and no password without its machine.
#![no_main]

use icecore_remote::ftp::netrc::find;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    let found = find(text, "machine.example", None);
    if let Some(user) = found.as_ref().and_then(|login| login.user.as_deref()) {
        assert!(find(text, "machine.example", Some(user)).is_some());
    }
    if !text.contains("machine") && !text.contains("default") && !text.contains(['"', '\\']) {
        assert!(found.is_none());
//! `.netrc`: a login or none.
use icecore_remote::netrc::search;
    for user in [None, Some("ann")] {
        if let Some(login) = search(text, "host.example", user) {
            assert!(login.password.expose().len() <= text.len());
        }
    }
});
