//! One connection: how long it may be silent, and that its last answer arrives.
//!
//! Knows nothing of models. What hyper leaves open is closed here:
//!
//! - the head of the first request must come in time, from the first byte on, and that of each later one before the connection has been
//!   idle for too long. One timer a connection, which is set anew when it fires and not with each request;
//! - a request whose body was not read to its end is answered with `Connection: close`, and what the client still sends is read
//!   and thrown away for a while: closing at once would reset the connection, and the answer would be lost with it;
//! - a client that takes nothing of its answer for too long loses it;
//! - what hyper refuses by itself, because it is not HTTP or too large, gets a problem and a record as all else does;
//! - of connections and of requests under way there are only so many. Some connections more are taken, so that a client is told, and so
//!   that health checks are answered still.

use std::io;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use axum::Router;
use axum::http::{HeaderMap, HeaderValue, Request, Response, Version, header};
use bytes::{Buf as _, Bytes};
use http_body_util::{Either, Full};
use hyper::body::{Body, Frame, Incoming, SizeHint};
use hyper::service::Service;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::{Instant, Sleep};
use tokio_rustls::server::TlsStream;
use tower::Service as _;

use super::present::Present;
use super::problem::{self, ApiError, Rejected};
use super::{loading, predict};
use crate::observe::metrics::{Metrics, Refused};
use crate::state::{AppState, Loading};

/// A head and a body up to this size together are put in one piece: to write several costs the system more than to copy these.
const SMALL_ANSWER: usize = 1024;

/// How long a client may go on sending what nobody wants, after it has its answer.
const LINGER: Duration = Duration::from_secs(5);

/// How long a connection may be silent.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Patience {
    /// Until the head of its first request is there.
    pub(crate) header: Duration,
    /// From an answer until the head of the next request is there.
    pub(crate) keep_alive: Duration,
    /// Until the client takes some more of its answer.
    pub(crate) write: Duration,
}

/// How many there may be at a time.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Bounds {
    pub(crate) connections: usize,
    pub(crate) requests: usize,
}

impl Bounds {
    /// Connections above the limit that are told so.
    fn surplus(self) -> usize {
        (self.connections / 8).clamp(16, 256)
    }
}

/// A client above the limit must say at once what it wants.
const SURPLUS_HEADER: Duration = Duration::from_secs(1);

/// What all connections of a server have in common.
#[derive(Debug)]
pub(crate) struct Connections {
    /// What answers; nothing until the models are proven.
    serving: OnceLock<Arc<Serving>>,
    loading: Loading,
    metrics: Arc<Metrics>,
    patience: Patience,
    bounds: Bounds,
    n_connections: AtomicUsize,
    n_requests: AtomicUsize,
}

#[derive(Debug)]
struct Serving {
    router: Router,
    state: AppState,
}

impl Connections {
    pub(crate) fn new(
        loading: Loading,
        metrics: Arc<Metrics>,
        patience: Patience,
        bounds: Bounds,
    ) -> Arc<Self> {
        Arc::new(Self {
            serving: OnceLock::new(),
            loading,
            metrics,
            patience,
            bounds,
            n_connections: AtomicUsize::new(0),
            n_requests: AtomicUsize::new(0),
        })
    }

    /// From now on requests are answered by the models.
    pub(crate) fn serve(&self, router: Router, state: AppState) {
        let _once = self.serving.set(Arc::new(Serving { router, state }));
    }

    /// A place for a new connection; none when there are far too many, and it is to be closed.
    pub(crate) fn take(self: &Arc<Self>) -> Option<Slot> {
        let n_before = self.n_connections.fetch_add(1, Ordering::Relaxed);
        self.metrics.begin_connection();
        let is_surplus = n_before >= self.bounds.connections;
        let slot = Slot { connections: Arc::clone(self), is_surplus };
        if n_before >= self.bounds.connections + self.bounds.surplus() {
            problem::refused_silently();
            self.metrics.refused(Refused::ConnectionLimit);
            return None;
        }
        Some(slot)
    }
}

/// The place of a connection among those that there may be.
#[derive(Debug)]
pub(crate) struct Slot {
    connections: Arc<Connections>,
    /// Whether there were as many connections as there may be.
    is_surplus: bool,
}

impl Slot {
    /// How long the connection may be silent.
    pub(crate) fn patience(&self) -> Patience {
        let patience = self.connections.patience;
        let header =
            if self.is_surplus { patience.header.min(SURPLUS_HEADER) } else { patience.header };
        Patience { header, ..patience }
    }

