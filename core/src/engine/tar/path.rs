//! Paths of the tree, relative to its root (which is the empty path), and their names inside archives and snapshots.

/// The name of a path of the tree inside an archive: `./a/b`, and `.` for the root.
pub(super) fn stored_name(path: &[u8]) -> Vec<u8> {
    if path.is_empty() { b".".to_vec() } else { [b"./", path].concat() }
}

/// The path in the tree of a stored name: without `/` or `./` at its head and `/` at its end; the root is empty.
pub(super) fn tree_path(stored: &[u8]) -> &[u8] {
    let mut path = without_leading_slashes(stored);
    while let Some(rest) = path.strip_prefix(b"./") {
        path = without_leading_slashes(rest);
    }
    while let Some(rest) = path.strip_suffix(b"/") {
        path = rest;
    }
    if path == b"." { b"" } else { path }
}

fn without_leading_slashes(path: &[u8]) -> &[u8] {
    let first = path.iter().position(|&byte| byte != b'/').unwrap_or(path.len());
    &path[first..]
}

/// `parent/name`, where the parent may be the root.
pub(super) fn join(parent: &[u8], name: &[u8]) -> Vec<u8> {
    if parent.is_empty() { name.to_vec() } else { [parent, b"/", name].concat() }
}

/// What is left of `path` when it is `ancestor` or below it: empty, or starting with a slash.
pub(super) fn below<'p>(path: &'p [u8], ancestor: &[u8]) -> Option<&'p [u8]> {
    if ancestor.is_empty() {
        return Some(path);
    }
    path.strip_prefix(ancestor).filter(|rest| rest.is_empty() || rest[0] == b'/')
}

/// The path without its last component, and that component; `None` for the root.
pub(super) fn split(path: &[u8]) -> Option<(&[u8], &[u8])> {
    if path.is_empty() {
        return None;
    }
    Some(match path.iter().rposition(|&byte| byte == b'/') {
        Some(slash) => (&path[..slash], &path[slash + 1..]),
        None => (b"", path),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stored_names_and_tree_paths_are_inverse() {
        for (path, stored) in [(&b""[..], &b"."[..]), (b"a", b"./a"), (b"a/b c", b"./a/b c")] {
            assert_eq!(stored_name(path), stored);
            assert_eq!(tree_path(stored), path);
        }
        assert_eq!(tree_path(b"./"), b"");
        assert_eq!(tree_path(b"a/"), b"a");
    }

    #[test]
    fn a_path_is_below_its_ancestors_only() {
        assert_eq!(below(b"a/b", b"a"), Some(&b"/b"[..]));
        assert_eq!(below(b"a", b"a"), Some(&b""[..]));
        assert_eq!(below(b"ab", b"a"), None);
        assert_eq!(below(b"ab", b""), Some(&b"ab"[..]));
    }
}
