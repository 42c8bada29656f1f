//! Which paths of each level a restore needs.
//!
//! The wanted paths are those of the last level. Directories may have been renamed on the way there, so what is wanted of the
//! level below are the places those paths came from, and whatever was renamed into them.

use super::path::below;
use super::renames::Renames;

/// Wanted paths, each with everything below it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Selection {
    everything: bool,
    paths: Vec<Vec<u8>>,
}

/// How a path relates to a selection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Wanted {
    /// It is wanted.
    Yes,
    /// It is not, but something below it is.
    Above,
    /// It is a directory that is not; by a pattern something below it may be.
    Perhaps,
    /// Neither.
    No,
}

impl Selection {
    /// A selection of `paths`; an empty one, or one with the root, is everything.
    pub(super) fn new(paths: Vec<Vec<u8>>) -> Self {
        let everything = paths.is_empty() || paths.iter().any(Vec::is_empty);
        Selection { everything, paths }
    }

    /// A selection of `paths` alone; of nothing when there are none.
    pub(super) fn only(paths: Vec<Vec<u8>>) -> Self {
        Selection { everything: paths.iter().any(Vec::is_empty), paths }
    }

    /// Whether everything is wanted.
    pub(super) fn is_everything(&self) -> bool {
        self.everything
    }

    /// The selected paths.
    pub(super) fn paths(&self) -> &[Vec<u8>] {
        &self.paths
    }

    /// Whether `path` is wanted.
    pub(super) fn wants(&self, path: &[u8]) -> Wanted {
        if self.everything || self.paths.iter().any(|wanted| below(path, wanted).is_some()) {
            Wanted::Yes
        } else if self.paths.iter().any(|wanted| below(wanted, path).is_some()) {
            Wanted::Above
        } else {
            Wanted::No
        }
    }

    /// What is needed of the level below one whose renames are `renames`.
    pub(super) fn below(&self, renames: &Renames) -> Selection {
        if self.everything || renames.is_empty() {
            return self.clone();
        }
        let mut paths: Vec<Vec<u8>> = self.paths.iter().filter_map(|path| renames.origin(path)).collect();
        for (_, new) in renames.iter() {
            if self.wants(new) == Wanted::Yes {
                paths.extend(renames.origin(new));
            }
        }
        paths.sort();
        paths.dedup();
        // None at all when everything wanted is new, at places from which something else was renamed away.
        Selection { everything: paths.iter().any(Vec::is_empty), paths }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn selection(paths: &[&str]) -> Selection {
        Selection::new(paths.iter().map(|path| path.as_bytes().to_vec()).collect())
    }

    #[test]
    fn a_selected_directory_covers_what_is_below_it() {
        let selection = selection(&["a/b", "c"]);
        for (path, wanted) in [
            ("a", Wanted::Above),
            ("a/b", Wanted::Yes),
            ("a/b/x", Wanted::Yes),
            ("a/bc", Wanted::No),
            ("c/d", Wanted::Yes),
            ("", Wanted::Above),
        ] {
            assert_eq!(selection.wants(path.as_bytes()), wanted, "{path}");
        }
        assert_eq!(Selection::new(Vec::new()).wants(b"x"), Wanted::Yes);
    }

    #[test]
    fn the_level_below_is_asked_for_the_places_things_came_from() {
        let mut renames = Renames::default();
        renames.push(b"old".to_vec(), b"new".to_vec());
        renames.push(b"x/moved".to_vec(), b"c/moved".to_vec());
        assert_eq!(selection(&["new/f"]).below(&renames), selection(&["old/f"]));
        assert_eq!(selection(&["c"]).below(&renames), selection(&["c", "x/moved"]));
        assert_eq!(selection(&["other"]).below(&renames), selection(&["other"]));
        let new_at_an_old_place = selection(&["old/f"]).below(&renames);
        assert_eq!((new_at_an_old_place.is_everything(), new_at_an_old_place.paths().len()), (false, 0));
        assert_eq!(new_at_an_old_place.wants(b"old/f"), Wanted::No);
    }
}
