//! `POST /v1/predict` and its longer forms: from the body to the answer and the log line.

use std::pin::Pin;
use std::task::Poll;
use std::time::{Duration, Instant};

use axum::Router;
use axum::body::{Body, Bytes, HttpBody};
use axum::extract::rejection::RawPathParamsRejection;
use axum::extract::{MatchedPath, RawPathParams, State};
use axum::http::request::Parts;
use axum::http::{HeaderValue, Method, Request, Response, header};
use axum::routing::post;
use http_body_util::{BodyExt as _, Full};

use super::encoding::{self, Encoding};
use super::form::{self, MediaType};
use super::gate::{self, Caller};
use super::models::{in_path, unknown};
use super::present::Present;
use super::problem::{self, ApiError, Item, Logged};
use super::record::{self, Exchanged, Inputs, Record};
use super::request_id::{self, RequestId};
use super::trace::{self, Over};
use crate::engine::{EngineError, Lane, Predicted, Times, Turn};
use crate::observe::metrics::{Metrics, Route, Stage};
use crate::observe::otlp::Tracer;
use crate::postprocess::Prediction;
use crate::predictor::Predictions;
use crate::schema::{Decoded, Field, Schema};
use crate::state::{AppState, Buffers, Deployment, Held, Limits};

pub(super) fn router() -> Router<AppState> {
    Router::new()
        .route(DIRECT, post(create_prediction))
        .route("/v1/models/{model}/predict", post(create_prediction))
        .route("/v1/models/{model}/versions/{version}/predict", post(create_prediction))
}

/// The route that nearly all requests take.
const DIRECT: &str = "/v1/predict";

/// Whether a request takes that route, so that no router needs to look at it.
pub(super) fn is_direct<B>(request: &Request<B>) -> bool {
    request.method() == Method::POST && request.uri().path() == DIRECT
}

/// Answers a request on the direct route, with all that the layers of the router would add.
pub(super) async fn direct<B>(
    state: &AppState,
    request: Request<B>,
    present: Present,
) -> Response<Full<Bytes>>
where
    B: HttpBody<Data = Bytes> + Unpin,
{
    let (parts, body) = request.into_parts();
    let id = request_id::of_present(&parts.headers, present, state.tracer());
    let access = &state.limits().access;
    let admission = gate::admit(access, &parts.headers, DIRECT);
    let deployment = admission.refused.map_or_else(|| Ok(state.default_deployment()), Err);
    let answering = predict(
        state,
        deployment,
        (&parts, present),
        body,
        (&id, Route::PREDICT),
        &admission.caller,
    );
    let mut response = problem::caught(std::pin::pin!(answering))
        .await
        .unwrap_or_else(|message| ApiError::Panicked { message }.to_response(&id));
    let origin = access.origins.as_ref().and_then(|_| parts.headers.get(header::ORIGIN));
    problem::dress(&mut response, &id, state, &admission.caller, origin);
    if encoding::is_large(&response, state.limits().compress_from) {
        return encoding::compress(response, encoding::wanted(&parts.headers)).await;
    }
    response
}

/// A body up to this size is not counted among what all bodies may hold.
const SMALL_BODY: usize = 64 * 1024;
/// A body from this size on is decoded after the thread's other tasks have been moved away.
const LARGE_BODY: usize = 256 * 1024;

/// Everything that is found out about a request on its way, good or bad, so that the log has it.
#[derive(Debug, Default)]
struct Seen {
    body: Received,
    decoded: Option<Decoded>,
    on_invalid_null: bool,
    items: Vec<Item>,
    total: usize,
    /// Whether the body is that of a picture or still that of a form, which is not for the log.
    is_binary: bool,
    /// The field that a body is the picture of, when it is that and nothing else.
    picture: Option<usize>,
    /// Rows that have a prediction.
    n_predicted: usize,
    /// The turn of a large body. It ends with the record in the log: if it ended before, each of many such requests would come to wait for the
    /// log in a thread of its own.
    turn: Option<Turn>,
    /// When decoding began and what it took, when times are taken.
    decode: Option<(Instant, Duration)>,
    /// What the stages after it took, when there were any.
    times: Option<Times>,
}

