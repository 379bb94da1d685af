//! Who may write to standard output and standard error.

use std::io::{IsTerminal, Write};

/// Results could not be written.
#[derive(Debug, thiserror::Error)]
#[error("standard output cannot be written")]
pub struct OutputError(#[source] std::io::Error);

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
    ///
    /// # Errors
    /// Standard output takes no more, e.g. because a disk is full.
    pub fn result(&self, text: &str) -> Result<(), OutputError> {
        let mut output = std::io::stdout().lock();
        match writeln!(output, "{text}").and_then(|()| output.flush()) {
            Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => Err(OutputError(error)),
            _ => Ok(()),
        }
    }

    /// Something that is good to know.
    pub fn note(&self, text: &str) {
        if !self.quiet {
            let _reader_gone = writeln!(std::io::stderr().lock(), "{text}");
        }
    }

    /// Whether somebody sees what moves: standard error is a terminal, and notes are wanted.
    #[must_use]
    pub fn is_terminal(&self) -> bool {
        !self.quiet && std::io::stderr().is_terminal()
    }

    /// What went wrong.
    pub fn error(&self, text: &str) {
        let _reader_gone = writeln!(std::io::stderr().lock(), "error: {text}");
    }

    /// What can be done about what went wrong.
    pub fn hint(&self, text: &str) {
        let _reader_gone = writeln!(std::io::stderr().lock(), "hint: {text}");
    }
}
