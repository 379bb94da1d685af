//! What the writer of the prediction log writes to: a file that is rotated, a stream, or memory.
//!
//! Whole records are written, or it is known which are not: what a full disk has left of a record is cut off again, or ended by a line
//! break, so that the next one begins a line of its own.

use std::fs::{File, OpenOptions};
use std::io::{self, ErrorKind, Read as _, Seek as _, SeekFrom, Write as _};
use std::os::fd::AsFd as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, SystemTime};

use super::archive::Archive;
use super::prediction_log::{Memory, Rotation, Sink};

/// How often it is looked whether the file is still the one of its path.
const LOOK_EVERY: Duration = Duration::from_millis(200);
/// A stream that takes nothing now is asked again after this long.
const STREAM_WAIT: Duration = Duration::from_millis(2);

/// Why not all records were written.
#[derive(Debug)]
pub(super) struct Failed {
    /// So many bytes were, all of them whole records.
    pub(super) written: usize,
    pub(super) error: io::Error,
}

impl Failed {
    /// Whether there is no use in trying again: nobody will ever read it.
    pub(super) fn is_for_good(&self) -> bool {
        self.error.kind() == ErrorKind::BrokenPipe
    }
}

#[derive(Debug)]
pub(super) enum Output {
    Stream(Stream),
    File(LogFile),
    Memory(Memory),
}

impl Output {
    /// `None` when nothing is written at all.
    pub(super) fn open(sink: &Sink, rotation: &Rotation) -> io::Result<Option<Self>> {
        Ok(match sink {
            Sink::None => None,
            // Without the buffer of the standard library, which would write a line after it was said to have failed.
            Sink::Stdout => {
                let file = File::from(io::stdout().as_fd().try_clone_to_owned()?);
                Some(Self::Stream(Stream { file, is_torn: false }))
            }
            Sink::File(path) => Some(match append_to(path)? {
                (file, true) => Self::File(LogFile::new(path, file, rotation)?),
                // A device or a pipe is neither rotated nor looked at.
                (file, false) => Self::Stream(Stream { file, is_torn: false }),
            }),
            Sink::Memory(memory) => Some(Self::Memory(memory.clone())),
        })
    }

    /// Appends these records, each with its line break.
    pub(super) fn write(&mut self, records: &[u8]) -> Result<(), Failed> {
        match self {
            Self::Stream(stream) => stream.write(records),
            Self::File(file) => file.write(records),
            Self::Memory(memory) => {
                memory.append(records);
                Ok(())
            }
        }
    }

    /// Opens the file of its path anew, before the next record.
    pub(super) fn reopen(&mut self) {
        if let Self::File(file) = self {
            file.last_look = None;
        }
    }

    /// Files that were put aside.
    pub(super) fn n_rotations(&self) -> u64 {
        match self {
            Self::File(file) => file.n_rotations,
            Self::Stream(_) | Self::Memory(_) => 0,
        }
    }
}

/// Opens a file to append to; and says whether it is a regular one.
fn append_to(path: &Path) -> io::Result<(File, bool)> {
    // Reading shows how the last line ends; who may only write does without.
    let mut options = OpenOptions::new();
    options.create(true).append(true);
    let file = options.clone().read(true).open(path).or_else(|_| options.open(path))?;
    let is_file = file.metadata()?.is_file();
    Ok((file, is_file))
}

/// Writes as much as can be; returns how much that was.
fn write_most(mut file: &File, bytes: &[u8]) -> (usize, io::Result<()>) {
    let mut written = 0;
    while written < bytes.len() {
        match file.write(&bytes[written..]) {
            Ok(0) => return (written, Err(ErrorKind::WriteZero.into())),
            Ok(n) => written += n,
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            // Somebody has made it not wait.
            Err(error) if error.kind() == ErrorKind::WouldBlock => {
                std::thread::sleep(STREAM_WAIT);
            }
            Err(error) => return (written, Err(error)),
        }
    }
    (written, Ok(()))
}

/// The length of the whole records in what was written.
fn whole(records: &[u8]) -> usize {
    memchr::memrchr(b'\n', records).map_or(0, |at| at + 1)
}

/// Standard output, a pipe or a device.
#[derive(Debug)]
pub(super) struct Stream {
    file: File,
    /// Part of a record was written.
    is_torn: bool,
}

impl Stream {
    fn write(&mut self, records: &[u8]) -> Result<(), Failed> {
        end_line(&self.file, &mut self.is_torn)?;
        let (written, result) = write_most(&self.file, records);
        result.map_err(|error| {
            let whole = whole(&records[..written]);
            self.is_torn = whole < written;
            Failed { written: whole, error }
        })
    }
}

/// Ends a line that was left in its middle.
fn end_line(file: &File, is_torn: &mut bool) -> Result<(), Failed> {
    if *is_torn {
        write_most(file, b"\n").1.map_err(|error| Failed { written: 0, error })?;
        *is_torn = false;
    }
    Ok(())
}