/// A body so far as it has arrived.
#[derive(Debug, Default)]
struct Received {
    /// The whole body; most come in one piece, which is not copied.
    whole: Bytes,
    /// The pieces so far of one that comes in several.
    pieces: Vec<u8>,
    /// Its share of what all bodies may hold, when it is large.
    held: Option<Held>,
}

impl Received {
    /// Adds a piece; `declared` is the length that the body is said to have.
    fn push(&mut self, piece: Bytes, declared: Option<usize>, buffers: &Buffers) {
        if self.bytes().is_empty() && declared.is_none_or(|length| piece.len() >= length) {
            self.whole = piece;
            return;
        }
        if self.pieces.is_empty() {
            let n_bytes = declared.unwrap_or_default().max(self.whole.len() + piece.len());
            self.pieces = buffers.take(n_bytes);
            self.pieces.extend_from_slice(&std::mem::take(&mut self.whole));
        }
        self.pieces.extend_from_slice(&piece);
    }

    /// Says that there are no more pieces.
    fn finish(&mut self, buffers: &Buffers) {
        if !self.pieces.is_empty() {
            self.whole = buffers.share(std::mem::take(&mut self.pieces));
        }
    }

    /// Replaces a compressed body by what it was before.
    fn inflate(&mut self, encoding: Encoding, limits: &Limits) -> Result<(), ApiError> {
        let (at_most, time) = (limits.max_body_bytes, limits.body_timeout);
        let inflated = blocking(|| encoding::inflate(encoding, self.bytes(), at_most, time))?;
        self.whole = inflated.into();
        Ok(())
    }

    /// Replaces a form by the JSON that says the same.
    fn make_json(&mut self, boundary: &str, schema: &Schema) -> Result<(), ApiError> {
        self.whole = form::of_form(self.bytes(), boundary, schema)?.into();
        Ok(())
    }

    fn bytes(&self) -> &[u8] {
        if self.pieces.is_empty() { &self.whole } else { &self.pieces }
    }

    /// The whole body, when it is there.
    fn shared(&self) -> Option<&Bytes> {
        self.pieces.is_empty().then_some(&self.whole)
    }
}

/// The answer of a request that succeeded: the whole body, and where its predictions stand in it.
#[derive(Debug)]
struct Answer {
    body: Vec<u8>,
    predictions: std::ops::Range<usize>,
}

/// A request that leaves one record, whatever becomes of it: with its answer, or when it is dropped without one because the connection is gone.
struct Exchange<'a> {
    record: Record<'a>,
    parts: &'a Parts,
    deployment: Result<&'a Deployment, ApiError>,
    limits: &'a Limits,
    metrics: &'a Metrics,
    id: &'a RequestId,
    route: Route,
    tracer: Option<&'a Tracer>,
    started: Instant,
    seen: Seen,
    is_logged: bool,
}

