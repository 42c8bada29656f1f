//! OpenStack Swift: memcached, one server each for accounts, containers and objects, and the proxy that clients speak to, with
//! Swift's own login or Keystone's. The proxy speaks S3, too.

mod account;

pub use account::Account;

use super::{NotInstalled, Server, answers, free_port, program, python};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// How a cluster is set up.
#[derive(Debug, Default, Clone)]
pub struct Options {
    /// Rows of a listing in one answer; ten thousand by default.
    pub listing_limit: Option<u32>,
    /// The longest object; five GiB by default.
    pub max_file_size: Option<u64>,
    /// Whether the proxy speaks TLS, with the certificate in [`Swift::certificate`].
    pub tls: bool,
    /// Where Keystone answers, whose user `admin` with this password looks at tokens.
    pub keystone: Option<(String, String)>,
    /// The proxy's port; one that is free by default.
    pub port: Option<u16>,
}

/// A cluster of one machine.
pub struct Swift {
    folder: PathBuf,
    bin: PathBuf,
    port: u16,
    tls: bool,
    proxy: Option<Server>,
    _others: Vec<Server>,
}

/// User and key of Swift's own login, which are the keys for S3 as well.
pub const USER: (&str, &str) = ("test:tester", "testing");

/// A server that is slow because the machine is busy is no server that is down: half a second to connect is Swift's default, and after ten
/// connections that took longer it leaves a server alone for a minute, which a cluster of one answers with 503.
const PATIENCE: &str = "conn_timeout = 30\nnode_timeout = 60\nclient_timeout = 120\n";

const DAEMONS: [&str; 3] = ["account", "container", "object"];

const RINGS: &str = "
import sys
from swift.common.ring import RingBuilder
folder = sys.argv[1]
for name, port in zip(('account', 'container', 'object'), sys.argv[2:]):
    builder = RingBuilder(4, 1, 0)
    builder.add_dev(dict(id=0, region=1, zone=1, ip='127.0.0.1', port=int(port), device='d1', weight=1, meta='',
                         replication_ip='127.0.0.1', replication_port=int(port)))
    builder.rebalance()
    builder.get_ring().save('%s/%s.ring.gz' % (folder, name))
";

/// Swift reads the limits of a cluster before it knows where its configuration is, and would look in /etc.
const RUN: &str = "
import runpy, sys
from swift.common import utils
utils.SWIFT_CONF_FILE = sys.argv[1]
from swift.common import constraints
constraints.reload_constraints()
sys.argv = sys.argv[2:]
runpy.run_path(sys.argv[0], run_name='__main__')
";

impl Swift {
    /// Starts one with everything below `folder`, whose file system has to have user xattrs.
    ///
    /// # Errors
    /// When a program is missing.
    ///
    /// # Panics
    /// When it does not start.
    pub fn start(folder: &Path, options: &Options) -> Result<Swift, NotInstalled> {
        let bin = python("swift")?;
        let memcached = program("memcached")?;
        let folder = folder.to_owned();
        for sub in ["etc", "srv/d1", "log"] {
            std::fs::create_dir_all(folder.join(sub)).expect("a folder can be made");
        }
        let port = options.port.unwrap_or_else(free_port);
        let (cache, backends) = (free_port(), [free_port(), free_port(), free_port()]);
        let swift = Swift { folder, bin, port, tls: options.tls, proxy: None, _others: Vec::new() };
        if options.tls {
            swift.make_certificate()?;
        }
        swift.write("swift.conf", &constraints(options));
        swift.write("proxy.conf", &swift.proxy_configuration(options, cache));
        for (name, port) in DAEMONS.iter().zip(backends) {
            swift.write(&format!("{name}.conf"), &swift.backend_configuration(name, port));
        }
        swift.make_rings(backends);
        let mut command = Command::new(memcached);
        command.args(["-l", "127.0.0.1", "-p", &cache.to_string(), "-U", "0", "-m", "64"]);
        if rustix::process::geteuid().is_root() {
            command.args(["-u", "root"]);
        }
        // They start together, and are waited for together.
        let logs = swift.folder.join("log");
        let mut others = vec![Server::start("memcached", command, &logs, &|| true)];
        for name in DAEMONS {
            others.push(Server::start(&format!("swift-{name}"), swift.daemon(name), &logs, &|| true));
        }
        let mut swift = Swift { _others: others, ..swift };
        let proxy = Server::start("swift-proxy", swift.daemon("proxy"), &logs, &|| {
            answers(port) && answers(cache) && backends.iter().all(|port| answers(*port))
        });
        swift.proxy = Some(proxy);
        Ok(swift)
    }

