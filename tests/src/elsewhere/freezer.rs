//! Freezer's repositories on the servers that Freezer uses: what it wrote there restores from there, from one place and from several
//! that hold the same, and what the tar engine writes stands there object by object as Freezer has it.

use super::servers::Started;
use super::{Server, User, objects, servers};
use crate::corpus::usual;
use crate::place::{assert_equal, entries, id};
use crate::program::{Outcome, Program, not_run};
use icecore::name::ObjectName;
use icecore::storage::{PutMode, Storage};
use icecore_testkit::freezer::verify;
use icecore_testkit::manifest::Manifest;
use icecore_testkit::random::Random;
use icecore_testkit::servers::moto::Moto;
use icecore_testkit::servers::sshd::Sshd;
use icecore_testkit::servers::swift::{Account, Options, Swift};
use icecore_testkit::tree::is_root;
use std::fs;
use std::path::{Path, PathBuf};
use tempfile::TempDir;

/// A case of the corpus that somebody restores.
struct Case {
    folder: PathBuf,
    program: Program,
    directory: TempDir,
}

impl Case {
    /// `None` where the owners in it cannot be restored.
    fn new(name: &str) -> Option<Case> {
        if !is_root() {
            not_run("only root can restore the owners in the corpus");
            return None;
        }
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus/freezer").join(name);
        Some(Case { folder, program: Program::new(), directory: tempfile::tempdir().unwrap() })
    }

    /// Every file below a folder of its storage, by its path from there.
    fn files(&self, inside: &str) -> Vec<(String, Vec<u8>)> {
        let root = self.folder.join("storage").join(inside);
        let (mut found, mut todo) = (Vec::new(), vec![root.clone()]);
        while let Some(path) = todo.pop() {
            if path.is_dir() {
                todo.extend(entries(&path));
                continue;
            }
            let name = path.strip_prefix(&root).unwrap().to_str().unwrap().to_owned();
            found.push((name, fs::read(&path).unwrap()));
        }
        assert!(!found.is_empty(), "{}", root.display());
        found
    }

    /// Puts what lies in a folder of its storage into a storage, but for what `without` names.
    fn load(&self, inside: &str, storage: &dyn Storage, without: &str) {
        for (name, bytes) in self.files(inside) {
            if without.is_empty() || !name.contains(without) {
                storage.put(&ObjectName::new(name).unwrap(), &bytes, PutMode::CreateNew).unwrap();
            }
        }
    }

    fn run(&self, verb: &str, places: &[(&Server, &str)], more: &[&str]) -> Outcome {
        let mut words = vec![verb.to_owned(), "--json".to_owned()];
        for (server, name) in places {
            words.extend(["-r".to_owned(), server.place(name)]);
        }
        words.extend(more.iter().map(|word| (*word).to_owned()));
        let mut command = self.program.command(&words);
        for (server, _) in places {
            command.envs(server.variables.iter().map(|(key, value)| (key, value)));
        }
        let output = command.output().unwrap();
        let outcome = Outcome::new(output.status, &output.stdout, &output.stderr);
        places.iter().for_each(|(server, _)| server.shows_no_secret(&outcome));
        outcome
    }

    /// Every backup of it is listed there, and restores without one difference.
    fn restores(&self, places: &[(&Server, &str)], what: &str) {
        let expected = entries(&self.folder.join("expected"));
        let levels =
            expected.iter().filter(|path| path.file_name().unwrap().to_str().unwrap().starts_with("level"));
        let backups = self.run("list", places, &[]).expect(0).of_type("backup");
        assert_eq!((backups.len(), levels.count()), (2, 2), "{what}: {backups:?}");
        for (number, backup) in backups.iter().enumerate() {
            assert_eq!(backup["by_icecore"], false, "{what}: {backup}");
            let target = self.directory.path().join(format!("{what} {number}"));
            let id = id(backup);
            self.run("restore", places, &["--target", target.to_str().unwrap(), &id]).expect(0);
            let manifest = self.folder.join(format!("expected/level{number}.jsonl"));
            let outcome = verify(&target, &manifest, &usual()).unwrap();
            assert!(outcome.failed.is_empty() && outcome.passed > 0, "{what}, backup {number}: {outcome:#?}");
        }
        let checked = self.run("check", places, &["--read-data"]).expect(0).summary();
        assert_eq!((&checked["backups"], &checked["problems"]), (&2.into(), &0.into()), "{what}: {checked}");
    }
}

fn data(sshd: &Sshd, name: &str) -> PathBuf {
    sshd.file("data").join(name)
}

