//! What is wrong with a file of profiles: where, what, and what may be meant.

use icecore::error::Error;
use std::path::Path;

/// One thing that is wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// The line it is on, from 1; `None` for what is on no line of its own.
    pub line: Option<usize>,
    /// The table it is in, such as `profiles.nightly`; empty for the file as a whole.
    pub section: String,
    /// What it is.
    pub message: String,
    /// What can be done about it.
    pub hint: Option<String>,
}

impl Problem {
    /// A problem on a line of a table.
    pub fn new(
        line: impl Into<Option<usize>>,
        section: impl Into<String>,
        message: impl Into<String>,
    ) -> Problem {
        Problem { line: line.into(), section: section.into(), message: message.into(), hint: None }
    }

    /// Adds what can be done about it.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Problem {
        self.hint = Some(hint.into());
        self
    }

    /// Adds the word that is nearest to the wrong one, if any is near.
    #[must_use]
    pub fn suggest<'a>(self, word: &str, known: impl IntoIterator<Item = &'a str>) -> Problem {
        match nearest(word, known) {
            Some(near) => self.hint(format!("did you mean {near}?")),
            None => self,
        }
    }

    /// The problem in one line, as compilers have it.
    pub fn told(&self, file: &Path) -> String {
        let mut text = file.display().to_string();
        if let Some(line) = self.line {
            text += &format!(":{line}");
        }
        if !self.section.is_empty() {
            text += &format!(": {}", self.section);
        }
        text + ": " + &self.message
    }

    /// The same as an error, which ends a command.
    pub fn error(&self, file: &Path) -> Error {
        let error = Error::invalid(self.told(file), "");
        match &self.hint {
            Some(hint) => error.hint(hint),
            None => error,
        }
    }

    /// Whether it is one of the file as a whole, or of this table or one in it.
    pub fn concerns(&self, section: &str) -> bool {
        let below =
            self.section.strip_prefix(section).is_some_and(|rest| rest.is_empty() || rest.starts_with('.'));
        self.section.is_empty() || below
    }
}

/// The known word that takes the fewest changes to get from `word`; `None` when even that is another word altogether.
pub fn nearest<'a>(word: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let most = (word.chars().count() / 3).clamp(1, 3);
    let changes = |known: &str| strsim::osa_distance(&word.to_lowercase().replace('_', "-"), known);
    let near = known.into_iter().map(|known| (changes(known), known)).filter(|(changes, _)| *changes <= most);
    near.min().map(|(_, known)| known)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_word_is_found_and_a_far_one_is_not() {
        let known = ["exclude", "exclude-caches", "exclude-file", "tag", "name", "keep-daily"];
        for (word, expected) in [
            ("exlude", Some("exclude")),
            ("excldue", Some("exclude")),
            ("exclude_caches", Some("exclude-caches")),
            ("KEEP-DAILY", Some("keep-daily")),
            ("tags", Some("tag")),
            ("nmae", Some("name")),
            ("colour", None),
            ("x", None),
        ] {
            assert_eq!(nearest(word, known), expected, "{word}");
        }
    }

    #[test]
    fn a_problem_names_file_line_table_and_what() {
        let file = Path::new("/etc/icecore/icecore.toml");
        let problem = Problem::new(12, "profiles.nightly", "no command has an option called exlude")
            .suggest("exlude", ["exclude"]);
        let told = "/etc/icecore/icecore.toml:12: profiles.nightly: no command has an option called exlude";
        assert_eq!(problem.told(file), told);
        assert_eq!(problem.error(file).advice(), Some("did you mean exclude?"));
        assert_eq!(Problem::new(None, "", "empty").told(file), "/etc/icecore/icecore.toml: empty");
    }

    #[test]
    fn a_problem_concerns_its_table_and_those_around_it() {
        let problem = Problem::new(1, "profiles.night.backup", "");
        assert!(problem.concerns("profiles.night") && problem.concerns("profiles.night.backup"));
        assert!(!problem.concerns("profiles.nightly") && !problem.concerns("profiles.n"));
        assert!(Problem::new(1, "", "").concerns("profiles.any"));
    }
}
