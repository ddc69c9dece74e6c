//! Service-account tokens: JSON web tokens signed with ES256.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use meta::Timestamp;
use rcgen::KeyPair;
use ring::digest::{SHA256, digest};
use ring::rand::SystemRandom;
use ring::signature::{ECDSA_P256_SHA256_FIXED, ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, UnparsedPublicKey};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

/// Seconds by which a token may be from the future, for clocks that were set back.
const CLOCK_SKEW_SECS: i64 = 60;

/// The object that a token is bound to; it dies with it.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct BoundObject {
    /// Its name.
    pub name: String,
    /// Its UID.
    pub uid: String,
}

/// The private claim `kubernetes.io`.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct KubernetesClaims {
    /// Namespace of the service account.
    pub namespace: String,
    /// The service account.
    pub serviceaccount: BoundObject,
    /// The pod that the token is bound to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pod: Option<BoundObject>,
    /// The secret that the token is bound to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secret: Option<BoundObject>,
    /// The node of the pod, or the node that the token is bound to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub node: Option<BoundObject>,
    /// Seconds since 1970 after which the user should be warned.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub warnafter: Option<i64>,
}

/// What a service-account token says.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Claims {
    /// Who issued it.
    pub iss: String,
    /// `system:serviceaccount:<namespace>:<name>`.
    pub sub: String,
    /// For whom it is meant.
    pub aud: Vec<String>,
    /// End of life, in seconds since 1970.
    pub exp: i64,
    /// Issue time, in seconds since 1970.
    pub iat: i64,
    /// Begin of life, in seconds since 1970.
    pub nbf: i64,
    /// Id of this token.
    pub jti: String,
    /// What it is bound to.
    #[serde(rename = "kubernetes.io")]
    pub kubernetes: KubernetesClaims,
}

/// Why a token is refused.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum TokenError {
    /// Not a token of ours in shape.
    #[error("not a service-account token")]
    Malformed,
    /// Signed by somebody else, or changed.
    #[error("token signature does not verify")]
    Signature,
    /// Past its end.
    #[error("token has expired")]
    Expired,
    /// Not valid yet.
    #[error("token is not valid yet")]
    NotYetValid,
    /// The key cannot sign.
    #[error("sign a token")]
    Sign,
}

/// The key that signs and checks service-account tokens.
pub struct TokenKey {
    pair: EcdsaKeyPair,
    /// The uncompressed public point: 4, x, y.
    public: Vec<u8>,
    key_id: String,
    random: SystemRandom,
}

impl std::fmt::Debug for TokenKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("TokenKey").field("key_id", &self.key_id).finish_non_exhaustive()
    }
}

impl TokenKey {
    /// The signer of a P-256 key pair; the reason as text if the pair is of another kind.
    pub(crate) fn new(pair: &KeyPair) -> Result<Self, String> {
        let random = SystemRandom::new();
        let signer = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, pair.serialized_der(), &random)
            .map_err(|rejected| rejected.to_string())?;
        let public = pair.public_key_raw().to_vec();
        let key_id = URL_SAFE_NO_PAD.encode(digest(&SHA256, &public));
        Ok(Self { pair: signer, public, key_id, random })
    }

    /// The signed token that says `claims`.
    ///
    /// # Errors
    /// [`TokenError::Sign`] if there is no randomness.
    pub fn mint(&self, claims: &Claims) -> Result<String, TokenError> {
        let header = json!({"alg": "ES256", "kid": self.key_id, "typ": "JWT"});
        let body = serde_json::to_vec(claims).map_err(|_| TokenError::Sign)?;
        let mut token = URL_SAFE_NO_PAD.encode(header.to_string());
        token.push('.');
        URL_SAFE_NO_PAD.encode_string(body, &mut token);
        let signature = self.pair.sign(&self.random, token.as_bytes()).map_err(|_| TokenError::Sign)?;
        token.push('.');
        URL_SAFE_NO_PAD.encode_string(signature, &mut token);
        Ok(token)
    }

    /// The claims of a token that we signed and that is alive at `now`; whether its objects still are is not asked.
    ///
    /// # Errors
    /// [`TokenError`], one variant for each thing that can be wrong.
    pub fn verify(&self, token: &str, now: Timestamp) -> Result<Claims, TokenError> {
        let (signed, signature) = token.rsplit_once('.').ok_or(TokenError::Malformed)?;
        let (header, body) = signed.split_once('.').ok_or(TokenError::Malformed)?;
        let decode = |part: &str| URL_SAFE_NO_PAD.decode(part).map_err(|_| TokenError::Malformed);
        let header: Value = serde_json::from_slice(&decode(header)?).map_err(|_| TokenError::Malformed)?;
        if header["alg"] != "ES256" {
            return Err(TokenError::Malformed);
        }
        UnparsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, &self.public)
            .verify(signed.as_bytes(), &decode(signature)?)
            .map_err(|_| TokenError::Signature)?;
        let claims: Claims = serde_json::from_slice(&decode(body)?).map_err(|_| TokenError::Malformed)?;
        let now = now.as_second();
        if claims.exp <= now {
            return Err(TokenError::Expired);
        }
        if claims.nbf > now + CLOCK_SKEW_SECS {
            return Err(TokenError::NotYetValid);
        }
        Ok(claims)
    }

    /// The public key as a JSON web key set, for third parties that check tokens (D-44).
    pub fn jwks(&self) -> Value {
        let coordinates = &self.public[1..];
        let (x, y) = coordinates.split_at(coordinates.len() / 2);
        json!({"keys": [{
            "use": "sig", "kty": "EC", "kid": self.key_id, "alg": "ES256", "crv": "P-256",
            "x": URL_SAFE_NO_PAD.encode(x), "y": URL_SAFE_NO_PAD.encode(y),
        }]})
    }
}
