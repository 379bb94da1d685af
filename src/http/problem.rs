//! The one way a request fails: `application/problem+json` (RFC 9457).

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, LazyLock};
use std::task::Poll;
use std::time::{Duration, Instant};

use axum::body::{Body, Bytes};
use axum::extract::{MatchedPath, Request, State};
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use http_body_util::Full;
use serde::Serialize;

use super::encoding;
use super::gate::{self, Caller};
use super::record::{self, Record};
use super::request_id::{self, RequestId};
use super::trace::{self, Over};
use crate::engine::EngineError;
use crate::observe::metrics::{Metrics, Route};
use crate::schema::{SyntaxError, shorten};
use crate::state::AppState;

const PROBLEM_JSON: HeaderValue = HeaderValue::from_static("application/problem+json");

/// What a handler may fail with. The only type in the crate that knows status codes.
#[derive(Debug, Clone, thiserror::Error)]
pub enum ApiError {
    /// There is nothing at this path.
    #[error("there is nothing at `{path}`; `/docs` shows what there is")]
    NotFound {
        /// The path.
        path: String,
    },
    /// No such model, or version of it.
    #[error("there is no model `{wanted}`; there are: {known}")]
    UnknownModel {
        /// What was asked for.
        wanted: String,
        /// What there is.
        known: String,
    },
    /// Another method is needed.
    #[error("{method} is not possible here; the header `allow` says what is")]
    MethodNotAllowed {
        /// The method.
        method: Method,
    },
    /// A key is needed.
    #[error("a key is needed, as `Authorization: Bearer KEY` or `X-API-Key: KEY`; found {given}")]
    Unauthorized {
        /// What came instead; never the key.
        given: &'static str,
    },
    /// The key is for other models.
    #[error("the key `{key}` is not for the model `{model}`")]
    Forbidden {
        /// The key's name.
        key: String,
        /// What was asked.
        model: String,
    },
    /// A page asks whether it may.
    #[error("pages of the origin `{origin}` may not; the setting `cors.origins` says which may")]
    Origin {
        /// Where it is from.
        origin: String,
    },
    /// The key's quota is used up.
    #[error("the quota of the key `{key}` is used up; try again in {retry_after_s} s")]
    TooManyRequests {
        /// The key's name.
        key: String,
        /// When to come back.
        retry_after_s: u64,
    },
    /// A query parameter that cannot be.
    #[error("the query parameter `{name}` is `{found}`, expected {expected}")]
    Query {
        /// The parameter.
        name: &'static str,
        /// Its value.
        found: String,
        /// What it may be.
        expected: &'static str,
    },
    /// The body did not arrive in time.
    #[error("the body did not arrive within {limit_ms} ms")]
    BodyTimeout {
        /// The limit.
        limit_ms: u128,
    },
    /// The connection broke, or its framing, before the body was there.
    #[error("the body could not be read")]
    BodyBroken,
    /// The body is too large.
    #[error("the body is larger than {limit} bytes; send fewer rows at a time")]
    BodyTooLarge {
        /// The limit.
        limit: usize,
    },
    /// The body is not declared to be JSON.
    #[error("expected the content type application/json, found {found}")]
    MediaType {
        /// The content type, or what stands in for it.
        found: String,
    },
    /// The body is a form that cannot be read.
    #[error("the form cannot be read: {problem}")]
    Form {
        /// What is wrong.
        problem: String,
    },
    /// The body is encoded.
    #[error(
        "the content encoding `{found}` is not supported; send the body as it is, or in one of: {}",
        encoding::TAKEN
    )]
    ContentEncoding {
        /// The encoding.
        found: String,
    },
    /// The body is not what its encoding says.
    #[error("the body is not {encoding}, as its content encoding says: {problem}")]
    Encoded {
        /// The encoding.
        encoding: &'static str,
        /// What is wrong.
        problem: String,
    },
    /// The body is not JSON.
    #[error("the body is not JSON: {0}")]
    Syntax(SyntaxError),
    /// Rows, or the request as a whole, break the schema.
    #[error("{detail}")]
    Invalid {
        /// How many problems in how many rows.
        detail: String,
        /// The problems, the first of them.
        items: Vec<Item>,
        /// How many there are.
        total: usize,
    },
    /// What came is no request.
    #[error("the request's line or its headers are not those of HTTP, or contradict one another")]
    Malformed,
    /// The path is too long.
    #[error("the path and the query are longer than the 65,534 bytes that are taken")]
    UriTooLong,
    /// The line and the headers are too large together, or too many.
    #[error(
        "the request's line and headers are larger together, or more, than is taken; settings: server.max_header_bytes, server.max_headers"
    )]
    HeadTooLarge,
    /// There are as many of something as the server takes.
    #[error("the server is busy: it takes {limit} {what} at a time")]
    Busy {
        /// Of what.
        what: &'static str,
        /// How many.
        limit: usize,
    },
    /// The bodies of all requests together hold as much as they may.
    #[error("the server is busy: the bodies of the requests under way hold as much as they may")]
    BodiesTooLarge,
    /// The models are not proven yet.
    #[error("the models are being loaded; `/health` says how far that is")]
    Loading,
    /// The engine did not answer.
    #[error(transparent)]
    Engine(#[from] EngineError),
    /// The request took too long.
    #[error("the prediction took longer than {limit_ms} ms")]
    Timeout {
        /// The limit.
        limit_ms: u128,
    },
    /// The connection was closed, by the client or because the server ends, before there was an answer. Nobody sees it but the log.
    #[error("the connection was closed before the answer")]
    ConnectionClosed,
    /// A handler panicked.
    #[error("panicked: {message}")]
    Panicked {
        /// What it said.
        message: String,
    },
    /// A fault of this program.
    #[error("internal error")]
    Internal,
}

