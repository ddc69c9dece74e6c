//! The cluster's certificate authority, certificates, service-account keys and kubeconfigs.
