//! Tree: listing (placeholder).