/// One problem of a request.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Item {
    /// Where, as a JSON pointer (RFC 6901) in the form of a URI fragment.
    pub pointer: String,
    /// A stable name for the fault, as listed in docs/artifact.md, section 3.
    pub code: &'static str,
    /// The fault, for a person.
    pub detail: String,
    /// Whether the detail shows a value that must not be logged.
    #[serde(skip)]
    pub sensitive: bool,
}

/// The body of an error answer.
#[derive(Debug, Serialize)]
struct Problem<'a> {
    r#type: String,
    title: &'static str,
    status: u16,
    #[serde(skip_serializing_if = "Option::is_none")]
    detail: Option<String>,
    #[serde(skip_serializing_if = "<[Item]>::is_empty")]
    errors: &'a [Item],
    /// How many errors there are, when not all are listed.
    #[serde(skip_serializing_if = "Option::is_none")]
    total_errors: Option<usize>,
    request_id: &'a str,
}

impl ApiError {
    /// The status of the answer.
    #[must_use]
    pub fn status(&self) -> StatusCode {
        match self {
            Self::NotFound { .. } | Self::UnknownModel { .. } => StatusCode::NOT_FOUND,
            Self::Unauthorized { .. } => StatusCode::UNAUTHORIZED,
            Self::Forbidden { .. } | Self::Origin { .. } => StatusCode::FORBIDDEN,
            Self::TooManyRequests { .. } => StatusCode::TOO_MANY_REQUESTS,
            Self::MethodNotAllowed { .. } => StatusCode::METHOD_NOT_ALLOWED,
            Self::Query { .. }
            | Self::Encoded { .. }
            | Self::Syntax(_)
            | Self::Form { .. }
            | Self::BodyBroken
            | Self::Malformed => StatusCode::BAD_REQUEST,
            Self::UriTooLong => StatusCode::URI_TOO_LONG,
            Self::HeadTooLarge => StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE,
            Self::BodyTimeout { .. } => StatusCode::REQUEST_TIMEOUT,
            Self::BodyTooLarge { .. } => StatusCode::PAYLOAD_TOO_LARGE,
            Self::MediaType { .. } | Self::ContentEncoding { .. } => {
                StatusCode::UNSUPPORTED_MEDIA_TYPE
            }
            Self::Invalid { .. } => StatusCode::UNPROCESSABLE_ENTITY,
            Self::Engine(EngineError::Overloaded)
            | Self::Busy { .. }
            | Self::BodiesTooLarge
            | Self::Loading
            | Self::Timeout { .. } => StatusCode::SERVICE_UNAVAILABLE,
            // As nginx has it: the client closed the request. There is no such standard code, and nobody to send it to.
            Self::ConnectionClosed => StatusCode::from_u16(499).unwrap_or(StatusCode::BAD_REQUEST),
            Self::Engine(EngineError::Predict(_) | EngineError::Stopped)
            | Self::Panicked { .. }
            | Self::Internal => StatusCode::INTERNAL_SERVER_ERROR,
        }
    }

