//! What a user can do, a file per capability.

#[cfg(test)]
mod storage;
