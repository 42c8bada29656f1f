//! What says what the options are: the command line, jobs, files, the environment; and what is no option.

use super::{Agent, metadata};
use std::fs;
use std::path::Path;

#[test]
fn a_job_does_not_turn_a_restore_into_a_backup() {
    let agent = Agent::new();
    agent.place.write(&[("a", "one")]);
    let (source, repository) = (agent.place.source(), agent.place.repository());
    let job = agent.place.path().join("job.ini");
    let text = format!(
        "[job]\naction = backup\npath_to_backup = {}\nstorage = local\ncontainer = {}\nhostname = h\nbackup-name = n\n",
        source.display(),
        repository.display()
    );
    fs::write(&job, text).unwrap();
    let job = job.to_str().unwrap();
    agent.run(&["--config", job]).expect(0);
    let before = super::everything(&repository);
    let target = agent.place.target("back");
    agent
        .run(&["--config", job, "--action", "restore", "--restore-abs-path", target.to_str().unwrap()])
        .expect(0);
    assert_eq!(fs::read_to_string(target.join("a")).unwrap(), "one");
    assert!(super::everything(&repository) == before, "the restore wrote to the storage");
}

#[test]
fn a_job_is_run_as_the_scheduler_runs_it() {
    let agent = Agent::new();
    agent.place.write(&[("a", "one")]);
    let job = agent.place.path().join("job");
    let text = format!(
        "[action]\naction = backup\nbackup_name = n\nhostname = h\nmode = fs\nstorage = local\nincremental = True\nmax_level = False\n\
         container = {}\npath_to_backup = {}\nlog_file = {}\nbackup_id = some-id\n",
        agent.place.repository().display(),
        agent.place.source().display(),
        agent.place.path().join("job.log").display(),
    );
    fs::write(&job, text).unwrap();
    for level in 0..2 {
        let said =
            metadata(&agent.run(&["--metadata-out", "-", "--config", job.to_str().unwrap()]).expect(0));
        assert_eq!((&said["curr_backup_level"], &said["backup_id"]), (&level.into(), &"some-id".into()));
    }
    assert!(fs::read_to_string(agent.place.path().join("job.log")).unwrap().contains("level 1 of h_n"));
}

#[test]
fn files_and_variables_say_what_the_command_line_does_not() {
    let agent = Agent::new();
    agent.place.write(&[("a", "one")]);
    let (file, folder) = (agent.place.path().join("agent.conf"), agent.place.path().join("more.d"));
    fs::create_dir(&folder).unwrap();
    let repository = agent.place.repository();
    fs::write(&file, format!("[DEFAULT]\nstorage = local\ncontainer = \"{}\"\nhostname = file\nbackup_name = file\nrabbit = 1\n", repository.display())).unwrap();
    fs::write(folder.join("x.conf"), "[DEFAULT]\ncompression = xz\n[other]\naction = admin\n").unwrap();
    let (file, folder, source) = (file.to_str().unwrap(), folder.to_str().unwrap(), agent.place.source());
    let mut command = agent.command(&[
        "--config-file",
        file,
        "--config-dir",
        folder,
        "-F",
        source.to_str().unwrap(),
        "-N",
        "line",
        "--metadata-out",
        "-",
    ]);
    command.env("OS_DEFAULT__HOSTNAME", "variable").env("OS_DEFAULT__BACKUP_NAME", "variable");
    let said = metadata(&super::outcome(command).expect(0));
    for (key, expected) in
        [("hostname", "variable"), ("backup_name", "line"), ("compression", "xz"), ("storage", "local")]
    {
        assert_eq!(said[key], expected, "{key}");
    }
    assert!(repository.join("metadata/tar/variable_line").is_dir());
}

