//! The certificate authority and what it issues.

use std::net::IpAddr;
use std::path::Path;
use std::sync::Arc;

use meta::Timestamp;
use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose, SanType,
};
use rustls::RootCertStore;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use time::{Duration, OffsetDateTime};
use x509_parser::extensions::GeneralName;
use x509_parser::prelude::{FromDer as _, X509Certificate};

use crate::files::{Folder, PUBLIC_MODE, PkiError, SECRET_MODE};
use crate::kubeconfig::{KubeconfigParts, kubeconfig};
use crate::{Secret, TokenKey};

/// Life of the certificate authority.
const CA_LIFE: Duration = Duration::days(3650);
/// Life of every other certificate.
const LEAF_LIFE: Duration = Duration::days(365);
/// A certificate with less life than this is issued anew at the next start.
const RENEWAL_MARGIN: Duration = Duration::days(60);
/// A certificate begins to be valid this long before it is made, for clocks that are behind.
const BACKDATE: Duration = Duration::hours(1);

/// The names and addresses that the serving certificate must cover, beyond those that every cluster has.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct ServingNames {
    /// DNS names, for example the host's.
    pub dns: Vec<String>,
    /// Addresses, for example the gateway's and the first one of the service range.
    pub addresses: Vec<IpAddr>,
}

/// What the PKI folder must hold.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct PkiRequest {
    /// Name of the cluster, for the authority's common name.
    pub cluster_name: String,
    /// What the serving certificate must cover.
    pub serving: ServingNames,
}

/// The cluster's keys and certificates, read from `<data>/pki`.
#[derive(Debug)]
pub struct Pki {
    ca_pem: String,
    serving: CertifiedKey,
    admin: CertifiedKey,
    tokens: TokenKey,
}

#[derive(Debug)]
struct CertifiedKey {
    certificate_pem: String,
    key_pem: Secret,
}

impl Pki {
    /// Opens the folder, makes what is missing, and issues anew what is near its end or covers other names.
    ///
    /// # Errors
    /// [`PkiError`] if the folder cannot be read or written, or holds something damaged: a key is never replaced
    /// silently, because every kubeconfig and token depends on it.
    pub fn open(folder: &Path, request: &PkiRequest, now: Timestamp) -> Result<Self, PkiError> {
        let folder = Folder::open(folder)?;
        let now = offset(now);
        let authority = Authority::open(&folder, &request.cluster_name, now)?;
        let serving = authority.leaf(&folder, &serving_leaf(&request.serving), now)?;
        let admin = authority.leaf(&folder, &admin_leaf(), now)?;
        let pair = key_pair(&folder, "sa.key")?;
        let tokens = TokenKey::new(&pair).map_err(|why| PkiError::Damaged {
            path: folder.path("sa.key"),
            what: "service-account key",
            why,
        })?;
        Ok(Self { ca_pem: authority.pem, serving, admin, tokens })
    }

    /// The authority's certificate: what clients and pods must trust.
    pub fn ca_pem(&self) -> &str {
        &self.ca_pem
    }

    /// The key of service-account tokens.
    pub fn tokens(&self) -> &TokenKey {
        &self.tokens
    }

    /// A kubeconfig of the administrator (`system:masters`) for the server at `server`.
    pub fn admin_kubeconfig(&self, server: &str, name: &str) -> Secret {
        kubeconfig(&KubeconfigParts {
            server,
            name,
            ca_pem: &self.ca_pem,
            certificate_pem: &self.admin.certificate_pem,
            key_pem: self.admin.key_pem.expose(),
        })
    }

    /// The TLS settings of the API server: HTTP/2 and HTTP/1.1 by ALPN, client certificates of our authority optional
    /// (D-1, A-2).
    ///
    /// # Errors
    /// [`PkiError::Tls`] if the library refuses the certificates.
    pub fn server_tls(&self) -> Result<Arc<rustls::ServerConfig>, PkiError> {
        let tls = |error: &dyn std::fmt::Display| PkiError::Tls(error.to_string());
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let ca = CertificateDer::from_pem_slice(self.ca_pem.as_bytes()).map_err(|e| tls(&e))?;
        let mut roots = RootCertStore::empty();
        roots.add(ca).map_err(|e| tls(&e))?;
        let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider.clone())
            .allow_unauthenticated()
            .build()
            .map_err(|e| tls(&e))?;
        let chain = vec![CertificateDer::from_pem_slice(self.serving.certificate_pem.as_bytes()).map_err(|e| tls(&e))?];
        let key = PrivateKeyDer::from_pem_slice(self.serving.key_pem.expose().as_bytes()).map_err(|e| tls(&e))?;
        let mut config = rustls::ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(|e| tls(&e))?
            .with_client_cert_verifier(verifier)
            .with_single_cert(chain, key)
            .map_err(|e| tls(&e))?;
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        Ok(Arc::new(config))
    }
}

