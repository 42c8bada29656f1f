//! Ceph with its S3 gateway, real and small: a monitor, a manager, one disk in a sparse file, and the gateway, all from Debian's
//! packages. Starting it takes half a minute, so the tests that want it are ignored but by `scripts/test-long`, which installs it
//! (testkit/servers/packages-long).

use super::{NotInstalled, Server, answers, free_port, program};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

const PROGRAMS: [&str; 7] =
    ["ceph", "ceph-authtool", "monmaptool", "ceph-mon", "ceph-osd", "ceph-mgr", "radosgw"];

/// How long one step of setting it up may take, where other tests want the processors too.
const STEP: Duration = Duration::from_secs(300);

/// The name of which buckets are parts, to who calls it by one and not by its address.
pub const HOST: &str = "gateway.example.org";

/// A running cluster. The gateway is stopped first.
pub struct Gateway {
    _gateway: Server,
    _others: Vec<Server>,
    /// Where it listens.
    pub port: u16,
    /// Id and secret of its one user.
    pub key: (String, String),
}

impl Gateway {
    /// Starts everything in `folder`.
    ///
    /// # Errors
    /// When it is not installed.
    ///
    /// # Panics
    /// When it cannot be set up, with what it said.
    pub fn start(folder: &Path) -> Result<Gateway, NotInstalled> {
        for name in PROGRAMS {
            let absent = |_| NotInstalled(format!("{name} is not installed; scripts/test-long installs it"));
            program(name).map_err(absent)?;
        }
        let cluster = Cluster { folder: folder.to_owned(), monitor: free_port(), port: free_port() };
        cluster.describe();
        cluster.make_keys();
        let monitor = cluster.monitor;
        let mut others = vec![cluster.server("ceph-mon", &["-i", "a", "-f"], &|| answers(monitor))];
        let id = "6d8f0c9a-5a43-4a0e-9f1b-0c5a1d1f7e01";
        cluster.run("ceph", &["osd", "new", id, "0"]);
        cluster.run("ceph-osd", &["-i", "0", "--mkfs", "--osd-uuid", id]);
        others.push(cluster.server("ceph-osd", &["-i", "0", "-f"], &|| true));
        others.push(cluster.server("ceph-mgr", &["-i", "a", "-f"], &|| true));
        let end = Instant::now() + STEP;
        while !cluster.run("ceph", &["osd", "stat"]).contains("1 up") {
            assert!(Instant::now() < end, "the disk does not come up");
            std::thread::sleep(Duration::from_millis(300));
        }
        let port = cluster.port;
        let gateway = cluster.server("radosgw", &["-n", "client.rgw", "-f"], &|| answers(port));
        let key = ("gatewaykey".to_owned(), "gateway/secret+1".to_owned());
        let user = ["user", "create", "--uid", "tester", "--display-name", "tester"];
        cluster
            .run("radosgw-admin", &[&user[..], &["--access-key", &key.0, "--secret-key", &key.1]].concat());
        Ok(Gateway { _gateway: gateway, _others: others, port, key })
    }

    /// Its URL.
    pub fn endpoint(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }
}

struct Cluster {
    folder: PathBuf,
    monitor: u16,
    port: u16,
}

impl Cluster {
    fn configuration(&self) -> PathBuf {
        self.folder.join("ceph.conf")
    }

    /// One copy of everything, nothing outside of the folder, loopback only.
    fn describe(&self) {
        let Cluster { folder, monitor, port } = self;
        let folder = folder.display();
        for name in ["mon", "mgr", "disk", "gateway"] {
            fs::create_dir_all(self.folder.join(name)).expect("a folder can be made");
        }
        let text = format!(
            "[global]\nfsid = 0f6f1b7e-3d4c-4f0c-8c6e-2f6f0e3b9a11\nmon host = [v1:127.0.0.1:{monitor}]\n\
             public addr = 127.0.0.1\ncluster addr = 127.0.0.1\nauth cluster required = cephx\nauth service required = cephx\n\
             auth client required = cephx\nkeyring = {folder}/keyring\nrun dir = {folder}\nadmin socket = {folder}/$name.asok\n\
             pid file = {folder}/$name.pid\nlog file = {folder}/$name.log\ncrash dir = {folder}\nosd pool default size = 1\n\
             osd pool default min size = 1\nosd pool default pg num = 8\nosd crush chooseleaf type = 0\n\
             mon allow pool size one = true\nmon data = {folder}/mon\nmon data avail warn = 1\nmon data avail crit = 0\n\
             mon max pg per osd = 1000\nms bind ipv6 = false\nmgr data = {folder}/mgr\nmgr initial modules =\n\
             osd data = {folder}/disk\nosd objectstore = bluestore\nbluestore block size = 10737418240\n\
             bluestore fsck on mount = false\nosd memory target = 939524096\n[client.rgw]\nrgw data = {folder}/gateway\n\
             rgw frontends = beast endpoint=127.0.0.1:{port}\nrgw thread pool size = 32\n\
             rgw dns name = {HOST}\n"
        );
        fs::write(self.configuration(), text).expect("a file can be written");
    }

    fn make_keys(&self) {
        let path = |name: &str| self.folder.join(name).display().to_string();
        let (keys, map) = (path("keyring"), path("monmap"));
        let all = "allow *";
        let tool = |more: &[&str]| self.plain("ceph-authtool", &[&[keys.as_str()][..], more].concat());
        tool(&["--create-keyring", "--gen-key", "-n", "mon.", "--cap", "mon", all]);
        let caps = ["--cap", "mon", all, "--cap", "osd", all];
        for name in ["client.admin", "client.rgw", "mgr.a", "osd.0"] {
            let more: &[&str] = if name == "client.rgw" { &[] } else { &["--cap", "mgr", all] };
            tool(&[&["--gen-key", "-n", name][..], &caps, more].concat());
        }
        let address = format!("[v1:127.0.0.1:{}]", self.monitor);
        let fsid = "0f6f1b7e-3d4c-4f0c-8c6e-2f6f0e3b9a11";
        self.plain("monmaptool", &["--create", "--addv", "a", &address, "--fsid", fsid, &map]);
        self.run("ceph-mon", &["--mkfs", "-i", "a", "--monmap", &map, "--keyring", &keys]);
    }

    /// Runs a program to its end; what it said.
    fn run(&self, name: &str, arguments: &[&str]) -> String {
        let configuration = self.configuration().display().to_string();
        self.plain(name, &[&["-c", configuration.as_str()][..], arguments].concat())
    }

    fn plain(&self, name: &str, arguments: &[&str]) -> String {
        let mut command = Command::new("timeout");
        command.arg(STEP.as_secs().to_string()).arg(name).args(arguments).current_dir(&self.folder);
        let output = command.output().unwrap_or_else(|e| panic!("cannot run {name}: {e}"));
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        assert!(output.status.success(), "{name} {arguments:?}: {}", text(&output.stderr));
        text(&output.stdout)
    }

    fn server(&self, name: &str, arguments: &[&str], is_ready: &dyn Fn() -> bool) -> Server {
        let mut command = Command::new(name);
        command.arg("-c").arg(self.configuration()).args(arguments).current_dir(&self.folder);
        Server::start_within(STEP, name, command, &self.folder, is_ready)
    }
}
