//! Where passwords come from: options, the environment, a command, or somebody at the terminal. They are taken as bytes, and
//! never printed, logged, or handed to a process that did not make them.

mod prompt;
pub mod words;

use crate::cli::Context;
use icecore::error::{Error, Kind, Result};
use icecore::keyring::{Question, Secret};
use icecore::repository::vault::Password;
use std::collections::BTreeSet;
use std::ffi::{OsStr, OsString};
use std::io::Read;
use std::os::unix::ffi::OsStringExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::{Mutex, PoisonError};

/// The environment's own word for it.
const VARIABLE: &str = "ICECORE_PASSWORD";
/// That of a repository that is copied from.
const SOURCE_VARIABLE: &str = "ICECORE_FROM_PASSWORD";

/// Variables that hold passwords of repositories, by the names that were given to options.
static HIDDEN: Mutex<BTreeSet<String>> = Mutex::new(BTreeSet::new());

/// The longest password.
const PASSWORD_BYTES: u64 = 64 << 10;

/// By what password the repository opens.
#[derive(clap::Args)]
pub struct PasswordArguments {
    /// Read the password from this file (one line end at its end is no part of it) [env: ICECORE_PASSWORD_FILE]
    #[arg(long, value_name = "FILE", conflicts_with_all = ["password_command", "password_env"])]
    password_file: Option<PathBuf>,
    /// Take the password from what this command prints. It is run without a shell: words are split at spaces, '…' and "…"
    /// keep them together, \\ takes the next character as it is [env: ICECORE_PASSWORD_COMMAND]
    #[arg(long, value_name = "COMMAND", conflicts_with = "password_env")]
    password_command: Option<OsString>,
    /// Take the password from this variable of the environment, which commands that are started do not get to see
    #[arg(long, value_name = "VARIABLE", value_parser = hidden_variable)]
    password_env: Option<String>,
    /// The variable of the environment that says it otherwise; so do that with `_FILE` behind it, and that with `_COMMAND`.
    #[arg(skip = VARIABLE)]
    variable: &'static str,
}

/// By what password the repository opens that is copied from.
#[derive(clap::Args)]
pub struct SourcePasswordArguments {
    /// Read the password of the repository that is copied from from this file [env: ICECORE_FROM_PASSWORD_FILE]
    #[arg(long, value_name = "FILE", conflicts_with = "from_password_command")]
    from_password_file: Option<PathBuf>,
    /// Take the password of that repository from what this command prints, as with --password-command
    /// [env: ICECORE_FROM_PASSWORD_COMMAND]
    #[arg(long, value_name = "COMMAND")]
    from_password_command: Option<OsString>,
}

impl SourcePasswordArguments {
    /// The same, as for any repository.
    pub fn arguments(&self) -> PasswordArguments {
        PasswordArguments {
            password_file: self.from_password_file.clone(),
            password_command: self.from_password_command.clone(),
            password_env: None,
            variable: SOURCE_VARIABLE,
        }
    }
}

/// What a new password is for.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Given {
    /// The repository that is being made: it comes from wherever its password comes from.
    ForTheRepository,
    /// Another key of a repository: it is asked for.
    ByHand,
}

enum From {
    Value(OsString),
    File(PathBuf),
    Command(OsString),
}

impl PasswordArguments {
    /// The password of a repository that is there.
    ///
    /// # Errors
    /// `Invalid` when nothing says what it is; whatever goes wrong on the way to it.
    pub fn current(&self, context: &Context<'_>) -> Result<Password> {
        match self.from()? {
            Some(from) => from.read(),
            None => {
                prompt::ask(context, self.question())?.map_or_else(|| Err(no_way(self.variable)), checked)
            }
        }
    }

    /// A password for something that is being made; where somebody types it, twice.
    ///
    /// # Errors
    /// As [`PasswordArguments::current`]; `Invalid` when it was not typed the same both times.
    pub fn new_one(&self, context: &Context<'_>, given: Given) -> Result<Password> {
        if given == Given::ForTheRepository
            && let Some(from) = self.from()?
        {
            return from.read();
        }
        type_twice(context)
    }