#[test]
fn what_freezer_wrote_by_ssh_is_restored_over_sftp() {
    let Some(case) = Case::new("ssh-tar-gzip-l1") else { return };
    let folder = tempfile::tempdir().unwrap();
    let sshd = match Sshd::start(folder.path(), "") {
        Ok(sshd) => sshd,
        Err(missing) => return not_run(&missing.0),
    };
    for (name, bytes) in case.files("") {
        let path = data(&sshd, "frz").join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, bytes).unwrap();
    }
    case.restores(&[(&sshd.reached(), "frz")], "sftp");
}

#[test]
fn what_freezer_wrote_into_a_bucket_is_restored() {
    let Some(case) = Case::new("patched-s3-tar-gzip-l1") else { return };
    let folder = tempfile::tempdir().unwrap();
    let moto = match Moto::strict(folder.path()) {
        Ok(moto) => moto,
        Err(missing) => return not_run(&missing.0),
    };
    let server = Server { address: "s3://frzs1".to_owned(), ..moto.reached() };
    case.load("frzs1/pre/fix", server.storage("pre/fix").as_ref(), "");
    case.restores(&[(&server, "pre/fix")], "s3");
}

/// Its streams are segments and a manifest that says where they are, as Freezer's client puts them.
#[test]
fn what_freezer_wrote_into_swift_is_restored() {
    let Some(case) = Case::new("swift-tar-gzip-l1") else { return };
    let folder = tempfile::tempdir().unwrap();
    let swift = match Swift::start(folder.path(), &Options::default()) {
        Ok(swift) => swift,
        Err(missing) => return not_run(&missing.0),
    };
    let account = Account::of(&swift);
    account.put("frz_shared1", &[], b"");
    let mut manifests = 0;
    for (name, bytes) in case.files("") {
        match name.strip_suffix("/data") {
            Some(stem) => {
                assert!(bytes.is_empty(), "{name}");
                manifests += 1;
                account.put(&name, &[("X-Object-Manifest", &format!("{stem}/segments"))], b"");
            }
            None => account.put(&name, &[], &bytes),
        }
    }
    assert_eq!(manifests, 2);
    let server = Server { address: "swift://frz_shared1".to_owned(), ..swift.reached() };
    case.restores(&[(&server, "sub/dir")], "swift");
}

/// Freezer 1 and 2 stored without folders, and the segments in a container beside: such chains restore as any other, also by the
/// agent's words, and a segment that is lost is told by its number.
#[test]
fn what_the_oldest_releases_wrote_into_swift_is_restored_and_lacks_no_segment() {
    let Some(case) = Case::new("swift-tar-gzip-l1") else { return };
    let folder = tempfile::tempdir().unwrap();
    let swift = match Swift::start(folder.path(), &Options::default()) {
        Ok(swift) => swift,
        Err(missing) => return not_run(&missing.0),
    };
    let account = Account::of(&swift);
    for container in ["freezer_old", "old_segments"] {
        account.put(container, &[], b"");
    }
    let mut full = String::new();
    for (name, bytes) in case.files("frz_shared1/sub/dir/data/tar/alpha_nightly/1795487208") {
        let (level, what) = name.split_once('/').unwrap();
        let (number, time) = level.split_once('_').unwrap();
        let old = format!("alpha_nightly_{time}_{number}");
        match what {
            "data" => {}
            "engine_metadata" => account.put(&format!("freezer_old/tar_metadata_{old}"), &[], &bytes),
            _ => {
                let segments = format!("old_segments/{old}");
                for (number, segment) in bytes.chunks(50_000).enumerate() {
                    account.put(&format!("{segments}/{time}/50000/{number:08}"), &[], segment);
                }
                account.put(&format!("freezer_old/{old}"), &[("X-Object-Manifest", &segments)], b"");
                if number == "0" {
                    full = format!("{segments}/{time}/50000");
                }
            }
        }
    }
    // Where nothing stands behind the container.
    let server = Server { address: "swift:/".to_owned(), ..swift.reached() };
    case.restores(&[(&server, "freezer_old")], "swift");
    let agent = |target: &Path| {
        let words = ["agent", "--action", "restore", "--storage", "swift", "--container", "freezer_old"];
        let which = ["--hostname", "alpha", "--backup-name", "nightly", "--restore-abs-path"];
        let mut command = case.program.command(&[&words[..], &which].concat());
        command.arg(target).envs(server.variables.iter().map(|(key, value)| (key, value)));
        let output = command.output().unwrap();
        Outcome::new(output.status, &output.stdout, &output.stderr)
    };
    let [right, wrong] = ["right", "wrong"].map(|name| case.directory.path().join(name));
    agent(&right).expect(0);
    let outcome = verify(&right, &case.folder.join("expected/level1.jsonl"), &usual()).unwrap();
    assert!(outcome.failed.is_empty() && outcome.passed > 0, "{outcome:#?}");
    drop(account.ask("DELETE", &format!("{full}/00000001"), &[], b"").well());
    let said = agent(&wrong).expect(1).stderr;
    // A list may still have it; what is asked for by its name is gone.
    assert!(said.contains("segment 1 ") || said.contains("00000001"), "{said}");
    assert!(entries(&wrong).is_empty(), "the target was touched");
}

