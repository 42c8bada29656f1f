//! OpenStack Keystone, the identity service, on SQLite: one user in one project, a catalogue with one Swift, and an application
//! credential.

use super::{NotInstalled, Server, answers, free_port, python};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// The password of the user `admin` in the project `admin`.
pub const PASSWORD: &str = "a pass: word & more";

/// The region of everything in the catalogue.
pub const REGION: &str = "RegionOne";

/// What there is before one starts, whatever its port: it is made once, and copied from the environment that Keystone is installed in.
const PREPARED: [&str; 4] = [DATABASE, APPLICATION, FERNET, CREDENTIAL];
const DATABASE: &str = "keystone.db";
/// Id and secret of an application credential.
const APPLICATION: &str = "application";
const FERNET: &str = "fernet";
const CREDENTIAL: &str = "credential";

/// Stands in the catalogue for where Keystone and Swift will be.
const ANY_KEYSTONE: &str = "http://keystone.invalid/v3";
const ANY_SWIFT: &str = "http://swift.invalid";

/// An identity service.
pub struct Keystone {
    folder: PathBuf,
    port: u16,
    /// Id and secret of an application credential.
    pub application: (String, String),
    server: Option<Server>,
}

const SERVE: &str = "
import sys
port = int(sys.argv[1])
# Keystone reads the arguments as its own.
sys.argv = ['keystone']
from cheroot import wsgi
from keystone.wsgi.api import application
wsgi.Server(('127.0.0.1', port), application, numthreads=4).start()
";

/// Logs in as the administrator; what follows calls as that one.
const CALL: &str = "
import json, sys, urllib.request
base, password, swift, region = sys.argv[1:]
token = None
def call(path, body, method='POST'):
    headers = {'Content-Type': 'application/json'}
    if token:
        headers['X-Auth-Token'] = token
    request = urllib.request.Request(base + path, json.dumps(body).encode(), headers, method=method)
    with urllib.request.urlopen(request) as answer:
        return answer.headers, json.load(answer)
domain = {'id': 'default'}
user = {'name': 'admin', 'domain': domain, 'password': password}
scope = {'project': {'name': 'admin', 'domain': domain}}
login = {'auth': {'identity': {'methods': ['password'], 'password': {'user': user}}, 'scope': scope}}
def as_admin(path, body, method='POST'):
    # Tokens may be very short-lived.
    global token
    token = None
    token = call('/auth/tokens', login)[0]['X-Subject-Token']
    return call(path, body, method)[1]
user = call('/auth/tokens', login)[1]['token']['user']['id']
";

const FILL: &str = "
service = as_admin('/services', {'service': {'type': 'object-store', 'name': 'swift'}})['service']['id']
for interface in 'public', 'internal', 'admin':
    url = swift + '/v1/AUTH_%(project_id)s'
    as_admin('/endpoints', {'endpoint': {'service_id': service, 'interface': interface, 'region': region, 'url': url}})
made = as_admin('/users/%s/application_credentials' % user, {'application_credential': {'name': 'for tests'}})
print(made['application_credential']['id'], made['application_credential']['secret'])
";

/// Has the catalogue name the servers that are there.
const POINT: &str = "
import sqlite3, sys
database, *names = sys.argv[1:]
with sqlite3.connect(database) as database:
    for one, other in zip(names[::2], names[1::2]):
        database.execute('UPDATE endpoint SET url = replace(url, ?, ?)', (one, other))
";

const TOKEN: &str = "
headers, body = call('/auth/tokens', login)
swift = [service for service in body['token']['catalog'] if service['type'] == 'object-store'][0]
print(headers['X-Subject-Token'], swift['endpoints'][0]['url'])
";

/// Every token of a user ends when a password is set, be it the same.
const REVOKE: &str = "as_admin('/users/%s' % user, {'user': {'password': password}}, 'PATCH')";

impl Keystone {
    /// Starts one below `folder`, with a Swift at `swift` in its catalogue, and tokens that live so long.
    ///
    /// # Errors
    /// When it is not installed.
    ///
    /// # Panics
    /// When it does not start.
    pub fn start(folder: &Path, swift: &str, token_seconds: u32) -> Result<Keystone, NotInstalled> {
        let bin = python("keystone")?;
        let (folder, port) = (folder.to_owned(), free_port());
        std::fs::create_dir_all(&folder).expect("a folder can be made");
        let mut keystone = Keystone { folder, port, application: Default::default(), server: None };
        let prepared = prepared(&bin);
        if copy(&prepared, &keystone.folder).is_err() {
            keystone.prepare(&bin)?;
            publish(&keystone.folder, &prepared);
        }
        let made = std::fs::read_to_string(keystone.folder.join(APPLICATION)).expect("a file can be read");
        let (id, secret) = made.trim().split_once(' ').expect("an id and a secret");
        keystone.application = (id.to_owned(), secret.to_owned());
        keystone.configure(token_seconds);
        let mut point = Command::new(bin.join("python"));
        point.args(["-c", POINT]).arg(keystone.folder.join(DATABASE));
        output(point.args([ANY_KEYSTONE, &keystone.url(), ANY_SWIFT, swift]));
        keystone.server = Some(keystone.serve(&bin));
        Ok(keystone)
    }

