//! Configurations of ssh: settings for any host, or an error.
#![no_main]

use icecore_remote::sftp::config::Config;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    let Ok(config) = Config::parse(text, &mut |_| Ok(vec!["Host x\nPort 22".to_owned()])) else { return };
    for host in ["", "x", "a.example"] {
        config.settings(host).map(drop).unwrap_or(());
    }
});
