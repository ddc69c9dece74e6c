//! The grammar of the string form.

use super::names::{label_value_problems, qualified_name_problems};
use super::{Operator, Requirement, SelectorError};

const BINARY_OPERATORS: &str = "in, notin, =, ==, !=, gt, lt";

/// A word or a sign of the grammar.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Token<'a> {
    End,
    Close,
    Open,
    Comma,
    Not,
    Operator(Operator),
    Word(&'a str),
    Bad(&'a str),
}

impl<'a> Token<'a> {
    /// Where a value stands, `in` and `notin` are ordinary words.
    fn as_value(self) -> Self {
        match self {
            Self::Operator(Operator::In) => Self::Word("in"),
            Self::Operator(Operator::NotIn) => Self::Word("notin"),
            other => other,
        }
    }
}

/// A token and its text, for error messages.
#[derive(Clone, Copy)]
struct Lexeme<'a> {
    token: Token<'a>,
    text: &'a str,
}

fn is_sign(byte: u8) -> bool {
    matches!(byte, b'=' | b'!' | b'(' | b')' | b',' | b'>' | b'<')
}

fn is_blank(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t' | b'\r' | b'\n')
}

fn sign(text: &str) -> Option<Token<'_>> {
    Some(match text {
        ")" => Token::Close,
        "(" => Token::Open,
        "," => Token::Comma,
        "!" => Token::Not,
        "==" => Token::Operator(Operator::DoubleEquals),
        "=" => Token::Operator(Operator::Equals),
        "!=" => Token::Operator(Operator::NotEquals),
        ">" => Token::Operator(Operator::GreaterThan),
        "<" => Token::Operator(Operator::LessThan),
        _ => return None,
    })
}

/// Cuts a text into lexemes; the last one is always [`Token::End`].
fn lex(text: &str) -> Vec<Lexeme<'_>> {
    let bytes = text.as_bytes();
    let mut lexemes = Vec::new();
    let mut at = 0;
    while at < bytes.len() {
        if is_blank(bytes[at]) {
            at += 1;
            continue;
        }
        let rest = &text[at..];
        let lexeme = if is_sign(bytes[at]) {
            let two = rest.get(..2).and_then(|t| sign(t).map(|token| Lexeme { token, text: t }));
            let one = || sign(&rest[..1]).map(|token| Lexeme { token, text: &rest[..1] });
            two.or_else(one).unwrap_or(Lexeme { token: Token::Bad(&rest[..1]), text: &rest[..1] })
        } else {
            let end = rest.bytes().position(|b| is_sign(b) || is_blank(b)).unwrap_or(rest.len());
            let word = &rest[..end];
            let token = match word {
                "in" => Token::Operator(Operator::In),
                "notin" => Token::Operator(Operator::NotIn),
                word => Token::Word(word),
            };
            Lexeme { token, text: word }
        };
        at += lexeme.text.len();
        lexemes.push(lexeme);
    }
    lexemes.push(Lexeme { token: Token::End, text: "" });
    lexemes
}

struct Parser<'a> {
    lexemes: Vec<Lexeme<'a>>,
    at: usize,
}

/// Reads a whole selector.
pub(super) fn parse(text: &str) -> Result<Vec<Requirement>, SelectorError> {
    let mut parser = Parser { lexemes: lex(text), at: 0 };
    let mut requirements = Vec::new();
    loop {
        let next = parser.peek();
        match next.token.as_value() {
            Token::End => return Ok(requirements),
            Token::Word(_) | Token::Not => {}
            _ => return Err(found(next, ", expected: !, identifier, or 'end of string'")),
        }
        let requirement = parser
            .requirement()
            .map_err(|error| SelectorError::new(format!("unable to parse requirement: {error}")))?;
        requirements.push(requirement);
        let after = parser.take();
        match after.token {
            Token::End => return Ok(requirements),
            Token::Comma => {}
            _ => return Err(found(after, ", expected: ',' or 'end of string'")),
        }
        let next = parser.peek();
        if !matches!(next.token.as_value(), Token::Word(_) | Token::Not) {
            return Err(found(next, ", expected: identifier after ','"));
        }
    }
}

fn found(lexeme: Lexeme<'_>, rest: &str) -> SelectorError {
    SelectorError::new(format!("found '{}'{rest}", lexeme.text))
}

