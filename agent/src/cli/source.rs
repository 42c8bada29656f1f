//! What a backup reads: paths, lists of paths, standard input, or what a command prints; and what is left out of it.

use super::absolute;
use crate::password;
use clap::Args;
use icecore::error::{Error, Kind, Result};
use icecore::tree::filter::Filter;
use std::ffi::{OsStr, OsString};
use std::io::Read;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Component, Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Stdio};

/// The longest list of paths or patterns.
const LIST_BYTES: u64 = 64 << 20;

/// What the file from a stream is called when nobody says.
const STREAM: &str = "stdin";

/// What to read.
#[derive(Args)]
pub struct Paths {
    /// What to back up: directories and files; symbolic links are followed. With --stdin-from-command: the command
    #[arg(value_name = "PATH")]
    paths: Vec<OsString>,
    /// Also back up the paths that this file names, one a line; empty lines and lines that begin with # are passed over,
    /// and so are spaces around a path. `-` is standard input; may be repeated
    #[arg(long, value_name = "FILE")]
    files_from: Vec<PathBuf>,
    /// As --files-from, taking every line as it is
    #[arg(long, value_name = "FILE")]
    files_from_verbatim: Vec<PathBuf>,
    /// As --files-from-verbatim, with a zero byte at the end of each path instead of a line end
    #[arg(long, value_name = "FILE")]
    files_from_raw: Vec<PathBuf>,
    /// Back up what comes from standard input, as one file
    #[arg(long, conflicts_with_all = ["stdin_from_command", "paths", "files_from", "files_from_verbatim", "files_from_raw"])]
    stdin: bool,
    /// Back up what a command prints, as one file: --stdin-from-command -- COMMAND …; when the command fails, there is no
    /// backup
    #[arg(long, conflicts_with_all = ["files_from", "files_from_verbatim", "files_from_raw"], requires = "paths")]
    stdin_from_command: bool,
    /// With --stdin or --stdin-from-command: what the file is called in the backup [default: stdin]
    #[arg(long, value_name = "NAME")]
    stdin_name: Option<OsString>,
}

/// What was asked for.
pub enum Wanted {
    /// Trees and files, absolute.
    Paths(Vec<PathBuf>),
    /// One file that is nowhere.
    Stream(Box<dyn Read + Send>),
}

impl Paths {
    /// Whether anything says what is to be read, and nothing is said that means nothing: looked at before anything is opened.
    ///
    /// # Errors
    /// `Invalid` when nothing does; for the name of a stream that there is not.
    pub fn check(&self) -> Result<()> {
        let lists = [&self.files_from, &self.files_from_verbatim, &self.files_from_raw];
        if !self.stdin && self.paths.is_empty() && lists.iter().all(|list| list.is_empty()) {
            return Err(nothing());
        }
        match &self.stdin_name {
            Some(name) if !self.stdin && !self.stdin_from_command => {
                Err(Error::invalid("no stream is backed up that could be called", name.to_string_lossy())
                    .hint("--stdin-name goes with --stdin or --stdin-from-command -- COMMAND; leave it out to back up files"))
            }
            _ => Ok(()),
        }
    }

    /// What the file from a stream is called, as it was given.
    fn stdin_name(&self) -> &OsStr {
        self.stdin_name.as_deref().unwrap_or(OsStr::new(STREAM))
    }

    /// Finds out what is to be read; a command is started.
    ///
    /// # Errors
    /// `Invalid` when nothing is; lists that cannot be read; a command that cannot be started.
    pub fn wanted(&self) -> Result<Wanted> {
        if self.stdin {
            return Ok(Wanted::Stream(Box::new(std::io::stdin())));
        }
        if self.stdin_from_command {
            return Ok(Wanted::Stream(Box::new(Output::of(&self.paths)?)));
        }
        let mut paths: Vec<OsString> = self.paths.clone();
        for list in &self.files_from {
            let lines = lines(&read_list(list)?, b'\n');
            let trimmed = lines.iter().map(|line| line.as_bytes().trim_ascii());
            let meant = trimmed.filter(|line| !line.is_empty() && line[0] != b'#');
            paths.extend(meant.map(|line| OsStr::from_bytes(line).to_owned()));
        }
        for (lists, end) in [(&self.files_from_verbatim, b'\n'), (&self.files_from_raw, 0)] {
            for list in lists {
                paths.extend(lines(&read_list(list)?, end));
            }
        }
        if paths.is_empty() {
            return Err(nothing());
        }
        let paths: Vec<PathBuf> =
            paths.iter().map(|path| absolute(Path::new(path))).collect::<Result<_>>()?;
        let mut seen = std::collections::HashSet::new();
        Ok(Wanted::Paths(paths.into_iter().filter(|path| seen.insert(path.clone())).collect()))
    }

    /// What the file from a stream is called.
    ///
    /// # Errors
    /// `Invalid` when it is no name of a file.
    pub fn stream_name(&self) -> Result<Vec<u8>> {
        let given = self.stdin_name();
        let mut parts = Path::new(given).components();
        match (parts.next(), parts.next()) {
            (Some(Component::Normal(name)), None) if name == given => Ok(name.as_bytes().to_vec()),
            _ => Err(Error::invalid("not the name of a file:", given.to_string_lossy())),
        }
    }

