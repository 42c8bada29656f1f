//! What a machine keeps that encrypts its chains to others: the state that the next level builds on, in clear, since it cannot read
//! what it has stored. In `$XDG_STATE_HOME/icecore/chains/HASH/LEVEL`, readable by its owner alone.
//!
//! Invariant: nothing is taken for the state of a level but what was kept of exactly that one, for the same recipients, unchanged.

use crate::seen;
use icecore::backup::levels::{Kept, States};
use icecore::error::{Error, Result};
use icecore::spool::{Scratch, Spool};
use std::fs::{DirBuilder, File, OpenOptions};
use std::io::{self, BufWriter, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

/// What each file begins with.
const MAGIC: [u8; 16] = *b"icecore state 1\n";

/// Magic, the hash of the state as it is stored, that of the recipients, that of the state itself.
const HEADER_BYTES: usize = MAGIC.len() + 3 * blake3::OUT_LEN;

/// The states of chains in one repository.
pub struct StateFolder {
    folder: PathBuf,
    repository: String,
}

impl StateFolder {
    /// For a repository by its id, or its place; `None` where there is no home.
    pub fn of(repository: &str) -> Option<StateFolder> {
        Some(StateFolder { folder: seen::state()?.join("chains"), repository: repository.to_owned() })
    }

    fn series(&self, what: &Kept<'_>) -> PathBuf {
        let name = [&self.repository, what.engine, &what.name.to_string()].join("\0");
        self.folder.join(blake3::hash(name.as_bytes()).to_hex().as_str())
    }
}

impl States for StateFolder {
    fn keep(&self, what: &Kept<'_>, state: &mut Spool) -> Result<()> {
        let series = self.series(what);
        let file = series.join(what.level.to_string());
        let failed = |e| Error::io("cannot write", file.display().to_string(), e);
        DirBuilder::new().recursive(true).mode(0o700).create(&series).map_err(failed)?;
        let new = series.join(format!("{}.new", std::process::id()));
        let written = write(&new, what, state).and_then(|()| std::fs::rename(&new, &file));
        if written.is_err() {
            std::fs::remove_file(&new).unwrap_or(());
        }
        written.map_err(failed)?;
        forget_above(&series, what.level).map_err(failed)
    }

    fn recall(&self, what: &Kept<'_>, scratch: &Scratch) -> Result<Option<Spool>> {
        let path = self.series(what).join(what.level.to_string());
        let failed = |e| Error::io("cannot read", path.display().to_string(), e);
        let mut file = match File::open(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            opened => opened.map_err(failed)?,
        };
        let mut header = [0; HEADER_BYTES];
        file.read_exact(&mut header).map_err(failed)?;
        let (expected, hash) = header.split_at(HEADER_BYTES - blake3::OUT_LEN);
        if expected != whose(what) {
            return Ok(None);
        }
        let mut state = scratch.spool();
        let mut hasher = blake3::Hasher::new();
        io::copy(&mut file, &mut Both { hasher: &mut hasher, out: &mut state }).map_err(failed)?;
        if hasher.finalize().as_bytes() != hash {
            return Err(Error::damaged("not as it was written:", path.display().to_string()));
        }
        state.rewind()?;
        Ok(Some(state))
    }
}

/// What a file says of whose state it is.
fn whose(what: &Kept<'_>) -> Vec<u8> {
    [&MAGIC[..], what.stored.as_bytes(), what.recipients.as_bytes()].concat()
}

/// Its hash is known once it is written.
fn write(path: &Path, what: &Kept<'_>, state: &mut Spool) -> io::Result<()> {
    let file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(path)?;
    let mut file = BufWriter::new(file);
    file.write_all(&whose(what))?;
    file.write_all(&[0; blake3::OUT_LEN])?;
    let mut hasher = blake3::Hasher::new();
    io::copy(state, &mut Both { hasher: &mut hasher, out: &mut file })?;
    let mut file = file.into_inner().map_err(io::IntoInnerError::into_error)?;
    file.seek(SeekFrom::Start((HEADER_BYTES - blake3::OUT_LEN) as u64))?;
    file.write_all(hasher.finalize().as_bytes())?;
    file.sync_all()
}

/// Levels above belong to a chain that is not gone on with.
fn forget_above(series: &Path, level: u32) -> io::Result<()> {
    for entry in std::fs::read_dir(series)? {
        let entry = entry?;
        let number = entry.file_name().to_str().and_then(|name| name.parse::<u32>().ok());
        if number.is_some_and(|number| number > level) {
            std::fs::remove_file(entry.path())?;
        }
    }
    Ok(())
}

struct Both<'a, W> {
    hasher: &'a mut blake3::Hasher,
    out: &'a mut W,
}

impl<W: Write> Write for Both<'_, W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let count = self.out.write(bytes)?;
        self.hasher.update(&bytes[..count]);
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use icecore::name::BackupName;
    use std::os::unix::fs::PermissionsExt;

    fn spool(scratch: &Scratch, bytes: &[u8]) -> Spool {
        let mut spool = scratch.spool();
        spool.write_all(bytes).unwrap();
        spool.rewind().unwrap();
        spool
    }

    #[test]
    fn a_state_comes_back_for_its_own_level_and_recipients_alone() {
        let root = std::env::temp_dir().join(format!("icecore-states-{}", std::process::id()));
        let states = StateFolder { folder: root.clone(), repository: "id".to_owned() };
        let scratch = Scratch::new(std::env::temp_dir());
        let name = BackupName::new("h", "n").unwrap();
        let (stored, recipients) = (blake3::hash(b"stored"), blake3::hash(b"recipients"));
        let of = |level| Kept { engine: "tar", name: &name, level, stored, recipients };
        let recalled = |what: &Kept<'_>| {
            let found = states.recall(what, &scratch);
            found.map(|state| state.map(|mut state| io::read_to_string(&mut state).unwrap()))
        };
        assert_eq!(recalled(&of(0)).unwrap(), None);
        for level in 0..3 {
            states.keep(&of(level), &mut spool(&scratch, format!("state {level}").as_bytes())).unwrap();
        }
        for level in 0..3 {
            assert_eq!(recalled(&of(level)).unwrap(), Some(format!("state {level}")));
        }
        let file = states.series(&of(2)).join("2");
        let mode = |path: &Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!((mode(&file), mode(file.parent().unwrap())), (0o600, 0o700));
        assert_eq!(recalled(&Kept { stored: recipients, ..of(1) }).unwrap(), None);
        assert_eq!(recalled(&Kept { recipients: stored, ..of(1) }).unwrap(), None);
        assert_eq!(recalled(&Kept { engine: "other", ..of(1) }).unwrap(), None);

        let mut bytes = std::fs::read(&file).unwrap();
        *bytes.last_mut().unwrap() ^= 1;
        std::fs::write(&file, bytes).unwrap();
        assert!(recalled(&of(2)).is_err());

        states.keep(&of(1), &mut spool(&scratch, b"anew")).unwrap();
        assert_eq!(recalled(&of(1)).unwrap(), Some("anew".to_owned()));
        assert_eq!(recalled(&of(2)).unwrap(), None);
        std::fs::remove_dir_all(root).unwrap();
    }
}