impl<'a> Parser<'a> {
    fn peek(&self) -> Lexeme<'a> {
        self.lexemes[self.at.min(self.lexemes.len() - 1)]
    }

    fn take(&mut self) -> Lexeme<'a> {
        let lexeme = self.peek();
        self.at += 1;
        lexeme
    }

    fn requirement(&mut self) -> Result<Requirement, SelectorError> {
        let mut first = self.take();
        let negated = first.token == Token::Not;
        if negated {
            first = self.take();
        }
        let Token::Word(key) = first.token.as_value() else { return Err(found(first, ", expected: identifier")) };
        check_key(key)?;
        if negated {
            return requirement(key, Operator::DoesNotExist, Vec::new());
        }
        if matches!(self.peek().token, Token::End | Token::Comma) {
            return requirement(key, Operator::Exists, Vec::new());
        }
        let operator = self.take();
        let Token::Operator(operator) = operator.token else {
            return Err(found(operator, &format!(", expected: {BINARY_OPERATORS}")));
        };
        let values = match operator {
            Operator::In | Operator::NotIn => self.values()?,
            _ => vec![self.value()?],
        };
        requirement(key, operator, values)
    }

    /// The value after `=`; nothing there means the empty value.
    fn value(&mut self) -> Result<String, SelectorError> {
        if matches!(self.peek().token, Token::End | Token::Comma) {
            return Ok(String::new());
        }
        let lexeme = self.take();
        match lexeme.token.as_value() {
            Token::Word(value) => Ok(value.to_owned()),
            _ => Err(found(lexeme, ", expected: identifier")),
        }
    }

    /// `(a,b)`; an empty place is the empty value.
    fn values(&mut self) -> Result<Vec<String>, SelectorError> {
        let open = self.take();
        if open.token != Token::Open {
            return Err(found(open, " expected: '('"));
        }
        let mut values = Vec::new();
        let mut place_is_empty = true;
        loop {
            let lexeme = self.take();
            match lexeme.token.as_value() {
                Token::Word(value) if place_is_empty => {
                    values.push(value.to_owned());
                    place_is_empty = false;
                }
                Token::Comma | Token::Close => {
                    if place_is_empty {
                        values.push(String::new());
                    }
                    place_is_empty = true;
                    if lexeme.token == Token::Close {
                        return Ok(values);
                    }
                }
                _ if place_is_empty => return Err(found(lexeme, ", expected: ',', ')' or identifier")),
                _ => return Err(found(lexeme, ", expected: ',' or ')'")),
            }
        }
    }
}

fn check_key(key: &str) -> Result<(), SelectorError> {
    let problems = qualified_name_problems(key);
    if problems.is_empty() {
        return Ok(());
    }
    Err(SelectorError::new(format!("<nil>: Invalid value: {key:?}: {}", problems.join("; "))))
}

/// A checked requirement.
pub(super) fn requirement(
    key: &str,
    operator: Operator,
    mut values: Vec<String>,
) -> Result<Requirement, SelectorError> {
    let problems = qualified_name_problems(key);
    let mut errors = Vec::new();
    if !problems.is_empty() {
        errors.push(format!("key: Invalid value: {key:?}: {}", problems.join("; ")));
    }
    values.sort();
    values.dedup();
    let rule = match operator {
        Operator::In | Operator::NotIn if values.is_empty() => "for 'in', 'notin' operators, values set can't be empty",
        Operator::Exists | Operator::DoesNotExist if !values.is_empty() => {
            "values set must be empty for exists and does not exist"
        }
        _ => "",
    };
    if !rule.is_empty() {
        errors.push(format!("values: Invalid value: {values:?}: {rule}"));
    }
    let mut bound = 0;
    for (index, value) in values.iter().enumerate() {
        if matches!(operator, Operator::GreaterThan | Operator::LessThan) {
            match value.parse() {
                Ok(number) => bound = number,
                Err(_) => errors.push(format!(
                    "values[{index}]: Invalid value: {value:?}: for 'Gt', 'Lt' operators, the value must be an integer"
                )),
            }
        }
        let problems = label_value_problems(value);
        if !problems.is_empty() {
            errors.push(format!("values[{index}][{key}]: Invalid value: {value:?}: {}", problems.join("; ")));
        }
    }
    match errors.len() {
        0 => Ok(Requirement { key: key.to_owned(), operator, values, bound }),
        1 => Err(SelectorError::new(errors.remove(0))),
        _ => Err(SelectorError::new(format!("[{}]", errors.join(", ")))),
    }
}

