//! Users and groups: from numbers to names and back, as the system's own resolver has them.
//!
//! A resolver may sit behind a network (LDAP, SSSD), and a tree has millions of entries of a few owners, so every answer is
//! remembered; "unknown" is an answer. What the resolver fails at is unknown too: the number is stored in any case.

use super::attributes::{Attributes, Metadata, Xattrs};
use crate::limits::OWNERS_REMEMBERED;
use nix::unistd::{Gid, Group, Uid, User};
use std::borrow::Borrow;
use std::collections::HashMap;
use std::hash::Hash;
use std::sync::{Mutex, PoisonError};

/// Looks up owners, and remembers the answers for as long as it lives.
#[derive(Debug, Default)]
pub struct Owners {
    users: Memory<u32, Vec<u8>>,
    groups: Memory<u32, Vec<u8>>,
    uids: Memory<Vec<u8>, Option<u32>>,
    gids: Memory<Vec<u8>, Option<u32>>,
}

impl Owners {
    /// Nothing is looked up yet.
    pub fn new() -> Self {
        Owners::default()
    }

    /// The name of a user; empty when unknown.
    pub fn user_name(&self, uid: u32) -> Vec<u8> {
        self.users.recall(&uid, |uid| {
            let user = User::from_uid(Uid::from_raw(*uid)).ok().flatten();
            user.map(|user| user.name.into_bytes()).unwrap_or_default()
        })
    }

    /// The name of a group; empty when unknown.
    pub fn group_name(&self, gid: u32) -> Vec<u8> {
        self.groups.recall(&gid, |gid| {
            let group = Group::from_gid(Gid::from_raw(*gid)).ok().flatten();
            group.map(|group| group.name.into_bytes()).unwrap_or_default()
        })
    }

    /// What a backup keeps of an entry besides its content.
    pub fn attributes(&self, metadata: &Metadata, xattrs: Xattrs) -> Attributes {
        Attributes {
            mode: metadata.mode,
            uid: metadata.uid,
            gid: metadata.gid,
            user: self.user_name(metadata.uid),
            group: self.group_name(metadata.gid),
            mtime: metadata.mtime,
            atime: Some(metadata.atime),
            ctime: Some(metadata.ctime),
            xattrs,
        }
    }

    /// The number of a user on this system; `None` when there is none of that name.
    pub fn uid_of(&self, name: &[u8]) -> Option<u32> {
        self.uids.recall(name, |name| {
            let user = User::from_name(plain(name)?).ok().flatten();
            user.map(|user| user.uid.as_raw())
        })
    }

    /// The number of a group on this system; `None` when there is none of that name.
    pub fn gid_of(&self, name: &[u8]) -> Option<u32> {
        self.gids.recall(name, |name| {
            let group = Group::from_name(plain(name)?).ok().flatten();
            group.map(|group| group.gid.as_raw())
        })
    }
}

/// The resolver takes text without NUL; nothing else names anybody.
fn plain(name: &[u8]) -> Option<&str> {
    std::str::from_utf8(name).ok().filter(|name| !name.is_empty() && !name.contains('\0'))
}

/// Answers by question, at most [`OWNERS_REMEMBERED`] of them: when it is full, it starts anew.
#[derive(Debug)]
struct Memory<K, V>(Mutex<HashMap<K, V>>);

impl<K, V> Default for Memory<K, V> {
    fn default() -> Self {
        Memory(Mutex::new(HashMap::new()))
    }
}

impl<K: Hash + Eq, V: Clone> Memory<K, V> {
    fn recall<Q>(&self, question: &Q, ask: impl FnOnce(&Q) -> V) -> V
    where
        K: Borrow<Q>,
        Q: Hash + Eq + ToOwned<Owned = K> + ?Sized,
    {
        let mut answers = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = answers.get(question) {
            return known.clone();
        }
        let answer = ask(question);
        if answers.len() >= OWNERS_REMEMBERED {
            answers.clear();
        }
        answers.insert(question.to_owned(), answer.clone());
        answer
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::cell::Cell;

    #[test]
    fn root_is_known_both_ways() {
        let owners = Owners::new();
        assert_eq!(owners.user_name(0), b"root");
        assert_eq!(owners.group_name(0), b"root");
        assert_eq!((owners.uid_of(b"root"), owners.gid_of(b"root")), (Some(0), Some(0)));
    }

    #[test]
    fn strangers_are_unknown_and_no_name_is_too_odd_to_ask_for() {
        let owners = Owners::new();
        let odd: [&[u8]; 6] = [b"", b"no such owner here", b"\xff\xfe", b"a\0b", b"../root", &[b'x'; 9_000]];
        for name in odd {
            assert_eq!((owners.uid_of(name), owners.gid_of(name)), (None, None), "{name:?}");
        }
        assert_eq!(owners.user_name(4_294_000_111), b"");
        assert_eq!(owners.group_name(4_294_000_111), b"");
    }

    #[test]
    fn every_question_is_asked_once_also_when_the_answer_is_unknown() {
        let memory: Memory<Vec<u8>, Option<u32>> = Memory::default();
        let asked = Cell::new(0);
        for _ in 0..3 {
            let answer = memory.recall(&b"nobody"[..], |_| {
                asked.set(asked.get() + 1);
                None
            });
            assert_eq!(answer, None);
        }
        assert_eq!(asked.get(), 1);
    }

    #[test]
    fn memory_is_bounded() {
        let memory: Memory<u32, u32> = Memory::default();
        for number in 0..OWNERS_REMEMBERED as u32 * 2 + 10 {
            assert_eq!(memory.recall(&number, |n| n + 1), number + 1);
        }
        assert!(memory.0.lock().unwrap().len() <= OWNERS_REMEMBERED);
    }
}
