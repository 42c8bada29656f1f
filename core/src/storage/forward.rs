//! What a storage around another only hands on to it, written once.
//!
//! A decorator names the methods that it hands on. Which it has forgotten the compiler does not say, as most have a default, by which a
//! call would come to the storage within as another one, or not at all: `clippy::missing_trait_methods` says it, and is an error
//! on the decorators.

/// Methods of a [`Storage`](crate::storage::Storage) that hand on to the one within: `forward!([inner] stat list label);` has
/// them call `self.inner`. `[within()]` calls what that method gives.
#[macro_export]
macro_rules! forward_storage {
    ($inner:tt $($method:ident)+) => { $($crate::storage::forward!(@$method $inner);)+ };
    (@put [$($inner:tt)+]) => {
        fn put(
            &self,
            name: &$crate::name::ObjectName,
            bytes: &[u8],
            mode: $crate::storage::PutMode,
        ) -> $crate::error::Result<()> {
            self.$($inner)+.put(name, bytes, mode)
        }
    };
    (@begin_put [$($inner:tt)+]) => {
        fn begin_put(
            &self,
            name: &$crate::name::ObjectName,
            bytes: &[u8],
            mode: $crate::storage::PutMode,
        ) -> $crate::error::Result<Box<dyn $crate::storage::Underway>> {
            self.$($inner)+.begin_put(name, bytes, mode)
        }
    };
    (@put_shared [$($inner:tt)+]) => {
        fn put_shared(
            &self,
            name: &$crate::name::ObjectName,
            bytes: &std::sync::Arc<Vec<u8>>,
            mode: $crate::storage::PutMode,
        ) -> $crate::error::Result<()> {
            self.$($inner)+.put_shared(name, bytes, mode)
        }
    };
    (@put_fleeting [$($inner:tt)+]) => {
        fn put_fleeting(
            &self,
            name: &$crate::name::ObjectName,
            bytes: &[u8],
        ) -> $crate::error::Result<()> {
            self.$($inner)+.put_fleeting(name, bytes)
        }
    };
    (@writer [$($inner:tt)+]) => {
        fn writer(
            &self,
            name: &$crate::name::ObjectName,
            mode: $crate::storage::PutMode,
        ) -> $crate::error::Result<Box<dyn $crate::storage::ObjectWriter>> {
            self.$($inner)+.writer(name, mode)
        }
    };
    (@read [$($inner:tt)+]) => {
        fn read(
            &self,
            name: &$crate::name::ObjectName,
            offset: u64,
            length_bytes: usize,
        ) -> $crate::error::Result<Vec<u8>> {
            self.$($inner)+.read(name, offset, length_bytes)
        }
    };
    (@read_into [$($inner:tt)+]) => {
        fn read_into(
            &self,
            name: &$crate::name::ObjectName,
            offset: u64,
            length_bytes: usize,
            buffer: &mut Vec<u8>,
        ) -> $crate::error::Result<()> {
            self.$($inner)+.read_into(name, offset, length_bytes, buffer)
        }
    };
    (@read_copy [$($inner:tt)+]) => {
        fn read_copy(
            &self,
            name: &$crate::name::ObjectName,
            offset: u64,
            length_bytes: usize,
            copy: usize,
        ) -> Option<$crate::error::Result<Vec<u8>>> {
            self.$($inner)+.read_copy(name, offset, length_bytes, copy)
        }
    };
    (@is_close [$($inner:tt)+]) => {
        fn is_close(&self) -> bool {
            self.$($inner)+.is_close()
        }
    };
    (@hold [$($inner:tt)+]) => {
        fn hold(&self, name: &$crate::name::ObjectName) -> bool {
            self.$($inner)+.hold(name)
        }
    };
    (@distrust [$($inner:tt)+]) => {
        fn distrust(&self, name: &$crate::name::ObjectName) -> bool {
            self.$($inner)+.distrust(name)
        }
    };
    (@stat [$($inner:tt)+]) => {
        fn stat(
            &self,
            name: &$crate::name::ObjectName,
        ) -> $crate::error::Result<$crate::storage::Stat> {
            self.$($inner)+.stat(name)
        }
    };
    (@list [$($inner:tt)+]) => {
        fn list(
            &self,
            prefix: Option<&$crate::name::ObjectName>,
            depth: $crate::storage::Depth,
            row: &mut dyn FnMut($crate::storage::Listed) -> $crate::error::Result<()>,
        ) -> $crate::error::Result<()> {
            self.$($inner)+.list(prefix, depth, row)
        }
    };
    (@delete [$($inner:tt)+]) => {
        fn delete(&self, name: &$crate::name::ObjectName) -> $crate::error::Result<()> {
            self.$($inner)+.delete(name)
        }
    };
    (@remove [$($inner:tt)+]) => {
        fn remove(&self, name: &$crate::name::ObjectName) -> $crate::error::Result<()> {
            self.$($inner)+.remove(name)
        }
    };
    (@clean_temporaries [$($inner:tt)+]) => {
        fn clean_temporaries(
            &self,
            before: $crate::time::Timestamp,
        ) -> $crate::error::Result<u64> {
            self.$($inner)+.clean_temporaries(before)
        }
    };
    (@capabilities [$($inner:tt)+]) => {
        fn capabilities(&self) -> $crate::storage::Capabilities {
            self.$($inner)+.capabilities()
        }
    };
    (@label [$($inner:tt)+]) => {
        fn label(&self) -> String {
            self.$($inner)+.label()
        }
    };
}
