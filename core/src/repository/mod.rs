//! Where backups live in a storage.
pub mod document;
pub mod location;