impl Exchange<'_> {
    fn inputs(&self) -> Inputs<'_> {
        let Some(decoded) = &self.seen.decoded else { return Inputs::None };
        let Some(index) = self.seen.picture else { return Inputs::Json(decoded.inputs.clone()) };
        let deployment = self.deployment.as_ref().ok();
        let field = deployment.and_then(|found| found.model.schema().fields().get(index));
        field.map_or(Inputs::None, |field| Inputs::Picture(field, self.seen.body.bytes()))
    }

    fn log(&mut self, answered: &Result<Answer, ApiError>) {
        self.is_logged = true;
        let (seen, deployment) = (&self.seen, self.deployment.as_ref().ok().copied());
        let error_items;
        let (status, errors, total): (u16, &[Item], usize) = match answered {
            Ok(_) => (200, &seen.items, seen.total),
            Err(ApiError::Invalid { items, total, .. }) => (422, items, *total),
            Err(error) => {
                let mut items = error.items();
                if matches!(error, ApiError::Syntax(_)) {
                    // It shows a word of the body.
                    let sensitive = deployment.is_some_and(|found| !found.sensitive.is_empty());
                    items.iter_mut().for_each(|item| item.sensitive = sensitive);
                }
                error_items = items;
                (error.status().as_u16(), &error_items, error_items.len())
            }
        };
        let exchanged = Exchanged {
            deployment,
            method: &self.parts.method,
            path: self.parts.uri.path(),
            status,
            n_rows: seen.decoded.as_ref().map_or(0, |decoded| decoded.n_rows),
            on_invalid_null: seen.on_invalid_null,
            inputs: self.inputs(),
            body: if seen.is_binary { &[] } else { seen.body.bytes() },
            shared_body: seen.body.shared(),
            predictions: answered
                .as_ref()
                .ok()
                .and_then(|answer| answer.body.get(answer.predictions.clone())),
            errors,
            total_errors: total,
        };
        let duration = record::exchanged(&self.record, &exchanged, self.limits);
        self.count(status, exchanged.n_rows, duration);
        if let Err(error) = answered {
            self.metrics.rejected(error.kind().0);
        }
        if trace::is_wanted(self.tracer, self.id) {
            let over = Over {
                method: &self.parts.method,
                route: self.route,
                span: (self.started, duration),
                status,
                error: answered.as_ref().err(),
                model: deployment.map(|deployment| (deployment, exchanged.n_rows)),
                decode: self.seen.decode,
                times: self.seen.times,
            };
            trace::over(self.tracer, self.id, &over);
        }
    }

    fn count(&self, status: u16, n_rows: usize, duration: Duration) {
        let (Ok(deployment), true) = (&self.deployment, self.metrics.is_on()) else { return };
        let (seen, metrics) = (&self.seen, &deployment.metrics);
        metrics.exchanged(status, n_rows, seen.n_predicted, duration);
        match (seen.decode, seen.times) {
            (Some((_, decode)), Some(times)) => {
                metrics.stages(&[
                    (Stage::Decode, decode),
                    (Stage::Queue, times.queue),
                    (Stage::Preprocess, times.preprocess),
                    (Stage::Inference, times.inference),
                    (Stage::Postprocess, times.postprocess),
                ]);
                if times.run_rows > 0 {
                    metrics.run(times.run_rows);
                }
            }
            (Some((_, decode)), None) => metrics.stages(&[(Stage::Decode, decode)]),
            (None, _) => {}
        }
    }
}

impl Drop for Exchange<'_> {
    fn drop(&mut self) {
        if !self.is_logged {
            self.log(&Err(ApiError::ConnectionClosed));
        }
    }
}

async fn create_prediction(
    State(state): State<AppState>,
    params: Result<RawPathParams, RawPathParamsRejection>,
    request: Request<Body>,
) -> Response<Body> {
    let (parts, body) = request.into_parts();
    // `finish` gives every request an id.
    let id = parts
        .extensions
        .get::<RequestId>()
        .cloned()
        .unwrap_or_else(|| request_id::of(&parts.headers, state.tracer()));
    let caller = parts.extensions.get::<Caller>().cloned().unwrap_or_default();
    let deployment = find(&state, params, parts.uri.path());
    let route = Route::of(parts.extensions.get().map(MatchedPath::as_str));
    let present = Present::of(&parts.headers);
    let answering = predict(&state, deployment, (&parts, present), body, (&id, route), &caller);
    let mut response = answering.await.map(Body::new);
    response.extensions_mut().insert(Logged);
    response
}

