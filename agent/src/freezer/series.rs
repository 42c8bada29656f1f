//! What a backup is called: the template, and the series on the storage that is meant.
//!
//! Freezer reports the name that the template stands for, and stores under the template itself, braces and all. Here both are the
//! same; but where Freezer has begun a series, it goes on, and it is found again.

use super::values::Values;
use crate::cli::host_name;
use crate::output;
use icecore::error::Result;
use icecore::name::BackupName;
use icecore::repository::Repository;
use icecore::time::Timestamp;

/// Host and names of a backup.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Series {
    /// The host.
    pub host: String,
    /// The name that the template stands for.
    pub name: String,
    /// The template, where that is another word.
    pub template: Option<String>,
}

impl Series {
    /// What the options say.
    pub fn of(values: &Values) -> Series {
        let host = values.text("hostname").unwrap_or_else(host_name);
        let template =
            values.text("backup-name").unwrap_or_else(|| "freezer_{mode}_{resource_id}".to_owned());
        let lookup = |variable: &str| match variable {
            "mode" => Some(values.text("mode").unwrap_or_default()),
            "backup_media" => Some("fs".to_owned()),
            "storage" => Some(values.text("storage").unwrap_or_default()),
            "container" => Some(values.text("container").unwrap_or_default()),
            "project_id" => Some(values.text("project-id").unwrap_or_default()),
            "resource_id" => Some(host.clone()),
            _ => None,
        };
        let name = expanded(&template, &lookup).unwrap_or_else(|| {
            output::warning(&format!("the backup name {template:?} is no template, and is taken as it is"));
            template.clone()
        });
        Series { host, template: Some(template).filter(|template| *template != name), name }
    }

    /// The name under which backups go on: that of Freezer's series where there is one.
    ///
    /// # Errors
    /// As the storage has it.
    pub fn to_go_on(&self, repository: &Repository, engine: &str) -> Result<String> {
        Ok(match &self.template {
            Some(template) if self.newest(repository, engine, template, None)?.is_some() => template.clone(),
            _ => self.name.clone(),
        })
    }

    /// The name under which the newest backup is that is not newer than `at`.
    ///
    /// # Errors
    /// As the storage has it.
    pub fn to_restore(&self, repository: &Repository, engine: &str, at: Option<Timestamp>) -> Result<String> {
        let Some(template) = &self.template else { return Ok(self.name.clone()) };
        let newest = |name: &str| self.newest(repository, engine, name, at);
        Ok(if newest(template)? > newest(&self.name)? { template.clone() } else { self.name.clone() })
    }

    /// All names that backups may be under.
    pub fn names(&self) -> Vec<String> {
        std::iter::once(&self.name).chain(&self.template).cloned().collect()
    }

    fn newest(
        &self,
        repository: &Repository,
        engine: &str,
        name: &str,
        at: Option<Timestamp>,
    ) -> Result<Option<Timestamp>> {
        // What cannot be a name on a storage is none there.
        let Ok(series) = BackupName::new(&self.host, name) else { return Ok(None) };
        let chains = repository.chains(engine, &series)?.chains;
        Ok(chains.iter().filter_map(|chain| chain.newest(at)).map(|backup| backup.timestamp).max())
    }
}

/// A template with its variables put in, as Python's `str.format` does it for plain names; `None` for anything else.
fn expanded(template: &str, lookup: &dyn Fn(&str) -> Option<String>) -> Option<String> {
    let mut out = String::with_capacity(template.len());
    let mut rest = template;
    while let Some(at) = rest.find(['{', '}']) {
        out.push_str(&rest[..at]);
        let (brace, behind) = rest[at..].split_at(1);
        if let Some(behind) = behind.strip_prefix(brace) {
            out.push_str(brace);
            rest = behind;
            continue;
        }
        let (variable, behind) = behind.split_once('}').filter(|_| brace == "{")?;
        out.push_str(&lookup(variable)?);
        rest = behind;
    }
    out.push_str(rest);
    Some(out)
}

#[cfg(test)]
mod tests {
    use super::super::options;
    use super::super::values::Source;
    use super::*;

    #[test]
    fn templates_are_those_of_python() {
        let lookup = |name: &str| (name == "mode").then(|| "fs".to_owned());
        for (template, expected) in [
            ("nightly", Some("nightly")),
            ("x_{mode}_y", Some("x_fs_y")),
            ("{{mode}}", Some("{mode}")),
            ("{mode", None),
            ("mode}", None),
            ("{other}", None),
            ("{mode!r}", None),
            ("", Some("")),
        ] {
            assert_eq!(expanded(template, &lookup).as_deref(), expected, "{template}");
        }
    }

    #[test]
    fn the_default_name_says_mode_and_host() {
        let mut values = Values::default();
        let say = |values: &mut Values, name: &str, text: &str| {
            values.say(options::by_name(name).unwrap(), text.to_owned(), Source::Line).unwrap();
        };
        say(&mut values, "hostname", "h1");
        let series = Series::of(&values);
        assert_eq!((series.host.as_str(), series.name.as_str()), ("h1", "freezer_fs_h1"));
        assert_eq!(series.names(), ["freezer_fs_h1", "freezer_{mode}_{resource_id}"]);
        say(&mut values, "backup-name", "plain");
        assert_eq!(Series::of(&values).names(), ["plain"]);
        say(&mut values, "backup-name", "{nothing}");
        assert_eq!(Series::of(&values).names(), ["{nothing}"]);
    }
}
