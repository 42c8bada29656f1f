//! Storage: memory (placeholder).
