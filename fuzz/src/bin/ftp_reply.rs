//! Answers of an FTP server, and what is looked for in them.
#![no_main]

use icecore_remote::ftp::reply::{Reply, extended_port, passive_port, quoted_path};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let mut rest = bytes;
    while let Ok(Some(reply)) = Reply::read(&mut rest) {
        assert!((100..700).contains(&reply.code) && !reply.lines.is_empty());
        let shown = reply.to_string();
        assert!(!shown.contains(char::is_control) && shown.len() < 4_000);
        assert!(!reply.refusal("X").to_string().is_empty());
        for line in &reply.lines {
            assert_ne!((extended_port(line), passive_port(line)), (Some(0), Some(0)));
            assert!(quoted_path(line).is_none_or(|path| path.starts_with('/')));
        }
    }
});