    /// The password of chains, with all the bytes that it was found in.
    ///
    /// # Errors
    /// As [`PasswordArguments::current`] and [`PasswordArguments::new_one`].
    pub fn secret(&self, context: &Context<'_>, question: Question) -> Result<Secret> {
        match (self.from()?, question) {
            (Some(from), _) => from.secret(),
            (None, Question::New) => type_twice(context).map(Secret::new),
            (None, Question::Existing) => self.current(context).map(Secret::new),
        }
    }

    /// Whether anything but the terminal says what the password is.
    ///
    /// # Errors
    /// `Invalid` when several things do.
    pub fn is_given(&self) -> Result<bool> {
        self.from().map(|from| from.is_some())
    }

    fn question(&self) -> &'static str {
        match self.variable {
            SOURCE_VARIABLE => "Password of the repository that is copied from: ",
            _ => "Password: ",
        }
    }

    /// An option beats the environment.
    fn from(&self) -> Result<Option<From>> {
        if let Some(file) = &self.password_file {
            return Ok(Some(From::File(file.clone())));
        }
        if let Some(command) = &self.password_command {
            return Ok(Some(From::Command(command.clone())));
        }
        if let Some(name) = &self.password_env {
            let value = std::env::var_os(name).filter(|value| !value.is_empty()).ok_or_else(|| {
                Error::invalid("the variable that is to hold the password is not set, or is empty:", name)
            })?;
            return Ok(Some(From::Value(value)));
        }
        let name = self.variable;
        let variable =
            |end| std::env::var_os(format!("{name}{end}")).filter(|value: &OsString| !value.is_empty());
        let mut from: Vec<From> = Vec::new();
        from.extend(variable("").map(From::Value));
        from.extend(variable("_FILE").map(|file| From::File(file.into())));
        from.extend(variable("_COMMAND").map(From::Command));
        if from.len() > 1 {
            return Err(Error::invalid("several variables of the environment say what the password is", "")
                .hint(format!("set one of {name}, {name}_FILE and {name}_COMMAND")));
        }
        Ok(from.pop())
    }
}

/// The password in a file, for an option that names one.
///
/// # Errors
/// When it cannot be read, or is empty.
pub fn from_file(path: &Path) -> Result<Password> {
    From::File(path.to_owned()).read()
}

/// Keeps passwords out of the environment of a process that is started.
pub fn hide_from(command: &mut Command) {
    command.env_remove(VARIABLE).env_remove(SOURCE_VARIABLE);
    let hidden = HIDDEN.lock().unwrap_or_else(PoisonError::into_inner);
    for name in hidden.iter() {
        command.env_remove(name);
    }
}

/// Takes the name of a variable that holds a password. All of them are known before anything is started, also those of
/// repositories that are used later.
fn hidden_variable(name: &str) -> std::result::Result<String, String> {
    if name.is_empty() || name.contains(['=', '\0']) {
        return Err("not the name of a variable".to_owned());
    }
    HIDDEN.lock().unwrap_or_else(PoisonError::into_inner).insert(name.to_owned());
    Ok(name.to_owned())
}

impl From {
    fn read(self) -> Result<Password> {
        match self {
            From::Value(value) => checked(value.into_vec()),
            other => checked(without_line_end(other.found()?)),
        }
    }

    fn secret(self) -> Result<Secret> {
        match self {
            From::Value(value) => checked(value.into_vec()).map(Secret::new),
            other => {
                let found = other.found()?;
                let password = checked(without_line_end(found.clone()))?;
                Ok(Secret::in_file(password, Password::new(found)))
            }
        }
    }

    /// All that is there.
    fn found(self) -> Result<Vec<u8>> {
        match self {
            From::Value(value) => Ok(value.into_vec()),
            From::File(path) => {
                let shown = path.display().to_string();
                let file = std::fs::File::open(&path)
                    .map_err(|e| Error::io("cannot open the file of the password", &shown, e))?;
                read_all(file, &shown)
            }
            From::Command(line) => printed_by(&line),
        }
    }
}

