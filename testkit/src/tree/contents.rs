//! What a new tree holds: a directory for every family of things that a backup must keep.

use super::Tree;
use super::attributes::{
    ACCESS_ACL, DEFAULT_ACL, acl, capability, make_device, make_fifo, set_mode, set_mtime, set_xattr,
};
use crate::handle::Handle;
use std::ffi::OsStr;
use std::fs::{self, File};
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileExt, lchown, symlink};
use std::os::unix::net::UnixListener;

/// Names that trip programs which take names for text, options, patterns or lines.
const NAMES: [&[u8]; 16] = [
    b"new\nline",
    b"back\\slash",
    b"back\\nslash-n",
    b"\"double\"",
    b"'single'",
    b"-leading-dash",
    b"--checkpoint-action=exec=false",
    b"not-utf8-\xff\xfe\x80",
    b"trailing space ",
    b" ",
    b"{mode}",
    b"star*[a]?",
    b"tab\there",
    b"\x01\x7f control",
    "ünïcode-雪".as_bytes(),
    b"...",
];

impl Tree {
    pub(super) fn fill(&mut self) -> io::Result<()> {
        self.files()?;
        self.directories()?;
        self.symlinks()?;
        self.hard_links()?;
        self.special_files()?;
        self.sparse_files()?;
        self.names()?;
        self.stage_for_changes()?;
        if self.features.long_paths {
            self.long_path()?;
        }
        self.attributes()?;
        set_mtime(&self.root, 1_234_567_890, 987_654_321)
    }

    fn files(&mut self) -> io::Result<()> {
        fs::create_dir(self.at("content"))?;
        fs::write(self.at("content/zero"), "")?;
        fs::write(self.at("content/small.txt"), "a small file\n")?;
        fs::write(self.at("content/untouched.txt"), "never changed by any step\n")?;
        let text = self.random.text(300_000);
        fs::write(self.at("content/text.log"), text)?;
        for size in [511, 512, 513, 10_239, 10_240, 1 << 20, (1 << 20) + 1] {
            let bytes = self.random.bytes(size);
            fs::write(self.at(&format!("content/size-{size}")), bytes)?;
        }
        if self.features.large_files {
            let bytes = self.random.bytes(6 << 20);
            fs::write(self.at("content/large.bin"), bytes)?;
        }
        Ok(())
    }

    fn directories(&mut self) -> io::Result<()> {
        fs::create_dir_all(self.at("directories/empty"))?;
        let mut deep = self.at("directories/deep");
        (1..=40).for_each(|level| deep.push(level.to_string()));
        fs::create_dir_all(&deep)?;
        fs::write(deep.join("leaf"), "at the bottom\n")?;
        let many = self.at("directories/many");
        fs::create_dir(&many)?;
        (0..200).try_for_each(|n| fs::write(many.join(format!("file-{n:04}")), format!("{n}\n")))
    }

    fn symlinks(&mut self) -> io::Result<()> {
        fs::create_dir(self.at("links"))?;
        symlink("nowhere/at/all", self.at("links/dangling"))?;
        symlink("../content", self.at("links/to-directory"))?;
        symlink("../content/small.txt", self.at("links/to-file"))?;
        symlink("/etc/hostname", self.at("links/absolute"))?;
        symlink("x/".repeat(500), self.at("links/long-target"))?;
        symlink(OsStr::from_bytes(b"raw-\xff\n-target"), self.at("links/raw-target"))?;
        set_mtime(&self.at("links/dangling"), 1_000_000_000, 123_456_789)
    }

    fn hard_links(&mut self) -> io::Result<()> {
        fs::create_dir_all(self.at("hard/sub"))?;
        fs::write(self.at("hard/a"), "one inode, three names\n")?;
        fs::hard_link(self.at("hard/a"), self.at("hard/b"))?;
        fs::hard_link(self.at("hard/a"), self.at("hard/sub/c"))?;
        fs::write(self.at("hard/one"), "one inode, two names\n")?;
        fs::hard_link(self.at("hard/one"), self.at("links/two"))?;
        symlink("a", self.at("hard/link-1"))?;
        rustix::fs::linkat(
            rustix::fs::CWD,
            self.at("hard/link-1"),
            rustix::fs::CWD,
            self.at("hard/link-2"),
            rustix::fs::AtFlags::empty(),
        )?;
        Ok(())
    }

