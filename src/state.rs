//! What every handler may use: the models that are served, and the limits.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use serde::Serialize;

use crate::access::Access;
use crate::engine::{Engine, Turns};
use crate::observe::metrics::{Metrics, ModelMetrics};
use crate::observe::sampling::Sample;
use crate::predictor::Model;
use crate::proof::Proof;
use crate::schema::{Column, DecodeOptions, Frame, Kind, Schema};

/// What a version does in serving.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// Answers for its model.
    Primary,
    /// Answers when it is asked for by its version.
    Standby,
}

impl Role {
    /// As metadata and log spell it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Primary => "primary",
            Self::Standby => "standby",
        }
    }
}

/// Frames that have done their work, so that the next request needs no memory of its own.
#[derive(Debug, Default)]
pub struct Frames(Mutex<Vec<Frame>>);

impl Frames {
    /// More are not kept.
    const MOST: usize = 32;
    /// One of more rows, or from a larger body, is not kept: its request can well afford a new one.
    const MOST_ROWS: usize = 256;
    const MOST_BYTES: usize = 256 * 1024;

    /// A frame for this schema; its rows are those of an earlier request.
    pub fn take(&self, schema: &Schema) -> Frame {
        let kept = self.0.lock().unwrap_or_else(PoisonError::into_inner).pop();
        kept.unwrap_or_else(|| schema.frame())
    }

    /// Takes back a frame that was read from a body of so many bytes. Tensors may be far larger than what they were read from.
    pub fn put(&self, frame: Frame, n_bytes: usize) {
        let is_tensor = |column: &Column| matches!(column, Column::Tensor(_) | Column::Image(_));
        if frame.n_rows() <= Self::MOST_ROWS
            && n_bytes <= Self::MOST_BYTES
            && !frame.columns().iter().any(is_tensor)
        {
            let mut frames = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            if frames.len() < Self::MOST {
                frames.push(frame);
            }
        }
    }
}

/// A proven model with the engine that runs it.
#[derive(Debug)]
pub struct Deployment {
    /// The model.
    pub model: Arc<Model>,
    /// What was compared before it was served.
    pub proof: Proof,
    /// Who runs it.
    pub engine: Engine,
    /// What it does.
    pub role: Role,
    /// The beginning of each of its log records, made once: `,"model":…,"version":…,"artifact":…,"role":…`.
    pub log_prefix: String,
    /// A part of each of its answers, made once: `,"version":"…"`.
    pub answer_version: String,
    /// Frames for its requests.
    pub frames: Frames,
    /// The indices of fields whose values are kept out of the log.
    pub sensitive: Vec<usize>,
    /// What is counted of it.
    pub metrics: ModelMetrics,
    /// The share of its requests that is logged, when not all are.
    pub sample: Option<Sample>,
}

impl Deployment {
    /// Puts a proven model into service.
    #[must_use]
    pub fn new(model: Arc<Model>, proof: Proof, engine: Engine, role: Role) -> Self {
        let artifact = model.artifact();
        let json = |text: &str| serde_json::Value::from(text).to_string();
        let log_prefix = format!(
            ",\"model\":{},\"version\":{},\"artifact\":{},\"role\":{}",
            json(&artifact.manifest().name),
            json(&artifact.manifest().version.to_string()),
            json(artifact.digest()),
            json(role.as_str()),
        );
        let fields = model.schema().fields().iter().enumerate();
        let sensitive =
            fields.filter(|(_, field)| field.spec().sensitive).map(|(index, _)| index).collect();
        let answer_version =
            format!(",\"version\":{}", json(&artifact.manifest().version.to_string()));
        let frames = Frames::default();
        let metrics = ModelMetrics::default();
        Self {
            model,
            proof,
            engine,
            role,
            log_prefix,
            answer_version,
            frames,
            sensitive,
            metrics,
            sample: None,
        }
    }

    /// Whether the field of this key holds a picture.
    #[must_use]
    pub fn is_image(&self, key: &str) -> bool {
        let schema = self.model.schema();
        let field = schema.index_of(key).and_then(|index| schema.fields().get(index));
        field.is_some_and(|field| field.kind() == Kind::Image)
    }

    /// Whether there is a field of pictures.
    #[must_use]
    pub fn has_images(&self) -> bool {
        self.model.schema().fields().iter().any(|field| field.kind() == Kind::Image)
    }

    /// Whether what stands at a key of a row may be something that must not be logged: the value of a sensitive field, or anything at a place
    /// where no field is known.
    #[must_use]
    pub fn may_hold_sensitive(&self, key: Option<&str>) -> bool {
        let field = key.and_then(|key| self.model.schema().index_of(key));
        !self.sensitive.is_empty() && field.is_none_or(|field| self.sensitive.contains(&field))
    }

    /// The model's name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.model.artifact().manifest().name
    }

    /// The model's version.
    #[must_use]
    pub fn version(&self) -> &semver::Version {
        &self.model.artifact().manifest().version
    }
}

/// What is done with a model before it is served.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Step {
    /// Its files are read and compared with their hashes, and its graph is opened.
    Opening,
    /// Its golden rows are computed again.
    Proving,
    /// It is measured what a row costs.
    Measuring,
    /// One predictor for each thread is opened.
    Starting,
}

/// How far the loading of the models is.
#[derive(Debug, Clone, Serialize)]
pub struct Loaded {
    /// The directory of the model that is being loaded.
    pub model: String,
    /// What is done with it.
    pub step: Step,
    /// Models that are proven.
    pub done: usize,
    /// All models that are to be served.
    pub total: usize,
    /// Since the start.
    pub seconds: f64,
}

