//! What of a backup is restored: a directory that becomes the target, paths and patterns below it, and what is left out.
//!
//! Invariant: paths that are handed out are those of the backup, from its root. Patterns are those of `.gitignore`, and are
//! relative to what becomes the target, as are the paths that the user gives.

use crate::error::{Error, Kind, Result};
use crate::limits::RESTORE_PATTERNS;
use crate::tree::directory::lossy;
use crate::tree::filter::Filter;
use crate::tree::target::Spare;
use std::collections::BTreeSet;

const NO_SUCH_PATH: &str =
    "paths are relative to what is restored; icecore ls shows them; a pattern has *, ? or [ in it";

/// What the user wants of a backup, before anybody looked into it.
#[derive(Debug, Clone)]
pub struct Wanted {
    base: Vec<u8>,
    include: Vec<Include>,
    exclude: Filter,
    excludes_any: bool,
}

/// A wanted path, or a pattern of some.
#[derive(Debug, Clone)]
struct Include {
    /// As it was given.
    text: Vec<u8>,
    /// As a path below the base.
    path: Vec<u8>,
}

impl Include {
    /// Whether it is a pattern, unless something in the backup is called so.
    fn may_be_pattern(&self) -> bool {
        // Patterns are text.
        self.text.iter().any(|byte| b"*?[".contains(byte)) && std::str::from_utf8(&self.text).is_ok()
    }
}

/// What is at a path of the backup.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Place {
    Nothing,
    Directory,
    Other,
}

impl Wanted {
    /// Everything.
    pub fn everything() -> Wanted {
        Wanted { base: Vec::new(), include: Vec::new(), exclude: Filter::none(), excludes_any: false }
    }

    /// What is at `base`, a path of the backup: if it is a directory, what is in it, and else that entry. Of that only what
    /// `include` names (all of it when that is empty), each a path below the base as it was given and as one of whole
    /// components; nothing that the patterns `exclude` match.
    ///
    /// # Errors
    /// `Invalid` for a pattern that cannot be understood, `Limit` for too many.
    pub fn new(base: Vec<u8>, include: Vec<(Vec<u8>, Vec<u8>)>, exclude: &[String]) -> Result<Wanted> {
        if include.len().max(exclude.len()) > RESTORE_PATTERNS {
            let most = format!("{RESTORE_PATTERNS} paths or patterns");
            return Err(Error::new(Kind::Limit, "more than").on(most));
        }
        let include = include.into_iter().map(|(text, path)| Include { text, path }).collect();
        let excludes_any = !exclude.is_empty();
        Ok(Wanted { base, include, exclude: Filter::none().exclude(exclude)?, excludes_any })
    }

    /// Whether all of the backup is read.
    pub fn is_everything(&self) -> bool {
        self.base.is_empty() && self.include.is_empty()
    }

    /// The paths that have to be looked up before it is known what is wanted.
    pub(super) fn in_doubt(&self) -> Vec<Vec<u8>> {
        let base = (!self.base.is_empty()).then(|| self.base.clone());
        let include = self.include.iter().filter(|include| include.may_be_pattern());
        base.into_iter().chain(include.map(|include| join(&self.base, &include.path))).collect()
    }

    /// What is meant, when `look_up` tells what the backup has at those paths.
    ///
    /// # Errors
    /// `NotFound` without the base; `Invalid` for a pattern that cannot be understood, and for paths below what is no
    /// directory; those of `look_up`.
    pub(super) fn choose(&self, look_up: &mut dyn FnMut(&[u8]) -> Result<Place>) -> Result<Chosen> {
        let whole = if self.base.is_empty() { Place::Directory } else { look_up(&self.base)? };
        let root = match whole {
            Place::Directory => self.base.clone(),
            Place::Other => parent(&self.base).to_vec(),
            Place::Nothing => {
                let missing = Error::new(Kind::NotFound, "the backup has no").on(lossy(&self.base));
                return Err(missing.hint("paths are relative to what was backed up; icecore ls shows them"));
            }
        };
        if whole == Place::Other && !self.include.is_empty() {
            return Err(Error::invalid("nothing can be below what is no directory:", lossy(&self.base)));
        }
        let (mut paths, mut patterns) = (Vec::new(), Vec::new());
        for include in &self.include {
            let path = join(&self.base, &include.path);
            if include.may_be_pattern() && look_up(&path)? == Place::Nothing {
                patterns.push(Pattern::new(&include.text)?);
            } else {
                paths.push(path);
            }
        }
        if self.include.is_empty() && !self.base.is_empty() {
            paths.push(self.base.clone());
        }
        let literal = paths.iter().cloned().collect();
        let exclude = self.excludes_any.then(|| self.exclude.clone());
        let whole_directory = whole == Place::Directory;
        Ok(Chosen { root, whole_directory, paths, literal, patterns, exclude })
    }
}

