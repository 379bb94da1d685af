//! What can go wrong with ONNX Runtime.

use std::path::PathBuf;

/// Why the library could not be opened, or a graph not opened or run.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RuntimeError {
    /// There is no library.
    #[error(
        "ONNX Runtime (the shared library) was not found: {looked}; in a checkout type `make onnxruntime`, elsewhere set ORT_DYLIB_PATH to its path"
    )]
    NotFound {
        /// Where it was looked for.
        looked: String,
    },
    /// The library is too old.
    #[error("ONNX Runtime at `{}` is version {version}, but 1.28 or newer is needed; in a checkout type `make onnxruntime`, elsewhere set ORT_DYLIB_PATH to a newer one", .path.display())]
    TooOld {
        /// The library.
        path: PathBuf,
        /// Its version.
        version: String,
    },
    /// The library does not start.
    #[error("ONNX Runtime does not start: {reason}")]
    Environment {
        /// What it said.
        reason: String,
    },
    /// A session was opened before the library.
    #[error("ONNX Runtime has not been opened yet")]
    NotInitialised,
    /// The graph cannot be opened.
    #[error("ONNX Runtime cannot open the graph `{}`: {reason}", .path.display())]
    Open {
        /// The graph's file.
        path: PathBuf,
        /// What the library said.
        reason: String,
    },
    /// The graph cannot be run.
    #[error("ONNX Runtime cannot run the graph: {reason}")]
    Run {
        /// What the library said.
        reason: String,
    },
}