    /// What the backup is called when nobody says: the last part of the one path, or the name of the stream.
    ///
    /// # Errors
    /// `Invalid` when nothing suggests a name.
    pub fn default_name(&self, wanted: &Wanted) -> Result<String> {
        let hint = "give one with --name";
        let text = |name: &OsStr, shown: &Path| {
            name.to_str().map(str::to_owned).ok_or_else(|| {
                Error::invalid("not a usable backup name:", shown.display().to_string()).hint(hint)
            })
        };
        let path = match wanted {
            Wanted::Stream(_) => return text(self.stdin_name(), Path::new(self.stdin_name())),
            Wanted::Paths(paths) => match paths.as_slice() {
                [path] => path,
                _ => {
                    return Err(Error::invalid("several paths suggest no name for the backup", "").hint(hint));
                }
            },
        };
        // `.` and `..` are called what they are; links are called what the user calls them.
        let given = self.paths.first().map(Path::new).unwrap_or(path);
        let ends_in_dots =
            given.components().next_back().is_none_or(|last| !matches!(last, Component::Normal(_)));
        let path = match ends_in_dots {
            true => std::fs::canonicalize(path).unwrap_or(path.clone()),
            false => path.clone(),
        };
        path.file_name().map_or_else(|| Ok("root".to_owned()), |name| text(name, &path))
    }
}

fn nothing() -> Error {
    Error::invalid("nothing says what to back up", "")
        .hint("name a directory or a file, or say --files-from or --stdin")
}

fn read_list(path: &Path) -> Result<Vec<u8>> {
    let shown = path.display().to_string();
    let failed = |e| Error::io("cannot read the list", &shown, e);
    let mut bytes = Vec::new();
    if path == Path::new("-") {
        std::io::stdin().take(LIST_BYTES + 1).read_to_end(&mut bytes).map_err(failed)?;
    } else {
        let file = std::fs::File::open(path).map_err(failed)?;
        file.take(LIST_BYTES + 1).read_to_end(&mut bytes).map_err(failed)?;
    }
    if bytes.len() as u64 > LIST_BYTES {
        return Err(Error::new(Kind::Limit, "too long a list:").on(shown));
    }
    Ok(bytes)
}

/// What stands between the ends; empty names nothing.
fn lines(bytes: &[u8], end: u8) -> Vec<OsString> {
    let lines = bytes.split(|&byte| byte == end).filter(|line| !line.is_empty());
    lines.map(|line| OsString::from_vec(line.to_vec())).collect()
}

/// The patterns in files of them, as in .gitignore.
///
/// # Errors
/// Files that cannot be read, or are not text.
pub fn exclude_files(mut filter: Filter, files: &[PathBuf]) -> Result<Filter> {
    for path in files {
        let shown = path.display().to_string();
        let text = String::from_utf8(read_list(path)?)
            .map_err(|e| Error::invalid("not a file of patterns:", &shown).because(e))?;
        filter = filter.exclude(text.lines()).map_err(|error| error.while_doing("cannot use", shown))?;
    }
    Ok(filter)
}

/// What a command prints; its end is one only when it ended well.
struct Output {
    child: Child,
    stdout: ChildStdout,
    shown: String,
    ended: bool,
}

impl Output {
    fn of(words: &[OsString]) -> Result<Output> {
        let (program, arguments) =
            words.split_first().ok_or_else(|| Error::invalid("no command is named", ""))?;
        let shown = program.display().to_string();
        let mut command = Command::new(program);
        password::hide_from(&mut command);
        let mut child = command
            .args(arguments)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .map_err(|e| Error::io("cannot run", &shown, e))?;
        match child.stdout.take() {
            Some(stdout) => Ok(Output { child, stdout, shown, ended: false }),
            None => Err(Error::new(Kind::Io, "nothing can be read from").on(shown)),
        }
    }
}

impl Read for Output {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let count = self.stdout.read(buffer)?;
        if count == 0 && !buffer.is_empty() && !self.ended {
            let status = self.child.wait()?;
            if !status.success() {
                let failed = Error::new(Kind::Io, "the command failed:");
                return Err(failed.on(&self.shown).because(status.to_string()).into());
            }
            self.ended = true;
        }
        Ok(count)
    }
}

impl Drop for Output {
    fn drop(&mut self) {
        if !self.ended {
            // It may have ended by itself: then there is nothing to end.
            self.child.kill().unwrap_or(());
            self.child.wait().map(drop).unwrap_or(());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_names_what_stands_between_its_ends() {
        assert_eq!(lines(b"a b\n\nc", b'\n'), ["a b", "c"]);
        assert_eq!(lines(b"a\nb\0c\0", 0), ["a\nb", "c"]);
        assert!(lines(b"", b'\n').is_empty());
    }

    #[test]
    fn the_end_of_a_command_that_failed_is_an_error() {
        let words = |words: &[&str]| words.iter().map(OsString::from).collect::<Vec<_>>();
        let mut text = String::new();
        Output::of(&words(&["printf", "a b"])).unwrap().read_to_string(&mut text).unwrap();
        assert_eq!(text, "a b");
        let error = Output::of(&words(&["false"])).unwrap().read_to_string(&mut text).unwrap_err();
        assert!(error.to_string().contains("false"), "{error}");
        assert!(Output::of(&words(&["/nowhere/at/all"])).is_err());
    }
}
