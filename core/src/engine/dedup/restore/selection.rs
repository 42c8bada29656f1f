//! What is wanted of a tree: stretches of it, in its order.

use super::super::tree::{self, Chunks, Cursor, Key};
use super::losses::{Side, concerns_one};
use crate::engine::wanted::{Chosen, Place, Wanted, not_there};
use crate::error::Result;
use crate::repository::vault::ChunkId;
use crate::tree::attributes::FileKind;
use crate::tree::directory::lossy;

/// A stretch of the tree.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Part {
    /// A directory and everything below it.
    Below(Vec<u8>),
    /// An entry that is no directory.
    One(Vec<u8>),
}

/// What is wanted.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Selection {
    /// Directories above what is wanted, those above others first.
    pub above: Vec<Vec<u8>>,
    /// What is wanted, in the order of the tree, without overlap.
    pub parts: Vec<Part>,
}

impl Part {
    /// Where it is.
    pub fn path(&self) -> &[u8] {
        match self {
            Part::Below(path) | Part::One(path) => path,
        }
    }

    /// Whether it is a directory.
    pub fn is_directory(&self) -> bool {
        matches!(self, Part::Below(_))
    }

    /// Where it begins.
    pub fn start(&self) -> Key<'_> {
        match self {
            Part::Below(path) => Key { directory: path, name: b"" },
            Part::One(path) => {
                let (directory, name) = split(path);
                Key { directory, name }
            }
        }
    }

    /// Whether an entry behind its start belongs to it.
    pub fn holds(&self, key: Key<'_>) -> bool {
        match self {
            Part::Below(path) => below(key.directory, path),
            Part::One(_) => key == self.start(),
        }
    }
}

impl Selection {
    /// Looks the wanted paths up. Where there are patterns the whole is one part, of which the walk takes what they match.
    ///
    /// # Errors
    /// `NotFound` naming all that are not in the tree, and all patterns that nothing in it matches; as the storage has it.
    pub fn find(chunks: &dyn Chunks, root: &ChunkId, chosen: &Chosen) -> Result<Selection> {
        let everything = Selection { above: Vec::new(), parts: vec![Part::Below(chosen.root().to_vec())] };
        let (mut parts, mut missing) = (Vec::new(), Vec::new());
        for path in chosen.paths() {
            match tree::find(chunks, root, path)? {
                Some(entry) if entry.kind == FileKind::Directory => parts.push(Part::Below(path.clone())),
                Some(_) => parts.push(Part::One(path.clone())),
                None => missing.push(lossy(path)),
            }
        }
        if !chosen.patterns.is_empty() {
            missing.extend(unmatched(chunks, root, chosen)?);
        }
        if !missing.is_empty() {
            return Err(not_there(&missing));
        }
        if parts.is_empty() || !chosen.patterns.is_empty() || chosen.paths().iter().any(Vec::is_empty) {
            return Ok(everything);
        }
        // Nor is anything made above what is left out.
        parts.retain(|part| !chosen.excludes(part.path(), part.is_directory()));
        let mut selection = Selection::of(parts);
        selection.above.retain(|path| chosen.is_above(path));
        Ok(selection)
    }

    fn of(mut parts: Vec<Part>) -> Selection {
        parts.sort_by(|a, b| a.start().cmp(&b.start()));
        parts.dedup();
        let covers: Vec<Vec<u8>> = parts
            .iter()
            .filter_map(|part| if let Part::Below(path) = part { Some(path.clone()) } else { None })
            .collect();
        let covered =
            |path: &[u8]| ancestors(path).any(|above| covers.binary_search_by(|c| order(c, above)).is_ok());
        parts.retain(|part| !covered(part.path()));
        let mut above: Vec<Vec<u8>> =
            parts.iter().flat_map(|part| ancestors(part.path())).map(<[u8]>::to_vec).collect();
        above.sort_by(|a, b| order(a, b));
        above.dedup();
        Selection { above, parts }
    }
}

/// What is wanted of the tree with this root.
///
/// # Errors
/// As [`Wanted::choose`] has it, and the storage.
pub(super) fn choose(chunks: &dyn Chunks, root: &ChunkId, wanted: &Wanted) -> Result<Chosen> {
    wanted.choose(&mut |path| {
        let found = tree::find(chunks, root, path)?;
        Ok(found.map_or(Place::Nothing, |entry| match entry.kind {
            FileKind::Directory => Place::Directory,
            _ => Place::Other,
        }))
    })
}

