//! What is left out of a backup: gitignore patterns anchored at the root of the source, cache directories, and directories
//! with a marker file.
//!
//! Patterns mean what `man gitignore` says, and match names of any bytes. The walk asks from the top down and never descends
//! into what is excluded, so nothing below an excluded directory is re-included, as with git. What cannot be read for a
//! decision (a tag, say) is kept: a file too many is better than a file that is missed.
//!
//! Cache directories: <https://bford.info/cachedir/>.

use super::attributes::{FileKind, Metadata};
use super::directory::Directory;
use super::listing::{Entry, Listing};
use super::tar_pattern::TarPattern;
use crate::error::{Error, Result};
use ignore::gitignore::{Gitignore, GitignoreBuilder};
use std::ffi::OsStr;
use std::io::Read;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

const CACHE_TAG: &[u8] = b"CACHEDIR.TAG";
const CACHE_SIGNATURE: &[u8] = b"Signature: 8a477f597d28d172789f06886806bc55";

/// The root that patterns are anchored at; `.` makes the matcher take paths as they are.
const ROOT: &str = ".";

/// Says which entries of a source are left out.
#[derive(Debug, Clone)]
pub struct Filter {
    builder: GitignoreBuilder,
    matcher: Gitignore,
    caches: bool,
    markers: Vec<Vec<u8>>,
    repositories: Vec<(u64, u64)>,
    tar: Vec<TarPattern>,
}

impl Filter {
    /// Leaves nothing out.
    pub fn none() -> Self {
        let mut builder = GitignoreBuilder::new(ROOT);
        // By default `[a` would be taken for a plain name, and a slip of the pen would exclude nothing.
        builder.allow_unclosed_class(false);
        Filter {
            builder,
            matcher: Gitignore::empty(),
            caches: false,
            markers: Vec::new(),
            repositories: Vec::new(),
            tar: Vec::new(),
        }
    }

    /// Leaves out what a pattern of tar's `--exclude` matches, which is not what the same letters mean in a `.gitignore`.
    ///
    /// # Errors
    /// `Invalid` for a pattern of no letters, and for one that is too long.
    pub fn exclude_as_tar(mut self, pattern: &[u8]) -> Result<Self> {
        self.tar.push(TarPattern::new(pattern)?);
        Ok(self)
    }

    /// Adds gitignore patterns after those given before; a later pattern beats an earlier one.
    ///
    /// Empty patterns and those that begin with `#` mean nothing, as in a file of them.
    ///
    /// # Errors
    /// `Invalid`, naming the first pattern that cannot be understood.
    pub fn exclude<P: AsRef<str>>(mut self, patterns: impl IntoIterator<Item = P>) -> Result<Self> {
        for pattern in patterns {
            let pattern = pattern.as_ref();
            self.builder.add_line(None, pattern).map_err(|e| {
                Error::invalid("not a pattern to exclude by:", format!("{pattern:?}")).because(e)
            })?;
        }
        self.matcher =
            self.builder.build().map_err(|e| Error::invalid("cannot use", "these patterns").because(e))?;
        Ok(self)
    }

    /// Whether the contents of a directory with a valid `CACHEDIR.TAG` are left out; the directory and the tag stay.
    #[must_use]
    pub fn exclude_caches(mut self, yes: bool) -> Self {
        self.caches = yes;
        self
    }

    /// Leaves out the contents of every directory that holds an entry called `marker`; the directory and the marker stay.
    /// May be called for several markers.
    #[must_use]
    pub fn exclude_if_present(mut self, marker: impl Into<Vec<u8>>) -> Self {
        self.markers.push(marker.into());
        self
    }

    /// Leaves out the contents of the repository that is written to, should it lie in the source: known by device and inode,
    /// wherever it is met. Otherwise each backup would hold those before it.
    #[must_use]
    pub fn without_repository(mut self, device: u64, inode: u64) -> Self {
        self.repositories.push((device, inode));
        self
    }

    /// Whether this directory is the repository that is left out.
    pub(super) fn is_repository(&self, directory: &Metadata) -> bool {
        self.repositories.contains(&(directory.device, directory.inode))
    }

    /// Whether the patterns leave out the entry at `path` (relative to the root of the source, without `./` before it or a
    /// slash behind it). Directories above it are taken to be included.
    pub fn excludes(&self, path: &[u8], is_directory: bool) -> bool {
        self.matcher.matched(Path::new(OsStr::from_bytes(path)), is_directory).is_ignore()
            || self.tar.iter().any(|pattern| pattern.matches(path))
    }

