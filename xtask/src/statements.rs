//! `cargo xtask statements`: every statement of the StatefulSet specification, and what keeps it.
//!
//! The table is `docs/statements.toml`. A statement is kept by tests that name it, kept differently as a decision page
//! says, or deferred with a reason. A test checks that the tests and pages exist and name the statement, and that no
//! statement of the specification is missing.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use conformance::root_folder;
use serde::Deserialize;

const TABLE: &str = "docs/statements.toml";
/// How many statements each part of the specification has.
const COUNTS: [(&str, usize); 3] = [("A", 71), ("C", 115), ("N", 57)];

/// What keeps a statement.
#[derive(Deserialize, Default, Debug)]
#[serde(deny_unknown_fields)]
struct Row {
    /// `crate::test`, or `crate::folder::test` where the name is not the only one.
    #[serde(default)]
    tests: Vec<String>,
    /// A page in `docs/decisions` that says what is different and why.
    decision: Option<String>,
    /// Why it is not there yet.
    deferred: Option<String>,
}

type Table = BTreeMap<Id, Row>;
/// Path and text of each source file, by crate.
type Sources = BTreeMap<String, Vec<(String, String)>>;

/// `C-75a`: part, number, letter; in the order of the specification.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
struct Id {
    part: char,
    number: u32,
    letter: Option<char>,
}

impl Id {
    fn parse(text: &str) -> Option<Self> {
        let (part, rest) = text.split_once('-')?;
        let letter = rest.chars().last().filter(char::is_ascii_lowercase);
        let number = rest.trim_end_matches(|c: char| c.is_ascii_lowercase()).parse().ok()?;
        let mut parts = part.chars();
        Some(Self { part: parts.next().filter(|_| part.len() == 1)?, number, letter })
    }
}

impl std::fmt::Display for Id {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}-{}", self.part, self.number)?;
        self.letter.map_or(Ok(()), |letter| write!(f, "{letter}"))
    }
}

/// Prints one line for each statement, and the totals.
///
/// # Errors
/// If the table does not hold.
pub fn run() -> Result<()> {
    let root = root_folder();
    let table = read(&root)?;
    let [mut kept, mut different, mut deferred] = [0, 0, 0];
    for (id, row) in &table {
        let id = id.to_string();
        match row {
            Row { deferred: Some(reason), .. } => {
                deferred += 1;
                println!("{id:6} deferred: {reason}");
            }
            Row { decision: Some(page), tests, .. } => {
                different += 1;
                let tests = if tests.is_empty() { String::new() } else { format!("; {}", tests.join(", ")) };
                println!("{id:6} different by {page}{tests}");
            }
            Row { tests, .. } => {
                kept += 1;
                println!("{id:6} kept by {}", tests.join(", "));
            }
        }
    }
    println!("{} statements: {kept} kept, {different} different on purpose, {deferred} deferred", table.len());
    let breaches = check(&root, &table)?;
    for breach in &breaches {
        eprintln!("statements: {breach}");
    }
    if breaches.is_empty() { Ok(()) } else { bail!("{} rows of {TABLE} do not hold", breaches.len()) }
}

fn read(root: &Path) -> Result<Table> {
    let text = fs::read_to_string(root.join(TABLE)).with_context(|| format!("read {TABLE}"))?;
    let rows: BTreeMap<String, Row> = toml::from_str(&text).with_context(|| format!("understand {TABLE}"))?;
    rows.into_iter()
        .map(|(id, row)| Ok((Id::parse(&id).with_context(|| format!("{id} is no statement"))?, row)))
        .collect()
}

/// What is wrong with the table.
fn check(root: &Path, table: &Table) -> Result<Vec<String>> {
    let mut breaches = Vec::new();
    for (part, count) in COUNTS {
        let found = table.keys().filter(|id| id.part.to_string() == part).count();
        if found != count {
            breaches.push(format!("{found} statements {part}-…, the specification has {count}"));
        }
    }
    breaches.extend(missing_from(root, table));
    let mut sources = Sources::new();
    for (id, row) in table {
        if row.tests.is_empty() && row.decision.is_none() && row.deferred.is_none() {
            breaches.push(format!("{id} is kept by nothing"));
        }
        for test in &row.tests {
            breaches.extend(check_test(root, id, test, &mut sources)?);
        }
        if let Some(page) = &row.decision {
            let text = fs::read_to_string(root.join(page)).unwrap_or_default();
            if !names(&text, id) {
                breaches.push(format!("{id}: {page} does not name it, or is not there"));
            }
        }
    }
    Ok(breaches)
}

/// The specification lies beside the repository; where it is there, the ids are compared with it.
fn missing_from(root: &Path, table: &Table) -> Vec<String> {
    let specification =
        root.ancestors().map(|folder| folder.join("shared/spec/statefulset.md")).find(|path| path.exists());
    let text = specification.and_then(|path| fs::read_to_string(path).ok()).unwrap_or_default();
    let stated = text.lines().filter_map(|line| Id::parse(line.strip_prefix("- ")?.split_whitespace().next()?));
    stated
        .filter(|id| COUNTS.iter().any(|(part, _)| *part == id.part.to_string()) && !table.contains_key(id))
        .map(|id| format!("{id} is missing"))
        .collect()
}

