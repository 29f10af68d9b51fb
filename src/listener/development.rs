//! A fresh self-signed certificate for development, made in memory. Knows nothing of sockets.

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
    use rustls::{client::verify_server_name, pki_types::ServerName, server::ParsedCertificate};

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
}
