//! Producer, bounded queue, consumer (placeholder).