/// How far the loading of the models is, for those who ask while it goes on; cheap to clone.
#[derive(Debug, Clone)]
pub struct Loading {
    since: Instant,
    loaded: Arc<Mutex<Loaded>>,
}

impl Default for Loading {
    fn default() -> Self {
        let (model, step) = (String::new(), Step::Opening);
        let loaded = Loaded { model, step, done: 0, total: 0, seconds: 0.0 };
        Self { since: Instant::now(), loaded: Arc::new(Mutex::new(loaded)) }
    }
}

impl Loading {
    /// Notes how far it is.
    pub fn note(&self, change: impl FnOnce(&mut Loaded)) {
        change(&mut self.loaded.lock().unwrap_or_else(PoisonError::into_inner));
    }

    /// How far it is now.
    #[must_use]
    pub fn loaded(&self) -> Loaded {
        let loaded = self.loaded.lock().unwrap_or_else(PoisonError::into_inner).clone();
        Loaded { seconds: (self.since.elapsed().as_secs_f64() * 10.0).round() / 10.0, ..loaded }
    }
}

/// What the bodies of the requests under way hold together; cheap to clone.
#[derive(Debug, Clone)]
pub struct Bodies {
    n_bytes: Arc<AtomicUsize>,
    at_most: usize,
}

impl Bodies {
    /// None yet.
    #[must_use]
    pub fn new(at_most: usize) -> Self {
        Self { n_bytes: Arc::default(), at_most }
    }

    /// A body that holds nothing yet.
    #[must_use]
    pub fn hold(&self) -> Held {
        Held { bodies: self.clone(), n_bytes: 0 }
    }
}

/// What one body holds, until it is dropped.
#[derive(Debug)]
pub struct Held {
    bodies: Bodies,
    n_bytes: usize,
}

impl Held {
    /// The body has grown to this size. Whether all bodies together may hold so much.
    #[must_use]
    pub fn grow_to(&mut self, n_bytes: usize) -> bool {
        let more = n_bytes.saturating_sub(self.n_bytes);
        let before = self.bodies.n_bytes.fetch_add(more, Ordering::Relaxed);
        self.n_bytes += more;
        before.saturating_add(more) <= self.bodies.at_most
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.bodies.n_bytes.fetch_sub(self.n_bytes, Ordering::Relaxed);
    }
}

/// What a request may cost, and who may ask.
#[derive(Debug)]
pub struct Limits {
    /// A request is given up after this long.
    pub request_timeout: Duration,
    /// The body must have arrived after this long.
    pub body_timeout: Duration,
    /// A larger body is refused.
    pub max_body_bytes: usize,
    /// What the bodies of all requests under way hold, and may hold.
    pub bodies: Bodies,
    /// Turns for reading the large ones.
    pub turns: Turns,
    /// How rows are read.
    pub decode: DecodeOptions,
    /// Of a body that is not JSON this much is logged.
    pub max_text_bytes: usize,
    /// Whether requests that were refused or failed are logged by the sample only, too.
    pub sample_refused: bool,
    /// The key of the hash of sensitive values; empty for none.
    pub sensitive_key: String,
    /// An answer of this size is compressed for those who take it; none when no answer is.
    pub compress_from: Option<u64>,
    /// Who may ask.
    pub access: Access,
    /// Whether pictures are logged whole, and not only by their digest.
    pub log_whole_images: bool,
}

/// Shared by all requests; cheap to clone. Nothing in it changes after start but whether the server drains.
#[derive(Debug, Clone)]
pub struct AppState {
    deployments: Arc<[Deployment]>,
    default: usize,
    limits: Arc<Limits>,
    metrics: Arc<Metrics>,
    draining: Arc<AtomicBool>,
}

impl AppState {
    /// The state of a server of these deployments; `default` is the index of the one that `POST /v1/predict` asks. `None`
    /// when there is no such deployment.
    #[must_use]
    pub fn new(
        deployments: Vec<Deployment>,
        default: usize,
        limits: Limits,
        metrics: Arc<Metrics>,
    ) -> Option<Self> {
        (default < deployments.len()).then(|| Self {
            deployments: deployments.into(),
            default,
            limits: Arc::new(limits),
            metrics,
            draining: Arc::new(AtomicBool::new(false)),
        })
    }

    /// Everything that is served, by name and version.
    #[must_use]
    pub fn deployments(&self) -> &[Deployment] {
        &self.deployments
    }

    /// What `POST /v1/predict` asks.
    #[must_use]
    pub fn default_deployment(&self) -> &Deployment {
        // `new` has checked the index.
        &self.deployments[self.default]
    }

    /// The deployment that answers for a model, or for one of its versions.
    #[must_use]
    pub fn find(&self, model: &str, version: Option<&str>) -> Option<&Deployment> {
        self.deployments.iter().filter(|deployment| deployment.name() == model).find(|deployment| {
            match version {
                Some(version) => deployment.version().to_string() == version,
                None => deployment.role == Role::Primary,
            }
        })
    }

    /// What a request may cost.
    #[must_use]
    pub fn limits(&self) -> &Limits {
        &self.limits
    }

    /// What is counted.
    #[must_use]
    pub fn metrics(&self) -> &Arc<Metrics> {
        &self.metrics
    }

    /// Whether the server is about to stop: it still answers, but is not ready for more.
    #[must_use]
    pub fn is_draining(&self) -> bool {
        self.draining.load(Ordering::Relaxed)
    }

    /// Says that the server is about to stop.
    pub fn start_draining(&self) {
        self.draining.store(true, Ordering::Relaxed);
    }
}
