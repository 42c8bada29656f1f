//! Tree: target (placeholder).
