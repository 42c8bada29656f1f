//! What a line does to the bytes on it, and where it breaks.

use std::num::NonZeroU64;
use std::time::Duration;

/// A direction.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Way {
    /// From the client to the server.
    Up,
    /// From the server to the client.
    Down,
}

/// How a connection breaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Harm {
    /// Both ends are told that the other has ended (FIN), as when a process dies.
    Cut,
    /// Both ends are reset (RST).
    Reset,
    /// Nothing is taken from either end or given to it any more, and the connection stays.
    Stall,
    /// What follows in this direction is lost, and its end is told as if nothing were missing. The other direction goes on.
    Truncate,
}

/// Whose bytes are counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Of {
    /// Those of one connection; they have numbers in the order in which clients opened them, from 1.
    Connection(u64),
    /// Those of each connection: every one breaks at that byte.
    Each,
    /// Those of all connections together: the one breaks that carries that byte, once.
    All,
}

/// One break.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Fault {
    /// Whose bytes are counted.
    pub of: Of,
    /// In which direction.
    pub way: Way,
    /// It strikes behind this byte, counted from 1; with 0 (not of all), as soon as the connection is open.
    pub after_bytes: u64,
    /// What happens.
    pub harm: Harm,
}

/// What a line does.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Plan {
    /// How long bytes are under way, in each direction.
    pub delay: Duration,
    /// How many bytes pass in a second, in each direction, of all connections together.
    pub bytes_per_second: Option<NonZeroU64>,
    /// New connections are refused, as where nobody listens. Those that are open stay.
    pub refuses: bool,
    /// Where connections break.
    pub faults: Vec<Fault>,
}

impl Plan {
    /// A line on which bytes are so long under way in each direction.
    pub fn delayed(delay: Duration) -> Plan {
        Plan { delay, ..Plan::default() }
    }

    /// How many of the bytes go on, and what happens behind them: the first fault that is among them.
    pub(super) fn strike(&self, passage: &Passage) -> Option<(u64, Harm)> {
        let strikes =
            self.faults.iter().filter_map(|fault| passage.reaches(fault).map(|bytes| (bytes, fault.harm)));
        strikes.min_by_key(|(bytes, _)| *bytes)
    }
}

/// Bytes that arrive at one end; none when the connection opens.
#[derive(Debug, Clone, Copy)]
pub(super) struct Passage {
    pub connection: u64,
    pub way: Way,
    /// Of this connection, in this direction.
    pub before_bytes: u64,
    /// Of all connections, in this direction.
    pub before_all_bytes: u64,
    pub length_bytes: u64,
}

impl Passage {
    /// How many of the bytes lie before a fault that is behind one of them.
    fn reaches(&self, fault: &Fault) -> Option<u64> {
        let before = match fault.of {
            Of::Connection(number) if number != self.connection => return None,
            Of::All if fault.after_bytes == 0 => return None,
            Of::Connection(_) | Of::Each => self.before_bytes,
            Of::All => self.before_all_bytes,
        };
        let distance = fault.after_bytes.checked_sub(before)?;
        // What is behind the last byte of the passage before has struck there.
        let is_here = distance <= self.length_bytes
            && (distance > 0 || (fault.after_bytes == 0 && self.length_bytes == 0));
        (fault.way == self.way && is_here).then_some(distance)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fault_strikes_once_behind_its_byte() {
        let struck = |of, after_bytes| {
            let plan = Plan {
                faults: vec![Fault { of, way: Way::Up, after_bytes, harm: Harm::Cut }],
                ..Plan::default()
            };
            // Connection 1 opens and carries 4 and 6 bytes, connection 2 opens and carries 10.
            let mut found = Vec::new();
            let rows = [(1, 0, 0, 0), (1, 0, 0, 4), (1, 4, 4, 6), (2, 0, 10, 0), (2, 0, 10, 10)];
            for (connection, before_bytes, before_all_bytes, length_bytes) in rows {
                let passage =
                    Passage { connection, way: Way::Up, before_bytes, before_all_bytes, length_bytes };
                found.extend(plan.strike(&passage).map(|(bytes, _)| (connection, before_bytes + bytes)));
                assert_eq!(plan.strike(&Passage { way: Way::Down, ..passage }), None);
            }
            found
        };
        assert_eq!(struck(Of::Connection(1), 0), [(1, 0)]);
        assert_eq!(struck(Of::Connection(1), 4), [(1, 4)]);
        assert_eq!(struck(Of::Connection(2), 5), [(2, 5)]);
        assert_eq!(struck(Of::Connection(2), 11), []);
        assert_eq!(struck(Of::Each, 10), [(1, 10), (2, 10)]);
        assert_eq!(struck(Of::Each, 0), [(1, 0), (2, 0)]);
        assert_eq!(struck(Of::All, 0), []);
        assert_eq!(struck(Of::All, 10), [(1, 10)]);
        assert_eq!(struck(Of::All, 11), [(2, 1)]);
    }

    #[test]
    fn of_two_faults_the_nearer_one_strikes() {
        let fault = |after_bytes, harm| Fault { of: Of::Each, way: Way::Down, after_bytes, harm };
        let plan = Plan { faults: vec![fault(7, Harm::Cut), fault(3, Harm::Reset)], ..Plan::default() };
        let passage =
            Passage { connection: 1, way: Way::Down, before_bytes: 0, before_all_bytes: 0, length_bytes: 9 };
        assert_eq!(plan.strike(&passage), Some((3, Harm::Reset)));
    }
}
