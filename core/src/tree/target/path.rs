//! Paths below a root: bytes, `a/b/c`, checked before anything is looked up.
//!
//! Invariant: a path that passed has only plain components, so that walking it by handles can only go down.

use crate::error::{Error, Kind, Result};
use crate::limits::{DEPTH_MAX, PATH_BYTES};
use crate::tree::directory::lossy;
use std::sync::Arc;

/// The components of a checked path; none for the root.
pub(super) fn components(path: &[u8]) -> impl Iterator<Item = &[u8]> {
    path.split(|&byte| byte == b'/').filter(|name| !name.is_empty())
}

/// How many components a checked path has.
pub(super) fn depth(path: &[u8]) -> usize {
    components(path).count()
}

/// Refuses what is not a path below the root: absolute, `.` or `..` or nothing between slashes, NUL, too long or too deep.
/// The empty path is the root.
///
/// # Errors
/// `Invalid` naming the path, or `Limit`.
pub(super) fn check(path: &[u8]) -> Result<()> {
    if path.is_empty() {
        return Ok(());
    }
    if path.len() > PATH_BYTES {
        return Err(Error::new(Kind::Limit, "a path is longer than").on(format!("{PATH_BYTES} bytes")));
    }
    let mut deep = 0;
    for name in path.split(|&byte| byte == b'/') {
        if matches!(name, b"" | b"." | b"..") || name.contains(&0) {
            return Err(Error::invalid("not a path below the target:", lossy(path)));
        }
        deep += 1;
    }
    if deep > DEPTH_MAX {
        return Err(Error::new(Kind::Limit, "a path is deeper than").on(format!("{DEPTH_MAX} directories")));
    }
    Ok(())
}

/// Checks a path and cuts it into its directory and its last name.
///
/// # Errors
/// As [`check`]; `Invalid` for the root, which has no name.
pub(super) fn split(path: &[u8]) -> Result<(&[u8], &[u8])> {
    check(path)?;
    match path.iter().rposition(|&byte| byte == b'/') {
        Some(slash) => Ok((&path[..slash], &path[slash + 1..])),
        None if path.is_empty() => Err(Error::invalid("this cannot be done to", "the target itself")),
        None => Ok((b"", path)),
    }
}

/// What the paths of a backup have in front of those of the target: the directory of which the target gets the content.
#[derive(Debug, Clone, Default)]
pub(super) struct Base(Arc<[u8]>);

impl Base {
    /// Paths below this one.
    ///
    /// # Errors
    /// As [`check`].
    pub fn new(path: &[u8]) -> Result<Base> {
        check(path)?;
        Ok(Base(path.into()))
    }

    /// A path of the backup as one of the target.
    ///
    /// # Errors
    /// `Invalid` for one that does not belong there.
    pub fn place<'p>(&self, path: &'p [u8]) -> Result<&'p [u8]> {
        if !is_within(path, &self.0) {
            return Err(Error::invalid("not below what is restored:", lossy(path)));
        }
        let rest = &path[self.0.len()..];
        if self.0.is_empty() { Ok(rest) } else { Ok(rest.strip_prefix(b"/").unwrap_or(rest)) }
    }

    /// As [`split`], of a path of the backup.
    ///
    /// # Errors
    /// As [`Base::place`] and [`split`].
    pub fn split<'p>(&self, path: &'p [u8]) -> Result<(&'p [u8], &'p [u8])> {
        split(self.place(path)?)
    }
}

/// Whether `path` is `ancestor` or lies below it.
pub(super) fn is_within(path: &[u8], ancestor: &[u8]) -> bool {
    match path.strip_prefix(ancestor) {
        Some(rest) => ancestor.is_empty() || rest.is_empty() || rest.starts_with(b"/"),
        None => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn only_plain_relative_paths_pass() {
        for good in [&b"a"[..], b"a/b", b"...", b".a/..b", b"\xff/ "] {
            assert!(split(good).is_ok(), "{good:?}");
        }
        for bad in [&b"/"[..], b"/a", b"a/", b"a//b", b".", b"./a", b"a/./b", b"..", b"a/..", b"../a", b"a\0"]
        {
            assert_eq!(check(bad).unwrap_err().kind(), Kind::Invalid, "{bad:?}");
        }
        assert!(check(b"").is_ok() && split(b"").is_err());
        assert_eq!(check(&vec![b'a'; PATH_BYTES + 1]).unwrap_err().kind(), Kind::Limit);
        assert_eq!(check(&b"a/".repeat(DEPTH_MAX + 1)[..2 * DEPTH_MAX + 1]).unwrap_err().kind(), Kind::Limit);
    }

    #[test]
    fn a_longer_name_is_not_below_a_shorter_one() {
        assert!(is_within(b"a/b", b"a") && is_within(b"a", b"a") && is_within(b"a", b""));
        assert!(!is_within(b"ab", b"a") && !is_within(b"a", b"a/b"));
    }

    #[test]
    fn what_is_below_the_base_stands_at_the_root_of_the_target() {
        let base = Base::new(b"a/b").unwrap();
        for (path, place) in [("a/b", ""), ("a/b/c", "c"), ("a/b/c/d", "c/d")] {
            assert_eq!(base.place(path.as_bytes()).unwrap(), place.as_bytes());
        }
        for outside in ["", "a", "a/bc", "b", "/a/b"] {
            assert_eq!(base.place(outside.as_bytes()).unwrap_err().kind(), Kind::Invalid, "{outside}");
        }
        // No base lets a path pass that would not pass without one.
        for bad in ["a/b//c", "a/b//", "a/b/../x"] {
            assert!(base.split(bad.as_bytes()).is_err(), "{bad}");
        }
        assert_eq!(Base::default().place(b"/x").unwrap(), b"/x");
        assert!(Base::default().split(b"/x").is_err() && Base::new(b"../x").is_err());
    }

    proptest! {
        #[test]
        fn what_passes_never_climbs(path in proptest::collection::vec(prop::sample::select(b"./a\0".to_vec()), 0..12)) {
            if check(&path).is_ok() {
                prop_assert!(components(&path).all(|name| name != b"." && name != b".." && !name.contains(&0)));
                prop_assert_eq!(components(&path).collect::<Vec<_>>().join(&b'/'), path);
            }
        }
    }
}
