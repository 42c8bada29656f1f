//! Repositories in a bucket: every verb of both engines through the program, and what Freezer wrote into one.

use crate::place::{assert_equal, entries};
use crate::program::{Outcome, Program, not_run};
use icecore::name::ObjectName;
use icecore::storage::PutMode;
use icecore::storage::retry::Patience;
use icecore_remote::{Access, Address, Intent, Timeouts};
use icecore_testkit::freezer::{Skip, verify};
use icecore_testkit::manifest::Manifest;
use icecore_testkit::servers::moto::Moto;
use icecore_testkit::tree::{Features, Tree, is_root};
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

/// Two backups of a tree with everything, each restored and compared; then the older one is forgotten.
fn every_verb(bucket: &Bucket, place: &str, options: &[&str]) {
    let (address, work) = (bucket.address(place), bucket.directory.path().join(place.replace('/', "-")));
    let source = work.join("source");
    fs::create_dir_all(&source).unwrap();
    let repository = ["-r", address.as_str()];
    let missing = bucket.run(&[&["list"][..], &repository].concat()).expect(1);
    assert!(missing.stderr.contains("bucket"), "{missing:?}");
    let no_password: &[&str] = if options.contains(&"--no-encryption") { &["--no-encryption"] } else { &[] };
    bucket.run(&[&["init"][..], &repository, no_password].concat()).expect(0);
    Tree::create(&source, 5, Features::all()).unwrap();
    let mut manifests = Vec::new();
    for number in 0..2 {
        // Longer than a part.
        let long: Vec<u8> = (0..19u32 << 18)
            .flat_map(|word| word.wrapping_mul(2_654_435_761 + number).to_le_bytes())
            .collect();
        fs::write(source.join("long"), long).unwrap();
        let from = source.to_str().unwrap();
        bucket.run(&[&["backup"][..], &repository, &["--name", "all"], options, &[from]].concat()).expect(0);
        manifests.push(Manifest::of(&source).unwrap());
        // Chains are told apart by the second.
        std::thread::sleep(std::time::Duration::from_millis(1100));
    }
    for (backup, manifest) in [("latest~1", &manifests[0]), ("latest", &manifests[1])] {
        let target = work.join(backup);
        let to = target.to_str().unwrap();
        bucket
            .run(&[&["restore"][..], &repository, &["--name", "all", "--target", to, backup]].concat())
            .expect(0);
        assert_equal(manifest, &Manifest::of(&target).unwrap(), backup);
    }
    let listed = bucket.run(&[&["list"][..], &repository, &["--json"]].concat()).expect(0);
    assert_eq!(listed.of_type("backup").len(), 2);
    bucket.run(&[&["check"][..], &repository, &["--read-data"]].concat()).expect(0);
    bucket.run(&[&["forget"][..], &repository, &["--keep-last", "1"]].concat()).expect(0);
    bucket.run(&[&["check"][..], &repository, &["--read-data", "--clean"]].concat()).expect(0);
}

#[test]
fn deduplicated_backups_in_a_bucket_come_back() {
    let Some(bucket) = Bucket::new() else { return };
    every_verb(&bucket, "dedup/a b", &[]);
}

#[test]
fn chains_of_archives_in_a_bucket_come_back() {
    let Some(bucket) = Bucket::new() else { return };
    every_verb(&bucket, "chains", &["--engine", "tar", "--no-encryption"]);
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
