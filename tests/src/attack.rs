//! Histories and archives that are meant to break a restore: names shuffled between levels, parts of a tree across renames,
//! targets that are in use, and archives nobody's program would write.

mod clocks;
mod hostile;
mod in_use;
mod links;
mod shuffled;
