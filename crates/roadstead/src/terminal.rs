//! How text reaches people: colours only on a terminal, errors as full sentences.

use std::io::{ErrorKind, IsTerminal};

/// True if standard error is a terminal that takes colours and redrawing.
pub fn is_interactive() -> bool {
    std::io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none()
}

/// Prints an error and what caused it, most outward first.
pub fn print_error(error: &anyhow::Error) {
    let label = if is_interactive() { "\u{1b}[31merror:\u{1b}[0m" } else { "error:" };
    eprintln!("{label} {}", sentence(error));
}

/// An error, what caused it, and what can be done about it.
pub fn sentence(error: &anyhow::Error) -> String {
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
    if let Some(remedy) = error.chain().find_map(remedy) {
        text.push_str("\nwhat to do: ");
        text.push_str(remedy);
    }
    text
}

/// What can be done when the operating system refuses, whatever was being done.
fn remedy(cause: &(dyn std::error::Error + 'static)) -> Option<&'static str> {
    let kind = cause.downcast_ref::<std::io::Error>()?.kind();
    match kind {
        ErrorKind::PermissionDenied => Some("only root may do this: try it with `sudo`"),
        ErrorKind::StorageFull | ErrorKind::QuotaExceeded => {
            Some("free space on this disk, or choose a folder on another one with --data")
        }
        ErrorKind::ReadOnlyFilesystem => Some("choose a folder that can be written with --data"),
        ErrorKind::NotADirectory => Some("a file stands where a folder is needed: choose another folder with --data"),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_disk_refuses_is_said_with_a_way_out() {
        let full = std::io::Error::from(ErrorKind::StorageFull);
        let error = anyhow::Error::new(full).context("write the pid file");
        let text = sentence(&error);
        assert!(text.starts_with("write the pid file: ") && text.contains("\nwhat to do: free space"), "{text}");
        assert_eq!(sentence(&anyhow::anyhow!("plain")), "plain");
    }
}
