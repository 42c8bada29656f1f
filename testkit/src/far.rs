//! A storage that is said to be far away: callers then use it as they use one whose every request waits for an answer.

use icecore::Result;
use icecore::name::ObjectName;
use icecore::storage::{Capabilities, Depth, Listed, ObjectWriter, PutMode, Stat, Storage};
use icecore::time::Timestamp;
use std::sync::Arc;

/// Decorates a storage.
pub struct Far(pub Arc<dyn Storage>);

impl Storage for Far {
    fn put(&self, name: &ObjectName, bytes: &[u8], mode: PutMode) -> Result<()> {
        self.0.put(name, bytes, mode)
    }

    fn writer(&self, name: &ObjectName, mode: PutMode) -> Result<Box<dyn ObjectWriter>> {
        self.0.writer(name, mode)
    }

    fn read(&self, name: &ObjectName, offset: u64, length_bytes: usize) -> Result<Vec<u8>> {
        self.0.read(name, offset, length_bytes)
    }

    fn stat(&self, name: &ObjectName) -> Result<Stat> {
        self.0.stat(name)
    }

    fn list(
        &self,
        prefix: Option<&ObjectName>,
        depth: Depth,
        row: &mut dyn FnMut(Listed) -> Result<()>,
    ) -> Result<()> {
        self.0.list(prefix, depth, row)
    }

    fn delete(&self, name: &ObjectName) -> Result<()> {
        self.0.delete(name)
    }

    fn clean_temporaries(&self, before: Timestamp) -> Result<u64> {
        self.0.clean_temporaries(before)
    }

    fn capabilities(&self) -> Capabilities {
        Capabilities { parallel: true, ..self.0.capabilities() }
    }

    fn label(&self) -> String {
        self.0.label()
    }
}
