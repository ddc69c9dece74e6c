//! The cluster's certificate authority, certificates, service-account keys and kubeconfigs.
//!
//! Here live the files under `<data>/pki`: they are made at first start, read afterwards, and issued anew when they
//! near their end or when the names that the server answers to change. Who a certificate or token belongs to is
//! decided in `apiserver`, not here. Start with [`Pki`].

mod authority;
mod files;
mod kubeconfig;
mod secret;
mod token;

pub use authority::{Pki, PkiRequest, ServingNames};
pub use files::PkiError;
pub use secret::Secret;
pub use token::{BoundObject, Claims, KubernetesClaims, TokenError, TokenKey};

#[cfg(test)]
mod tests;
