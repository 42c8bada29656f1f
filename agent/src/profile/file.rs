//! The file of profiles: where it is, and whether it can be trusted.
//!
//! Invariant: what others may change is not read. A file of profiles names commands that are run and what is removed; whoever can
//! write it can do what its reader can do. (ssh has the same rule, for the same reason.)

use icecore::error::{Error, Kind, Result};
use rustix::fs::{FileType, OFlags, fstat};
use std::ffi::{OsStr, OsString};
use std::io::Read;
use std::path::{Path, PathBuf};

/// The name of the file.
pub const NAME: &str = "icecore.toml";
/// The variable that names another one.
pub const VARIABLE: &str = "ICECORE_CONFIG";
/// The folder of the files of the whole machine.
const SYSTEM: &str = "/etc/icecore";
/// The longest file.
const FILE_BYTES: u64 = 1 << 20;

/// Bits of a mode: others may write; others may read.
const OTHERS_WRITE: u32 = 0o022;
const OTHERS_READ: u32 = 0o044;

/// A file of profiles.
pub struct File {
    /// Where it is, absolute.
    pub path: PathBuf,
    /// What it says.
    pub text: String,
    /// Whether nobody else can read it.
    pub is_private: bool,
}

/// Where the file is: the one that is named, by an option or by the environment, or the first of those that are looked for.
///
/// # Errors
/// `Invalid` when there is none; when a folder cannot be looked into.
pub fn find(named: Option<&OsStr>, variable: &dyn Fn(&str) -> Option<OsString>) -> Result<PathBuf> {
    let by_variable = variable(VARIABLE).filter(|path| !path.is_empty());
    if let Some(path) = named.map(OsStr::to_owned).or(by_variable) {
        return std::path::absolute(&path)
            .map_err(|e| Error::io("cannot make absolute", path.display().to_string(), e));
    }
    let candidates = candidates(variable);
    for path in &candidates {
        match std::fs::metadata(path) {
            Ok(_) => return Ok(path.clone()),
            Err(error) if is_absence(&error) => {}
            Err(error) => return Err(Error::io("cannot look at", path.display().to_string(), error)),
        }
    }
    let places: Vec<String> = candidates.iter().map(|path| path.display().to_string()).collect();
    Err(Error::invalid("there is no file of profiles:", format!("neither {}", places.join(" nor "))).hint(
        format!(
            "make one, or name one with --config or {VARIABLE}; a path that begins with @ is written ./@…"
        ),
    ))
}

fn is_absence(error: &std::io::Error) -> bool {
    matches!(error.kind(), std::io::ErrorKind::NotFound | std::io::ErrorKind::NotADirectory)
}

/// The places where it is looked for, the first one that is there counts.
fn candidates(variable: &dyn Fn(&str) -> Option<OsString>) -> Vec<PathBuf> {
    let folder = |name| variable(name).map(PathBuf::from).filter(|path: &PathBuf| path.is_absolute());
    let own = folder("XDG_CONFIG_HOME").or_else(|| folder("HOME").map(|home| home.join(".config")));
    let mut places: Vec<PathBuf> = own.map(|own| own.join("icecore").join(NAME)).into_iter().collect();
    places.push(Path::new(SYSTEM).join(NAME));
    places
}

/// Reads it, if nobody but root and the user can change it.
///
/// # Errors
/// `Invalid` when others can, or when it is no text; when it cannot be read.
pub fn read(path: &Path) -> Result<File> {
    let shown = path.display().to_string();
    // What is looked at and what is read must be one file, and opening must not wait for whoever writes into a pipe.
    let handle = rustix::fs::open(
        path,
        OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NONBLOCK,
        rustix::fs::Mode::empty(),
    );
    let handle = match handle {
        Err(rustix::io::Errno::NOENT) => return Err(Error::invalid("there is no file of profiles", shown)),
        handle => handle.map_err(|e| Error::io("cannot open", &shown, e))?,
    };
    let stat = fstat(&handle).map_err(|e| Error::io("cannot look at", &shown, e))?;
    if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile {
        return Err(Error::invalid("not a file:", shown));
    }
    trusted(path, stat.st_uid, stat.st_mode, rustix::process::geteuid().as_raw())?;
    let mut bytes = Vec::new();
    std::fs::File::from(handle)
        .take(FILE_BYTES + 1)
        .read_to_end(&mut bytes)
        .map_err(|e| Error::io("cannot read", &shown, e))?;
    if bytes.len() as u64 > FILE_BYTES {
        return Err(Error::new(Kind::Limit, "too long a file of profiles:").on(shown));
    }
    let text = String::from_utf8(bytes).map_err(|e| Error::invalid("not UTF-8:", &shown).because(e))?;
    Ok(File { path: path.to_owned(), text, is_private: stat.st_mode & OTHERS_READ == 0 })
}

/// Whether only root and the user can have written it.
fn trusted(path: &Path, owner: u32, mode: u32, user: u32) -> Result<()> {
    let shown = path.display().to_string();
    if owner != 0 && owner != user {
        return Err(Error::invalid(
            "a file of profiles has to belong to root, or to whoever uses it:",
            shown,
        )
        .hint(format!("it belongs to user {owner}; a copy of your own would do")));
    }
    if mode & OTHERS_WRITE != 0 {
        return Err(Error::invalid(
            "others can write to it, and so could run commands in your name:",
            &shown,
        )
        .hint(format!("chmod go-w {shown}")));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn variables(pairs: &'static [(&str, &str)]) -> impl Fn(&str) -> Option<OsString> {
        |name| pairs.iter().find(|(known, _)| *known == name).map(|(_, value)| OsString::from(value))
    }

    #[test]
    fn the_users_own_file_comes_before_that_of_the_machine() {
        for (pairs, expected) in [
            (
                &[("HOME", "/home/me")][..],
                &["/home/me/.config/icecore/icecore.toml", "/etc/icecore/icecore.toml"][..],
            ),
            (
                &[("HOME", "/home/me"), ("XDG_CONFIG_HOME", "/conf")],
                &["/conf/icecore/icecore.toml", "/etc/icecore/icecore.toml"],
            ),
            (&[("HOME", "relative"), ("XDG_CONFIG_HOME", "")], &["/etc/icecore/icecore.toml"]),
            (&[], &["/etc/icecore/icecore.toml"]),
        ] {
            let found: Vec<PathBuf> = candidates(&|name: &str| {
                pairs.iter().find(|(known, _)| *known == name).map(|(_, value)| OsString::from(value))
            });
            assert_eq!(found, expected.iter().map(PathBuf::from).collect::<Vec<_>>());
        }
    }

    #[test]
    fn an_option_beats_the_variable_and_that_beats_the_places() {
        let variable = variables(&[("ICECORE_CONFIG", "/by/variable")]);
        assert_eq!(find(Some(OsStr::new("/by/option")), &variable).unwrap(), Path::new("/by/option"));
        assert_eq!(find(None, &variable).unwrap(), Path::new("/by/variable"));
    }

    #[test]
    fn a_file_that_others_can_change_is_refused() {
        let path = Path::new("/f");
        for (owner, mode, is_trusted) in [
            (7, 0o644, true),
            (7, 0o600, true),
            (0, 0o644, true),
            (7, 0o664, false),
            (7, 0o646, false),
            (0, 0o666, false),
            (8, 0o600, false),
        ] {
            assert_eq!(trusted(path, owner, mode, 7).is_ok(), is_trusted, "{owner} {mode:o}");
        }
    }
}