    /// The two sides of the connection.
    pub(crate) fn connect(self, socket: Socket) -> (Stream, Requests) {
        let patience = self.patience();
        let progress = Arc::new(Progress {
            slot: self,
            has_begun: AtomicBool::new(false),
            may_send: AtomicBool::new(true),
            n_open: AtomicUsize::new(0),
            is_http2: AtomicBool::new(false),
        });
        let stream = Stream {
            socket,
            progress: Arc::clone(&progress),
            patience,
            waits_since: Instant::now(),
            timer: Some(Box::pin(tokio::time::sleep(patience.header.min(patience.keep_alive)))),
            stuck: None,
            own: Bytes::new(),
            linger: None,
        };
        (stream, Requests { progress })
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        self.connections.n_connections.fetch_sub(1, Ordering::Relaxed);
        self.connections.metrics.end_connection();
    }
}

/// What both sides of a connection, stream and service, know of it.
#[derive(Debug)]
struct Progress {
    slot: Slot,
    /// Whether there was a request.
    has_begun: AtomicBool,
    /// Whether the client may still be sending a request that has its answer.
    may_send: AtomicBool,
    /// Requests that have no answer yet.
    n_open: AtomicUsize,
    /// Whether it has several streams, of which hyper takes care with pings.
    is_http2: AtomicBool,
}

/// What the bytes come from and go to.
#[derive(Debug)]
pub(crate) enum Socket {
    /// As they are.
    Plain(TcpStream),
    /// Encrypted.
    Tls(Box<TlsStream<TcpStream>>),
}

impl AsyncRead for Socket {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match &mut *self {
            Self::Plain(tcp) => Pin::new(tcp).poll_read(context, buffer),
            Self::Tls(tls) => Pin::new(tls).poll_read(context, buffer),
        }
    }
}

impl AsyncWrite for Socket {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        match &mut *self {
            Self::Plain(tcp) => Pin::new(tcp).poll_write(context, bytes),
            Self::Tls(tls) => Pin::new(tls).poll_write(context, bytes),
        }
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut *self {
            Self::Plain(tcp) => Pin::new(tcp).poll_flush(context),
            Self::Tls(tls) => Pin::new(tls).poll_flush(context),
        }
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut *self {
            Self::Plain(tcp) => Pin::new(tcp).poll_shutdown(context),
            Self::Tls(tls) => Pin::new(tls).poll_shutdown(context),
        }
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        pieces: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match &mut *self {
            Self::Plain(tcp) => Pin::new(tcp).poll_write_vectored(context, pieces),
            Self::Tls(tls) => Pin::new(tls).poll_write_vectored(context, pieces),
        }
    }

    fn is_write_vectored(&self) -> bool {
        match self {
            Self::Plain(tcp) => tcp.is_write_vectored(),
            Self::Tls(tls) => tls.is_write_vectored(),
        }
    }
}

/// The bytes of a connection.
#[derive(Debug)]
pub(crate) struct Stream {
    socket: Socket,
    progress: Arc<Progress>,
    patience: Patience,
    /// When something was last written, or the connection was opened.
    waits_since: Instant,
    /// When to look whether the connection has been silent for too long; none when nobody cares.
    timer: Option<Pin<Box<Sleep>>>,
    /// Until when the client must take some of what waits to be written; none when nothing waits.
    stuck: Option<Pin<Box<Sleep>>>,
    /// What is still to be written in the place of an answer of hyper's own.
    own: Bytes,
    /// Our side is closed; until when the client is listened to.
    linger: Option<Pin<Box<Sleep>>>,
}

impl Stream {
    /// Whether the client has said nothing for too long; if not, the task is woken when that may be so.
    fn is_too_silent(&mut self, context: &mut Context<'_>) -> bool {
        while let Some(timer) = &mut self.timer {
            if timer.as_mut().poll(context).is_pending() {
                return false;
            }
            let progress = &self.progress;
            if progress.is_http2.load(Ordering::Relaxed) {
                self.timer = None;
                return false;
            }
            let now = Instant::now();
            let until = if progress.n_open.load(Ordering::Relaxed) > 0 {
                // The silence is ours.
                now + self.patience.keep_alive
            } else if progress.has_begun.load(Ordering::Relaxed) {
                self.waits_since + self.patience.keep_alive
            } else {
                self.waits_since + self.patience.header
            };
            if until <= now {
                return true;
            }
            timer.as_mut().reset(until);
        }
        false
    }

    /// Passes on how a write went; one that waits for the client does so only for a while.
    fn written<T>(
        &mut self,
        context: &mut Context<'_>,
        written: Poll<io::Result<T>>,
    ) -> Poll<io::Result<T>> {
        if written.is_ready() {
            self.waits_since = Instant::now();
            if self.stuck.is_some() {
                self.stuck = None;
            }
            return written;
        }
        let patience = self.patience.write;
        let stuck = self.stuck.get_or_insert_with(|| Box::pin(tokio::time::sleep(patience)));
        ready!(stuck.as_mut().poll(context));
        Poll::Ready(Err(io::ErrorKind::TimedOut.into()))
    }