/// A file that is appended to, and put aside when it is large or old.
#[derive(Debug)]
pub(super) struct LogFile {
    path: PathBuf,
    file: File,
    size: u64,
    /// When the file was begun.
    begun: SystemTime,
    is_torn: bool,
    /// When it was last seen that the file is still the one of its path.
    last_look: Option<Instant>,
    rotation: Rotation,
    /// No attempt to put it aside before this, as one has failed.
    rotate_after: Option<Instant>,
    archive: Archive,
    n_rotations: u64,
}

impl LogFile {
    fn new(path: &Path, file: File, rotation: &Rotation) -> io::Result<Self> {
        let mut log = Self {
            path: path.to_owned(),
            file,
            size: 0,
            begun: SystemTime::now(),
            is_torn: false,
            last_look: Some(Instant::now()),
            rotation: *rotation,
            rotate_after: None,
            archive: Archive::start(path, rotation)?,
            n_rotations: 0,
        };
        log.look_at()?;
        Ok(log)
    }

    /// Takes over what is in the file already: how much, since when, and whether it ends in the middle of a line because a
    /// process was killed.
    fn look_at(&mut self) -> io::Result<()> {
        let metadata = self.file.metadata()?;
        self.size = metadata.len();
        self.begun = if self.size == 0 {
            SystemTime::now()
        } else {
            metadata.created().or_else(|_| metadata.modified())?
        };
        let mut last = [b'\n'];
        if self.size > 0 {
            let mut file = &self.file;
            let read = file.seek(SeekFrom::End(-1)).and_then(|_| file.read_exact(&mut last));
            // Who may not read it ends the line once too often.
            self.is_torn = read.is_err() || last != *b"\n";
        } else {
            self.is_torn = false;
        }
        Ok(())
    }

    fn write(&mut self, mut records: &[u8]) -> Result<(), Failed> {
        let mut before = 0;
        let failed = |written, error| Failed { written, error };
        self.follow().map_err(|error| failed(0, error))?;
        while !records.is_empty() {
            let fit = self.fit(records);
            if fit == 0 {
                self.rotate();
                continue;
            }
            end_line(&self.file, &mut self.is_torn)
                .map_err(|failure| failed(before, failure.error))?;
            let (now, rest) = records.split_at(fit);
            let (written, result) = write_most(&self.file, now);
            self.size += written as u64;
            if let Err(error) = result {
                let whole = whole(&now[..written]);
                self.cut_off((written - whole) as u64);
                return Err(failed(before + whole, error));
            }
            before += fit;
            records = rest;
        }
        Ok(())
    }

    /// Removes so many bytes of a record from the end of the file, or sees to it that the next record begins a line.
    fn cut_off(&mut self, n_bytes: u64) {
        if n_bytes == 0 {
            return;
        }
        let end = self.size - n_bytes;
        let is_ours = self.file.metadata().is_ok_and(|metadata| metadata.len() == self.size);
        if is_ours && self.file.set_len(end).is_ok() {
            self.size = end;
        } else {
            self.is_torn = true;
        }
    }

    /// How many bytes of these records belong into this file; 0 when it is to be put aside first.
    fn fit(&self, records: &[u8]) -> usize {
        let may_rotate = self.rotate_after.is_none_or(|after| Instant::now() >= after);
        if self.size == 0 || !may_rotate {
            let all = records.len();
            return match self.rotation.max_bytes {
                // A record that is larger than a file has one for itself.
                Some(most) if may_rotate => {
                    let room = usize::try_from(most).unwrap_or(usize::MAX).min(all);
                    match whole(&records[..room]) {
                        0 => memchr::memchr(b'\n', records).map_or(all, |at| at + 1),
                        fit => fit,
                    }
                }
                _ => all,
            };
        }
        let age = self.begun.elapsed().unwrap_or_default();
        if self.rotation.max_age.is_some_and(|most| age >= most) {
            return 0;
        }
        let Some(most) = self.rotation.max_bytes else { return records.len() };
        let room = usize::try_from(most.saturating_sub(self.size)).unwrap_or(usize::MAX);
        whole(&records[..room.min(records.len())])
    }

    /// Puts the file aside and begins a new one. When that is not possible, the old one goes on for a while.
    fn rotate(&mut self) {
        let result = self.archive.name().and_then(|name| {
            std::fs::rename(&self.path, &name)?;
            self.open_anew()?;
            Ok(name)
        });
        match result {
            Ok(name) => {
                self.n_rotations += 1;
                self.archive.add(name);
            }
            Err(error) => {
                const AGAIN: Duration = Duration::from_secs(10);
                self.rotate_after = Some(Instant::now() + AGAIN);
                tracing::error!(
                    error = &error as &dyn std::error::Error,
                    path = %self.path.display(),
                    "the prediction log cannot be rotated; its file grows on"
                );
            }
        }
    }

    fn open_anew(&mut self) -> io::Result<()> {
        (self.file, _) = append_to(&self.path)?;
        self.rotate_after = None;
        self.look_at()
    }

