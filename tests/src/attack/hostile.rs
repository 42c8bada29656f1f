//! Archives that nobody's program would write, as chains of Freezer's, which have no hashes: whatever they say, nothing outside
//! of the target changes, nothing hangs, and what is not restored is named.

use crate::place::{Place, SERIES, assert_equal};
use crate::program::Outcome;
use icecore::engine::tar::member::{Member, MemberKind};
use icecore::engine::tar::writer::ArchiveWriter;
use icecore::tree::attributes::Attributes;
use icecore_testkit::manifest::Manifest;
use std::fs;
use std::path::PathBuf;

const CHAIN: i64 = 1_700_000_000;

/// A place with a chain of these archives, and something beside the target that must not change.
struct Hostile {
    place: Place,
    before: Manifest,
}

impl Hostile {
    fn new(levels: &[Vec<u8>]) -> Hostile {
        Hostile::compressed("none", levels)
    }

    fn compressed(compression: &str, levels: &[Vec<u8>]) -> Hostile {
        let place = Place::new();
        for (level, archive) in levels.iter().enumerate() {
            let folder = PathBuf::from("tar").join(SERIES).join(CHAIN.to_string());
            let folder = folder.join(format!("{level}_{}", CHAIN + level as i64));
            let (data, metadata) = (
                place.repository().join("data").join(&folder),
                place.repository().join("metadata").join(&folder),
            );
            fs::create_dir_all(&data).unwrap();
            fs::create_dir_all(&metadata).unwrap();
            fs::write(data.join("data"), archive).unwrap();
            fs::write(data.join("engine_metadata"), b"GNU tar-1.34-2\n0\x000\x00").unwrap();
            let document =
                format!(r#"{{"engine_name": "tar", "compression": "{compression}", "encryption": false}}"#);
            fs::write(metadata.join("metadata"), document).unwrap();
        }
        let outside = place.path().join("outside");
        fs::create_dir_all(outside.join("sub")).unwrap();
        fs::write(outside.join("file"), "not yours").unwrap();
        fs::write(place.path().join("x"), "not yours").unwrap();
        fs::create_dir_all(place.path().join("targets")).unwrap();
        fs::write(place.path().join("targets/x"), "not yours").unwrap();
        let before = Manifest::of(&outside).unwrap();
        Hostile { place, before }
    }

    #[track_caller]
    fn restore(&self, target: &str, more: &[&str]) -> Outcome {
        let outcome = self.place.restore(target, &[&["latest"], more].concat());
        assert!(outcome.status == 0 || outcome.status == 1, "{outcome:?}");
        let outside = self.place.path().join("outside");
        assert_equal(&self.before, &Manifest::of(&outside).unwrap(), "outside");
        for path in ["x", "targets/x"] {
            let content = fs::read_to_string(self.place.path().join(path)).unwrap();
            assert_eq!(content, "not yours", "{path}");
        }
        outcome
    }

    /// The restore fails and says on what.
    #[track_caller]
    fn refuses(&self, what: &str) {
        let outcome = self.restore("t", &[]);
        assert_eq!(outcome.status, 1, "{what}: {outcome:?}");
        let outcome = outcome.explained();
        assert!(outcome.names(what), "{what}: {outcome:?}");
        self.place.run("check", &["--read-data"]);
    }
}

fn file(path: &str, content: &str) -> (Member, Vec<u8>) {
    let kind = MemberKind::File { size_bytes: content.len() as u64, sparse: None };
    (member(path, kind), content.as_bytes().to_vec())
}

fn member(path: &str, kind: MemberKind) -> Member {
    let attributes = Attributes { mode: 0o700, ..Attributes::default() };
    Member { path: path.as_bytes().to_vec(), kind, attributes }
}

fn entry(path: &str, kind: MemberKind) -> (Member, Vec<u8>) {
    (member(path, kind), Vec::new())
}

fn symlink(path: &str, to: &str) -> (Member, Vec<u8>) {
    entry(path, MemberKind::Symlink(to.as_bytes().to_vec()))
}

fn hard_link(path: &str, to: &str) -> (Member, Vec<u8>) {
    entry(path, MemberKind::HardLink(to.as_bytes().to_vec()))
}

/// A directory; the records of its listing, `Yname`, one after the other.
fn directory(path: &str, listing: &[&str]) -> (Member, Vec<u8>) {
    let listing = listing.iter().flat_map(|record| [record.as_bytes(), b"\0"].concat()).collect();
    entry(path, MemberKind::Directory { listing: Some(listing) })
}

fn archive(members: &[(Member, Vec<u8>)]) -> Vec<u8> {
    let mut writer = ArchiveWriter::new(Vec::new());
    for (member, content) in members {
        writer.begin(member).unwrap();
        writer.write(content).unwrap();
        writer.end().unwrap();
    }
    writer.finish().unwrap()
}

/// A header of an archive whose fields are as given, whatever they mean, with the right checksum.
fn header(name: &[u8], typeflag: u8, size: &[u8; 12]) -> Vec<u8> {
    let mut header = vec![0; 512];
    header[..name.len()].copy_from_slice(name);
    header[100..108].copy_from_slice(b"0000700\0");
    header[108..124].copy_from_slice(b"0000000\x000000000\0");
    header[124..136].copy_from_slice(size);
    header[136..148].copy_from_slice(b"00000000000\0");
    header[148..156].fill(b' ');
    header[156] = typeflag;
    header[257..265].copy_from_slice(b"ustar  \0");
    let sum: u32 = header.iter().map(|&byte| u32::from(byte)).sum();
    header[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
    header
}

#[test]
fn names_that_lead_out_of_the_target_are_refused_and_named() {
    for name in ["../x", "./../x", "a/../../x", "../../x", "./a/./../../x", "a/../x", "..", "./.."] {
        let hostile = Hostile::new(&[archive(&[file(name, "hostile"), file("good", "1")])]);
        hostile.refuses(name.trim_start_matches("./"));
        assert_eq!(fs::read_to_string(hostile.place.target("t").join("good")).unwrap(), "1", "{name}");
        let hostile = Hostile::new(&[archive(&[directory(name, &["Yx"]), file("good", "1")])]);
        hostile.refuses(name.trim_start_matches("./"));
    }
}

/// As tar does: a path from the root of the system is one below the target.
#[test]
fn absolute_names_are_below_the_target() {
    let hostile = Hostile::new(&[archive(&[file("/abs/x", "1"), symlink("//l", "/etc/passwd")])]);
    assert_eq!(hostile.restore("t", &[]).status, 0);
    let target = hostile.place.target("t");
    assert_eq!(fs::read_to_string(target.join("abs/x")).unwrap(), "1");
    assert!(target.join("l").is_symlink());
}

#[test]
fn no_link_leads_out() {
    let outside = |place: &Place| place.path().join("outside").to_str().unwrap().to_owned();
    // The path is only known once there is a place; it is the same for all links that lead there.
    let elsewhere = Place::new();
    let real = outside(&elsewhere);
    fs::create_dir_all(&real).unwrap();
    fs::write(PathBuf::from(&real).join("file"), "not yours").unwrap();
    let before = Manifest::of(elsewhere.path()).unwrap();
    for to in [real.as_str(), "../../outside", "."] {
        for members in [
            vec![symlink("a", to), file("a/file", "hostile")],
            vec![symlink("a", to), directory("a/sub", &["Yfile"]), file("a/sub/file", "hostile")],
            vec![symlink("a", to), hard_link("b", "a/file")],
            vec![symlink("a", to), symlink("a/l", "x")],
            vec![symlink("a", to), entry("a/fifo", MemberKind::Fifo)],
        ] {
            let hostile = Hostile::new(&[archive(&members)]);
            hostile.refuses(&String::from_utf8_lossy(&members.last().unwrap().0.path));
        }
        // A link to a link is a link to the link itself.
        let hostile = Hostile::new(&[archive(&[symlink("a", to), hard_link("b", "a")])]);
        assert_eq!(hostile.restore("t", &[]).status, 0);
        assert!(hostile.place.target("t").join("b").is_symlink());
        // A directory of one level, a link in the next, written through in the third.
        let levels = [
            archive(&[directory(".", &["Da"]), directory("a", &["Yfile"]), file("a/file", "1")]),
            archive(&[directory(".", &["Ya"]), symlink("a", to)]),
            archive(&[directory(".", &["Na"]), file("a/file", "hostile")]),
        ];
        let hostile = Hostile::new(&levels);
        hostile.refuses("a/file");
        // And what a level deletes is not deleted through a link.
        let levels = [
            archive(&[directory(".", &["Da"]), directory("a", &["Yfile"]), file("a/file", "1")]),
            archive(&[directory(".", &["Ya"]), symlink("a", to)]),
            archive(&[directory(".", &["Na"]), directory("a", &[])]),
        ];
        Hostile::new(&levels).restore("t", &[]);
        Hostile::new(&levels).restore("t", &["--overwrite", "--delete"]);
    }
    assert_equal(&before, &Manifest::of(elsewhere.path()).unwrap(), "where the links lead");
}

#[test]
fn hard_links_to_nowhere_and_outside_are_named() {
    for to in ["../../outside/file", "../x", "no/such/file", "self", "d"] {
        let members = [directory("d", &[]), hard_link("self", to), file("good", "1")];
        let hostile = Hostile::new(&[archive(&members)]);
        hostile.refuses("self");
        assert!(hostile.place.target("t").join("good").exists());
        assert!(!hostile.place.target("t").join("self").exists());
        let outcome = hostile.restore("part", &["--include", "self"]);
        assert_eq!(outcome.status, 1, "{to}: {outcome:?}");
        assert!(outcome.names("self"), "{to}: {outcome:?}");
    }
}

#[test]
fn renames_that_climb_loop_or_lead_nowhere_never_leave_the_target() {
    let base = archive(&[
        directory(".", &["Da", "Db", "Yf"]),
        directory("a", &["Yx"]),
        file("a/x", "1"),
        directory("b", &["Yy"]),
        file("b/y", "2"),
        file("f", "3"),
    ]);
    for renames in [
        &["R./a", "T./a/b"][..],
        &["R./a", "T./a/b/c"],
        &["R.", "T./x"],
        &["R./a", "T."],
        &["R./a", "T../x"],
        &["R../x", "T./x"],
        &["R./a", "T./b/../../x"],
        &["R/../x", "T./y"],
        &["R./a", "T"],
        &["T./a"],
        &["R./a"],
        &["R./a", "R./b", "T./c"],
        &["X../../outside", "R./a", "T"],
        &["X./", "R./a", "T", "X./", "R", "T./b"],
    ] {
        let mut listing = renames.to_vec();
        listing.extend(["Da", "Db", "Nf"]);
        // The writer takes no broken listing, and so it goes into the place of a file's content.
        let body: Vec<u8> = listing.iter().flat_map(|record| [record.as_bytes(), b"\0"].concat()).collect();
        let body = [&body[..], b"\0"].concat();
        let size = format!("{:011o}\0", body.len());
        let mut level = header(b"./", b'D', size.as_bytes().try_into().unwrap());
        level.extend_from_slice(&body);
        level.resize(level.len().next_multiple_of(512) + 1024, 0);
        let hostile = Hostile::new(&[base.clone(), level]);
        let outcome = hostile.restore("t", &[]);
        assert_eq!(outcome.status, 1, "{renames:?}: {outcome:?}");
        let left = fs::read_dir(hostile.place.target("t")).map_or(0, Iterator::count);
        assert_eq!(left, 0, "{renames:?}: refused before the target is touched");
    }
    // Odd, but not out of the tree: a loop, names that are taken, and what is not there.
    for renames in [
        &["R./a", "T./b", "R./b", "T./a"][..],
        &["R./a", "T./a"],
        &["R./no", "T./such"],
        &["R./f", "T./a/f", "R./a", "T./b"],
        &["X../../outside", "R./a", "T", "R./b", "T./a", "R", "T./b"],
        &["R./a", "T./f"],
        &["R./a", "T./f/below"],
    ] {
        let mut listing = renames.to_vec();
        listing.extend(["Da", "Db", "Nf"]);
        let hostile = Hostile::new(&[base.clone(), archive(&[directory(".", &listing)])]);
        hostile.restore("t", &[]);
        hostile.restore("part", &["--include", "b"]);
    }
}

#[test]
fn listings_that_name_what_is_no_entry_are_damage() {
    for record in ["Y..", "D..", "Y.", "Y", "Ya/b", "Y/", "D../x", "N/etc/passwd", "Z?"] {
        let body = [record.as_bytes(), b"\0\0"].concat();
        let size = format!("{:011o}\0", body.len());
        let mut level = header(b"./odd", b'D', size.as_bytes().try_into().unwrap());
        level.extend_from_slice(&body);
        level.resize(1024 + 1024, 0);
        Hostile::new(&[level]).refuses("odd");
    }
    Hostile::new(&[archive(&[directory("odd", &["Ya", "Ya"])])]).refuses("odd");
}

/// A directory where a file is, a FIFO where one is expected, twice the same name: the last counts, and nothing waits.
#[test]
fn what_is_not_what_the_listing_said_does_no_harm() {
    let first =
        archive(&[directory(".", &["Yf", "Dd"]), file("f", "1"), directory("d", &["Yx"]), file("d/x", "2")]);
    let second = archive(&[
        directory(".", &["Yf", "Dd"]),
        entry("f", MemberKind::Fifo),
        file("f", "3"),
        entry("f", MemberKind::Fifo),
        file("d", "a file"),
    ]);
    let third =
        archive(&[directory(".", &["Yf", "Yd"]), file("f", "4"), directory("d", &["Yx"]), file("d/x", "5")]);
    let hostile = Hostile::new(&[first, second, third]);
    assert_eq!(hostile.restore("t", &[]).status, 0);
    let target = hostile.place.target("t");
    assert_eq!(fs::read_to_string(target.join("f")).unwrap(), "4");
    assert_eq!(fs::read_to_string(target.join("d/x")).unwrap(), "5");
}

#[test]
fn sizes_that_no_file_has_are_refused_and_take_no_room() {
    let huge: [&[u8; 12]; 3] = [
        b"\x80\0\0\0\x7f\xff\xff\xff\xff\xff\xff\xff",
        b"\x80\0\0\0\x80\0\0\0\0\0\0\0",
        b"\x80\0\0\0\xff\xff\xff\xff\xff\xff\xff\xff",
    ];
    for size in huge {
        for typeflag in *b"0DLKxg1S" {
            let mut level = header(b"huge-one", typeflag, size);
            level.extend_from_slice(&[b'x'; 512]);
            level.extend_from_slice(&[0; 1024]);
            let hostile = Hostile::new(&[level]);
            let outcome = hostile.restore("t", &[]);
            assert_eq!(outcome.status, 1, "{}: {outcome:?}", char::from(typeflag));
            outcome.explained();
            assert!(!hostile.place.target("t").join("huge-one").exists(), "{}", char::from(typeflag));
        }
    }
}

#[test]
fn sparse_maps_that_are_none_are_refused_and_named() {
    for map in [
        "2\n4096\n512\n0\n512\n",
        "2\n0\n1024\n512\n512\n",
        "1\n18446744073709551615\n2\n",
        "1\n9223372036854775807\n512\n",
        "1\n0\n1099511627776\n",
        "99999999999999999999\n",
        "1\n-1\n5\n",
    ] {
        let records = |pairs: &[(&str, &str)]| {
            let record = |(key, value): &(&str, &str)| {
                let text = format!(" {key}={value}\n");
                let length = (text.len()..).find(|length| length.to_string().len() + text.len() == *length);
                format!("{}{text}", length.unwrap())
            };
            pairs.iter().map(record).collect::<String>().into_bytes()
        };
        let pax = records(&[
            ("GNU.sparse.major", "1"),
            ("GNU.sparse.minor", "0"),
            ("GNU.sparse.name", "holey"),
            ("GNU.sparse.realsize", "8192"),
        ]);
        let size = |length: usize| -> [u8; 12] { format!("{length:011o}\0").as_bytes().try_into().unwrap() };
        let mut level = header(b"pax", b'x', &size(pax.len()));
        level.extend_from_slice(&pax);
        level.resize(1024, 0);
        level.extend_from_slice(&header(b"GNUSparseFile.0/holey", b'0', &size(1536)));
        let start = level.len();
        level.extend_from_slice(map.as_bytes());
        level.resize(start + 512, 0);
        level.extend_from_slice(&[b'd'; 1024]);
        level.extend_from_slice(&[0; 1024]);
        let hostile = Hostile::new(&[level]);
        hostile.refuses("holey");
        assert!(!hostile.place.target("t").join("holey").exists());
    }
}

#[test]
fn a_name_with_a_nul_is_refused() {
    let pax = b"18 path=evil\0name\n";
    let mut level = header(b"pax", b'x', b"00000000022\0");
    level.extend_from_slice(pax);
    level.resize(1024, 0);
    level.extend_from_slice(&header(b"plain", b'0', b"00000000000\0"));
    level.extend_from_slice(&[0; 1024]);
    let hostile = Hostile::new(&[level]);
    assert_eq!(hostile.restore("t", &[]).explained().status, 1);
    assert!(fs::read_dir(hostile.place.target("t")).unwrap().next().is_none());
}
