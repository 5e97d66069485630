//! The modes, the authorities and the ends of certificates, by handshakes over a socket.

use std::io;

use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair, date_time_ymd};
use rustls::ServerConfig;
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use tokio_rustls::{TlsAcceptor, TlsConnector};

use super::*;
use crate::prober::probe::{Failure, chain};

/// An authority with its certificate in a file, which is gone with the folder.
struct Authority {
    folder: tempfile::TempDir,
    issuer: Issuer<'static, KeyPair>,
}

impl Authority {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().unwrap();
        std::fs::write(folder.path().join("ca.pem"), params.self_signed(&key).unwrap().pem()).unwrap();
        Self { folder, issuer: Issuer::new(params, key) }
    }

    fn file(&self) -> PathBuf {
        self.folder.path().join("ca.pem")
    }

    /// A certificate that ends at the beginning of that year.
    fn certificate(&self, name: &str, ends: i32) -> (CertificateDer<'static>, KeyPair) {
        let mut params = CertificateParams::new(vec![name.to_owned()]).unwrap();
        params.not_after = date_time_ymd(ends, 1, 1);
        let key = KeyPair::generate().unwrap();
        (params.signed_by(&key, &self.issuer).unwrap().der().clone(), key)
    }
}

/// What a handshake with a server of that certificate comes to, for a client that wants `db.internal`.
async fn handshake(
    tls: &Tls,
    (certificate, key): (CertificateDer<'static>, KeyPair),
) -> Result<(), io::Error> {
    let key = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(key.serialize_der()));
    let server = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![certificate], key)
        .unwrap();
    let (ours, theirs) = tokio::io::duplex(64 * 1024);
    let name = ServerName::try_from("db.internal").unwrap();
    let connector = TlsConnector::from(client(tls, &[]).unwrap());
    let accepting = TlsAcceptor::from(Arc::new(server)).accept(theirs);
    let (connected, _) = tokio::join!(connector.connect(name, ours), accepting);
    connected.map(|_| ())
}

#[tokio::test]
async fn each_mode_takes_the_certificates_that_libpq_takes() {
    const KNOWN: bool = true;
    let (authority, stranger) = (Authority::new(), Authority::new());
    use TlsMode::{Prefer, Require, VerifyCa, VerifyFull};
    for (mode, with_file, from_known, name, ends, taken) in [
        (Prefer, false, !KNOWN, "other.internal", 2001, true),
        (Require, false, !KNOWN, "other.internal", 2001, true),
        (Require, true, KNOWN, "other.internal", 2100, true),
        (Require, true, !KNOWN, "db.internal", 2100, false),
        (VerifyCa, true, KNOWN, "other.internal", 2100, true),
        (VerifyCa, true, KNOWN, "other.internal", 2001, false),
        (VerifyCa, true, !KNOWN, "db.internal", 2100, false),
        (VerifyCa, false, KNOWN, "db.internal", 2100, false),
        (VerifyFull, true, KNOWN, "db.internal", 2100, true),
        (VerifyFull, true, KNOWN, "other.internal", 2100, false),
        (VerifyFull, true, KNOWN, "db.internal", 2001, false),
        (VerifyFull, true, !KNOWN, "db.internal", 2100, false),
        (VerifyFull, false, KNOWN, "db.internal", 2100, false),
    ] {
        let tls = Tls { mode, ca_file: with_file.then(|| authority.file()) };
        let from = if from_known { &authority } else { &stranger };
        let got = handshake(&tls, from.certificate(name, ends)).await;
        assert_eq!(got.is_ok(), taken, "{tls:?} {name} {ends}: {got:?}");
    }
}

#[tokio::test]
async fn what_is_wrong_with_a_certificate_is_told() {
    let authority = Authority::new();
    let tls = |ca_file| Tls { mode: TlsMode::VerifyFull, ca_file };
    let known = tls(Some(authority.file()));
    let told = async |tls: &Tls, name: &str, ends: i32| {
        let error = handshake(tls, authority.certificate(name, ends)).await.unwrap_err();
        match failure("db.internal:5432", &error) {
            Failure::Down(text) => text,
            Failure::Unable(text) => panic!("{text}"),
        }
    };
    let said = told(&known, "db.internal", 2001).await;
    assert!(said.starts_with("db.internal:5432: its certificate ended 9"), "{said}");
    assert!(said.ends_with(" days ago, on 2001-01-01T00:00:00Z"), "{said}");
    let said = told(&known, "other.internal", 2100).await;
    assert_eq!(said, "db.internal:5432: its certificate is for other.internal, not for db.internal");
    let said = told(&tls(None), "db.internal", 2100).await;
    assert!(said.contains("an authority that is not known here"), "{said}");
}

#[test]
fn what_ends_a_handshake_without_a_certificate_is_told_too() {
    let told = |error: io::Error| failure("x:1", &error);
    let down = |text: &str| Failure::Down(text.to_owned());
    let kind = |kind: io::ErrorKind| told(io::Error::from(kind));
    let closed = kind(io::ErrorKind::UnexpectedEof);
    assert_eq!(closed, down("x:1 closed the connection during the TLS handshake"));
    let reset = kind(io::ErrorKind::ConnectionReset);
    assert_eq!(reset, down("x:1 reset the connection during the TLS handshake"));
    let tls = |error: TlsError| told(io::Error::new(io::ErrorKind::InvalidData, error));
    assert!(matches!(tls(TlsError::FailedToGetRandomBytes), Failure::Unable(_)));
    let plain = tls(TlsError::InvalidMessage(rustls::InvalidMessage::InvalidContentType));
    assert!(
        matches!(plain, Failure::Down(text) if text.starts_with("x:1 does not speak TLS on this port: "))
    );
}

#[test]
fn authorities_that_cannot_be_read_are_named() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("ca.pem");
    let refused = || {
        let tls = Tls { mode: TlsMode::VerifyFull, ca_file: Some(path.clone()) };
        chain(&client(&tls, &[]).unwrap_err())
    };
    let shown = path.display();
    assert!(refused().starts_with(&format!("the authorities in {shown} could not be read: ")));
    std::fs::write(&path, "no certificate\n").unwrap();
    assert_eq!(refused(), format!("{shown} holds no certificate of an authority"));
}

#[test]
fn the_end_of_a_certificate_is_read_where_there_is_one() {
    let (certificate, _) = Authority::new().certificate("x", 2100);
    assert_eq!(expiry(&certificate).unwrap().to_string(), "2100-01-01T00:00:00Z");
    assert_eq!(expiry(&CertificateDer::from(vec![1, 2, 3])), None);
}

#[test]
fn times_are_told_in_days_or_hours() {
    let told = |hours: u64| lasting(Duration::from_secs(hours * 3_600));
    assert_eq!(
        [0, 1, 23, 24, 47, 48, 240].map(told),
        ["less than an hour", "1 hour", "23 hours", "1 day", "1 day", "2 days", "10 days"]
    );
}
