//! Storage: local (placeholder).
