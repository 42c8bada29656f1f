//! Errors that say where: a decorator that adds to each error of a storage what was to be done, to which object of which storage.

use icecore::error::{Error, Result};
use icecore::name::ObjectName;
use icecore::storage::{Arrived, Depth, Listed, ObjectWriter, PutMode, Stat, Storage, Underway};
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

// What is forgotten here would pass by what this storage adds.
#[deny(clippy::missing_trait_methods)]
impl Storage for Named {
    fn put(&self, name: &ObjectName, bytes: &[u8], mode: PutMode) -> Result<()> {
        self.doing("cannot store", name.as_str(), self.inner.put(name, bytes, mode))
    }

    fn begin_put(&self, name: &ObjectName, bytes: &[u8], mode: PutMode) -> Result<Box<dyn Underway>> {
        // No storage at the other end of a network begins and goes on meanwhile.
        self.put(name, bytes, mode)?;
        Ok(Box::new(Arrived))
    }

    fn put_shared(&self, name: &ObjectName, bytes: &Arc<Vec<u8>>, mode: PutMode) -> Result<()> {
        self.doing("cannot store", name.as_str(), self.inner.put_shared(name, bytes, mode))
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

    fn read_into(
        &self,
        name: &ObjectName,
        offset: u64,
        length_bytes: usize,
        buffer: &mut Vec<u8>,
    ) -> Result<()> {
        let read = self.inner.read_into(name, offset, length_bytes, buffer);
        self.doing("cannot read", name.as_str(), read)
    }

    fn read_copy(
        &self,
        name: &ObjectName,
        offset: u64,
        length_bytes: usize,
        copy: usize,
    ) -> Option<Result<Vec<u8>>> {
        let read = self.inner.read_copy(name, offset, length_bytes, copy)?;
        Some(self.doing("cannot read", name.as_str(), read))
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

    fn remove(&self, name: &ObjectName) -> Result<()> {
        self.doing("cannot delete", name.as_str(), self.inner.remove(name))
    }

    fn clean_temporaries(&self, before: Timestamp) -> Result<u64> {
        self.doing("cannot clean up", "", self.inner.clean_temporaries(before))
    }

    fn label(&self) -> String {
        self.label.clone()
    }

    icecore::storage::forward!([inner] is_close hold distrust capabilities);
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

#[cfg(test)]
mod tests {
    use super::*;
    use icecore::Kind;
    use icecore::error::Retry;
    use icecore::storage::memory::Memory;
    use icecore_testkit::fault::{Fault, Moment, Plan};

    fn name() -> ObjectName {
        ObjectName::new("data/one").unwrap()
    }

    /// A storage that is called `sftp://host/place` and of which the n-th call fails in a way that may pass.
    struct Far(Fault);

    impl Storage for Far {
        fn label(&self) -> String {
            "sftp://host/place".to_owned()
        }

        icecore::storage::forward!([0] put writer read stat list delete clean_temporaries capabilities);
    }

    fn failing(nth: u64) -> Named {
        let memory = Memory::new();
        memory.put(&name(), b"there", PutMode::CreateNew).unwrap();
        let plan = Plan::once(nth, Moment::Before).with_kind(Kind::Io).passing();
        Named::new(Arc::new(Far(Fault::new(Arc::new(memory), plan))))
    }

    /// What every failing run tells in the end: what was to be done, to which object of which storage, why, and whether
    /// trying again may help.
    #[test]
    fn every_error_names_operation_object_storage_and_cause() {
        let name = name();
        let list = |prefix: Option<&ObjectName>| failing(1).list(prefix, Depth::All, &mut |_| Ok(()));
        let written = |nth: u64| {
            let mut writer = failing(nth).writer(&name, PutMode::Replace)?;
            writer.write(b"bytes")?;
            writer.finish()
        };
        for (outcome, expected) in [
            (
                failing(1).put(&name, b"", PutMode::Replace),
                "cannot store data/one (sftp://host/place): planned failure of put data/one",
            ),
            (
                failing(1).put_fleeting(&name, b""),
                "cannot store data/one (sftp://host/place): planned failure of put data/one",
            ),
            (
                failing(1).read(&name, 0, 9).map(drop),
                "cannot read data/one (sftp://host/place): planned failure of read data/one",
            ),
            (
                failing(1).stat(&name).map(drop),
                "cannot look at data/one (sftp://host/place): planned failure of stat data/one",
            ),
            (
                failing(1).delete(&name),
                "cannot delete data/one (sftp://host/place): planned failure of delete data/one",
            ),
            (list(Some(&name)), "cannot list data/one (sftp://host/place): planned failure of list data/one"),
            (list(None), "cannot list sftp://host/place: planned failure of list"),
            (written(1), "cannot begin data/one (sftp://host/place): planned failure of writer data/one"),
            (written(2), "cannot write data/one (sftp://host/place): planned failure of write data/one"),
            (written(3), "cannot finish data/one (sftp://host/place): planned failure of finish data/one"),
            (
                failing(1).clean_temporaries(Timestamp(0)).map(drop),
                "cannot clean up sftp://host/place: planned failure of clean_temporaries",
            ),
        ] {
            let error = outcome.unwrap_err();
            assert_eq!(error.to_string(), expected);
            assert_eq!((error.kind(), error.retry()), (Kind::Io, Retry::Later));
        }
    }

    #[test]
    fn kinds_and_advice_stay_and_an_error_of_the_receiver_is_its_own() {
        let storage = failing(0);
        let missing = ObjectName::new("missing").unwrap();
        let error = storage.read(&missing, 0, 9).unwrap_err();
        assert_eq!((error.kind(), error.retry()), (Kind::NotFound, Retry::Never));
        let refused = storage.list(None, Depth::All, &mut |_| Err(Error::invalid("enough", "").hint("stop")));
        let refused = refused.unwrap_err();
        assert_eq!(
            (refused.to_string().trim(), refused.kind(), refused.advice()),
            ("enough", Kind::Invalid, Some("stop"))
        );
        let hinted = named(Error::new(Kind::Denied, "no").hint("ask for more"), "cannot read", "s3://b", "a");
        assert_eq!(
            (hinted.to_string().as_str(), hinted.advice()),
            ("cannot read a (s3://b): no", Some("ask for more"))
        );
    }
}
