//! The storages by Freezer's words for them, on real servers; and several at once, by a job.

use super::{Agent, metadata, outcome};
use crate::elsewhere::Server;
use crate::elsewhere::servers::{self, Started};
use crate::program::{Outcome, not_run};
use icecore_testkit::ask::ask;
use icecore_testkit::servers::free_port;
use icecore_testkit::servers::ftp::{self, Protection, Pyftpdlib};
use icecore_testkit::servers::keystone::Keystone;
use icecore_testkit::servers::moto::Moto;
use icecore_testkit::servers::sshd::{self, Sshd};
use icecore_testkit::wire::HttpProxy;
use std::fs;
use std::net::SocketAddr;

/// Two levels, and what comes back; no word of it shows a secret.
fn round_trip(storage: &[&str], variables: &[(&str, &str)], secrets: &[&str]) {
    let agent = Agent::new();
    let run = |more: &[&str]| -> Outcome {
        let mut command =
            agent.command(&[storage, &["--hostname", "h", "--backup-name", "n"], more].concat());
        command.envs(variables.iter().copied());
        let outcome = outcome(command).expect(0);
        for secret in secrets {
            assert!(!format!("{outcome:?}").contains(secret), "{secret}: {outcome:?}");
        }
        outcome
    };
    let source = agent.place.source();
    for level in 0..2 {
        agent.place.write(&[("a/b", &format!("level {level}")), ("long", &"0123456789".repeat(300_000))]);
        let said = run(&[
            "--action",
            "backup",
            "-F",
            source.to_str().unwrap(),
            "--incremental",
            "--metadata-out",
            "-",
        ]);
        assert_eq!(metadata(&said)["curr_backup_level"], level);
    }
    let target = agent.place.target("back");
    run(&["--action", "restore", "--restore-abs-path", target.to_str().unwrap()]);
    assert_eq!(fs::read_to_string(target.join("a/b")).unwrap(), "level 1");
    assert_eq!(fs::read(target.join("long")).unwrap().len(), 3_000_000);
    assert!(run(&["--action", "info"]).stdout.contains("Object Count"));
    let said = run(&["--action", "admin", "--remove-before-date", "2100-01-01"]).stderr;
    assert!(said.contains("removed 0 chains, kept 1"), "{said}");
}

/// Where two levels are: a dry run of anything leaves every object as it was.
fn dry_runs(storage: &[&str], variables: &[(&str, &str)], content: &dyn Fn() -> Vec<(String, Vec<u8>)>) {
    let agent = Agent::new();
    agent.place.write(&[("a/b", "of a dry run")]);
    let (source, target) = (agent.place.source(), agent.place.target("dry"));
    let (source, target) = (source.to_str().unwrap(), target.to_str().unwrap());
    let run = |more: &[&str]| {
        let mut command =
            agent.command(&[storage, &["--hostname", "h", "--backup-name", "n"], more].concat());
        command.envs(variables.iter().copied());
        outcome(command).expect(0)
    };
    // Another chain, so that there is one that could go.
    run(&["-F", source]);
    let before = content();
    assert!(before.len() >= 9, "{:?}", before.iter().map(|(name, _)| name).collect::<Vec<_>>());
    for more in [
        &["-F", source][..],
        &["-F", source, "--incremental"],
        &["-F", source, "--backup-name", "another"],
        &["--action", "admin", "--remove-before-date", "2100-01-01"],
        &["--action", "restore", "--restore-abs-path", target],
    ] {
        run(&[more, &["--dry-run"]].concat());
        let after = content();
        let names = |content: &[(String, Vec<u8>)]| content.iter().map(|(name, _)| name.clone()).collect();
        let (before_names, after_names): (Vec<String>, Vec<String>) = (names(&before), names(&after));
        assert_eq!(before_names, after_names, "{more:?}");
        assert!(before == after, "{more:?} changed what is in an object");
    }
    assert!(!agent.place.target("dry").exists());
    let said = run(&["--action", "admin", "--remove-before-date", "2100-01-01"]).stderr;
    assert!(said.contains("removed 1 chain, kept 1"), "{said}");
}

