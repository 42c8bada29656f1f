//! Storages that have lost a piece of an object, and say so: as Swift does of which a segment is gone.

use icecore::name::ObjectName;
use icecore::storage::{Depth, Listed, ObjectWriter, PutMode, Stat, Storage};
use icecore::{Error, Result};
use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

type Lost = Arc<Mutex<BTreeSet<ObjectName>>>;

fn lock(lost: &Lost) -> MutexGuard<'_, BTreeSet<ObjectName>> {
    lost.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A storage with holes: of what it has lost, listings tell a smaller length, and whoever looks at it or reads it is told that it is
/// damaged, which may pass. What is put in its place is whole.
pub struct Holed {
    inner: Arc<dyn Storage>,
    lost: Lost,
}

impl Holed {
    /// Decorates `inner`, of which nothing is lost yet.
    pub fn new(inner: Arc<dyn Storage>) -> Holed {
        Holed { inner, lost: Lost::default() }
    }

    /// Loses a piece of an object.
    pub fn lose(&self, name: &ObjectName) {
        lock(&self.lost).insert(name.clone());
    }

    /// Whether anything is lost still.
    pub fn has_holes(&self) -> bool {
        !lock(&self.lost).is_empty()
    }

    fn look(&self, name: &ObjectName) -> Result<()> {
        match lock(&self.lost).contains(name) {
            true => Err(Error::damaged("a piece is missing of", name.as_str()).retry_later()),
            false => Ok(()),
        }
    }
}

impl Storage for Holed {
    fn put(&self, name: &ObjectName, bytes: &[u8], mode: PutMode) -> Result<()> {
        self.inner.put(name, bytes, mode)?;
        lock(&self.lost).remove(name);
        Ok(())
    }

    fn writer(&self, name: &ObjectName, mode: PutMode) -> Result<Box<dyn ObjectWriter>> {
        let inner = self.inner.writer(name, mode)?;
        Ok(Box::new(Writer { inner, name: name.clone(), lost: Arc::clone(&self.lost) }))
    }

    fn read(&self, name: &ObjectName, offset: u64, length_bytes: usize) -> Result<Vec<u8>> {
        self.look(name)?;
        self.inner.read(name, offset, length_bytes)
    }

    fn stat(&self, name: &ObjectName) -> Result<Stat> {
        self.look(name)?;
        self.inner.stat(name)
    }

    fn list(
        &self,
        prefix: Option<&ObjectName>,
        depth: Depth,
        row: &mut dyn FnMut(Listed) -> Result<()>,
    ) -> Result<()> {
        self.inner.list(prefix, depth, &mut |listed| match listed {
            Listed::Object { name, size_bytes } if self.look(&name).is_err() => {
                row(Listed::Object { name, size_bytes: size_bytes.saturating_sub(1) })
            }
            listed => row(listed),
        })
    }

    fn delete(&self, name: &ObjectName) -> Result<()> {
        self.inner.delete(name)?;
        lock(&self.lost).remove(name);
        Ok(())
    }

    icecore::storage::forward!([inner] capabilities label);
}

struct Writer {
    inner: Box<dyn ObjectWriter>,
    name: ObjectName,
    lost: Lost,
}

impl ObjectWriter for Writer {
    fn write(&mut self, bytes: &[u8]) -> Result<()> {
        self.inner.write(bytes)
    }

    fn finish(self: Box<Self>) -> Result<()> {
        let Writer { inner, name, lost } = *self;
        inner.finish()?;
        lock(&lost).remove(&name);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use icecore::Kind;
    use icecore::storage::memory::Memory;

    #[test]
    fn what_is_lost_is_damaged_until_it_is_put_again() {
        let holed = Holed::new(Arc::new(Memory::new()));
        let name = ObjectName::new("a").unwrap();
        holed.put(&name, b"1234", PutMode::CreateNew).unwrap();
        holed.lose(&name);
        assert_eq!(holed.stat(&name).unwrap_err().kind(), Kind::Damaged);
        assert_eq!(holed.read(&name, 0, 1).unwrap_err().kind(), Kind::Damaged);
        let mut rows = Vec::new();
        holed
            .list(None, Depth::All, &mut |row| {
                rows.push(row);
                Ok(())
            })
            .unwrap();
        assert_eq!(rows, [Listed::Object { name: name.clone(), size_bytes: 3 }]);
        assert!(holed.has_holes());
        let mut writer = holed.writer(&name, PutMode::Replace).unwrap();
        writer.write(b"1234").unwrap();
        assert!(holed.has_holes());
        writer.finish().unwrap();
        assert!(!holed.has_holes() && holed.read(&name, 0, 9).unwrap() == b"1234");
    }
}
