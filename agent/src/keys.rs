//! What opens encrypted chains: secret keys in files, and the password, which is asked for when a backup turns out to need it. And how
//! they are to be encrypted, in the words of the command line.

use crate::cli::Context;
use crate::password::PasswordArguments;
use clap::{Args, ValueEnum};
use icecore::backup::levels::Encryption;
use icecore::codec::age::{self, Identity, Recipients};
use icecore::error::{Error, Kind, Result};
use icecore::keyring::{Keyring, Question};
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

/// The longest file of keys.
const KEYS_BYTES: u64 = 1 << 20;

/// What stands ahead of the name of a file of recipients.
const FILE_MARK: char = '@';

/// Which secret keys open backups that are encrypted to recipients.
#[derive(Args, Default)]
pub struct IdentityArguments {
    /// Open chains that are encrypted to recipients with the secret key in this file, of age or OpenSSH; may be repeated
    #[arg(long = "identity", value_name = "FILE")]
    files: Vec<PathBuf>,
}

impl IdentityArguments {
    /// Whether there are any.
    pub fn are_given(&self) -> bool {
        !self.files.is_empty()
    }

    /// The keys that were given, and the password for what needs one.
    ///
    /// # Errors
    /// For a file that cannot be read, or holds no key.
    pub fn keyring<'a>(
        &self,
        context: &'a Context<'a>,
        password: &'a PasswordArguments,
    ) -> Result<Keyring<'a>> {
        let mut identities = Vec::new();
        for file in &self.files {
            identities.extend(identities_in(context, password, file)?);
        }
        Ok(Keyring::new(identities, |question| password.secret(context, question)))
    }
}

/// How chains are encrypted.
#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum How {
    Age,
    Freezer,
    None,
}

impl How {
    /// The same with its recipients, if there are any: `age` without is under the password.
    ///
    /// # Errors
    /// `Invalid` when they contradict each other; as [`recipients`].
    pub fn encryption(self, to: &[String]) -> Result<Encryption> {
        match self {
            How::Age if to.is_empty() => Ok(Encryption::Password),
            How::Age => recipients(to).map(Encryption::Recipients),
            How::None if !to.is_empty() => Err(contradict("no encryption", "--recipient")),
            How::None => Ok(Encryption::None),
            How::Freezer if !to.is_empty() => Err(contradict("--encryption freezer", "--recipient")),
            How::Freezer => Ok(Encryption::Freezer),
        }
    }
}

/// Two words that cannot both be meant.
pub fn contradict(one: &str, other: &str) -> Error {
    Error::invalid(format!("{one} and {other} contradict each other"), "").hint("leave out one of them")
}

fn identities_in(context: &Context<'_>, password: &PasswordArguments, file: &Path) -> Result<Vec<Identity>> {
    let shown = file.display().to_string();
    let failed = |error: Error| error.while_doing("cannot use the secret key in", &shown);
    let bytes = read(file)?;
    if !age::is_locked(&bytes) {
        return age::identities(&bytes).map_err(failed);
    }
    let secret = password.secret(context, Question::Existing)?;
    age::unlock_file(&bytes, secret.bytes()).and_then(|text| age::identities(&text)).map_err(failed)
}

/// The public keys that were given, themselves or in files.
///
/// # Errors
/// For a file that cannot be read, and for what is no public key.
pub fn recipients(given: &[String]) -> Result<Recipients> {
    let mut lines = String::new();
    for word in given {
        match word.strip_prefix(FILE_MARK) {
            Some(file) => {
                let bytes = read(Path::new(file))?;
                let text = String::from_utf8(bytes)
                    .map_err(|_| Error::invalid("no public keys: not text,", file))?;
                Recipients::parse(&text)
                    .map_err(|error| error.while_doing("cannot use the public keys in", file))?;
                lines.push_str(&text);
            }
            None => lines.push_str(word),
        }
        lines.push('\n');
    }
    Recipients::parse(&lines)
}

fn read(file: &Path) -> Result<Vec<u8>> {
    let shown = || file.display().to_string();
    let mut bytes = Vec::new();
    File::open(file)
        .and_then(|file| file.take(KEYS_BYTES + 1).read_to_end(&mut bytes))
        .map_err(|e| Error::io("cannot read the keys in", shown(), e))?;
    if bytes.len() as u64 > KEYS_BYTES {
        return Err(Error::new(Kind::Limit, "too long for a file of keys:").on(shown()));
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    const PUBLIC: &str = "age1t7rxyev2z3rw82stdlrrepyc39nvn86l5078zqkf5uasdy86jp6svpy7pa";

    #[test]
    fn recipients_are_given_as_words_and_in_files() {
        let file = std::env::temp_dir().join(format!("icecore-recipients-{}", std::process::id()));
        std::fs::write(&file, format!("# me\n{PUBLIC}\n")).unwrap();
        let in_file = recipients(&[format!("@{}", file.display())]).unwrap();
        assert_eq!(in_file.fingerprint(), recipients(&[PUBLIC.to_owned()]).unwrap().fingerprint());
        std::fs::write(&file, "").unwrap();
        let empty = recipients(&[PUBLIC.to_owned(), format!("@{}", file.display())]).unwrap_err();
        std::fs::remove_file(&file).unwrap();
        assert!(empty.to_string().contains("icecore-recipients"), "{empty}");
        assert_eq!(recipients(&["@/nowhere".to_owned()]).unwrap_err().kind(), Kind::NotFound);
        assert!(recipients(&["me".to_owned()]).is_err());
    }
}
