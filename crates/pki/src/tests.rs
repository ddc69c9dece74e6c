use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use meta::Timestamp;

use crate::{BoundObject, Claims, KubernetesClaims, Pki, PkiError, PkiRequest, ServingNames, TokenError};

const DAY_SECS: i64 = 86_400;

fn at(day: i64) -> Timestamp {
    Timestamp::from_second(1_800_000_000 + day * DAY_SECS).unwrap()
}

fn request(addresses: &[[u8; 4]]) -> PkiRequest {
    PkiRequest {
        cluster_name: "test".to_owned(),
        serving: ServingNames {
            dns: vec!["Host.example".to_owned(), "not a name".to_owned()],
            addresses: addresses.iter().map(|a| (*a).into()).collect(),
        },
    }
}

fn open(folder: &Path, addresses: &[[u8; 4]], day: i64) -> Pki {
    Pki::open(folder, &request(addresses), at(day)).unwrap()
}

fn serving(folder: &Path) -> String {
    fs::read_to_string(folder.join("apiserver.crt")).unwrap()
}

fn claims(exp: i64) -> Claims {
    Claims {
        iss: "https://kubernetes.default.svc.cluster.local".to_owned(),
        sub: "system:serviceaccount:default:web".to_owned(),
        aud: vec!["https://kubernetes.default.svc.cluster.local".to_owned()],
        exp,
        iat: at(0).as_second(),
        nbf: at(0).as_second(),
        jti: "1".to_owned(),
        kubernetes: KubernetesClaims {
            namespace: "default".to_owned(),
            serviceaccount: BoundObject { name: "web".to_owned(), uid: "u1".to_owned() },
            pod: None,
            secret: None,
            node: None,
            warnafter: None,
        },
    }
}

#[test]
fn a_second_opening_changes_no_file() {
    let folder = tempfile::tempdir().unwrap();
    let pki = folder.path().join("pki");
    let first = open(&pki, &[[10, 1, 0, 1]], 0);
    let before = serving(&pki);
    let second = open(&pki, &[[10, 1, 0, 1]], 1);
    assert_eq!(before, serving(&pki));
    assert_eq!(first.ca_pem(), second.ca_pem());
    second.server_tls().unwrap();
}

#[test]
fn keys_can_be_read_by_their_owner_only() {
    let folder = tempfile::tempdir().unwrap();
    open(folder.path(), &[], 0);
    for file in ["ca.key", "apiserver.key", "admin.key", "sa.key"] {
        assert_eq!(fs::metadata(folder.path().join(file)).unwrap().permissions().mode() & 0o777, 0o600, "{file}");
    }
}

#[test]
fn other_addresses_give_a_new_serving_certificate_of_the_same_authority() {
    let folder = tempfile::tempdir().unwrap();
    let first = open(folder.path(), &[[10, 1, 0, 1]], 0);
    let before = serving(folder.path());
    let second = open(folder.path(), &[[10, 2, 0, 1]], 0);
    assert_ne!(before, serving(folder.path()));
    assert_eq!(first.ca_pem(), second.ca_pem());
}

#[test]
fn a_certificate_near_its_end_is_renewed_and_one_before_is_not() {
    let folder = tempfile::tempdir().unwrap();
    open(folder.path(), &[], 0);
    let before = serving(folder.path());
    open(folder.path(), &[], 304);
    assert_eq!(before, serving(folder.path()));
    open(folder.path(), &[], 306);
    assert_ne!(before, serving(folder.path()));
}

#[test]
fn a_damaged_key_is_an_error_and_stays_as_it_is() {
    let folder = tempfile::tempdir().unwrap();
    open(folder.path(), &[], 0);
    fs::write(folder.path().join("ca.key"), "rubbish").unwrap();
    let error = Pki::open(folder.path(), &request(&[]), at(0)).unwrap_err();
    assert!(matches!(error, PkiError::Damaged { .. }), "{error}");
    assert_eq!(fs::read_to_string(folder.path().join("ca.key")).unwrap(), "rubbish");
}

#[test]
fn a_certificate_of_another_authority_is_replaced() {
    let (one, two) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    open(one.path(), &[], 0);
    open(two.path(), &[], 0);
    fs::copy(two.path().join("admin.crt"), one.path().join("admin.crt")).unwrap();
    fs::copy(two.path().join("admin.key"), one.path().join("admin.key")).unwrap();
    open(one.path(), &[], 0);
    assert_ne!(
        fs::read_to_string(one.path().join("admin.crt")).unwrap(),
        fs::read_to_string(two.path().join("admin.crt")).unwrap()
    );
}

#[test]
fn a_token_says_what_was_signed_until_it_expires() {
    let folder = tempfile::tempdir().unwrap();
    let pki = open(folder.path(), &[], 0);
    let claims = claims(at(1).as_second());
    let token = pki.tokens().mint(&claims).unwrap();
    assert_eq!(pki.tokens().verify(&token, at(0)), Ok(claims));
    assert_eq!(pki.tokens().verify(&token, at(1)), Err(TokenError::Expired));
    assert_eq!(pki.tokens().verify(&token, at(-1)), Err(TokenError::NotYetValid));
}

#[test]
fn a_token_that_was_changed_or_comes_from_elsewhere_is_refused() {
    let (one, two) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let (ours, theirs) = (open(one.path(), &[], 0), open(two.path(), &[], 0));
    let token = ours.tokens().mint(&claims(at(1).as_second())).unwrap();
    assert_eq!(theirs.tokens().verify(&token, at(0)), Err(TokenError::Signature));
    let (head, rest) = token.split_once('.').unwrap();
    let (body, signature) = rest.split_once('.').unwrap();
    assert_eq!(ours.tokens().verify(&format!("{head}.{body}x.{signature}"), at(0)), Err(TokenError::Signature));
    assert_eq!(ours.tokens().verify("a.b", at(0)), Err(TokenError::Malformed));
    assert_eq!(ours.tokens().verify("", at(0)), Err(TokenError::Malformed));
}

#[test]
fn secrets_do_not_print() {
    let folder = tempfile::tempdir().unwrap();
    let config = open(folder.path(), &[], 0).admin_kubeconfig("https://127.0.0.1:6443", "demo");
    assert_eq!(format!("{config} {config:?}"), "*** ***");
    assert!(config.expose().contains("current-context: \"demo\"\n"));
    assert!(config.matches(config.expose()));
    assert!(!config.matches("x"));
}