    /// Makes what [`PREPARED`] names: half a dozen programs of Python, each of which takes seconds.
    fn prepare(&mut self, bin: &Path) -> Result<(), NotInstalled> {
        for sub in [FERNET, CREDENTIAL] {
            std::fs::create_dir_all(self.folder.join(sub)).expect("a folder can be made");
        }
        self.configure(3600);
        let manage = |arguments: &[&str]| {
            let mut command = Command::new(bin.join("keystone-manage"));
            command.arg("--config-file").arg(self.configuration()).args(arguments);
            output(&mut command);
        };
        let me = output(Command::new("id").arg("-un"));
        let group = output(Command::new("id").arg("-gn"));
        manage(&["db_sync"]);
        for setup in ["fernet_setup", "credential_setup"] {
            manage(&[setup, "--keystone-user", me.trim(), "--keystone-group", group.trim()]);
        }
        manage(&[
            "bootstrap",
            "--bootstrap-username",
            "admin",
            "--bootstrap-password",
            PASSWORD,
            "--bootstrap-project-name",
            "admin",
            "--bootstrap-role-name",
            "admin",
            "--bootstrap-region-id",
            REGION,
            "--bootstrap-public-url",
            ANY_KEYSTONE,
            "--bootstrap-internal-url",
            ANY_KEYSTONE,
            "--bootstrap-admin-url",
            ANY_KEYSTONE,
        ]);
        let _running = self.serve(bin);
        let made = self.call(FILL, ANY_SWIFT)?;
        std::fs::write(self.folder.join(APPLICATION), made).expect("a file can be written");
        Ok(())
    }

    fn configure(&self, token_seconds: u32) {
        let (port, shown) = (self.port, self.folder.display());
        let configuration = format!(
            "[DEFAULT]\npublic_endpoint = http://127.0.0.1:{port}\nuse_stderr = true\n\
             [database]\nconnection = sqlite:///{shown}/{DATABASE}\n\
             [token]\nprovider = fernet\nexpiration = {token_seconds}\n[fernet_tokens]\nkey_repository = {shown}/{FERNET}\n\
             [credential]\nkey_repository = {shown}/{CREDENTIAL}\n[cache]\nenabled = false\n\
             [identity]\npassword_hash_rounds = 4\n"
        );
        std::fs::write(self.configuration(), configuration).expect("a file can be written");
    }

    fn serve(&self, bin: &Path) -> Server {
        let mut command = Command::new(bin.join("python"));
        command
            .args(["-c", SERVE, &self.port.to_string()])
            .env("OS_KEYSTONE_CONFIG_FILES", self.configuration());
        Server::start("keystone", command, &self.folder, &|| answers(self.port))
    }

    fn call(&self, what: &str, swift: &str) -> Result<String, NotInstalled> {
        let mut python = Command::new(python("keystone")?.join("python"));
        Ok(output(python.args(["-c", &format!("{CALL}{what}"), &self.url(), PASSWORD, swift, REGION])))
    }

    /// Ends every token that was issued before this second.
    ///
    /// # Panics
    /// When Keystone does not do it.
    pub fn revoke_all(&self) {
        self.call(REVOKE, "").expect("it is installed");
    }

    /// A token, as another program would fetch it, and the account that it is for.
    ///
    /// # Panics
    /// When Keystone gives none.
    pub fn token(&self) -> (String, String) {
        let printed = self.call(TOKEN, "").expect("it is installed");
        let (token, url) = printed.trim().split_once(' ').expect("a token and a URL");
        (token.to_owned(), url.to_owned())
    }

    fn configuration(&self) -> PathBuf {
        self.folder.join("keystone.conf")
    }

    /// Where it answers.
    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}/v3", self.port)
    }

    /// The variables of a login with the password.
    pub fn variables(&self) -> Vec<(String, String)> {
        [
            ("OS_AUTH_URL", self.url()),
            ("OS_USERNAME", "admin".to_owned()),
            ("OS_PASSWORD", PASSWORD.to_owned()),
            ("OS_PROJECT_NAME", "admin".to_owned()),
            ("OS_USER_DOMAIN_ID", "default".to_owned()),
            ("OS_PROJECT_DOMAIN_NAME", "Default".to_owned()),
            ("OS_REGION_NAME", REGION.to_owned()),
            ("OS_IDENTITY_API_VERSION", "3".to_owned()),
        ]
        .map(|(name, value)| (name.to_owned(), value))
        .to_vec()
    }
}

/// Where that is which is prepared; elsewhere when it is made in another way.
fn prepared(bin: &Path) -> PathBuf {
    let way = blake3::hash([CALL, FILL, PASSWORD, REGION].concat().as_bytes()).to_hex();
    bin.with_file_name(format!("prepared-{}", &way[..16]))
}

/// Copies what is prepared from one folder into another.
fn copy(from: &Path, to: &Path) -> std::io::Result<()> {
    for name in PREPARED {
        let (from, to) = (from.join(name), to.join(name));
        if !from.is_dir() {
            std::fs::copy(&from, &to)?;
            continue;
        }
        std::fs::create_dir_all(&to)?;
        for entry in std::fs::read_dir(&from)? {
            let entry = entry?;
            std::fs::copy(entry.path(), to.join(entry.file_name()))?;
        }
    }
    Ok(())
}

/// Lets others copy it. Whoever comes first is taken; where nobody may write, each makes its own.
fn publish(folder: &Path, prepared: &Path) {
    let beside = prepared.parent().and_then(|parent| tempfile::tempdir_in(parent).ok());
    if let Some(beside) = beside.filter(|beside| copy(folder, beside.path()).is_ok()) {
        // Under its new name it is not removed with the temporary folder.
        std::fs::rename(beside.path(), prepared).unwrap_or(());
    }
}

/// What a command that must succeed prints.
fn output(command: &mut Command) -> String {
    let done = command.stdin(Stdio::null()).output().expect("it can be started");
    let errors = String::from_utf8_lossy(&done.stderr);
    assert!(done.status.success(), "{:?}: {errors}", command.get_program());
    String::from_utf8_lossy(&done.stdout).into_owned()
}
