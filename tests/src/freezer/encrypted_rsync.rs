//! Chains that Freezer's rsync engines have encrypted. No release on Python 3 can write or read one (it adds text to bytes when it makes
//! the key), so there is no Freezer to stand beside: these are chains of the corpus, as releases 4 to 6 would have encrypted them,
//! by `openssl` itself.

use super::{Agent, corpus::copy};
use crate::encryption::has;
use crate::place::entries;
use crate::program::{Outcome, not_run};
use icecore_testkit::freezer::{Skip, verify};
use icecore_testkit::tree::is_root;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// What the file of the password holds. The engines take the end of the line for a part of it.
const FILE: &str = "secret pass\nsecond line\n";
const BLOCK_BYTES: usize = 16;

/// What became of the end of a stream that fills no block of the cipher.
#[derive(Clone, Copy, PartialEq, Eq)]
enum End {
    /// The first engine left it out.
    LeftOut,
    /// The second engine filled it up with bytes that say how many they are.
    FilledUp,
}

struct Chain {
    agent: Agent,
    case: PathBuf,
}

/// The folder of every level below `metadata` or `data` of the container, lowest first.
fn levels(container: &Path, part: &str) -> Vec<PathBuf> {
    let [chain] = entries(&container.join(part).join("rsync/alpha.example.org_nightly")).try_into().unwrap();
    let mut levels = entries(&chain);
    levels.sort();
    levels
}

impl Chain {
    fn of(case: &str, end: End) -> Chain {
        let agent = Agent::new();
        let case = Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus/freezer").join(case);
        let container = agent.place.repository();
        copy(&case.join("storage"), &container);
        for folder in levels(&container, "data") {
            let data = folder.join("data");
            let mut stream = fs::read(&data).unwrap();
            let rest = stream.len() % BLOCK_BYTES;
            match end {
                End::LeftOut => stream.truncate(stream.len() - rest),
                End::FilledUp => stream.extend(vec![(BLOCK_BYTES - rest) as u8; BLOCK_BYTES - rest]),
            }
            let plain = folder.join("plain");
            fs::write(&plain, stream).unwrap();
            let mut openssl = Command::new("openssl");
            openssl.args(["enc", "-aes-256-cfb", "-md", "md5", "-pass", "pass:secret pass\n", "-in"]);
            let output = openssl.arg(&plain).arg("-out").arg(&data).output().unwrap();
            assert!(output.status.success(), "{output:?}");
            fs::remove_file(plain).unwrap();
        }
        for folder in levels(&container, "metadata") {
            let document = fs::read_to_string(folder.join("metadata")).unwrap();
            let encrypted = document.replace("\"encryption\": false", "\"encryption\": true");
            assert_ne!(document, encrypted);
            fs::write(folder.join("metadata"), encrypted).unwrap();
        }
        for (name, text) in [("right", FILE), ("wrong", "another\n")] {
            fs::write(agent.place.path().join(name), text).unwrap();
        }
        Chain { agent, case }
    }

    fn file(&self, name: &str) -> String {
        self.agent.place.path().join(name).display().to_string()
    }

    /// The times of the levels, as Freezer's words for a date have them.
    fn dates(&self) -> Vec<String> {
        let levels = levels(&self.agent.place.repository(), "metadata");
        let time = |level: &PathBuf| {
            let name = level.file_name().unwrap().to_str().unwrap().split_once('_').unwrap().1.to_owned();
            let time = jiff::Timestamp::from_second(name.parse().unwrap()).unwrap().to_string();
            time.trim_end_matches('Z').to_owned()
        };
        levels.iter().map(time).collect()
    }

    /// Restores by Freezer's own words.
    fn restore(&self, target: &str, engine: &str, more: &[&str]) -> Outcome {
        let (target, container) = (self.agent.place.target(target), self.agent.place.repository());
        let (target, container) = (target.to_str().unwrap(), container.to_str().unwrap());
        let words = [
            &[
                "--action",
                "restore",
                "--storage",
                "local",
                "--container",
                container,
                "--restore-abs-path",
                target,
            ][..],
            &["--hostname", "alpha.example.org", "--backup-name", "nightly", "--engine", engine],
            more,
        ];
        self.agent.run(&words.concat())
    }

    /// `icecore check --read-data`, with what it prints for programs.
    fn check(&self, password: &str) -> Outcome {
        let (container, file) = (self.file("repository"), self.file(password));
        let words = ["check", "-r", &container, "--read-data", "--json", "--password-file", &file];
        self.agent.place.program.run(&words)
    }

