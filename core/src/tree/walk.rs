//! Tree: walk (placeholder).
