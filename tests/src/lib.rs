//! What a user can do, a file per capability. Every test runs the real program on real trees and real repositories.

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
mod gnu_tar;
#[cfg(test)]
mod house;
#[cfg(test)]
mod interruption;
#[cfg(test)]
mod retention;
#[cfg(test)]
mod round_trip;
#[cfg(test)]
mod selection;
#[cfg(test)]
mod storage;
