//! Why an artifact was refused before anything was computed.

use std::path::PathBuf;

/// Why an artifact was refused.
#[derive(Debug, thiserror::Error)]
pub enum ArtifactError {
    /// The directory is not there.
    #[error("there is no artifact at `{}`: {problem}", .path.display())]
    NotFound {
        /// What was looked for.
        path: PathBuf,
        /// What was there instead.
        problem: String,
    },
    /// A file cannot be read.
    #[error("`{}` cannot be read", .path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: std::io::Error,
    },
    /// A file does not say what it should.
    #[error("`{}`: {problem}", .path.display())]
    Unsound {
        /// The file.
        path: PathBuf,
        /// What was found, what was expected.
        problem: String,
    },
    /// The format is newer than this program.
    #[error("`{}`: the format is `{found}`, but this version of seaworthy reads `seaworthy/1`", .path.display())]
    NewerFormat {
        /// The manifest.
        path: PathBuf,
        /// The format it names.
        found: String,
    },
    /// A file is not what was published.
    #[error("`{}` is not the file that SHA256SUMS lists: its SHA-256 is {found}, listed is {expected}", .path.display())]
    Hash {
        /// The file.
        path: PathBuf,
        /// The hash of the file.
        found: String,
        /// The hash in the list.
        expected: String,
    },
    /// A file is listed and absent.
    #[error("`{}` is listed in SHA256SUMS, but it is not there", .path.display())]
    Absent {
        /// The file.
        path: PathBuf,
    },
    /// A file is there and not listed.
    #[error("`{}` is not listed in SHA256SUMS; an artifact holds nothing else", .path.display())]
    Unlisted {
        /// The file.
        path: PathBuf,
    },
    /// A path leads out of the artifact.
    #[error("`{}` names the path `{found}`, which leads out of the artifact", .path.display())]
    Escapes {
        /// The file that names it.
        path: PathBuf,
        /// The path.
        found: String,
    },
    /// A signature is wrong.
    #[error("`{}`: {problem}", .path.display())]
    Signature {
        /// The file of signatures.
        path: PathBuf,
        /// What is wrong.
        problem: String,
    },
    /// Nobody known has signed it.
    #[error("`{}` is not trusted: {found}; `models.require_signature` asks for a signature by one of: {known}", .path.display())]
    Untrusted {
        /// The artifact.
        path: PathBuf,
        /// Who has signed.
        found: String,
        /// Who is known.
        known: String,
    },
    /// The graph reads a file that is not one of the artifact's.
    #[error("`{}` reads `{location}`, which is no file of the artifact", .path.display())]
    External {
        /// The graph.
        path: PathBuf,
        /// What it reads.
        location: String,
    },
    /// A link leads out of the artifact.
    #[error("`{}` is a link that leads out of the artifact, to `{}`", .path.display(), .target.display())]
    Link {
        /// The link.
        path: PathBuf,
        /// Where it leads.
        target: PathBuf,
    },
}

impl ArtifactError {
    /// What can be done about it.
    #[must_use]
    pub fn hint(&self) -> Option<&'static str> {
        match self {
            Self::NewerFormat { .. } => Some(
                "install a newer seaworthy, or export the model again with an older seaworthy_export",
            ),
            Self::Hash { .. } | Self::Absent { .. } | Self::Unlisted { .. } => Some(
                "an artifact is never edited: copy it again from where it was published, or export the model as a new version",
            ),
            Self::Signature { .. } => Some(
                "somebody has changed SHA256SUMS, or its signatures, since it was signed: copy the artifact again from where it was published",
            ),
            Self::Untrusted { .. } => Some(
                "`seaworthy sign ARTIFACT --key FILE` signs it; the public key goes into `models.signers`",
            ),
            Self::NotFound { .. }
            | Self::External { .. }
            | Self::Read { .. }
            | Self::Unsound { .. }
            | Self::Escapes { .. }
            | Self::Link { .. } => None,
        }
    }
}
