//! Files of known hosts: a verdict on any key, or an error.
#![no_main]

use icecore_remote::sftp::known_hosts::{HostLabel, KnownHosts};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    let mut known = KnownHosts::default();
    if known.add(text, "file").is_err() {
        return;
    }
    for host in [HostLabel::new("host", 22), HostLabel::new("a.example", 2222)] {
        known.algorithms(&host);
    }
});
