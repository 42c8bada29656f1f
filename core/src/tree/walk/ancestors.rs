//! The directories above the one a walk is in: what is still to be read of each, and a bounded number of open handles.
//!
//! Only the innermost directories and the root keep their handles. A directory whose handle was closed is found again
//! through `..` of the one below it and, when that leads elsewhere because something was moved, by name from the root. It is
//! taken for the same directory only if device and inode are what they were. So a move costs no more than what was moved.
//!
//! Invariants: the root's handle is open, and so are those from `open_from` on, hence the innermost one; at most
//! [`OPEN_DIRECTORIES`] are, counting the one that the walk is about to enter.

use super::super::attributes::Metadata;
use super::super::directory::Directory;
use super::super::listing::Listing;
use crate::limits::OPEN_DIRECTORIES;

/// What tells a directory from every other.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Identity {
    device: u64,
    inode: u64,
}

impl Identity {
    fn of(metadata: &Metadata) -> Self {
        Identity { device: metadata.device, inode: metadata.inode }
    }

    /// `directory`, if this is it.
    fn confirm(self, directory: Directory) -> Option<Directory> {
        let metadata = directory.metadata().ok()?;
        (Identity::of(&metadata) == self).then_some(directory)
    }
}

/// A directory that the walk is in.
#[derive(Debug)]
pub(super) struct Ancestor {
    handle: Option<Directory>,
    identity: Identity,
    /// Bytes of its path from the root.
    path_length: usize,
    children: Listing,
    next: usize,
    /// The file system that directories below have to be on, where only one counts.
    file_system: u64,
}

impl Ancestor {
    /// A directory with the sub-directories that are to be walked.
    pub(super) fn new(
        directory: Directory,
        metadata: &Metadata,
        path_length: usize,
        children: Listing,
        file_system: u64,
    ) -> Self {
        let identity = Identity::of(metadata);
        Ancestor { handle: Some(directory), identity, path_length, children, next: 0, file_system }
    }

    /// Makes `path` that of the next sub-directory to walk; false, and `path` as it was, when none is left.
    pub(super) fn next_child(&mut self, path: &mut Vec<u8>) -> bool {
        let Some(child) = self.children.get(self.next) else { return false };
        self.next += 1;
        set_last_name(path, self.path_length, child.name);
        true
    }
}

/// The directories that the walk is in, the root first.
#[derive(Debug, Default)]
pub(super) struct Ancestors {
    stack: Vec<Ancestor>,
    /// Every handle from here on is open, besides that of the root; never 0 once there is a root.
    open_from: usize,
    /// Whether some were entered by symbolic links.
    follow: bool,
}

impl Ancestors {
    /// None yet; `follow`: those to come may be entered by symbolic links.
    pub(super) fn new(follow: bool) -> Self {
        Ancestors { follow, ..Ancestors::default() }
    }

    /// Whether the walk is in this directory.
    pub(super) fn hold(&self, metadata: &Metadata) -> bool {
        let identity = Identity::of(metadata);
        self.stack.iter().any(|ancestor| ancestor.identity == identity)
    }

    /// The file system that directories in the innermost one have to be on.
    pub(super) fn file_system(&self) -> Option<u64> {
        self.stack.last().map(|ancestor| ancestor.file_system)
    }

    /// How many there are: the depth of a child of the innermost one.
    pub(super) fn depth(&self) -> usize {
        self.stack.len()
    }

    /// The directory that the walk is in.
    pub(super) fn innermost(&mut self) -> Option<&mut Ancestor> {
        self.stack.last_mut()
    }

