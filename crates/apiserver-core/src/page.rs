//! Paging: continue tokens and what is left (V-66 to V-68).

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use meta::{Reason, ResourceVersion, Status};
use serde::{Deserialize, Serialize};

const TOKEN_VERSION: &str = "meta.k8s.io/v1";
/// The revision of a token that goes on from whatever there is now.
const INCONSISTENT: i64 = -1;

/// Where the next page begins and of which snapshot.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ContinueToken {
    /// The snapshot of all pages; `None` goes on from the latest state (V-66).
    pub revision: Option<ResourceVersion>,
    /// First key of the page, relative to the collection's prefix.
    pub start: String,
}

#[derive(Serialize, Deserialize)]
struct Wire {
    #[serde(default)]
    v: String,
    #[serde(default)]
    rv: i64,
    #[serde(default)]
    start: String,
}

impl ContinueToken {
    /// The opaque text for clients.
    pub fn encode(&self) -> String {
        let rv = self.revision.map_or(INCONSISTENT, |revision| i64::try_from(revision.0).unwrap_or(i64::MAX));
        let wire = Wire { v: TOKEN_VERSION.to_owned(), rv, start: self.start.clone() };
        URL_SAFE_NO_PAD.encode(serde_json::to_vec(&wire).unwrap_or_default())
    }

    /// Reads a token that a client sent.
    ///
    /// # Errors
    /// 400 with upstream's text.
    pub fn decode(token: &str) -> Result<Self, Status> {
        let invalid =
            |why: String| Status::bad_request(format!("invalid continue token: continue key is not valid: {why}"));
        let bytes = URL_SAFE_NO_PAD.decode(token).map_err(|error| invalid(error.to_string()))?;
        let wire: Wire = serde_json::from_slice(&bytes).map_err(|error| invalid(error.to_string()))?;
        if wire.v != TOKEN_VERSION {
            return Err(invalid(format!("server does not recognize this encoded version {:?}", wire.v)));
        }
        let revision = match wire.rv {
            INCONSISTENT => None,
            rv if rv > 0 => Some(ResourceVersion(rv.unsigned_abs())),
            _ => return Err(invalid(format!("incorrect encoded start resourceVersion (version {TOKEN_VERSION})"))),
        };
        if wire.start.is_empty() {
            return Err(invalid(format!("encoded start key empty (version {TOKEN_VERSION})")));
        }
        let leaves_the_collection =
            wire.start.trim_start_matches('/').split('/').any(|part| matches!(part, "." | "..") || part.is_empty());
        if leaves_the_collection {
            return Err(invalid(wire.start));
        }
        Ok(Self { revision, start: wire.start })
    }

    /// 410 for a token whose snapshot is gone, with a fresh token that goes on without it (V-66).
    pub fn expired(&self) -> Status {
        let text = "The provided continue parameter is too old to display a consistent list result. You can start a \
            new list without the continue parameter, or use the continue token in this response to retrieve the \
            remainder of the results. Continuing with the provided token results in an inconsistent list - objects \
            that were created, modified, or deleted between the time the first chunk was returned and now may show up \
            in the list.";
        let mut status = Status::new(Reason::Expired, text);
        status.continue_token = Some(Self { revision: None, start: self.start.clone() }.encode());
        status
    }
}

/// One page.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Page<T> {
    /// The matches on it.
    pub items: Vec<T>,
    /// First key of the next page, if there is one.
    pub next: Option<String>,
    /// Matches after this page; known only without selectors, and only if there are any (V-67).
    pub remaining: Option<u64>,
}

/// Cuts a page of at most `limit` matches (0: all) out of items in key order, beginning where the page begins.
///
/// Says that there is a next page only if there is a match for it. With `matches` `None` everything matches, and what
/// remains is counted.
pub fn cut<'a, T>(
    sorted: impl Iterator<Item = (&'a str, T)>,
    limit: usize,
    mut matches: Option<impl FnMut(&T) -> bool>,
) -> Page<T> {
    let mut page = Page { items: Vec::new(), next: None, remaining: None };
    let mut last_key = "";
    let mut sorted = sorted;
    while let Some((key, item)) = sorted.next() {
        if matches.as_mut().is_some_and(|matches| !matches(&item)) {
            continue;
        }
        if limit > 0 && page.items.len() == limit {
            page.next = Some(format!("{last_key}\0"));
            page.remaining = matches.is_none().then(|| 1 + sorted.count() as u64);
            break;
        }
        page.items.push(item);
        last_key = key;
    }
    page
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEYS: [&str; 5] = ["a", "b", "c", "d", "e"];

    fn page(from: &str, limit: usize, skip: &'static str) -> Page<&'static str> {
        let sorted = KEYS.into_iter().filter(|key| *key >= from).map(|key| (key, key));
        match skip {
            "" => cut(sorted, limit, None::<fn(&&'static str) -> bool>),
            skip => cut(sorted, limit, Some(|key: &&'static str| !skip.contains(key))),
        }
    }

    #[test]
    fn pages_of_every_size_show_every_item_once_and_count_the_rest_truly() {
        for limit in 1..=6 {
            let (mut seen, mut from, mut promised) = (Vec::new(), String::new(), None);
            loop {
                let page = page(&from, limit, "");
                if let Some(promised) = promised {
                    assert_eq!(page.items.len() as u64 + page.remaining.unwrap_or(0), promised);
                }
                seen.extend(page.items);
                assert_eq!(page.next.is_some(), page.remaining.is_some());
                promised = page.remaining;
                match page.next {
                    Some(next) => from = next,
                    None => break,
                }
            }
            assert_eq!(seen, KEYS, "limit {limit}");
        }
    }

    #[test]
    fn no_next_page_is_promised_that_would_be_empty() {
        let page = page("", 2, "cde");
        assert_eq!((page.items, page.next, page.remaining), (vec!["a", "b"], None, None));
    }

    #[test]
    fn tokens_come_back_as_they_were_and_bad_ones_are_400() {
        for revision in [None, Some(ResourceVersion(17))] {
            let token = ContinueToken { revision, start: "default/redis-1\0".to_owned() };
            assert_eq!(ContinueToken::decode(&token.encode()), Ok(token));
        }
        for (wire, why) in [
            (r#"{"v":"v0","rv":1,"start":"a"}"#, "server does not recognize this encoded version \"v0\""),
            (
                r#"{"v":"meta.k8s.io/v1","start":"a"}"#,
                "incorrect encoded start resourceVersion (version meta.k8s.io/v1)",
            ),
            (r#"{"v":"meta.k8s.io/v1","rv":1}"#, "encoded start key empty (version meta.k8s.io/v1)"),
            (r#"{"v":"meta.k8s.io/v1","rv":1,"start":"../a"}"#, "../a"),
        ] {
            let status = ContinueToken::decode(&URL_SAFE_NO_PAD.encode(wire)).expect_err(why);
            assert_eq!(status.code, 400);
            assert_eq!(status.message, format!("invalid continue token: continue key is not valid: {why}"));
        }
        assert_eq!(ContinueToken::decode("!").expect_err("no base64").code, 400);
    }

    #[test]
    fn an_expired_token_is_answered_with_one_that_goes_on() {
        let status = ContinueToken { revision: Some(ResourceVersion(3)), start: "a".to_owned() }.expired();
        assert_eq!((status.code, status.is_expired()), (410, true));
        let fresh = ContinueToken::decode(&status.continue_token.expect("it has a token"));
        assert_eq!(fresh, Ok(ContinueToken { revision: None, start: "a".to_owned() }));
    }
}
