//! WebDAV servers: nginx with its module for PROPFIND, with and without TLS; and wsgidav.

use super::authority::Authority;
use super::{NotInstalled, Server, answers, free_port, program, python};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

/// Who is let in.
pub const USER: &str = "ann";
/// With this password.
pub const PASSWORD: &str = "p&ss word";

const DAV_EXT: &str = "/usr/lib/nginx/modules/ngx_http_dav_ext_module.so";

/// A WebDAV server.
pub struct WebDav {
    /// Its port on loopback.
    pub port: u16,
    /// The folder whose content it serves.
    pub data: PathBuf,
    scheme: &'static str,
    folder: PathBuf,
    command: Box<dyn Fn() -> Command>,
    server: Option<Server>,
}

impl WebDav {
    /// Nginx, with all it writes in `folder`; with TLS when there is an authority, and then for its clients only.
    ///
    /// # Errors
    /// When it is not installed.
    ///
    /// # Panics
    /// When it cannot be started.
    pub fn nginx(folder: &Path, authority: Option<&Authority>) -> Result<WebDav, NotInstalled> {
        let nginx = program("nginx")?;
        if !Path::new(DAV_EXT).exists() {
            return Err(NotInstalled(
                "libnginx-mod-http-dav-ext is not installed; scripts/test installs it".to_owned(),
            ));
        }
        let port = free_port();
        let data = lay_out(folder);
        fs::write(folder.join("users"), format!("{USER}:{{PLAIN}}{PASSWORD}\n"))
            .expect("a file can be written");
        let (listen, tls) = match authority {
            None => (format!("{port}"), String::new()),
            Some(authority) => (
                format!("{port} ssl"),
                format!(
                    "ssl_certificate {}; ssl_certificate_key {}; ssl_client_certificate {}; ssl_verify_client on;",
                    authority.server_certificate.display(),
                    authority.server_key.display(),
                    authority.certificate.display()
                ),
            ),
        };
        let (root, base) = (data.display(), folder.display());
        let temporary: String = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
            .map(|what| format!("{what}_temp_path {base}/temporary/{what};"))
            .concat();
        let configuration = format!(
            "load_module {DAV_EXT};\nuser root root;\nworker_processes 1;\ndaemon off;\npid {base}/nginx.pid;\n\
             error_log stderr warn;\nevents {{}}\nhttp {{\naccess_log off;\nclient_max_body_size 0;\n{temporary}\n\
             server {{\nlisten 127.0.0.1:{listen};\n{tls}\nroot {root};\nauth_basic dav;\nauth_basic_user_file {base}/users;\n\
             location / {{\ndav_methods PUT DELETE MKCOL COPY MOVE;\ndav_ext_methods PROPFIND OPTIONS;\ndav_access user:rw;\n}}\n}}\n}}\n"
        );
        fs::write(folder.join("nginx.conf"), configuration).expect("a file can be written");
        let place = folder.to_owned();
        let command = move || {
            let mut command = Command::new(&nginx);
            command.arg("-p").arg(&place).arg("-c").arg(place.join("nginx.conf"));
            command
        };
        let scheme = if authority.is_some() { "webdavs" } else { "webdav" };
        Ok(started(WebDav {
            port,
            data,
            scheme,
            folder: folder.to_owned(),
            command: Box::new(command),
            server: None,
        }))
    }

    /// Wsgidav, with all it writes in `folder`.
    ///
    /// # Errors
    /// When it is not installed.
    ///
    /// # Panics
    /// When it cannot be started.
    pub fn wsgidav(folder: &Path) -> Result<WebDav, NotInstalled> {
        let wsgidav = python("wsgidav")?.join("wsgidav");
        let (port, data) = (free_port(), lay_out(folder));
        let configuration = format!(
            "host: 127.0.0.1\nport: {port}\nprovider_mapping: {{\"/\": {:?}}}\n\
             simple_dc: {{user_mapping: {{\"*\": {{{USER}: {{password: {PASSWORD:?}}}}}}}}}\n\
             http_authenticator: {{accept_basic: true, accept_digest: false, default_to_digest: false}}\n\
             lock_storage: false\nproperty_manager: null\nverbose: 1\n",
            data.display().to_string()
        );
        fs::write(folder.join("wsgidav.yaml"), configuration).expect("a file can be written");
        let place = folder.to_owned();
        let command = move || {
            let mut command = Command::new(&wsgidav);
            command.arg("-c").arg(place.join("wsgidav.yaml")).current_dir(&place);
            command
        };
        let folder = folder.to_owned();
        Ok(started(WebDav { port, data, scheme: "webdav", folder, command: Box::new(command), server: None }))
    }

    /// The address of a folder on it, with the user and without the password.
    pub fn address(&self, path: &str) -> String {
        format!("{}://{USER}@127.0.0.1:{}/{path}", self.scheme, self.port)
    }

    /// Ends it at once, as a crash would.
    ///
    /// # Panics
    /// When it cannot be waited for.
    pub fn kill(&mut self) {
        if let Some(mut server) = self.server.take() {
            server.kill();
        }
        // Its workers may take a moment longer to end, and would be taken for the next server.
        while answers(self.port) {
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// Starts it again, on the same port.
    ///
    /// # Panics
    /// When that fails.
    pub fn restart(&mut self) {
        let (command, port) = ((self.command)(), self.port);
        self.server = Some(Server::start("webdav", command, &self.folder, &|| answers(port)));
    }
}

fn started(mut server: WebDav) -> WebDav {
    server.restart();
    server
}

fn lay_out(folder: &Path) -> PathBuf {
    let data = folder.join("data");
    for path in [&data, &folder.join("temporary")] {
        fs::create_dir_all(path).expect("a folder can be made");
    }
    data
}
