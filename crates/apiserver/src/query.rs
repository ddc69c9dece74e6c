//! The query string of a request.

use meta::{Cause, Reason, Status, StatusDetails};

/// Decoded query parameters in the order they came; unknown ones are ignored by everybody (V-123).
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct Query(Vec<(String, String)>);

impl Query {
    /// Parses the text after `?`. Never fails: bytes that are no UTF-8 become replacement characters.
    pub fn parse(text: &str) -> Self {
        Self(form_urlencoded::parse(text.as_bytes()).into_owned().collect())
    }

    /// The first value of a parameter; `None` if absent, possibly empty.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }

    /// The first value, empty if absent: where upstream does not tell the two apart.
    pub fn text(&self, name: &str) -> &str {
        self.get(name).unwrap_or_default()
    }

    /// Every value of a repeatable parameter.
    pub fn all<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        self.0.iter().filter(move |(key, _)| key == name).map(|(_, value)| value.as_str())
    }

    /// A boolean as upstream's URL decoding reads it: absent, `0` and `false` are false, anything else is true.
    pub fn flag(&self, name: &str) -> bool {
        self.get(name).is_some_and(|value| !matches!(value, "0" | "false" | "False" | "FALSE" | "F" | "f"))
    }

    /// An integer parameter.
    ///
    /// # Errors
    /// 400 if the value is not an integer.
    pub fn integer(&self, name: &str) -> Result<Option<i64>, Status> {
        match self.get(name) {
            None | Some("") => Ok(None),
            Some(text) => text
                .parse()
                .map(Some)
                .map_err(|_| Status::bad_request(format!("strconv.ParseInt: parsing {text:?}: invalid syntax"))),
        }
    }
}

/// 422 for a bad option, as upstream words it: `<Kind> "" is invalid: <field>: <text>`.
pub fn invalid_option(kind: &str, field: &str, reason: &str, text: &str) -> Status {
    let mut status = Status::new(Reason::Invalid, format!("{kind} \"\" is invalid: {field}: {text}"));
    let (group, kind) = kind.split_once('.').map_or(("", kind), |(kind, group)| (group, kind));
    status.details = Some(Box::new(StatusDetails {
        group: group.to_owned(),
        kind: kind.to_owned(),
        causes: vec![Cause { reason: reason.to_owned(), message: text.to_owned(), field: field.to_owned() }],
        ..StatusDetails::default()
    }));
    status
}

#[cfg(test)]
mod tests {
    use super::Query;

    #[test]
    fn parameters_are_decoded_and_may_repeat() {
        let query = Query::parse("command=a%20b&command=c+d&tty&x=%ff");
        assert_eq!(query.all("command").collect::<Vec<_>>(), ["a b", "c d"]);
        assert!(query.flag("tty"));
        assert!(!query.flag("stdin"));
        assert_eq!(query.get("x"), Some("\u{fffd}"));
    }

    #[test]
    fn a_number_that_is_none_is_refused() {
        assert_eq!(Query::parse("limit=5").integer("limit"), Ok(Some(5)));
        assert_eq!(Query::parse("limit=").integer("limit"), Ok(None));
        assert_eq!(Query::parse("limit=x").integer("limit").unwrap_err().code, 400);
    }
}
