//! How text reaches people: colours only on a terminal, errors as full sentences.

use std::io::IsTerminal;

/// True if standard error is a terminal that takes colours and redrawing.
pub fn is_interactive() -> bool {
    std::io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none()
}

/// Prints an error and what caused it, most outward first.
pub fn print_error(error: &anyhow::Error) {
    let label = if is_interactive() { "\u{1b}[31merror:\u{1b}[0m" } else { "error:" };
    let mut text = String::new();
    for cause in error.chain() {
        let cause = cause.to_string();
        // Some libraries repeat their source in their own text; saying it once is enough.
        if !text.contains(&cause) {
            if !text.is_empty() {
                text.push_str(": ");
            }
            text.push_str(&cause);
        }
    }
    eprintln!("{label} {text}");
}
