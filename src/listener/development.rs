//! A fresh self-signed certificate for development, made in memory. Knows nothing of sockets.

use std::{fs, path::Path};

use rcgen::{CertificateParams, DnType, ExtendedKeyUsagePurpose, KeyPair};
use rustls::{
    crypto::CryptoProvider,
    pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer},
    sign::CertifiedKey,
};
use time::{Duration, OffsetDateTime};

use super::ListenError;

/// A certificate for this machine's own names, and its key.
pub struct DevelopmentCertificate {
    certificate: rcgen::Certificate,
    key: KeyPair,
}

impl DevelopmentCertificate {
    /// # Errors
    /// Where the system gives no randomness.
    pub fn generate() -> Result<Self, ListenError> {
        Self::try_generate().map_err(|error| ListenError::Development(error.to_string()))
    }

    /// The certificate alone, for clients to trust (`curl --cacert`).
    pub fn certificate_pem(&self) -> String {
        self.certificate.pem()
    }

    /// The key, unencrypted (PKCS#8).
    pub fn key_pem(&self) -> String {
        self.key.serialize_pem()
    }

    /// Writes the certificate alone to a file.
    ///
    /// # Errors
    /// Where the file cannot be written.
    pub fn write_certificate(&self, path: &Path) -> Result<(), ListenError> {
        fs::write(path, self.certificate_pem())
            .map_err(|error| ListenError::File { path: path.into(), problem: format!("cannot be written: {error}") })
    }

    pub(super) fn certified_key(&self, provider: &CryptoProvider) -> Result<CertifiedKey, rustls::Error> {
        let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(self.key.serialize_der()));
        CertifiedKey::from_der(vec![self.der().clone()], key, provider)
    }

    pub(crate) fn der(&self) -> &CertificateDer<'static> {
        self.certificate.der()
    }

    fn try_generate() -> Result<Self, rcgen::Error> {
        let mut params = CertificateParams::new(NAMES.map(String::from))?;
        params.distinguished_name.push(DnType::CommonName, "Tidegate development");
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        let now = OffsetDateTime::now_utc();
        // A client whose clock runs a little behind must not find it "not yet valid".
        params.not_before = now - Duration::hours(1);
        params.not_after = now + VALID;
        let key = KeyPair::generate()?;
        Ok(Self { certificate: params.self_signed(&key)?, key })
    }
}

const NAMES: [&str; 4] = ["localhost", "*.localhost", "127.0.0.1", "::1"];

/// Short: it lives as long as a process of development does.
const VALID: Duration = Duration::days(14);

#[cfg(test)]
mod tests {
    use rustls::{client::verify_server_name, crypto::aws_lc_rs, pki_types::ServerName, server::ParsedCertificate};

    use super::*;

    #[test]
    fn a_development_certificate_is_good_for_the_names_of_this_machine_and_no_other() {
        let made = DevelopmentCertificate::generate().unwrap();
        let parsed = ParsedCertificate::try_from(made.der()).unwrap();
        for (name, good) in
            [("localhost", true), ("127.0.0.1", true), ("::1", true), ("example.com", false), ("10.0.0.1", false)]
        {
            let server_name = ServerName::try_from(name).unwrap();
            assert_eq!(verify_server_name(&parsed, &server_name).is_ok(), good, "{name}");
        }
    }

    #[test]
    fn the_pem_that_clients_get_holds_the_certificate_and_not_the_key() {
        let made = DevelopmentCertificate::generate().unwrap();
        let pem = made.certificate_pem();
        assert!(pem.starts_with("-----BEGIN CERTIFICATE-----"), "{pem}");
        assert!(!pem.contains("PRIVATE"), "{pem}");
        assert!(made.key_pem().contains("PRIVATE KEY"));
        assert!(made.certified_key(&aws_lc_rs::default_provider()).is_ok());
    }

    #[test]
    fn a_certificate_file_that_cannot_be_written_is_named() {
        let made = DevelopmentCertificate::generate().unwrap();
        let error = made.write_certificate(Path::new("/no/such/folder/cert.pem")).unwrap_err();
        assert!(error.to_string().starts_with("/no/such/folder/cert.pem: cannot be written: "), "{error}");
    }
}