#[test]
fn ssh_by_a_key() {
    let folder = tempfile::tempdir().unwrap();
    let sshd = match Sshd::start(folder.path(), "") {
        Ok(sshd) => sshd,
        Err(missing) => return not_run(&missing.0),
    };
    let (port, user) = (sshd.port().to_string(), sshd.user());
    let (key, container) = (sshd.file("user_ed25519"), sshd.file("data").join("agent"));
    let storage = [
        "--storage",
        "ssh",
        "--ssh-host",
        "127.0.0.1",
        "--ssh-port",
        &port,
        "--ssh-username",
        &user,
        "--ssh-key",
        key.to_str().unwrap(),
        "--container",
        container.to_str().unwrap(),
    ];
    round_trip(&storage, &[], &[]);
    assert!(container.join("metadata/tar/h_n").is_dir());
    dry_runs(&storage, &[], &|| super::everything(&container));
    // The key of the server is noted at the first time; another one is refused.
    let agent = Agent::new();
    agent.run(&[&storage[..], &["--action", "info"]].concat()).expect(0);
    drop(sshd);
    let other = tempfile::tempdir().unwrap();
    let known = fs::read_dir(agent.place.program.home()).unwrap().count();
    assert!(known > 0);
    let file = agent.place.program.home().join(".ssh/known_hosts");
    let noted = fs::read_to_string(&file).unwrap();
    let sshd = Sshd::start(other.path(), "").unwrap();
    fs::write(&file, noted.replace(&port, &sshd.port().to_string())).unwrap();
    let port = sshd.port().to_string();
    let refused = agent
        .run(&[
            "--action",
            "info",
            "--storage",
            "ssh",
            "--ssh-host",
            "127.0.0.1",
            "--ssh-port",
            &port,
            "--ssh-username",
            &user,
            "-C",
            "/",
        ])
        .expect(1);
    assert!(refused.stderr.contains("key"), "{refused:?}");
}

#[test]
fn ssh_by_a_password() {
    let folder = tempfile::tempdir().unwrap();
    let sshd = match Sshd::start_with_password(folder.path(), "") {
        Ok(sshd) => sshd,
        Err(missing) => return eprintln!("not run: {}", missing.0),
    };
    let (port, user, container) = (sshd.port().to_string(), sshd.user(), sshd.file("data").join("box"));
    let server = ["--storage", "ssh", "--ssh-host", "127.0.0.1", "--ssh-port", &port];
    let place = ["--ssh-username", &user, "--container", container.to_str().unwrap()];
    let with = |password| [&server[..], &place, &["--ssh-password", password]].concat();
    round_trip(&with(sshd::PASSWORD), &[], &[sshd::PASSWORD]);
    let agent = Agent::new();
    let refused = agent.run(&[&with("not this one")[..], &["--action", "info"]].concat()).expect(1);
    assert!(refused.stderr.contains("password") && !refused.stderr.contains("not this one"), "{refused:?}");
}

#[test]
fn s3_by_keys_of_the_line_or_the_environment() {
    let folder = tempfile::tempdir().unwrap();
    let moto = match Moto::strict(folder.path()) {
        Ok(moto) => moto,
        Err(missing) => return not_run(&missing.0),
    };
    let (endpoint, (id, secret)) = (moto.endpoint(), &moto.key);
    let line = [
        "--storage",
        "s3",
        "--endpoint",
        &endpoint,
        "--access-key",
        id,
        "--secret-key",
        secret,
        "-C",
        "one/pre/fix",
    ];
    round_trip(&line, &[], &[secret]);
    let server = Server { address: "s3:/".to_owned(), ..moto.reached() };
    dry_runs(&line, &[], &|| server.content("one/pre/fix"));
    let variables = [("ACCESS_KEY", id.as_str()), ("SECRET_KEY", secret), ("ENDPOINT", &endpoint)];
    round_trip(&["--storage", "s3", "-C", "two"], &variables, &[secret]);
}

/// What the option names has every request, and with '' none goes to the one in the environment.
#[test]
fn a_proxy_is_what_requests_go_through() {
    let folder = tempfile::tempdir().unwrap();
    let moto = match Moto::start(folder.path()) {
        Ok(moto) => moto,
        Err(missing) => return not_run(&missing.0),
    };
    let proxy = HttpProxy::new(SocketAddr::from(([127, 0, 0, 1], moto.port)));
    let (endpoint, url) = (moto.endpoint(), format!("http://127.0.0.1:{}", proxy.port()));
    let line = ["--storage", "s3", "--endpoint", &endpoint, "-C", "bucket/x", "-F", "source", "-N", "n"];
    let keys = ["--access-key", &moto.key.0, "--secret-key", &moto.key.1];
    let agent = Agent::new();
    agent.place.write(&[("a", "one")]);
    let backup = |option: &str, variable: &str| {
        let mut command = agent.command(&[&line[..], &keys, &["--proxy", option]].concat());
        command.env("HTTP_PROXY", variable);
        outcome(command).expect(0);
        proxy.passed().len()
    };
    let by_option = backup(&url, "http://127.0.0.1:9");
    assert!(by_option > 3, "{:?}", proxy.passed());
    assert!(proxy.passed().iter().all(|request| request.path.starts_with(&endpoint)), "{:?}", proxy.passed());
    assert_eq!(backup("", &url), by_option);
}

