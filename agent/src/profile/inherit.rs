//! What a profile has from those it inherits from.
//!
//! The profiles that one inherits from, directly or not, stand in one row, parents before children and each once; what stands
//! later beats what stands earlier. So a profile that two parents share never undoes what one of them says. Lists add up along the row.

use super::document::{Document, Setting, Text, Value};
use super::options::{Form, Options, Owner, Table};
use super::problem::{Problem, nearest};
use std::collections::BTreeSet;

/// Parents above parents, at most.
const GENERATIONS: usize = 32;

/// A profile with all that it inherits.
pub struct Merged {
    /// The name of the repository.
    pub repository: Option<Text>,
    /// The settings, each key of each table once.
    pub settings: Vec<Ranked>,
}

/// A setting, and how far down the row it comes from: of two that exclude each other the later one counts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ranked {
    /// The setting.
    pub setting: Setting,
    /// The place in the row, from 1.
    pub rank: usize,
}

/// The row of profiles that ends with this one.
///
/// # Errors
/// A parent that is not there, or a profile that inherits from itself; said of the profile that does.
pub fn row<'a>(document: &'a Document, name: &'a str) -> Result<Vec<&'a str>, Problem> {
    let mut row = Vec::new();
    visit(document, name, &mut Vec::new(), &mut row)?;
    Ok(row)
}

fn visit<'a>(
    document: &'a Document,
    name: &'a str,
    above: &mut Vec<&'a str>,
    row: &mut Vec<&'a str>,
) -> Result<(), Problem> {
    let Some(profile) = document.profiles.get(name) else { return Ok(()) };
    if row.contains(&name) {
        return Ok(());
    }
    above.push(name);
    for parent in &profile.inherits {
        let complaint = |message: String| Problem::new(parent.line, format!("profiles.{name}"), message);
        if let Some(at) = above.iter().position(|above| *above == parent.text) {
            let circle: Vec<&str> = above[at..].iter().copied().chain([parent.text.as_str()]).collect();
            return Err(complaint(format!("inherits from itself: {}", circle.join(" → "))));
        }
        if above.len() > GENERATIONS {
            return Err(complaint(format!("inherits over more than {GENERATIONS} generations")));
        }
        if !document.profiles.contains_key(&parent.text) {
            let known = document.profiles.keys().map(String::as_str).filter(|known| *known != name);
            return Err(
                complaint(format!("there is no profile called {}", parent.text)).suggest(&parent.text, known)
            );
        }
        visit(document, &parent.text, above, row)?;
    }
    above.pop();
    row.push(name);
    Ok(())
}

/// A profile with all that it inherits.
///
/// # Errors
/// As [`row`].
pub fn merged(document: &Document, options: &Options, name: &str) -> Result<Merged, Problem> {
    let mut merged = Merged { repository: None, settings: Vec::new() };
    for (at, name) in row(document, name)?.into_iter().enumerate() {
        let Some(profile) = document.profiles.get(name) else { continue };
        for replaced in &profile.replace {
            merged.settings.retain(|ranked| !is_named(&ranked.setting, &replaced.text));
        }
        if let Some(repository) = &profile.repository {
            merged.repository = Some(repository.clone());
        }
        for setting in &profile.settings {
            merged.add(Ranked { setting: setting.clone(), rank: at + 1 }, options);
        }
    }
    Ok(merged)
}

impl Merged {
    fn add(&mut self, added: Ranked, options: &Options) {
        let Setting { table, key, .. } = &added.setting;
        let same = |ranked: &&mut Ranked| (&ranked.setting.table, &ranked.setting.key) == (table, key);
        let Some(old) = self.settings.iter_mut().find(same) else { return self.settings.push(added) };
        let adds_up = options.form(table, key) == Some(Form::Many);
        match (&mut old.setting.value, &added.setting.value) {
            (Value::Many(before), Value::Many(more)) if adds_up => {
                before.extend(more.iter().cloned());
                old.setting.line = added.setting.line;
                old.rank = added.rank;
            }
            _ => *old = added,
        }
    }
}

/// Whether `replace` means this setting: by its key, or by the table it stands in.
fn is_named(setting: &Setting, name: &str) -> bool {
    let is_table = match &setting.table {
        Table::Retention => name == "retention",
        Table::Command(command) => name == command,
        Table::Repository | Table::Top => false,
    };
    is_table || setting.key == name
}

/// What is wrong between the parts of a file: names of nothing, circles, one name for two things.
pub fn problems(document: &Document, options: &Options) -> Vec<Problem> {
    let mut problems = Vec::new();
    let profiles = || document.profiles.keys().map(String::as_str);
    for (name, profile) in &document.profiles {
        let section = format!("profiles.{name}");
        // What is wrong with a parent is found from each of its children, and said once.
        let wrong = row(document, name).err().filter(|problem| !problems.contains(problem));
        problems.extend(wrong);
        if let Some(repository) = &profile.repository
            && !document.repositories.contains_key(&repository.text)
        {
            problems.push(no_repository(document, &section, repository));
        }
        for replaced in &profile.replace {
            let is_known = replaced.text == "retention"
                || options.commands().contains(&replaced.text.as_str())
                || options.owner(&replaced.text) != Owner::Nobody;
            if !is_known {
                let keys: BTreeSet<&str> = options.keys_at_the_top();
                let message = format!("replace: there is no key called {}", replaced.text);
                problems.push(Problem::new(replaced.line, &section, message).suggest(&replaced.text, keys));
            }
        }
    }
    for (name, members) in &document.groups {
        let section = format!("groups.{name}");
        if document.profiles.contains_key(name) {
            let line = members.first().map(|member| member.line);
            problems.push(Problem::new(line, &section, "there is a profile of this name as well"));
        }
        for member in members.iter().filter(|member| !document.profiles.contains_key(&member.text)) {
            let message = format!("there is no profile called {}", member.text);
            problems.push(Problem::new(member.line, &section, message).suggest(&member.text, profiles()));
        }
    }
    problems
}