/// A test exists once in its crate, and it or its documentation names the statement.
fn check_test(root: &Path, id: &Id, test: &str, sources: &mut Sources) -> Result<Option<String>> {
    let Some((krate, rest)) = test.split_once("::") else {
        return Ok(Some(format!("{id}: {test} is not crate::test")));
    };
    let (folder, name) = rest.rsplit_once("::").unwrap_or(("", rest));
    if !sources.contains_key(krate) {
        let mut texts = Vec::new();
        for path in rust_files(&root.join("crates").join(krate))? {
            texts.push((path.display().to_string(), fs::read_to_string(&path)?));
        }
        sources.insert(krate.to_owned(), texts);
    }
    let there = sources[krate].iter().filter(|(path, _)| path.contains(&folder.replace("::", "/")));
    let bodies: Vec<&str> = there.filter_map(|(_, text)| body_of(text, name)).collect();
    Ok(match bodies.as_slice() {
        [] => Some(format!("{id}: there is no test {test}")),
        [body] if names(body, id) => None,
        [_] => Some(format!("{id}: {test} does not name it")),
        _ => Some(format!("{id}: there are several tests {test}")),
    })
}

fn rust_files(folder: &Path) -> Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        let entries = fs::read_dir(&folder).with_context(|| format!("read {}", folder.display()))?;
        for entry in entries {
            let path = entry?.path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|e| e == "rs") {
                files.push(path);
            }
        }
    }
    Ok(files)
}

/// A test with its documentation: from the blank line before its attributes to the brace that ends it.
fn body_of<'t>(text: &'t str, name: &str) -> Option<&'t str> {
    let declaration = text.find(&format!("fn {name}("))?;
    let start = text[..declaration].rfind("\n\n").map_or(0, |at| at + 2);
    let head = &text[start..declaration];
    if !(head.contains("test") || text[..start].contains("proptest!")) {
        return None;
    }
    let line = text[..declaration].rfind('\n').map_or(0, |at| at + 1);
    let indent: String = text[line..].chars().take_while(|c| *c == ' ').collect();
    let end = text[declaration..].find(&format!("\n{indent}}}")).map_or(text.len(), |at| declaration + at);
    Some(&text[start..end])
}

/// Whether a text names a statement, alone or within a range (`A-46 to A-50`).
fn names(text: &str, id: &Id) -> bool {
    let words: Vec<&str> =
        text.split(|c: char| !(c.is_ascii_alphanumeric() || c == '-')).filter(|w| !w.is_empty()).collect();
    let is_within = |from: &str, to: &str| {
        let (Some(from), Some(to)) = (Id::parse(from), Id::parse(to)) else { return false };
        from.part == id.part && to.part == id.part && from <= *id && *id <= to
    };
    let shown = id.to_string();
    words.iter().any(|word| *word == shown)
        || words.windows(3).any(|window| window[1] == "to" && is_within(window[0], window[2]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_statement_is_kept_different_on_purpose_or_deferred() {
        let root = root_folder();
        let table = read(&root).expect("the table");
        assert_eq!(check(&root, &table).expect("the sources"), Vec::<String>::new());
    }

    #[test]
    fn a_row_that_does_not_hold_is_found() {
        let id = |text: &str| Id::parse(text).expect("an id");
        assert!(names("// A-46 to A-50, C-9.", &id("A-48")) && names("(C-9)", &id("C-9")));
        assert!(!names("// A-46 to A-50", &id("A-51")) && !names("C-96a", &id("C-96")) && !names("C-9", &id("C-96")));
        let source =
            "\n/// C-1.\n#[test]\nfn one() {\n    x();\n}\n\n#[test]\nfn two() {\n    // C-2\n}\n\nfn three() {}\n";
        assert!(body_of(source, "one").is_some_and(|body| names(body, &id("C-1")) && !names(body, &id("C-2"))));
        assert!(body_of(source, "two").is_some_and(|body| names(body, &id("C-2"))));
        assert_eq!(body_of(source, "three"), None, "not a test");
        let mut table = Table::new();
        table.insert(id("A-1"), Row::default());
        let test = Row { tests: vec!["meta::no_such_test".to_owned()], ..Row::default() };
        table.insert(id("A-2"), test);
        let page = Row { decision: Some("docs/decisions/0001-objects-are-trees.md".to_owned()), ..Row::default() };
        table.insert(id("C-1"), page);
        let breaches = check(&root_folder(), &table).expect("the sources");
        for expected in ["A-1 is kept by nothing", "A-2: there is no test meta::no_such_test", "C-1: docs/decisions"] {
            assert!(breaches.iter().any(|breach| breach.starts_with(expected)), "{expected}: {breaches:#?}");
        }
    }
}
