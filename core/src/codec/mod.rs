//! Compression of streams (placeholder).
