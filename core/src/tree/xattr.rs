//! Tree: xattr (placeholder).
