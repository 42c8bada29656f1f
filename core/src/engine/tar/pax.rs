//! Tar: pax (placeholder).