    /// The stable name of the kind of problem, and its title.
    #[must_use]
    pub fn kind(&self) -> (&'static str, &'static str) {
        match self {
            Self::NotFound { .. } => ("not-found", "Not found"),
            Self::UnknownModel { .. } => ("unknown-model", "Unknown model"),
            Self::MethodNotAllowed { .. } => ("method-not-allowed", "Method not allowed"),
            Self::Unauthorized { .. } => ("unauthorized", "A key is needed"),
            Self::Forbidden { .. } => ("forbidden", "The key is for other models"),
            Self::Origin { .. } => ("origin-not-allowed", "Pages of this origin may not"),
            Self::TooManyRequests { .. } => ("too-many-requests", "The quota is used up"),
            Self::Query { .. } => ("invalid-query", "Invalid query"),
            Self::BodyTimeout { .. } => ("body-timeout", "The body came too slowly"),
            Self::BodyBroken => ("broken-body", "The body could not be read"),
            Self::BodyTooLarge { .. } => ("body-too-large", "The body is too large"),
            Self::MediaType { .. } | Self::ContentEncoding { .. } => {
                ("unsupported-media-type", "Unsupported media type")
            }
            Self::Form { .. } => ("malformed-form", "The form cannot be read"),
            Self::Encoded { .. } => ("malformed-encoding", "The body cannot be decompressed"),
            Self::Syntax(_) => ("malformed-json", "The body is not JSON"),
            Self::Invalid { .. } => ("invalid-input", "Invalid input"),
            Self::Malformed => ("malformed-request", "The request is not HTTP"),
            Self::UriTooLong => ("uri-too-long", "The path is too long"),
            Self::HeadTooLarge => ("head-too-large", "The headers are too large"),
            Self::Engine(EngineError::Overloaded) | Self::Busy { .. } | Self::BodiesTooLarge => {
                ("overloaded", "The server is busy")
            }
            Self::Loading => ("loading", "The models are being loaded"),
            Self::Timeout { .. } => ("timeout", "The prediction took too long"),
            Self::ConnectionClosed => ("connection-closed", "The connection was closed"),
            Self::Engine(EngineError::Predict(_) | EngineError::Stopped)
            | Self::Panicked { .. }
            | Self::Internal => ("internal", "Internal error"),
        }
    }

    /// What the client may read: nothing about our own faults.
    fn detail(&self) -> Option<String> {
        (self.status() != StatusCode::INTERNAL_SERVER_ERROR).then(|| self.to_string())
    }

    /// The problems one by one, as answer and log list them.
    #[must_use]
    pub fn items(&self) -> Vec<Item> {
        match self {
            Self::Invalid { items, .. } => items.clone(),
            other => {
                let detail = other.detail().unwrap_or_else(|| other.kind().1.to_owned());
                vec![Item {
                    pointer: "#".to_owned(),
                    code: other.kind().0,
                    detail,
                    sensitive: false,
                }]
            }
        }
    }