/// A pattern of wanted paths.
#[derive(Debug, Clone)]
pub(super) struct Pattern {
    pub text: String,
    filter: Filter,
}

impl Pattern {
    fn new(text: &[u8]) -> Result<Pattern> {
        let text = String::from_utf8_lossy(text).into_owned();
        // A shell completes names as ./name; in a pattern that would match nothing.
        let anchored = text.strip_prefix("./").map_or_else(|| text.clone(), |rest| format!("/{rest}"));
        let filter = Filter::none().exclude([&anchored]);
        let filter = filter.map_err(|error| {
            Error::invalid("not a pattern to include by:", format!("{text:?}")).because(error)
        })?;
        Ok(Pattern { text, filter })
    }
}

/// What is wanted of a backup that was looked into.
#[derive(Debug, Clone)]
pub(super) struct Chosen {
    /// The directory of the backup that becomes the target.
    root: Vec<u8>,
    /// Whether that directory gives the target its attributes; not when only an entry of it is wanted.
    whole_directory: bool,
    /// Wanted paths, each with everything below it; without any, and without patterns, everything.
    paths: Vec<Vec<u8>>,
    literal: BTreeSet<Vec<u8>>,
    /// What else is wanted.
    pub patterns: Vec<Pattern>,
    exclude: Option<Filter>,
}

impl Chosen {
    /// The directory of the backup that becomes the target.
    pub fn root(&self) -> &[u8] {
        &self.root
    }

    /// Wanted paths, each with everything below it.
    pub fn paths(&self) -> &[Vec<u8>] {
        &self.paths
    }

    /// Whether a directory above what is wanted is in the target, and has there what it has in the backup.
    pub fn is_above(&self, path: &[u8]) -> bool {
        self.relative(path).is_some_and(|path| self.whole_directory || !path.is_empty())
    }

    /// Whether an entry is left out, the directories above it taken to be wanted.
    pub fn excludes_entry(&self, path: &[u8], is_directory: bool) -> bool {
        let Some(exclude) = &self.exclude else { return false };
        self.relative(path).is_some_and(|path| !path.is_empty() && exclude.excludes(path, is_directory))
    }

    /// The same, to be taken along; `None` when nothing is left out.
    pub fn exclusion(&self) -> Option<Spare> {
        self.exclude.as_ref()?;
        let chosen = self.clone();
        Some(Box::new(move |path, is_directory| chosen.excludes_entry(path, is_directory)))
    }

    /// Whether an entry is left out, or a directory above it.
    pub fn excludes(&self, path: &[u8], is_directory: bool) -> bool {
        self.exclude.is_some()
            && (self.excludes_entry(path, is_directory)
                || above(path).any(|directory| self.excludes_entry(directory, true)))
    }

    /// Whether an entry is wanted for its own sake: by its path or a pattern. What is below one that is, is wanted too.
    pub fn names(&self, path: &[u8], is_directory: bool) -> bool {
        self.literal.contains(path) || self.matching(path, is_directory).next().is_some()
    }

    /// Whether an entry is wanted by a pattern, or a directory above it is.
    pub fn matches(&self, path: &[u8], is_directory: bool) -> bool {
        self.matching(path, is_directory).next().is_some()
            || above(path).any(|directory| self.matching(directory, true).next().is_some())
    }

    /// The numbers of the patterns that match an entry.
    pub fn matching(&self, path: &[u8], is_directory: bool) -> impl Iterator<Item = usize> {
        let relative = self.relative(path).filter(|path| !path.is_empty());
        let patterns = self.patterns.iter().enumerate();
        patterns.filter_map(move |(number, pattern)| {
            relative.filter(|path| pattern.filter.excludes(path, is_directory)).map(|_| number)
        })
    }

    fn relative<'p>(&self, path: &'p [u8]) -> Option<&'p [u8]> {
        if self.root.is_empty() {
            return Some(path);
        }
        let rest = path.strip_prefix(self.root.as_slice())?;
        if rest.is_empty() { Some(rest) } else { rest.strip_prefix(b"/") }
    }
}

/// The failure that tells of wanted paths and patterns which the backup does not have.
pub(super) fn not_there(missing: &[String]) -> Error {
    Error::new(Kind::NotFound, "not in the backup:").on(missing.join(", ")).hint(NO_SUCH_PATH)
}

/// The directories above a path, but for the root of all.
fn above(path: &[u8]) -> impl Iterator<Item = &[u8]> {
    path.iter().enumerate().filter(|(_, byte)| **byte == b'/').map(|(end, _)| &path[..end])
}