async fn predict<B>(
    state: &AppState,
    deployment: Result<&Deployment, ApiError>,
    (parts, present): (&Parts, Present),
    body: B,
    (id, route): (&RequestId, Route),
    caller: &Caller,
) -> Response<Full<Bytes>>
where
    B: HttpBody<Data = Bytes> + Unpin,
{
    let started = Instant::now();
    let (limits, metrics) = (state.limits(), state.metrics().as_ref());
    let mut exchange = Exchange {
        record: Record::new(started, id, caller.key_name(), (metrics, route)),
        id,
        route,
        tracer: state.tracer(),
        started,
        parts,
        deployment,
        limits,
        metrics,
        seen: Seen::default(),
        is_logged: false,
    };
    let seen = &mut exchange.seen;
    let answered = problem::caught(std::pin::pin!(async {
        let deployment = exchange.deployment.as_ref().map_err(ApiError::clone)?;
        caller.may_ask(deployment.name())?;
        seen.on_invalid_null = on_invalid_null(parts.uri.query().unwrap_or_default())?;
        let schema = deployment.model.schema();
        let media_type = form::media_type(&parts.headers, schema)?;
        let encoding =
            if present.content_encoding { encoding::of_request(&parts.headers)? } else { None };
        seen.is_binary = media_type != MediaType::Json || encoding.is_some();
        read_body(body, state, &mut seen.body).await?;
        // To inflate, to take pictures apart and to read rows takes its time as well.
        if deployment.engine.refuses_one() {
            return Err(EngineError::Overloaded.into());
        }
        if let Some(encoding) = encoding {
            seen.body.inflate(encoding, limits)?;
        }
        match &media_type {
            MediaType::Json => {}
            MediaType::Form { boundary } => seen.body.make_json(boundary, schema)?,
            MediaType::Image => seen.picture = Some(form::image_field(schema)?),
        }
        seen.is_binary = seen.picture.is_some();
        let is_timed = metrics.is_on() || trace::is_wanted(state.tracer(), id);
        let work = answer(deployment, limits, id, seen, is_timed);
        within(limits.request_timeout, std::pin::pin!(work))
            .await
            .ok_or(ApiError::Timeout { limit_ms: limits.request_timeout.as_millis() })?
    }))
    .await
    .unwrap_or_else(|message| Err(ApiError::Panicked { message }));
    exchange.log(&answered);
    match answered {
        Ok(answer) => {
            let mut response = Response::new(Full::from(answer.body));
            let json = HeaderValue::from_static("application/json");
            response.headers_mut().insert(header::CONTENT_TYPE, json);
            response
        }
        Err(error) => {
            error.report(id);
            error.to_response(id)
        }
    }
}

fn find<'a>(
    state: &'a AppState,
    params: Result<RawPathParams, RawPathParamsRejection>,
    path: &str,
) -> Result<&'a Deployment, ApiError> {
    // A name that is not UTF-8 is no model's.
    let params = params.map_err(|_not_utf8| unknown(state, in_path(path)))?;
    let param =
        |name: &str| params.iter().find(|(known, _)| *known == name).map(|(_, value)| value);
    let Some(model) = param("model") else { return Ok(state.default_deployment()) };
    let version = param("version");
    state.find(model, version).ok_or_else(|| {
        let wanted =
            version.map_or_else(|| model.to_owned(), |version| format!("{model}@{version}"));
        unknown(state, &wanted)
    })
}

/// Reads `on_invalid` from the query; other parameters are left alone.
fn on_invalid_null(query: &str) -> Result<bool, ApiError> {
    let mut null = false;
    for pair in query.split('&').filter(|pair| !pair.is_empty()) {
        match pair.split_once('=').unwrap_or((pair, "")) {
            ("on_invalid", "null") => null = true,
            ("on_invalid", "fail") => null = false,
            ("on_invalid", found) => {
                let found = found.chars().take(40).collect();
                return Err(ApiError::Query {
                    name: "on_invalid",
                    found,
                    expected: "`fail` or `null`",
                });
            }
            _ => {}
        }
    }
    Ok(null)
}

