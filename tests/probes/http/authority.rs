//! An authority of the tests' own, and the certificates that it gives.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use outrigger::clock::Clock;
use rcgen::{BasicConstraints, Certificate, CertificateParams, DnType, IsCa, Issuer, KeyPair, date_time_ymd};
use rustls::ServerConfig;
use rustls::crypto::ring;
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};

pub(crate) const DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// An authority; its certificate is in a file.
pub(crate) struct Authority {
    issuer: Issuer<'static, KeyPair>,
}

impl Authority {
    /// A new one, with its certificate in `file`.
    pub(crate) fn new(file: &Path) -> Self {
        Self::named(file, "the tests' own")
    }

    /// A new one of that name.
    pub(crate) fn named(file: &Path, name: &str) -> Self {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.distinguished_name.push(DnType::CommonName, name);
        let key = KeyPair::generate().unwrap();
        let certificate = params.self_signed(&key).unwrap();
        std::fs::write(file, certificate.pem()).unwrap();
        Self { issuer: Issuer::new(params, key) }
    }

    /// A server with a certificate for `names`.
    pub(crate) fn server(&self, names: &[&str], ends: Ends, alpn: &[&[u8]]) -> ServerConfig {
        let (certificate, key) = self.certificate(names, ends);
        let key = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(key.serialize_der()));
        let mut config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![certificate.der().clone()], key)
            .unwrap();
        config.alpn_protocols = alpn.iter().map(|name| name.to_vec()).collect();
        config
    }

    /// Writes a certificate for `names` and its key into files.
    pub(crate) fn write(&self, names: &[&str], ends: Ends, certificate_file: &Path, key_file: &Path) {
        let (certificate, key) = self.certificate(names, ends);
        std::fs::write(certificate_file, certificate.pem()).unwrap();
        std::fs::write(key_file, key.serialize_pem()).unwrap();
    }

    fn certificate(&self, names: &[&str], ends: Ends) -> (Certificate, KeyPair) {
        let now = Duration::from_millis(Clock::start().now().as_millis());
        let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        let mut params = CertificateParams::new(names).unwrap();
        params.not_after = date_time_ymd(1970, 1, 1)
            + match ends {
                Ends::In(time) => now + time,
                Ends::Ago(time) => now - time,
            };
        let key = KeyPair::generate().unwrap();
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        (certificate, key)
    }
}

/// When a certificate ends.
#[derive(Clone, Copy)]
pub(crate) enum Ends {
    In(Duration),
    Ago(Duration),
}
