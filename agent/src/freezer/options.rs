//! The options of Freezer's agent: one table of names, short forms, types, defaults, and what becomes of each here.
//!
//! Everything that knows of options is made from this table: the command line, the files, the help, and the table of the guide
//! (`docs/guide/from-freezer.md`), which a test compares with it row by row.

/// What an option takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Anything.
    Text,
    /// Nothing: it is on or off.
    Switch,
    /// A whole number.
    Whole,
    /// A number.
    Number,
    /// One of these words.
    One(&'static [&'static str]),
    /// A number of bytes a second, with or without a unit.
    Rate,
    /// A file, perhaps several.
    Files,
}

/// What becomes of an option.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Effect {
    /// What it does in Freezer.
    Works,
    /// That, and what was wrong with it is right: how.
    Better(&'static str),
    /// It is taken and does nothing: why.
    Nothing(&'static str),
    /// Not in this version: an error when it is given.
    NotYet,
    /// It means something only beside an option that is not in this version, and does nothing without it, as in Freezer.
    OnlyWith(&'static str),
    /// Freezer has no such option.
    Ours,
}

/// One option.
#[derive(Debug, Clone, Copy)]
pub struct Opt {
    /// Its long name, without `--`.
    pub name: &'static str,
    /// Its short name.
    pub short: Option<char>,
    /// Other names by which files or older command lines call it.
    pub aliases: &'static [&'static str],
    /// What it takes.
    pub kind: Kind,
    /// What it is when nobody says: empty for nothing, or off.
    pub default: &'static str,
    /// What it is for.
    pub about: &'static str,
    /// What becomes of it here.
    pub effect: Effect,
}

impl Opt {
    /// Whether this is a name of it, spelled with `-`.
    pub fn is_called(&self, name: &str) -> bool {
        self.name == name || self.aliases.contains(&name)
    }

    /// Whether what it holds must not be shown.
    pub fn is_secret(&self) -> bool {
        self.name.ends_with("password") || self.name == "secret-key" || self.name == "access-key"
    }
}

/// The option of this name, spelled with `-` or `_`.
pub fn by_name(name: &str) -> Option<&'static Opt> {
    let name = name.replace('_', "-");
    OPTIONS.iter().find(|option| option.is_called(&name))
}

const fn text(name: &'static str, about: &'static str, effect: Effect) -> Opt {
    Opt { name, short: None, aliases: &[], kind: Kind::Text, default: "", about, effect }
}

const fn switch(name: &'static str, about: &'static str, effect: Effect) -> Opt {
    Opt { kind: Kind::Switch, ..text(name, about, effect) }
}

const fn whole(name: &'static str, about: &'static str, effect: Effect) -> Opt {
    Opt { kind: Kind::Whole, ..text(name, about, effect) }
}

const fn number(name: &'static str, about: &'static str, effect: Effect) -> Opt {
    Opt { kind: Kind::Number, ..text(name, about, effect) }
}

const fn one(name: &'static str, words: &'static [&'static str], about: &'static str, effect: Effect) -> Opt {
    Opt { kind: Kind::One(words), ..text(name, about, effect) }
}

impl Opt {
    const fn short(self, letter: char) -> Opt {
        Opt { short: Some(letter), ..self }
    }

    const fn or(self, default: &'static str) -> Opt {
        Opt { default, ..self }
    }

    const fn also(self, aliases: &'static [&'static str]) -> Opt {
        Opt { aliases, ..self }
    }

    const fn of(self, kind: Kind) -> Opt {
        Opt { kind, ..self }
    }
}

use Effect::{Better, NotYet, Nothing, OnlyWith, Ours, Works};

/// The actions.
pub const ACTIONS: &[&str] = &["backup", "restore", "info", "admin", "exec"];
/// The storages.
pub const STORAGES: &[&str] = &["local", "swift", "ssh", "s3", "ftp", "ftps"];

const ELSEWHERE: &str = "messages go to the file of --log-file alone";

