//! One connection: how long it may be silent, and that its last answer arrives.
//!
//! Knows nothing of models. What hyper leaves open is closed here:
//!
//! - the head of the first request must come in time, from the first byte on, and that of each later one before the connection has been
//!   idle for too long. One timer a connection, which is set anew when it fires and not with each request;
//! - a request whose body was not read to its end is answered with `Connection: close`, and what the client still sends is read
//!   and thrown away for a while: closing at once would reset the connection, and the answer would be lost with it.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use axum::Router;
use axum::http::{HeaderValue, Request, Response, Version, header};
use bytes::Bytes;
use http_body_util::{Either, Full};
use hyper::body::{Body, Frame, Incoming, SizeHint};
use hyper::service::Service;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::{Instant, Sleep};
use tokio_rustls::server::TlsStream;
use tower::Service as _;

use super::predict;
use crate::observe::metrics::{Metrics, Refused};
use crate::state::AppState;

/// How long a client may go on sending what nobody wants, after it has its answer.
const LINGER: Duration = Duration::from_secs(5);

/// How long a connection may be silent.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Patience {
    /// Until the head of its first request is there.
    pub(crate) header: Duration,
    /// From an answer until the head of the next request is there.
    pub(crate) keep_alive: Duration,
}

/// What both sides of a connection, stream and service, know of it.
#[derive(Debug)]
struct Progress {
    /// Whether there was a request.
    has_begun: AtomicBool,
    /// Whether the client may still be sending a request that has its answer.
    may_send: AtomicBool,
    /// Requests that have no answer yet.
    n_open: AtomicUsize,
    /// Whether it has several streams, of which hyper takes care with pings.
    is_http2: AtomicBool,
    metrics: Arc<Metrics>,
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.metrics.end_connection();
    }
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

/// The two sides of a connection.
pub(crate) fn connect(
    socket: Socket,
    router: &Router,
    state: &AppState,
    patience: Patience,
) -> (Stream, Requests) {
    let progress = Arc::new(Progress {
        has_begun: AtomicBool::new(false),
        may_send: AtomicBool::new(true),
        n_open: AtomicUsize::new(0),
        is_http2: AtomicBool::new(false),
        metrics: Arc::clone(state.metrics()),
    });
    state.metrics().begin_connection();
    let stream = Stream {
        socket,
        progress: Arc::clone(&progress),
        patience,
        waits_since: Instant::now(),
        timer: Some(Box::pin(tokio::time::sleep(patience.header.min(patience.keep_alive)))),
        linger: None,
    };
    (stream, Requests { router: router.clone(), state: state.clone(), progress })
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
                self.progress.metrics.refused(Refused::HeadTimeout);
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
        let written = ready!(Pin::new(&mut self.socket).poll_write(context, bytes));
        self.waits_since = Instant::now();
        Poll::Ready(written)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = &mut *self;
        if this.linger.is_none() {
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
        let written = ready!(Pin::new(&mut self.socket).poll_write_vectored(context, pieces));
        self.waits_since = Instant::now();
        Poll::Ready(written)
    }

    fn is_write_vectored(&self) -> bool {
        self.socket.is_write_vectored()
    }
}

/// The requests of a connection.
#[derive(Debug, Clone)]
pub(crate) struct Requests {
    router: Router,
    state: AppState,
    progress: Arc<Progress>,
}

/// The body of an answer: whole, or from the router.
pub(crate) type Answer = Either<Full<Bytes>, axum::body::Body>;

/// A request that has no answer yet.
struct Open(Arc<Progress>);

impl Open {
    fn new(progress: &Arc<Progress>) -> Self {
        progress.n_open.fetch_add(1, Ordering::Relaxed);
        progress.metrics.begin_request();
        Self(Arc::clone(progress))
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.0.n_open.fetch_sub(1, Ordering::Relaxed);
        self.0.metrics.end_request();
    }
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
        let open = Open::new(progress);
        let request = request.map(|body| Tracked { body, progress: Arc::clone(progress) });
        let closing = move |mut response: Response<Answer>| {
            if is_one_at_a_time && open.0.may_send.load(Ordering::Relaxed) {
                let close = HeaderValue::from_static("close");
                response.headers_mut().insert(header::CONNECTION, close);
            }
            response
        };
        // Nearly every request is this one, which needs nothing of what the router and its layers do for the others.
        if predict::is_direct(&request) {
            let state = self.state.clone();
            return Box::pin(async move {
                Ok(closing(predict::direct(&state, request).await.map(Either::Left)))
            });
        }
        let mut router = self.router.clone();
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
