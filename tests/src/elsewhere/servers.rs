//! The servers that repositories are kept on: how each is started, and how the program reaches it.

use super::Server;
use icecore_testkit::servers::ftp::{self, Protection, Pyftpdlib};
use icecore_testkit::servers::keystone::Keystone;
use icecore_testkit::servers::moto::Moto;
use icecore_testkit::servers::sshd::Sshd;
use icecore_testkit::servers::swift::{self, Swift};
use icecore_testkit::servers::webdav::{self, WebDav};
use icecore_testkit::servers::{NotInstalled, free_port};
use std::any::Any;
use std::path::Path;

/// How a server is started, with all it writes in a folder.
pub type Start = fn(&Path) -> Result<Server, NotInstalled>;

/// Every kind of storage, by the name of its page in the guide.
pub const SERVERS: &[(&str, Start)] = &[
    ("sftp", sftp),
    ("s3", s3),
    ("swift", with_keystone),
    ("ftp", ftps),
    ("webdav", dav),
    ("rclone", rclone),
];

fn server(address: String, options: &str, variables: &[(&str, &str)], running: Vec<Box<dyn Any>>) -> Server {
    let variables = variables.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
    Server { address, options: options.to_owned(), variables, running }
}

/// A server that was started, and is ended by somebody else.
pub trait Started {
    /// How the program reaches it.
    fn reached(&self) -> Server;
}

impl Started for Sshd {
    fn reached(&self) -> Server {
        let address = self.address("");
        let (place, options) = address.split_once('?').unwrap();
        server(place.trim_end_matches('/').to_owned(), &format!("?{options}"), &[], Vec::new())
    }
}

impl Started for Moto {
    fn reached(&self) -> Server {
        of_s3(&self.endpoint(), (&self.key.0, &self.key.1))
    }
}

impl Started for Swift {
    fn reached(&self) -> Server {
        let address = "swift://backups".to_owned();
        Server { address, options: String::new(), variables: self.variables(), running: Vec::new() }
    }
}

/// The same, and it ends with what reaches it.
fn kept(started: impl Started + 'static) -> Server {
    let mut server = started.reached();
    server.running.push(Box::new(started));
    server
}

fn of_s3(endpoint: &str, key: (&str, &str)) -> Server {
    let options = format!("?endpoint={endpoint}&region=us-east-1");
    let variables = [("AWS_ACCESS_KEY_ID", key.0), ("AWS_SECRET_ACCESS_KEY", key.1)];
    server("s3://backups".to_owned(), &options, &variables, Vec::new())
}

pub fn sftp(folder: &Path) -> Result<Server, NotInstalled> {
    Sshd::start(folder, "").map(kept)
}

pub fn s3(folder: &Path) -> Result<Server, NotInstalled> {
    Moto::strict(folder).map(kept)
}

/// Swift's other tongue.
pub fn s3_of(cluster: &Swift) -> Server {
    of_s3(&cluster.endpoint(), swift::USER)
}

pub fn s3_of_swift(folder: &Path) -> Result<Server, NotInstalled> {
    let cluster = Swift::start(folder, &swift::Options::default())?;
    let mut server = s3_of(&cluster);
    server.running.push(Box::new(cluster));
    Ok(server)
}

pub fn tempauth(folder: &Path) -> Result<Server, NotInstalled> {
    Swift::start(folder, &swift::Options::default()).map(kept)
}

/// One whose lists come in pages of so many rows.
pub fn of_short_pages(folder: &Path, rows: usize) -> Result<Server, NotInstalled> {
    let listing_limit = Some(u32::try_from(rows).unwrap());
    let options = swift::Options { listing_limit, ..swift::Options::default() };
    Swift::start(folder, &options).map(kept)
}

pub fn with_keystone(folder: &Path) -> Result<Server, NotInstalled> {
    let port = free_port();
    let keystone = Keystone::start(&folder.join("keystone"), &format!("http://127.0.0.1:{port}"), 3600)?;
    let admin = (keystone.url(), icecore_testkit::servers::keystone::PASSWORD.to_owned());
    let options = swift::Options { keystone: Some(admin), port: Some(port), ..swift::Options::default() };
    let cluster = Swift::start(&folder.join("swift"), &options)?;
    let (variables, running) =
        (keystone.variables(), vec![Box::new(cluster) as Box<dyn Any>, Box::new(keystone)]);
    Ok(Server { address: "swift://backups".to_owned(), options: String::new(), variables, running })
}

fn pyftpdlib(
    folder: &Path,
    scheme: &str,
    protection: Protection,
    more: &str,
) -> Result<Server, NotInstalled> {
    ftp::certificates(folder)?;
    let port = free_port();
    let running = Pyftpdlib::new(protection).start(folder, port)?;
    let options = match protection {
        Protection::Off => String::new(),
        _ => format!("?ca={}{more}", folder.join("authority.pem").display()),
    };
    let address = format!("{scheme}://{}@127.0.0.1:{port}", ftp::USER);
    Ok(server(address, &options, &[("ICECORE_STORAGE_PASSWORD", ftp::PASSWORD)], vec![Box::new(running)]))
}

/// An FTP server in clear at a port, which somebody else starts.
pub fn ftp_at(port: u16) -> Server {
    let address = format!("ftp://{}@127.0.0.1:{port}", ftp::USER);
    server(address, "", &[("ICECORE_STORAGE_PASSWORD", ftp::PASSWORD)], Vec::new())
}

pub fn plain_ftp(folder: &Path) -> Result<Server, NotInstalled> {
    pyftpdlib(folder, "ftp", Protection::Off, "")
}

pub fn ftps(folder: &Path) -> Result<Server, NotInstalled> {
    pyftpdlib(folder, "ftps", Protection::Explicit, "")
}

/// For anybody, as vsftpd has it; with encryption, which resumes its sessions.
pub fn vsftpd(folder: &Path) -> Result<Server, NotInstalled> {
    ftp::certificates(folder)?;
    let (running, port) = ftp::vsftpd(folder, true)?;
    let options = format!("?ca={}", folder.join("authority.pem").display());
    Ok(server(format!("ftps://127.0.0.1:{port}/files"), &options, &[], vec![Box::new(running)]))
}

pub fn dav(folder: &Path) -> Result<Server, NotInstalled> {
    let nginx = WebDav::nginx(folder, None)?;
    let address = nginx.address("").trim_end_matches('/').to_owned();
    let variables = [("ICECORE_STORAGE_PASSWORD", webdav::PASSWORD)];
    Ok(server(address, "", &variables, vec![Box::new(nginx)]))
}

/// Rclone over a folder here.
pub fn rclone(folder: &Path) -> Result<Server, NotInstalled> {
    icecore_testkit::servers::program("rclone")?;
    let place = folder.join("rclone");
    std::fs::create_dir(&place).unwrap();
    Ok(server(format!("rclone::local:{}", place.display()), "", &[], Vec::new()))
}

/// The port of loopback that an address names.
pub fn port_of(address: &str) -> u16 {
    let behind = address.split_once("127.0.0.1:").expect("it is on loopback").1;
    let digits: String = behind.chars().take_while(char::is_ascii_digit).collect();
    digits.parse().unwrap()
}

/// The port of loopback where a server is reached, wherever it is told.
pub fn port_of_server(server: &Server) -> u16 {
    let variables = server.variables.iter().map(|(_, value)| value);
    let told = [&server.address, &server.options].into_iter().chain(variables);
    told.filter(|text| text.contains("127.0.0.1:")).map(|text| port_of(text)).next().unwrap()
}
