//! The program `icecore`.

fn main() {}