/// A certificate that the authority issues: where it lies and what it says.
struct Leaf {
    file: &'static str,
    what: &'static str,
    common_name: &'static str,
    organization: Option<&'static str>,
    usage: ExtendedKeyUsagePurpose,
    names: Vec<SanType>,
}

fn serving_leaf(request: &ServingNames) -> Leaf {
    let own = ["localhost", "kubernetes", "kubernetes.default", "kubernetes.default.svc"];
    let mut dns: Vec<String> = own.map(str::to_owned).to_vec();
    dns.push("kubernetes.default.svc.cluster.local".to_owned());
    dns.extend(request.dns.iter().map(|name| name.to_ascii_lowercase()));
    dns.sort();
    dns.dedup();
    let mut addresses = vec![IpAddr::from([127, 0, 0, 1])];
    addresses.extend(&request.addresses);
    addresses.sort();
    addresses.dedup();
    // A host name that is no legal DNS name is left out; the server is then reached by its addresses.
    let names = dns.into_iter().filter_map(|name| Some(SanType::DnsName(name.try_into().ok()?)));
    Leaf {
        file: "apiserver",
        what: "API server's",
        common_name: "kube-apiserver",
        organization: None,
        usage: ExtendedKeyUsagePurpose::ServerAuth,
        names: names.chain(addresses.into_iter().map(SanType::IpAddress)).collect(),
    }
}

fn admin_leaf() -> Leaf {
    Leaf {
        file: "admin",
        what: "administrator's",
        common_name: "kubernetes-admin",
        organization: Some("system:masters"),
        usage: ExtendedKeyUsagePurpose::ClientAuth,
        names: Vec::new(),
    }
}

struct Authority {
    pem: String,
    issuer: Issuer<'static, KeyPair>,
}

impl Authority {
    fn open(folder: &Folder, cluster_name: &str, now: OffsetDateTime) -> Result<Self, PkiError> {
        let issue = |source| PkiError::Issue { what: "authority's", source };
        let pair = key_pair(folder, "ca.key")?;
        let Some(pem) = folder.read("ca.crt")? else {
            let params = ca_params(&format!("roadstead-{cluster_name}"), now);
            let pem = params.self_signed(&pair).map_err(issue)?.pem();
            folder.write("ca.crt", &pem, PUBLIC_MODE)?;
            return Ok(Self { pem, issuer: Issuer::new(params, pair) });
        };
        // The issuer only needs the subject; it is taken from the file, so that a renamed cluster keeps its authority.
        let subject = parse(&pem, |certificate| {
            certificate.subject().iter_common_name().next().and_then(|name| name.as_str().ok()).map(str::to_owned)
        });
        let damaged =
            |why: String| PkiError::Damaged { path: folder.path("ca.crt"), what: "authority certificate", why };
        let subject = subject.map_err(damaged)?.ok_or_else(|| damaged("it has no common name".to_owned()))?;
        Ok(Self { pem, issuer: Issuer::new(ca_params(&subject, now), pair) })
    }

