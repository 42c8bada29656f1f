//! From a password to a key: Argon2id, with what it costs kept in the slot and bounded here, since a slot is foreign bytes.

use super::password::Password;
use super::seal::{KEY_BYTES, Key};
use crate::error::{Error, Kind, Result};
use crate::limits::{KDF_LANES, KDF_MEMORY_KIB, KDF_PASSES, KDF_WORK_KIB};
use argon2::{Algorithm, Argon2, Block, Params, Version};
use zeroize::Zeroizing;

/// Bytes of a salt.
pub const SALT_BYTES: usize = 32;

/// What a derivation costs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Parameters {
    /// Memory in KiB.
    pub memory_kib: u32,
    /// Passes over it.
    pub passes: u32,
    /// Lanes it is divided in.
    pub lanes: u32,
}

impl Parameters {
    /// What new repositories have (the second choice of RFC 9106): memory that makes guessing by special hardware dear, at a cost
    /// that is paid once a run, by several cores at once.
    pub const WRITTEN: Parameters = Parameters { memory_kib: 65_536, passes: 3, lanes: 4 };
    /// The least that is accepted.
    pub const LEAST: Parameters = Parameters {
        memory_kib: *KDF_MEMORY_KIB.start(),
        passes: *KDF_PASSES.start(),
        lanes: *KDF_LANES.start(),
    };

    /// Whether they are within the bounds of the format.
    pub fn are_allowed(&self) -> bool {
        KDF_MEMORY_KIB.contains(&self.memory_kib)
            && KDF_PASSES.contains(&self.passes)
            && KDF_LANES.contains(&self.lanes)
            && self.work_kib() <= KDF_WORK_KIB
    }

    /// What a derivation costs, as one number.
    pub fn work_kib(&self) -> u64 {
        u64::from(self.memory_kib) * u64::from(self.passes)
    }
}

/// One way from passwords to keys: slots that share it are tried with one derivation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Derivation {
    /// What it costs.
    pub parameters: Parameters,
    /// What makes it another one than anybody else's.
    pub salt: [u8; SALT_BYTES],
}

impl Derivation {
    /// The key of a password.
    ///
    /// # Errors
    /// `Limit` when the parameters are beyond the bounds, `Invalid` for a password of more than 4 GiB, `Io` when there is not
    /// enough memory.
    pub fn key(&self, password: &Password) -> Result<Key> {
        let Parameters { memory_kib, passes, lanes } = self.parameters;
        if !self.parameters.are_allowed() {
            return Err(Error::new(Kind::Limit, "a key slot asks for too much or too little:")
                .on(format!("{memory_kib} KiB, {passes} passes, {lanes} lanes")));
        }
        let parameters = Params::new(memory_kib, passes, lanes, Some(KEY_BYTES))
            .map_err(|error| Error::invalid("parameters of a key slot:", error.to_string()))?;
        // Held here, so that it is wiped: the key could be computed from what is left in it.
        let mut memory: Zeroizing<Vec<Block>> = Zeroizing::new(Vec::new());
        memory.try_reserve_exact(parameters.block_count()).map_err(|error| {
            Error::new(Kind::Io, "not enough memory to make a key of the password,")
                .on(format!("{memory_kib} KiB"))
                .because(error)
        })?;
        memory.resize(parameters.block_count(), Block::default());
        let mut key: Key = Zeroizing::new([0; KEY_BYTES]);
        Argon2::new(Algorithm::Argon2id, Version::V0x13, parameters)
            .hash_password_into_with_memory(password.bytes(), &self.salt, &mut key[..], memory.as_mut_slice())
            .map_err(|error| Error::invalid("cannot make a key of the password:", error.to_string()))?;
        Ok(key)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parameters_beyond_the_bounds_cost_nothing() {
        let derive = |memory_kib, passes, lanes| {
            let parameters = Parameters { memory_kib, passes, lanes };
            Derivation { parameters, salt: [0; SALT_BYTES] }.key(&Password::new(b"x".to_vec()))
        };
        for (memory_kib, passes, lanes) in [
            (8_191, 1, 1),
            (1_048_577, 1, 1),
            (u32::MAX, 1, 1),
            (8_192, 0, 1),
            (8_192, 65, 1),
            (8_192, 1, 0),
            (8_192, 1, 17),
            (1_048_576, 2, 1),
            (16_385, 64, 1),
        ] {
            assert_eq!(derive(memory_kib, passes, lanes).unwrap_err().kind(), Kind::Limit);
        }
    }

    #[test]
    fn password_salt_and_parameters_all_count() {
        let least = Derivation { parameters: Parameters::LEAST, salt: [0; SALT_BYTES] };
        let twice = Derivation { parameters: Parameters { passes: 2, ..Parameters::LEAST }, ..least };
        let salted = Derivation { salt: [1; SALT_BYTES], ..least };
        let key = |derivation: Derivation, password: &[u8]| {
            derivation.key(&Password::new(password.to_vec())).unwrap()
        };
        let first = key(least, b"secret");
        assert_eq!(first, key(least, b"secret"));
        for other in [key(least, b"secret "), key(least, b""), key(twice, b"secret"), key(salted, b"secret")]
        {
            assert_ne!(first, other);
        }
    }
}
