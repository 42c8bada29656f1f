//! Random numbers from a seed, so that a failing tree can be built again.
//!
//! Algorithm: xorshift64*, from G. Marsaglia, "Xorshift RNGs" (2003), and S. Vigna (2016). Not for secrets.

/// A stream of numbers that depends on nothing but its seed.
#[derive(Debug, Clone)]
pub struct Random {
    state: u64,
}

impl Random {
    /// A stream of its own for every seed.
    pub fn new(seed: u64) -> Self {
        // The state must not be zero, and close seeds should not give close streams.
        Random { state: seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ 0x5851_f42d_4c95_7f2d | 1 }
    }

    /// The next number.
    pub fn next_u64(&mut self) -> u64 {
        self.state ^= self.state >> 12;
        self.state ^= self.state << 25;
        self.state ^= self.state >> 27;
        self.state.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    /// A number in `0..bound`; zero when `bound` is zero.
    pub fn below(&mut self, bound: u64) -> u64 {
        self.next_u64().checked_rem(bound).unwrap_or(0)
    }

    /// One of `items`; `None` when there are none.
    pub fn choose<'a, T>(&mut self, items: &'a [T]) -> Option<&'a T> {
        items.get(self.below(items.len() as u64) as usize)
    }

    /// Bytes that do not compress.
    pub fn bytes(&mut self, length: usize) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(length + 8);
        while bytes.len() < length {
            bytes.extend_from_slice(&self.next_u64().to_le_bytes());
        }
        bytes.truncate(length);
        bytes
    }

    /// Lines of words: bytes that compress.
    pub fn text(&mut self, length: usize) -> Vec<u8> {
        const WORDS: [&str; 8] = ["ice", "core", "layer", "drill", "archive", "level", "\n", "restore"];
        let mut text = Vec::with_capacity(length + 8);
        while text.len() < length {
            text.extend_from_slice(WORDS[self.below(8) as usize].as_bytes());
            text.push(b' ');
        }
        text.truncate(length);
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_gives_the_same_stream_and_another_seed_another() {
        assert_eq!(Random::new(7).bytes(1000), Random::new(7).bytes(1000));
        assert_ne!(Random::new(7).bytes(1000), Random::new(8).bytes(1000));
        assert!((0..1000).all(|seed| Random::new(seed).below(10) < 10));
    }
}
