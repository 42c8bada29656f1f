//! Whom to believe on an encrypted connection: the system's authorities and those of a file, or one certificate itself.

use super::wire::Security;
use icecore::error::{Error, Kind, Result};
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{Resumption, WebPkiServerVerifier};
use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::{ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme};
use std::sync::Arc;

/// Sessions to go on with that are kept: those of one server, for one connection.
const SESSIONS_KEPT: usize = 8;

/// What a user says about certificates: files.
#[derive(Clone, Copy, Default)]
pub(super) struct Files<'a> {
    pub authorities: Option<&'a str>,
    pub certificate: Option<&'a str>,
    pub key: Option<&'a str>,
}

/// What all connections to one server have in common.
pub(super) struct Trust {
    config: ClientConfig,
    name: ServerName<'static>,
}

impl Trust {
    /// # Errors
    /// `Invalid` for a host or file that is none, and what reading files fails with.
    pub fn new(host: &str, files: Files<'_>) -> Result<Trust> {
        let name = ServerName::try_from(host.to_owned())
            .map_err(|_| Error::invalid("neither a host's name nor its number:", host))?;
        let provider = Arc::new(aws_lc_rs::default_provider());
        let own = files.authorities.map(certificates).transpose()?.unwrap_or_default();
        let verifier = Verifier::new(own, &provider)?;
        let builder = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(|e| Error::new(Kind::Unsupported, "no encryption").because(e))?
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(verifier));
        let config = match (files.certificate, files.key) {
            (None, None) => builder.with_no_client_auth(),
            (Some(certificate), key) => {
                // Both may be in one file.
                let key = key.unwrap_or(certificate);
                let secret = PrivateKeyDer::from_pem_file(key).map_err(|e| unreadable("a key", key, e))?;
                builder
                    .with_client_auth_cert(certificates(certificate)?, secret)
                    .map_err(|e| Error::invalid("no certificate and its key:", certificate).because(e))?
            }
            (None, Some(_)) => return Err(Error::invalid("key=FILE needs", "cert=FILE")),
        };
        Ok(Trust { config, name })
    }

    /// For the connections of one session.
    pub fn session(&self) -> Security {
        let mut config = self.config.clone();
        config.resumption = Resumption::in_memory_sessions(SESSIONS_KEPT);
        Security { config: Arc::new(config), name: self.name.clone() }
    }
}

fn certificates(file: &str) -> Result<Vec<CertificateDer<'static>>> {
    let found: Result<Vec<_>, _> = CertificateDer::pem_file_iter(file).and_then(|found| found.collect());
    let found = found.map_err(|e| unreadable("certificates", file, e))?;
    match found.is_empty() {
        true => Err(Error::invalid("no certificates in", file)),
        false => Ok(found),
    }
}

fn unreadable(what: &str, file: &str, error: rustls::pki_types::pem::Error) -> Error {
    match error {
        rustls::pki_types::pem::Error::Io(e) => crate::unreadable(file, e),
        other => Error::invalid(format!("not {what} in PEM:"), file).because(other),
    }
}

/// Believes authorities, and a certificate that the user has named himself.
///
/// Many FTP servers have a certificate that they have signed themselves, often marked as an authority's and without the
/// host's name, which no authority would give out. Whoever names that very certificate has said which server he means.
#[derive(Debug)]
struct Verifier {
    named: Vec<CertificateDer<'static>>,
    authorities: Arc<WebPkiServerVerifier>,
}

impl Verifier {
    fn new(named: Vec<CertificateDer<'static>>, provider: &Arc<CryptoProvider>) -> Result<Verifier> {
        let mut roots = RootCertStore::empty();
        let system = rustls_native_certs::load_native_certs();
        roots.add_parsable_certificates(system.certs.into_iter().chain(named.iter().cloned()));
        if roots.is_empty() {
            let error = Error::new(Kind::Unsupported, "this machine knows no authorities for certificates");
            return Err(error.hint("install the package ca-certificates, or name a file with ?ca=FILE"));
        }
        let authorities = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), Arc::clone(provider))
            .build()
            .map_err(|e| Error::invalid("no use of the authorities", "of ca=FILE").because(e))?;
        Ok(Verifier { named, authorities })
    }
}

impl ServerCertVerifier for Verifier {
    fn verify_server_cert(
        &self,
        shown: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        ocsp: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        if self.named.iter().any(|named| named.as_ref() == shown.as_ref()) {
            return Ok(ServerCertVerified::assertion());
        }
        self.authorities.verify_server_cert(shown, intermediates, name, ocsp, now)
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.authorities.verify_tls12_signature(message, certificate, signature)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.authorities.verify_tls13_signature(message, certificate, signature)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.authorities.supported_verify_schemes()
    }
}