    /// The innermost directory's handle, and the name that the child at `path` has in it.
    pub(super) fn parent_of<'a>(&self, path: &'a [u8]) -> (&Directory, &'a [u8]) {
        let parent = self.stack.last().expect("the root is left only when the walk is done");
        let handle = parent.handle.as_ref().expect("the innermost handle is open: see the invariant");
        (handle, last_name(path, parent.path_length))
    }

    /// Goes into a directory, and closes the outermost handle when there are too many.
    pub(super) fn push(&mut self, directory: Ancestor) {
        self.stack.push(directory);
        self.open_from = self.open_from.max(1);
        // The root's handle, those from `open_from` on, and room for the one to come.
        if self.stack.len() - self.open_from + 2 > OPEN_DIRECTORIES {
            self.stack[self.open_from].handle = None;
            self.open_from += 1;
        }
    }

    /// Leaves the innermost directory, whose path is the start of `path`, for the one above it. Gives back the directories
    /// that are not where they were, innermost first; they are left as well.
    pub(super) fn pop(&mut self, path: &[u8]) -> Vec<Ancestor> {
        let left = self.stack.pop();
        let (Some(left), Some(above)) = (left.and_then(|left| left.handle), self.stack.last_mut()) else {
            return Vec::new();
        };
        if above.handle.is_some() {
            return Vec::new();
        }
        above.handle = left.open_child(b"..").ok().and_then(|parent| above.identity.confirm(parent));
        let lost = if above.handle.is_none() { self.find_by_name(path) } else { Vec::new() };
        self.open_from = self.stack.len().saturating_sub(1).max(1);
        lost
    }

    /// Opens the innermost directory by going down from the root, and gives up those that are not found.
    fn find_by_name(&mut self, path: &[u8]) -> Vec<Ancestor> {
        let mut reached: Option<Directory> = None;
        let mut depth = 1;
        for pair in self.stack.windows(2) {
            let (above, here) = (&pair[0], &pair[1]);
            let name = last_name(&path[..here.path_length], above.path_length);
            let parent = reached.as_ref().or(above.handle.as_ref());
            let open = |parent: &Directory| match self.follow {
                true => parent.open_child_followed(name),
                false => parent.open_child(name),
            };
            let child = parent.and_then(|parent| open(parent).ok());
            let Some(found) = child.and_then(|child| here.identity.confirm(child)) else { break };
            reached = Some(found);
            depth += 1;
        }
        let mut lost = self.stack.split_off(depth);
        lost.reverse();
        if let (Some(innermost), Some(_)) = (self.stack.last_mut(), &reached) {
            innermost.handle = reached;
        }
        lost
    }
}

/// Makes `path` that of the entry `name` in the directory whose path is its first `length` bytes.
pub(super) fn set_last_name(path: &mut Vec<u8>, length: usize, name: &[u8]) {
    path.truncate(length);
    if length > 0 {
        path.push(b'/');
    }
    path.extend_from_slice(name);
}

/// The last name of `path`, which lies in the directory whose path is its first `length` bytes.
fn last_name(path: &[u8], length: usize) -> &[u8] {
    if length == 0 { path } else { &path[length + 1..] }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::limits::DEPTH_MAX;

    fn open_handles(ancestors: &Ancestors) -> usize {
        ancestors.stack.iter().filter(|directory| directory.handle.is_some()).count()
    }

    #[test]
    fn handles_stay_few_however_deep_it_goes() {
        let folder = tempfile::tempdir().unwrap();
        let mut ancestors = Ancestors::default();
        for _ in 0..DEPTH_MAX {
            let directory = Directory::open(folder.path()).unwrap();
            let metadata = directory.metadata().unwrap();
            ancestors.push(Ancestor::new(directory, &metadata, 0, Listing::empty(), 0));
            assert!(ancestors.stack[0].handle.is_some() && ancestors.stack.last().unwrap().handle.is_some());
            if ancestors.depth() % 1_000 < 3 || ancestors.depth() < 2 * OPEN_DIRECTORIES {
                assert!(open_handles(&ancestors) < OPEN_DIRECTORIES);
            }
        }
    }

    #[test]
    fn names_are_cut_behind_the_directory_they_are_in() {
        assert_eq!(last_name(b"a", 0), b"a");
        assert_eq!(last_name(b"a/b", 1), b"b");
        assert_eq!(last_name(b"a/b/cc", 3), b"cc");
    }
}
