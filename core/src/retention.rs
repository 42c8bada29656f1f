//! Which chains may go (placeholder).