    fn special_files(&mut self) -> io::Result<()> {
        fs::create_dir(self.at("special"))?;
        make_fifo(&self.at("special/fifo"))?;
        if self.privileged && self.features.devices {
            make_device(&self.at("special/char"), false, 1, 3)?;
            make_device(&self.at("special/block"), true, 7, 200)?;
        }
        if self.features.sockets {
            let special = Handle::open(&self.at("special"))?;
            UnixListener::bind(special.path(b"socket"))?;
        }
        Ok(())
    }

    fn sparse_files(&mut self) -> io::Result<()> {
        const SIZE_BYTES: u64 = 8 << 20;
        fs::create_dir(self.at("sparse"))?;
        let mut file = |name: &str, data_at: &[u64], size_bytes: u64| -> io::Result<()> {
            let file = File::create(self.root.join("sparse").join(name))?;
            file.set_len(size_bytes)?;
            data_at.iter().try_for_each(|offset| file.write_all_at(&self.random.bytes(9000), *offset))
        };
        file("leading-hole", &[SIZE_BYTES - 9000], SIZE_BYTES)?;
        file("trailing-hole", &[0], SIZE_BYTES + 17)?;
        file("middle-hole", &[0, SIZE_BYTES - 9000], SIZE_BYTES)?;
        file("all-hole", &[], SIZE_BYTES)?;
        let offsets: Vec<u64> = (0..40).map(|n| n * 200_000 + 65_536).collect();
        file("many-holes", &offsets, 40 * 200_000 + 65_536)
    }

    fn names(&mut self) -> io::Result<()> {
        fs::create_dir(self.at("names"))?;
        let names = Handle::open(&self.at("names"))?;
        for name in NAMES {
            fs::write(names.path(name), name)?;
            let mut directory = b"d".to_vec();
            directory.extend_from_slice(name);
            fs::write(names.make_child(&directory)?.path(name), "inside")?;
        }
        fs::write(names.path(&[b'n'; 255]), "255 bytes")?;
        fs::write(names.make_child(&[b'm'; 255])?.path(&[b'n'; 255]), "a path of 511 bytes")?;
        symlink("target", names.path(b"-link\nwith line"))
    }

    /// Twenty directories of 250 bytes: more than PATH_MAX (4096) by far.
    fn long_path(&mut self) -> io::Result<()> {
        let mut place = Handle::open(&self.root)?.make_child(b"long")?;
        for level in 0..20u8 {
            let mut name = vec![b'a' + level; 250];
            name[0] = b'L';
            place = place.make_child(&name)?;
        }
        fs::write(place.path(b"at-the-end"), "beyond PATH_MAX\n")?;
        fs::hard_link(place.path(b"at-the-end"), place.path(b"its-other-name"))?;
        symlink("at-the-end", place.path(b"link"))
    }

    /// What [`Tree::mutate`] will change.
    fn stage_for_changes(&mut self) -> io::Result<()> {
        for directory in [
            "flip/directory/below",
            "flip/link-to-be",
            "move/docs/sub",
            "move/swap-a",
            "move/swap-b",
            "move/cycle-1",
            "move/cycle-2",
            "move/cycle-3",
            "move/target",
            "move/gone/below",
            "time",
        ] {
            fs::create_dir_all(self.at(directory))?;
        }
        for (path, content) in [
            ("flip/file", "to be a directory"),
            ("flip/other-file", "to be a link"),
            ("flip/directory/below/x", "to go with its directory"),
            ("flip/link-to-be/y", "to go too"),
            ("move/docs/a.txt", "moves with its directory"),
            ("move/docs/sub/b.txt", "moves further down"),
            ("move/swap-a/1", "first in a"),
            ("move/swap-b/2", "first in b"),
            ("move/cycle-1/x", "one"),
            ("move/cycle-2/x", "two"),
            ("move/cycle-3/x", "three"),
            ("move/file", "is renamed"),
            ("move/gone/below/file", "is deleted"),
            ("time/set-back", "AAAA"),
            ("time/same-size", "1111"),
            ("time/attributes", "only attributes change"),
        ] {
            fs::write(self.at(path), content)?;
        }
        symlink("../content", self.at("flip/link"))?;
        symlink("../move/docs", self.at("flip/link-2"))?;
        set_mtime(&self.at("time/set-back"), 1_500_000_000, 500)
    }

