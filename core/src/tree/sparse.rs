//! Tree: sparse (placeholder).
