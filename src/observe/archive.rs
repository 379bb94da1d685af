//! Files of the prediction log that were put aside: compressed by a thread of its own, the oldest removed.
//!
//! `predictions.log` is put aside as `predictions.20261121T101746.123456Z.log` and becomes `….log.gz`, so that names sort as their records do
//! and say what they hold. A compressed file is there whole or not at all; what a killed process has left undone is done at the next
//! start.

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};

use flate2::Compression;
use flate2::write::GzEncoder;
use time::OffsetDateTime;
use time::macros::format_description;

use super::prediction_log::Rotation;

/// A file that is being compressed.
const PARTIAL: &str = ".gz.partial";

/// Where files are put aside.
#[derive(Debug)]
pub(super) struct Archive {
    path: PathBuf,
    files: Option<std::sync::mpsc::Sender<PathBuf>>,
}

impl Archive {
    /// Starts the thread, if files are put aside at all, and does what is left from the last time.
    pub(super) fn start(path: &Path, rotation: &Rotation) -> io::Result<Self> {
        if rotation.max_bytes.is_none() && rotation.max_age.is_none() {
            return Ok(Self { path: path.to_owned(), files: None });
        }
        let (files, added) = std::sync::mpsc::channel::<PathBuf>();
        let (rotation, own) = (*rotation, path.to_owned());
        std::thread::Builder::new().name("prediction-log-archive".to_owned()).spawn(move || {
            left_over(&own, &rotation);
            while let Ok(file) = added.recv() {
                if rotation.compress {
                    compress(&file);
                }
                prune(&own, rotation.keep);
            }
        })?;
        Ok(Self { path: path.to_owned(), files: Some(files) })
    }

    /// A name for the file that is to be put aside now.
    pub(super) fn name(&self) -> io::Result<PathBuf> {
        let format =
            format_description!("[year][month][day]T[hour][minute][second].[subsecond digits:6]Z");
        loop {
            let now = OffsetDateTime::now_utc().format(&format).map_err(io::Error::other)?;
            let (stem, extension) = name_of(&self.path);
            let name = self.path.with_file_name(format!("{stem}.{now}{extension}"));
            // Twice in a microsecond.
            if !name.try_exists()? {
                return Ok(name);
            }
        }
    }

    /// A file was put aside.
    pub(super) fn add(&self, file: PathBuf) {
        if let Some(files) = &self.files
            && files.send(file).is_err()
        {
            tracing::error!("the thread that compresses the prediction log has ended");
        }
    }
}

/// The name of the log in front of its extension, and the extension with its dot; empty when there is none.
fn name_of(path: &Path) -> (String, String) {
    let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
    match name.rfind('.').filter(|at| *at > 0) {
        Some(at) => (name[..at].to_owned(), name[at..].to_owned()),
        None => (name, String::new()),
    }
}

/// The files that were put aside, oldest first, and those that are being compressed.
fn found(path: &Path) -> io::Result<(Vec<PathBuf>, Vec<PathBuf>)> {
    let dir = path.parent().filter(|dir| !dir.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let (stem, extension) = name_of(path);
    let (mut aside, mut partial) = (Vec::new(), Vec::new());
    for entry in std::fs::read_dir(dir)? {
        let entry = entry?;
        let name = entry.file_name();
        let name = name.to_string_lossy();
        let Some(rest) = name.strip_prefix(&stem).and_then(|rest| rest.strip_prefix('.')) else {
            continue;
        };
        let (rest, is_partial) = match rest.strip_suffix(PARTIAL) {
            Some(rest) => (rest, true),
            None => (rest.strip_suffix(".gz").unwrap_or(rest), false),
        };
        if rest.strip_suffix(&extension).is_some_and(is_stamp) {
            if is_partial { &mut partial } else { &mut aside }.push(entry.path());
        }
    }
    // Moments sort as their names do.
    aside.sort();
    Ok((aside, partial))
}

/// Whether a name is one of ours, and not what somebody else has put beside the log.
fn is_stamp(text: &str) -> bool {
    const LIKE: &[u8] = b"00000000T000000.000000Z";
    text.len() == LIKE.len()
        && text.bytes().zip(LIKE).all(|(byte, like)| match like {
            b'0' => byte.is_ascii_digit(),
            other => byte == *other,
        })
}

fn left_over(path: &Path, rotation: &Rotation) {
    let Ok((aside, partial)) = found(path) else { return };
    for file in partial {
        // It is compressed anew.
        let _gone = std::fs::remove_file(file);
    }
    let is_plain = |file: &&PathBuf| file.extension().is_none_or(|end| end != "gz");
    if rotation.compress {
        aside.iter().filter(is_plain).for_each(|file| compress(file));
    }
    prune(path, rotation.keep);
}

fn compress(file: &Path) {
    let with = |end: &str| {
        let mut name = file.as_os_str().to_owned();
        name.push(end);
        PathBuf::from(name)
    };
    let (partial, whole) = (with(PARTIAL), with(".gz"));
    let result = File::open(file).and_then(|mut from| {
        let mut to = GzEncoder::new(File::create(&partial)?, Compression::fast());
        io::copy(&mut from, &mut to)?;
        to.finish()?.sync_all()?;
        std::fs::rename(&partial, &whole)?;
        std::fs::remove_file(file)
    });
    if let Err(error) = result {
        // It may have been made, or not.
        let _gone = std::fs::remove_file(&partial);
        tracing::error!(
            error = &error as &dyn std::error::Error,
            path = %file.display(),
            "a file of the prediction log cannot be compressed; it stays as it is"
        );
    }
}

/// Removes the oldest files but so many; 0 removes none.
fn prune(path: &Path, keep: usize) {
    let Ok((aside, _)) = found(path) else { return };
    if keep == 0 {
        return;
    }
    for file in &aside[..aside.len().saturating_sub(keep)] {
        match std::fs::remove_file(file) {
            Ok(()) => tracing::info!(path = %file.display(), "an old prediction log was removed"),
            Err(error) => tracing::error!(
                error = &error as &dyn std::error::Error,
                path = %file.display(),
                "an old prediction log cannot be removed"
            ),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_killed_process_left_undone_is_done() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("my.log");
        let put = |name: &str, text: &str| std::fs::write(dir.path().join(name), text).unwrap();
        put("my.20260101T000000.000001Z.log.gz", "oldest");
        put("my.20260101T000000.000002Z.log", "{1}\n");
        put("my.20260101T000000.000002Z.log.gz.partial", "half");
        put("my.20260101T000000.000003Z.log.gz", "newest");
        put("my.log.1", "somebody's");
        put("my.old.log.gz.partial", "somebody's");
        let rotation = Rotation { max_bytes: Some(1), max_age: None, keep: 2, compress: true };
        left_over(&path, &rotation);
        let mut names: Vec<String> = std::fs::read_dir(dir.path())
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        assert_eq!(
            names,
            [
                "my.20260101T000000.000002Z.log.gz",
                "my.20260101T000000.000003Z.log.gz",
                "my.log.1",
                "my.old.log.gz.partial"
            ]
        );
        let file = File::open(dir.path().join("my.20260101T000000.000002Z.log.gz")).unwrap();
        let text = io::read_to_string(flate2::read::GzDecoder::new(file)).unwrap();
        assert_eq!(text, "{1}\n");
    }
}