    /// The answer, complete with the request's id.
    pub(super) fn to_response(&self, request_id: &RequestId) -> Response<Full<Bytes>> {
        let status = self.status();
        let (kind, title) = self.kind();
        let (errors, total): (&[Item], usize) = match self {
            Self::Invalid { items, total, .. } => (items, *total),
            _ => (&[], 0),
        };
        let problem = Problem {
            r#type: format!("/problems/{kind}"),
            title,
            status: status.as_u16(),
            detail: self.detail(),
            errors,
            total_errors: (total > errors.len()).then_some(total),
            request_id: request_id.as_str(),
        };
        // A struct of strings and numbers always serialises.
        let body = serde_json::to_vec(&problem).unwrap_or_default();
        let mut response = Response::new(Full::from(body));
        *response.status_mut() = status;
        response.headers_mut().insert(header::CONTENT_TYPE, PROBLEM_JSON);
        if status == StatusCode::SERVICE_UNAVAILABLE {
            response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
        }
        if matches!(self, Self::ContentEncoding { .. }) {
            let taken = HeaderValue::from_static(encoding::TAKEN);
            response.headers_mut().insert(header::ACCEPT_ENCODING, taken);
        }
        gate::explain(response.headers_mut(), self);
        response
    }
}

impl IntoResponse for ApiError {
    /// Only the status: [`finish`] makes the body, once, where the request's id is known.
    fn into_response(self) -> Response {
        let mut response = self.status().into_response();
        response.extensions_mut().insert(Arc::new(self));
        response
    }
}

/// Marks an answer that the log has.
#[derive(Debug, Clone, Copy)]
pub(super) struct Logged;

/// The outermost layer: gives the request its id, turns every failure into a problem, and logs what no handler has logged.
pub(super) async fn finish(
    State(state): State<AppState>,
    mut request: Request,
    next: Next,
) -> Response {
    let started = Instant::now();
    let id = request_id::of(request.headers(), state.tracer());
    let (method, path) = (request.method().clone(), request.uri().path().to_owned());
    let route = Route::of(request.extensions().get().map(MatchedPath::as_str));
    request.extensions_mut().insert(id.clone());
    let access = &state.limits().access;
    let origin =
        access.origins.as_ref().and_then(|_| request.headers().get(header::ORIGIN).cloned());
    let wanted = encoding::wanted(request.headers());
    let admission = gate::admit(access, request.headers(), &path);
    let caller = admission.caller;
    let mut response = match gate::preflight(access, &method, request.headers()) {
        Some(answer) => answer.unwrap_or_else(ApiError::into_response),
        None => match admission.refused {
            Some(error) => error.into_response(),
            None => {
                request.extensions_mut().insert(caller.clone());
                next.run(request).await
            }
        },
    };
    let status = response.status();
    let mut is_counted = response.extensions().get::<Logged>().is_some();
    if status.is_client_error() || status.is_server_error() {
        let finished = response.headers().get(header::CONTENT_TYPE) == Some(&PROBLEM_JSON);
        let logged = response.extensions().get::<Logged>().is_some();
        // Health says by its status alone how it is.
        if !finished && response.extensions().get::<super::health::Health>().is_none() {
            let error = response.extensions().get::<Arc<ApiError>>().map_or_else(
                || ApiError::from_bare(&response, &method, &path),
                |error| error.as_ref().clone(),
            );
            if !logged {
                error.report(&id);
                let counted = (state.metrics().as_ref(), route);
                let record = Record::new(started, &id, caller.key_name(), counted);
                let duration = record::rejected(record, Some((&method, &path)), &error);
                let over = over(&method, route, (started, duration), status.as_u16(), Some(&error));
                trace::over(state.tracer(), &id, &over);
                is_counted = true;
            }
            response = error.to_response(&id).map(Body::new);
        }
    }
    if !is_counted {
        let duration = started.elapsed();
        state.metrics().answered(route, status.as_u16(), duration);
        if !route.is_watch() {
            let over = over(&method, route, (started, duration), status.as_u16(), None);
            trace::over(state.tracer(), &id, &over);
        }
    }
    dress(&mut response, &id, &state, &caller, origin.as_ref());
    if encoding::is_large(&response, state.limits().compress_from) {
        return encoding::compress(response, wanted).await.map(Body::new);
    }
    response
}