    fn daemon(&self, name: &str) -> Command {
        let etc = self.folder.join("etc");
        let mut command = Command::new(self.bin.join("python"));
        command
            .args(["-c", RUN])
            .arg(etc.join("swift.conf"))
            .arg(self.bin.join(format!("swift-{name}-server")));
        command.arg(etc.join(format!("{name}.conf"))).arg("verbose").current_dir(&self.folder);
        command
    }

    /// Ends the proxy at once, as a crash would.
    pub fn kill_proxy(&mut self) {
        if let Some(mut proxy) = self.proxy.take() {
            proxy.kill();
        }
    }

    /// Starts the proxy again.
    pub fn start_proxy(&mut self) {
        let port = self.port;
        let ready = || answers(port);
        self.proxy =
            Some(Server::start("swift-proxy", self.daemon("proxy"), &self.folder.join("log"), &ready));
    }

    /// Where the proxy answers; S3 is spoken there, too, with the keys in [`USER`] and the region `us-east-1`.
    pub fn endpoint(&self) -> String {
        format!("{}://127.0.0.1:{}", if self.tls { "https" } else { "http" }, self.port)
    }

    /// Where Swift's own login is.
    pub fn login(&self) -> String {
        format!("{}/auth/v1.0", self.endpoint())
    }

    /// The variables of a user of Swift's own login.
    pub fn variables(&self) -> Vec<(String, String)> {
        let (user, key) = USER;
        let variables = [("ST_AUTH", self.login()), ("ST_USER", user.to_owned()), ("ST_KEY", key.to_owned())];
        variables.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
    }

    /// The certificate of the proxy, which signed itself.
    pub fn certificate(&self) -> PathBuf {
        self.folder.join("etc/proxy.pem")
    }

    /// What the proxy has said so far.
    pub fn said(&self) -> String {
        self.proxy.as_ref().map(Server::said).unwrap_or_default()
    }

    fn write(&self, name: &str, text: &str) {
        std::fs::write(self.folder.join("etc").join(name), text).expect("a file can be written");
    }

    fn make_rings(&self, ports: [u16; 3]) {
        let mut command = Command::new(self.bin.join("python"));
        command.args(["-c", RINGS]).arg(self.folder.join("etc")).args(ports.map(|port| port.to_string()));
        let done = command.stdin(Stdio::null()).output().expect("Python runs");
        assert!(done.status.success(), "no rings: {}", String::from_utf8_lossy(&done.stderr));
    }

    fn make_certificate(&self) -> Result<(), NotInstalled> {
        let etc = self.folder.join("etc");
        let mut command = Command::new(program("openssl")?);
        command.args([
            "req",
            "-x509",
            "-newkey",
            "rsa:2048",
            "-nodes",
            "-days",
            "2",
            "-subj",
            "/CN=127.0.0.1",
        ]);
        command.args([
            "-addext",
            "subjectAltName=IP:127.0.0.1",
            "-addext",
            "basicConstraints=critical,CA:FALSE",
        ]);
        command.arg("-keyout").arg(etc.join("proxy.key")).arg("-out").arg(etc.join("proxy.pem"));
        let done = command.stdin(Stdio::null()).output().expect("openssl runs");
        assert!(done.status.success(), "no certificate: {}", String::from_utf8_lossy(&done.stderr));
        Ok(())
    }

    fn defaults(&self, port: u16) -> String {
        let user = if rustix::process::geteuid().is_root() { "root".to_owned() } else { user() };
        let folder = self.folder.display();
        format!(
            "[DEFAULT]\nbind_ip = 127.0.0.1\nbind_port = {port}\nswift_dir = {folder}/etc\ndevices = {folder}/srv\n\
             mount_check = false\ndisable_fallocate = true\nuser = {user}\nworkers = 0\nlog_level = INFO\n\
             {PATIENCE}"
        )
    }

