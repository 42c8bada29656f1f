//! The engine as a whole: what a delta makes, and what is written down of the format.

mod deltas;
mod vectors;