    /// Writes out what stands in the place of hyper's own answer.
    fn poll_own(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        while !self.own.is_empty() {
            let written = Pin::new(&mut self.socket).poll_write(context, &self.own);
            let n = ready!(self.written(context, written))?;
            if n == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.own.advance(n);
        }
        Poll::Ready(Ok(()))
    }

    /// Whether these bytes are an answer of hyper's own, in whose place a problem is written.
    fn replaces(&mut self, bytes: &[u8]) -> bool {
        let Some(rejected) = Rejected::of(bytes) else { return false };
        // What it refused may be followed by more.
        self.progress.may_send.store(true, Ordering::Relaxed);
        self.own = rejected.answer(&self.progress.slot.connections.metrics);
        true
    }
}

impl AsyncRead for Stream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let read = Pin::new(&mut self.socket).poll_read(context, buffer);
        // A head that comes letter by letter is as slow as one that does not come.
        if (read.is_pending() || !self.progress.has_begun.load(Ordering::Relaxed))
            && self.is_too_silent(context)
        {
            if !self.progress.has_begun.load(Ordering::Relaxed) {
                self.progress.slot.connections.metrics.refused(Refused::HeadTimeout);
            }
            return Poll::Ready(Err(io::ErrorKind::TimedOut.into()));
        }
        read
    }
}

impl AsyncWrite for Stream {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        ready!(self.poll_own(context))?;
        if self.replaces(bytes) {
            return Poll::Ready(Ok(bytes.len()));
        }
        let written = Pin::new(&mut self.socket).poll_write(context, bytes);
        self.written(context, written)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_own(context))?;
        Pin::new(&mut self.socket).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = &mut *self;
        if this.linger.is_none() {
            ready!(this.poll_own(context))?;
            ready!(Pin::new(&mut this.socket).poll_shutdown(context))?;
            if !this.progress.may_send.load(Ordering::Relaxed) {
                return Poll::Ready(Ok(()));
            }
        }
        let until = this.linger.get_or_insert_with(|| Box::pin(tokio::time::sleep(LINGER)));
        let mut unwanted = [0; 16 * 1024];
        while until.as_mut().poll(context).is_pending() {
            let mut buffer = ReadBuf::new(&mut unwanted);
            let read = ready!(Pin::new(&mut this.socket).poll_read(context, &mut buffer));
            if read.is_err() || buffer.filled().is_empty() {
                break;
            }
        }
        Poll::Ready(Ok(()))
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        pieces: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        ready!(self.poll_own(context))?;
        if let [only] = pieces
            && self.replaces(only)
        {
            return Poll::Ready(Ok(only.len()));
        }
        let mut whole = [0; SMALL_ANSWER];
        let written = match joined(pieces, &mut whole) {
            Some(whole) => Pin::new(&mut self.socket).poll_write(context, whole),
            None => Pin::new(&mut self.socket).poll_write_vectored(context, pieces),
        };
        self.written(context, written)
    }

    fn is_write_vectored(&self) -> bool {
        self.socket.is_write_vectored()
    }
}

/// The pieces one after the other in `whole`, if it has room for them.
fn joined<'a>(pieces: &[io::IoSlice<'_>], whole: &'a mut [u8]) -> Option<&'a [u8]> {
    let mut n_bytes = 0;
    for piece in pieces {
        whole.get_mut(n_bytes..n_bytes + piece.len())?.copy_from_slice(piece);
        n_bytes += piece.len();
    }
    whole.get(..n_bytes)
}

/// The requests of a connection.
#[derive(Debug, Clone)]
pub(crate) struct Requests {
    progress: Arc<Progress>,
}

/// The body of an answer: whole, or from the router.
pub(crate) type Answer = Either<Full<Bytes>, axum::body::Body>;

/// A request that has no answer yet.
struct Open(Arc<Progress>);

impl Open {
    /// Also whether there are more such requests than there may be.
    fn new(progress: &Arc<Progress>) -> (Self, bool) {
        progress.n_open.fetch_add(1, Ordering::Relaxed);
        let connections = &progress.slot.connections;
        let n_before = connections.n_requests.fetch_add(1, Ordering::Relaxed);
        connections.metrics.begin_request();
        (Self(Arc::clone(progress)), n_before >= connections.bounds.requests)
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.0.n_open.fetch_sub(1, Ordering::Relaxed);
        self.0.slot.connections.n_requests.fetch_sub(1, Ordering::Relaxed);
        self.0.slot.connections.metrics.end_request();
    }
}

/// What is answered however busy the server is: that it lives, and how it is.
fn is_about_the_server(path: &str) -> bool {
    path.starts_with("/health") || path == "/metrics"
}

