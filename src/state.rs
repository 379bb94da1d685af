//! What every handler may use: the models that are served, and the limits.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use serde::Serialize;

use bytes::Bytes;

use crate::access::Access;
use crate::engine::{Engine, Turns};
use crate::observe::metrics::{Metrics, ModelMetrics};
use crate::observe::otlp::Tracer;
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
#[derive(Debug)]
pub struct Frames {
    /// Whether they are kept at all. Tensors and pictures may be far larger than what they were read from.
    keeps: bool,
    small: Mutex<Vec<Frame>>,
    large: Mutex<Vec<Frame>>,
}

impl Frames {
    /// More small ones are not kept: of few rows, from a body that is not large.
    const MOST: usize = 32;
    const MOST_ROWS: usize = 256;
    const MOST_BYTES: usize = 256 * 1024;
    /// Nor more large ones. Still larger ones are not kept at all: their requests can well afford a new one.
    const MOST_LARGE: usize = 2;
    const MOST_LARGE_ROWS: usize = 4 * 1024;

    /// None yet, for this schema.
    #[must_use]
    pub fn new(schema: &Schema) -> Self {
        let is_tensor = |column: &Column| matches!(column, Column::Tensor(_) | Column::Image(_));
        let keeps = !schema.frame().columns().iter().any(is_tensor);
        Self { keeps, small: Mutex::default(), large: Mutex::default() }
    }

    /// A frame for this schema, to read a body of so many bytes into; its rows are those of an earlier request.
    pub fn take(&self, schema: &Schema, n_bytes: usize) -> Frame {
        let frames = if n_bytes <= Self::MOST_BYTES { &self.small } else { &self.large };
        let kept = frames.lock().unwrap_or_else(PoisonError::into_inner).pop();
        kept.unwrap_or_else(|| schema.frame())
    }

    /// Takes back a frame that was read from a body of so many bytes.
    pub fn put(&self, frame: Frame, n_bytes: usize) {
        if !self.keeps {
            return;
        }
        let (frames, most) = if n_bytes <= Self::MOST_BYTES && frame.n_rows() <= Self::MOST_ROWS {
            (&self.small, Self::MOST)
        } else if n_bytes <= Buffers::LARGEST && frame.n_rows() <= Self::MOST_LARGE_ROWS {
            (&self.large, Self::MOST_LARGE)
        } else {
            return;
        };
        let mut frames = frames.lock().unwrap_or_else(PoisonError::into_inner);
        if frames.len() < most {
            frames.push(frame);
        }
    }
}

/// Memory that large bodies were gathered in: new memory of that size costs as much as decoding it, since the system clears each page.
#[derive(Debug, Clone, Default)]
pub struct Buffers(Arc<Mutex<Vec<Vec<u8>>>>);

impl Buffers {
    /// More are not kept.
    const MOST: usize = 4;
    /// A smaller or a larger one is not.
    const SMALLEST: usize = 64 * 1024;
    const LARGEST: usize = 4 * 1024 * 1024;

    /// An empty buffer with room for so many bytes.
    #[must_use]
    pub fn take(&self, n_bytes: usize) -> Vec<u8> {
        if !(Self::SMALLEST..=Self::LARGEST).contains(&n_bytes) {
            return Vec::with_capacity(n_bytes);
        }
        let mut buffers = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match buffers.iter().position(|buffer| buffer.capacity() >= n_bytes) {
            Some(at) => buffers.swap_remove(at),
            None => {
                // Make room for a larger one.
                buffers.pop();
                Vec::with_capacity(n_bytes.next_power_of_two())
            }
        }
    }

    /// Makes a buffer into bytes that are shared; the memory is kept once the last of them is gone.
    #[must_use]
    pub fn share(&self, buffer: Vec<u8>) -> Bytes {
        if !(Self::SMALLEST..=Self::LARGEST).contains(&buffer.capacity()) {
            return Bytes::from(buffer);
        }
        Bytes::from_owner(Shared { buffer, home: self.clone() })
    }
}

/// A buffer that goes back when it is dropped.
struct Shared {
    buffer: Vec<u8>,
    home: Buffers,
}

impl AsRef<[u8]> for Shared {
    fn as_ref(&self) -> &[u8] {
        &self.buffer
    }
}

impl Drop for Shared {
    fn drop(&mut self) {
        let mut buffer = std::mem::take(&mut self.buffer);
        buffer.clear();
        let mut buffers = self.home.0.lock().unwrap_or_else(PoisonError::into_inner);
        if buffers.len() < Buffers::MOST {
            buffers.push(buffer);
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
    /// Whether there is a field of pictures.
    pub has_images: bool,
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
        let frames = Frames::new(model.schema());
        let has_images = model.schema().fields().iter().any(|field| field.kind() == Kind::Image);
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
            has_images,
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
    /// Whether connections are encrypted here, and not by a proxy.
    pub has_tls: bool,
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
    buffers: Buffers,
    metrics: Arc<Metrics>,
    tracer: Option<Tracer>,
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
            buffers: Buffers::default(),
            metrics,
            tracer: None,
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

    /// Memory for large bodies.
    #[must_use]
    pub fn buffers(&self) -> &Buffers {
        &self.buffers
    }

    /// With spans of requests sent by this tracer.
    #[must_use]
    pub fn traced_by(mut self, tracer: Option<Tracer>) -> Self {
        if let Some(tracer) = &tracer {
            self.metrics.watch_spans(tracer.counts());
        }
        self.tracer = tracer;
        self
    }

    /// Who sends spans of requests, if anybody does.
    #[must_use]
    pub fn tracer(&self) -> Option<&Tracer> {
        self.tracer.as_ref()
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_large_buffer_is_used_again_once_nobody_has_its_bytes() {
        let buffers = Buffers::default();
        let mut buffer = buffers.take(1_500_000);
        buffer.extend_from_slice(&[1; 1_500_000]);
        let address = buffer.as_ptr();
        let bytes = buffers.share(buffer);
        let slice = bytes.slice(1..10);
        drop(bytes);
        let other = buffers.take(1_500_000);
        assert_ne!(other.as_ptr(), address);
        assert_eq!(*slice, [1; 9]);
        drop(slice);
        let again = buffers.take(1_600_000);
        assert_eq!((again.as_ptr(), again.len()), (address, 0));
    }

    #[test]
    fn no_more_than_a_few_large_buffers_are_kept() {
        let buffers = Buffers::default();
        let n_kept = || buffers.0.lock().unwrap().len();
        let shared: Vec<Bytes> =
            (0..10).map(|_| buffers.share(buffers.take(Buffers::SMALLEST))).collect();
        drop(shared);
        assert_eq!(n_kept(), Buffers::MOST);
        drop(buffers.share(Vec::with_capacity(Buffers::LARGEST + 1)));
        assert_eq!(n_kept(), Buffers::MOST);
        // None of them is large enough, so one of them goes.
        drop(buffers.take(Buffers::LARGEST));
        assert_eq!(n_kept(), Buffers::MOST - 1);
    }
}