/// Reads the body within its limits of size and time. What has arrived is in `read` also when it fails.
async fn read_body<B>(mut body: B, state: &AppState, read: &mut Received) -> Result<(), ApiError>
where
    B: HttpBody<Data = Bytes> + Unpin,
{
    let (limits, buffers) = (state.limits(), state.buffers());
    let too_large = || ApiError::BodyTooLarge { limit: limits.max_body_bytes };
    let declared =
        body.size_hint().exact().map(|length| usize::try_from(length).unwrap_or(usize::MAX));
    if declared.is_some_and(|length| length > limits.max_body_bytes) {
        return Err(too_large());
    }
    let collect = async {
        while let Some(frame) = body.frame().await {
            let Ok(frame) = frame else { return Err(ApiError::BodyBroken) };
            let Ok(data) = frame.into_data() else { continue };
            read.push(data, declared, buffers);
            let n_bytes = read.bytes().len();
            if n_bytes > limits.max_body_bytes {
                return Err(too_large());
            }
            if n_bytes > SMALL_BODY
                && !read.held.get_or_insert_with(|| limits.bodies.hold()).grow_to(n_bytes)
            {
                return Err(ApiError::BodiesTooLarge);
            }
        }
        read.finish(buffers);
        Ok(())
    };
    within(limits.body_timeout, std::pin::pin!(collect))
        .await
        .ok_or(ApiError::BodyTimeout { limit_ms: limits.body_timeout.as_millis() })?
}

/// What the future gives, or nothing when it takes too long. Most are ready at once, and need no timer.
async fn within<F: Future>(limit: Duration, mut future: Pin<&mut F>) -> Option<F::Output> {
    let at_once = std::future::poll_fn(|context| Poll::Ready(future.as_mut().poll(context))).await;
    match at_once {
        Poll::Ready(output) => Some(output),
        Poll::Pending => tokio::time::timeout(limit, future).await.ok(),
    }
}

/// Decode, predict, encode.
async fn answer(
    deployment: &Deployment,
    limits: &Limits,
    id: &RequestId,
    seen: &mut Seen,
    is_timed: bool,
) -> Result<Answer, ApiError> {
    let started = is_timed.then(Instant::now);
    let schema = deployment.model.schema();
    let body = seen.body.bytes();
    let is_large = body.len() >= LARGE_BODY;
    if is_large {
        seen.turn = Some(limits.turns.take(body.len()).await?);
    }
    // Not before its turn: a frame is to go from one to the next, and not to wait with each of many.
    let mut frame = deployment.frames.take(schema, body.len());
    let mut decode = || match seen.picture {
        None => schema.decode(body, &limits.decode, &mut frame),
        Some(field) => {
            Ok(schema.decode_picture(&seen.body.whole, field, &limits.decode, &mut frame))
        }
    };
    let decoded = if is_large { blocking(decode) } else { decode() };
    let decoded = decoded.map_err(ApiError::Syntax)?;
    let decoded = seen.decoded.insert(decoded);
    let of_the_whole = decoded.errors.iter().any(|error| error.row.is_none());
    let decoded_at = is_timed.then(Instant::now);
    let taken = |(end, start): (Instant, Instant)| (start, end.saturating_duration_since(start));
    seen.decode = decoded_at.zip(started).map(taken);
    let Predicted { predictions, frame, times } =
        if of_the_whole || (frame.n_rows() == 0 && decoded.n_errors > 0) {
            Predicted { predictions: Predictions::default(), frame, times: None }
        } else {
            // Workers have a queue of their own.
            drop(seen.turn.take_if(|_| deployment.engine.plan().lane == Lane::Worker));
            deployment.engine.predict(frame, decoded_at).await?
        };
    seen.times = times;
    let n_predicted = frame.n_rows();
    deployment.frames.put(frame, body.len());
    let invalid = decoded.n_errors
        + predictions.errors.iter().filter(|e| e.problem.is_invalid_input()).count();
    (seen.items, seen.total) = list_items(deployment, limits, decoded, &predictions, body);
    if invalid > 0 && (!seen.on_invalid_null || of_the_whole) {
        let detail = count(decoded, &predictions, invalid, of_the_whole);
        return Err(ApiError::Invalid {
            detail,
            items: std::mem::take(&mut seen.items),
            total: seen.total,
        });
    }
    let has_one = |prediction: &&Prediction| !matches!(prediction, Prediction::None);
    seen.n_predicted = predictions.rows.iter().filter(has_one).count();
    Ok(encode(deployment, id, decoded, &predictions, n_predicted, (&seen.items, seen.total)))
}