#[test]
fn swift_by_the_variables_of_a_login() {
    let folder = tempfile::tempdir().unwrap();
    let server: Server = match servers::with_keystone(folder.path()) {
        Ok(server) => server,
        Err(missing) => return not_run(&missing.0),
    };
    let variables: Vec<(&str, &str)> =
        server.variables.iter().map(|(key, value)| (key.as_str(), value.as_str())).collect();
    let secret = variables.iter().find(|(key, _)| *key == "OS_PASSWORD").unwrap().1;
    let place = ["-C", "freezer_backups/some/where", "--max-segment-size", "1048576"];
    round_trip(&place, &variables, &[secret]);
    let there = Server {
        address: "swift:/".to_owned(),
        options: String::new(),
        variables: server.variables.clone(),
        running: Vec::new(),
    };
    dry_runs(&place, &variables, &|| there.content("freezer_backups/some/where"));
    // The project by its number, which the variables do not name.
    let keystone = server.running.iter().find_map(|running| running.downcast_ref::<Keystone>()).unwrap();
    let (token, url) = keystone.token();
    let project = url.rsplit_once("AUTH_").unwrap().1;
    let (server, path) = url.strip_prefix("http://").unwrap().split_once('/').unwrap();
    let port = server.rsplit_once(':').unwrap().1.parse().unwrap();
    // The containers of the account; what is in them the account itself counts, some time later.
    let agent = Agent::new();
    let containers = || {
        let mut command = agent.command(&["--action", "info", "-C", ""]);
        command.envs(variables.iter().copied());
        super::info::rows(&outcome(command).expect(0))
    };
    // An account that was busy has not heard of a container: it is told again.
    let again = |_: &usize| {
        let is_there = !containers().is_empty();
        if !is_there {
            let said =
                ask(port, "PUT", &format!("/{path}/freezer_backups"), &[("x-auth-token", &token)], b"");
            assert!(said.status < 300, "{said:?}");
        }
        !is_there
    };
    let tries = (0..10).take_while(again).count();
    let listed = containers();
    assert!(matches!(listed.as_slice(), [[name, ..]] if name == "freezer_backups"), "{tries}: {listed:?}");
    // Segments are as long as is said, in whole MiB: three and a bit make four.
    agent.place.write(&[("a", "one")]);
    let content = icecore_testkit::random::Random::new(5).bytes((3 << 20) + 5);
    fs::write(agent.place.source().join("random"), content).unwrap();
    let words = ["-C", "segmented", "-F", "source", "-N", "n", "--hostname", "h", "--metadata-out", "-"];
    let mut command = agent.command(&[&words[..], &["--max-segment-size", "1000000"]].concat());
    command.envs(variables.iter().copied());
    let time = metadata(&outcome(command).expect(0))["time_stamp"].as_i64().unwrap();
    // Each is asked for: a list may not have them yet.
    let status = |number: usize| {
        let segment = format!("/{path}/segmented/data/tar/h_n/{time}/0_{time}/segments/{number:08}");
        ask(port, "HEAD", &segment, &[("x-auth-token", &token)], b"").status
    };
    assert_eq!([0, 1, 2, 3, 4].map(status), [200, 200, 200, 200, 404]);
    let login: Vec<(&str, &str)> =
        variables.iter().copied().filter(|(name, _)| !name.contains("PROJECT")).collect();
    let more = ["-C", "freezer_backups/some/where", "--os-identity-api-version", "3", "--action", "info"];
    for (with, status) in [(&["--project-id", project][..], 0), (&["--project-id", "0123"], 1)] {
        let agent = Agent::new();
        let mut command = agent.command(&[&more[..], with].concat());
        command.envs(login.iter().copied());
        outcome(command).expect(status);
    }
    // The same from a file of exports, in a job.
    let agent = Agent::new();
    agent.place.write(&[("a", "one")]);
    let (osrc, job) = (agent.place.path().join("osrc"), agent.place.path().join("job"));
    let exports: String =
        variables.iter().map(|(key, value)| format!("export {key}=\"{value}\"\n")).collect();
    fs::write(&osrc, exports).unwrap();
    let text = format!(
        "[default]\naction=backup\nosrc={}\nstorage=swift\ncontainer=c\npath_to_backup={}\n",
        osrc.display(),
        agent.place.source().display()
    );
    fs::write(&job, text).unwrap();
    agent.run(&["--config", job.to_str().unwrap()]).expect(0);
}

#[test]
fn ftp_and_ftps() {
    let folder = tempfile::tempdir().unwrap();
    if let Err(missing) = ftp::certificates(folder.path()) {
        return not_run(&missing.0);
    }
    for (kind, protection) in [("ftp", Protection::Off), ("ftps", Protection::Explicit)] {
        let port = free_port();
        let _server = match Pyftpdlib::new(protection).start(folder.path(), port) {
            Ok(server) => server,
            Err(missing) => return not_run(&missing.0),
        };
        let port = port.to_string();
        let storage = [
            "--storage",
            kind,
            "--ftp-host",
            "127.0.0.1",
            "--ftp-port",
            &port,
            "--ftp-username",
            ftp::USER,
            "--ftp-password",
            ftp::PASSWORD,
            "-C",
            kind,
        ];
        let authority = folder.path().join("authority.pem");
        let variables = [("SSL_CERT_FILE", authority.to_str().unwrap())];
        round_trip(&storage, &variables, &[ftp::PASSWORD]);
        let container = folder.path().join("files").join(kind);
        dry_runs(&storage, &variables, &|| super::everything(&container));
    }
}

