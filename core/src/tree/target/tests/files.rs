//! Files made by several threads at once, and content that comes in any order.

use super::*;
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
    assert_eq!(
        files.same(b"link/precious", 8, &attributes(0o600)).map(drop).unwrap_err().kind(),
        Kind::Invalid
    );
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
fn the_same_file_is_known_by_everything_but_its_content() {
    let fixture = Fixture::new();
    let target = fixture.target();
    let mut files = target.files();
    let wanted = Attributes { xattrs: vec![(b"user.a".to_vec(), b"1".to_vec())], ..attributes(0o640) };
    let mut file = files.create(b"d/f", &wanted).unwrap();
    file.write(b"content").unwrap();
    file.finish(&wanted).unwrap();
    let mut is_same =
        |path: &[u8], size, attributes: &Attributes| files.same(path, size, attributes).unwrap().is_some();
    assert!(is_same(b"d/f", 7, &wanted));
    assert!(!is_same(b"d/f", 8, &wanted) && !is_same(b"d/g", 7, &wanted) && !is_same(b"d", 7, &wanted));
    assert!(!is_same(b"d/f", 7, &attributes(0o640)), "an attribute too many");
    let other = Attributes { xattrs: vec![(b"user.a".to_vec(), b"2".to_vec())], ..wanted.clone() };
    assert!(!is_same(b"d/f", 7, &other));
    assert!(!is_same(b"d/f", 7, &Attributes { mode: 0o600, ..wanted.clone() }));
    assert!(!is_same(b"d/f", 7, &Attributes { mtime: FileTime::new(1, 0), ..wanted.clone() }));
    fs::hard_link(fixture.root().join("d/f"), fixture.root().join("other")).unwrap();
    assert!(!is_same(b"d/f", 7, &wanted), "it has another name");
    assert_eq!(fs::metadata(fixture.root().join("d/f")).unwrap().nlink(), 2);
}
