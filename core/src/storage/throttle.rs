//! Storage: throttle (placeholder).
