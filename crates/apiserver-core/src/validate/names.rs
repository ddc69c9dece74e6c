//! The rules for names, labels and keys, with upstream's sentences (V-16, V-17).

/// Longest DNS label.
pub const LABEL_LEN_MAX: usize = 63;
/// Longest DNS name.
pub const SUBDOMAIN_LEN_MAX: usize = 253;

const LABEL_RULE: &str = "a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and \
    must start and end with an alphanumeric character (e.g. 'my-name',  or '123-abc', regex used for validation is \
    '[a-z0-9]([-a-z0-9]*[a-z0-9])?')";
const SUBDOMAIN_RULE: &str = "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' \
    or '.', and must start and end with an alphanumeric character (e.g. 'example.com', regex used for validation is \
    '[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')";
const LABEL_1035_RULE: &str = "a DNS-1035 label must consist of lower case alphanumeric characters or '-', start with \
    an alphabetic character, and end with an alphanumeric character (e.g. 'my-name',  or 'abc-123', regex used for \
    validation is '[a-z]([-a-z0-9]*[a-z0-9])?')";
const WILDCARD_RULE: &str = "a wildcard DNS-1123 subdomain must start with '*.', followed by a valid DNS subdomain, \
    which must consist of lower case alphanumeric characters, '-' or '.' and end with an alphanumeric character (e.g. \
    '*.example.com', regex used for validation is \
    '\\*\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')";
const CONFIG_KEY_RULE: &str = "a valid config key must consist of alphanumeric characters, '-', '_' or '.' (e.g. \
    'key.name',  or 'KEY_NAME',  or 'key-name', regex used for validation is '[-._a-zA-Z0-9]+')";
const ENV_NAME_RULE: &str =
    "a valid environment variable name must consist only of printable ASCII characters other than '='";
const HEADER_RULE: &str = "a valid HTTP header must consist of alphanumeric characters or '-' (e.g. 'X-Header-Name', \
    regex used for validation is '[-A-Za-z0-9]+')";

/// A rule for names: the sentences that a name breaks, none if it is fine.
pub type NameRule = fn(&str) -> Vec<String>;

/// "must be no more than N bytes".
pub fn too_long(max: usize) -> String {
    format!("must be no more than {max} bytes")
}

/// "must be between A and B, inclusive".
pub fn out_of_range(min: i64, max: i64) -> String {
    format!("must be between {min} and {max}, inclusive")
}

fn is_lower_alnum(byte: u8) -> bool {
    byte.is_ascii_lowercase() || byte.is_ascii_digit()
}

fn is_label(text: &str) -> bool {
    let bytes = text.as_bytes();
    matches!((bytes.first(), bytes.last()), (Some(&first), Some(&last)) if is_lower_alnum(first) && is_lower_alnum(last))
        && bytes.iter().all(|&byte| is_lower_alnum(byte) || byte == b'-')
}

fn collect(problems: impl IntoIterator<Item = (bool, String)>) -> Vec<String> {
    problems.into_iter().filter_map(|(broken, text)| broken.then_some(text)).collect()
}

/// RFC 1123 label: at most 63 of `[a-z0-9-]`.
pub fn dns_label(name: &str) -> Vec<String> {
    if name.len() <= LABEL_LEN_MAX && is_label(name) {
        return Vec::new();
    }
    collect([(name.len() > LABEL_LEN_MAX, too_long(LABEL_LEN_MAX)), (!is_label(name), LABEL_RULE.to_owned())])
}

/// RFC 1123 subdomain: labels with dots between, at most 253.
pub fn dns_subdomain(name: &str) -> Vec<String> {
    let fits = name.split('.').all(is_label);
    if fits && name.len() <= SUBDOMAIN_LEN_MAX {
        return Vec::new();
    }
    collect([(name.len() > SUBDOMAIN_LEN_MAX, too_long(SUBDOMAIN_LEN_MAX)), (!fits, SUBDOMAIN_RULE.to_owned())])
}

/// RFC 1035 label, the rule for services: as [`dns_label`], but begins with a letter.
pub fn dns_1035_label(name: &str) -> Vec<String> {
    let fits = is_label(name) && !name.starts_with(|c: char| c.is_ascii_digit());
    collect([(name.len() > LABEL_LEN_MAX, too_long(LABEL_LEN_MAX)), (!fits, LABEL_1035_RULE.to_owned())])
}

/// Anything that can be one segment of a path.
pub fn path_segment(name: &str) -> Vec<String> {
    if name == "." || name == ".." {
        return vec![format!("may not be '{name}'")];
    }
    let contains = |c: char| (name.contains(c), format!("may not contain '{c}'"));
    collect([contains('/'), contains('%')])
}

/// Key of a label, a finalizer, a resource: `[prefix/]name`.
pub fn qualified_name(name: &str) -> Vec<String> {
    meta::selector::qualified_name_problems(name)
}

/// Value of a label: at most 63, may be empty.
pub fn label_value(value: &str) -> Vec<String> {
    meta::selector::label_value_problems(value)
}

/// Key of a config map or secret (K-29).
pub fn config_key(key: &str) -> Vec<String> {
    let fits = !key.is_empty() && key.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-._".contains(&byte));
    let mut problems =
        collect([(key.len() > SUBDOMAIN_LEN_MAX, too_long(SUBDOMAIN_LEN_MAX)), (!fits, CONFIG_KEY_RULE.to_owned())]);
    if key == "." || key == ".." {
        problems.push(format!("must not be '{key}'"));
    } else if key.starts_with("..") {
        problems.push("must not start with '..'".to_owned());
    }
    problems
}

