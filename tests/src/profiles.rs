//! Profiles: what a file of them makes of a command line, and what it refuses.

mod mirrored;
mod precedence;
mod refused;
mod several;

use crate::place::Place;
use crate::program::Outcome;
use serde_json::Value;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

/// A place with a file of profiles, and a password beside it.
struct Desk {
    place: Place,
}

impl Desk {
    /// `SOURCE` and `REPOSITORY` in the text stand for where they are.
    fn new(profiles: &str) -> Desk {
        let desk = Desk { place: Place::new() };
        desk.write_profiles(profiles);
        fs::write(desk.place.path().join("password"), "a password\n").unwrap();
        desk
    }

    fn file(&self) -> PathBuf {
        self.place.path().join("icecore.toml")
    }

    fn write_profiles(&self, text: &str) {
        let text = text
            .replace("SOURCE", self.place.source().to_str().unwrap())
            .replace("REPOSITORY", self.place.repository().to_str().unwrap());
        write_safely(&self.file(), &text);
    }

    /// The program with the file named by the environment, and more of the latter.
    fn run_with(&self, variables: &[(&str, &str)], arguments: &[&str]) -> Outcome {
        let mut command = self.place.program.command(arguments);
        command.env("ICECORE_CONFIG", self.file()).envs(variables.iter().copied());
        let output = command.output().unwrap();
        Outcome::new(output.status, &output.stdout, &output.stderr)
    }

    fn run(&self, arguments: &[&str]) -> Outcome {
        self.run_with(&[], arguments)
    }

    /// The names and tags of all backups in the repository, oldest first.
    #[track_caller]
    fn backups(&self) -> Vec<Value> {
        let repository = self.place.repository();
        let password = self.place.path().join("password");
        let arguments = ["list", "--json", "--password-file", text(&password), "-r", text(&repository)];
        self.place.program.run(&arguments).expect(0).of_type("backup")
    }
}

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

/// A file that nobody else can change, whatever the tester's umask.
fn write_safely(path: &Path, text: &str) {
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, text).unwrap();
    fs::set_permissions(path, fs::Permissions::from_mode(0o644)).unwrap();
}

const PROFILES: &str = r#"
[repositories.main]
path = "REPOSITORY"
password-file = "password"

[profiles.base]
repository = "main"
host = "alpha.example.org"
exclude = ["*.tmp"]
exclude-caches = true
tag = ["kept"]

[profiles.nightly]
inherits = ["base"]
paths = ["source"]
exclude = ["/cache/"]
retention = { keep-last = 1 }
"#;

#[test]
fn a_profile_serves_from_the_first_backup_to_the_restore() {
    let desk = Desk::new(PROFILES);
    desk.place.write(&[("a.txt", "a"), ("b.tmp", "b"), ("cache/c", "c"), ("thumbs/CACHEDIR.TAG", "no tag")]);
    desk.run(&["init", "@nightly"]).expect(0);
    let summary = desk.run(&["backup", "@nightly", "--json"]).expect(0).summary();
    assert_eq!((&summary["name"], &summary["host"]), (&"nightly".into(), &"alpha.example.org".into()));
    desk.place.write(&[("a.txt", "changed")]);
    desk.run(&["backup", "@nightly", "--tag", "more"]).expect(0);
    let listed = desk.run(&["list", "@nightly", "--json"]).expect(0).of_type("backup");
    let tags: Vec<&Value> = listed.iter().map(|backup| &backup["tags"]).collect();
    assert_eq!(tags, [&serde_json::json!(["kept"]), &serde_json::json!(["kept", "more"])]);
    desk.run(&["check", "@nightly", "--read-data"]).expect(0);
    let target = desk.place.target("back");
    desk.run(&["restore", "@nightly", "--target", text(&target), "latest~1"]).expect(0);
    let mut names: Vec<_> = fs::read_dir(&target).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    names.sort();
    assert_eq!(names, ["a.txt", "thumbs"]);
    assert_eq!(fs::read_to_string(target.join("a.txt")).unwrap(), "a");
    let summary = desk.run(&["forget", "@nightly", "--json"]).expect(0).summary();
    assert_eq!((&summary["removed"], &summary["kept"]), (&1.into(), &1.into()));
    assert_eq!(desk.backups().len(), 1);
}

#[test]
fn what_is_excluded_from_backups_is_restored_from_those_that_have_it() {
    let desk = Desk::new(PROFILES);
    desk.place.write(&[("a.iso", "a")]);
    desk.run(&["init", "@nightly"]).expect(0);
    desk.run(&["backup", "@nightly"]).expect(0);
    desk.write_profiles(&PROFILES.replace("*.tmp", "*.iso"));
    let target = desk.place.target("back");
    desk.run(&["restore", "@nightly", "--target", text(&target)]).expect(0);
    assert!(target.join("a.iso").exists());
}

