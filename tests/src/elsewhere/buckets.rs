//! Repositories in a bucket: every verb, and an archive of several parts.

use super::{Server, every_verb_works};
use crate::place::assert_equal;
use crate::program::{Outcome, Program, not_run};
use icecore_testkit::manifest::Manifest;
use icecore_testkit::servers::moto::Moto;
use std::fs;
use tempfile::TempDir;

struct Bucket {
    moto: Moto,
    program: Program,
    directory: TempDir,
}

impl Bucket {
    fn new() -> Option<Bucket> {
        let directory = tempfile::tempdir().unwrap();
        match Moto::strict(directory.path()) {
            Ok(moto) => Some(Bucket { moto, program: Program::new(), directory }),
            Err(reason) => {
                not_run(&reason.0);
                None
            }
        }
    }

    fn address(&self, place: &str) -> String {
        format!("s3://{place}?endpoint={}&region=us-east-1", self.moto.endpoint())
    }

    fn run(&self, arguments: &[&str]) -> Outcome {
        let (id, secret) = &self.moto.key;
        let mut command = self.program.command(arguments);
        command.env("AWS_ACCESS_KEY_ID", id).env("AWS_SECRET_ACCESS_KEY", secret);
        command.env("ICECORE_PASSWORD", "for the bucket");
        let output = command.output().unwrap();
        let outcome = Outcome::new(output.status, &output.stdout, &output.stderr);
        assert!(
            !outcome.stdout.contains(secret.as_str()) && !outcome.stderr.contains(secret.as_str()),
            "{outcome:?}"
        );
        outcome
    }
}

#[test]
fn every_verb_works_in_a_bucket() {
    let Some(Bucket { moto, directory, .. }) = Bucket::new() else { return };
    let (id, secret) = moto.key.clone();
    every_verb_works(&Server {
        address: "s3://verbs/a b".to_owned(),
        options: format!("?endpoint={}&region=us-east-1", moto.endpoint()),
        variables: vec![("AWS_ACCESS_KEY_ID".to_owned(), id), ("AWS_SECRET_ACCESS_KEY".to_owned(), secret)],
        running: vec![Box::new(moto), Box::new(directory)],
    });
}

/// Of several parts on the server, one of them not full.
#[test]
fn a_long_archive_in_a_bucket_comes_back() {
    let Some(bucket) = Bucket::new() else { return };
    let address = bucket.address("long/archive");
    let (source, target) = (bucket.directory.path().join("source"), bucket.directory.path().join("target"));
    fs::create_dir(&source).unwrap();
    let noise = |word: u32| (word ^ 0x9e37_79b9).wrapping_mul(2_654_435_761).rotate_left(word % 31);
    let long: Vec<u8> = (0..21u32 << 18).flat_map(|word| noise(noise(word)).to_le_bytes()).collect();
    fs::write(source.join("long"), long).unwrap();
    let words = ["backup", "-r", &address, "--name", "long", "--engine", "tar", "--no-encryption", "--init"];
    bucket.run(&[&words[..], &["--compression", "none", source.to_str().unwrap()]].concat()).expect(0);
    let words = ["restore", "-r", &address, "--name", "long", "--target", target.to_str().unwrap(), "latest"];
    bucket.run(&words).expect(0);
    assert_equal(&Manifest::of(&source).unwrap(), &Manifest::of(&target).unwrap(), "a long archive");
    bucket.run(&["check", "-r", &address, "--read-data", "--clean"]).expect(0);
}
