//! Who builds what: settings in, a bound server out, and its orderly end.

use std::io::IsTerminal as _;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::Router;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use hyper_util::server::graceful::{GracefulShutdown, Watcher};
use hyper_util::service::TowerToHyperService;
use tokio::net::{TcpListener, TcpStream};

use crate::access::{Access, AccessError, Keys};
use crate::artifact::{Artifact, ArtifactError, NoSigner, Trust, store};
use crate::bare::{self, BareError};
use crate::config::{Load, LoggedImages, Otel, Process, Settings};
use crate::engine::{Cpus, Ended, Engine, Lane, Plan, Predict, Turns};
use crate::http;
use crate::http::connection::{Bounds, Connections, Patience, Requests, Socket, Stream};
use crate::http::threads::Threads;
use crate::image;
use crate::observe::metrics::{Metrics, Place};
use crate::observe::otlp::{self, Endpoint, Tracer};
use crate::observe::prediction_log::PredictionLog;
use crate::observe::sampling::Sampling;
use crate::predictor::{LoadError, Model, Predictor};
use crate::proof::{self, Proof, ProofError};
use crate::runtime::{self, GraphFile, RuntimeError, SessionOptions};
use crate::schema::DecodeOptions;
use crate::state::{AppState, Bodies, Deployment, Limits, Loading, Role, Step};
use crate::tls::{Identity, TlsError};

mod plan;