    /// The leaf from its files if it is still good, else a new one.
    fn leaf(&self, folder: &Folder, leaf: &Leaf, now: OffsetDateTime) -> Result<CertifiedKey, PkiError> {
        let (key_file, certificate_file) = (format!("{}.key", leaf.file), format!("{}.crt", leaf.file));
        let pair = key_pair(folder, &key_file)?;
        let key_pem = Secret::new(pair.serialize_pem());
        if let Some(certificate_pem) = folder.read(&certificate_file)?
            && self.still_good(&certificate_pem, &pair, leaf, now)
        {
            return Ok(CertifiedKey { certificate_pem, key_pem });
        }
        let mut params = CertificateParams::default();
        params.distinguished_name = DistinguishedName::new();
        params.distinguished_name.push(DnType::CommonName, leaf.common_name);
        if let Some(organization) = leaf.organization {
            params.distinguished_name.push(DnType::OrganizationName, organization);
        }
        params.subject_alt_names = leaf.names.clone();
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature, KeyUsagePurpose::KeyEncipherment];
        params.extended_key_usages = vec![leaf.usage.clone()];
        params.use_authority_key_identifier_extension = true;
        params.not_before = now - BACKDATE;
        params.not_after = now + LEAF_LIFE;
        let issued = params.signed_by(&pair, &self.issuer);
        let certificate_pem = issued.map_err(|source| PkiError::Issue { what: leaf.what, source })?.pem();
        folder.write(&certificate_file, &certificate_pem, PUBLIC_MODE)?;
        Ok(CertifiedKey { certificate_pem, key_pem })
    }

    fn still_good(&self, pem: &str, pair: &KeyPair, leaf: &Leaf, now: OffsetDateTime) -> bool {
        let good = parse(pem, |certificate| {
            let ours = parse(&self.pem, |ca| certificate.verify_signature(Some(ca.public_key())).is_ok());
            let mut names: Vec<String> = certificate
                .subject_alternative_name()
                .ok()
                .flatten()
                .map(|extension| extension.value.general_names.iter().map(general_name).collect())
                .unwrap_or_default();
            let mut wanted: Vec<String> = leaf.names.iter().map(san_name).collect();
            names.sort();
            wanted.sort();
            ours == Ok(true)
                && names == wanted
                && certificate.public_key().subject_public_key.data.as_ref() == pair.public_key_raw()
                && certificate.validity().not_after.to_datetime() > now + RENEWAL_MARGIN
                && certificate.validity().not_before.to_datetime() <= now
        });
        good == Ok(true)
    }
}

fn ca_params(common_name: &str, now: OffsetDateTime) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, common_name);
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign, KeyUsagePurpose::DigitalSignature];
    params.not_before = now - BACKDATE;
    params.not_after = now + CA_LIFE;
    params
}

/// The P-256 key in a file, made if there is none.
fn key_pair(folder: &Folder, file: &str) -> Result<KeyPair, PkiError> {
    if let Some(pem) = folder.read(file)? {
        return KeyPair::from_pem(&pem).map_err(|error| PkiError::Damaged {
            path: folder.path(file),
            what: "private key",
            why: error.to_string(),
        });
    }
    let pair = KeyPair::generate().map_err(|source| PkiError::Issue { what: "new key's", source })?;
    folder.write(file, &pair.serialize_pem(), SECRET_MODE)?;
    Ok(pair)
}

/// Reads a PEM certificate and asks it something.
fn parse<T>(pem: &str, ask: impl FnOnce(&X509Certificate<'_>) -> T) -> Result<T, String> {
    let der = CertificateDer::from_pem_slice(pem.as_bytes()).map_err(|error| error.to_string())?;
    let (_, certificate) = X509Certificate::from_der(&der).map_err(|error| error.to_string())?;
    Ok(ask(&certificate))
}

fn general_name(name: &GeneralName<'_>) -> String {
    match name {
        GeneralName::DNSName(dns) => format!("DNS {dns}"),
        GeneralName::IPAddress(bytes) => match (<[u8; 4]>::try_from(*bytes), <[u8; 16]>::try_from(*bytes)) {
            (Ok(v4), _) => format!("IP {}", IpAddr::from(v4)),
            (_, Ok(v6)) => format!("IP {}", IpAddr::from(v6)),
            _ => "IP of odd length".to_owned(),
        },
        other => format!("{other:?}"),
    }
}

fn san_name(name: &SanType) -> String {
    match name {
        SanType::DnsName(dns) => format!("DNS {}", dns.as_str()),
        SanType::IpAddress(address) => format!("IP {address}"),
        other => format!("{other:?}"),
    }
}

fn offset(at: Timestamp) -> OffsetDateTime {
    // jiff's range lies within that of `time`, whose `large-dates` feature is not needed for it.
    OffsetDateTime::from_unix_timestamp(at.as_second()).unwrap_or(OffsetDateTime::UNIX_EPOCH)
}
