//! Files made by several threads at once, and content that comes in any order.

use super::*;
use crate::tree::xattr;
use std::os::unix::fs::MetadataExt;

#[test]
fn several_threads_make_files_in_one_tree() {
    let fixture = Fixture::new();
    let target = fixture.target();
    std::thread::scope(|scope| {
        for thread in 0..4 {
            let mut files = target.files();
            scope.spawn(move || {
                for number in 0..200 {
                    let path = format!("d{}/e{}/f{thread}-{number}", number % 7, number % 3);
                    let mut file = files.create(path.as_bytes(), &attributes(0o640)).unwrap();
                    file.write(path.as_bytes()).unwrap();
                    file.finish(&attributes(0o640)).unwrap();
                }
            });
        }
    });
    target.finish().unwrap();
    for thread in 0..4 {
        for number in 0..200 {
            let path = format!("d{}/e{}/f{thread}-{number}", number % 7, number % 3);
            assert_eq!(fs::read(fixture.root().join(&path)).unwrap(), path.as_bytes());
        }
    }
    assert_eq!(fixture.monitor.problems(), []);
}

#[test]
fn no_thread_leaves_the_root_through_a_link() {
    let fixture = Fixture::new();
    symlink("../outside", fixture.root().join("link")).unwrap();
    let target = fixture.target();
    let mut files = target.files();
    for path in ["link/precious", "link/new/file", "../outside/precious", "/etc/x"] {
        let refused = files.create(path.as_bytes(), &attributes(0o600)).map(drop);
        assert_eq!(refused.unwrap_err().kind(), Kind::Invalid, "{path}");
    }
    assert_eq!(files.there(b"link/precious").map(drop).unwrap_err().kind(), Kind::Invalid);
    assert!(files.there(b"link").unwrap().is_none(), "a link was followed");
    fixture.assert_outside_is_untouched();
}

#[test]
fn content_written_at_its_place_from_several_threads_is_whole() {
    let fixture = Fixture::new();
    let target = fixture.target();
    let mut file = target.files().create(b"big", &attributes(0o600)).unwrap();
    let content: Vec<u8> = (0..1 << 20).map(|index| (index % 251) as u8).collect();
    std::thread::scope(|scope| {
        let file = &file;
        for (number, piece) in content.chunks(1 << 18).enumerate().skip(1) {
            scope.spawn(move || file.write_at((number << 18) as u64, piece).unwrap());
        }
    });
    file.set_length((1 << 20) + 77).unwrap();
    file.finish(&attributes(0o600)).unwrap();
    let found = fs::read(fixture.root().join("big")).unwrap();
    assert!(found[..1 << 18].iter().all(|byte| *byte == 0) && found[1 << 20..] == [0; 77]);
    assert!(found[1 << 18..1 << 20] == content[1 << 18..]);
}

#[test]
fn a_length_no_file_can_have_is_refused() {
    let fixture = Fixture::new();
    let mut file = fixture.target().files().create(b"f", &attributes(0o600)).unwrap();
    assert_eq!(file.write_at(u64::MAX, b"x").unwrap_err().kind(), Kind::Limit);
    assert_eq!(file.set_length(u64::MAX).unwrap_err().kind(), Kind::Limit);
    drop(file);
    assert!(!fixture.root().join("f").exists(), "an unfinished file was left");
}

