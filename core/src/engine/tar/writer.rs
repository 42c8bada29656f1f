//! Tar: writer (placeholder).
