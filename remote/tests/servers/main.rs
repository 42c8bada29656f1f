//! Every driver against real servers on loopback: the conformance suite, and what only that kind of server does.

// All of it is a test, also what stands beside the test functions.
#![cfg(test)]
#![allow(clippy::unwrap_used, clippy::print_stderr)]

mod ftp;
mod rclone;
mod s3;
mod sftp;
mod swift;
mod webdav;

use icecore::storage::retry::Patience;
use icecore_remote::{Access, Secret, Timeouts};
use icecore_testkit::servers::NotInstalled;
use std::collections::BTreeMap;
use std::ffi::OsString;
use std::sync::Arc;
use std::time::Duration;

/// What a driver is given in tests: these variables and this password, short waits, and no second attempt.
pub fn access(variables: &[(&str, &str)], password: Option<&str>) -> Access {
    let variables: BTreeMap<String, OsString> =
        variables.iter().map(|(key, value)| ((*key).to_owned(), value.into())).collect();
    let password = password.map(Secret::new);
    Access {
        variable: Arc::new(move |name| variables.get(name).cloned()),
        home: None,
        user: Some("nobody".to_owned()),
        password: Arc::new(move || Ok(password.clone())),
        timeouts: Timeouts {
            connect: Duration::from_secs(10),
            idle: Duration::from_secs(20),
            ..Timeouts::default()
        },
        connections: 8,
        patience: Patience::none(),
        warn: Arc::new(|_| ()),
    }
}

/// What a test does whose server is not there: a failure in CI, and told elsewhere.
pub fn not_run(reason: &NotInstalled) {
    assert!(std::env::var_os("CI").is_none(), "{}", reason.0);
    eprintln!("not run: {}", reason.0);
}
