//! Our side of apalis: where its worker gets claims from, and what it does when one has ended.
//!
//! It knows no queue and no store, only channels; `serve.rs` stands at their other ends. Nothing
//! here fails, since apalis ends a worker whose backend answers with an error, and cancels what it
//! is doing.

use std::{
    convert::Infallible,
    future::Future,
    pin::Pin,
    sync::{Arc, Mutex, PoisonError},
    task::{Context, Poll},
    time::Duration,
};

use apalis_core::{
    backend::{Backend, BackendConfig, finalize::Ephemeral},
    error::BoxDynError,
    task::{Task, builder::TaskBuilder},
    worker::context::WorkerContext,
};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tokio_util::sync::CancellationToken;
use tower::{Layer, Service};

use super::{
    feed::Claim,
    seat::{Busy, Seat},
    serve::Work,
};
use crate::{
    job::Job,
    lease::Held,
    outage::{Outage, causes},
    store,
};

/// How long a claim that was made ahead waits for a slot before it is given back.
const PATIENCE: Duration = Duration::from_millis(100);

/// The place that a claim has in its program. Dropped before its handler has begun, it asks for the
/// claim to be given back.
pub(super) struct Ticket {
    /// Kept until it is settled or given back.
    held: Option<Held>,
    returns: mpsc::UnboundedSender<Held>,
    has_begun: bool,
    seat: Seat,
    /// Its part of all that the program may hold.
    _hands: OwnedSemaphorePermit,
}

impl Ticket {
    pub(super) fn new(
        held: Held,
        returns: mpsc::UnboundedSender<Held>,
        seat: Seat,
        hands: OwnedSemaphorePermit,
    ) -> Self {
        Self { held: Some(held), returns, has_begun: false, seat, _hands: hands }
    }

    /// Waits for the slots of a claim that was made ahead. False if it is not to begin.
    async fn begin(&mut self, usher: &Usher) -> bool {
        tokio::select! {
            biased;
            () = usher.stop.cancelled() => return false,
            () = self.seat.wait(&usher.free) => {}
            // Somebody else may have a slot for it.
            () = tokio::time::sleep(PATIENCE) => return false,
        }
        self.seat.begin(&usher.busy);
        self.has_begun = true;
        true
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        self.seat.leave();
        if !self.has_begun
            && let Some(held) = self.held.take()
        {
            // Nobody listens any more only if `serve` itself was dropped; then the lease lapses.
            self.returns.send(held).ok();
        }
    }
}

/// A claim on its way to the handler. The ticket leaves it at the outermost layer.
pub(super) struct Arrived<C> {
    pub(super) work: Work<C>,
    pub(super) ticket: Option<Ticket>,
}

/// An apalis backend that gives what comes out of a channel.
pub(super) struct Source<C> {
    pub(super) arrived: mpsc::UnboundedReceiver<Arrived<C>>,
    pub(super) stop: CancellationToken,
    pub(super) usher: Usher,
}

impl<C: Claim> Backend for Source<C> {
    type Task = Task<Arrived<C>>;
    type Error = Infallible;

    fn poll_ready(
        &mut self,
        _: &mut Context<'_>,
        _: &WorkerContext,
    ) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn poll_next(
        &mut self,
        cx: &mut Context<'_>,
        _: &WorkerContext,
    ) -> Poll<Option<Result<Task<Arrived<C>>, Infallible>>> {
        loop {
            match std::task::ready!(self.arrived.poll_recv(cx)) {
                // Claimed but not begun: its ticket is dropped, which gives it back.
                Some(_) if self.stop.is_cancelled() => {}
                Some(arrived) => return Poll::Ready(Some(Ok(TaskBuilder::new(arrived).build()))),
                None => return Poll::Ready(None),
            }
        }
    }

    fn poll_close(
        &mut self,
        _: &mut Context<'_>,
        worker: &WorkerContext,
    ) -> Poll<Result<(), Infallible>> {
        // A worker whose source ran dry would wait for this for ever.
        if !worker.is_stopped() {
            worker.stop().ok();
        }
        Poll::Ready(Ok(()))
    }
}

impl<C: Claim> BackendConfig for Source<C> {
    type Args = Arrived<C>;
    type Id = Job;
    type Kind = Ephemeral;
    type Config = ();
    type Layer = Usher;

