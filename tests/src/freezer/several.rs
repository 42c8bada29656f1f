//! Several storages of a job with a Swift among them, which Freezer cannot have.

use super::{Agent, everything, metadata};
use crate::elsewhere::servers;
use crate::program::not_run;
use std::fs;

/// It has a login of its own in its section, and what is lost elsewhere is brought back from it.
#[test]
fn several_storages_may_have_a_swift_among_them() {
    let folder = tempfile::tempdir().unwrap();
    let server = match servers::with_keystone(folder.path()) {
        Ok(server) => server,
        Err(missing) => return not_run(&missing.0),
    };
    let agent = Agent::new();
    let at = |name: &str| agent.place.path().join(name);
    let exports = server.variables.iter().map(|(key, value)| format!("export {key}=\"{value}\"\n"));
    fs::write(at("osrc"), exports.collect::<String>()).unwrap();
    let local = at("local");
    let text = format!(
        "[job]\nhostname = h\nbackup_name = n\nincremental = true\n\
         [storage:disk]\nstorage = local\ncontainer = {}\n\
         [storage:cloud]\nstorage = swift\ncontainer = several/x\nosrc = {}\n",
        local.display(),
        at("osrc").display(),
    );
    let job = at("job");
    fs::write(&job, text).unwrap();
    let run = |more: &[&str]| agent.run(&[&["--config", job.to_str().unwrap()], more].concat());
    let backup = |level: u32| {
        agent.place.write(&[("a", &format!("level {level}"))]);
        let said = run(&["-F", "source", "--metadata-out", "-"]).expect(0);
        assert_eq!(metadata(&said)["curr_backup_level"], level);
    };
    let restore = |name: &str, more: &[&str]| {
        let target = agent.place.target(name).display().to_string();
        run(&[&["--action", "restore", "--restore-abs-path", &target], more].concat()).expect(0);
        fs::read_to_string(agent.place.target(name).join("a")).unwrap()
    };
    backup(0);
    backup(1);
    let before = everything(&local);
    fs::remove_dir_all(&local).unwrap();
    assert_eq!(restore("from Swift", &[]), "level 1");
    backup(2);
    let after = everything(&local);
    assert!(before.iter().filter(|(name, _)| name.contains("/h_n/")).all(|object| after.contains(object)));
    assert_eq!(everything(&local.join("metadata")).len(), 3);
    drop(server);
    assert_eq!(restore("from the disk", &["--timeout", "5"]), "level 2");
}
