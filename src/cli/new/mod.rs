//! `seaworthy new`: a project of one's own around models that this program serves.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use super::Context;

#[derive(Debug, clap::Args)]
#[command(after_help = "\
It writes an example model with the script that trains it, settings, a Dockerfile, a Makefile, CI and a README.
Example:
  seaworthy new my-service
  cd my-service
  seaworthy serve")]
pub(super) struct Options {
    /// The directory to make; its last part is the name of the service
    directory: PathBuf,
    /// The image of Seaworthy that the Dockerfile starts from, as it is pulled
    #[arg(long, default_value = "seaworthy", value_name = "IMAGE")]
    image: String,
}

/// Why no project was written.
#[derive(Debug, thiserror::Error)]
pub(super) enum NewError {
    #[error("`{name}` cannot be the name of a service")]
    Name { name: String },
    #[error("`{image}` cannot be the name of an image")]
    Image { image: String },
    #[error("`{path}` is there and is not an empty directory")]
    Exists { path: PathBuf },
    #[error("cannot write `{path}`")]
    Write {
        path: PathBuf,
        #[source]
        source: std::io::Error,
    },
}

impl NewError {
    /// What can be done.
    pub(super) fn hint(&self) -> Option<&'static str> {
        match self {
            Self::Name { .. } => Some(
                "the directory's name becomes that of an image: lower-case letters, digits, `-`, `_` and `.`, a letter first, e.g. my-service",
            ),
            Self::Image { .. } => {
                Some("name it as `docker pull` does, e.g. registry.example.com/seaworthy:0.1.0")
            }
            Self::Exists { .. } => {
                Some("name a directory that is empty or not there yet: nothing is overwritten")
            }
            Self::Write { .. } => None,
        }
    }
}

/// A file of the project.
struct File {
    path: &'static str,
    content: &'static [u8],
    executable: bool,
}

/// A file from the directory `project` beside this one.
macro_rules! file {
    ($path:literal) => {
        file!($path, $path)
    };
    ($path:literal, $from:literal) => {
        file!($path, $from, false)
    };
    ($path:literal, $from:literal, $executable:literal) => {
        File {
            path: $path,
            content: include_bytes!(concat!("project/", $from)),
            executable: $executable,
        }
    };
}

const FILES: &[File] = &[
    file!("README.md"),
    file!("Dockerfile"),
    file!(".dockerignore", "dockerignore"),
    file!(".gitignore", "gitignore"),
    file!(".circleci/config.yml", "circleci.yml"),
    file!("Makefile"),
    file!("config/default.toml", "default.toml"),
    file!("heroku.yml"),
    file!("models/rents/1.0.0/SHA256SUMS"),
    file!("models/rents/1.0.0/golden.jsonl"),
    file!("models/rents/1.0.0/manifest.json"),
    file!("models/rents/1.0.0/model.onnx"),
    file!("models/rents/1.0.0/profile.json"),
    file!("request.json"),
    file!("requirements.txt"),
    file!("smoke.sh", "smoke.sh", true),
    file!("train.py"),
];

pub(super) fn run(options: &Options, context: &Context) -> anyhow::Result<ExitCode> {
    let directory = &options.directory;
    let name = name(directory)?;
    let is_image = |c: char| c.is_ascii_alphanumeric() || "-_./:@".contains(c);
    if options.image.is_empty() || !options.image.chars().all(is_image) {
        return Err(NewError::Image { image: options.image.clone() }.into());
    }
    write(directory, &name, &options.image)?;
    context.printer.note(&format!(
        "{} holds a service with the example model `rents`. Next:\n  cd {}\n  seaworthy serve      # or: make image smoke",
        directory.display(),
        directory.display(),
    ));
    Ok(ExitCode::SUCCESS)
}

/// The name of the service: that of the directory.
fn name(directory: &Path) -> Result<String, NewError> {
    // `.` and `..` have no name until they are looked up.
    let named = match directory.file_name() {
        Some(_) => directory.to_owned(),
        None => directory.canonicalize().unwrap_or_else(|_not_there| directory.to_owned()),
    };
    let name = named.file_name().unwrap_or(directory.as_os_str()).to_string_lossy().into_owned();
    let may_follow = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || "-_.".contains(c);
    // An image's name has no two marks in a row, nor one at its end.
    let is_mark = |c: char| "-_.".contains(c);
    let lonely = !name.ends_with(is_mark)
        && !name
            .as_bytes()
            .windows(2)
            .any(|pair| pair.iter().all(|byte| is_mark(char::from(*byte))));
    if name.starts_with(|c: char| c.is_ascii_lowercase()) && name.chars().all(may_follow) && lonely
    {
        Ok(name)
    } else {
        Err(NewError::Name { name })
    }
}

fn write(directory: &Path, name: &str, image: &str) -> Result<(), NewError> {
    let failed = |path: &Path| {
        let path = path.to_owned();
        move |source| NewError::Write { path, source }
    };
    let is_empty = match std::fs::read_dir(directory) {
        Ok(mut entries) => entries.next().is_none(),
        Err(_no_directory) => !directory.exists(),
    };
    if !is_empty {
        return Err(NewError::Exists { path: directory.to_owned() });
    }
    for file in FILES {
        let path = directory.join(file.path);
        if let Some(parent) = path.parent() {
            std::fs::create_dir_all(parent).map_err(failed(parent))?;
        }
        let mut open = std::fs::OpenOptions::new();
        // What somebody else has put there meanwhile stays as it is.
        open.write(true).create_new(true);
        #[cfg(unix)]
        std::os::unix::fs::OpenOptionsExt::mode(
            &mut open,
            if file.executable { 0o777 } else { 0o666 },
        );
        open.open(&path)
            .and_then(|mut opened| opened.write_all(&filled(file.content, name, image)))
            .map_err(failed(&path))?;
    }
    Ok(())
}

/// The text with the names in it; what is no text is taken as it is.
fn filled(content: &'static [u8], name: &str, image: &str) -> Vec<u8> {
    match std::str::from_utf8(content) {
        Ok(text) => text.replace("@NAME@", name).replace("@IMAGE@", image).into_bytes(),
        Err(_no_text) => content.to_vec(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_directory_names_the_service() {
        for good in ["my-service", "/tmp/rents2", "./a.b_c", "x"] {
            assert_eq!(name(Path::new(good)).unwrap(), good.rsplit('/').next().unwrap());
        }
        for bad in ["My-Service", "2rents", "-x", "my service", "a--b", "a-", "caf\u{e9}", "", "/"]
        {
            assert!(matches!(name(Path::new(bad)), Err(NewError::Name { .. })), "{bad}");
        }
    }

    #[test]
    fn no_place_for_a_name_is_left() {
        for file in FILES {
            let filled = filled(file.content, "a-name", "an-image");
            let text = String::from_utf8_lossy(&filled);
            assert!(!text.contains("@NAME@") && !text.contains("@IMAGE@"), "{}", file.path);
        }
    }
}
