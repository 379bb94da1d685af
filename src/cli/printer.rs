//! Who may write to standard output and standard error.

use std::io::Write;

/// Results go to standard output, everything else to standard error.
#[derive(Debug, Clone, Copy)]
pub struct Printer {
    quiet: bool,
}

impl Printer {
    /// A printer; a quiet one leaves notes out.
    #[must_use]
    pub fn new(quiet: bool) -> Self {
        Self { quiet }
    }

    /// A result. A reader that has gone away is a normal end, not an error.
    pub fn result(&self, text: &str) {
        let _reader_gone = writeln!(std::io::stdout().lock(), "{text}");
    }

    /// Something that is good to know.
    pub fn note(&self, text: &str) {
        if !self.quiet {
            let _reader_gone = writeln!(std::io::stderr().lock(), "{text}");
        }
    }

    /// What went wrong.
    pub fn error(&self, text: &str) {
        let _reader_gone = writeln!(std::io::stderr().lock(), "error: {text}");
    }
}