/// Why a server did not start, or stopped.
#[derive(Debug, thiserror::Error)]
pub enum ServerError {
    /// ONNX Runtime cannot be used.
    #[error(transparent)]
    Runtime(#[from] RuntimeError),
    /// A model cannot be loaded.
    #[error(transparent)]
    Load(#[from] LoadError),
    /// No model can be made of a bare graph.
    #[error(transparent)]
    Bare(#[from] BareError),
    /// A model does not give what it gave in training.
    #[error(transparent)]
    Proof(#[from] ProofError),
    /// It is not clear what to serve by default.
    #[error("models.default is empty, but there are several models: {known}; name one of them")]
    NoDefault {
        /// What there is.
        known: String,
    },
    /// The threads of an engine cannot be started.
    #[error("the threads that predict cannot be started")]
    Engine(#[source] std::io::Error),
    /// The file of keys cannot be read.
    #[error("the file of keys `{}` (access.keys_file) cannot be read", .path.display())]
    KeysFile {
        /// The file.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: std::io::Error,
    },
    /// The file of keys holds none: everybody would be let in.
    #[error("the file of keys `{}` (access.keys_file) holds no key", .path.display())]
    NoKeys {
        /// The file.
        path: PathBuf,
    },
    /// The keys cannot be used.
    #[error("{place}: {source}")]
    Keys {
        /// Where they stand.
        place: String,
        /// What is wrong with them.
        #[source]
        source: AccessError,
    },
    /// A signer is none.
    #[error("models.signers: {0}")]
    Signers(#[source] NoSigner),
    /// Certificate or key cannot be used.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// The address cannot be listened on.
    #[error("cannot listen on {address}")]
    Bind {
        /// The address asked for.
        address: SocketAddr,
        /// What the system said.
        #[source]
        source: std::io::Error,
    },
    /// The thread that sends spans cannot be started.
    #[error("the thread that sends spans cannot be started")]
    Tracer(#[source] std::io::Error),
    /// The signals cannot be listened to.
    #[error("the signals that end the server cannot be listened to")]
    Signals(#[source] std::io::Error),
    /// The threads that serve connections cannot be started.
    #[error("no threads can be started for the connections")]
    Threads(#[source] std::io::Error),
    /// The thread that loaded models in the background ended without a result.
    #[error("the thread that loads the models has ended")]
    LoadingEnded,
    /// A thread that predicts ended before the server: nothing can be predicted any more.
    #[error("a thread that predicts has ended")]
    PredictorEnded,
}

/// Loads an artifact and proves it: the very same for the server and for every command.
///
/// # Errors
/// The artifact cannot be loaded, or does not give what training recorded.
pub fn load_and_prove(dir: &Path) -> Result<(Predictor, Proof), ServerError> {
    load_trusted(dir, &Trust::default())
}

/// As [`load_and_prove`], for those who trust not everybody.
///
/// # Errors
/// As [`load_and_prove`]; or nobody who is trusted has signed the artifact.
pub fn load_trusted(dir: &Path, trust: &Trust) -> Result<(Predictor, Proof), ServerError> {
    prove(&compile(dir, trust)?)
}

/// Opens an artifact that somebody trusted has signed, if that is asked for, and whose graph reads no files but its own; or makes one of a
/// bare ONNX file in memory.
///
/// # Errors
/// The artifact is not sound, or not trusted.
pub fn open_artifact(dir: &Path, trust: &Trust) -> Result<Artifact, ServerError> {
    let artifact = if bare::is_graph(dir) {
        bare::load(dir)?
    } else {
        Artifact::open(dir).map_err(LoadError::from)?
    };
    trust.check(&artifact).map_err(LoadError::from)?;
    // What a bare graph reads, `bare` has looked at.
    if !artifact.files().is_empty() {
        let path = artifact.graph();
        let read = std::fs::read(&path)
            .map_err(|source| ArtifactError::Read { path: path.clone(), source });
        let graph = GraphFile::read(&read.map_err(LoadError::from)?).unwrap_or_default();
        let below = Path::new(&artifact.manifest().model.file).parent().unwrap_or(Path::new(""));
        let is_own = |location: &String| artifact.files().contains(&below.join(location));
        if let Some(location) = graph.external.into_iter().find(|location| !is_own(location)) {
            return Err(LoadError::from(ArtifactError::External { path, location }).into());
        }
    }
    Ok(artifact)
}

/// Reads an artifact and compiles it: all of a model but its graph.
///
/// # Errors
/// The artifact is not sound, or not trusted.
pub fn compile(dir: &Path, trust: &Trust) -> Result<Arc<Model>, ServerError> {
    Ok(Arc::new(Model::load(open_artifact(dir, trust)?)?))
}

/// As [`compile`], where ONNX Runtime is not needed for it, so that it may be done while that is opened: it is what reads a bare graph.
#[must_use]
pub fn compile_ahead(dir: &Path, trust: &Trust) -> Option<Result<Arc<Model>, ServerError>> {
    (!bare::is_graph(dir)).then(|| compile(dir, trust))
}

/// Opens the graph of a compiled model and proves it.
///
/// # Errors
/// The graph cannot be opened, or does not give what training recorded.
pub fn prove(model: &Arc<Model>) -> Result<(Predictor, Proof), ServerError> {
    prove_with(model, SessionOptions::default(), &|_step| {})
}

fn prove_with(
    model: &Arc<Model>,
    options: SessionOptions,
    step: &dyn Fn(Step),
) -> Result<(Predictor, Proof), ServerError> {
    let mut predictor = Predictor::open(model, options)?;
    step(Step::Proving);
    let proof = proof::prove(&mut predictor)?;
    Ok((predictor, proof))
}

/// Opens ONNX Runtime for this process.
///
/// # Errors
/// There is no library, or it is too old.
pub fn open_runtime(process: &Process) -> Result<(), RuntimeError> {
    runtime::init(&runtime::locate(process.onnxruntime.as_deref())?)
}

/// Opens ONNX Runtime for this process, and does `work` meanwhile: opening it takes longer than all else before the first prediction.
///
/// The work is done in a thread of its own, and not the opening: ONNX Runtime takes its memory from glibc, which grows that of the main thread
/// in larger steps.
///
/// # Errors
/// As [`open_runtime`], whatever has come of the work; or there can be no thread.
pub fn open_runtime_beside<T: Send>(
    process: &Process,
    work: impl FnOnce() -> T + Send,
) -> Result<T, RuntimeError> {
    std::thread::scope(|scope| {
        let working = std::thread::Builder::new().name("compile".to_owned());
        let working = working.spawn_scoped(scope, work).map_err(|error| {
            RuntimeError::Environment { reason: format!("there can be no thread: {error}") }
        })?;
        let opened = open_runtime(process);
        let done = working.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
        opened.map(|()| done)
    })
}

/// What a server would be.
#[derive(Debug, Clone)]
pub struct Verdict {
    models: Vec<String>,
    address: SocketAddr,
    has_tls: bool,
    n_keys: usize,
}

impl std::fmt::Display for Verdict {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let scheme = if self.has_tls { "https" } else { "http" };
        write!(f, "{} proven, on {scheme}://{}, ", self.models.join(", "), self.address)?;
        match self.n_keys {
            0 => f.write_str("for everybody"),
            1 => f.write_str("for one key"),
            n => write!(f, "for {n} keys"),
        }
    }
}

/// Does all that comes before the port is bound: loads and proves the models, reads keys and certificates.
///
/// # Errors
/// What would stop the start.
pub fn check(settings: &Settings, process: &Process) -> Result<Verdict, ServerError> {
    let access = access(settings)?;
    let has_tls = tls(settings)?.is_some();
    let found = open_runtime_beside(process, || Found::new(settings))?;
    let Deployed { deployments, .. } = deploy(settings, found?, &Loading::default())?;
    let named = |deployment: &Deployment| format!("{}@{}", deployment.name(), deployment.version());
    Ok(Verdict {
        models: deployments.iter().map(named).collect(),
        address: SocketAddr::new(settings.server.host, settings.server.port),
        has_tls,
        n_keys: access.keys.as_ref().map_or(0, Keys::len),
    })
}

/// A server that has its port but does not answer yet.
#[derive(Debug)]
pub struct Application {
    listener: TcpListener,
    address: SocketAddr,
    timing: Timing,
    heads: Heads,
    bounds: Bounds,
    /// The port for metrics alone, when they have one.
    own_port: Option<TcpListener>,
    metrics: Arc<Metrics>,
    tls: Option<Identity>,
    models: Models,
}

/// What an application is to serve.
#[derive(Debug)]
enum Models {
    Proven(Serving),
    /// Still to be loaded, by these settings.
    Unproven(Box<Settings>, Box<Shared>),
}

/// What there is of the server before its models.
#[derive(Debug)]
struct Shared {
    access: Access,
    metrics: Arc<Metrics>,
    tracer: Option<Tracer>,
}

impl Shared {
    fn new(settings: &Settings) -> Result<Self, ServerError> {
        let metrics = Metrics::new(place(settings), &runtime::build_id().unwrap_or_default());
        Ok(Self {
            access: access(settings)?,
            metrics: Arc::new(metrics),
            tracer: start_tracer(&settings.otel)?,
        })
    }
}

/// Proven models behind their routes.
#[derive(Debug)]
struct Serving {
    router: Router,
    state: AppState,
    ended: Vec<Ended>,
}

#[derive(Debug, Clone, Copy)]
struct Timing {
    patience: Patience,
    drain_delay: Duration,
    drain_timeout: Duration,
    tls_reload: Option<Duration>,
}

/// How large the heads of requests may be.
#[derive(Debug, Clone, Copy)]
struct Heads {
    max_bytes: usize,
    max_headers: usize,
}

/// Why the server is to stop.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stop {
    /// SIGTERM, or SIGINT without a terminal: somebody else sends requests until told that the server is not ready.
    Terminate,
    /// SIGINT at a terminal: somebody waits.
    Interrupt,
    PredictorEnded,
}

impl Application {
    /// Loads and proves the models, starts their engines and binds the port, in this order; or, with `models.background`, only binds the
    /// port.
    ///
    /// # Errors
    /// The first thing that fails; no port is bound then.
    pub async fn build(settings: &Settings, process: &Process) -> Result<Self, ServerError> {
        let started = Instant::now();
        let is_background = settings.models.background;
        let find = || (!is_background).then(|| Found::new(settings));
        let found = open_runtime_beside(process, find)?;
        let shared = Shared::new(settings)?;
        let metrics = Arc::clone(&shared.metrics);
        let models = if let Some(found) = found {
            let deployed = deploy(settings, found?, &Loading::default())?;
            Models::Proven(Serving::new(settings, shared, deployed, started))
        } else {
            // What is not there at all need not be waited for.
            self::find(settings)?;
            Models::Unproven(Box::new(settings.clone()), Box::new(shared))
        };
        Self::bind(settings, metrics, models).await
    }

    /// As [`Self::build`], with the engine of the default model given: tests put a slow or failing one here.
    ///
    /// # Errors
    /// As [`Self::build`].
    pub async fn build_with(
        settings: &Settings,
        process: &Process,
        predictors: Vec<Box<dyn Predict>>,
        plan: Plan,
    ) -> Result<Self, ServerError> {
        let started = Instant::now();
        open_runtime(process)?;
        let mut deployed = deploy(settings, Found::new(settings)?, &Loading::default())?;
        let (engine, end) = Engine::start(predictors, plan).map_err(ServerError::Engine)?;
        deployed.deployments[deployed.default].engine = engine;
        // The threads of the engine that was there end now, as they should.
        deployed.ended[deployed.default] = end;
        let shared = Shared::new(settings)?;
        let metrics = Arc::clone(&shared.metrics);
        let serving = Serving::new(settings, shared, deployed, started);
        Self::bind(settings, metrics, Models::Proven(serving)).await
    }

    async fn bind(
        settings: &Settings,
        metrics: Arc<Metrics>,
        models: Models,
    ) -> Result<Self, ServerError> {
        let server = &settings.server;
        let address = SocketAddr::new(server.host, server.port);
        let bound = |source| ServerError::Bind { address, source };
        let listener = TcpListener::bind(address).await.map_err(bound)?;
        let address = listener.local_addr().map_err(bound)?;
        let ms = Duration::from_millis;
        let own_port = if place(settings) == Place::OwnPort {
            let address = SocketAddr::new(server.host, settings.metrics.port);
            let bound = |source| ServerError::Bind { address, source };
            Some(TcpListener::bind(address).await.map_err(bound)?)
        } else {
            None
        };
        let timing = Timing {
            patience: Patience {
                header: ms(server.header_timeout_ms),
                keep_alive: ms(server.keep_alive_ms),
                write: ms(server.write_timeout_ms),
            },
            drain_delay: ms(server.drain_delay_ms),
            drain_timeout: ms(server.drain_timeout_ms),
            tls_reload: Some(Duration::from_secs(server.tls_reload_s))
                .filter(|wait| !wait.is_zero()),
        };
        let heads = Heads { max_bytes: server.max_header_bytes, max_headers: server.max_headers };
        let bounds = Bounds {
            connections: within_open_files(server.max_connections),
            requests: server.max_requests,
        };
        let tls = tls(settings)?;
        Ok(Self { listener, address, timing, heads, bounds, own_port, metrics, tls, models })
    }

    /// Shows in the metrics what becomes of this prediction log.
    #[must_use]
    pub fn watching(self, log: &PredictionLog) -> Self {
        self.metrics.watch_log(log.clone());
        self
    }

    /// Its routes, to be called without a socket; none when the models are still to be loaded.
    pub fn router(&self) -> Option<Router> {
        match &self.models {
            Models::Proven(serving) => Some(serving.router.clone()),
            Models::Unproven(..) => None,
        }
    }

    /// The address, with the port the system gave.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Serves until SIGTERM, SIGINT or the end of a thread that predicts. Then readiness says no, requests are taken for the drain delay, the
    /// port is closed, and requests under way may finish. A second signal ends at once.
    ///
    /// # Errors
    /// [`ServerError::Signals`] or [`ServerError::PredictorEnded`]; or what went wrong while models were loaded in the background.
    pub async fn run_until_stopped(self) -> Result<(), ServerError> {
        let Self { listener, address, timing, heads, bounds, own_port, metrics, tls, models } =
            self;
        let mut signals = Signals::listen().map_err(ServerError::Signals)?;
        // Before it says that it listens: from then on nothing more is opened.
        let threads = Arc::new(Threads::start().map_err(ServerError::Threads)?);
        let shown = if address.ip().is_unspecified() {
            SocketAddr::new(std::net::Ipv4Addr::LOCALHOST.into(), address.port())
        } else {
            address
        };
        let scheme = if tls.is_some() { "https" } else { "http" };
        tracing::info!(%address, "listening on {scheme}://{shown}");
        if let Some(identity) = &tls {
            tokio::spawn(keep_up_to_date(identity.clone(), timing.tls_reload));
        }
        let graceful = GracefulShutdown::new();
        let loading = Loading::default();
        let connections =
            Connections::new(loading.clone(), Arc::clone(&metrics), timing.patience, bounds);
        let mut server =
            Server { http: http_server(timing, heads, false), connections, tls, threads };
        let serving = match models {
            Models::Proven(serving) => serving,
            Models::Unproven(settings, shared) => {
                let serve = |tcp| server.serve(tcp, graceful.watcher());
                let load = tokio::task::spawn_blocking(move || load(&settings, *shared, &loading));
                let mut loaded = std::pin::pin!(async {
                    tokio::select! {
                        stop = signals.next() => Err(stop),
                        loaded = load => Ok(loaded),
                    }
                });
                match accept_until(&listener, &serve, &mut loaded).await {
                    Ok(Ok(loaded)) => loaded?,
                    Ok(Err(_panicked)) => return Err(ServerError::LoadingEnded),
                    Err(cause) => {
                        tracing::info!(cause = ?cause, "stopped while models were being loaded");
                        return Ok(());
                    }
                }
            }
        };
        let Serving { router, state, ended } = serving;
        if let Some(listener) = own_port {
            tokio::spawn(serve_metrics(listener, state.clone(), timing.patience));
        }
        server.connections.serve(router, state.clone());
        // A client that closes its side may have left, or may only have said everything. A short prediction is made and answered in any
        // case; a long one is given up, as most likely nobody waits for it.
        let is_short = |deployment: &Deployment| deployment.engine.plan().lane == Lane::Inline;
        server.http = http_server(timing, heads, state.deployments().iter().all(is_short));
        let mut stop = std::pin::pin!(async {
            tokio::select! {
                stop = signals.next() => stop,
                () = first_ended(ended) => Stop::PredictorEnded,
            }
        });
        let serve = |tcp| server.serve(tcp, graceful.watcher());
        let cause = accept_until(&listener, &serve, &mut stop).await;
        tracing::info!(cause = ?cause, "stopping: not ready for more requests");
        state.start_draining();
        // The future that owned the signals is done; listen anew.
        let mut second = Signals::listen().map_err(ServerError::Signals)?;
        let drained = async move {
            if cause == Stop::Terminate {
                let mut delay = std::pin::pin!(tokio::time::sleep(timing.drain_delay));
                let serve = |tcp| server.serve(tcp, graceful.watcher());
                accept_until(&listener, &serve, &mut delay).await;
            }
            drop(listener);
            if tokio::time::timeout(timing.drain_timeout, graceful.shutdown()).await.is_err() {
                tracing::warn!(
                    "requests under way were cut off: they took longer than the drain timeout"
                );
            }
        };
        tokio::select! {
            () = drained => tracing::info!("stopped"),
            _ = second.next() => tracing::warn!("stopped at once by a second signal"),
        }
        flush_spans(&state).await;
        if cause == Stop::PredictorEnded { Err(ServerError::PredictorEnded) } else { Ok(()) }
    }
}

impl Serving {
    fn new(
        settings: &Settings,
        Shared { access, metrics, tracer }: Shared,
        deployed: Deployed,
        started: Instant,
    ) -> Self {
        let Deployed { deployments, default, ended } = deployed;
        let server = &settings.server;
        let limits = Limits {
            request_timeout: Duration::from_millis(server.request_timeout_ms),
            body_timeout: Duration::from_millis(server.body_timeout_ms),
            max_body_bytes: server.max_body_bytes,
            bodies: Bodies::new(server.max_total_body_bytes),
            turns: Turns::new(Plan {
                burst: settings.engine.burst,
                max_wait: max_wait(settings),
                ..Plan::new(Lane::Inline, Cpus::find().threads(), settings.engine.queue)
            }),
            decode: DecodeOptions {
                unknown_fields: settings.schema.unknown_fields,
                max_rows: server.max_rows,
                max_errors: server.max_errors,
                images: image::Limits {
                    max_bytes: settings.images.max_bytes,
                    max_pixels: settings.images.max_pixels,
                    max_request_pixels: settings.images.max_request_pixels,
                },
            },
            max_text_bytes: settings.log.max_text_bytes,
            sample_refused: settings.log.sample_refused,
            sensitive_key: settings.log.sensitive_key.clone(),
            compress_from: Some(server.compress_from_bytes).filter(|from| *from > 0),
            has_tls: !server.tls_certificate.is_empty(),
            access,
            log_whole_images: settings.log.images == LoggedImages::Full,
        };
        let state = AppState::new(deployments, default, limits, metrics)
            .expect("the default is one of the deployments")
            .traced_by(tracer);
        tracing::info!(
            startup.duration_ms = started.elapsed().as_millis(),
            startup.models = state.deployments().len(),
            onnxruntime.build = runtime::build_info(),
            onnxruntime.path = runtime::loaded_from().map(|path| path.display().to_string()),
            "all models are loaded and proven"
        );
        Self { router: http::router(state.clone()), state, ended }
    }
}

/// Loads and proves the models while the port is bound already.
fn load(settings: &Settings, shared: Shared, loading: &Loading) -> Result<Serving, ServerError> {
    let started = Instant::now();
    let found = Found { dirs: find(settings)?, first: None };
    Ok(Serving::new(settings, shared, deploy(settings, found, loading)?, started))
}

/// What speaks HTTP on a connection.
fn http_server(timing: Timing, heads: Heads, half_close: bool) -> auto::Builder<TokioExecutor> {
    /// As many hyper reads without memory of its own.
    const USUAL_HEADERS: usize = 100;
    let mut server = auto::Builder::new(TokioExecutor::new());
    server
        .http1()
        .timer(TokioTimer::new())
        // `http::connection` has a cheaper one.
        .header_read_timeout(None)
        // What a connection reads at once, and the longest head. Each keeps a buffer of that size after a large body: with the default of
        // hyper, 256 connections keep 100 MB.
        .max_buf_size(heads.max_bytes)
        .half_close(half_close);
    if heads.max_headers != USUAL_HEADERS {
        server.http1().max_headers(heads.max_headers);
    }
    server
        .http2()
        .timer(TokioTimer::new())
        .keep_alive_interval(timing.patience.keep_alive)
        .max_header_list_size(u32::try_from(heads.max_bytes).unwrap_or(u32::MAX));
    server
}

/// As many connections as asked for, or as the process may open files besides those it needs for itself.
fn within_open_files(wanted: usize) -> usize {
    const OWN: usize = 64;
    let limits = std::fs::read_to_string("/proc/self/limits").unwrap_or_default();
    let limit = limits
        .lines()
        .find_map(|line| line.strip_prefix("Max open files"))
        .and_then(|values| values.split_whitespace().next()?.parse::<usize>().ok());
    match limit {
        Some(limit) if limit.saturating_sub(OWN) < wanted => {
            let possible = limit.saturating_sub(OWN).max(1);
            tracing::warn!(
                "the process may open {limit} files, so that {possible} connections are taken at a time, and not the {wanted} of server.max_connections"
            );
            possible
        }
        _ => wanted,
    }
}

/// Where metrics can be asked for.
fn place(settings: &Settings) -> Place {
    match &settings.metrics {
        settings if !settings.enabled => Place::Off,
        settings if settings.port == 0 => Place::Here,
        _ => Place::OwnPort,
    }
}

/// Who sends spans, when there is somebody to send them to.
fn start_tracer(settings: &Otel) -> Result<Option<Tracer>, ServerError> {
    // Checked when the settings were read.
    let Ok(endpoint) = Endpoint::parse(&settings.endpoint) else { return Ok(None) };
    let options = otlp::Options {
        endpoint,
        headers: otlp::pairs(&settings.headers).unwrap_or_default(),
        service_name: settings.service_name.clone(),
        resource: otlp::pairs(&settings.resource).unwrap_or_default(),
        sample: settings.sample,
        timeout: Duration::from_millis(settings.timeout_ms),
    };
    tracing::info!("spans are sent to {}", settings.endpoint);
    Tracer::start(options).map(Some).map_err(ServerError::Tracer)
}

/// Sends the spans that wait still.
async fn flush_spans(state: &AppState) {
    if let Some(tracer) = state.tracer().cloned() {
        let flushing = tokio::task::spawn_blocking(move || tracer.flush(Duration::from_secs(2)));
        if !flushing.await.unwrap_or_default() {
            tracing::warn!("spans could not be sent within 2 s; the last ones are lost");
        }
    }
}

/// Who may ask, by the settings and the file that they name.
fn access(settings: &Settings) -> Result<Access, ServerError> {
    let access = &settings.access;
    let wrong = |place: &str| {
        let place = place.to_owned();
        move |source| ServerError::Keys { place, source }
    };
    let limit = settings.default_limit().map_err(wrong("access.rate_limit"))?;
    let mut listed = access.keys.clone();
    Keys::parse(&listed, limit).map_err(wrong("access.keys"))?;
    if !access.keys_file.is_empty() {
        let path = PathBuf::from(&access.keys_file);
        let text = std::fs::read_to_string(&path)
            .map_err(|source| ServerError::KeysFile { path: path.clone(), source })?;
        let place = format!("`{}` (access.keys_file)", path.display());
        if Keys::parse(&text, limit).map_err(wrong(&place))?.is_empty() {
            return Err(ServerError::NoKeys { path });
        }
        listed.push('\n');
        listed.push_str(&text);
    }
    let keys = Keys::parse(&listed, limit).map_err(wrong("access.keys with access.keys_file"))?;
    Ok(Access {
        keys: (!keys.is_empty()).then_some(keys),
        has_open_docs: access.open_docs,
        has_open_metrics: settings.metrics.enabled && settings.metrics.port != 0,
        origins: settings.origins().map_err(wrong("cors.origins"))?,
    })
}

/// All that a connection needs.
#[derive(Clone)]
struct Server {
    http: auto::Builder<TokioExecutor>,
    connections: Arc<Connections>,
    tls: Option<Identity>,
    threads: Arc<Threads>,
}

impl Server {
    /// Serves one connection in a task of its own; one of far too many is closed.
    fn serve(&self, tcp: TcpStream, watcher: Watcher) {
        let Some(slot) = self.connections.take() else { return };
        let http = self.http.clone();
        let Some(identity) = self.tls.clone() else {
            self.threads.serve(tcp, |tcp| async {
                serve_connection(http, slot.connect(Socket::Plain(tcp)), watcher).await;
            });
            return;
        };
        self.threads.serve(tcp, |tcp| async move {
            // Who does not finish the handshake in time is as slow as who does not send a head.
            let handshake = identity.acceptor().accept(tcp);
            let tls = match tokio::time::timeout(slot.patience().header, handshake).await {
                Ok(Ok(tls)) => tls,
                Ok(Err(error)) => {
                    let error: &dyn std::error::Error = &error;
                    tracing::debug!(error, "a TLS handshake failed");
                    return;
                }
                Err(_too_slow) => {
                    tracing::debug!("a TLS handshake took too long");
                    return;
                }
            };
            serve_connection(http, slot.connect(Socket::Tls(Box::new(tls))), watcher).await;
        });
    }
}

async fn serve_connection(
    http: auto::Builder<TokioExecutor>,
    (stream, requests): (Stream, Requests),
    watcher: Watcher,
) {
    let connection = http.serve_connection(TokioIo::new(stream), requests).into_owned();
    if let Err(error) = watcher.watch(connection).await {
        tracing::debug!(error, "a connection ended with an error");
    }
}

/// The certificate that the settings name, if any.
fn tls(settings: &Settings) -> Result<Option<Identity>, ServerError> {
    let server = &settings.server;
    if server.tls_certificate.is_empty() {
        return Ok(None);
    }
    let identity = Identity::open(server.tls_certificate.as_ref(), server.tls_key.as_ref())?;
    warn_when_out_of_date(&identity);
    Ok(Some(identity))
}

fn warn_when_out_of_date(identity: &Identity) {
    if identity.is_out_of_date() {
        tracing::warn!(
            "the certificate of server.tls_certificate has expired or is not valid yet; clients will refuse it"
        );
    }
}

/// Reads certificate and key again whenever they have changed, or SIGHUP asks for it. What cannot be used is not taken over.
async fn keep_up_to_date(identity: Identity, every: Option<Duration>) {
    use tokio::signal::unix::{SignalKind, signal};
    let Ok(mut asked) = signal(SignalKind::hangup()) else { return };
    loop {
        let waiting = async {
            match every {
                Some(wait) => tokio::time::sleep(wait).await,
                None => std::future::pending().await,
            }
        };
        let is_asked = tokio::select! {
            asked = asked.recv() => asked.is_some(),
            () = waiting => false,
        };
        if !is_asked && !identity.has_changed() {
            continue;
        }
        match identity.reload() {
            Ok(()) => {
                tracing::info!("the certificate was read again");
                warn_when_out_of_date(&identity);
            }
            Err(error) => {
                let error: &dyn std::error::Error = &error;
                tracing::error!(
                    error,
                    "the certificate cannot be read again; the one from before is still shown"
                );
            }
        }
    }
}

/// Takes connections until `until` is done.
async fn accept_until<T>(
    listener: &TcpListener,
    serve: &impl Fn(TcpStream),
    until: &mut (impl Future<Output = T> + Unpin),
) -> T {
    loop {
        tokio::select! {
            biased;
            done = &mut *until => return done,
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) => {
                    // A small answer must not wait for the acknowledgement of the one before.
                    let _not_a_socket = stream.set_nodelay(true);
                    serve(stream);
                }
                Err(error) => {
                    // Too many open files, most likely: closing connections helps, trying at once does not.
                    tracing::error!(error = &error as &dyn std::error::Error, "a connection cannot be accepted");
                    tokio::time::sleep(Duration::from_millis(50)).await;
                }
            },
        }
    }
}

/// Serves metrics on a port of their own, until the process ends: also while it drains, so that nobody is blind then.
async fn serve_metrics(listener: TcpListener, state: AppState, patience: Patience) {
    if let Ok(address) = listener.local_addr() {
        tracing::info!(%address, "metrics are at http://{address}/metrics");
    }
    let router = http::metrics_router(state);
    let mut server = auto::Builder::new(TokioExecutor::new());
    server.http1().timer(TokioTimer::new()).header_read_timeout(patience.header);
    server.http2().timer(TokioTimer::new()).keep_alive_interval(patience.keep_alive);
    let serve = |stream| {
        let service = TowerToHyperService::new(router.clone());
        let connection = server.serve_connection(TokioIo::new(stream), service).into_owned();
        tokio::spawn(async move {
            if let Err(error) = connection.await {
                tracing::debug!(error, "a connection for metrics ended with an error");
            }
        });
    };
    accept_until(&listener, &serve, &mut std::future::pending::<()>()).await;
}

async fn first_ended(ended: Vec<Ended>) {
    let mut waiting = tokio::task::JoinSet::new();
    for end in ended {
        waiting.spawn(end.wait());
    }
    match waiting.join_next().await {
        Some(_) => {}
        None => std::future::pending().await,
    }
}

struct Signals {
    terminate: tokio::signal::unix::Signal,
    interrupt: tokio::signal::unix::Signal,
}

impl Signals {
    fn listen() -> std::io::Result<Self> {
        use tokio::signal::unix::{SignalKind, signal};
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
        })
    }

    async fn next(&mut self) -> Stop {
        tokio::select! {
            _ = self.terminate.recv() => Stop::Terminate,
            _ = self.interrupt.recv() => {
                if std::io::stdin().is_terminal() { Stop::Interrupt } else { Stop::Terminate }
            }
        }
    }
}

/// Models with their engines.
struct Deployed {
    deployments: Vec<Deployment>,
    /// The index of the one that `POST /v1/predict` asks.
    default: usize,
    ended: Vec<Ended>,
}

/// The directories of the models that the settings ask for, the default one first.
fn find(settings: &Settings) -> Result<Vec<PathBuf>, ServerError> {
    let models = &settings.models;
    let find = |model: &str| store::find(&models.dir, model).map_err(LoadError::from);
    let default = if models.default.is_empty() {
        let names = store::names(&models.dir);
        match names.as_slice() {
            // `find` says what is wrong with the directory.
            [] => find("")?,
            [one] => find(one)?,
            several => return Err(ServerError::NoDefault { known: several.join(", ") }),
        }
    } else {
        find(&models.default)?
    };
    let mut dirs = vec![default];
    if models.load == Load::All {
        for name in store::names(&models.dir) {
            let dir = models.dir.join(&name);
            dirs.extend(store::versions(&dir).iter().map(|version| dir.join(version.to_string())));
        }
    }
    let mut distinct: Vec<PathBuf> = Vec::new();
    for dir in dirs {
        if !distinct.iter().any(|known| same(known, &dir)) {
            distinct.push(dir);
        }
    }
    Ok(distinct)
}

/// The models that the settings ask for, and what is known of them before ONNX Runtime is open.
struct Found {
    /// Their directories, the default one first.
    dirs: Vec<PathBuf>,
    /// The first of them, where it is compiled already.
    first: Option<Result<Arc<Model>, ServerError>>,
}

impl Found {
    /// Finds them, and compiles the first one where that needs no ONNX Runtime.
    fn new(settings: &Settings) -> Result<Self, ServerError> {
        let dirs = find(settings)?;
        let first = dirs.first().zip(settings.trust().ok());
        let first = first.and_then(|(dir, trust)| compile_ahead(dir, &trust));
        Ok(Self { first, dirs })
    }
}

/// Loads everything that the settings ask for, and notes how far that is.
fn deploy(settings: &Settings, found: Found, loading: &Loading) -> Result<Deployed, ServerError> {
    let Found { dirs, mut first } = found;
    loading.note(|loaded| loaded.total = dirs.len());
    let step = |step| loading.note(|loaded| loaded.step = step);
    let cpus = Cpus::find();
    tracing::info!(cpus.allowed, cpus.quota, "{}", shown(cpus));
    let options = SessionOptions {
        intra_threads: settings.engine.intra_threads,
        arena: settings.engine.arena,
    };
    let trust = settings.trust().map_err(ServerError::Signers)?;
    let mut loaded: Vec<(Predictor, Proof, Plan)> = Vec::new();
    for dir in dirs {
        loading.note(|loaded| loaded.model = dir.display().to_string());
        step(Step::Opening);
        let model = first.take().unwrap_or_else(|| compile(&dir, &trust))?;
        let (mut predictor, proof) = prove_with(&model, options, &step)?;
        step(Step::Measuring);
        let plan = plan::plan(settings, cpus, &mut predictor);
        loaded.push((predictor, proof, plan));
        loading.note(|noted| noted.done = loaded.len());
    }
    step(Step::Starting);
    // The first is the default; of every other model the highest version answers for it.
    let id = |index: usize| {
        let manifest = loaded[index].0.model().artifact().manifest();
        (manifest.name.clone(), manifest.version.clone())
    };
    let ids: Vec<(String, semver::Version)> = (0..loaded.len()).map(id).collect();
    let is_primary = |index: usize| {
        index == 0
            || (ids[index].0 != ids[0].0
                && ids
                    .iter()
                    .all(|(name, version)| *name != ids[index].0 || *version <= ids[index].1))
    };
    let roles: Vec<Role> = (0..ids.len())
        .map(|index| if is_primary(index) { Role::Primary } else { Role::Standby })
        .collect();
    // Checked when the settings were read.
    let sampling = Sampling::parse(&settings.log.sample).unwrap_or_default();
    let mut deployments = Vec::new();
    let mut ended = Vec::new();
    for ((predictor, proof, plan), role) in loaded.into_iter().zip(roles) {
        let model = Arc::clone(predictor.model());
        let mut predictors: Vec<Box<dyn Predict>> = vec![Box::new(predictor)];
        for _ in 1..plan.threads {
            predictors.push(Box::new(Predictor::open(&model, options)?));
        }
        let (engine, end) = Engine::start(predictors, plan).map_err(ServerError::Engine)?;
        ended.push(end);
        let mut deployment = Deployment::new(model, proof, engine, role);
        deployment.sample = sampling.of(deployment.name(), &deployment.version().to_string());
        tracing::info!(
            model.name = deployment.name(),
            model.version = %deployment.version(),
            model.artifact = deployment.model.artifact().digest(),
            model.role = role.as_str(),
            model.golden_rows = deployment.proof.rows,
            model.largest_difference = deployment.proof.output_difference.relative,
            engine.lane = plan.lane.as_str(),
            engine.threads = plan.threads,
            engine.row_cost_us = plan.row_cost.as_secs_f64() * 1e6,
            engine.batch_row_cost_us = plan.batch_row_cost.as_secs_f64() * 1e6,
            "{}@{} is proven and runs {plan}",
            deployment.name(),
            deployment.version(),
        );
        deployments.push(deployment);
    }
    Ok(Deployed { deployments, default: 0, ended })
}

fn same(one: &Path, other: &Path) -> bool {
    match (one.canonicalize(), other.canonicalize()) {
        (Ok(one), Ok(other)) => one == other,
        _ => one == other,
    }
}

/// The CPUs, for people.
fn shown(cpus: Cpus) -> String {
    let quota = match cpus.quota {
        Some(quota) => format!("a quota of {quota} CPU(s)"),
        None => "no quota".to_owned(),
    };
    format!("{} CPU(s), {quota}: {} thread(s) compute", cpus.allowed, cpus.threads())
}

/// How long a request may have to wait, where that is set.
fn max_wait(settings: &Settings) -> Option<Duration> {
    let ms = settings.engine.max_wait_ms;
    (ms > 0).then(|| Duration::from_millis(ms))
}
