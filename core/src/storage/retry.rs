//! Storage: retry (placeholder).