    fn attributes(&mut self) -> io::Result<()> {
        let root = self.at("attributes");
        fs::create_dir(&root)?;
        let file = |name: &str| -> io::Result<_> {
            let path = root.join(name);
            fs::write(&path, name)?;
            Ok(path)
        };
        for (name, seconds, nanoseconds) in [
            ("nanoseconds", 1_700_000_000, 999_999_999),
            ("one-nanosecond", 1_700_000_000, 1),
            ("epoch", 0, 0),
            ("before-1970", -86_400, 0),
            ("before-1970-with-fraction", -2, 250_000_000),
            ("year-2100", 4_102_444_800, 5),
        ] {
            set_mtime(&file(name)?, seconds, nanoseconds)?;
        }
        for mode in [0o400, 0o444, 0o600, 0o711, 0o777, 0o1644, 0o2755, 0o4755, 0o6777] {
            set_mode(&file(&format!("mode-{mode:04o}"))?, mode)?;
        }
        for mode in [0o1777, 0o2775, 0o700] {
            let path = root.join(format!("directory-{mode:04o}"));
            fs::create_dir(&path)?;
            set_mode(&path, mode)?;
        }
        self.extended_attributes()?;
        if self.privileged { self.attributes_of_root() } else { Ok(()) }
    }

    fn extended_attributes(&mut self) -> io::Result<()> {
        let root = self.at("attributes");
        fs::create_dir(root.join("x-directory"))?;
        for name in ["x-user", "x-empty", "x-large", "x-acl"] {
            fs::write(root.join(name), name)?;
        }
        set_xattr(&root.join("x-user"), "user.comment", b"plain text")?;
        set_xattr(&root.join("x-user"), "user.raw=name with space", b"\0binary\n\xff=value")?;
        set_xattr(&root.join("x-empty"), "user.empty", b"")?;
        set_xattr(&root.join("x-large"), "user.large", &self.random.bytes(2000))?;
        set_xattr(&root.join("x-directory"), "user.directory", b"yes")?;
        set_xattr(&root.join("x-acl"), ACCESS_ACL, &acl(7, (12_345, 5), 4, 5, 0))?;
        set_xattr(&root.join("x-directory"), ACCESS_ACL, &acl(7, (12_345, 7), 5, 7, 5))?;
        set_xattr(&root.join("x-directory"), DEFAULT_ACL, &acl(7, (54_321, 6), 5, 7, 1))?;
        fs::write(root.join("x-directory/inherits"), "an ACL by default")
    }

    fn attributes_of_root(&mut self) -> io::Result<()> {
        let root = self.at("attributes");
        for (name, uid, gid, mode) in [
            ("owner-daemon", 1, 1, 0o644),
            ("owner-unknown", 123_456, 654_321, 0o640),
            ("owner-large", 4_000_000_000, 4_000_000_001, 0o600),
            ("owner-setuid", 1, 2, 0o6755),
            ("no-access", 0, 0, 0o000),
        ] {
            fs::write(root.join(name), name)?;
            lchown(root.join(name), Some(uid), Some(gid))?;
            set_mode(&root.join(name), mode)?;
        }
        symlink("owner-daemon", root.join("owner-of-link"))?;
        lchown(root.join("owner-of-link"), Some(2), Some(2))?;
        fs::create_dir(root.join("read-only-directory"))?;
        fs::write(root.join("read-only-directory/file"), "below")?;
        set_mode(&root.join("read-only-directory"), 0o555)?;
        for name in ["x-trusted", "x-capability"] {
            fs::write(root.join(name), name)?;
        }
        set_xattr(&root.join("x-trusted"), "trusted.icecore", b"only root sees this")?;
        set_xattr(&root.join("x-capability"), "security.capability", &capability())
    }
}
