//! What a user can do, a file per capability: tests run the real program on real trees and real repositories.
//!
//! Promises that need a failure at every place there is (faults, damage, random histories) are tested through the library, over
//! a storage in memory; see `in_memory`.

#![cfg(test)]

mod in_memory;
mod place;
mod program;
mod running;

mod attack;
mod copying;
mod corpus;
mod damage;
mod databases;
mod dedup;
mod dereference;
mod elsewhere;
mod encryption;
mod exclude;
mod failure;
mod faults;
mod forgetting;
mod freezer;
mod gnu_tar;
mod guide;
mod histories;
mod hooks;
mod house;
mod interruption;
mod meanwhile;
mod mirror;
mod probing;
mod profiles;
mod reading;
mod restoring;
mod retention;
mod rot;
mod round_trip;
mod rsync;
mod selection;
mod storage;
mod terminal;
mod volumes;
