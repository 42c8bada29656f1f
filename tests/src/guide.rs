//! The commands of the guide, run as a reader types them: page by page, block by block, in a shell.
//!
//! A block marked `sh` is run; all others only show something. The program comes first in PATH, and `$REPO`, `$DOCS` and `$BACK`
//! are folders of the page's own.

use crate::elsewhere::Server;
use crate::elsewhere::servers::{SERVERS, Start};
use crate::program::{Program, not_run};
use icecore_testkit::servers::mariadb::{Mariadb, PASSWORD, USER};
use icecore_testkit::servers::program as installed;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

/// Programs that a page runs beside ours.
const WITNESSES: [(&str, &str); 5] = [
    ("elsewhere.md", "age"),
    ("encryption.md", "age"),
    ("encryption.md", "openssl"),
    ("databases.md", "mariadbd"),
    ("databases.md", "mariadb-dump"),
];

fn is_installed(program: &str) -> bool {
    installed(program).is_ok()
}

/// The page on which there is a database server, in the folder `$DATADIR`, with its login in `$CONF` and `$DUMP_CONF`.
const WITH_DATABASE: &str = "databases.md";

fn database(place: &Path) -> Mariadb {
    fs::set_permissions(place, fs::Permissions::from_mode(0o755)).unwrap();
    let folder = place.join("mariadb");
    fs::create_dir(&folder).unwrap();
    let server = Mariadb::start(&folder).unwrap_or_else(|missing| panic!("{}", missing.0));
    server.query(&format!("GRANT ALL ON *.* TO {USER}@'%'"));
    let port = server.port();
    let login =
        |password: &str| format!("host = 127.0.0.1\nport = {port}\nuser = {USER}\npassword = {password}\n");
    fs::write(place.join("db.conf"), login(&PASSWORD.replace('%', "%%"))).unwrap();
    fs::write(place.join("dump.conf"), format!("[client]\n{}", login(&format!("'{PASSWORD}'")))).unwrap();
    server
}

struct Block {
    /// The line of the page on which it begins.
    line: usize,
    commands: String,
}

/// Every page of the guide, by name.
fn pages() -> Vec<(String, String)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().join("docs/guide");
    let entries = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let mut pages: Vec<PathBuf> =
        entries.filter(|path| path.extension().is_some_and(|extension| extension == "md")).collect();
    pages.sort();
    let name = |path: &PathBuf| path.file_name().unwrap().to_str().unwrap().to_owned();
    pages.iter().map(|path| (name(path), fs::read_to_string(path).unwrap())).collect()
}

/// The blocks marked `sh`, in order.
fn blocks(page: &str) -> Vec<Block> {
    let mut blocks: Vec<Block> = Vec::new();
    let mut fence: Option<bool> = None;
    for (number, line) in page.lines().enumerate() {
        match (line.trim().strip_prefix("```"), fence) {
            (Some(language), None) => {
                fence = Some(language == "sh");
                if language == "sh" {
                    blocks.push(Block { line: number + 1, commands: String::new() });
                }
            }
            (Some(_), Some(_)) => fence = None,
            (None, Some(true)) => {
                let block = blocks.last_mut().unwrap();
                block.commands += line;
                block.commands += "\n";
            }
            (None, _) => {}
        }
    }
    assert_eq!(fence, None, "a block is never closed");
    blocks
}

/// What a reader has: documents to back up, and a place for what comes back.
fn lay_out(place: &Path) {
    for folder in ["documents/letters", "documents/cache", "documents/thumbnails", "back"] {
        fs::create_dir_all(place.join(folder)).unwrap();
    }
    let files = [
        ("letters/a.txt", "Dear reader,"),
        ("letters/b.txt", "Yours,"),
        ("draft.tmp", "not worth keeping"),
        ("cache/page", "can be fetched again"),
        ("thumbnails/CACHEDIR.TAG", "Signature: 8a477f597d28d172789f06886806bc55"),
    ];
    for (path, content) in files {
        fs::write(place.join("documents").join(path), content).unwrap();
    }
}

