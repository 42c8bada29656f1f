//! Tree: acl (placeholder).
