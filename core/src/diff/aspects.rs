//! In what two entries of one path differ, as far as a user can tell.

use crate::engine::dedup::tree::{Entry, Known, Owner};
use crate::tree::attributes::FileKind;

/// Something in which entries differ.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Aspect {
    /// One of them could not be read when it was backed up, so that nobody knows whether their content differs.
    Unreadable,
    /// One is another type of entry; then nothing else is compared.
    Type,
    /// The bytes of a file.
    Content,
    /// What a link points to.
    Target,
    /// The numbers of a device.
    Device,
    /// Permission bits.
    Mode,
    /// User or group.
    Owner,
    /// The time of the last change of content.
    Time,
    /// Extended attributes, access lists among them.
    Attributes,
}

impl Aspect {
    /// What it is called.
    pub fn name(self) -> &'static str {
        match self {
            Aspect::Unreadable => "unreadable",
            Aspect::Type => "type",
            Aspect::Content => "content",
            Aspect::Target => "target",
            Aspect::Device => "device",
            Aspect::Mode => "mode",
            Aspect::Owner => "owner",
            Aspect::Time => "time",
            Aspect::Attributes => "attributes",
        }
    }
}

/// Everything that can be seen without reading content or attributes.
pub(super) fn of(old: &Entry, new: &Entry) -> Vec<Aspect> {
    // Of neither is more known than of the other, or nothing but the name is known of one.
    let unreadable = old.is_unread() || new.is_unread();
    if [old, new].iter().any(|entry| entry.known == Known::Name) {
        return if old.known == new.known { Vec::new() } else { vec![Aspect::Unreadable] };
    }
    if old.kind != new.kind {
        return vec![Aspect::Type];
    }
    let is_device = matches!(old.kind, FileKind::CharDevice | FileKind::BlockDevice);
    let differing = [
        (Aspect::Unreadable, old.known != new.known),
        (Aspect::Target, !unreadable && old.target != new.target),
        (Aspect::Device, is_device && old.rdev != new.rdev),
        // The mode of a link means nothing.
        (Aspect::Mode, old.kind != FileKind::Symlink && old.mode != new.mode),
        (Aspect::Owner, !same_owner(&old.owner, &new.owner)),
        (Aspect::Time, old.mtime != new.mtime),
    ];
    differing.into_iter().filter(|(_, differs)| *differs).map(|(aspect, _)| aspect).collect()
}

/// Names may be unknown on one side, numbers never are.
fn same_owner(old: &Owner, new: &Owner) -> bool {
    (old.uid, old.gid) == (new.uid, new.gid)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::time::FileTime;
    use std::sync::Arc;

    fn entry(kind: FileKind) -> Entry {
        Entry {
            mode: 0o644,
            mtime: FileTime::new(1, 2),
            ctime: FileTime::new(1, 2),
            inode: 7,
            ..Entry::empty(kind)
        }
    }

    #[test]
    fn what_a_user_cannot_see_is_no_difference() {
        let old = entry(FileKind::File);
        let new = Entry { inode: 8, ctime: FileTime::new(9, 9), racy: true, ..old.clone() };
        assert_eq!(of(&old, &new), []);
    }

    #[test]
    fn what_could_not_be_read_differs_from_what_could_and_in_what_is_known_of_it() {
        let whole = entry(FileKind::Symlink);
        let whole = Entry { target: b"a".to_vec(), ..whole };
        let lost = whole.clone().unread();
        let dark = Entry::known_by_name(FileKind::File);
        assert_eq!(of(&whole, &lost), [Aspect::Unreadable]);
        assert_eq!(of(&dark, &whole), [Aspect::Unreadable]);
        assert_eq!(of(&lost, &dark), [Aspect::Unreadable]);
        let later = Entry { mtime: FileTime::new(9, 9), ..lost.clone() };
        assert_eq!(of(&lost, &later), [Aspect::Time]);
        assert_eq!(of(&whole, &later), [Aspect::Unreadable, Aspect::Time]);
        assert_eq!((of(&lost, &lost), of(&dark, &Entry::known_by_name(FileKind::Fifo))), (vec![], vec![]));
    }

    #[test]
    fn every_aspect_is_named_but_of_another_type_only_that() {
        let old = entry(FileKind::File);
        let owner = Arc::new(Owner { uid: 1, ..Owner::default() });
        let new = Entry { mode: 0o600, owner, mtime: FileTime::new(2, 2), ..old.clone() };
        assert_eq!(of(&old, &new), [Aspect::Mode, Aspect::Owner, Aspect::Time]);
        assert_eq!(of(&old, &Entry { kind: FileKind::Fifo, ..new }), [Aspect::Type]);
        let link = Entry { target: b"a".to_vec(), ..entry(FileKind::Symlink) };
        assert_eq!(of(&link, &Entry { mode: 0o777, ..link.clone() }), []);
        assert_eq!(of(&link, &Entry { target: b"b".to_vec(), ..link.clone() }), [Aspect::Target]);
    }
}
