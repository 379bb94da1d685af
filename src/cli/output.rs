//! Where a command's results go: standard output, or a file that is whole or not there.

use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};

use super::stream::Interrupt;

/// A file that cannot be written.
#[derive(Debug, thiserror::Error)]
#[error("`{}` cannot be written", .path.display())]
pub(super) struct WriteError {
    path: PathBuf,
    #[source]
    source: std::io::Error,
}

impl WriteError {
    pub(super) fn new(path: &Path, source: std::io::Error) -> Self {
        Self { path: path.to_owned(), source }
    }

    /// Whether nobody reads any more.
    pub(super) fn is_broken_pipe(&self) -> bool {
        self.source.kind() == std::io::ErrorKind::BrokenPipe
    }
}

/// A file that is written under another name, and takes its own when it is whole. Dropped before that, it leaves nothing.
#[derive(Debug)]
pub(super) struct Partial {
    partial: PathBuf,
    path: PathBuf,
    interrupt: Interrupt,
    is_done: bool,
}

impl Partial {
    /// Begins a file beside where it will be.
    pub(super) fn create(
        path: &Path,
        interrupt: &Interrupt,
    ) -> Result<(Self, Box<dyn Write + Send>), WriteError> {
        let wrong = |source| WriteError::new(path, source);
        let name =
            path.file_name().ok_or_else(|| wrong(std::io::ErrorKind::InvalidInput.into()))?;
        let mut hidden = std::ffi::OsString::from(".");
        hidden.push(name);
        hidden.push(format!(".{}.partial", std::process::id()));
        let partial = path.with_file_name(hidden);
        interrupt.begin(partial.clone());
        let this =
            Self { partial, path: path.to_owned(), interrupt: interrupt.clone(), is_done: false };
        let file = File::create(&this.partial).map_err(wrong)?;
        Ok((this, Box::new(BufWriter::with_capacity(1 << 18, file))))
    }

    /// Gives the file, which has been written and flushed, its name.
    pub(super) fn commit(mut self) -> Result<(), WriteError> {
        self.is_done = true;
        let renamed =
            self.interrupt.end(&self.partial, || std::fs::rename(&self.partial, &self.path));
        renamed.map_err(|source| {
            let _gone = std::fs::remove_file(&self.partial);
            WriteError::new(&self.path, source)
        })
    }
}

impl Drop for Partial {
    fn drop(&mut self) {
        if !self.is_done {
            let _gone = self.interrupt.end(&self.partial, || std::fs::remove_file(&self.partial));
        }
    }
}

/// Whether something is at the path that is no ordinary file, like a pipe: it is written to as it is.
pub(super) fn is_special(path: &Path) -> bool {
    path.metadata().is_ok_and(|found| !found.is_file())
}