fn parent(path: &[u8]) -> &[u8] {
    path.iter().rposition(|&byte| byte == b'/').map_or(b"", |slash| &path[..slash])
}

fn join(base: &[u8], path: &[u8]) -> Vec<u8> {
    match (base, path) {
        (b"", path) => path.to_vec(),
        (base, b"") => base.to_vec(),
        (base, path) => [base, b"/", path].concat(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn include(texts: &[&str]) -> Vec<(Vec<u8>, Vec<u8>)> {
        let path = |text: &str| text.trim_start_matches("./").trim_matches('/').as_bytes().to_vec();
        texts.iter().map(|text| (text.as_bytes().to_vec(), path(text))).collect()
    }

    fn chosen(base: &str, texts: &[&str], exclude: &[&str], there: &[(&str, Place)]) -> Result<Chosen> {
        let exclude: Vec<String> = exclude.iter().map(|text| (*text).to_owned()).collect();
        let wanted = Wanted::new(base.as_bytes().to_vec(), include(texts), &exclude)?;
        wanted.choose(&mut |path| {
            let found = there.iter().find(|(there, _)| there.as_bytes() == path);
            Ok(found.map_or(Place::Nothing, |(_, place)| *place))
        })
    }

    #[test]
    fn a_path_with_stars_is_a_pattern_unless_it_is_there() {
        let there = [("what?", Place::Other)];
        let chosen = chosen("", &["what?", "*.txt", "./docs/[ab]", "plain"], &[], &there).unwrap();
        assert_eq!(chosen.paths(), [b"what?".to_vec(), b"plain".to_vec()]);
        let patterns: Vec<&str> = chosen.patterns.iter().map(|pattern| pattern.text.as_str()).collect();
        assert_eq!(patterns, ["*.txt", "./docs/[ab]"]);
        for (path, is_directory, named) in [
            ("a.txt", false, true),
            ("deep/down/a.txt", true, true),
            ("docs/a", false, true),
            ("other/docs/a", false, false),
            ("plain", false, true),
            ("plain/x", false, false),
            ("what?", false, true),
            ("whats", false, false),
            ("", true, false),
        ] {
            assert_eq!(chosen.names(path.as_bytes(), is_directory), named, "{path}");
        }
        assert!(chosen.matches(b"deep/a.txt/below/it", false) && !chosen.matches(b"plain/x", false));
    }

    #[test]
    fn a_base_is_what_paths_and_patterns_are_relative_to() {
        let there = [("docs", Place::Directory), ("docs/a", Place::Other), ("top", Place::Other)];
        let part = chosen("docs", &["a", "/x*"], &["/secret", "*.o"], &there).unwrap();
        assert_eq!((part.root(), part.paths()), (&b"docs"[..], &[b"docs/a".to_vec()][..]));
        assert!(part.names(b"docs/xyz", false) && !part.names(b"xyz", false));
        assert!(!part.names(b"docs/sub/xyz", false));
        assert!(part.excludes(b"docs/secret/below", false) && !part.excludes(b"docs/sub/secret", false));
        assert!(part.excludes(b"docs/sub/a.o", false) && !part.excludes_entry(b"docs/secret/below", false));
        assert!(part.is_above(b"docs") && part.is_above(b"docs/sub"));
        assert!(!part.is_above(b"docsx") && !part.is_above(b"") && !part.is_above(b"top"));

        let file = chosen("docs/a", &[], &[], &there).unwrap();
        assert_eq!((file.root(), file.paths()), (&b"docs"[..], &[b"docs/a".to_vec()][..]));
        assert!(!file.is_above(b"docs"), "the target is no directory of the backup");
        let top = chosen("top", &[], &[], &there).unwrap();
        assert_eq!((top.root(), top.paths()), (&b""[..], &[b"top".to_vec()][..]));
        assert_eq!(chosen("top", &["x"], &[], &there).unwrap_err().kind(), Kind::Invalid);
        assert_eq!(chosen("never", &[], &[], &there).unwrap_err().kind(), Kind::NotFound);
    }

    #[test]
    fn what_cannot_be_understood_is_named() {
        let error = chosen("", &["a["], &[], &[]).unwrap_err();
        assert!(error.kind() == Kind::Invalid && error.subject().contains("a["), "{error}");
        assert_eq!(chosen("", &[], &["[z-a]"], &[]).unwrap_err().kind(), Kind::Invalid);
        assert!(chosen("", &["a["], &[], &[("a[", Place::Other)]).is_ok());
        let many: Vec<&str> = vec!["x"; RESTORE_PATTERNS + 1];
        assert_eq!(chosen("", &many, &[], &[]).unwrap_err().kind(), Kind::Limit);
    }
}
