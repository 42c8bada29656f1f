//! What a user can do, a file per capability: tests run the real program on real trees and real repositories.
//!
//! Promises that need a failure at every place there is (faults, damage, random histories) are tested through the library, over
//! a storage in memory; see [`in_memory`].

#[cfg(test)]
mod in_memory;
#[cfg(test)]
mod place;
#[cfg(test)]
mod program;
#[cfg(test)]
mod running;

#[cfg(test)]
mod attack;
#[cfg(test)]
mod corpus;
#[cfg(test)]
mod damage;
#[cfg(test)]
mod exclude;
#[cfg(test)]
mod failure;
#[cfg(test)]
mod faults;
#[cfg(test)]
mod gnu_tar;
#[cfg(test)]
mod guide;
#[cfg(test)]
mod histories;
#[cfg(test)]
mod house;
#[cfg(test)]
mod interruption;
#[cfg(test)]
mod retention;
#[cfg(test)]
mod rot;
#[cfg(test)]
mod round_trip;
#[cfg(test)]
mod selection;
#[cfg(test)]
mod storage;
