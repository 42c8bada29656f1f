//! Databases while they are written to: `--mode mysql`, on a real MariaDB.
//!
//! A writer puts one number after the other into two tables. What a backup holds is of one moment when it is a beginning of that:
//! no number is missing, and the second table is at most one behind the first.

use crate::place::Place;
use crate::program::not_run;
use crate::running::Running;
use icecore_testkit::servers::NotInstalled;
use icecore_testkit::servers::mariadb::{Mariadb, PASSWORD, USER};
use rustix::process::Signal;
use serde_json::Value;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};

const TABLES: &str = "CREATE DATABASE app; CREATE TABLE app.a (n INT PRIMARY KEY, t TEXT) ENGINE=InnoDB; \
                      CREATE TABLE app.b (n INT PRIMARY KEY, t TEXT) ENGINE=MyISAM";

/// A server, and where its backups are.
struct Site {
    place: Place,
    mariadb: Mariadb,
}

impl Site {
    fn new() -> Result<Site, NotInstalled> {
        let mut place = Place::new();
        place.engine = "dedup";
        let folder = place.path().join("mariadb");
        fs::create_dir(&folder).unwrap();
        let mariadb = Mariadb::start(&folder)?;
        mariadb.query(TABLES);
        Ok(Site { place, mariadb })
    }

    /// A file with the login.
    fn conf(&self, head: &str, password: &str) -> PathBuf {
        let path = self.place.path().join("db.conf");
        let port = self.mariadb.port();
        // A percent sign stands twice, as configparser has it.
        let password = password.replace('%', "%%");
        fs::write(
            &path,
            format!("{head}host = 127.0.0.1\nport = {port}\nuser = {USER}\npassword = {password}\n"),
        )
        .unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
        path
    }

    fn words(&self, engine: &str, conf: &Path, more: &[&str]) -> Vec<String> {
        let repository = self.place.repository();
        let head =
            ["backup", "-r", repository.to_str().unwrap(), "--host", "h", "--name", "n", "--init", "--json"];
        let mode = [
            "--no-encryption",
            "--engine",
            engine,
            "--mode",
            "mysql",
            "--mysql-conf",
            conf.to_str().unwrap(),
        ];
        [&head[..], &mode, more].concat().into_iter().map(str::to_owned).collect()
    }

    /// A backup of a stream, which goes on until there is a file `end`; it is under way when this returns.
    fn begin(&self, more: &[&str]) -> Running {
        let (begun, end) = (self.place.path().join("begun"), self.place.path().join("end"));
        let script = format!(
            "touch {}; while [ ! -e {} ]; do head -c 262144 /dev/zero; sleep 0.02; done",
            begun.display(),
            end.display()
        );
        let conf = self.conf("", PASSWORD);
        let stream = ["--stdin-from-command", "--", "sh", "-c", &script];
        let words = self.words("dedup", &conf, &[more, &stream].concat());
        let mut running = Running::start(self.place.program.command(&words));
        while !begun.exists() {
            assert!(!running.has_ended(), "{:?}", running.wait());
            std::thread::yield_now();
        }
        running
    }

    fn end(&self) {
        fs::write(self.place.path().join("end"), "").unwrap();
    }

    fn again(&self) {
        for name in ["begun", "end"] {
            fs::remove_file(self.place.path().join(name)).unwrap_or(());
        }
    }

    /// Whether the tables can be written to at once.
    fn is_writable(&self) -> bool {
        self.mariadb.try_query("SET lock_wait_timeout = 1; INSERT INTO app.a VALUES (-1, ''); DELETE FROM app.a WHERE n = -1").is_ok()
    }

    fn count(&self, table: &str) -> u64 {
        number(&self.mariadb.query(&format!("SELECT COUNT(*) FROM app.{table}")))
    }

    fn backups(&self) -> Vec<Value> {
        self.place
            .program
            .run(&["list", "-r", self.place.repository().to_str().unwrap(), "--json"])
            .of_type("backup")
    }