/// Freezer's storage `multiple` puts the same into each of its places, and into one that joined later what came later: whichever
/// is named first, and whatever one of them lacks, both together restore everything.
#[test]
fn what_freezer_wrote_into_several_places_is_restored_from_them_together() {
    let Some(case) = Case::new("ssh-tar-gzip-l1") else { return };
    let folder = tempfile::tempdir().unwrap();
    let started = Sshd::start(&folder.path().join("ssh"), "").and_then(|sshd| {
        fs::create_dir(folder.path().join("s3")).unwrap();
        Ok((sshd, Moto::strict(&folder.path().join("s3"))?))
    });
    let (sshd, moto) = match started {
        Ok(started) => started,
        Err(missing) => return not_run(&missing.0),
    };
    let (ssh, s3) = (sshd.reached(), moto.reached());
    for (server, without) in [(&ssh, ""), (&s3, "")] {
        case.load("", server.storage("whole").as_ref(), without);
    }
    case.restores(&[(&ssh, "whole"), (&s3, "whole")], "both whole");
    case.restores(&[(&s3, "whole"), (&ssh, "whole")], "both whole, the other way round");
    // The bucket joined when there was a full backup already; and the folder has lost the stream of the increment.
    case.load("", s3.storage("joined").as_ref(), "/0_1795487208/");
    case.load("", ssh.storage("older").as_ref(), "/1_1795487216/data");
    case.restores(&[(&ssh, "whole"), (&s3, "joined")], "one joined later");
    case.restores(&[(&s3, "joined"), (&ssh, "whole")], "one joined later, the other way round");
    case.restores(&[(&ssh, "older"), (&s3, "joined")], "neither whole");
}

/// Two levels that the program wrote to a place: what stands below the place, with lengths.
struct Written {
    objects: Vec<(String, u64)>,
    chain: i64,
    increment: i64,
}

impl Written {
    /// The streams, states and documents of two levels, and the marker: these and nothing else.
    fn names(&self) -> Vec<String> {
        let Written { chain, increment, .. } = self;
        let level = |level: &str| {
            let of = |tree: &str, end: &str| format!("{tree}/tar/alpha_nightly/{chain}/{level}/{end}");
            [of("data", "data"), of("data", "engine_metadata"), of("metadata", "metadata")]
        };
        let mut names = [level(&format!("0_{chain}")), level(&format!("1_{increment}"))].concat();
        names.push("icecore".to_owned());
        names.sort();
        names
    }

    fn are_there(&self, what: &str) {
        let found: Vec<&String> = self.objects.iter().map(|(name, _)| name).collect();
        assert_eq!(found, self.names().iter().collect::<Vec<_>>(), "{what}");
    }
}

const TAR: [&str; 7] =
    ["--engine", "tar", "--no-encryption", "--init", "--incremental", "--compression", "gzip"];

/// Writes two levels to a place that is called so.
fn written(user: &User<'_>, objects: impl FnOnce() -> Vec<(String, u64)>) -> Written {
    let mut tree = user.tree(71);
    // Of several segments, where there are such.
    fs::write(user.place.source().join("long"), Random::new(72).bytes(5 << 19)).unwrap();
    user.place.settle();
    let first = user.back_up(&TAR);
    tree.mutate(1).unwrap();
    user.place.settle();
    let second = user.back_up(&TAR);
    let time = |summary: &serde_json::Value| summary["timestamp"].as_i64().unwrap();
    let mut objects = objects();
    objects.sort();
    Written { objects, chain: time(&first), increment: time(&second) }
}

/// The first words of a document, which are all that Freezer reads; what is in the other objects, by how it begins; and that it
/// all restores.
fn is_freezers(user: &User<'_>, storage: &dyn Storage, written: &Written, what: &str) {
    let read = |name: &str| {
        storage
            .read_small(&ObjectName::new(name).unwrap(), 64 << 20)
            .unwrap_or_else(|e| panic!("{what}: {e}"))
    };
    for name in written.names() {
        let bytes = read(&name);
        let begins = match name.rsplit('/').next().unwrap() {
            "data" => &b"\x1f\x8b"[..],
            "engine_metadata" => b"GNU tar-1.34-2\n",
            "metadata" => br#"{"engine_name": "tar", "compression": "gzip", "encryption": false"#,
            _ => b"{",
        };
        assert!(
            bytes.starts_with(begins),
            "{what}: {name}: {:?}",
            String::from_utf8_lossy(&bytes[..60.min(bytes.len())])
        );
        let is_line = !name.ends_with("/metadata") || !bytes.contains(&b'\n');
        assert!(is_line, "{what}: {name} has several lines");
    }
    let now = Manifest::of(&user.place.source()).unwrap();
    assert_equal(&now, &user.restored("latest", &[]), what);
}

