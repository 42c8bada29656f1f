//! Tar: snapshot (placeholder).
