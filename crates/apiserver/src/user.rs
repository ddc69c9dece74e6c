//! Who is asking.

use std::collections::BTreeMap;

/// A user as authentication names it.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct User {
    /// User name.
    pub name: String,
    /// UID; empty but for service accounts.
    pub uid: String,
    /// Groups, `system:authenticated` included.
    pub groups: Vec<String>,
    /// Further facts, such as the pod that a token is bound to.
    pub extra: BTreeMap<String, Vec<String>>,
}

/// The group of everybody who showed credentials.
pub const AUTHENTICATED: &str = "system:authenticated";
/// The group of everybody else.
pub const UNAUTHENTICATED: &str = "system:unauthenticated";
/// The group of administrators.
pub const MASTERS: &str = "system:masters";

impl User {
    /// A user with the given groups and that of the authenticated.
    pub fn authenticated(name: impl Into<String>, groups: impl IntoIterator<Item = String>) -> Self {
        let mut groups: Vec<String> = groups.into_iter().collect();
        groups.push(AUTHENTICATED.to_owned());
        Self { name: name.into(), groups, ..Self::default() }
    }

    /// Somebody without credentials.
    pub fn anonymous() -> Self {
        Self { name: "system:anonymous".to_owned(), groups: vec![UNAUTHENTICATED.to_owned()], ..Self::default() }
    }

    /// A part of Roadstead itself; service accounts get their groups by their name.
    pub fn component(name: &str) -> Self {
        let mut groups = Vec::new();
        if let Some((namespace, _)) = name.strip_prefix("system:serviceaccount:").and_then(|rest| rest.split_once(':'))
        {
            groups = service_account_groups(namespace);
        } else if name.starts_with("system:node:") {
            groups.push("system:nodes".to_owned());
        }
        Self::authenticated(name, groups)
    }

    /// Whether the user showed credentials; until there is RBAC, such a user is an administrator.
    pub fn is_authenticated(&self) -> bool {
        self.groups.iter().any(|group| group == AUTHENTICATED)
    }
}

/// The groups of a service account, without that of the authenticated.
pub fn service_account_groups(namespace: &str) -> Vec<String> {
    vec!["system:serviceaccounts".to_owned(), format!("system:serviceaccounts:{namespace}")]
}