/// All of them.
pub const OPTIONS: &[Opt] = &[
    one("action", ACTIONS, "What to do", Works).or("backup"),
    text("path-to-backup", "The directory or file to back up", Better("any name is taken as it is: no shell splits it")).short('F'),
    text("backup-name", "What the backup is called; a template of {mode}, {backup_media}, {storage}, {container}, {project_id}, {resource_id}",
        Better("what is stored under is the name that is reported; a series that Freezer has begun under the template itself goes on")).short('N').or("freezer_{mode}_{resource_id}"),
    text("mode", "What is backed up; in this version fs, mysql", Better("a lock of mysql is always released, and one that does not come or is lost ends the run: docs/guide/databases.md")).short('m').or("fs"),
    one("engine", &["tar", "rsync", "rsyncv2", "nova", "osbrick", "glance"], "How the backup is made; in this version tar, rsync, rsyncv2", Better("rsync and rsyncv2 make levels of Icecore's `rsync` engine, in a new chain; what Freezer's have stored is restored")).short('e').or("tar").also(&["engine-name"]),
    text("container", "Where the backups are: a folder, or CONTAINER/PREFIX, or BUCKET/PREFIX", Better("a relative folder is one of where the agent was started")).short('C').or("freezer_backups"),
    one("storage", STORAGES, "What kind of place that is", Works).or("swift"),
    text("snapshot", "Back up from a snapshot of the volume: any word", Better("snapshots of LVM work, are always removed, and one that ran out of room is no backup: docs/guide/databases.md")).short('s'),
    switch("sync", "Write what the system still has in memory to the disks first, with --mode fs", Works).or("true"),
    text("lvm-srcvol", "The volume of which a snapshot is taken", Better("it has to be the volume that the path is on")),
    text("lvm-snapname", "What the snapshot is called", Works),
    one("lvm-snap-perm", &["ro", "rw"], "Whether the snapshot can be written to", Works).or("ro").also(&["lvm-snapperm"]),
    text("lvm-snapsize", "The size of the snapshot", Better("80%FREE may be written with one % in files")).or("1G"),
    text("lvm-dirmount", "Where the snapshot is mounted", Better("it has to be empty: nothing is backed up of what is mounted there already")),
    text("lvm-volgroup", "The group of the volume", Better("as --lvm-srcvol")),
    switch("incremental", "Store what changed since the backup before", Better("a chain with a gap or a damaged level is not built upon")).or("false"),
    whole("max-level", "Make a full backup after this level", Works),
    whole("always-level", "Once there, make this level again and again", Better("of several backups of one level the newest counts, not the one that a listing has last")),
    number("restart-always-level", "Make a full backup when the last full one is older than so many days",
        Better("the days count from there, and not from the newest increment, so that a chain that is added to daily ends")),
    number("remove-older-than", "Remove chains whose backups are all older than so many days",
        Better("an increment that is newer keeps its chain, and the last good chain stays")).short('R'),
    text("remove-before-date", "Remove chains whose backups are all from before this date", Better("as --remove-older-than")),
    text("remove-from-date", "The same, by its old name", Better("as --remove-older-than")),
    text("hostname", "The host the data belongs to", Works),
    text("mysql-conf", "How to reach MySQL", Better("also without [default], as its documentation has it; socket = is understood")),
    text("sql-server-conf", "How to reach SQL Server", Nothing("there is no SQL Server here: it runs on Windows")),
    text("metadata-out", "Write what the backup came to, as JSON, to this file; - is standard output", Better("a relative name is one of where the agent was started; the level and the time are those on the storage")),
    text("exclude", "Leave out what matches, as tar's --exclude has it", Better("no shell reads it")),
    one("dereference-symlink", &["soft", "hard", "all"], "Store what links point to: symbolic ones (soft), further names of a file (hard), or both (all)",
        Better("a link that leads nowhere is named, and one to a directory that it is in does no harm; the rsync engines do it, too")),
    text("encrypt-pass-file", "Encrypt with the password in this file", Better("a wrong password is told before anything is written; a warning says what this encryption does not protect from")),
    whole("max-segment-size", "Bytes of a segment in Swift", Better("whole MiB, rounded up, from 1 MiB to 1 GiB; S3 has parts of its own, which grow with the object")).short('M').or("33554432"),
    whole("rsync-block-size", "Bytes of a block of the rsync engines", Better("only when it is given; else the length of a file decides")).or("4096"),
    text("restore-abs-path", "Where to restore to", Better("also a relative path")),
    text("restore-from-date", "Restore the newest backup that is not newer than this date", Better("a zone is understood; see --naive-dates for dates without one")),
    text("max-priority", "Run with the highest priority for processor and disks, whatever is said", Works),
    switch("quiet", "Say less on standard error", Works).short('q').or("false"),
    switch("insecure", "Do not check certificates", Nothing("certificates are always checked; OS_CACERT names an authority of one's own")).or("false"),
    one("os-identity-api-version", &["3"], "The version of Keystone", Works).or("3").also(&["os-auth-ver"]),
    text("proxy", "Reach storages by this proxy; '' for none", Better("its letters keep their case, and '' works")),
    switch("dry-run", "Do everything but write", Better("nothing is written or removed, on any storage")).or("false"),
    text("upload-limit", "Send no more bytes a second", Better("trickle is not needed, and 10K, 120M, 10G are understood")).or("-1").of(Kind::Rate),
    text("download-limit", "Fetch no more bytes a second", Better("as --upload-limit")).or("-1").of(Kind::Rate),
    text("cinder-vol-id", "Back up this volume, by an image", NotYet),
    text("cinder-vol-name", "The same, by the volume's name", NotYet),
    text("cinderbrick-vol-id", "Back up this volume, attached to this machine", NotYet),
    text("cindernative-vol-id", "Have Cinder back up this volume", NotYet),
    text("cindernative-backup-id", "Which of Cinder's backups to restore", NotYet),
    text("cindernative-backup-az", "In which zone Cinder stores it", OnlyWith("cindernative-vol-id")),
    text("cindernative-backup-container", "In which container Cinder stores it", OnlyWith("cindernative-vol-id")).or("$container"),
    switch("cindernative-freezer-only", "Remove only backups of Freezer's", OnlyWith("cindernative-vol-id")).or("true"),
    text("glance-image-id", "Back up this image", NotYet),
    text("glance-image-name", "The same, by the image's name", NotYet),
    text("glance-image-name-filter", "Back up images whose names do not hold this", NotYet),
    text("nova-inst-id", "Back up this instance", NotYet),
    text("nova-inst-name", "The same, by the instance's name", NotYet),
    text("nova-restore-network", "The network of a restored instance", OnlyWith("nova-inst-id")),
    text("project-id", "The project that Swift's container is in", Better("of the environment only what logs in is used beside it")),
    text("os-trust-id", "Log in by a trust", NotYet),
    text("backup-id", "The id that freezer-api gave this backup", Works),
    text("command", "What --action exec runs: words, '…' and \"…\" keep them together, | pipes", Better("quotes work, and each command of a pipe has to end well")),
    one("compression", &["gzip", "bzip2", "xz"], "How to compress", Better("on all cores; no program of that name is needed")).or("gzip"),
    text("access-key", "The access key for S3", Better("with ACCESS_KEY in the environment no list of processes shows it")),
    text("secret-key", "The secret key for S3", Better("as --access-key: SECRET_KEY")),
    text("endpoint", "The server for S3", Better("without one, Amazon's")),
    text("ssh-key", "The key for the server with SSH", Better("without the option, an agent and the usual keys are tried too")).or("~/.ssh/id_rsa"),
    text("ssh-password", "The password for the server with SSH", Better("never shown, never logged")),
    text("ssh-username", "The user there", Works),
    text("ssh-host", "The server with SSH", Better("its key is noted at the first time, and a changed one is refused")),
    whole("ssh-port", "Its port", Works).or("22"),
    text("ftp-username", "The user of the FTP server", Works),
    text("ftp-password", "The password there", Better("never shown, never logged")),
    text("ftp-host", "The FTP server", Better("restores work")),
    whole("ftp-port", "Its port", Works).or("21"),
    text("ftp-keyfile", "The key of the client's certificate, for ftps", Better("it is used")),
    text("ftp-certfile", "The client's certificate, for ftps", Better("it is used; the server's certificate is checked")),
    text("config", "A file of options: a job", Better("the command line goes before it, as Freezer's help says it does")),
    switch("overwrite", "Restore into a directory that is not empty", Better("what the backup does not have stays there")).or("false"),
    switch("consistency-check", "Add a checksum of the source to what the backup came to", Better("beside Freezer's, one that does not depend on the order of a directory")).or("false"),
    text("consistency-checksum", "Compare what was restored with this checksum", Better("either of the two")),
    whole("timeout", "Give a server up that says nothing for so many seconds", Works).or("120"),
    whole("fullbackup-rotation", "Keep so many of Cinder's full backups", OnlyWith("cindernative-vol-id")).or("1"),
    text("temp-resource-prefix", "What names of temporary resources in OpenStack begin with", OnlyWith("nova-inst-id")).or("freezer_"),
    one("naive-dates", &["utc", "local"], "What dates without a zone mean: utc as in 19.0.0, or local as before", Ours).or("utc"),
    switch("version", "Say which version this is", Works),
    text("config-file", "Options, in a file of oslo's form; may be repeated", Works).of(Kind::Files),
    text("config-dir", "Files of that form, all *.conf in a folder; may be repeated", Works).of(Kind::Files),
    switch("debug", "Log more", Nothing("everything there is to say is logged")).short('d').or("false"),
    text("log-file", "Also write messages to this file", Works).also(&["logfile"]),
    text("log-dir", "The folder that a relative --log-file is in", Works).also(&["logdir"]),
    text("log-config-append", "A configuration of Python's logging", Nothing("there is no Python here")).also(&["log-config"]),
    text("log-date-format", "How times look in the log", Nothing("they are in ISO 8601")),
    switch("use-syslog", "Log to syslog", Nothing(ELSEWHERE)).or("false"),
    text("syslog-log-facility", "The facility of syslog", Nothing(ELSEWHERE)).or("LOG_USER"),
    switch("use-journal", "Log to the journal", Nothing(ELSEWHERE)).or("false"),
    switch("use-json", "Log in JSON", Nothing("the log is text")).or("false"),
    switch("use-stderr", "Log to standard error", Nothing("messages go there anyway, less of them with --quiet")).or("false"),
    switch("watch-log-file", "Follow a log that is moved", Nothing("the log is opened once a run")).or("false"),
];

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn no_name_means_two_options() {
        let mut names = BTreeSet::new();
        let mut letters = BTreeSet::new();
        for option in OPTIONS {
            let off = (option.kind == Kind::Switch).then(|| format!("no{}", option.name));
            for name in option
                .aliases
                .iter()
                .map(|name| (*name).to_owned())
                .chain(off)
                .chain([option.name.to_owned()])
            {
                assert!(names.insert(name.clone()), "{name}");
            }
            if let Some(letter) = option.short {
                assert!(letters.insert(letter), "{letter}");
            }
        }
    }

    #[test]
    fn defaults_are_of_their_kind() {
        for option in OPTIONS.iter().filter(|option| !option.default.is_empty()) {
            let right = match option.kind {
                Kind::Switch => matches!(option.default, "true" | "false"),
                Kind::Whole => option.default.parse::<i64>().is_ok(),
                Kind::Number => option.default.parse::<f64>().is_ok(),
                Kind::One(words) => words.contains(&option.default),
                _ => true,
            };
            assert!(right, "{}", option.name);
        }
    }

    #[test]
    fn an_option_that_needs_another_names_one_that_is_there() {
        for option in OPTIONS {
            if let Effect::OnlyWith(other) = option.effect {
                assert!(by_name(other).is_some(), "{}", option.name);
            }
        }
    }

    /// What the guide says of an option.
    fn row(option: &Opt) -> String {
        let short = option.short.map_or_else(String::new, |letter| format!(", `-{letter}`"));
        let effect = match option.effect {
            Effect::Works => "works".to_owned(),
            Effect::Better(how) => format!("works better: {how}"),
            Effect::Nothing(why) => format!("accepted without effect: {why}"),
            Effect::NotYet => "not in this version: an error that says what to do instead".to_owned(),
            Effect::OnlyWith(other @ ("mode" | "engine")) => {
                format!("accepted; means something only with a `--{other}` that is not in this version")
            }
            Effect::OnlyWith(other) => {
                format!("accepted; means something only with `--{other}`, which is not in this version")
            }
            Effect::Ours => "Icecore's own".to_owned(),
        };
        format!("| `--{}`{short} | {} | {effect} |", option.name, option.about.replace('|', "\\|"))
    }

    #[test]
    fn the_guide_has_a_row_for_every_option_and_no_other() {
        let page = include_str!("../../../docs/guide/from-freezer.md");
        let is_row = |line: &&str| line.starts_with("| `--") && line.matches(" | ").count() == 2;
        let section = page.split("## Every option").nth(1).unwrap_or_default();
        let section = section.split("\n## ").next().unwrap_or_default();
        let found: Vec<&str> = section.lines().filter(is_row).collect();
        let expected: Vec<String> = OPTIONS.iter().map(row).collect();
        assert!(found == expected, "the table is to be:\n{}", expected.join("\n"));
    }

    #[test]
    fn names_are_taken_in_either_spelling() {
        for (name, found) in [
            ("path_to_backup", "path-to-backup"),
            ("engine_name", "engine"),
            ("os-auth-ver", "os-identity-api-version"),
        ] {
            assert_eq!(by_name(name).map(|option| option.name), Some(found));
        }
        assert!(by_name("no-such").is_none());
    }
}