    fn config(&self) -> &() {
        &()
    }

    fn middleware(&mut self, _: &mut WorkerContext) -> Usher {
        self.usher.clone()
    }
}

/// The outermost layer: it keeps the tickets of running claims, and decides what their ends mean.
#[derive(Clone)]
pub(super) struct Usher {
    pub(super) busy: Busy,
    pub(super) free: Arc<Semaphore>,
    pub(super) stop: CancellationToken,
    pub(super) trouble: Arc<Mutex<Outage>>,
}

impl<S> Layer<S> for Usher {
    type Service = Ushered<S>;

    fn layer(&self, inner: S) -> Ushered<S> {
        Ushered { inner, usher: self.clone() }
    }
}

pub(super) struct Ushered<S> {
    inner: S,
    usher: Usher,
}

impl<C, S> Service<Task<Arrived<C>>> for Ushered<S>
where
    C: Claim,
    S: Service<Task<Arrived<C>>, Response = ()> + Clone + Send + 'static,
    S::Error: Into<BoxDynError>,
    S::Future: Send + 'static,
{
    type Response = ();
    type Error = BoxDynError;
    type Future = Pin<Box<dyn Future<Output = Result<(), BoxDynError>> + Send>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), BoxDynError>> {
        self.inner.poll_ready(cx).map_err(Into::into)
    }

    fn call(&mut self, mut task: Task<Arrived<C>>) -> Self::Future {
        let job = task.args.work.claim.fence().job;
        let mut ticket = task.args.ticket.take();
        let usher = self.usher.clone();
        // The one that was asked whether it is ready is the one to call.
        let next = self.inner.clone();
        let mut inner = std::mem::replace(&mut self.inner, next);
        Box::pin(async move {
            if let Some(ticket) = &mut ticket
                && !ticket.begin(&usher).await
            {
                return Ok(());
            }
            // Not before: within, the handler runs beside as soon as it is called.
            match inner.call(task).await.map_err(Into::into) {
                Ok(()) => usher.trouble().is_over(),
                Err(error) => {
                    // Nothing was written, so the lease lapses, and a sweep decides.
                    let wait = usher.wait_after(job, error);
                    // Its place stays taken meanwhile: who cannot finish work should not take more.
                    tokio::select! {
                        biased;
                        () = tokio::time::sleep(wait) => {}
                        () = usher.stop.cancelled() => {}
                    }
                }
            }
            drop(ticket);
            Ok(())
        })
    }
}

impl Usher {
    fn trouble(&self) -> std::sync::MutexGuard<'_, Outage> {
        self.trouble.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn wait_after(&self, job: Job, error: BoxDynError) -> std::time::Duration {
        if error.downcast_ref::<store::Error>().is_none() {
            // A store that does not answer is said once per outage; a panic is a bug, each time.
            tracing::error!(%job, error = %causes(&*error), "a handler broke off");
        }
        self.trouble().goes_on(&*error)
    }
}

/// The innermost service: calls the handler, and tells ends from interruptions.
#[derive(Clone)]
pub(super) struct Calling<H>(pub(super) H);

impl<C, H, F> Service<Task<Arrived<C>>> for Calling<H>
where
    C: Claim,
    H: Fn(Work<C>) -> F + Clone + Send + 'static,
    F: Future<Output = Result<(), store::Error>> + Send + 'static,
{
    type Response = ();
    type Error = store::Error;
    type Future = Pin<Box<dyn Future<Output = Result<(), store::Error>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), store::Error>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, task: Task<Arrived<C>>) -> Self::Future {
        let (work, handler) = (task.args.work, self.0.clone());
        let job = work.claim.fence().job;
        // The handler is called within the future, so that its panics stay in there.
        Box::pin(async move {
            match handler(work).await {
                // Whoever has the work now, or nobody: what was made of it is of no use any more.
                Err(store::Error::Fenced | store::Error::NotFound { .. }) => Ok(()),
                Err(error @ store::Error::Conflict { .. }) => {
                    tracing::debug!(%job, %error, "nothing to do");
                    Ok(())
                }
                result => result,
            }
        })
    }
}
