//! For tests only: trees, faults, conformance suites.
