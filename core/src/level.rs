//! Which level comes next (placeholder).