#[test]
fn a_file_that_stays_gets_the_attributes_it_lacks() {
    let fixture = Fixture::new();
    let target = fixture.target();
    let mut files = target.files();
    let wanted = Attributes { xattrs: vec![(b"user.a".to_vec(), b"1".to_vec())], ..attributes(0o640) };
    let mut file = files.create(b"d/f", &wanted).unwrap();
    file.write(b"content").unwrap();
    file.finish(&wanted).unwrap();
    assert!(files.there(b"d/g").unwrap().is_none() && files.there(b"d").unwrap().is_none());
    let other = vec![(b"user.a".to_vec(), b"2".to_vec()), (b"user.b".to_vec(), b"1".to_vec())];
    let inode = fs::metadata(fixture.root().join("d/f")).unwrap().ino();
    let mut before = wanted.clone();
    for different in [
        wanted.clone(),
        attributes(0o640),
        Attributes { xattrs: other, ..wanted.clone() },
        Attributes { mode: 0o400, ..wanted.clone() },
        Attributes { mtime: FileTime::new(1, 5), ..wanted.clone() },
        wanted.clone(),
    ] {
        let there = files.there(b"d/f").unwrap().unwrap();
        files.put_right(&there, b"d/f", &different);
        assert_eq!(there.is_unchanged(), different == before, "something was set that was right");
        let there = files.reread(b"d/f").unwrap().unwrap();
        assert!(files.has_attributes(&there, &different));
        assert!(different == wanted || !files.has_attributes(&there, &wanted));
        before = different;
    }
    // A capability that somebody gave it since is none that it should have.
    if !needs_root("capabilities") {
        let capability = [1, 0, 0, 2, 0, 0x20, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0].to_vec();
        let given = vec![(xattr::CAPABILITY.to_vec(), capability)];
        xattr::write_file(fs::File::open(fixture.root().join("d/f")).unwrap(), &given).unwrap();
        let there = files.there(b"d/f").unwrap().unwrap();
        assert!(!files.has_attributes(&there, &wanted));
        files.put_right(&there, b"d/f", &wanted);
        assert_eq!(xattr::read_file(&there.file).unwrap(), wanted.xattrs);
        let there = files.there(b"d/f").unwrap().unwrap();
        let capable = Attributes { xattrs: given, ..wanted.clone() };
        files.put_right(&there, b"d/f", &capable);
        let there = files.there(b"d/f").unwrap().unwrap();
        assert!(files.has_attributes(&there, &capable));
    }
    let found = fs::metadata(fixture.root().join("d/f")).unwrap();
    assert_eq!((found.ino(), fs::read(fixture.root().join("d/f")).unwrap()), (inode, b"content".to_vec()));
    assert_eq!(fixture.monitor.problems(), []);
}

#[test]
fn a_file_that_was_compared_gets_attributes_only_while_its_path_is_that_file() {
    let fixture = Fixture::new();
    let target = fixture.target();
    let mut files = target.files();
    let make = |name: &[u8], content: &[u8]| {
        let mut new = target.files().create(name, &attributes(0o600)).unwrap();
        new.write(content).unwrap();
        new.finish(&attributes(0o600)).unwrap();
    };
    make(b"f", b"compared");
    make(b"other", b"another");
    let there = files.there(b"f").unwrap().unwrap();
    files.put_right_compared(&there.found, b"f", &attributes(0o640)).unwrap();
    let there = files.there(b"f").unwrap().unwrap();
    assert_eq!(there.found.mode & 0o7777, 0o640);
    fs::rename(fixture.root().join("other"), fixture.root().join("f")).unwrap();
    let error = files.put_right_compared(&there.found, b"f", &attributes(0o604)).unwrap_err();
    assert_eq!(error.kind(), Kind::Changed, "{error}");
    fs::remove_file(fixture.root().join("f")).unwrap();
    let error = files.put_right_compared(&there.found, b"f", &attributes(0o604)).unwrap_err();
    assert_eq!(error.kind(), Kind::Changed, "{error}");
    assert_eq!(there.file.metadata().unwrap().permissions().mode() & 0o7777, 0o640);
    assert_eq!(fixture.monitor.problems(), []);
}

#[test]
fn nothing_has_its_name_before_it_is_whole_where_that_is_wanted() {
    let fixture = Fixture::new();
    for whole_names in [false, true] {
        let mut target = fixture.target_with(Options { whole_names, ..Options::numeric(false) });
        let path = fixture.root().join("f");
        let mut file = target.files().create(b"f", &attributes(0o600)).unwrap();
        file.write(b"half").unwrap();
        assert_eq!(path.exists(), !whole_names);
        file.write(b" and half").unwrap();
        file.finish(&attributes(0o600)).unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"half and half");
        target.symlink(b"link", b"f", &attributes(0o777)).unwrap();
        let mut names = target.names(b"").unwrap();
        names.sort();
        assert_eq!(names, [b"f".to_vec(), b"link".to_vec()]);
        target.remove(b"f").unwrap();
        target.remove(b"link").unwrap();
        // What is given up leaves nothing either.
        drop(target.files().create(b"f", &attributes(0o600)).unwrap());
        assert!(target.names(b"").unwrap().is_empty());
    }
    assert_eq!(fixture.monitor.problems(), []);
}

