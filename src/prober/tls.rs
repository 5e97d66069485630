//! TLS towards dependencies: the modes of libpq's URLs, public and private authorities, when a certificate ends, and what
//! went wrong in words.

mod words;

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{Resumption, WebPkiServerVerifier};
use rustls::crypto::{CryptoProvider, ring};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, Error as TlsError, RootCertStore, SignatureScheme,
};
use x509_cert::der::Decode as _;

use crate::config::probes::{Tls, TlsMode};
use crate::engine::time::Time;

pub(crate) use crate::prober::tls::words::{failure, lasting};

/// Why TLS cannot be set up.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SetupError {
    /// The file of authorities.
    #[error("the authorities in {} could not be read", path.display())]
    Authorities {
        path: PathBuf,
        #[source]
        source: rustls::pki_types::pem::Error,
    },
    /// A certificate in it.
    #[error("{} holds no certificate of an authority", path.display())]
    NoAuthority { path: PathBuf },
    /// The library's own word.
    #[error("TLS could not be set up")]
    Library(#[source] TlsError),
}

/// How to speak TLS as `tls` says, with the protocols `alpn`, the preferred one first. Not for [`TlsMode::Disable`].
pub(crate) fn client(tls: &Tls, alpn: &[&[u8]]) -> Result<Arc<ClientConfig>, SetupError> {
    let provider = Arc::new(ring::default_provider());
    let versions = ClientConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()
        .map_err(SetupError::Library)?;
    let verifier = verifier(tls, &provider)?;
    let mut config = versions.dangerous().with_custom_certificate_verifier(verifier).with_no_client_auth();
    // A session that is resumed brings no certificate: one that has ended would be taken until the agent's next start.
    config.resumption = Resumption::disabled();
    config.alpn_protocols = alpn.iter().map(|name| name.to_vec()).collect();
    Ok(Arc::new(config))
}

fn verifier(tls: &Tls, provider: &Arc<CryptoProvider>) -> Result<Arc<dyn ServerCertVerifier>, SetupError> {
    // As in libpq: `require` with an authority's file verifies against it.
    let trusts_anybody = match tls.mode {
        TlsMode::Disable | TlsMode::Prefer | TlsMode::Require => tls.ca_file.is_none(),
        TlsMode::VerifyCa | TlsMode::VerifyFull => false,
    };
    if trusts_anybody {
        return Ok(Arc::new(Anybody(Arc::clone(provider))));
    }
    let roots = Arc::new(authorities(tls.ca_file.as_deref())?);
    let known = WebPkiServerVerifier::builder_with_provider(roots, Arc::clone(provider))
        .build()
        .map_err(|error| SetupError::Library(TlsError::General(error.to_string())))?;
    if tls.mode == TlsMode::VerifyFull {
        return Ok(known);
    }
    Ok(Arc::new(AnyName(known)))
}

/// The public authorities, and those of the file.
fn authorities(file: Option<&Path>) -> Result<RootCertStore, SetupError> {
    let mut roots = RootCertStore { roots: webpki_roots::TLS_SERVER_ROOTS.to_vec() };
    let Some(path) = file else { return Ok(roots) };
    let unreadable = |source| SetupError::Authorities { path: path.to_owned(), source };
    let certificates = CertificateDer::pem_file_iter(path).map_err(unreadable)?;
    let mut found = false;
    for certificate in certificates {
        found |= roots.add(certificate.map_err(unreadable)?).is_ok();
    }
    if found { Ok(roots) } else { Err(SetupError::NoAuthority { path: path.to_owned() }) }
}

/// When a certificate ends; `None` where it cannot be parsed.
pub(crate) fn expiry(certificate: &CertificateDer<'_>) -> Option<Time> {
    let parsed = x509_cert::Certificate::from_der(certificate).ok()?;
    let end: Duration = parsed.tbs_certificate.validity.not_after.to_unix_duration();
    Some(Time::from_millis(u64::try_from(end.as_millis()).ok()?))
}

/// Encrypts, and takes whoever answers: for `prefer` and `require`, which promise no more.
struct Anybody(Arc<CryptoProvider>);

impl fmt::Debug for Anybody {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Anybody")
    }
}

impl ServerCertVerifier for Anybody {
    fn verify_server_cert(
        &self,
        _certificate: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _name: &ServerName<'_>,
        _ocsp: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, TlsError> {
        Ok(ServerCertVerified::assertion())
    }

    // The certificate is not looked at, so that one which cannot even be parsed (of version 1, say) is taken as libpq takes it;
    // a signature by a key that anybody may have made proves nothing.
    fn verify_tls12_signature(
        &self,
        _message: &[u8],
        _certificate: &CertificateDer<'_>,
        _signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, TlsError> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _message: &[u8],
        _certificate: &CertificateDer<'_>,
        _signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, TlsError> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}

/// The certificate must come from a known authority; whose it is does not matter: `verify-ca`.
#[derive(Debug)]
struct AnyName(Arc<WebPkiServerVerifier>);

impl ServerCertVerifier for AnyName {
    fn verify_server_cert(
        &self,
        certificate: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        ocsp: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, TlsError> {
        // The name is looked at last, so every other fault has been reported by then.
        match self.0.verify_server_cert(certificate, intermediates, name, ocsp, now) {
            Err(TlsError::InvalidCertificate(
                CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. },
            )) => Ok(ServerCertVerified::assertion()),
            verified => verified,
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, TlsError> {
        self.0.verify_tls12_signature(message, certificate, signed)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, TlsError> {
        self.0.verify_tls13_signature(message, certificate, signed)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.supported_verify_schemes()
    }
}

#[cfg(test)]
mod tests;
