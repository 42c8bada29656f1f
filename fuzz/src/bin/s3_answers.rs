//! Answers of S3 servers in XML: rows or an error, and no page that goes on without saying where.
#![no_main]

use icecore_remote::s3::answer;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    if let Ok(page) = answer::page(bytes) {
        assert!(page.next.is_none_or(|token| !token.is_empty()));
    }
    let _ = (answer::uploads(bytes), answer::parts(bytes), answer::buckets(bytes));
});