/// A request that no model has seen.
fn over<'a>(
    method: &'a Method,
    route: Route,
    span: (Instant, Duration),
    status: u16,
    error: Option<&'a ApiError>,
) -> Over<'a> {
    Over { method, route, span, status, error, model: None, decode: None, times: None }
}

/// What every answer carries: the request's id, and where it stands in a trace; what a page of another origin needs; the quota; and that the connection ends, when the server does.
pub(super) fn dress<B>(
    response: &mut Response<B>,
    id: &RequestId,
    state: &AppState,
    caller: &Caller,
    origin: Option<&HeaderValue>,
) {
    let headers = response.headers_mut();
    headers.insert(request_id::HEADER, id.header());
    if let Some(trace) = id.trace()
        && let Ok(value) = HeaderValue::try_from(trace.response(state.tracer().is_some()))
    {
        headers.insert(request_id::TRACE_HEADER, value);
    }
    gate::dress(headers, &state.limits().access, caller, origin);
    if state.is_draining() {
        headers.insert(header::CONNECTION, HeaderValue::from_static("close"));
    }
}

impl ApiError {
    /// Tells of a fault on our side, once, for somebody to act on; the request's id leads to its record.
    pub(super) fn report(&self, id: &RequestId) {
        if self.kind().0 == "overloaded" {
            refused_silently();
        } else if self.status().is_server_error() && !matches!(self, Self::Loading) {
            let error: &dyn std::error::Error = self;
            let trace_id = id.trace_id();
            tracing::error!(
                error,
                request.id = id.as_str(),
                trace.id = trace_id,
                "a request failed"
            );
        }
    }

    /// What a bare error of the router or of a layer means.
    fn from_bare(response: &Response, method: &Method, path: &str) -> Self {
        match response.status() {
            StatusCode::NOT_FOUND => Self::NotFound { path: shown(path) },
            // The router adds the header `allow` behind the layers.
            StatusCode::METHOD_NOT_ALLOWED => Self::MethodNotAllowed { method: method.clone() },
            _ => Self::Internal,
        }
    }
}

/// Notes a refusal because of too much load. Each is in the prediction log; of the messages there is one in a second at most, as more of them
/// would be a load of their own.
pub(super) fn refused_silently() {
    static N_REFUSED: AtomicU64 = AtomicU64::new(0);
    static SAID_AT: AtomicU64 = AtomicU64::new(0);
    static SINCE: LazyLock<Instant> = LazyLock::new(Instant::now);
    N_REFUSED.fetch_add(1, Ordering::Relaxed);
    // From 1, so that the first one is told.
    let now = SINCE.elapsed().as_secs() + 1;
    if SAID_AT.swap(now, Ordering::Relaxed) != now {
        let n = N_REFUSED.swap(0, Ordering::Relaxed);
        tracing::warn!(refused.n = n, "the server is busy: {n} request(s) were refused with 503");
    }
}

