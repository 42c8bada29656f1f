//! Tar: header (placeholder).
