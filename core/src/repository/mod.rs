//! Where backups live in a storage (placeholder).
