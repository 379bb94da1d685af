//! What can go wrong with ONNX Runtime.

use std::path::PathBuf;

/// Why the library could not be opened, or a graph not opened or run.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RuntimeError {
    /// There is no library.
    #[error("ONNX Runtime's shared library was not found: {looked}")]
    NotFound {
        /// Where it was looked for.
        looked: String,
    },
    /// There is a file, but it cannot be used.
    #[error("`{}` is not ONNX Runtime's shared library: {reason}", .path.display())]
    Unusable {
        /// The file.
        path: PathBuf,
        /// What the system said.
        reason: String,
    },
    /// The library is too old.
    #[error("ONNX Runtime at `{}` is version {version}, but 1.28 or newer is needed", .path.display())]
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
    /// The graph was written for a newer library.
    #[error("the graph `{}` is too new for this ONNX Runtime: it was written for {what}", .path.display())]
    TooNew {
        /// The graph's file.
        path: PathBuf,
        /// What it needs and what there is.
        what: String,
    },
    /// The graph uses an operator that the library does not have.
    #[error("the graph `{}` uses the operator {what}, which ONNX Runtime does not have", .path.display())]
    Operator {
        /// The graph's file.
        path: PathBuf,
        /// The operator.
        what: String,
    },
    /// The graph cannot be run.
    #[error("ONNX Runtime cannot run the graph: {reason}")]
    Run {
        /// What the library said.
        reason: String,
    },
}

impl RuntimeError {
    /// What can be done about it.
    #[must_use]
    pub fn hint(&self) -> Option<&'static str> {
        match self {
            Self::NotFound { .. } | Self::Unusable { .. } => Some(
                "in a checkout type `make onnxruntime`; elsewhere set ORT_DYLIB_PATH to the path of the library",
            ),
            Self::TooOld { .. } => Some(
                "in a checkout type `make onnxruntime`; elsewhere set ORT_DYLIB_PATH to the path of a newer one",
            ),
            Self::TooNew { .. } => Some(
                "export it for an older operator set (torch.onnx.export: opset_version; skl2onnx: target_opset), or put a newer library in place",
            ),
            Self::Operator { .. } => Some(
                "operators of one's own are not served; export the graph without them, or in terms of ONNX's own",
            ),
            Self::Environment { .. }
            | Self::NotInitialised
            | Self::Open { .. }
            | Self::Run { .. } => None,
        }
    }
}