#[test]
fn what_means_nothing_is_an_error_and_what_does_nothing_is_named() {
    let agent = Agent::new();
    agent.place.write(&[("a", "one")]);
    for (line, word) in [
        (&["--incrementl"][..], "--incremental"),
        (&["backup"], "backup"),
        (&["--engine", "zip"], "one of tar"),
        (&["--max-level", "two"], "--max-level"),
    ] {
        let said = agent.backup(line).expect(2).stderr;
        assert!(said.contains(word), "{line:?}: {said}");
    }
    for (line, word) in [
        (&["--mode", "mongo"][..], "--mode mongo"),
        (&["--mode", "mysql"], "--mysql-conf"),
        (&["--engine", "osbrick"], "--engine osbrick"),
        (&["--snapshot", "yes", "--lvm-snapsize", "much"], "much"),
        (&["--nova-inst-id", "x"], "--nova-inst-id"),
        (&["--max-level", "2"], "--incremental"),
        (&["--timeout", "0"], "--timeout"),
    ] {
        let said = agent.backup(line).expect(1).stderr;
        assert!(said.contains("Critical Error") && said.contains(word), "{line:?}: {said}");
    }
    assert!(!agent.place.repository().exists(), "nothing was to be made");
    let said = agent.backup(&["--sql-server-conf", "C:\\x", "--use-syslog", "--debug"]).expect(0).stderr;
    for word in ["--sql-server-conf does nothing", "--use-syslog", "--debug"] {
        assert!(said.contains(word), "{word}: {said}");
    }
    let quiet = agent.backup(&["--quiet", "--debug"]).expect(0);
    assert_eq!(quiet.stderr, "");
    assert_eq!(agent.backup(&["--quiet", "--mode", "mysql"]).expect(1).stderr, "");
    // What is on no logical volume is on none; a snapshot on one is tested where there are any.
    let said = agent.backup_of(Path::new("/proc/sys/kernel/random"), &["--snapshot", "yes"]).expect(1).stderr;
    assert!(said.contains("not on a logical volume: /proc"), "{said}");
}

#[test]
fn no_words_are_a_cry_for_help() {
    let agent = Agent::new();
    assert!(agent.run(&[]).expect(1).stdout.contains("--path-to-backup"));
    assert!(agent.run(&["--help"]).expect(0).stdout.contains("--remove-older-than"));
    assert!(agent.run(&["--version"]).expect(0).stdout.starts_with("icecore "));
}

#[test]
fn the_program_does_this_when_its_file_is_called_so() {
    let agent = Agent::new();
    let link = agent.place.path().join("freezer-agent");
    let mut shell = agent
        .place
        .program
        .shell(&format!("ln -s \"$(command -v icecore)\" {0}; {0} --version", link.display()));
    let output = shell.output().unwrap();
    assert!(output.status.success() && output.stdout.starts_with(b"icecore "), "{output:?}");
}

#[test]
fn dates_without_a_zone_are_utc_unless_told_otherwise() {
    let agent = Agent::new();
    agent.place.write(&[("a", "one")]);
    let time = agent.level(&[])["time_stamp"].as_i64().unwrap();
    let date = |offset: i64| {
        jiff::Timestamp::from_second(time + offset).unwrap().to_string().trim_end_matches('Z').to_owned()
    };
    agent.restore("now", &["--restore-from-date", &date(0)]).expect(0);
    agent.restore("zone", &["--restore-from-date", &format!("{}+01:00", date(3600))]).expect(0);
    let early = agent.restore("early", &["--restore-from-date", &date(-1)]).expect(1);
    assert!(early.stderr.contains("Critical Error"), "{early:?}");
    assert!(!agent.place.target("early").exists());
    // An hour east of Greenwich it is an hour later.
    for (name, meaning, offset, status) in
        [("a", "local", 3600, 0), ("b", "local", 3599, 1), ("c", "utc", 3600, 0)]
    {
        let (repository, target, date) = (agent.place.repository(), agent.place.target(name), date(offset));
        let mut command = agent.command(&[
            "--action",
            "restore",
            "--storage",
            "local",
            "-C",
            repository.to_str().unwrap(),
            "--hostname",
            "h",
            "-N",
            "n",
            "--restore-abs-path",
            target.to_str().unwrap(),
            "--restore-from-date",
            &date,
            "--naive-dates",
            meaning,
        ]);
        command.env("TZ", "XYZ-1");
        super::outcome(command).expect(status);
    }
}
