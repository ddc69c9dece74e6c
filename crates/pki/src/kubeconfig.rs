//! The kubeconfig text.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::json;

use crate::Secret;

/// What a kubeconfig is made of.
pub(crate) struct KubeconfigParts<'a> {
    pub(crate) server: &'a str,
    pub(crate) name: &'a str,
    pub(crate) ca_pem: &'a str,
    pub(crate) certificate_pem: &'a str,
    pub(crate) key_pem: &'a str,
}

/// A kubeconfig with one cluster, one user and one context, all called `name`.
pub(crate) fn kubeconfig(parts: &KubeconfigParts<'_>) -> Secret {
    let quoted = |text: &str| json!(text).to_string();
    let encoded = |pem: &str| STANDARD.encode(pem);
    let (name, server) = (quoted(parts.name), quoted(parts.server));
    Secret::new(format!(
        "apiVersion: v1\n\
         kind: Config\n\
         clusters:\n\
         - name: {name}\n\
         \x20 cluster:\n\
         \x20   server: {server}\n\
         \x20   certificate-authority-data: {ca}\n\
         users:\n\
         - name: {name}\n\
         \x20 user:\n\
         \x20   client-certificate-data: {certificate}\n\
         \x20   client-key-data: {key}\n\
         contexts:\n\
         - name: {name}\n\
         \x20 context:\n\
         \x20   cluster: {name}\n\
         \x20   user: {name}\n\
         current-context: {name}\n",
        ca = encoded(parts.ca_pem),
        certificate = encoded(parts.certificate_pem),
        key = encoded(parts.key_pem),
    ))
}