/// What a command prints on its standard output; what it says on standard error, the user sees.
fn printed_by(line: &OsStr) -> Result<Vec<u8>> {
    let words = words::split(line)?;
    let shown = words.first().map(|word| word.display().to_string()).unwrap_or_default();
    let Some((program, arguments)) = words.split_first() else {
        return Err(Error::invalid("the command for the password is empty", ""));
    };
    let mut command = Command::new(program);
    hide_from(&mut command);
    let mut child = command
        .args(arguments)
        .stdout(Stdio::piped())
        .spawn()
        .map_err(|e| Error::io("cannot run the command for the password,", &shown, e))?;
    let output = child.stdout.take().map(|output| read_all(output, &shown)).transpose();
    let status = child.wait().map_err(|e| Error::io("cannot wait for", &shown, e))?;
    let output = output?.unwrap_or_default();
    if !status.success() {
        return Err(Error::new(Kind::Io, "the command for the password failed:")
            .on(shown)
            .because(status.to_string()));
    }
    Ok(output)
}

fn read_all(from: impl Read, shown: &str) -> Result<Vec<u8>> {
    let mut bytes = Vec::new();
    from.take(PASSWORD_BYTES + 1)
        .read_to_end(&mut bytes)
        .map_err(|e| Error::io("cannot read the password from", shown, e))?;
    if bytes.len() as u64 > PASSWORD_BYTES {
        return Err(Error::new(Kind::Limit, "too long for a password: what came from").on(shown));
    }
    Ok(bytes)
}

fn without_line_end(mut bytes: Vec<u8>) -> Vec<u8> {
    if bytes.last() == Some(&b'\n') {
        bytes.pop();
        if bytes.last() == Some(&b'\r') {
            bytes.pop();
        }
    }
    bytes
}

fn checked(bytes: Vec<u8>) -> Result<Password> {
    if bytes.is_empty() {
        return Err(Error::invalid("the password is empty", ""));
    }
    Ok(Password::new(bytes))
}

fn type_twice(context: &Context<'_>) -> Result<Password> {
    let first = prompt::ask(context, "New password: ")?.ok_or_else(|| no_way(VARIABLE))?;
    let second = prompt::ask(context, "The same again: ")?.ok_or_else(|| no_way(VARIABLE))?;
    if first != second {
        return Err(Error::invalid("the two passwords are not the same", ""));
    }
    checked(first)
}

fn no_way(variable: &str) -> Error {
    let options = match variable {
        SOURCE_VARIABLE => "--from-password-file or --from-password-command",
        _ => "--password-file, --password-command or --password-env",
    };
    Error::invalid("a password is needed, and nobody can be asked for it here", "")
        .hint(format!("set {variable}, {variable}_FILE or {variable}_COMMAND, or say {options}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_line_end_is_no_part_of_a_password() {
        for (bytes, expected) in [
            (&b"a b \n"[..], &b"a b "[..]),
            (b"a\r\n", b"a"),
            (b"a\n\n", b"a\n"),
            (b"a", b"a"),
            (b"a\r", b"a\r"),
            (b"", b""),
        ] {
            assert_eq!(without_line_end(bytes.to_vec()), expected);
        }
    }

    #[test]
    fn a_command_is_run_without_a_shell_and_its_failure_is_told() {
        assert_eq!(printed_by(OsStr::new("printf '%s\\n' \"a  $b\"")).unwrap(), b"a  $b\n");
        assert!(printed_by(OsStr::new("false")).unwrap_err().to_string().contains("false"));
        assert!(printed_by(OsStr::new(" ")).is_err());
    }

    #[test]
    fn a_variable_that_holds_a_password_is_kept_from_commands() {
        assert_eq!(hidden_variable("HOLDS_A_PASSWORD").as_deref(), Ok("HOLDS_A_PASSWORD"));
        assert!(hidden_variable("").is_err() && hidden_variable("A=B").is_err());
        let mut command = Command::new("env");
        command.env("HOLDS_A_PASSWORD", "secret");
        hide_from(&mut command);
        let output = String::from_utf8(command.output().unwrap().stdout).unwrap();
        assert!(!output.contains("secret"), "{output}");
    }
}
