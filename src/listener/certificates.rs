//! Certificates and keys from PEM files, and the choice among them by SNI. Knows nothing of connections.

use std::{fs, path::Path, sync::Arc};

use rustls::{
    client::verify_server_name,
    crypto::CryptoProvider,
    pki_types::{
        CertificateDer, PrivateKeyDer, ServerName,
        pem::{PemObject, SectionKind},
    },
    server::{ClientHello, ParsedCertificate, ResolvesServerCert},
    sign::CertifiedKey,
};

use super::ListenError;
use crate::config::CertificateFiles;

/// The certificates of one listener: the first that is good for the client's server name, else the first of all.
#[derive(Debug)]
pub(super) struct Certificates {
    default: Arc<CertifiedKey>,
    all: Vec<Arc<CertifiedKey>>,
}

impl Certificates {
    pub(super) fn single(key: CertifiedKey) -> Self {
        let default = Arc::new(key);
        Self { all: vec![default.clone()], default }
    }

    /// None where `files` is empty.
    pub(super) fn load(files: &[CertificateFiles], provider: &CryptoProvider) -> Result<Option<Self>, ListenError> {
        let all = files.iter().map(|pair| load(pair, provider).map(Arc::new)).collect::<Result<Vec<_>, _>>()?;
        Ok(all.first().cloned().map(|default| Self { default, all }))
    }
}

impl ResolvesServerCert for Certificates {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        // The usual case: whoever connects sees the one certificate, whatever name they asked for.
        let name = hello.server_name().filter(|_| self.all.len() > 1).and_then(|name| ServerName::try_from(name).ok());
        let Some(name) = name else { return Some(self.default.clone()) };
        let usable = |key: &&Arc<CertifiedKey>| key.key.choose_scheme(hello.signature_schemes()).is_some();
        let fitting = |key: &&Arc<CertifiedKey>| {
            key.cert.first().is_some_and(|leaf| {
                ParsedCertificate::try_from(leaf).is_ok_and(|parsed| verify_server_name(&parsed, &name).is_ok())
            })
        };
        Some(self.all.iter().filter(usable).find(fitting).unwrap_or(&self.default).clone())
    }
}

fn load(files: &CertificateFiles, provider: &CryptoProvider) -> Result<CertifiedKey, ListenError> {
    let chain = chain(&files.cert)?;
    let key = private_key(&files.key)?;
    CertifiedKey::from_der(chain, key, provider).map_err(|error| match error {
        rustls::Error::InconsistentKeys(_) => {
            wrong(&files.key, format!("is not the key of the certificate in {}", files.cert.display()))
        }
        rustls::Error::InvalidCertificate(error) => {
            wrong(&files.cert, format!("the first certificate cannot be used: {error}"))
        }
        error => wrong(&files.key, format!("the key cannot be used: {error}")),
    })
}

fn chain(path: &Path) -> Result<Vec<CertificateDer<'static>>, ListenError> {
    let sections = sections(path)?;
    let found: Vec<SectionKind> = sections.iter().map(|(kind, _)| *kind).collect();
    let chain: Vec<CertificateDer<'static>> = sections
        .into_iter()
        .filter(|(kind, _)| *kind == SectionKind::Certificate)
        .map(|(_, der)| CertificateDer::from(der))
        .collect();
    if chain.is_empty() {
        return Err(wrong(path, format!("holds no certificate{}", found.first().map(instead).unwrap_or_default())));
    }
    Ok(chain)
}

fn private_key(path: &Path) -> Result<PrivateKeyDer<'static>, ListenError> {
    let sections = sections(path)?;
    let found = sections.first().map(|(kind, _)| instead(kind)).unwrap_or_default();
    let key = sections.into_iter().find_map(|(kind, der)| PrivateKeyDer::from_pem(kind, der));
    if let Some(key) = key {
        return Ok(key);
    }
    // Encrypted keys have a label of their own, which the PEM reader skips (RFC 7468 §11).
    let text = fs::read(path).unwrap_or_default();
    if memchr::memmem::find(&text, b"ENCRYPTED PRIVATE KEY").is_some() {
        return Err(wrong(path, "the private key is encrypted; store it unencrypted, readable for the gateway only"));
    }
    Err(wrong(path, format!("holds no private key{found}")))
}

fn sections(path: &Path) -> Result<Vec<(SectionKind, Vec<u8>)>, ListenError> {
    let text = fs::read(path).map_err(|error| wrong(path, format!("cannot be read: {error}")))?;
    <(SectionKind, Vec<u8>)>::pem_slice_iter(&text)
        .collect::<Result<_, _>>()
        .map_err(|error| wrong(path, format!("is not well-formed PEM: {error}")))
}

/// What a file holds in place of what it should.
fn instead(found: &SectionKind) -> String {
    let what = match found {
        SectionKind::Certificate => "a certificate",
        SectionKind::PublicKey => "a public key",
        SectionKind::RsaPrivateKey | SectionKind::PrivateKey | SectionKind::EcPrivateKey => "a private key",
        SectionKind::Csr => "a certificate request",
        _ => "something else",
    };
    format!(", but {what}")
}

fn wrong(path: &Path, problem: impl Into<String>) -> ListenError {
    ListenError::File { path: path.into(), problem: problem.into() }
}