#[cfg(test)]
mod tests {
    use crate::LabelSelector;
    use serde_json::{Value, json};

    /// The selector as parsed, or the error.
    fn parsed(text: &str) -> String {
        match LabelSelector::parse(text) {
            Ok(selector) => selector.to_string(),
            Err(error) => format!("error: {error}"),
        }
    }

    fn selects(text: &str, labels: Value) -> bool {
        let selector = LabelSelector::parse(text).expect("the selector is good");
        selector.matches_object(&json!({ "metadata": { "labels": labels } }))
    }

    #[test]
    fn every_form_of_the_grammar_is_read() {
        for (text, want) in [
            ("", ""),
            ("a=b", "a=b"),
            ("a==b", "a==b"),
            ("a!=b", "a!=b"),
            ("a", "a"),
            ("!a", "!a"),
            ("! a", "!a"),
            ("a=", "a="),
            ("a>1,b<2", "a>1,b<2"),
            (" z = 1 , a in ( x ,y ) ", "a in (x,y),z=1"),
            ("x in (foo,,baz),y,z notin ()", "x in (,baz,foo),y,z notin ()"),
            ("x in (in,notin)", "x in (in,notin)"),
            ("x=in", "x=in"),
            ("example.com/a=b", "example.com/a=b"),
            ("in", "in"),
        ] {
            assert_eq!(parsed(text), want, "{text:?}");
        }
    }

    #[test]
    fn errors_have_upstream_s_text() {
        for (text, want) in [
            ("a=b,", "error: found '', expected: identifier after ','"),
            (",a", "error: found ',', expected: !, identifier, or 'end of string'"),
            ("a b", "error: unable to parse requirement: found 'b', expected: in, notin, =, ==, !=, gt, lt"),
            ("a in b", "error: unable to parse requirement: found 'b' expected: '('"),
            ("a in (b", "error: unable to parse requirement: found '', expected: ',' or ')'"),
            ("a=b c", "error: found 'c', expected: ',' or 'end of string'"),
            ("a=!", "error: unable to parse requirement: found '!', expected: identifier"),
            (
                "a>x",
                "error: unable to parse requirement: values[0]: Invalid value: \"x\": for 'Gt', 'Lt' operators, the \
                 value must be an integer",
            ),
        ] {
            assert_eq!(parsed(text), want, "{text:?}");
        }
        assert!(parsed("-a=b").starts_with(
            "error: unable to parse requirement: <nil>: Invalid value: \"-a\": name part must consist of alphanumeric"
        ));
        assert!(parsed("a=b_").starts_with(
            "error: unable to parse requirement: values[0][a]: Invalid value: \"b_\": a valid label must be an empty"
        ));
    }

    #[test]
    fn negative_terms_match_where_the_label_is_absent() {
        assert!(selects("a!=b", json!({})));
        assert!(selects("a notin (b)", json!({})));
        assert!(!selects("a notin (b)", json!({ "a": "b" })));
        assert!(!selects("a=", json!({})));
        assert!(selects("a=", json!({ "a": "" })));
        assert!(selects("a>1", json!({ "a": "2" })));
        assert!(!selects("a>1", json!({ "a": "x" })));
        assert!(selects("", Value::Null));
    }

    #[test]
    fn the_object_form_selects_nothing_when_absent_and_everything_when_empty() {
        let labels = json!({ "metadata": { "labels": { "app": "db", "tier": "1" } } });
        let selects = |selector: Value| LabelSelector::from_object(&selector).map(|s| s.matches_object(&labels));
        assert_eq!(selects(Value::Null), Ok(false));
        assert_eq!(selects(json!({})), Ok(true));
        assert_eq!(selects(json!({ "matchLabels": { "app": "db" } })), Ok(true));
        let expression = |operator: &str, values: Value| json!({ "matchExpressions": [{ "key": "tier", "operator": operator, "values": values }] });
        assert_eq!(selects(expression("In", json!(["1", "2"]))), Ok(true));
        assert_eq!(selects(expression("NotIn", json!(["1"]))), Ok(false));
        assert_eq!(selects(expression("Exists", Value::Null)), Ok(true));
        assert_eq!(selects(expression("DoesNotExist", Value::Null)), Ok(false));
        let error = selects(expression("Gt", json!(["1"]))).expect_err("not an operator of the object form");
        assert_eq!(error.to_string(), "\"Gt\" is not a valid label selector operator");
    }
}