#[test]
fn a_profile_forgets_its_own_backups_and_no_others() {
    let desk = Desk::new(PROFILES);
    desk.place.write(&[("a.txt", "a")]);
    desk.run(&["init", "@nightly"]).expect(0);
    for more in [&[][..], &[], &["--name", "another"], &["--host", "beta"], &["--host", "beta"]] {
        desk.run(&[&["backup", "@nightly"], more].concat()).expect(0);
    }
    // Without a host in the profile it is this one, which has made none.
    desk.write_profiles(&PROFILES.replace("host = \"alpha.example.org\"", ""));
    desk.run(&["forget", "@nightly"]).expect(0);
    assert_eq!(desk.backups().len(), 5);
    desk.write_profiles(PROFILES);
    desk.run(&["forget", "@nightly"]).expect(0);
    let mut left: Vec<String> = desk.backups().iter().map(|backup| backup["series"].to_string()).collect();
    left.sort();
    assert_eq!(
        left,
        [
            "\"alpha.example.org_another\"",
            "\"alpha.example.org_nightly\"",
            "\"beta_nightly\"",
            "\"beta_nightly\""
        ]
    );
}

#[test]
fn a_command_is_backed_up_without_a_shell_and_sees_no_password() {
    let desk = Desk::new(
        "[repositories.main]\npath = 'REPOSITORY'\npassword-env = 'MY_PASSWORD'\n\
         [profiles.it]\nrepository = 'main'\ninit = true\nstdin-name = 'out'\n\
         stdin-from-command = ['sh', '-c', 'printf \"%s|\" \"$$@\" \"$$MY_PASSWORD\"', 'x', 'a  $$b', \"'\"]\n",
    );
    let variables = [("MY_PASSWORD", "a password")];
    desk.run_with(&variables, &["backup", "@it"]).expect(0);
    let outcome = desk.run_with(&variables, &["cat", "@it", "latest:out"]).expect(0);
    assert_eq!(outcome.stdout, "a  $b|'||");
    // A path that is typed is a path.
    desk.place.write(&[("a", "a")]);
    let source = desk.place.source();
    let summary = desk.run_with(&variables, &["backup", "@it", "--json", text(&source)]).expect(0).summary();
    assert_eq!(summary["files"], 1);
}

#[test]
fn every_command_takes_a_profile_of_several_places() {
    let desk = Desk::new(
        "[repositories.main]\npath = 'REPOSITORY'\nmirrors = ['REPOSITORY-too']\npassword-file = 'password'\n\
         [profiles.it]\nrepository = 'main'\npaths = ['SOURCE']\n",
    );
    desk.run(&["config", "check"]).expect(0);
    let words = ["storage", "test", "@it", "--json", "--objects", "3", "--large-objects", "0"];
    let tested = desk.run(&words).expect(0);
    assert_eq!((tested.of_type("place").len(), tested.of_type("summary").len()), (2, 2));
}

#[test]
fn a_password_comes_from_a_command_with_its_words_as_they_are() {
    let desk = Desk::new(
        "[repositories.main]\npath = 'REPOSITORY'\npassword-command = ['printf', '%s', \"it's  a password\"]\n\
         [profiles.it]\nrepository = 'main'\n",
    );
    desk.run(&["init", "@it"]).expect(0);
    desk.run_with(&[("ICECORE_PASSWORD", "another")], &["info", "@it"]).expect(0);
    let password = desk.place.path().join("exact");
    fs::write(&password, "it's  a password").unwrap();
    let repository = desk.place.repository();
    desk.place.program.run(&["info", "-r", text(&repository), "--password-file", text(&password)]).expect(0);
}

#[test]
fn an_at_sign_elsewhere_names_no_profile() {
    let desk = Desk::new(PROFILES);
    desk.run(&["init", "@nightly"]).expect(0);
    fs::create_dir(desk.place.source().join("@odd")).unwrap();
    let summary =
        desk.run(&["backup", "@nightly", "--time", "@17", "--tag", "@nightly", "--json"]).expect(0).summary();
    assert_eq!(summary["timestamp"], 17);
    let mut command = desk.place.program.command(&["backup", "@nightly", "--json", "--", "@odd"]);
    command.env("ICECORE_CONFIG", desk.file()).current_dir(desk.place.source());
    assert!(command.output().unwrap().status.success());
    assert_eq!(
        desk.backups().last().unwrap()["paths"],
        serde_json::json!([text(&desk.place.source().join("@odd"))])
    );
}

#[test]
fn help_needs_no_profile() {
    let desk = Desk::new("this is not TOML");
    let outcome = desk.run(&["backup", "@nonsense", "--help"]).expect(0);
    assert!(outcome.stdout.contains("icecore backup"));
    assert!(desk.run(&["help", "config"]).expect(0).stdout.contains("[profiles.nightly]"));
}
