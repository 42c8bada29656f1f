//! Tree: owner (placeholder).
