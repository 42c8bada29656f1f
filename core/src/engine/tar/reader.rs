//! Tar: reader (placeholder).
