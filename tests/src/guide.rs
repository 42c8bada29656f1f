//! What the guide tells a reader to type works as written, in its order.

use crate::place::Place;
use icecore_testkit::manifest::{Manifest, Options, diff};
use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::Command;

const PAGE: &str = include_str!("../../docs/guide/first-backup.md");

/// The blocks of shell commands of a page.
fn commands(page: &str) -> Vec<&str> {
    page.split("```sh\n").skip(1).map(|rest| rest.split("```").next().unwrap()).collect()
}

#[test]
fn the_commands_of_the_first_backup_work_as_written() {
    let place = Place::new();
    place.write(&[("letters/a.txt", "1"), ("letters/b.txt", "2"), ("draft.tmp", "3"), ("cache/x", "4")]);
    let programs = place.path().join("programs");
    fs::create_dir(&programs).unwrap();
    symlink(place.program.command::<&str>(&[]).get_program(), programs.join("icecore")).unwrap();
    let blocks = commands(PAGE);
    assert!(blocks.len() >= 7, "{blocks:?}");
    for block in blocks {
        let output = Command::new("sh")
            .args(["-euc", block])
            .current_dir("/")
            .env_clear()
            .env("PATH", format!("{}:/usr/bin:/bin", programs.display()))
            .env("REPO", place.repository())
            .env("DOCS", place.source())
            .env("BACK", place.path().join("back"))
            .output()
            .unwrap();
        assert!(output.status.success(), "{block}\n{output:?}");
    }
    let back = |target: &str| Manifest::of(&place.path().join("back").join(target)).unwrap();
    let paths = |target: &str| -> Vec<String> {
        back(target).paths().into_iter().filter(|path| Path::new(path).extension().is_some()).collect()
    };
    // The newest was made with excludes, the one before holds everything.
    assert_eq!(paths("all"), ["letters/a.txt", "letters/b.txt"]);
    assert_eq!(paths("by-hand"), paths("all"));
    let source = Manifest::of(&place.source()).unwrap();
    assert_eq!(diff(&source, &back("before"), &Options::default()), [""; 0]);
    assert_eq!(paths("part"), ["letters/a.txt"]);
}

/// Every file that a page points at is there.
#[test]
fn links_between_pages_lead_somewhere() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    for page in ["README.md", "ARCHITECTURE.md", "docs/guide/first-backup.md"] {
        let text = fs::read_to_string(root.join(page)).unwrap();
        for link in text.split("](").skip(1).map(|rest| rest.split([')', '#']).next().unwrap()) {
            let place = root.join(page).parent().unwrap().join(link);
            assert!(link.contains("://") || link.is_empty() || place.exists(), "{page} points at {link}");
        }
    }
}
