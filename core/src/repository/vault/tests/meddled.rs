//! A storage that others use too. (That of the testkit is built on the library as users have it, which is another crate than the one
//! whose tests these are.)

use crate::error::Result;
use crate::name::ObjectName;
use crate::storage::memory::Memory;
use crate::storage::{Depth, Listed, PutMode, Storage};
use std::sync::{Arc, Mutex};

type Deed = Box<dyn FnOnce(&Memory) + Send>;

/// A storage on which somebody does something just before (`put`, `read`), or after (`listed`, `deleted`), the first call of one
/// sort on a name below another.
pub(in crate::repository::vault) struct Meddled {
    inner: Memory,
    when: &'static str,
    below: &'static str,
    deed: Mutex<Option<Deed>>,
}

impl Meddled {
    /// `deed` is done once, when such a call comes.
    pub(in crate::repository::vault) fn storage(
        inner: &Memory,
        when: &'static str,
        below: &'static str,
        deed: impl FnOnce(&Memory) + Send + 'static,
    ) -> Arc<dyn Storage> {
        Arc::new(Meddled { inner: inner.clone(), when, below, deed: Mutex::new(Some(Box::new(deed))) })
    }

    fn at(&self, when: &str, name: &ObjectName) {
        if when == self.when
            && name.as_str().starts_with(self.below)
            && let Some(deed) = self.deed.lock().unwrap().take()
        {
            deed(&self.inner);
        }
    }
}

impl Storage for Meddled {
    fn put(&self, name: &ObjectName, bytes: &[u8], mode: PutMode) -> Result<()> {
        self.at("put", name);
        self.inner.put(name, bytes, mode)
    }

    fn read(&self, name: &ObjectName, offset: u64, length_bytes: usize) -> Result<Vec<u8>> {
        self.at("read", name);
        self.inner.read(name, offset, length_bytes)
    }

    fn list(
        &self,
        prefix: Option<&ObjectName>,
        depth: Depth,
        row: &mut dyn FnMut(Listed) -> Result<()>,
    ) -> Result<()> {
        self.inner.list(prefix, depth, row)?;
        if let Some(prefix) = prefix {
            self.at("listed", prefix);
        }
        Ok(())
    }

    fn delete(&self, name: &ObjectName) -> Result<()> {
        self.inner.delete(name)?;
        self.at("deleted", name);
        Ok(())
    }

    crate::storage::forward!([inner] writer stat capabilities label);
}
