//! One connection: how long it may be silent, and that its last answer arrives.
//!
//! Knows nothing of models. What hyper leaves open is closed here:
//!
//! - the head of the first request must come in time, from the first byte on;
//! - a request whose body was not read to its end is answered with `Connection: close`, and what the client still sends is read
//!   and thrown away for a while: closing at once would reset the connection, and the answer would be lost with it.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use axum::Router;
use axum::http::{HeaderValue, Request, Response, Version, header};
use bytes::Bytes;
use hyper::body::{Body, Frame, Incoming, SizeHint};
use hyper::service::Service;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::Sleep;
use tower::Service as _;

/// How long a client may go on sending what nobody wants, after it has its answer.
const LINGER: Duration = Duration::from_secs(5);

/// What both sides of a connection, stream and service, know of it.
#[derive(Debug)]
struct Progress {
    /// Whether there was a request.
    has_begun: AtomicBool,
    /// Whether the client may still be sending a request that has its answer.
    may_send: AtomicBool,
}

/// The two sides of a connection. The head of the first request must have arrived after `header_timeout`.
pub(crate) fn connect(
    tcp: TcpStream,
    router: &Router,
    header_timeout: Duration,
) -> (Stream, Requests) {
    let progress =
        Arc::new(Progress { has_begun: AtomicBool::new(false), may_send: AtomicBool::new(true) });
    let stream = Stream {
        tcp,
        progress: Arc::clone(&progress),
        head: Some(Box::pin(tokio::time::sleep(header_timeout))),
        linger: None,
    };
    (stream, Requests { router: router.clone(), progress })
}

/// The bytes of a connection.
#[derive(Debug)]
pub(crate) struct Stream {
    tcp: TcpStream,
    progress: Arc<Progress>,
    /// Until when the first request must be there.
    head: Option<Pin<Box<Sleep>>>,
    /// Our side is closed; until when the client is listened to.
    linger: Option<Pin<Box<Sleep>>>,
}

impl AsyncRead for Stream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.progress.has_begun.load(Ordering::Relaxed) {
            self.head = None;
        }
        if let Some(head) = &mut self.head
            && head.as_mut().poll(context).is_ready()
        {
            return Poll::Ready(Err(io::ErrorKind::TimedOut.into()));
        }
        Pin::new(&mut self.tcp).poll_read(context, buffer)
    }
}

impl AsyncWrite for Stream {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.tcp).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.tcp).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = &mut *self;
        if this.linger.is_none() {
            ready!(Pin::new(&mut this.tcp).poll_shutdown(context))?;
            if !this.progress.may_send.load(Ordering::Relaxed) {
                return Poll::Ready(Ok(()));
            }
        }
        let until = this.linger.get_or_insert_with(|| Box::pin(tokio::time::sleep(LINGER)));
        let mut unwanted = [0; 16 * 1024];
        while until.as_mut().poll(context).is_pending() {
            let mut buffer = ReadBuf::new(&mut unwanted);
            let read = ready!(Pin::new(&mut this.tcp).poll_read(context, &mut buffer));
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
        Pin::new(&mut self.tcp).poll_write_vectored(context, pieces)
    }

    fn is_write_vectored(&self) -> bool {
        self.tcp.is_write_vectored()
    }
}

/// The requests of a connection.
#[derive(Debug, Clone)]
pub(crate) struct Requests {
    router: Router,
    progress: Arc<Progress>,
}

impl Service<Request<Incoming>> for Requests {
    type Response = Response<axum::body::Body>;
    type Error = std::convert::Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Self::Error>> + Send>>;

    fn call(&self, request: Request<Incoming>) -> Self::Future {
        let progress = Arc::clone(&self.progress);
        progress.has_begun.store(true, Ordering::Relaxed);
        let is_one_at_a_time = request.version() < Version::HTTP_2;
        progress
            .may_send
            .store(is_one_at_a_time && !request.body().is_end_stream(), Ordering::Relaxed);
        let request = request.map(|body| Tracked { body, progress: Arc::clone(&progress) });
        let mut router = self.router.clone();
        Box::pin(async move {
            let mut response = router.call(request).await?;
            if is_one_at_a_time && progress.may_send.load(Ordering::Relaxed) {
                let close = HeaderValue::from_static("close");
                response.headers_mut().insert(header::CONNECTION, close);
            }
            Ok(response)
        })
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