    /// Sees from time to time whether somebody else has put the file aside, removed or emptied it.
    fn follow(&mut self) -> io::Result<()> {
        if self.last_look.is_some_and(|last| last.elapsed() < LOOK_EVERY) {
            return Ok(());
        }
        self.last_look = Some(Instant::now());
        let own = self.file.metadata()?;
        let is_same = std::fs::metadata(&self.path)
            .is_ok_and(|there| (there.dev(), there.ino()) == (own.dev(), own.ino()));
        if !is_same {
            return self.open_anew();
        }
        if own.len() != self.size {
            self.look_at()?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rotation(max_bytes: Option<u64>) -> Rotation {
        Rotation { max_bytes, max_age: None, keep: 0, compress: false }
    }

    fn open(path: &Path, max_bytes: Option<u64>) -> Output {
        Output::open(&Sink::File(path.to_owned()), &rotation(max_bytes)).unwrap().unwrap()
    }

    fn files(dir: &Path) -> Vec<String> {
        let mut files: Vec<_> =
            std::fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path()).collect();
        // The one that is written to comes last by its name, as letters follow digits.
        files.sort();
        files.iter().map(|path| std::fs::read_to_string(path).unwrap()).collect()
    }

    #[test]
    fn records_are_never_divided_between_files() {
        let dir = tempfile::tempdir().unwrap();
        let mut output = open(&dir.path().join("my.log"), Some(10));
        output.write(b"{1234}\n{1}\n{2}\n{12345678901234}\n{3}\n").unwrap();
        output.write(b"{4}\n{5}\n").unwrap();
        assert_eq!(
            files(dir.path()),
            ["{1234}\n", "{1}\n{2}\n", "{12345678901234}\n", "{3}\n{4}\n", "{5}\n"]
        );
        assert_eq!(output.n_rotations(), 4);
    }

    #[test]
    fn a_file_is_put_aside_when_it_is_old() {
        let dir = tempfile::tempdir().unwrap();
        let sink = Sink::File(dir.path().join("my.log"));
        let rotation = Rotation { max_age: Some(Duration::from_millis(50)), ..rotation(None) };
        let mut output = Output::open(&sink, &rotation).unwrap().unwrap();
        output.write(b"{1}\n{2}\n").unwrap();
        std::thread::sleep(Duration::from_millis(60));
        output.write(b"{3}\n").unwrap();
        assert_eq!(files(dir.path()), ["{1}\n{2}\n", "{3}\n"]);
    }

    /// A process was killed in the middle of a record.
    #[test]
    fn a_line_that_ends_in_the_middle_is_ended() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("my.log");
        for (before, after) in [("", "{2}\n"), ("{1}\n", "{1}\n{2}\n"), ("{1", "{1\n{2}\n")] {
            std::fs::write(&path, before).unwrap();
            open(&path, None).write(b"{2}\n").unwrap();
            assert_eq!(std::fs::read_to_string(&path).unwrap(), after);
        }
    }

    #[test]
    fn what_is_left_of_a_record_is_cut_off() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("my.log");
        let Output::File(mut log) = open(&path, None) else { unreachable!("it is a file") };
        log.write(b"{1}\n").unwrap();
        std::fs::write(&path, b"{1}\n{2").unwrap();
        log.size = 6;
        log.cut_off(2);
        log.write(b"{3}\n").unwrap();
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "{1}\n{3}\n");
        // Somebody else has written behind it.
        std::fs::write(&path, b"{1}\n{2{other}\n{2").unwrap();
        log.size = 6;
        log.cut_off(2);
        log.write(b"{3}\n").unwrap();
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "{1}\n{2{other}\n{2\n{3}\n");
    }

    /// As logrotate does it: by another name, by `copytruncate`, or by somebody who removes the file.
    #[test]
    fn a_file_that_was_rotated_away_is_followed() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("my.log");
        let mut output = open(&path, None);
        let mut write = |record: &[u8]| {
            output.reopen();
            output.write(record).unwrap();
        };
        write(b"{1}\n");
        std::fs::rename(&path, dir.path().join("my.1.log")).unwrap();
        write(b"{2}\n");
        assert_eq!(files(dir.path()), ["{1}\n", "{2}\n"]);
        File::options().write(true).open(&path).unwrap().set_len(0).unwrap();
        write(b"{3}\n");
        assert_eq!(files(dir.path()), ["{1}\n", "{3}\n"]);
        std::fs::remove_file(&path).unwrap();
        write(b"{4}\n");
        assert_eq!(files(dir.path()), ["{1}\n", "{4}\n"]);
    }

    #[test]
    fn a_full_device_says_so_and_takes_no_record() {
        let mut output = open(Path::new("/dev/full"), Some(1));
        let failed = output.write(b"{1}\n").unwrap_err();
        assert_eq!((failed.written, failed.error.kind()), (0, ErrorKind::StorageFull));
        assert!(!failed.is_for_good());
    }
}
