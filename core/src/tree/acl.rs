//! POSIX access control lists: the kernel's binary form (`system.posix_acl_access` and `_default`, version 2 of
//! `linux/posix_acl_xattr.h`) and the text form of acl(5) that tar stores as `SCHILY.acl.access` and `.default`.
//!
//! Invariant: text made here holds numbers only, so it means the same on every host; binary made here is in the order the
//! kernel demands, without duplicates. Text of strangers may hold names, star's fourth field (the number behind a name),
//! comments and white space. Whether a list makes sense as a whole (one owner, a mask where needed) is the kernel's to say.

use super::directory::lossy;
use crate::error::{Error, Kind, Result};
use crate::limits::{ACL_ENTRIES, XATTR_BYTES};
use std::fmt::Write;

/// The attribute that holds the list of an entry.
pub const ACCESS: &[u8] = b"system.posix_acl_access";

/// The attribute that holds what entries made in a directory start with.
pub const DEFAULT: &[u8] = b"system.posix_acl_default";

const VERSION: u32 = 2;
const HEADER_BYTES: usize = 4;
const ENTRY_BYTES: usize = 8;

/// The id of entries that name nobody.
const NOBODY: u32 = u32::MAX;

/// Whose name an entry holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Qualifier {
    /// A user's.
    User,
    /// A group's.
    Group,
}

/// Tags in the order of their kernel numbers, which is the order the kernel demands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Tag {
    Owner = 0x01,
    User = 0x02,
    OwningGroup = 0x04,
    Group = 0x08,
    Mask = 0x10,
    Other = 0x20,
}

const TAGS: [Tag; 6] = [Tag::Owner, Tag::User, Tag::OwningGroup, Tag::Group, Tag::Mask, Tag::Other];

impl Tag {
    fn from_number(number: u16) -> Option<Tag> {
        TAGS.into_iter().find(|tag| *tag as u16 == number)
    }

    fn qualifier(self) -> Option<Qualifier> {
        match self {
            Tag::User => Some(Qualifier::User),
            Tag::Group => Some(Qualifier::Group),
            _ => None,
        }
    }