/// Name of an environment variable: since 1.34 all printable ASCII, spaces too, but no `=`.
pub fn env_name(name: &str) -> Vec<String> {
    let fits = name.bytes().all(|byte| (b' '..=b'~').contains(&byte) && byte != b'=');
    collect([
        (name.is_empty(), "environment variable name must be non-empty".to_owned()),
        (!fits, ENV_NAME_RULE.to_owned()),
    ])
}

/// Name of an HTTP header.
pub fn http_header(name: &str) -> Vec<String> {
    let fits = !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-');
    collect([(!fits, HEADER_RULE.to_owned())])
}

/// Name of a port: at most 15 of `[a-z0-9-]`, with a letter.
pub fn port_name(name: &str) -> Vec<String> {
    let charset = !name.is_empty() && name.bytes().all(|byte| is_lower_alnum(byte) || byte == b'-');
    let has_letter = name.bytes().any(|byte| byte.is_ascii_lowercase());
    collect([
        (name.len() > 15, too_long(15)),
        (!charset, "must contain only alpha-numeric characters (a-z, 0-9), and hyphens (-)".to_owned()),
        (!has_letter, "must contain at least one letter (a-z)".to_owned()),
        (name.contains("--"), "must not contain consecutive hyphens".to_owned()),
        (name.starts_with('-') || name.ends_with('-'), "must not begin or end with a hyphen".to_owned()),
    ])
}

/// Number of a port: 1 to 65535.
pub fn port_number(port: i64) -> Option<String> {
    (!(1..=65535).contains(&port)).then(|| out_of_range(1, 65535))
}

/// Number of a user or group: 0 to 2^31-1.
pub fn user_id(id: i64) -> Option<String> {
    (!(0..=i64::from(i32::MAX)).contains(&id)).then(|| out_of_range(0, i32::MAX.into()))
}

/// `N%`.
pub fn percent(text: &str) -> Vec<String> {
    let fits = text.strip_suffix('%').is_some_and(|n| !n.is_empty() && n.bytes().all(|b| b.is_ascii_digit()));
    let rule = "a valid percent string must be a numeric string followed by an ending '%' (e.g. '1%',  or '93%', regex \
                used for validation is '[0-9]+%')";
    collect([(!fits, rule.to_owned())])
}

/// A name with `*` as its first part.
pub fn wildcard_subdomain(name: &str) -> Vec<String> {
    let fits = name.strip_prefix("*.").is_some_and(|rest| rest.split('.').all(is_label));
    collect([(name.len() > SUBDOMAIN_LEN_MAX, too_long(SUBDOMAIN_LEN_MAX)), (!fits, WILDCARD_RULE.to_owned())])
}

/// A range of addresses, such as `10.9.8.0/24`.
pub fn address_range(text: &str) -> Vec<String> {
    let len_max = |address: std::net::IpAddr| if address.is_ipv4() { 32 } else { 128 };
    let fits = text.split_once('/').is_some_and(|(address, len)| {
        address.parse().is_ok_and(|address| len.parse::<u8>().is_ok_and(|len| len <= len_max(address)))
    });
    collect([(!fits, "must be a valid CIDR value, (e.g. 10.9.8.0/24 or 2001:db8::/64)".to_owned())])
}

/// An address, version 4 or 6.
pub fn ip_address(text: &str) -> Vec<String> {
    let fits = text.parse::<std::net::IpAddr>().is_ok();
    collect([(!fits, "must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)".to_owned())])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(rule: NameRule, good: &[&str], bad: &[&str]) {
        for name in good {
            assert_eq!(rule(name), Vec::<String>::new(), "{name:?}");
        }
        for name in bad {
            assert!(!rule(name).is_empty(), "{name:?} must be refused");
        }
    }

    #[test]
    fn names_at_below_and_above_their_limits() {
        let (a62, a63, a64) = ("a".repeat(62), "a".repeat(63), "a".repeat(64));
        let (s253, s254) = (format!("{}a", "a.".repeat(126)), format!("{}ab", "a.".repeat(126)));
        check(dns_label, &["a", "0", "a-b", &a62, &a63], &["", "-a", "a-", "a.b", "A", "a_b", "é", &a64]);
        check(dns_subdomain, &["a", "a.b", "0.1", &a64, &s253], &["", "a..b", ".a", "a.", "a.-b", "A.b", &s254]);
        check(dns_1035_label, &["a", "a0", &a63], &["", "0a", "a.b", &a64]);
        check(qualified_name, &["a", "A_b.c", "x.y/z", &a63], &["", "/a", "a/", "a/b/c", "X.y/z", "-a", &a64]);
        check(label_value, &["", "a", "A_b.c-d", &a63], &["-", "a b", "a/b", &a64]);
        check(config_key, &["a", "A.b_c-d", ".a", &s253], &["", ".", "..", "..a", "a b", "a/b", &s254]);
        check(env_name, &["A", "MYSQL ROOT PASSWORD", "a.b-c", "1"], &["", "A=B", "é", "a\tb"]);
        check(port_name, &["http", "a", "a-1", &"a".repeat(15)], &["", "80", "a--b", "-a", "a-", "A", &"a".repeat(16)]);
        check(path_segment, &["a:b", "A B"], &[".", "..", "a/b", "a%b"]);
        check(percent, &["0%", "100%"], &["%", "1", "-1%", "1.5%"]);
    }

    #[test]
    fn numbers_at_below_and_above_their_limits() {
        for (port, good) in [(0, false), (1, true), (65535, true), (65536, false)] {
            assert_eq!(port_number(port).is_none(), good, "{port}");
        }
        for (id, good) in [(-1, false), (0, true), (2_147_483_647, true), (2_147_483_648, false)] {
            assert_eq!(user_id(id).is_none(), good, "{id}");
        }
    }
}