/// Runs something long in this thread, after its other tasks have been moved to another one.
pub(super) fn blocking<T>(work: impl FnOnce() -> T) -> T {
    match tokio::runtime::Handle::current().runtime_flavor() {
        tokio::runtime::RuntimeFlavor::MultiThread => tokio::task::block_in_place(work),
        _ => work(),
    }
}

/// "2 problems in 1 of 3 rows".
fn count(
    decoded: &Decoded,
    predictions: &Predictions,
    invalid: usize,
    of_the_whole: bool,
) -> String {
    let problems =
        if invalid == 1 { "1 problem".to_owned() } else { format!("{invalid} problems") };
    if of_the_whole {
        return match decoded.errors.first() {
            Some(error) if invalid == 1 => error.problem.to_string(),
            _ => problems,
        };
    }
    let mut refused: Vec<usize> = predictions
        .errors
        .iter()
        .filter(|e| e.problem.is_invalid_input())
        .map(|error| error.row)
        .collect();
    refused.dedup();
    let n_bad = decoded.kept.as_ref().map_or(0, |kept| decoded.n_rows - kept.len()) + refused.len();
    format!(
        "{problems} in {n_bad} of {} {}",
        decoded.n_rows,
        if decoded.n_rows == 1 { "row" } else { "rows" }
    )
}

/// The problems of all rows in the order of the body, at most so many as are listed, and their number.
fn list_items(
    deployment: &Deployment,
    limits: &Limits,
    decoded: &Decoded,
    predictions: &Predictions,
    body: &[u8],
) -> (Vec<Item>, usize) {
    let total = decoded.n_errors + predictions.errors.len();
    if total == 0 {
        return (Vec::new(), 0);
    }
    let schema = deployment.model.schema();
    let mut items: Vec<(Option<usize>, Item)> = decoded
        .errors
        .iter()
        .map(|error| {
            let field = error.field.as_deref();
            let mut pointer = decoded.form.pointer(error.row, field);
            error.problem.path().iter().for_each(|at| pointer.push_str(&format!("/{at}")));
            let item = Item {
                pointer,
                code: error.problem.code(),
                detail: error.problem.to_string(),
                sensitive: deployment.may_hold_sensitive(field),
            };
            (error.row, item)
        })
        .collect();
    let keys = Keys::new(body, decoded, !predictions.errors.is_empty());
    items.extend(predictions.errors.iter().take(limits.decode.max_errors).map(|error| {
        let row = original(decoded, error.row);
        let field = error.field.and_then(|field| schema.fields().get(field));
        let key = field.map(|field| keys.used(row, field));
        let item = Item {
            pointer: decoded.form.pointer(Some(row), key.as_deref()),
            code: error.problem.code(),
            detail: error.problem.to_string(),
            // What the graph says of a row may hold a value of any field.
            sensitive: field.map_or_else(
                || !deployment.sensitive.is_empty() && error.problem.is_invalid_input(),
                |field| field.spec().sensitive,
            ),
        };
        (Some(row), item)
    }));
    items.sort_by_key(|(row, _)| *row);
    items.truncate(limits.decode.max_errors);
    (items.into_iter().map(|(_, item)| item).collect(), total)
}

/// The row of the body that a row of the frame comes from.
fn original(decoded: &Decoded, row: usize) -> usize {
    decoded.kept.as_ref().map_or(row, |kept| kept.get(row).copied().unwrap_or(row))
}

/// The keys that the client wrote, so that a pointer leads to a value by the alias that was used.
struct Keys(Option<serde_json::Value>);

impl Keys {
    fn new(body: &[u8], decoded: &Decoded, needed: bool) -> Self {
        let inputs = body.get(decoded.inputs.clone()).filter(|_| needed);
        Self(inputs.and_then(|inputs| serde_json::from_slice(inputs).ok()))
    }

