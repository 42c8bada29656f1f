//! Real programs agree: GNU tar and Python's tarfile take what is written here, and what GNU tar writes is read here.

mod from_tar;
mod samples;
mod snapshots;
mod to_python;
mod to_tar;

use super::*;
use crate::engine::tar::member::Region;
use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};
use tempfile::TempDir;

/// Whether a program can be started; says so when it cannot, so that a test never passes in silence.
fn can_run(program: &str) -> bool {
    let found = Command::new(program)
        .arg("--version")
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .is_ok();
    if !found {
        not_run(program);
    }
    found
}

/// Written to the stream itself: what `eprintln!` prints is not shown of a test that passes. In CI everything must be there.
#[track_caller]
fn not_run(what: &str) {
    assert!(std::env::var_os("CI").is_none(), "there is no {what} here");
    writeln!(std::io::stderr(), "NOT RUN: there is no {what} here").unwrap();
}

/// Runs a program that must succeed without complaint; gives what it printed.
fn run(program: &str, folder: &Path, arguments: &[&str]) -> Vec<u8> {
    let command = Command::new(program)
        .args(arguments)
        .current_dir(folder)
        .env("LC_ALL", "C")
        .env("TZ", "UTC")
        .stdin(Stdio::null())
        .output()
        .unwrap();
    let complaints = String::from_utf8_lossy(&command.stderr);
    assert!(command.status.success() && complaints.is_empty(), "{program} {arguments:?}: {complaints}");
    command.stdout
}

fn tar(folder: &Path, arguments: &[&str]) -> Vec<u8> {
    run("tar", folder, arguments)
}

fn folder() -> TempDir {
    tempfile::tempdir().unwrap()
}

/// Sets an attribute; whether this file system has attributes.
fn set_xattr(path: &Path, name: &str, value: &[u8]) -> bool {
    rustix::fs::lsetxattr(path, name, value, rustix::fs::XattrFlags::empty()).is_ok()
}

fn xattr(path: &Path, name: &str) -> Vec<u8> {
    let mut value = Vec::with_capacity(1000);
    rustix::fs::lgetxattr(path, name, rustix::buffer::spare_capacity(&mut value)).unwrap();
    value
}

/// Content as restored, holes filled with zeros.
fn expanded((member, bytes): &Stored) -> Vec<u8> {
    match &member.kind {
        MemberKind::File { size_bytes, sparse: Some(regions) } => expand(*size_bytes, regions, bytes),
        _ => bytes.clone(),
    }
}

fn expand(size_bytes: u64, regions: &[Region], mut bytes: &[u8]) -> Vec<u8> {
    let mut whole = vec![0; size_bytes as usize];
    for &(offset, length) in regions {
        let (region, rest) = bytes.split_at(length as usize);
        whole[offset as usize..][..length as usize].copy_from_slice(region);
        bytes = rest;
    }
    whole
}

/// A name of exactly this length, below a folder of its own.
fn name_of(length: usize) -> Vec<u8> {
    let mut name = format!("{length}/").into_bytes();
    name.resize(length.min(200), b'n');
    while name.len() < length {
        name.extend_from_slice(b"/deeper");
    }
    name.truncate(length);
    if name.ends_with(b"/") {
        name.pop();
        name.push(b'x');
    }
    name
}
