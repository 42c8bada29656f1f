//! Errors that say where: a decorator that adds to each error of a storage what was to be done, to which object of which storage.

use icecore::error::{Error, Result};
use icecore::name::ObjectName;
use icecore::storage::{Capabilities, Depth, Listed, ObjectWriter, PutMode, Stat, Storage};
use icecore::time::Timestamp;
use std::sync::Arc;

/// A storage whose errors name it.
pub struct Named {
    inner: Arc<dyn Storage>,
    label: String,
}

impl Named {
    /// Decorates `inner`.
    pub fn new(inner: Arc<dyn Storage>) -> Named {
        let label = inner.label();
        Named { inner, label }
    }

    fn doing<T>(&self, what: &str, name: &str, done: Result<T>) -> Result<T> {
        done.map_err(|error| named(error, what, &self.label, name))
    }
}

fn named(error: Error, what: &str, label: &str, name: &str) -> Error {
    match name {
        "" => error.while_doing(what, label),
        name => error.while_doing(what, format!("{name} ({label})")),
    }
}

impl Storage for Named {
    fn put(&self, name: &ObjectName, bytes: &[u8], mode: PutMode) -> Result<()> {
        self.doing("cannot store", name.as_str(), self.inner.put(name, bytes, mode))
    }

    fn put_fleeting(&self, name: &ObjectName, bytes: &[u8]) -> Result<()> {
        self.doing("cannot store", name.as_str(), self.inner.put_fleeting(name, bytes))
    }

    fn writer(&self, name: &ObjectName, mode: PutMode) -> Result<Box<dyn ObjectWriter>> {
        let inner = self.doing("cannot begin", name.as_str(), self.inner.writer(name, mode))?;
        Ok(Box::new(Writer { inner, label: self.label.clone(), name: name.to_string() }))
    }

    fn read(&self, name: &ObjectName, offset: u64, length_bytes: usize) -> Result<Vec<u8>> {
        self.doing("cannot read", name.as_str(), self.inner.read(name, offset, length_bytes))
    }

    fn stat(&self, name: &ObjectName) -> Result<Stat> {
        self.doing("cannot look at", name.as_str(), self.inner.stat(name))
    }

    fn list(
        &self,
        prefix: Option<&ObjectName>,
        depth: Depth,
        row: &mut dyn FnMut(Listed) -> Result<()>,
    ) -> Result<()> {
        // An error of `row` is the caller's own, and goes back as it is.
        let mut refused = None;
        let listed = self.inner.list(prefix, depth, &mut |listed| {
            row(listed).map_err(|error| {
                refused = Some(error);
                Error::stopped()
            })
        });
        match refused {
            Some(error) => Err(error),
            None => self.doing("cannot list", prefix.map_or("", ObjectName::as_str), listed),
        }
    }

    fn delete(&self, name: &ObjectName) -> Result<()> {
        self.doing("cannot delete", name.as_str(), self.inner.delete(name))
    }

    fn clean_temporaries(&self, before: Timestamp) -> Result<u64> {
        self.doing("cannot clean up", "", self.inner.clean_temporaries(before))
    }

    fn capabilities(&self) -> Capabilities {
        self.inner.capabilities()
    }

    fn label(&self) -> String {
        self.label.clone()
    }
}

struct Writer {
    inner: Box<dyn ObjectWriter>,
    label: String,
    name: String,
}

impl ObjectWriter for Writer {
    fn write(&mut self, bytes: &[u8]) -> Result<()> {
        self.inner.write(bytes).map_err(|error| named(error, "cannot write", &self.label, &self.name))
    }

    fn finish(self: Box<Self>) -> Result<()> {
        let Writer { inner, label, name } = *self;
        inner.finish().map_err(|error| named(error, "cannot finish", &label, &name))
    }
}