/// Answers a request that no handler has seen, and logs it.
pub(super) fn refuse<B>(
    request: &axum::http::Request<B>,
    error: &ApiError,
    metrics: &Metrics,
    state: Option<&AppState>,
) -> Response<Full<Bytes>> {
    let started = Instant::now();
    let id = request_id::of(request.headers(), state.and_then(AppState::tracer));
    error.report(&id);
    let counted = (metrics, Route::OTHER);
    let record = Record::new(started, &id, None, counted);
    record::rejected(record, Some((request.method(), request.uri().path())), error);
    let mut response = error.to_response(&id);
    response.headers_mut().insert(request_id::HEADER, id.header());
    if let Some(state) = state {
        let (access, origin) = (&state.limits().access, request.headers().get(header::ORIGIN));
        gate::dress(response.headers_mut(), access, &Caller::default(), origin);
    }
    response
}

/// What hyper refused before it was a request.
pub(super) struct Rejected(ApiError);

impl Rejected {
    /// Reads hyper's own answer, which has no body and no id of a request; nothing for any other bytes.
    pub(super) fn of(answer: &[u8]) -> Option<Self> {
        let status = answer.strip_prefix(b"HTTP/1.")?.get(2..5)?;
        let error = match status {
            b"400" => ApiError::Malformed,
            b"414" => ApiError::UriTooLong,
            b"431" => ApiError::HeadTooLarge,
            _ => return None,
        };
        let has = |header: &[u8]| memchr::memmem::find(answer, header).is_some();
        (answer.ends_with(b"\r\n\r\n") && has(b"content-length: 0") && !has(b"x-request-id"))
            .then_some(Self(error))
    }

    /// Logs it, and writes what the client gets. After this the connection is closed.
    pub(super) fn answer(self, metrics: &Metrics) -> Bytes {
        let Self(error) = self;
        let id = request_id::of(&HeaderMap::new(), None);
        let counted = (metrics, Route::OTHER);
        record::rejected(Record::new(Instant::now(), &id, None, counted), None, &error);
        let (head, body) = error.to_response(&id).into_parts();
        let body = body.into_inner().unwrap_or_default();
        let mut answer = format!(
            "HTTP/1.1 {}\r\ncontent-type: application/problem+json\r\nx-request-id: {}\r\nconnection: close\r\ncontent-length: {}\r\ndate: {}\r\n\r\n",
            head.status,
            id.as_str(),
            body.len(),
            http_date(),
        )
        .into_bytes();
        answer.extend_from_slice(&body);
        answer.into()
    }
}

/// The present as RFC 9110 has it: `Sun, 06 Nov 1994 08:49:37 GMT`.
fn http_date() -> String {
    const FORMAT: &[time::format_description::BorrowedFormatItem<'_>] = time::macros::format_description!(
        "[weekday repr:short], [day] [month repr:short] [year] [hour]:[minute]:[second] GMT"
    );
    time::OffsetDateTime::now_utc().format(FORMAT).unwrap_or_default()
}

/// The start of something that a client wrote and that may be long.
pub(super) fn shown(text: &str) -> String {
    const AT_MOST: usize = 200;
    shorten(text, AT_MOST)
}

/// Runs a future; a panic in it is an error with its message. Pinned already, so that it is not copied: that of a prediction has thousands of
/// bytes.
pub(super) async fn caught<F: Future>(mut future: Pin<&mut F>) -> Result<F::Output, String> {
    std::future::poll_fn(move |context| {
        // After a panic the future is not polled again.
        let polled = catch_unwind(AssertUnwindSafe(|| future.as_mut().poll(context)));
        polled.map_or_else(|payload| Poll::Ready(Err(message(&*payload))), |polled| polled.map(Ok))
    })
    .await
}

/// What a panic in a layer or in a handler that does not see to it becomes. The message goes to the log, not to the client.
pub(super) fn panicked(payload: Box<dyn Any + Send + 'static>) -> Response {
    ApiError::Panicked { message: message(&*payload) }.into_response()
}

fn message(payload: &(dyn Any + Send)) -> String {
    let text = payload.downcast_ref::<String>().map(String::as_str);
    text.or_else(|| payload.downcast_ref::<&str>().copied()).unwrap_or("unknown panic").to_owned()
}