    fn used(&self, row: usize, field: &Field) -> String {
        let row = self
            .0
            .as_ref()
            .and_then(|inputs| if inputs.is_array() { inputs.get(row) } else { Some(inputs) });
        let mut aliases = field.spec().aliases.iter();
        let alias = aliases.rfind(|alias| row.is_some_and(|row| row.get(alias.as_str()).is_some()));
        alias.cloned().unwrap_or_else(|| field.name().to_owned())
    }
}

fn encode(
    deployment: &Deployment,
    id: &RequestId,
    decoded: &Decoded,
    predictions: &Predictions,
    n_predicted: usize,
    (items, total): (&[Item], usize),
) -> Answer {
    let postprocess = deployment.model.postprocess();
    let mut body = Vec::with_capacity(160 + decoded.n_rows * 20);
    body.push(b'{');
    let start = body.len();
    body.extend_from_slice(b"\"predictions\":[");
    each_row(decoded, n_predicted, &mut body, |row, body| {
        match row.and_then(|row| predictions.rows.get(row)) {
            Some(prediction) => postprocess.write_prediction(prediction, body),
            None => body.extend_from_slice(b"null"),
        }
    });
    body.push(b']');
    let width = postprocess.n_probabilities();
    if width > 0 {
        body.extend_from_slice(b",\"probabilities\":[");
        each_row(decoded, n_predicted, &mut body, |row, body| {
            let values =
                row.and_then(|row| predictions.probabilities.get(row * width..(row + 1) * width));
            postprocess.write_probabilities(values.unwrap_or_default(), body);
        });
        body.push(b']');
    }
    let end = body.len();
    body.extend_from_slice(deployment.answer_version.as_bytes());
    body.extend_from_slice(b",\"errors\":");
    if items.is_empty() {
        body.extend_from_slice(b"null");
    } else {
        let written = serde_json::to_writer(&mut body, items);
        debug_assert!(written.is_ok(), "strings always serialise");
        if total > items.len() {
            body.extend_from_slice(format!(",\"total_errors\":{total}").as_bytes());
        }
    }
    // A model's name and a request id are of characters that JSON takes as they are.
    body.extend_from_slice(b",\"model\":\"");
    body.extend_from_slice(deployment.name().as_bytes());
    body.extend_from_slice(b"\",\"request_id\":\"");
    body.extend_from_slice(id.as_str().as_bytes());
    body.extend_from_slice(b"\"}");
    Answer { body, predictions: start..end }
}

/// Calls `write` for each row of the body, in order, with its row in the frame if it got there; commas between.
fn each_row(
    decoded: &Decoded,
    n_predicted: usize,
    body: &mut Vec<u8>,
    mut write: impl FnMut(Option<usize>, &mut Vec<u8>),
) {
    let mut kept = decoded.kept.as_deref().map(|kept| kept.iter().copied().enumerate().peekable());
    for row in 0..decoded.n_rows {
        if row > 0 {
            body.push(b',');
        }
        let at = match &mut kept {
            None => Some(row).filter(|row| *row < n_predicted),
            Some(kept) => kept.next_if(|(_, original)| *original == row).map(|(at, _)| at),
        };
        write(at, body);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::schema::Form;

    #[test]
    fn the_query_says_what_becomes_of_invalid_rows() {
        assert!(!on_invalid_null("").unwrap());
        assert!(on_invalid_null("a=1&on_invalid=null").unwrap());
        assert!(!on_invalid_null("on_invalid=fail").unwrap());
        let error = on_invalid_null("on_invalid=skip").unwrap_err().to_string();
        assert_eq!(error, "the query parameter `on_invalid` is `skip`, expected `fail` or `null`");
    }

    #[test]
    fn a_pointer_follows_the_form_of_the_request() {
        assert_eq!(Form::Wrapped.pointer(Some(1), Some("a/b~c")), "#/inputs/1/a~1b~0c");
        assert_eq!(Form::WrappedRow.pointer(Some(0), Some("a")), "#/inputs/a");
        assert_eq!(Form::Bare.pointer(Some(2), None), "#/2");
    }
}
