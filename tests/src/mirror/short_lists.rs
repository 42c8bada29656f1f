//! A storage whose lists lack a row: nothing is removed on the strength of one.

use super::{copy, mirror, without_b};
use crate::in_memory::{INCREMENTS, World, check_is_clean, forget_all_but_the_newest, objects, open};
use icecore::codec::Compression;
use icecore::error::Result;
use icecore::heal::{self, Done, Options};
use icecore::level::Policy;
use icecore::monitor::Quiet;
use icecore::name::ObjectName;
use icecore::storage::memory::Memory;
use icecore::storage::{Depth, Listed, Storage};
use icecore_testkit::manifest::Manifest;
use std::sync::Arc;

/// Lists never have this object, which is there.
struct Short {
    inner: Memory,
    lacks: ObjectName,
}

impl Storage for Short {
    icecore::storage::forward!([inner] put writer read stat delete capabilities label);

    fn list(
        &self,
        prefix: Option<&ObjectName>,
        depth: Depth,
        row: &mut dyn FnMut(Listed) -> Result<()>,
    ) -> Result<()> {
        self.inner.list(prefix, depth, &mut |listed| match &listed {
            Listed::Object { name, .. } if *name == self.lacks => Ok(()),
            _ => row(listed),
        })
    }
}

/// A was told to forget a chain; B, which was away, was given another level of it, whose document B's lists lack.
#[test]
fn a_level_that_no_list_has_keeps_its_chain() {
    let mut world = World::with_backups(1, INCREMENTS, Compression::Zstd);
    world.policy = Policy::default();
    world.settle();
    world.back_up();
    let (a, b) = (copy(&world), copy(&world));
    let alone = without_b(&a);
    assert_eq!(forget_all_but_the_newest(Arc::clone(&alone) as _).unwrap().removed, 1);
    drop(alone);
    let documents = |memory: &Memory| -> Vec<ObjectName> {
        let names = objects(memory).into_iter().map(|(name, _)| name);
        names.filter(|name| name.as_str().starts_with("metadata/")).collect()
    };
    // The newest chain on B goes, so that an increment goes on with the first.
    let newest = documents(&a).remove(0).as_str().split('/').nth(3).unwrap().to_owned();
    for (name, _) in objects(&b).into_iter().filter(|(name, _)| name.as_str().contains(&newest)) {
        b.delete(&name).unwrap();
    }
    let before = documents(&b);
    world.policy = INCREMENTS;
    world.change(9);
    world.settle();
    let made = world.backup(Arc::new(b.clone())).unwrap().id.unwrap().to_string();
    let expected = Manifest::of(&world.source()).unwrap();
    let lacks = documents(&b).into_iter().find(|name| !before.contains(name)).unwrap();

    let members: Vec<Arc<dyn Storage>> =
        vec![Arc::new(a), Arc::new(Short { inner: b.clone(), lacks: lacks.clone() })];
    let both = mirror(members, 2);
    let repository = open(Arc::clone(&both) as _).unwrap();
    let mut rows = Vec::new();
    heal::run(&both, &repository, Options::default(), &Quiet, &mut |row| rows.push(row.clone())).unwrap();
    assert!(rows.iter().any(|row| row.done == Done::Kept), "{rows:?}");
    let removed = rows.iter().filter(|row| row.done == Done::Removed);
    assert!(removed.clone().all(|row| row.object.as_str().ends_with("claim")), "{rows:?}");
    assert!(documents(&b).contains(&lacks));
    check_is_clean(&b, "kept");
    world.restore(Arc::new(b), &made).equals(&expected, "the level on top");
}
