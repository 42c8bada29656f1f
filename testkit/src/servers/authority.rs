//! An authority of the test's own, with certificates for loopback and for a client, made by the program openssl.

use super::{NotInstalled, program};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Files of an authority and of what it signed, all PEM.
pub struct Authority {
    /// The certificate of the authority.
    pub certificate: PathBuf,
    /// The certificate of a server on loopback.
    pub server_certificate: PathBuf,
    /// Its key.
    pub server_key: PathBuf,
    /// The certificate and the key of a client, in one file.
    pub client: PathBuf,
}

impl Authority {
    /// Makes one, called `name`, with all its files in `folder`.
    ///
    /// # Errors
    /// When openssl is not installed.
    ///
    /// # Panics
    /// When it fails.
    pub fn new(folder: &Path, name: &str) -> Result<Authority, NotInstalled> {
        let openssl = program("openssl")?;
        fs::create_dir_all(folder).expect("a folder can be made");
        let file = |end: &str| folder.join(format!("{name}-{end}"));
        let run = |arguments: &[&str]| {
            let output =
                Command::new(&openssl).args(arguments).current_dir(folder).output().expect("openssl runs");
            assert!(
                output.status.success(),
                "openssl {arguments:?}: {}",
                String::from_utf8_lossy(&output.stderr)
            );
        };
        let key = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"];
        let (certificate, authority_key) = (format!("{name}-ca.pem"), format!("{name}-ca.key"));
        let subject = format!("/CN={name}");
        let itself = [
            "req",
            "-x509",
            "-days",
            "2",
            "-subj",
            &subject,
            "-keyout",
            &authority_key,
            "-out",
            &certificate,
        ];
        run(&[&itself[..], &key[..]].concat());
        for (holder, extensions) in [
            ("server", "subjectAltName=IP:127.0.0.1,DNS:localhost\nbasicConstraints=CA:FALSE\n"),
            ("client", "extendedKeyUsage=clientAuth\nbasicConstraints=CA:FALSE\n"),
        ] {
            let [request, signed, secret, settings] =
                ["csr", "pem", "key", "ext"].map(|end| format!("{name}-{holder}.{end}"));
            fs::write(folder.join(&settings), extensions).expect("a file can be written");
            let subject = format!("/CN={holder}");
            run(&[&["req", "-subj", &subject, "-keyout", &secret, "-out", &request], &key[..]].concat());
            run(&[
                "x509",
                "-req",
                "-days",
                "2",
                "-in",
                &request,
                "-CA",
                &certificate,
                "-CAkey",
                &authority_key,
                "-CAcreateserial",
                "-extfile",
                &settings,
                "-out",
                &signed,
            ]);
        }
        let read = |end: &str| fs::read_to_string(file(end)).expect("openssl has written it");
        fs::write(file("client-both.pem"), read("client.pem") + &read("client.key"))
            .expect("a file can be written");
        Ok(Authority {
            certificate: file("ca.pem"),
            server_certificate: file("server.pem"),
            server_key: file("server.key"),
            client: file("client-both.pem"),
        })
    }
}
