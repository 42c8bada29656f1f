//! Storages that lie: one read gives other bytes than were stored, and says that all is well.

use icecore::Result;
use icecore::name::ObjectName;
use icecore::storage::Storage;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

/// What a read gives instead of the stored bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lie {
    /// Nothing.
    Empty,
    /// The first half.
    Short,
    /// All but the last byte.
    AlmostAll,
    /// One bit of the byte in the middle is turned.
    OneBit,
    /// Zeros, as many bytes as there should be.
    Zeros,
}

impl Lie {
    /// Each of them.
    pub const ALL: [Lie; 5] = [Lie::Empty, Lie::Short, Lie::AlmostAll, Lie::OneBit, Lie::Zeros];

    fn tell(self, bytes: &mut Vec<u8>) {
        let middle = bytes.len() / 2;
        match self {
            Lie::Empty => bytes.clear(),
            Lie::Short => bytes.truncate(middle),
            Lie::AlmostAll => bytes.truncate(bytes.len().saturating_sub(1)),
            Lie::OneBit => bytes.iter_mut().skip(middle).take(1).for_each(|byte| *byte ^= 0x10),
            Lie::Zeros => bytes.fill(0),
        }
    }
}

/// A storage whose n-th read is not the truth.
pub struct Liar {
    inner: Arc<dyn Storage>,
    nth: u64,
    lie: Lie,
    reads: AtomicU64,
    lied: AtomicBool,
}

impl Liar {
    /// Decorates `inner`; its `nth` read, counted from 1, is a lie.
    pub fn new(inner: Arc<dyn Storage>, nth: u64, lie: Lie) -> Liar {
        Liar { inner, nth, lie, reads: AtomicU64::new(0), lied: AtomicBool::new(false) }
    }

    /// Decorates `inner` with nothing but counting.
    pub fn none(inner: Arc<dyn Storage>) -> Liar {
        Liar::new(inner, 0, Lie::Empty)
    }

    /// Reads so far.
    pub fn reads(&self) -> u64 {
        self.reads.load(Ordering::SeqCst)
    }

    /// Whether the read came and was not the truth. A test whose lie was never told has tested nothing.
    pub fn lied(&self) -> bool {
        self.lied.load(Ordering::SeqCst)
    }
}

impl Storage for Liar {
    fn read(&self, name: &ObjectName, offset: u64, length_bytes: usize) -> Result<Vec<u8>> {
        let truth = self.inner.read(name, offset, length_bytes)?;
        if self.reads.fetch_add(1, Ordering::SeqCst) + 1 != self.nth {
            return Ok(truth);
        }
        let mut told = truth.clone();
        self.lie.tell(&mut told);
        self.lied.store(told != truth, Ordering::SeqCst);
        Ok(told)
    }

    icecore::storage::forward!([inner] put writer stat list delete capabilities label);
}

#[cfg(test)]
mod tests {
    use super::*;
    use icecore::storage::PutMode;
    use icecore::storage::memory::Memory;

    #[test]
    fn only_the_read_that_was_chosen_lies() {
        let expected: [&[u8]; 5] = [b"", b"12", b"123", b"12#4", b"\0\0\0\0"];
        for (lie, expected) in Lie::ALL.into_iter().zip(expected) {
            let memory = Memory::new();
            let name = ObjectName::new("a").unwrap();
            memory.put(&name, b"1234", PutMode::CreateNew).unwrap();
            let liar = Liar::new(Arc::new(memory), 2, lie);
            let read = || liar.read(&name, 0, 9).unwrap();
            assert_eq!((read(), read(), read()), (b"1234".to_vec(), expected.to_vec(), b"1234".to_vec()));
            assert!(liar.lied() && liar.reads() == 3);
        }
    }
}
