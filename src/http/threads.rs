//! The threads that serve connections, each with a runtime and connections of its own.
//!
//! In one runtime of several threads a connection is served by this thread now and by that one then, and they wake each other to share what there is to do. With
//! cheap models that costs more than it gains. Each runtime here is one of several threads with a single one at work: a task that takes long can still
//! make room for the others of its thread (`block_in_place`), which a runtime made for one thread cannot.

use std::future::Future;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tokio::net::TcpStream;
use tokio::runtime::{Builder, Handle, Runtime};

/// Threads for connections. None where the present runtime has a single one, which then does it.
#[derive(Debug)]
pub(crate) struct Threads(Vec<Thread>);

#[derive(Debug)]
struct Thread {
    /// There until it is shut down.
    runtime: Option<Runtime>,
    n_connections: Arc<AtomicUsize>,
}

/// One of the connections of a thread, as long as it is there.
struct Counted(Arc<AtomicUsize>);

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Threads {
    /// Starts as many threads as the present runtime has.
    ///
    /// # Errors
    /// The system gives no more threads.
    pub(crate) fn start() -> io::Result<Self> {
        let n_threads = Handle::current().metrics().num_workers();
        let n_threads = if n_threads == 1 { 0 } else { n_threads };
        let start = |_| {
            let runtime = Builder::new_multi_thread()
                .worker_threads(1)
                .thread_name("connections")
                .enable_all()
                .build()?;
            Ok(Thread { runtime: Some(runtime), n_connections: Arc::default() })
        };
        (0..n_threads).map(start).collect::<io::Result<_>>().map(Self)
    }

    /// Serves a connection in the thread that has the fewest.
    pub(crate) fn serve<S>(
        &self,
        tcp: TcpStream,
        serve: impl FnOnce(TcpStream) -> S + Send + 'static,
    ) where
        S: Future<Output = ()> + Send + 'static,
    {
        let fewest =
            self.0.iter().min_by_key(|thread| thread.n_connections.load(Ordering::Relaxed));
        let Some(Thread { runtime: Some(runtime), n_connections }) = fewest else {
            tokio::spawn(serve(tcp));
            return;
        };
        n_connections.fetch_add(1, Ordering::Relaxed);
        let counted = Counted(Arc::clone(n_connections));
        let moved = tcp.into_std();
        runtime.spawn(async move {
            let _counted = counted;
            // From here on it is this runtime that is told when there is something to read.
            match moved.and_then(TcpStream::from_std) {
                Ok(tcp) => serve(tcp).await,
                Err(error) => {
                    let error: &dyn std::error::Error = &error;
                    tracing::error!(error, "a connection cannot be served");
                }
            }
        });
    }
}

impl Drop for Threads {
    fn drop(&mut self) {
        // What did not end in time is given up.
        const AT_MOST: Duration = Duration::from_millis(100);
        for thread in &mut self.0 {
            if let Some(runtime) = thread.runtime.take() {
                tokio::task::block_in_place(|| runtime.shutdown_timeout(AT_MOST));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::TcpListener;

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn connections_are_dealt_out_and_a_long_one_makes_room() {
        let threads = Threads::start().unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let mut clients = Vec::new();
        for n_connections in [[0, 1], [1, 1], [1, 2], [2, 2]] {
            let mut client = TcpStream::connect(address).await.unwrap();
            let (tcp, _) = listener.accept().await.unwrap();
            threads.serve(tcp, |mut tcp| async move {
                while let Ok(byte @ 1..) = tcp.read_u8().await {
                    if byte == b'w' {
                        // Until the client is gone, and so for as long as this test is.
                        tokio::task::block_in_place(|| {
                            let tcp = tcp.into_std().unwrap();
                            tcp.set_nonblocking(false).unwrap();
                            let _end = io::Read::read(&mut &tcp, &mut [0]);
                        });
                        return;
                    }
                    tcp.write_u8(byte + 1).await.unwrap();
                }
            });
            client.write_u8(b'a').await.unwrap();
            assert_eq!(client.read_u8().await.unwrap(), b'b');
            clients.push(client);
            let mut found: Vec<usize> = threads
                .0
                .iter()
                .map(|thread| thread.n_connections.load(Ordering::Relaxed))
                .collect();
            found.sort_unstable();
            assert_eq!(found, n_connections);
        }
        // One connection of each thread works on; the others are served all the same.
        for client in &mut clients[..2] {
            client.write_u8(b'w').await.unwrap();
        }
        for client in &mut clients[2..] {
            client.write_u8(b'c').await.unwrap();
            assert_eq!(client.read_u8().await.unwrap(), b'd');
        }
        drop(clients);
        let is_done =
            || threads.0.iter().all(|thread| thread.n_connections.load(Ordering::Relaxed) == 0);
        while !is_done() {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }

    #[tokio::test]
    async fn a_single_thread_serves_by_itself() {
        assert!(Threads::start().unwrap().0.is_empty());
    }
}
