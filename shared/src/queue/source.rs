//! Our side of apalis: where its worker gets jobs from, and what it does when one has ended.
//!
//! It knows no queue, only channels; `serve.rs` stands at their other ends. Nothing here fails,
//! since apalis ends a worker whose backend answers with an error, and cancels what it is doing.

use std::{
    convert::Infallible,
    future::Future,
    pin::Pin,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU32, Ordering},
    },
    task::{Context, Poll},
};

use apalis_core::{
    backend::{Backend, BackendConfig, finalize::Ephemeral},
    error::BoxDynError,
    task::{Task, builder::TaskBuilder},
    worker::context::WorkerContext,
};
use tokio::sync::{OwnedSemaphorePermit, mpsc};
use tokio_util::sync::CancellationToken;
use tower::{Layer, Service};

use super::outage::{Outage, causes};
use crate::{job::Job, store};

/// What became of a job that was taken; the receipt says which.
#[derive(Debug)]
pub(super) enum Mark {
    Done(String),
    PutBack(String),
}

/// The place that a taken job has in its program. Dropped without a word, it puts the job back.
#[derive(Debug)]
pub(super) struct Ticket {
    receipt: Option<String>,
    marks: mpsc::UnboundedSender<Mark>,
    busy: Option<Arc<AtomicU32>>,
    _slot: OwnedSemaphorePermit,
}

impl Ticket {
    pub(super) fn new(
        receipt: String,
        marks: mpsc::UnboundedSender<Mark>,
        slot: OwnedSemaphorePermit,
    ) -> Self {
        Self { receipt: Some(receipt), marks, busy: None, _slot: slot }
    }

    fn begin(&mut self, busy: Arc<AtomicU32>) {
        busy.fetch_add(1, Ordering::Relaxed);
        self.busy = Some(busy);
    }

    fn done(mut self) {
        if let Some(receipt) = self.receipt.take() {
            // Nobody listens any more only if `serve` itself was dropped; the relay heals that.
            self.marks.send(Mark::Done(receipt)).ok();
        }
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        if let Some(receipt) = self.receipt.take() {
            self.marks.send(Mark::PutBack(receipt)).ok();
        }
        if let Some(busy) = self.busy.take() {
            busy.fetch_sub(1, Ordering::Relaxed);
        }
    }
}

/// A job on its way to the handler. The ticket leaves it at the outermost layer.
#[derive(Debug)]
pub(super) struct Arrived {
    pub(super) job: Job,
    pub(super) ticket: Option<Ticket>,
}

/// An apalis backend that gives what comes out of a channel.
pub(super) struct Source {
    pub(super) arrived: mpsc::Receiver<Arrived>,
    pub(super) stop: CancellationToken,
    pub(super) desk: Desk,
}

impl Backend for Source {
    type Task = Task<Arrived>;
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
    ) -> Poll<Option<Result<Task<Arrived>, Infallible>>> {
        loop {
            match std::task::ready!(self.arrived.poll_recv(cx)) {
                // Taken but not begun: its ticket is dropped, which puts it back.
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

impl BackendConfig for Source {
    type Args = Arrived;
    type Id = Job;
    type Kind = Ephemeral;
    type Config = ();
    type Layer = Desk;

    fn config(&self) -> &() {
        &()
    }

    fn middleware(&mut self, _: &mut WorkerContext) -> Desk {
        self.desk.clone()
    }
}

/// The outermost layer: it keeps the tickets of running jobs, and decides what their ends mean.
#[derive(Clone)]
pub(super) struct Desk {
    pub(super) busy: Arc<AtomicU32>,
    pub(super) stop: CancellationToken,
    pub(super) trouble: Arc<Mutex<Outage>>,
}

impl<S> Layer<S> for Desk {
    type Service = AtDesk<S>;

    fn layer(&self, inner: S) -> AtDesk<S> {
        AtDesk { inner, desk: self.clone() }
    }
}

pub(super) struct AtDesk<S> {
    inner: S,
    desk: Desk,
}

impl<S> Service<Task<Arrived>> for AtDesk<S>
where
    S: Service<Task<Arrived>, Response = ()>,
    S::Error: Into<BoxDynError>,
    S::Future: Send + 'static,
{
    type Response = ();
    type Error = BoxDynError;
    type Future = Pin<Box<dyn Future<Output = Result<(), BoxDynError>> + Send>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), BoxDynError>> {
        self.inner.poll_ready(cx).map_err(Into::into)
    }

    fn call(&mut self, mut task: Task<Arrived>) -> Self::Future {
        let job = task.args.job;
        let mut ticket = task.args.ticket.take();
        if let Some(ticket) = &mut ticket {
            ticket.begin(self.desk.busy.clone());
        }
        let desk = self.desk.clone();
        let work = self.inner.call(task);
        Box::pin(async move {
            match work.await.map_err(Into::into) {
                Ok(()) => {
                    desk.trouble().is_over();
                    if let Some(ticket) = ticket {
                        ticket.done();
                    }
                }
                Err(error) => {
                    let wait = desk.wait_after(job, error);
                    // The slot stays taken meanwhile: who cannot finish work should not take more.
                    tokio::select! {
                        () = tokio::time::sleep(wait) => {}
                        () = desk.stop.cancelled() => {}
                    }
                    drop(ticket);
                }
            }
            Ok(())
        })
    }
}

impl Desk {
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

impl<H, F> Service<Task<Arrived>> for Calling<H>
where
    H: Fn(Job) -> F + Clone + Send + 'static,
    F: Future<Output = Result<(), store::Error>> + Send + 'static,
{
    type Response = ();
    type Error = store::Error;
    type Future = Pin<Box<dyn Future<Output = Result<(), store::Error>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), store::Error>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, task: Task<Arrived>) -> Self::Future {
        let (job, handler) = (task.args.job, self.0.clone());
        // The handler is called within the future, so that its panics stay in there.
        Box::pin(async move {
            match handler(job).await {
                // Whoever has the work now, or nobody: this job is of no use any more.
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