    /// The connections of whoever makes backups.
    fn connections(&self) -> String {
        let query = format!(
            "SELECT id FROM information_schema.processlist WHERE user = '{USER}' AND command = 'Sleep'"
        );
        self.mariadb.query(&query)
    }
}

impl Site {
    /// Returns when no connection is left of whoever makes backups: a server notices an end a little later.
    fn is_left(&self) {
        while !self.connections().is_empty() {
            std::thread::yield_now();
        }
    }
}

fn number(text: &str) -> u64 {
    text.trim().parse().unwrap_or_else(|_| panic!("no number: {text:?}"))
}

/// Ends what waits for it, also when the test has failed.
struct Stop<'s>(&'s AtomicBool);

impl Drop for Stop<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Does `work` while numbers are written.
fn while_written(site: &Site, work: impl FnOnce()) {
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let (mariadb, stop) = (&site.mariadb, &stop);
        scope.spawn(move || {
            let mut next = site.count("a") + 1;
            while !stop.load(Ordering::Relaxed) {
                let insert = |n| format!("INSERT INTO app.a VALUES ({n}, REPEAT('a', 900)); INSERT INTO app.b VALUES ({n}, REPEAT('b', 900));");
                mariadb.query(&(next..next + 50).map(insert).collect::<String>());
                next += 50;
            }
        });
        let _stop = Stop(stop);
        let begun = site.count("a");
        while site.count("a") < begun + 100 {
            std::thread::yield_now();
        }
        work();
        // The writer goes on.
        let released = site.count("b");
        while site.count("b") <= released {
            std::thread::yield_now();
        }
    });
}

#[test]
fn a_backup_of_tables_that_are_written_to_is_of_one_moment() {
    let site = match Site::new() {
        Ok(site) => site,
        Err(NotInstalled(why)) => return not_run(&why),
    };
    let data = site.mariadb.data();
    for (engine, head) in [("dedup", ""), ("tar", "[default]\n")] {
        let before = site.count("a");
        while_written(&site, || {
            let conf = site.conf(head, PASSWORD);
            let words = site.words(engine, &conf, &[data.to_str().unwrap()]);
            site.place.program.run(&words).expect(0);
        });
        site.is_left();
        let folder = site.place.path().join(format!("second_{engine}"));
        fs::create_dir(&folder).unwrap();
        let id = site.backups().into_iter().find(|backup| backup["engine"] == engine).unwrap();
        let repository = site.place.repository();
        let target = folder.join("data");
        let words = ["restore", "-r", repository.to_str().unwrap(), "--target", target.to_str().unwrap()];
        site.place.program.run(&[&words[..], &[id["id"].as_str().unwrap()]].concat()).expect(0);
        let second = Mariadb::start_on(&folder).unwrap_or_else(|NotInstalled(why)| panic!("{why}"));
        let checked = second.query("CHECK TABLE app.a, app.b");
        assert!(checked.lines().all(|line| line.ends_with("\tOK")), "{checked}");
        let whole = |table| {
            let found =
                second.query(&format!("SELECT COUNT(*) FROM app.{table}; SELECT MAX(n) FROM app.{table}"));
            let (count, last) = found.split_once('\n').unwrap();
            assert_eq!(number(count), number(last), "{table}");
            number(count)
        };
        let (a, b) = (whole("a"), whole("b"));
        assert!(a >= b && a - b <= 1, "{a} and {b}");
        assert!(a >= before + 100 && a < site.count("a"), "{a}");
    }
    locked_by_a_job(&site);
}