/// The patterns that match nothing in the tree. What cannot be read of it is told when it is restored.
fn unmatched(chunks: &dyn Chunks, root: &ChunkId, chosen: &Chosen) -> Result<Vec<String>> {
    let mut matched = vec![false; chosen.patterns.len()];
    let part = Part::Below(chosen.root().to_vec());
    let mut cursor = Cursor::new(chunks, root)?;
    let mut sought = cursor.seek(part.start());
    while matched.contains(&false) {
        let found = match sought {
            Ok(()) => cursor.peek(),
            Err(error) => Err(error),
        };
        match found {
            Ok(Some((key, entry))) if part.holds(key) => {
                let path = path_of(key);
                let numbers = chosen.matching(&path, entry.kind == FileKind::Directory);
                numbers.for_each(|number| matched[number] = true);
                cursor.advance();
                sought = Ok(());
            }
            Ok(_) => break,
            Err(error) if concerns_one(&error, Side::Stored) => {
                if cursor.skip().is_none() {
                    return Err(error);
                }
                sought = cursor.seek(part.start());
            }
            Err(error) => return Err(error),
        }
    }
    let patterns = chosen.patterns.iter().zip(matched);
    Ok(patterns.filter(|(_, matched)| !matched).map(|(pattern, _)| pattern.text.clone()).collect())
}

/// The order of directories in a tree.
fn order(a: &[u8], b: &[u8]) -> std::cmp::Ordering {
    Key { directory: a, name: b"" }.cmp(&Key { directory: b, name: b"" })
}

/// The directories above a path, the root first.
fn ancestors(path: &[u8]) -> impl Iterator<Item = &[u8]> {
    let slashes = path.iter().enumerate().filter(|(_, byte)| **byte == b'/').map(|(end, _)| &path[..end]);
    std::iter::once(&b""[..]).filter(|_| !path.is_empty()).chain(slashes)
}

/// A path as its directory and its last name.
pub(super) fn split(path: &[u8]) -> (&[u8], &[u8]) {
    match path.iter().rposition(|byte| *byte == b'/') {
        Some(slash) => (&path[..slash], &path[slash + 1..]),
        None => (b"", path),
    }
}

/// Whether `path` is `ancestor` or lies below it.
fn below(path: &[u8], ancestor: &[u8]) -> bool {
    let rest = path.strip_prefix(ancestor);
    rest.is_some_and(|rest| ancestor.is_empty() || rest.is_empty() || rest.starts_with(b"/"))
}

/// The path of an entry.
pub(super) fn path_of(key: Key<'_>) -> Vec<u8> {
    match (key.directory, key.name) {
        (directory, b"") => directory.to_vec(),
        (b"", name) => name.to_vec(),
        (directory, name) => [directory, b"/", name].concat(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn paths(paths: &[&str]) -> Vec<Vec<u8>> {
        paths.iter().map(|path| path.as_bytes().to_vec()).collect()
    }

    #[test]
    fn parts_come_in_the_order_of_the_tree_and_without_overlap() {
        let part = |path: &str| Part::Below(path.as_bytes().to_vec());
        let one = |path: &str| Part::One(path.as_bytes().to_vec());
        let selection = Selection::of(vec![
            part("b/c"),
            one("b/c/f"),
            part("a-b"),
            part("a"),
            one("z"),
            part("a/x"),
            part("b/c"),
            one("d/e/f"),
        ]);
        assert_eq!(selection.parts, [one("z"), part("a"), part("a-b"), part("b/c"), one("d/e/f")]);
        assert_eq!(selection.above, paths(&["", "b", "d", "d/e"]));
    }

    #[test]
    fn a_part_holds_what_is_below_it_and_nothing_beside_it() {
        let part = Part::Below(b"a".to_vec());
        for (directory, name, held) in
            [("a", "", true), ("a", "x", true), ("a/b", "", true), ("a-b", "", false), ("", "a", false)]
        {
            let key = Key { directory: directory.as_bytes(), name: name.as_bytes() };
            assert_eq!(part.holds(key), held, "{key:?}");
        }
        let one = Part::One(b"a/x".to_vec());
        assert!(
            one.holds(Key { directory: b"a", name: b"x" }) && !one.holds(Key { directory: b"a", name: b"y" })
        );
    }

    #[test]
    fn paths_are_put_together_from_their_keys() {
        for (directory, name, path) in
            [("", "", ""), ("a/b", "", "a/b"), ("", "f", "f"), ("a/b", "f", "a/b/f")]
        {
            let key = Key { directory: directory.as_bytes(), name: name.as_bytes() };
            assert_eq!(path_of(key), path.as_bytes());
        }
    }
}
