//! Certificates of the tests' own authorities.

use std::path::{Path, PathBuf};

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair, date_time_ymd};

/// An authority that may sign for anybody.
pub(crate) struct Authority(CertifiedIssuer<'static, KeyPair>);

impl Authority {
    pub(crate) fn new(name: &str) -> Self {
        let mut params = CertificateParams::new(Vec::new()).expect("no name is a good list");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.distinguished_name.push(DnType::CommonName, name);
        let key = KeyPair::generate().expect("there is chance");
        Self(CertifiedIssuer::self_signed(params, key).expect("the parameters are good"))
    }

    /// Writes its own certificate.
    pub(crate) fn write(&self, folder: &Path) -> PathBuf {
        let path = folder.join("authority.pem");
        std::fs::write(&path, self.0.pem()).expect("the folder is there");
        path
    }

    /// Writes a certificate for a server of that name, and its key: `NAME.pem` and `NAME.key`.
    pub(crate) fn sign(
        &self,
        folder: &Path,
        file: &str,
        server: &str,
        years: (i32, i32),
    ) -> (PathBuf, PathBuf) {
        let mut params = CertificateParams::new(vec![server.to_owned()]).expect("it is a name");
        params.not_before = date_time_ymd(years.0, 1, 1);
        params.not_after = date_time_ymd(years.1, 1, 1);
        let key = KeyPair::generate().expect("there is chance");
        let signed = params.signed_by(&key, &self.0).expect("the parameters are good");
        let (certificate, key_file) =
            (folder.join(format!("{file}.pem")), folder.join(format!("{file}.key")));
        std::fs::write(&certificate, signed.pem()).expect("the folder is there");
        std::fs::write(&key_file, key.serialize_pem()).expect("the folder is there");
        (certificate, key_file)
    }
}