    fn backend_configuration(&self, name: &str, port: u16) -> String {
        format!(
            "{}[pipeline:main]\npipeline = {name}-server\n[app:{name}-server]\nuse = egg:swift#{name}\n",
            self.defaults(port)
        )
    }

    fn proxy_configuration(&self, options: &Options, cache: u16) -> String {
        let (login, login_filters) = match &options.keystone {
            Some((url, password)) => ("authtoken keystoneauth", keystone(url, password)),
            None => ("s3api tempauth", tempauth(self.tls)),
        };
        let mut text = self.defaults(self.port);
        if self.tls {
            let etc = self.folder.join("etc");
            text.push_str(&format!("cert_file = {0}/proxy.pem\nkey_file = {0}/proxy.key\n", etc.display()));
        }
        text.push_str(&format!(
            "[pipeline:main]\npipeline = catch_errors gatekeeper healthcheck proxy-logging cache listing_formats bulk {login} \
             copy container-quotas slo dlo versioned_writes proxy-logging proxy-server\n\
             [app:proxy-server]\nuse = egg:swift#proxy\naccount_autocreate = true\nallow_account_management = true\n\
             error_suppression_limit = 1000000\n\
             [filter:cache]\nuse = egg:swift#memcache\nmemcache_servers = 127.0.0.1:{cache}\n\
             connect_timeout = 10\nio_timeout = 10\npool_timeout = 10\n\
             [filter:slo]\nuse = egg:swift#slo\nmin_segment_size = 1\n\
             [filter:s3api]\nuse = egg:swift#s3api\nlocation = us-east-1\nauth_pipeline_check = false\n{login_filters}"
        ));
        for (filter, egg) in [
            ("catch_errors", "catch_errors"),
            ("gatekeeper", "gatekeeper"),
            ("healthcheck", "healthcheck"),
            ("proxy-logging", "proxy_logging"),
            ("listing_formats", "listing_formats"),
            ("bulk", "bulk"),
            ("copy", "copy"),
            ("container-quotas", "container_quotas"),
            ("dlo", "dlo"),
            ("versioned_writes", "versioned_writes"),
        ] {
            text.push_str(&format!("[filter:{filter}]\nuse = egg:swift#{egg}\n"));
        }
        text
    }
}

fn constraints(options: &Options) -> String {
    let mut text = "[swift-hash]\nswift_hash_path_suffix = s\nswift_hash_path_prefix = p\n\
                    [storage-policy:0]\nname = only\ndefault = yes\n[swift-constraints]\n"
        .to_owned();
    if let Some(limit) = options.listing_limit {
        text.push_str(&format!("container_listing_limit = {limit}\n"));
    }
    if let Some(bytes) = options.max_file_size {
        text.push_str(&format!("max_file_size = {bytes}\n"));
    }
    text
}

fn tempauth(tls: bool) -> String {
    let scheme = if tls { "storage_url_scheme = https\n" } else { "" };
    format!(
        "[filter:tempauth]\nuse = egg:swift#tempauth\n{scheme}user_admin_admin = admin .admin .reseller_admin\n\
         user_test_tester = testing .admin\nuser_test_tester3 = testing3\n"
    )
}

/// Tokens are looked at anew every five seconds, so that one that was revoked is soon refused.
fn keystone(url: &str, password: &str) -> String {
    format!(
        "[filter:authtoken]\npaste.filter_factory = keystonemiddleware.auth_token:filter_factory\n\
         www_authenticate_uri = {url}\nauth_url = {url}\nauth_type = password\nproject_domain_id = default\n\
         user_domain_id = default\nproject_name = admin\nusername = admin\npassword = {password}\n\
         delay_auth_decision = True\ncache = swift.cache\ntoken_cache_time = 5\ninclude_service_catalog = False\n\
         [filter:keystoneauth]\nuse = egg:swift#keystoneauth\noperator_roles = admin, member\nreseller_prefix = AUTH\n"
    )
}

/// Swift wants to be told who it runs as.
fn user() -> String {
    let said = Command::new("id").arg("-un").output().expect("id runs");
    String::from_utf8_lossy(&said.stdout).trim().to_owned()
}
