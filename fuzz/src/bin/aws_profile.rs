//! Files of profiles: sections or an error, which never holds what stands in the file.
#![no_main]

use icecore_remote::s3::profile;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    match profile::parse(text) {
        Ok(sections) => {
            let keys: usize = sections.values().map(|settings| settings.len()).sum();
            assert!(keys + sections.len() <= text.lines().count());
        }
        Err(error) => assert!(error.to_string().len() < 200),
    }
});