#[test]
fn ftps_with_a_certificate_of_the_client() {
    let folder = tempfile::tempdir().unwrap();
    if let Err(missing) = ftp::certificates(folder.path()) {
        return not_run(&missing.0);
    }
    let port = free_port();
    let wary = Pyftpdlib { clients_are_known: true, ..Pyftpdlib::new(Protection::Explicit) };
    let _server = match wary.start(folder.path(), port) {
        Ok(server) => server,
        Err(missing) => return not_run(&missing.0),
    };
    let (port, at) = (port.to_string(), |name: &str| folder.path().join(name).display().to_string());
    let server = ["--storage", "ftps", "--ftp-host", "127.0.0.1", "--ftp-port", &port, "-C", "x"];
    let login = ["--ftp-username", ftp::USER, "--ftp-password", ftp::PASSWORD];
    let (certificate, key) = (at("client.pem"), at("client.key"));
    let client = ["--ftp-certfile", &certificate, "--ftp-keyfile", &key];
    let authority = at("authority.pem");
    let variables = [("SSL_CERT_FILE", authority.as_str())];
    round_trip(&[&server[..], &login, &client].concat(), &variables, &[ftp::PASSWORD]);
    let agent = Agent::new();
    let mut command = agent.command(&[&server[..], &login, &["--action", "info"]].concat());
    command.envs(variables);
    outcome(command).expect(1);
}

#[test]
fn several_storages_of_a_job_hold_the_same() {
    let folder = tempfile::tempdir().unwrap();
    let servers = Moto::strict(folder.path()).and_then(|moto| {
        let ssh = folder.path().join("ssh");
        fs::create_dir(&ssh).unwrap();
        Ok((moto, Sshd::start(&ssh, "")?))
    });
    let (moto, sshd) = match servers {
        Ok(servers) => servers,
        Err(missing) => return not_run(&missing.0),
    };
    let agent = Agent::new();
    let (job, local) = (agent.place.path().join("job"), agent.place.path().join("local"));
    let text = format!(
        "[job]\nhostname = h\nbackup_name = n\nincremental = true\n\
         [storage:disk]\nstorage = local\ncontainer = {}\n\
         [storage:cloud]\nstorage = s3\ncontainer = bucket/x\nendpoint = {}\naccess_key = {}\nsecret_key = {}\n\
         [storage:server]\nstorage = ssh\ncontainer = {}\nssh_host = 127.0.0.1\nssh_port = {}\nssh_username = {}\nssh_key = {}\n",
        local.display(),
        moto.endpoint(),
        moto.key.0,
        moto.key.1.replace('%', "%%"),
        sshd.file("data").join("agent").display(),
        sshd.port(),
        sshd.user(),
        sshd.file("user_ed25519").display(),
    );
    fs::write(&job, text).unwrap();
    let run = |more: &[&str]| agent.run(&[&["--config", job.to_str().unwrap()], more].concat());
    let source = agent.place.source();
    for level in 0..2 {
        agent.place.write(&[("a", &format!("level {level}"))]);
        let said = run(&["-F", source.to_str().unwrap(), "--metadata-out", "-"]).expect(0);
        assert_eq!(metadata(&said)["curr_backup_level"], level);
    }
    for section in ["disk", "server"] {
        let container = if section == "disk" { local.clone() } else { sshd.file("data").join("agent") };
        assert_eq!(super::everything(&container.join("metadata")).len(), 2, "{section}");
    }
    // One that lost everything gets it back before the next backup; any one of them is enough for a restore.
    fs::remove_dir_all(&local).unwrap();
    agent.place.write(&[("a", "level 2")]);
    run(&["-F", source.to_str().unwrap()]).expect(0);
    assert_eq!(super::everything(&local.join("metadata")).len(), 3);
    drop((moto, sshd));
    let target = agent.place.target("back");
    run(&["--action", "restore", "--restore-abs-path", target.to_str().unwrap(), "--timeout", "5"]).expect(0);
    assert_eq!(fs::read_to_string(target.join("a")).unwrap(), "level 2");
    // Storing in some of them alone is a failure that is told.
    let failed = run(&["-F", source.to_str().unwrap(), "--timeout", "5"]);
    assert!(failed.status != 0 && failed.stderr.contains("behind"), "{failed:?}");
}