    /// A wrong password is told, and nothing is written.
    fn wrong_password(&self, engine: &str) {
        let said =
            self.restore("wrong", engine, &["--encrypt-pass-file", &self.file("wrong")]).expect(1).stderr;
        assert!(said.contains("Critical Error") && said.contains("password"), "{said}");
        let said = self.restore("wrong", engine, &[]).expect(1).stderr;
        assert!(said.contains("password") || said.contains("encrypt"), "{said}");
        let target = self.agent.place.target("wrong");
        assert!(!target.exists() || entries(&target).is_empty(), "the target was touched");
        self.check("wrong").expect(12);
        let (container, file) = (self.file("repository"), self.file("wrong"));
        let target = target.display().to_string();
        let words = ["restore", "-r", &container, "--target", &target, "--password-file", &file];
        self.agent.place.program.run(&words).expect(12);
    }

    /// What was restored of a level is what was there, but for some paths.
    #[track_caller]
    fn verify(&self, target: &str, level: usize, skip: &Skip) {
        let expected = self.case.join(format!("expected/level{level}.jsonl"));
        let outcome = verify(&self.agent.place.target(target), &expected, skip).unwrap();
        assert!(outcome.failed.is_empty() && outcome.passed > 0, "{level}: {outcome:#?}");
    }
}

fn can_run() -> bool {
    let missing = [
        (has("openssl"), "openssl is needed"),
        (is_root(), "only root can restore the owners in the corpus"),
    ];
    missing.into_iter().all(|(is_there, why)| {
        if !is_there {
            not_run(why);
        }
        is_there
    })
}

#[test]
fn the_second_engines_come_back_whole() {
    if !can_run() {
        return;
    }
    let chain = Chain::of("patched-rsyncv2-gzip-l2", End::FilledUp);
    chain.wrong_password("rsyncv2");
    let file = chain.file("right");
    for (level, date) in chain.dates().iter().enumerate() {
        let target = format!("back-{level}");
        let more = ["--encrypt-pass-file", &file, "--restore-from-date", date];
        chain.restore(&target, "rsyncv2", &more).expect(0);
        let skip = Skip { types: vec!["socket"], root: true, hard_links: true, ..Skip::default() };
        chain.verify(&target, level, &skip);
    }
    assert_eq!(chain.check("right").expect(0).summary()["ok"], true);
}

/// Of level 0 the last bytes of one file were left out, of level 1 bytes of the checksum alone, of level 2 the record of a path that was
/// gone: that one file is lost, and all the rest is as it was. Restore and check say so, and call nothing damaged.
#[test]
fn the_first_engines_lack_their_last_bytes_and_what_was_in_them_is_named() {
    if !can_run() {
        return;
    }
    let chain = Chain::of("patched-rsync-gzip-l2", End::LeftOut);
    chain.wrong_password("rsync");
    let file = chain.file("right");
    for (level, date) in chain.dates().iter().enumerate() {
        let target = format!("back-{level}");
        let more = ["--encrypt-pass-file", &file, "--restore-from-date", date];
        let said = chain.restore(&target, "rsync", &more).expect(1).stderr;
        assert!(said.contains("bin/tool") && said.contains("never stored"), "{level}: {said}");
        assert!(!chain.agent.place.target(&target).join("bin/tool").exists(), "made up");
        let paths = vec!["ln-dir", "bin/tool", "to-rename.txt"];
        let skip = Skip { types: vec!["socket"], paths, hard_links: true, ..Skip::default() };
        chain.verify(&target, level, &skip);
    }
    let said = chain.check("right").expect(1);
    let findings = said.of_type("problem");
    assert!(!findings.is_empty(), "{said:?}");
    for finding in findings {
        assert_eq!(finding["kind"], "never stored", "{said:?}");
        assert!(finding["error"].as_str().unwrap().contains("bin/tool"), "{said:?}");
    }
    // What was cut off later, and not in a block of the cipher, is damage.
    let data = levels(&chain.agent.place.repository(), "data")[0].join("data");
    let stored = fs::read(&data).unwrap();
    fs::write(&data, &stored[..stored.len() - 5]).unwrap();
    let said = chain.restore("cut", "rsync", &["--encrypt-pass-file", &file]).expect(1).stderr;
    assert!(said.contains("too early"), "{said}");
    let said = chain.check("right").expect(1);
    assert!(said.of_type("problem").iter().any(|finding| finding["kind"] == "damaged"), "{said:?}");
}