/// Whether another server on the way may have seen something else in a request of HTTP/1 (RFC 9112, 3.2 and 6.1): which host it is for, or
/// where its body ends. What hyper itself cannot make sense of does not come here.
fn is_ambiguous(version: Version, headers: &HeaderMap, present: Present) -> bool {
    if present.host && !present.transfer_encoding && !present.repeated {
        return false;
    }
    let n_hosts = headers.get_all(header::HOST).iter().count();
    if n_hosts > 1 || (n_hosts == 0 && version == Version::HTTP_11) {
        return true;
    }
    let mut encodings = headers.get_all(header::TRANSFER_ENCODING).iter();
    encodings.next().is_some_and(|first| {
        !first.as_bytes().trim_ascii().eq_ignore_ascii_case(b"chunked")
            || encodings.next().is_some()
    })
}

impl Service<Request<Incoming>> for Requests {
    type Response = Response<Answer>;
    type Error = std::convert::Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Self::Error>> + Send>>;

    fn call(&self, request: Request<Incoming>) -> Self::Future {
        let progress = &self.progress;
        let is_one_at_a_time = request.version() < Version::HTTP_2;
        if !progress.has_begun.swap(true, Ordering::Relaxed) && !is_one_at_a_time {
            progress.is_http2.store(true, Ordering::Relaxed);
        }
        progress
            .may_send
            .store(is_one_at_a_time && !request.body().is_end_stream(), Ordering::Relaxed);
        let (open, is_too_many) = Open::new(progress);
        let request = request.map(|body| Tracked { body, progress: Arc::clone(progress) });
        let closing = move |mut response: Response<Answer>| {
            let progress = &open.0;
            if is_one_at_a_time
                && (progress.slot.is_surplus || progress.may_send.load(Ordering::Relaxed))
            {
                let close = HeaderValue::from_static("close");
                response.headers_mut().insert(header::CONNECTION, close);
            }
            response
        };
        let connections = &progress.slot.connections;
        let Some(serving) = connections.serving.get() else {
            let response = loading::answer(&request, &connections.loading, &connections.metrics);
            return Box::pin(std::future::ready(Ok(closing(response.map(Either::Left)))));
        };
        if (is_too_many || progress.slot.is_surplus) && !is_about_the_server(request.uri().path()) {
            let busy = if progress.slot.is_surplus {
                ApiError::Busy { what: "connections", limit: connections.bounds.connections }
            } else {
                ApiError::Busy { what: "requests", limit: connections.bounds.requests }
            };
            let response =
                problem::refuse(&request, &busy, &connections.metrics, Some(&serving.state));
            return Box::pin(std::future::ready(Ok(closing(response.map(Either::Left)))));
        }
        let present = Present::of(request.headers());
        if is_one_at_a_time && is_ambiguous(request.version(), request.headers(), present) {
            // What stands behind it is not to be taken for a request.
            progress.may_send.store(true, Ordering::Relaxed);
            let metrics = &connections.metrics;
            let response =
                problem::refuse(&request, &ApiError::Malformed, metrics, Some(&serving.state));
            return Box::pin(std::future::ready(Ok(closing(response.map(Either::Left)))));
        }
        let serving = Arc::clone(serving);
        // Nearly every request is this one, which needs nothing of what the router and its layers do for the others.
        if predict::is_direct(&request) {
            return Box::pin(async move {
                let answer = predict::direct(&serving.state, request, present).await;
                Ok(closing(answer.map(Either::Left)))
            });
        }
        let mut router = serving.router.clone();
        Box::pin(async move { Ok(closing(router.call(request).await?.map(Either::Right))) })
    }
}

/// The body of a request; notes when it has been read to its end.
#[derive(Debug)]
struct Tracked {
    body: Incoming,
    progress: Arc<Progress>,
}

impl Body for Tracked {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        let frame = ready!(Pin::new(&mut self.body).poll_frame(context));
        let is_last = match &frame {
            None => true,
            Some(Ok(_)) => self.body.is_end_stream(),
            Some(Err(_)) => false,
        };
        if is_last {
            self.progress.may_send.store(false, Ordering::Relaxed);
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::IoSlice;

    #[test]
    fn pieces_are_joined_as_far_as_there_is_room() {
        let mut whole = [0; 6];
        let pieces: [&[u8]; 3] = [b"head", b"", b"ab"];
        let slices = pieces.map(IoSlice::new);
        assert_eq!(joined(&slices, &mut whole), Some(&b"headab"[..]));
        assert_eq!(joined(&slices[..2], &mut whole), Some(&b"head"[..]));
        assert_eq!(joined(&slices, &mut whole[..5]), None);
    }
}
