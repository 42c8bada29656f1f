//! Paths below a root: bytes, `a/b/c`, checked before anything is looked up.
//!
//! Invariant: a path that passed has only plain components, so that walking it by handles can only go down.

use crate::error::{Error, Kind, Result};
use crate::limits::{DEPTH_MAX, PATH_BYTES};
use crate::tree::directory::lossy;

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