    fn word(self) -> &'static str {
        match self {
            Tag::Owner | Tag::User => "user",
            Tag::OwningGroup | Tag::Group => "group",
            Tag::Mask => "mask",
            Tag::Other => "other",
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Entry {
    tag: Tag,
    id: u32,
    permissions: u8,
}

/// The text of a list in the kernel's form, with numbers: `user::rwx,user:1000:r-x,group::r-x,mask::rwx,other::---`.
///
/// # Errors
/// `Unsupported` for another version, `Damaged` when the bytes are no list.
pub fn to_text(binary: &[u8]) -> Result<String> {
    let mut text = String::new();
    for entry in parse_binary(binary)? {
        if !text.is_empty() {
            text.push(',');
        }
        text.push_str(entry.tag.word());
        text.push(':');
        if entry.tag.qualifier().is_some() {
            write!(text, "{}", entry.id).expect("writing to a string cannot fail");
        }
        text.push(':');
        text.extend(
            [(4, 'r'), (2, 'w'), (1, 'x')].map(|(bit, c)| if entry.permissions & bit == 0 { '-' } else { c }),
        );
    }
    Ok(text)
}

/// The kernel's form of a text. `resolve` turns a name into a number; where it knows none, the fourth field is taken.
///
/// # Errors
/// `Invalid` for text that is no list, or a name nobody knows; `Limit` when it is longer than any list can be.
pub fn from_text(text: &[u8], resolve: &mut dyn FnMut(Qualifier, &[u8]) -> Option<u32>) -> Result<Vec<u8>> {
    if text.len() > XATTR_BYTES {
        return Err(Error::new(Kind::Limit, "the access control list is longer than")
            .on(format!("{XATTR_BYTES} bytes")));
    }
    let mut entries = Vec::new();
    let lines = text.split(|&byte| byte == b'\n').map(without_comment);
    for words in lines.flat_map(|line| line.split(|&byte| byte == b',')).map(<[u8]>::trim_ascii) {
        if words.is_empty() {
            continue;
        }
        if entries.len() == ACL_ENTRIES {
            return Err(Error::new(Kind::Limit, "more entries in an access control list than")
                .on(ACL_ENTRIES.to_string()));
        }
        let bad = || Error::invalid("not an entry of an access control list:", lossy(words));
        entries.push(parse_entry(words, resolve).ok_or_else(bad)?);
    }
    entries.sort_unstable();
    if entries.windows(2).any(|pair| (pair[0].tag, pair[0].id) == (pair[1].tag, pair[1].id)) {
        return Err(Error::invalid("one entry twice in the access control list", lossy(text)));
    }
    Ok(to_binary(&entries))
}

fn without_comment(line: &[u8]) -> &[u8] {
    line.split(|&byte| byte == b'#').next().unwrap_or_default()
}

/// `tag:who:permissions[:number]`; `mask` and `other` may leave out the empty field, as Solaris writes them.
fn parse_entry(words: &[u8], resolve: &mut dyn FnMut(Qualifier, &[u8]) -> Option<u32>) -> Option<Entry> {
    let fields: Vec<&[u8]> = words.splitn(5, |&byte| byte == b':').map(<[u8]>::trim_ascii).collect();
    let (word, who, permissions, number) = match fields[..] {
        [word, permissions] => (word, &b""[..], permissions, None),
        [word, who, permissions] => (word, who, permissions, None),
        [word, who, permissions, number] => (word, who, permissions, Some(number)),
        _ => return None,
    };
    let tag = match (word, who.is_empty()) {
        (b"user" | b"u", true) if fields.len() > 2 => Tag::Owner,
        (b"group" | b"g", true) if fields.len() > 2 => Tag::OwningGroup,
        (b"user" | b"u", false) => Tag::User,
        (b"group" | b"g", false) => Tag::Group,
        (b"mask" | b"m", true) => Tag::Mask,
        (b"other" | b"o", true) => Tag::Other,
        _ => return None,
    };
    let id = match tag.qualifier() {
        None => NOBODY,
        Some(qualifier) => parse_id(who)
            .or_else(|| resolve(qualifier, who))
            .or_else(|| number.and_then(parse_id))
            .filter(|id| *id != NOBODY)?,
    };
    Some(Entry { tag, id, permissions: parse_permissions(permissions)? })
}

/// A plain decimal number. Such a name is always a number: no system allows a user to be called that.
fn parse_id(digits: &[u8]) -> Option<u32> {
    let plain = !digits.is_empty() && digits.iter().all(u8::is_ascii_digit);
    plain.then(|| std::str::from_utf8(digits).ok()?.parse().ok()).flatten()
}

fn parse_permissions(letters: &[u8]) -> Option<u8> {
    // The comment getfacl appends stands behind white space; a `#` has been cut already.
    if letters.is_empty() || letters.len() > 3 {
        return None;
    }
    letters.iter().try_fold(0, |bits, letter| match letter {
        b'r' if bits & 4 == 0 => Some(bits | 4),
        b'w' if bits & 2 == 0 => Some(bits | 2),
        b'x' if bits & 1 == 0 => Some(bits | 1),
        b'-' => Some(bits),
        _ => None,
    })
}

fn parse_binary(binary: &[u8]) -> Result<Vec<Entry>> {
    let broken = || Error::damaged("not an access control list", "");
    let (version, body) = binary.split_first_chunk::<HEADER_BYTES>().ok_or_else(broken)?;
    match u32::from_le_bytes(*version) {
        VERSION => {}
        other => {
            return Err(
                Error::new(Kind::Unsupported, "an access control list of version").on(other.to_string())
            );
        }
    }
    let (entries, rest) = body.as_chunks::<ENTRY_BYTES>();
    if !rest.is_empty() || entries.len() > ACL_ENTRIES {
        return Err(broken());
    }
    entries.iter().map(|bytes| parse_binary_entry(bytes).ok_or_else(broken)).collect()
}

fn parse_binary_entry(bytes: &[u8; ENTRY_BYTES]) -> Option<Entry> {
    let [tag_0, tag_1, permissions, high, id @ ..] = *bytes;
    let tag = Tag::from_number(u16::from_le_bytes([tag_0, tag_1]))?;
    let id = if tag.qualifier().is_some() { u32::from_le_bytes(id) } else { NOBODY };
    let sound = permissions <= 7 && high == 0 && (tag.qualifier().is_none() || id != NOBODY);
    sound.then_some(Entry { tag, id, permissions })
}

fn to_binary(entries: &[Entry]) -> Vec<u8> {
    let mut binary = VERSION.to_le_bytes().to_vec();
    for entry in entries {
        binary.extend((entry.tag as u16).to_le_bytes());
        binary.extend(u16::from(entry.permissions).to_le_bytes());
        binary.extend(entry.id.to_le_bytes());
    }
    binary
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn nobody(_: Qualifier, _: &[u8]) -> Option<u32> {
        None
    }

    /// Text to binary and back, with one user and one group known.
    fn canonical(text: &str) -> Result<String> {
        let mut resolve = |qualifier: Qualifier, name: &[u8]| match (qualifier, name) {
            (Qualifier::User, b"alice") => Some(1000),
            (Qualifier::Group, b"staff") => Some(50),
            _ => None,
        };
        to_text(&from_text(text.as_bytes(), &mut resolve)?)
    }

    #[test]
    fn the_binary_form_is_the_kernels() {
        let binary =
            from_text(b"user::rw-,user:1000:r--,group::r--,mask::r--,other::---", &mut nobody).unwrap();
        let expected: Vec<u8> = [
            &[2, 0, 0, 0][..],
            &[1, 0, 6, 0, 255, 255, 255, 255],
            &[2, 0, 4, 0, 0xe8, 3, 0, 0],
            &[4, 0, 4, 0, 255, 255, 255, 255],
            &[16, 0, 4, 0, 255, 255, 255, 255],
            &[32, 0, 0, 0, 255, 255, 255, 255],
        ]
        .concat();
        assert_eq!(binary, expected);
    }

    #[test]
    fn every_way_of_writing_it_means_the_same() {
        let wanted = "user::rwx,user:1000:rwx,group::r-x,group:50:r--,mask::rwx,other::---";
        for text in [
            wanted,
            "user::rwx\nuser:alice:rwx\ngroup::r-x\ngroup:staff:r--\nmask::rwx\nother::---\n",
            "# file: x\n  u::rwx , u:alice:rwx\t#effective:rwx\n g::xr\n\ng:staff:r\nm:rwx\no:---",
            "other::---,mask::rwx,group:unknown:r--:50,group::r-x,user:gone:rwx:1000,user::rwx",
            "user::rwx,user:alice:rwx:77,group::r-x,group:staff:r--:88,mask::rwx,other::---",
        ] {
            assert_eq!(canonical(text).unwrap(), wanted, "{text}");
        }
        assert_eq!(canonical("").unwrap(), "");
    }

    #[test]
    fn what_is_no_list_is_refused() {
        for text in [
            "user",
            "user:",
            "user:rwx",
            "user::rwxx",
            "user::rwr",
            "user::7",
            "user::",
            "user:bob:rwx",
            "user:bob:rwx:x",
            "mask:1000:rwx",
            "other:x:rwx",
            "owner::rwx",
            "user:4294967295:rwx",
            "user:4294967296:rwx",
            "a:b:c:d:e:f",
            "user::rwx,user::r--",
            "user:5:r,user:alice:rwx,user:1000:---",
        ] {
            assert_eq!(canonical(text).unwrap_err().kind(), Kind::Invalid, "{text}");
        }
        let long = vec![b','; XATTR_BYTES + 1];
        assert_eq!(from_text(&long, &mut nobody).unwrap_err().kind(), Kind::Limit);
        let many = (0..=ACL_ENTRIES).map(|id| format!("user:{id}:r--")).collect::<Vec<_>>().join(",");
        assert_eq!(from_text(many.as_bytes(), &mut nobody).unwrap_err().kind(), Kind::Limit);
    }

    #[test]
    fn broken_binary_is_refused_by_kind() {
        assert_eq!(to_text(&[]).unwrap_err().kind(), Kind::Damaged);
        assert_eq!(to_text(&[3, 0, 0, 0]).unwrap_err().kind(), Kind::Unsupported);
        assert_eq!(to_text(&[2, 0, 0, 0, 1]).unwrap_err().kind(), Kind::Damaged);
        assert_eq!(to_text(&[2, 0, 0, 0, 3, 0, 6, 0, 0, 0, 0, 0]).unwrap_err().kind(), Kind::Damaged);
        assert_eq!(to_text(&[2, 0, 0, 0, 1, 0, 8, 0, 0, 0, 0, 0]).unwrap_err().kind(), Kind::Damaged);
    }

    fn lists() -> impl Strategy<Value = Vec<Entry>> {
        let entry = (0_usize..TAGS.len(), 0..NOBODY, 0_u8..8).prop_map(|(tag, id, permissions)| {
            let tag = TAGS[tag];
            Entry { tag, id: if tag.qualifier().is_some() { id } else { NOBODY }, permissions }
        });
        proptest::collection::vec(entry, 0..30).prop_map(|mut entries| {
            entries.sort_unstable();
            entries.dedup_by_key(|entry| (entry.tag, entry.id));
            entries
        })
    }

    proptest! {
        #[test]
        fn binary_survives_the_way_through_text(entries in lists()) {
            let binary = to_binary(&entries);
            let text = to_text(&binary).unwrap();
            prop_assert_eq!(from_text(text.as_bytes(), &mut nobody).unwrap(), binary);
        }

        #[test]
        fn accepted_text_is_stable_after_one_trip(text in "[ugmo:r\\-wx,\n 0-9#]{0,60}") {
            if let Ok(binary) = from_text(text.as_bytes(), &mut nobody) {
                let once = to_text(&binary).unwrap();
                prop_assert_eq!(from_text(once.as_bytes(), &mut nobody).unwrap(), binary);
            }
        }

        #[test]
        fn foreign_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..100)) {
            prop_assert!(to_text(&bytes).is_ok() || to_text(&bytes).is_err());
            let text = from_text(&bytes, &mut nobody);
            prop_assert!(text.is_ok() || text.is_err());
        }
    }
}