#[test]
fn the_lock_is_released_and_a_backup_without_it_is_none() {
    let site = match Site::new() {
        Ok(site) => site,
        Err(NotInstalled(why)) => return not_run(&why),
    };
    // A password that is wrong is told, and not said.
    let conf = site.conf("", "not the password");
    let source = site.mariadb.data();
    let wrong = site
        .place
        .program
        .run(&site.words("dedup", &conf, &[source.to_str().unwrap()]))
        .expect(1)
        .explained();
    assert!(wrong.names("denied") && !format!("{wrong:?}").contains("not the password"), "{wrong:?}");

    // A failure in the middle.
    let conf = site.conf("", PASSWORD);
    site.place.program.run(&site.words("tar", &conf, &["/nowhere/at/all"])).expect(1);
    site.place.program.run(&site.words("dedup", &conf, &["--stdin-from-command", "--", "false"])).expect(1);
    assert!(site.is_writable());
    site.is_left();

    // The wish to stop.
    let running = site.begin(&[]);
    assert!(!site.is_writable());
    running.signal(Signal::INT);
    running.wait().expect(130);
    assert!(site.is_writable());

    // The connection is lost, and the lock with it.
    site.again();
    let running = site.begin(&[]);
    site.mariadb.query(&format!("KILL {}", site.connections().trim()));
    assert!(site.is_writable());
    site.end();
    let lost = running.wait().expect(1).explained();
    assert!(lost.names("the lock was lost"), "{lost:?}");

    // InnoDB writes its files beneath the lock.
    site.again();
    site.mariadb.query("INSERT INTO app.a VALUES (1, 'x')");
    let running = site.begin(&[]);
    let status = || {
        site.mariadb.query("SELECT variable_value FROM information_schema.global_status WHERE variable_name = 'Innodb_buffer_pool_pages_dirty'")
    };
    assert!(number(&status()) > 0);
    site.mariadb
        .query("SET GLOBAL innodb_max_dirty_pages_pct_lwm = 0; SET GLOBAL innodb_max_dirty_pages_pct = 0");
    while number(&status()) > 0 {
        std::thread::yield_now();
    }
    site.end();
    let wrote = running.wait().expect(1).explained();
    assert!(wrote.names("InnoDB wrote"), "{wrote:?}");

    // Somebody is in the way.
    let mut other = site.mariadb.session();
    other.begin("LOCK TABLES app.a WRITE");
    while site
        .mariadb
        .query(
            "SELECT COUNT(*) FROM information_schema.processlist WHERE user = 'root' AND command = 'Sleep'",
        )
        .trim()
        != "1"
        || site.is_writable()
    {
        std::thread::yield_now();
    }
    let held = site.place.program.run(&site.words(
        "dedup",
        &conf,
        &["--lock-timeout", "1", source.to_str().unwrap()],
    ));
    let held = held.expect(11).explained();
    assert!(held.names("root@localhost") && held.names("within 1 s"), "{held:?}");
    let mut running =
        Running::start(site.place.program.command(&site.words("dedup", &conf, &[source.to_str().unwrap()])));
    let waiting =
        "SELECT COUNT(*) FROM information_schema.processlist WHERE user = 'backup' AND state LIKE 'Waiting%'";
    while number(&site.mariadb.query(waiting)) == 0 {
        assert!(!running.has_ended());
    }
    running.signal(Signal::INT);
    running.wait().expect(130);
    drop(other);
    while !site.is_writable() {
        std::thread::yield_now();
    }
    site.is_left();
    assert!(site.backups().is_empty());
}

/// The same by a job of Freezer's agent.
fn locked_by_a_job(site: &Site) {
    let (repository, data) = (site.place.repository(), site.mariadb.data());
    let conf = site.conf("", PASSWORD);
    let job = site.place.path().join("job.ini");
    let text = format!(
        "[job]\naction = backup\nmode = mysql\nmysql_conf = {}\nstorage = local\ncontainer = {}\npath_to_backup = {}\nhostname = h\n\
         backup_name = n\nmetadata_out = -\n",
        conf.display(),
        repository.display(),
        data.display()
    );
    fs::write(&job, text).unwrap();
    while_written(site, || {
        let done = site.place.program.run(&["agent", "--config", job.to_str().unwrap()]).expect(0);
        let said: Value = serde_json::from_str(&done.stdout).unwrap();
        assert_eq!((&said["mode"], &said["backup_media"]), (&"mysql".into(), &"fs".into()));
        assert!(!format!("{done:?}").contains(PASSWORD));
    });
    site.is_left();
    let without =
        site.place.program.run(&["agent", "--config", job.to_str().unwrap(), "--mysql-conf", ""]).expect(1);
    assert!(without.stderr.contains("--mysql-conf"), "{without:?}");
}
