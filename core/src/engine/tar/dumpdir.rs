//! Tar: dumpdir (placeholder).
