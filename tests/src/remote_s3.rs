//! Repositories in a bucket: every verb, an archive of several parts, and what Freezer wrote into one.

use crate::elsewhere::{Server, every_verb_works};
use crate::place::{assert_equal, entries};
use crate::program::{Outcome, Program, not_run};
use icecore::name::ObjectName;
use icecore::storage::PutMode;
use icecore::storage::retry::Patience;
use icecore_remote::{Access, Address, Intent, Timeouts};
use icecore_testkit::freezer::{Skip, verify};
use icecore_testkit::manifest::Manifest;
use icecore_testkit::servers::moto::Moto;
use icecore_testkit::tree::is_root;
use std::fs;
use std::path::Path;
use std::sync::Arc;
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

    /// Puts every file below `folder` into the bucket, under its path.
    fn load(&self, place: &str, folder: &Path) {
        let (id, secret) = self.moto.key.clone();
        let access = Access {
            variable: Arc::new(move |name| match name {
                "AWS_ACCESS_KEY_ID" => Some(id.clone().into()),
                "AWS_SECRET_ACCESS_KEY" => Some(secret.clone().into()),
                _ => None,
            }),
            home: None,
            user: None,
            password: Arc::new(|| Ok(None)),
            timeouts: Timeouts::default(),
            connections: 4,
            patience: Patience::none(),
            warn: Arc::new(|_| ()),
        };
        let address = Address::parse(&self.address(place)).unwrap();
        let storage = icecore_remote::open(&address, &access, Intent::Create).unwrap();
        let mut todo = vec![folder.to_owned()];
        while let Some(path) = todo.pop() {
            if path.is_dir() {
                todo.extend(entries(&path));
                continue;
            }
            let name = ObjectName::new(path.strip_prefix(folder).unwrap().to_str().unwrap()).unwrap();
            storage.put(&name, &fs::read(&path).unwrap(), PutMode::CreateNew).unwrap();
        }
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

/// As `corpus::patched_s3_tar_gzip_l1`, from where Freezer had put it.
#[test]
fn what_freezer_wrote_into_a_bucket_is_restored() {
    if !is_root() {
        return not_run("only root can restore the owners in the corpus");
    }
    let Some(bucket) = Bucket::new() else { return };
    let case = Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus/freezer/patched-s3-tar-gzip-l1");
    bucket.load("frzs1", &case.join("storage/frzs1"));
    let address = bucket.address("frzs1/pre/fix");
    let listed = bucket.run(&["list", "-r", &address, "--json"]).expect(0);
    let backups = listed.of_type("backup");
    assert_eq!(backups.len(), 2);
    for (number, backup) in backups.iter().enumerate() {
        let target = bucket.directory.path().join(format!("target {number}"));
        let id = backup["id"].as_str().unwrap();
        bucket.run(&["restore", "-r", &address, "--target", target.to_str().unwrap(), id]).expect(0);
        let skip = Skip { types: vec!["socket"], ..Skip::default() };
        let outcome = verify(&target, &case.join(format!("expected/level{number}.jsonl")), &skip).unwrap();
        assert!(outcome.failed.is_empty() && outcome.passed > 0, "backup {number}: {outcome:#?}");
    }
    bucket.run(&["check", "-r", &address, "--read-data"]).expect(0);
}