#[test]
fn long_runs_of_zeros_take_no_room_when_that_is_wanted() {
    let fixture = Fixture::new();
    for sparse in [false, true] {
        let target = fixture.target_with(Options { sparse, ..Options::numeric(false) });
        let mut content = vec![0; 2 << 20];
        content[..10].fill(1);
        content[1 << 20] = 1;
        let mut file = target.files().create(b"zeros", &attributes(0o600)).unwrap();
        content.chunks(300_000).for_each(|piece| file.write(piece).unwrap());
        file.hole(1 << 20).unwrap();
        file.finish(&attributes(0o600)).unwrap();
        content.resize(3 << 20, 0);
        let path = fixture.root().join("zeros");
        assert!(fs::read(&path).unwrap() == content);
        let taken = fs::metadata(&path).unwrap().blocks() * 512;
        assert_eq!(taken < 512 << 10, sparse, "{taken} bytes");

        let mut file = target.files().create(b"placed", &attributes(0o600)).unwrap();
        for (number, piece) in content.chunks(1 << 18).enumerate() {
            file.write_at((number << 18) as u64, piece).unwrap();
        }
        file.set_length(content.len() as u64).unwrap();
        file.finish(&attributes(0o600)).unwrap();
        let path = fixture.root().join("placed");
        assert!(fs::read(&path).unwrap() == content);
        assert_eq!(fs::metadata(&path).unwrap().blocks() * 512 < 512 << 10, sparse);
    }
}

#[test]
fn below_a_base_nothing_else_can_be_named() {
    let fixture = Fixture::new();
    let mut target = fixture.target();
    target.set_base(b"a/b").unwrap();
    target.directory(b"a/b").unwrap();
    target.directory_attributes(b"a/b", attributes(0o711)).unwrap();
    target.directory(b"a/b/c").unwrap();
    target.directory_attributes(b"a/b/c", attributes(0o705)).unwrap();
    target.files().create(b"a/b/c/f", &attributes(0o600)).unwrap().finish(&attributes(0o600)).unwrap();
    target.hard_link(b"a/b/g", b"a/b/c/f").unwrap();
    assert_eq!(target.names(b"a/b").unwrap(), [b"c".to_vec(), b"g".to_vec()]);
    assert!(matches!(target.standing(b"a/b/g"), Ok(Standing::Entry(_))));
    assert_eq!(target.standing(b"a/b/g/below").unwrap(), Standing::Blocked);
    assert_eq!(target.standing(b"a/b/d/e").unwrap(), Standing::Nothing);
    for outside in [&b"a"[..], b"", b"a/bc", b"g", b"/a/b/c"] {
        assert_eq!(target.standing(outside).map(drop).unwrap_err().kind(), Kind::Invalid);
        assert!(target.directory(outside).is_err() && target.remove(outside).is_err());
        assert!(
            target.names(outside).is_err() && target.directory_attributes(outside, attributes(0)).is_err()
        );
        assert!(target.files().create(outside, &attributes(0o600)).is_err());
    }
    target.finish().unwrap();
    let mode = |path: &str| fs::metadata(fixture.root().join(path)).unwrap().mode() & 0o777;
    assert_eq!((mode(""), mode("c"), mode("g")), (0o711, 0o705, 0o600));
}

#[test]
fn what_is_spared_stays_with_the_directories_above_it() {
    let fixture = Fixture::new();
    let mut target = fixture.target();
    for path in ["d/a/keep", "d/a/go", "d/b/go", "d/c/keep/below", "d/c/go", "d/keep"] {
        let file = target.file(path.as_bytes(), &attributes(0o600)).unwrap();
        file.finish(&attributes(0o600)).unwrap();
    }
    let spared =
        |path: &[u8], is_directory: bool| path.ends_with(b"keep") && (is_directory || path != b"d/c/keep");
    target.remove_sparing(b"d", &spared).unwrap();
    let at = |path: &str| fixture.root().join(path).exists();
    assert!(at("d/a/keep") && at("d/c/keep/below") && at("d/keep"));
    assert!(!at("d/a/go") && !at("d/b") && !at("d/c/go"));
    target.remove_sparing(b"d/keep", &spared).unwrap();
    assert!(at("d/keep"));
    target.remove(b"d").unwrap();
    assert!(!at("d"));
    assert_eq!(fixture.monitor.problems(), []);
}
