//! Answers of WebDAV servers: rows, or an error.
#![no_main]

use icecore_remote::webdav::multistatus::parse;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|answer: &[u8]| {
    let Ok(members) = parse(answer) else { return };
    // What was read is a text, whose names have a bound.
    assert!(std::str::from_utf8(answer).is_ok());
    assert!(members.iter().all(|member| !member.href.is_empty() && member.href.len() <= answer.len()));
});
