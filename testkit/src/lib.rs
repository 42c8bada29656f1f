//! For tests only: trees, faults, conformance suites.

pub mod conformance;
pub mod fault;