    /// Takes out of the listing of `directory`, which lies at `path`, everything that is left out. Kinds must be resolved.
    pub(super) fn apply(&self, directory: &Directory, path: &[u8], listing: &mut Listing) {
        if let Some(marker) = self.marker(directory, listing) {
            listing.retain(|entry| entry.name == marker);
        }
        if self.matcher.is_empty() && self.tar.is_empty() {
            return;
        }
        let mut below = path.to_vec();
        if !below.is_empty() {
            below.push(b'/');
        }
        let prefix = below.len();
        listing.retain(|entry| {
            below.truncate(prefix);
            below.extend_from_slice(entry.name);
            !self.excludes(&below, entry.is_directory())
        });
    }

    /// The entry for whose sake all others of the directory are left out.
    fn marker(&self, directory: &Directory, listing: &Listing) -> Option<Vec<u8>> {
        let tag = || listing.find(CACHE_TAG).filter(|tag| is_cache_tag(directory, *tag));
        let cache = if self.caches { tag() } else { None };
        let mut markers = self.markers.iter().filter_map(|marker| listing.find(marker));
        cache.or_else(|| markers.next()).map(|entry| entry.name.to_vec())
    }
}

impl Default for Filter {
    fn default() -> Self {
        Filter::none()
    }
}

/// Only a regular file with the signature at its very start makes a cache directory.
fn is_cache_tag(directory: &Directory, tag: Entry<'_>) -> bool {
    if tag.kind != Some(FileKind::File) {
        return false;
    }
    let mut start = [0; CACHE_SIGNATURE.len()];
    let read = directory.open_file(tag.name).and_then(|mut file| {
        file.read_exact(&mut start).map_err(|e| Error::io("cannot read", "a cache tag", e))
    });
    read.is_ok() && start == CACHE_SIGNATURE
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::Kind;
    use proptest::prelude::*;

    /// Patterns, the path asked for (a directory when it ends with a slash), and whether it is left out.
    const CASES: &[(&[&str], &[u8], bool)] = &[
        (&["*.o"], b"a.o", true),
        (&["*.o"], b"deep/down/a.o", true),
        (&["*.o"], b"a.o/", true),
        (&["*.o"], b"a.oo", false),
        (&["*.o"], b"a.O", false),
        (&["*.o"], b".o", true),
        (&["/build"], b"build/", true),
        (&["/build"], b"build", true),
        (&["/build"], b"sub/build", false),
        (&["build/"], b"build/", true),
        (&["build/"], b"sub/build/", true),
        (&["build/"], b"build", false),
        (&["sub/build"], b"sub/build", true),
        (&["sub/build"], b"other/sub/build", false),
        (&["a/**/b"], b"a/b", true),
        (&["a/**/b"], b"a/x/b", true),
        (&["a/**/b"], b"a/x/y/b", true),
        (&["a/**/b"], b"c/a/b", false),
        (&["**/cache"], b"x/y/cache/", true),
        (&["logs/**"], b"logs/", false),
        (&["logs/**"], b"logs/today", true),
        (&["*.o", "!keep.o"], b"keep.o", false),
        (&["*.o", "!keep.o"], b"sub/keep.o", false),
        (&["*.o", "!keep.o"], b"drop.o", true),
        (&["!keep.o", "*.o"], b"keep.o", true),
        (&["/*", "!/home/"], b"home/", false),
        (&["/*", "!/home/"], b"etc/", true),
        (&["/*", "!/home/"], b"home/user", false),
        (&["tmp?"], b"tmp1", true),
        (&["tmp?"], b"tmp", false),
        (&["tmp[0-9]"], b"tmp7", true),
        (&["tmp[!0-9]"], b"tmp7", false),
        (&["a*b"], b"a/b", false),
        (&["*.o"], b"line\nbreak.o", true),
        (&["line*"], b"line\nbreak", true),
        (&["*.o"], b"latin-\xe9\xff.o", true),
        (&["latin-*"], b"dir\xfe/latin-\xe9", true),
        (&["\u{e9}t\u{e9}"], "\u{e9}t\u{e9}".as_bytes(), true),
        (&["\\!bang"], b"!bang", true),
        (&["\\#hash"], b"#hash", true),
        (&["#hash"], b"#hash", false),
        (&["", "  "], b"a", false),
        (&["two words"], b"two words", true),
        (&["trailing "], b"trailing", true),
        (&["\\*"], b"*", true),
        (&["\\*"], b"a", false),
        (&[".*"], b".hidden", true),
        (&[".*"], b"plain", false),
        (&["*"], b"lost+found/", true),
        (&[], b"anything", false),
    ];

    #[test]
    fn patterns_mean_what_users_of_git_expect() {
        for (patterns, path, expected) in CASES {
            let filter = Filter::none().exclude(*patterns).unwrap();
            let is_directory = path.ends_with(b"/");
            let bare = path.strip_suffix(b"/").unwrap_or(path);
            assert_eq!(filter.excludes(bare, is_directory), *expected, "{patterns:?} {path:?}");
        }
    }

    #[test]
    fn a_bad_pattern_is_named() {
        for bad in ["[z-a]", "a[", "x{a", "\\"] {
            let error = Filter::none().exclude(["*.o", bad]).map(|_| bad).unwrap_err();
            assert_eq!(error.kind(), Kind::Invalid);
            assert!(error.subject().contains(&format!("{bad:?}")), "{error}");
        }
    }

    #[test]
    fn patterns_can_be_added_in_several_steps() {
        let filter = Filter::none().exclude(["*.o"]).unwrap().exclude(["!keep.o"]).unwrap();
        assert!(filter.excludes(b"drop.o", false) && !filter.excludes(b"keep.o", false));
    }

    /// The names that are left of a directory with a sub-directory `sub` and these files.
    fn left(filter: &Filter, files: &[(&str, &[u8])]) -> Vec<String> {
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir(folder.path().join("sub")).unwrap();
        for (name, content) in files {
            std::fs::write(folder.path().join(name), content).unwrap();
        }
        let directory = Directory::open(folder.path()).unwrap();
        let mut listing = Listing::read(&directory).unwrap();
        filter.apply(&directory, b"x", &mut listing);
        listing.iter().map(|entry| String::from_utf8_lossy(entry.name).into_owned()).collect()
    }

    #[test]
    fn of_a_cache_directory_only_the_tag_stays() {
        let filter = Filter::none().exclude_caches(true);
        let tag = [CACHE_SIGNATURE, b"\n# comment"].concat();
        let name = "CACHEDIR.TAG";
        assert_eq!(left(&filter, &[(name, &tag), ("a", b"")]), [name]);
        assert_eq!(left(&filter, &[(name, CACHE_SIGNATURE)]), [name]);
        assert_eq!(left(&filter, &[(name, b"Signature: 8a477f59"), ("a", b"")]), [name, "a", "sub"]);
        assert_eq!(left(&filter, &[(name, &[b" ", &tag[..]].concat())]), [name, "sub"]);
        assert_eq!(left(&Filter::none(), &[(name, &tag), ("a", b"")]), [name, "a", "sub"]);
    }

    #[test]
    fn a_tag_that_is_a_link_or_a_directory_is_no_tag() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("real"), CACHE_SIGNATURE).unwrap();
        std::os::unix::fs::symlink("real", folder.path().join("CACHEDIR.TAG")).unwrap();
        let directory = Directory::open(folder.path()).unwrap();
        let mut listing = Listing::read(&directory).unwrap();
        Filter::none().exclude_caches(true).apply(&directory, b"", &mut listing);
        assert_eq!(listing.len(), 2);
    }

    #[test]
    fn of_a_marked_directory_only_the_marker_stays() {
        let filter = Filter::none().exclude_if_present(".nobackup").exclude_if_present("skip");
        assert_eq!(left(&filter, &[(".nobackup", b""), ("a", b"")]), [".nobackup"]);
        assert_eq!(left(&filter, &[("skip", b""), ("a", b"")]), ["skip"]);
        assert_eq!(left(&filter, &[("skipped", b""), ("a", b"")]), ["a", "skipped", "sub"]);
        assert_eq!(left(&filter.exclude(["skip"]).unwrap(), &[("skip", b""), ("a", b"")]), [""; 0]);
    }

    #[test]
    fn patterns_are_anchored_at_the_root_and_not_at_the_directory() {
        assert_eq!(left(&Filter::none().exclude(["/a"]).unwrap(), &[("a", b"")]), ["a", "sub"]);
        assert_eq!(left(&Filter::none().exclude(["/x/a"]).unwrap(), &[("a", b"")]), ["sub"]);
        assert_eq!(left(&Filter::none().exclude(["sub/"]).unwrap(), &[("a", b"")]), ["a"]);
    }

    proptest! {
        #[test]
        fn a_name_without_special_characters_excludes_itself_at_any_depth(
            name in "[a-z0-9_+,.~ -]{0,8}[a-z0-9]", above in proptest::collection::vec("[a-z]{1,4}", 0..4)
        ) {
            let filter = Filter::none().exclude([&name]).unwrap();
            let path = above.iter().chain([&name]).map(String::as_str).collect::<Vec<_>>().join("/");
            prop_assert!(filter.excludes(path.as_bytes(), false));
            let longer = path + "x";
            prop_assert!(!filter.excludes(longer.as_bytes(), false));
        }

        #[test]
        fn no_bytes_of_a_path_make_it_panic(path in proptest::collection::vec(1u8.., 1..60)) {
            let filter = Filter::none().exclude(["*.o", "/a/**/b", "!c?", "[a-f]*"]).unwrap();
            filter.excludes(&path, true);
        }
    }
}
