//! FTP servers: pyftpdlib, which has all that is modern and can be made to fail, and vsftpd, which has neither.

use super::{NotInstalled, Server, answers, free_port, program, python};
use serde_json::json;
use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

/// Who may log in to [`Pyftpdlib`].
pub const USER: &str = "somebody";

/// His password.
pub const PASSWORD: &str = "a password";

/// Who vsftpd becomes for whoever comes: a user that every system has, with a home that is there.
const ANYBODY: &str = "daemon";

/// How connections are encrypted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Protection {
    /// Not at all.
    Off,
    /// When the client asks for it.
    Optional,
    /// From AUTH TLS on, which is asked for.
    Explicit,
    /// From the first byte on.
    Implicit,
}

/// What the server is like.
#[derive(Debug, Clone)]
pub struct Pyftpdlib {
    /// How connections are encrypted.
    pub protection: Protection,
    /// Which certificate of [`certificates`] it shows.
    pub certificate: &'static str,
    /// Whether it wants one of the client.
    pub clients_are_known: bool,
    /// Commands that it does not know.
    pub without: &'static [&'static str],
    /// A command that it never answers.
    pub silent: &'static str,
    /// Connections that it takes, those for data among them.
    pub connections: u32,
    /// Seconds after which it sends idle clients away.
    pub idle_seconds: u32,
    /// How often it cuts control and data connection.
    pub cuts: u32,
    /// Bytes of data after which it does.
    pub cut_after_bytes: u32,
}

impl Pyftpdlib {
    /// One without faults.
    pub fn new(protection: Protection) -> Pyftpdlib {
        Pyftpdlib {
            protection,
            certificate: "server",
            clients_are_known: false,
            without: &[],
            silent: "",
            connections: 512,
            idle_seconds: 300,
            cuts: 0,
            cut_after_bytes: 0,
        }
    }

    /// Starts it on a port of loopback, over the folder `files` below `folder`, where [`certificates`] are, too.
    ///
    /// # Errors
    /// When it is not installed.
    pub fn start(&self, folder: &Path, port: u16) -> Result<Server, NotInstalled> {
        let python = python("ftp")?.join("python");
        let root = folder.join("files");
        fs::create_dir_all(&root).expect("a folder can be made");
        let script = folder.join("ftp.py");
        fs::write(&script, include_str!("ftp.py")).expect("the script can be written");
        let clients = self.clients_are_known.then(|| folder.join("authority.pem"));
        let protection = match self.protection {
            Protection::Off => "off",
            Protection::Optional | Protection::Explicit => "explicit",
            Protection::Implicit => "implicit",
        };
        let config = json!({
            "port": port,
            "root": root,
            "protection": protection,
            "required": self.protection != Protection::Optional,
            "certificate": folder.join(self.certificate),
            "clients": clients,
            "without": self.without,
            "silent": self.silent,
            "connections": self.connections,
            "idle": self.idle_seconds,
            "cuts": self.cuts,
            "cut_after": self.cut_after_bytes,
        });
        let mut command = Command::new(python);
        command.arg(script).arg(config.to_string());
        Ok(Server::start("pyftpdlib", command, folder, &|| answers(port)))
    }
}