#[test]
fn levels_stand_in_a_folder_of_a_server_as_freezer_has_them() {
    let folder = tempfile::tempdir().unwrap();
    let sshd = match Sshd::start(folder.path(), "") {
        Ok(sshd) => sshd,
        Err(missing) => return not_run(&missing.0),
    };
    let server = sshd.reached();
    let user = User::new(&server, "frz/deep");
    let written = written(&user, || {
        let root = data(&sshd, "frz/deep");
        let (mut found, mut todo) = (Vec::new(), vec![root.clone()]);
        while let Some(path) = todo.pop() {
            match path.is_dir() {
                true => todo.extend(entries(&path)),
                false => {
                    let name = path.strip_prefix(&root).unwrap().to_str().unwrap().to_owned();
                    found.push((name, fs::metadata(&path).unwrap().len()));
                }
            }
        }
        found
    });
    written.are_there("sftp");
    is_freezers(&user, server.storage("frz/deep").as_ref(), &written, "sftp");
}

#[test]
fn levels_stand_in_a_bucket_as_freezer_has_them() {
    let folder = tempfile::tempdir().unwrap();
    let server = match servers::s3(folder.path()) {
        Ok(server) => server,
        Err(missing) => return not_run(&missing.0),
    };
    let user = User::new(&server, "frz/deep");
    let written = written(&user, || objects(server.storage("frz/deep").as_ref()).into_iter().collect());
    written.are_there("s3");
    is_freezers(&user, server.storage("frz/deep").as_ref(), &written, "s3");
}

/// Each stream is a manifest of no bytes, and its segments beside it are numbered, of one length but the last, and all there is.
#[test]
fn levels_stand_in_swift_as_freezer_has_them() {
    let folder = tempfile::tempdir().unwrap();
    let swift = match Swift::start(folder.path(), &Options::default()) {
        Ok(swift) => swift,
        Err(missing) => return not_run(&missing.0),
    };
    let reached = swift.reached();
    let server = Server { options: "?segment-size=1".to_owned(), ..reached };
    let (user, account) = (User::new(&server, "sub/dir"), Account::of(&swift));
    let written = written(&user, || {
        let all = account.objects("backups").into_iter();
        let below = all.filter_map(|(name, bytes)| Some((name.strip_prefix("sub/dir/")?.to_owned(), bytes)));
        below.collect()
    });
    let (segments, others): (Vec<_>, Vec<_>) =
        written.objects.iter().cloned().partition(|(name, _)| name.contains("/segments/"));
    // Whoever creates an object holds a ticket, which may stay for a while.
    let others = others.into_iter().filter(|(name, _)| !name.starts_with(".icecore-creating/")).collect();
    let written = Written { objects: others, ..written };
    written.are_there("swift");
    let mut counted = 0;
    for (name, bytes) in &written.objects {
        let Some(stem) = name.strip_suffix("/data") else { continue };
        assert_eq!(*bytes, 0, "{name}");
        let own: Vec<&(String, u64)> = segments
            .iter()
            .filter(|(segment, _)| segment.starts_with(&format!("{stem}/segments/")))
            .collect();
        counted += own.len();
        for (number, (segment, bytes)) in own.iter().enumerate() {
            assert_eq!(*segment, format!("{stem}/segments/{number:08}"));
            let is_full = *bytes == 1 << 20;
            assert!(is_full || (number + 1 == own.len() && *bytes > 0), "{segment}: {bytes}");
        }
        let manifest =
            account.ask("HEAD", &format!("backups/sub/dir/{name}?multipart-manifest=get"), &[], b"").well();
        let target = format!("backups/sub/dir/{stem}/segments");
        assert_eq!(manifest.header("x-object-manifest"), Some(target.as_str()));
        // As Freezer reads it: the cluster joins what the manifest points to.
        let whole = account.ask("GET", &format!("backups/sub/dir/{name}"), &[], b"").well();
        let total: u64 = own.iter().map(|(_, bytes)| bytes).sum();
        assert_eq!(whole.body.len() as u64, total, "{name}");
        assert!(whole.body.starts_with(b"\x1f\x8b"), "{name}");
    }
    assert!(counted == segments.len() && counted > 3, "{counted} of {}", segments.len());
    is_freezers(&user, server.storage("sub/dir").as_ref(), &written, "swift");
}
