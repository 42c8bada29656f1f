//! Chains for others: who writes them holds no key.

use super::{all_restore, chain, has, holders, level, restore, run, shell, tar_restores, untouched};
use crate::in_memory::CHAINS;
use crate::place::Place;
use crate::program::not_run;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

/// A pair of keys: the file of the secret one, and the public one.
pub(super) fn pair(place: &Place, name: &str) -> (String, String) {
    let file = place.path().join(name);
    shell(
        place,
        r#"age-keygen -o "$FILE" 2> /dev/null; age-keygen -y "$FILE" > "$FILE.pub""#,
        &[("FILE", &file)],
    );
    let public = fs::read_to_string(file.with_extension("pub")).unwrap().trim().to_owned();
    (file.to_str().unwrap().to_owned(), public)
}

/// What the program keeps at home of its chains.
fn kept(place: &Place) -> Vec<PathBuf> {
    let mut home = String::new();
    let output = place.program.shell(r#"printf %s "$HOME""#).output().unwrap();
    home.push_str(std::str::from_utf8(&output.stdout).unwrap());
    super::files_below(&Path::new(&home).join(".local/state/icecore/chains"))
}

#[test]
fn a_host_with_only_recipients_writes_chains_that_only_they_can_read() {
    if !has("age") {
        return not_run("age is needed");
    }
    for engine in CHAINS {
        let place = Place::of(engine);
        place.write(&[("a-name-nobody-knows", "some content")]);
        let (secret, public) = pair(&place, "key");
        let (other, _) = pair(&place, "other");
        let expected = chain(&place, || level(&place, None, &["--recipient", &public]));
        assert!(holders(&place, b"a-name-nobody-knows").is_empty());
        assert_eq!(kept(&place).len(), 3);
        // They are states in clear: nobody else's to read.
        for file in kept(&place) {
            let mode = fs::metadata(&file).unwrap().permissions().mode();
            assert_eq!(mode & 0o077, 0, "{engine}: {} has {mode:o}", file.display());
        }

        restore(&place, None, "none", &[]).expect(2).explained();
        untouched(&place, "none");
        restore(&place, None, "other", &["--identity", &other]).expect(12).explained();
        untouched(&place, "other");
        all_restore(&place, None, &expected, &["--identity", &other, "--identity", &secret]);
        run(&place, None, "check", &["--read-data", "--identity", &secret]).expect(0);
        let hashes = run(&place, None, "check", &["--read-data"]).expect(0);
        assert_eq!(hashes.of_type("warning").len(), 3, "{hashes:?}");

        // Nothing but this program reads streams of the other one.
        if engine != "tar" {
            continue;
        }
        tar_restores(&place, "zstd", &expected, |folder, plain| {
            let (key, data) = (Path::new(&secret), folder.join("data"));
            shell(
                &place,
                r#"age -d -i "$KEY" -o "$PLAIN" "$DATA""#,
                &[("KEY", key), ("PLAIN", plain), ("DATA", &data)],
            );
        });
    }
}

#[test]
fn without_what_it_kept_such_a_host_makes_a_full_backup_and_says_why() {
    if !has("age") {
        return not_run("age is needed");
    }
    for engine in CHAINS {
        let place = Place::of(engine);
        place.write(&[("a", "1")]);
        let (_, public) = pair(&place, "key");
        let (_, second) = pair(&place, "second");
        let levels = |more: &[&str]| {
            let summary =
                level(&place, None, &[&["--recipient", &public], more].concat()).expect(0).summary();
            (
                summary["level"].as_u64().unwrap(),
                summary["reason"].as_str().unwrap().contains("was not kept here"),
            )
        };
        assert_eq!(levels(&[]), (0, false));
        assert_eq!(levels(&[]), (1, false));
        kept(&place).iter().for_each(|file| fs::remove_file(file).unwrap());
        assert_eq!(levels(&[]), (0, true));
        assert_eq!(levels(&[]), (1, false));
        // One more recipient could not read what is below: it gets a chain of its own.
        assert_eq!(levels(&["--recipient", &second]), (0, true));
        assert_eq!(levels(&["--recipient", &second]), (1, false));
        // What was kept has been changed.
        for file in kept(&place) {
            let mut bytes = fs::read(&file).unwrap();
            *bytes.last_mut().unwrap() ^= 1;
            fs::write(&file, bytes).unwrap();
        }
        assert_eq!(levels(&["--recipient", &second]), (0, true));
    }
}

#[test]
fn recipients_may_be_keys_of_openssh_and_stand_in_a_file() {
    if !has("ssh-keygen") {
        return not_run("ssh-keygen is needed");
    }
    let place = Place::new();
    let (ed, rsa) = (place.path().join("ed"), place.path().join("rsa"));
    shell(
        &place,
        r#"ssh-keygen -q -t ed25519 -N '' -C me -f "$ED"; ssh-keygen -q -t rsa -b 2048 -N '' -f "$RSA""#,
        &[("ED", &ed), ("RSA", &rsa)],
    );
    let both = place.path().join("both");
    let public = |file: &Path| fs::read_to_string(file.with_extension("pub")).unwrap();
    fs::write(&both, format!("# both\n{}{}", public(&ed), public(&rsa))).unwrap();
    let expected = chain(&place, || level(&place, None, &["--recipient", &format!("@{}", both.display())]));
    for key in [&ed, &rsa] {
        all_restore(&place, None, &expected, &["--identity", key.to_str().unwrap()]);
        fs::remove_dir_all(place.path().join("targets")).unwrap();
    }
}
