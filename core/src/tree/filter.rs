//! Tree: filter (placeholder).
