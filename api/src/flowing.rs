//! A connection that has to flow: a client that takes nothing of what it asked for is let go, so
//! that it cannot keep an archive in memory, or a place in the door, for as long as it likes.

use std::{
    future::Future,
    io,
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    time::{Instant, Sleep, sleep},
};

/// How long not one byte may be taken. A stream that is cut can be taken up again.
const STALL_MAX: Duration = Duration::from_secs(60);

pub struct Flowing<S> {
    stream: S,
    limit: Pin<Box<Sleep>>,
    stalled: bool,
}

impl<S: AsyncWrite + Unpin> Flowing<S> {
    pub fn new(stream: S) -> Self {
        Self { stream, limit: Box::pin(sleep(STALL_MAX)), stalled: false }
    }

    /// Passes on what came of a write, or an error if none has come for too long.
    fn watched<T>(
        &mut self,
        context: &mut Context<'_>,
        write: impl FnOnce(Pin<&mut S>, &mut Context<'_>) -> Poll<io::Result<T>>,
    ) -> Poll<io::Result<T>> {
        if let Poll::Ready(written) = write(Pin::new(&mut self.stream), context) {
            self.stalled = false;
            return Poll::Ready(written);
        }
        if !self.stalled {
            self.stalled = true;
            self.limit.as_mut().reset(Instant::now() + STALL_MAX);
        }
        self.limit
            .as_mut()
            .poll(context)
            .map(|()| Err(io::Error::new(io::ErrorKind::TimedOut, "the client takes nothing")))
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Flowing<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(context, buffer)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Flowing<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.watched(context, |stream, context| stream.poll_write(context, bytes))
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.watched(context, |stream, context| stream.poll_write_vectored(context, bytes))
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.watched(context, |stream, context| stream.poll_flush(context))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.watched(context, |stream, context| stream.poll_shutdown(context))
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt, duplex};

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_client_that_takes_nothing_is_let_go() {
        let (ours, _theirs) = duplex(8);
        let mut flowing = Flowing::new(ours);

        let written = flowing.write_all(&[0; 64]).await;

        assert_eq!(written.unwrap_err().kind(), io::ErrorKind::TimedOut);
    }

    #[tokio::test(start_paused = true)]
    async fn a_client_that_takes_a_little_now_and_then_is_kept() {
        let (ours, mut theirs) = duplex(8);
        let mut flowing = Flowing::new(ours);
        let mut byte = [0; 8];

        let (written, ()) = tokio::join!(flowing.write_all(&[0; 64]), async {
            for _ in 0..8 {
                sleep(STALL_MAX - Duration::from_secs(1)).await;
                theirs.read_exact(&mut byte).await.unwrap();
            }
        });

        assert!(written.is_ok());
    }
}
