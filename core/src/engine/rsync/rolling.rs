//! The weak sum of a window of bytes, which moves on by a byte at the cost of one multiplication.
//!
//! A window x₀ … xₙ₋₁ has the sum x₀·Fⁿ + x₁·Fⁿ⁻¹ + … + xₙ₋₁·F modulo 2⁶⁴, F being `FACTOR`; what is stored of it is its
//! upper half. Invariant: a sum that was rolled is the sum of the window it was rolled to.

/// The factor.
const FACTOR: u64 = 0x9e37_79b9_7f4a_7c15;

/// The powers of the factor up to the eighth.
const POWERS: [u64; 9] = powers();

const fn powers() -> [u64; 9] {
    let mut powers = [1_u64; 9];
    let mut at = 1;
    while at < powers.len() {
        powers[at] = powers[at - 1].wrapping_mul(FACTOR);
        at += 1;
    }
    powers
}

/// The sum of all of `bytes`.
pub fn sum(bytes: &[u8]) -> u64 {
    let (whole, rest) = bytes.as_chunks::<8>();
    let mut sum = 0_u64;
    for eight in whole {
        let mut part = 0_u64;
        for (at, byte) in eight.iter().enumerate() {
            part = part.wrapping_add(u64::from(*byte).wrapping_mul(POWERS[8 - at]));
        }
        sum = sum.wrapping_mul(POWERS[8]).wrapping_add(part);
    }
    rest.iter().fold(sum, |sum, byte| sum.wrapping_add(u64::from(*byte)).wrapping_mul(FACTOR))
}

/// What is stored of a sum.
#[inline]
pub fn weak(sum: u64) -> u32 {
    (sum >> 32) as u32
}

/// Moves sums of windows of one length.
pub struct Roller {
    /// For each byte what it still adds when it has left the window.
    left: Box<[u64; 256]>,
}

impl Roller {
    /// For windows of so many bytes.
    pub fn new(window_bytes: usize) -> Roller {
        let power = power(window_bytes as u64 + 1);
        let mut left = Box::new([0; 256]);
        for (byte, left) in left.iter_mut().enumerate() {
            *left = (byte as u64).wrapping_mul(power);
        }
        Roller { left }
    }

    /// The sum of the window that begins a byte later.
    #[inline]
    pub fn roll(&self, sum: u64, leaving: u8, entering: u8) -> u64 {
        let grown = sum.wrapping_add(u64::from(entering)).wrapping_mul(FACTOR);
        grown.wrapping_sub(self.left[usize::from(leaving)])
    }
}

/// A power of the factor.
fn power(mut exponent: u64) -> u64 {
    let (mut base, mut product) = (FACTOR, 1_u64);
    while exponent > 0 {
        if exponent & 1 == 1 {
            product = product.wrapping_mul(base);
        }
        base = base.wrapping_mul(base);
        exponent >>= 1;
    }
    product
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn sums_are_those_of_the_format() {
        for (bytes, expected) in [
            (&b""[..], 0),
            (b"\0\0\0", 0),
            (b"\x01", FACTOR),
            (b"\x01\x02", power(2).wrapping_add(FACTOR << 1)),
        ] {
            assert_eq!(sum(bytes), expected, "{bytes:?}");
        }
        assert_eq!(weak(0x1234_5678_9abc_def0), 0x1234_5678);
    }

    proptest! {
        #[test]
        fn a_rolled_sum_is_the_sum_of_its_window(
            bytes in proptest::collection::vec(any::<u8>(), 1..400), window in 1_usize..100
        ) {
            let window = window.min(bytes.len());
            let roller = Roller::new(window);
            let mut rolled = sum(&bytes[..window]);
            for at in 0..bytes.len() - window {
                rolled = roller.roll(rolled, bytes[at], bytes[at + window]);
                prop_assert_eq!(rolled, sum(&bytes[at + 1..at + 1 + window]));
            }
        }
    }
}