fn no_repository(document: &Document, section: &str, repository: &Text) -> Problem {
    let name = &repository.text;
    let known = document.repositories.keys().map(String::as_str);
    let problem = Problem::new(repository.line, section, format!("there is no repository called {name}"));
    match nearest(name, known) {
        Some(near) => problem.hint(format!("did you mean {near}?")),
        None => problem
            .hint(format!("say where it is: [repositories.{name}], or [repositories.NAME] for an address")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::profile::document::read;
    use crate::profile::file::File;

    fn document(text: &str) -> Document {
        read(
            &File { path: "/c/icecore.toml".into(), text: text.to_owned(), is_private: true },
            &Options::new(),
        )
    }

    fn value<'a>(merged: &'a Merged, key: &str) -> Option<&'a Value> {
        merged
            .settings
            .iter()
            .map(|ranked| &ranked.setting)
            .find(|setting| setting.key == key)
            .map(|found| &found.value)
    }

    fn many(values: &[&str]) -> Value {
        Value::Many(values.iter().map(|value| (*value).to_owned()).collect())
    }

    #[test]
    fn each_profile_stands_once_in_the_row_and_parents_before_children() {
        let document = document(
            "[profiles.base]\n[profiles.a]\ninherits = 'base'\n[profiles.b]\ninherits = ['base']\n\
             [profiles.c]\ninherits = ['a', 'b']\n",
        );
        assert_eq!(document.problems, []);
        assert_eq!(row(&document, "c").unwrap(), ["base", "a", "b", "c"]);
        assert_eq!(row(&document, "a").unwrap(), ["base", "a"]);
    }

    #[test]
    fn the_later_one_beats_the_earlier_one_and_lists_add_up() {
        let options = Options::new();
        let document = document(
            "[profiles.base]\nexclude = ['*.o']\njobs = 1\nname = 'n'\nretention = { keep-last = 1, keep-daily = 7 }\n\
             [profiles.a]\ninherits = ['base']\njobs = 2\nexclude-caches = true\n\
             [profiles.b]\ninherits = ['base']\nexclude = '*.tmp'\n\
             [profiles.c]\ninherits = ['a', 'b']\nexclude = ['/c']\nexclude-caches = false\nretention.keep-last = 3\n\
             [profiles.d]\ninherits = ['c']\nreplace = ['exclude', 'retention']\nexclude = 'only'\n",
        );
        assert_eq!(document.problems, []);
        let c = merged(&document, &options, "c").unwrap();
        assert_eq!(value(&c, "exclude"), Some(&many(&["*.o", "*.tmp", "/c"])));
        // b, which says nothing of it, does not bring back what base says.
        assert_eq!(value(&c, "jobs"), Some(&Value::One("2".to_owned())));
        assert_eq!(value(&c, "exclude-caches"), Some(&Value::Truth(false)));
        assert_eq!(value(&c, "keep-last"), Some(&Value::One("3".to_owned())));
        assert_eq!(value(&c, "keep-daily"), Some(&Value::One("7".to_owned())));
        let d = merged(&document, &options, "d").unwrap();
        assert_eq!((value(&d, "exclude"), value(&d, "keep-daily")), (Some(&many(&["only"])), None));
        assert_eq!(value(&d, "name"), Some(&Value::One("n".to_owned())));
    }

    #[test]
    fn circles_are_told_whole() {
        let document = document(
            "[profiles.a]\ninherits = ['b']\n[profiles.b]\ninherits = ['c']\n[profiles.c]\ninherits = ['b']\n\
             [profiles.self]\ninherits = ['self']\n",
        );
        let told: Vec<(Option<usize>, &str)> =
            document.problems.iter().map(|problem| (problem.line, problem.message.as_str())).collect();
        assert_eq!(
            told,
            [
                (Some(4), "inherits from itself: c → b → c"),
                (Some(6), "inherits from itself: b → c → b"),
                (Some(8), "inherits from itself: self → self"),
            ]
        );
        assert!(merged(&document, &Options::new(), "a").is_err());
    }

    #[test]
    fn a_family_has_an_end() {
        let family = |generations: usize| {
            let one = |number: usize| format!("[profiles.p{number}]\ninherits = 'p{}'\n", number + 1);
            let text: String = (0..generations).map(one).collect();
            document(&(text + &format!("[profiles.p{generations}]\n")))
        };
        assert_eq!(family(GENERATIONS).problems, []);
        let problems = family(3000).problems;
        assert!(!problems.is_empty());
        assert!(problems.iter().all(|problem| problem.message.contains("generations")));
    }

    #[test]
    fn names_of_nothing_are_told_with_the_one_that_is_near() {
        let document = document(
            "[repositories.main]\npath = '/r'\n[profiles.nightly]\nrepository = 'mian'\ninherits = ['bsae']\n\
             replace = ['exlude']\n[profiles.base]\n[groups]\nall = ['nigthly', 'base']\nbase = []\n",
        );
        let told: Vec<(&str, Option<&str>)> = document
            .problems
            .iter()
            .map(|problem| (problem.message.as_str(), problem.hint.as_deref()))
            .collect();
        assert_eq!(
            told,
            [
                ("there is a profile of this name as well", None),
                ("there is no repository called mian", Some("did you mean main?")),
                ("there is no profile called bsae", Some("did you mean base?")),
                ("replace: there is no key called exlude", Some("did you mean exclude?")),
                ("there is no profile called nigthly", Some("did you mean nightly?")),
            ]
        );
    }
}
