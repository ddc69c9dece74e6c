//! The API server: HTTP, TLS, authentication, watch, streaming; and the in-process client.
