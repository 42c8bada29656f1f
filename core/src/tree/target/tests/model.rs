//! Random histories against a naive model of a tree: after every operation both agree on success and on every entry, and
//! nothing beside the root has changed, although links in the tree point there.

use super::{Fixture, attributes, fs, write};
use proptest::prelude::*;
use std::collections::BTreeMap;
use std::os::unix::ffi::OsStringExt;
use std::path::Path;

#[derive(Debug, Clone, PartialEq, Eq)]
enum Node {
    Directory(Children),
    File(Vec<u8>),
    Link(Vec<u8>),
}

type Children = BTreeMap<Vec<u8>, Node>;

#[derive(Debug, Clone)]
enum Operation {
    Directory(String),
    File(String, u8),
    Symlink(String, &'static str),
    HardLink(String, String),
    Remove(String),
    Rename(String, String),
}

/// Why the model refuses; only that it does is compared.
#[derive(Debug)]
struct Refused;

impl Node {
    fn empty() -> Node {
        Node::Directory(BTreeMap::new())
    }

    fn children(&mut self) -> Result<&mut Children, Refused> {
        match self {
            Node::Directory(children) => Ok(children),
            _ => Err(Refused),
        }
    }

    /// The children of the directory above `path`, made where it is missing.
    fn made_parent<'a>(&mut self, path: &'a str) -> Result<(&mut Children, &'a [u8]), Refused> {
        let (parent, name) = path.rsplit_once('/').unwrap_or(("", path));
        let mut node = self;
        for part in parent.split('/').filter(|part| !part.is_empty()) {
            node = node.children()?.entry(part.as_bytes().to_vec()).or_insert_with(Node::empty);
        }
        Ok((node.children()?, name.as_bytes()))
    }

    /// What stands at a path; `Err` when a link stands above it, `None` for anything else that is not there.
    fn find(&self, path: &str) -> Result<Option<&Node>, Refused> {
        let mut node = self;
        for part in path.split('/') {
            let children = match node {
                Node::Directory(children) => children,
                Node::Link(_) => return Err(Refused),
                Node::File(_) => return Ok(None),
            };
            let Some(child) = children.get(part.as_bytes()) else { return Ok(None) };
            node = child;
        }
        Ok(Some(node))
    }

    fn put(&mut self, path: &str, new: Node) -> Result<(), Refused> {
        let (children, name) = self.made_parent(path)?;
        children.insert(name.to_vec(), new);
        Ok(())
    }

    fn apply(&mut self, operation: &Operation) -> Result<(), Refused> {
        match operation {
            Operation::Directory(path) => {
                let (children, name) = self.made_parent(path)?;
                if !matches!(children.get(name), Some(Node::Directory(_))) {
                    children.insert(name.to_vec(), Node::empty());
                }
                Ok(())
            }
            Operation::File(path, content) => self.put(path, Node::File(vec![*content])),
            Operation::Symlink(path, to) => self.put(path, Node::Link(to.as_bytes().to_vec())),
            Operation::HardLink(path, existing) => {
                let source = self.find(existing)?.cloned().ok_or(Refused)?;
                // Directories have one name.
                if matches!(source, Node::Directory(_)) { Err(Refused) } else { self.put(path, source) }
            }
            Operation::Remove(path) => {
                if self.find(path)?.is_some() {
                    let (children, name) = self.made_parent(path)?;
                    children.remove(name);
                }
                Ok(())
            }
            Operation::Rename(from, to) => self.rename(from, to),
        }
    }

    fn rename(&mut self, from: &str, to: &str) -> Result<(), Refused> {
        let moved = self.find(from)?.cloned().ok_or(Refused)?;
        if from == to {
            return Ok(());
        }
        if to.starts_with(&format!("{from}/")) {
            return Err(Refused);
        }
        let (children, name) = self.made_parent(to)?;
        if children.contains_key(name) {
            return Err(Refused);
        }
        children.insert(name.to_vec(), moved);
        let (children, name) = self.made_parent(from)?;
        children.remove(name);
        Ok(())
    }
}

/// The tree on disk.
fn read(path: &Path) -> Node {
    let kind = fs::symlink_metadata(path).unwrap().file_type();
    if kind.is_symlink() {
        return Node::Link(fs::read_link(path).unwrap().into_os_string().into_vec());
    }
    if kind.is_file() {
        return Node::File(fs::read(path).unwrap());
    }
    let children = fs::read_dir(path).unwrap().map(|entry| {
        let entry = entry.unwrap();
        (entry.file_name().into_vec(), read(&entry.path()))
    });
    Node::Directory(children.collect())
}

fn operations() -> impl Strategy<Value = Operation> {
    let path = || "[ab](/[ab]){0,2}";
    let pointers = prop::sample::select(vec!["../outside", "../../outside", "a", "b", "/", "..", "."]);
    prop_oneof![
        path().prop_map(Operation::Directory),
        (path(), any::<u8>()).prop_map(|(path, content)| Operation::File(path, content)),
        (path(), pointers).prop_map(|(path, to)| Operation::Symlink(path, to)),
        (path(), path()).prop_map(|(path, existing)| Operation::HardLink(path, existing)),
        path().prop_map(Operation::Remove),
        (path(), path()).prop_map(|(from, to)| Operation::Rename(from, to)),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]
    #[test]
    fn random_histories_agree_with_the_model(history in proptest::collection::vec(operations(), 1..30)) {
        let fixture = Fixture::new();
        let mut target = fixture.target();
        let mut model = Node::empty();
        for operation in &history {
            let wanted = model.apply(operation);
            let done = match operation {
                Operation::Directory(path) => target.directory(path.as_bytes()),
                Operation::File(path, content) => {
                    let wanted = attributes(0o644);
                    target.file(path.as_bytes(), &wanted).and_then(|mut file| {
                        file.write(&[*content])?;
                        file.finish(&wanted)
                    })
                }
                Operation::Symlink(path, to) => target.symlink(path.as_bytes(), to.as_bytes(), &attributes(0o777)),
                Operation::HardLink(path, existing) => target.hard_link(path.as_bytes(), existing.as_bytes()),
                Operation::Remove(path) => target.remove(path.as_bytes()),
                Operation::Rename(from, to) => target.rename(from.as_bytes(), to.as_bytes()),
            };
            prop_assert_eq!(done.is_ok(), wanted.is_ok(), "{:?}: {:?}", operation, done);
            prop_assert_eq!(&read(&fixture.root()), &model, "after {:?}", operation);
        }
        fixture.assert_outside_is_untouched();
        prop_assert_eq!(fixture.monitor.problems(), vec![]);
    }
}

#[test]
fn the_model_is_not_blind() {
    let fixture = Fixture::new();
    let mut target = fixture.target();
    write(&mut target, b"a/b", b"1", &attributes(0o644));
    let mut model = Node::empty();
    model.put("a/b", Node::File(b"2".to_vec())).unwrap();
    assert_ne!(read(&fixture.root()), model);
}