/// vsftpd, for everybody, over the folder `root` below `folder`, in which `files` may be written to; with encryption it insists on
/// it, and on data connections that go on with the encryption of the control connection. It needs root, to become somebody else.
///
/// # Errors
/// When it is not installed, or this is not root.
pub fn vsftpd(folder: &Path, encrypted: bool) -> Result<(Server, u16), NotInstalled> {
    let vsftpd = program("vsftpd")?;
    if !rustix::process::geteuid().is_root() {
        return Err(NotInstalled("vsftpd starts as root only".to_owned()));
    }
    // It refuses to lock somebody up in a folder that he may write to.
    let (root, empty) = (folder.join("root"), folder.join("empty"));
    let files = root.join("files");
    for made in [&files, &empty] {
        fs::create_dir_all(made).expect("a folder can be made");
    }
    give_away(folder, &files);
    let port = free_port();
    let mut config = format!(
        "listen=YES\nlisten_address=127.0.0.1\nlisten_port={port}\nbackground=NO\nlocal_enable=NO\nanonymous_enable=YES\n\
         no_anon_password=NO\nftp_username={ANYBODY}\nanon_root={}\nsecure_chroot_dir={}\n\
         write_enable=YES\nanon_upload_enable=YES\nanon_mkdir_write_enable=YES\nanon_other_write_enable=YES\n\
         anon_world_readable_only=NO\nanon_umask=077\nxferlog_enable=NO\nseccomp_sandbox=NO\nisolate=NO\nisolate_network=NO\n\
         max_per_ip=0\nmax_clients=0\n",
        root.display(),
        empty.display()
    );
    if encrypted {
        config += &format!(
            "ssl_enable=YES\nallow_anon_ssl=YES\nforce_anon_logins_ssl=YES\nforce_anon_data_ssl=YES\nrequire_ssl_reuse=YES\n\
             ssl_ciphers=HIGH\nrsa_cert_file={}\nrsa_private_key_file={}\n",
            folder.join("server.pem").display(),
            folder.join("server.key").display()
        );
    }
    let file = folder.join("vsftpd.conf");
    fs::write(&file, config).expect("its configuration can be written");
    let mut command = Command::new(vsftpd);
    command.arg(file);
    Ok((Server::start("vsftpd", command, folder, &|| answers(port)), port))
}

/// Lets [`ANYBODY`] write into `files`, and come there through `folder`.
fn give_away(folder: &Path, files: &Path) {
    use std::os::unix::fs::PermissionsExt;
    fs::set_permissions(folder, fs::Permissions::from_mode(0o755)).expect("the folder is ours");
    let id = |option: &str| {
        let output = Command::new("id").args([option, ANYBODY]).output().expect("id can be run");
        String::from_utf8_lossy(&output.stdout).trim().parse().expect("every system has this user")
    };
    std::os::unix::fs::chown(files, Some(id("-u")), Some(id("-g"))).expect("root gives folders away");
}

/// Makes certificates in `folder`: `NAME.pem` and `NAME.key` of an `authority`, of a `server` and a `client` that it knows, of a
/// server `elsewhere`, and of one `alone`, which has signed itself.
///
/// # Errors
/// When openssl is not installed.
pub fn certificates(folder: &Path) -> Result<(), NotInstalled> {
    let openssl = program("openssl")?;
    let config = folder.join("certificates.conf");
    let text = "[req]\ndistinguished_name = name\nprompt = no\n[name]\nCN = nobody\n\
        [authority]\nbasicConstraints = critical,CA:TRUE\nkeyUsage = critical,keyCertSign\n\
        [server]\nbasicConstraints = critical,CA:FALSE\nsubjectAltName = DNS:localhost,IP:127.0.0.1\n\
        [elsewhere]\nbasicConstraints = critical,CA:FALSE\nsubjectAltName = DNS:elsewhere.example\n\
        [client]\nbasicConstraints = critical,CA:FALSE\nextendedKeyUsage = clientAuth\n\
        [alone]\nbasicConstraints = critical,CA:TRUE\n";
    fs::write(&config, text).expect("openssl's configuration can be written");
    let path = |name: &str| folder.join(name);
    for name in ["authority", "server", "elsewhere", "client", "alone"] {
        let mut command = Command::new(&openssl);
        command.args(["req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "30", "-batch", "-config"]);
        command.arg(&config).args(["-extensions", name, "-subj", &format!("/CN=the {name} of a test")]);
        if !matches!(name, "authority" | "alone") {
            command.arg("-CA").arg(path("authority.pem")).arg("-CAkey").arg(path("authority.key"));
        }
        command
            .arg("-keyout")
            .arg(path(&format!("{name}.key")))
            .arg("-out")
            .arg(path(&format!("{name}.pem")));
        let output = command.stdin(Stdio::null()).output().expect("openssl can be run");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    }
    Ok(())
}
