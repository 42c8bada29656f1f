//! The engine as a whole: what a delta makes, and what a chain of levels restores to.

mod deltas;