/// The environment in which every block of a page runs.
fn run(program: &Program, place: &Path, block: &Block, server: Option<&Server>) -> Result<(), String> {
    let mut shell = program.shell(&block.commands);
    shell
        .env("REPO", place.join("repository"))
        .env("DOCS", place.join("documents"))
        .env("BACK", place.join("back"))
        .env("DATADIR", place.join("mariadb/data"))
        .env("CONF", place.join("db.conf"))
        .env("DUMP_CONF", place.join("dump.conf"))
        .env("ICECORE_PASSWORD", "as the guide says");
    if let Some(server) = server {
        shell.env("REPO", server.place("guide")).envs(server.variables.clone());
    }
    let output = shell.output().unwrap();
    if output.status.success() {
        return Ok(());
    }
    let said = [output.stdout, output.stderr].map(|bytes| String::from_utf8_lossy(&bytes).into_owned());
    Err(format!("{}\n{}{}", output.status, block.commands, said.concat()))
}

#[test]
fn what_the_guide_tells_to_type_works_in_this_order() {
    let mut ran = 0;
    for (name, page) in pages().iter().filter(|(name, _)| server_of(name).is_none()) {
        let missing = WITNESSES.iter().find(|(of, program)| of == name && !is_installed(program));
        if let Some((_, program)) = missing {
            not_run(&format!("{name} needs {program}"));
            continue;
        }
        ran += try_out(name, page, None);
    }
    assert!(ran >= 5, "only {ran} blocks were found");
}

/// On a page about a kind of storage, `$REPO` is an address on a real server.
#[test]
fn what_the_pages_about_storages_tell_to_type_works_on_a_server() {
    for (name, page) in pages() {
        let Some(start) = server_of(&name) else { continue };
        let folder = tempfile::tempdir().unwrap();
        match start(folder.path()) {
            Ok(server) => assert!(try_out(&name, &page, Some(&server)) > 0, "{name} has nothing to try"),
            Err(missing) => not_run(&missing.0),
        }
    }
}

fn server_of(page: &str) -> Option<Start> {
    let kind = page.strip_suffix(".md")?;
    SERVERS.iter().find(|(name, _)| *name == kind).map(|(_, start)| *start)
}

/// Runs the blocks of a page, and says how many there were.
fn try_out(name: &str, page: &str, server: Option<&Server>) -> usize {
    let (program, place) = (Program::new(), tempfile::tempdir().unwrap());
    lay_out(place.path());
    let _database = (name == WITH_DATABASE).then(|| database(place.path()));
    let blocks = blocks(page);
    for block in &blocks {
        if let Err(failure) = run(&program, place.path(), block, server) {
            panic!("docs/guide/{name}, line {}: {failure}", block.line);
        }
    }
    blocks.len()
}

#[test]
fn only_blocks_marked_sh_are_run() {
    let page = "a\n```sh\none\ntwo\n```\n```\nshown\n```\n```json\n{}\n```\n  ```sh\n  three\n  ```\n";
    let found: Vec<_> = blocks(page).into_iter().map(|block| (block.line, block.commands)).collect();
    assert_eq!(found, [(2, "one\ntwo\n".to_owned()), (12, "  three\n".to_owned())]);
}

#[test]
fn a_command_that_fails_is_told() {
    let block = Block { line: 1, commands: "icecore list -r \"$REPO\"\ntrue\n".to_owned() };
    let place = tempfile::tempdir().unwrap();
    lay_out(place.path());
    assert!(run(&Program::new(), place.path(), &block, None).unwrap_err().contains("no repository"));
}

/// Every file that a page points at is there.
#[test]
fn links_between_pages_lead_somewhere() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    for page in [
        "README.md",
        "ARCHITECTURE.md",
        "docs/guide/first-backup.md",
        "docs/guide/profiles.md",
        "docs/guide/elsewhere.md",
        "docs/guide/encryption.md",
        "docs/guide/restoring.md",
        "docs/guide/storage-test.md",
        "docs/guide/tar.md",
    ] {
        let text = fs::read_to_string(root.join(page)).unwrap();
        for link in text.split("](").skip(1).map(|rest| rest.split([')', '#']).next().unwrap()) {
            let place = root.join(page).parent().unwrap().join(link);
            assert!(link.contains("://") || link.is_empty() || place.exists(), "{page} points at {link}");
        }
    }
}
