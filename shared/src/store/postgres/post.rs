//! Where settlements of deliveries gather: while one commit is on its way, the next fills up, as
//! for tasks at `desk.rs`.

use std::sync::Arc;

use tokio::sync::{mpsc, oneshot};
use tokio_util::task::AbortOnDropHandle;

use super::{
    answering::{self, Answered},
    *,
};

/// Settlements that may wait; whoever comes then waits to be let in.
const WAITING_MOST: usize = 4_096;
const COMMIT_MOST: usize = 512;

struct Waiting {
    answered: Answered,
    answer: oneshot::Sender<Result<(), Error>>,
}

/// Cheap to clone. The last one that is dropped ends the work.
#[derive(Clone)]
pub(super) struct Post {
    door: mpsc::Sender<Waiting>,
    _clerk: Arc<AbortOnDropHandle<()>>,
}

impl std::fmt::Debug for Post {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Post").finish_non_exhaustive()
    }
}

impl Post {
    #[expect(clippy::disallowed_methods, reason = "the handle that owns it aborts it when dropped")]
    pub(super) fn open(db: Db) -> Self {
        let (door, inbox) = mpsc::channel(WAITING_MOST);
        let clerk = AbortOnDropHandle::new(tokio::spawn(work(db, inbox)));
        Self { door, _clerk: Arc::new(clerk) }
    }

    /// Answers once the commit stands.
    pub(super) async fn settle(&self, answered: Answered) -> Result<(), Error> {
        let (answer, heard) = oneshot::channel();
        if self.door.send(Waiting { answered, answer }).await.is_err() {
            return Err(Error::unavailable(Closed));
        }
        heard.await.unwrap_or_else(|_| Err(Error::unavailable(Closed)))
    }
}

#[derive(Debug, thiserror::Error)]
#[error("the store is being closed")]
struct Closed;

async fn work(db: Db, mut inbox: mpsc::Receiver<Waiting>) {
    let mut waiting = Vec::with_capacity(COMMIT_MOST);
    while 0 < inbox.recv_many(&mut waiting, COMMIT_MOST).await {
        let (answered, answers): (Vec<_>, Vec<_>) =
            waiting.drain(..).map(|waiting| (waiting.answered, waiting.answer)).unzip();
        match again(|| answering::settle_all(&db, &answered)).await {
            Ok(settled) => {
                for (answer, settled) in answers.into_iter().zip(settled) {
                    // Whoever does not wait any more may have lost the lease meanwhile.
                    answer.send(settled).ok();
                }
            }
            Err(error) => {
                // One of them may be to blame: each for itself.
                tracing::debug!(%error, together = answered.len(), "settling one by one");
                for (answered, answer) in answered.into_iter().zip(answers) {
                    let settled = again(|| answering::settle(&db, answered.clone())).await;
                    answer.send(settled).ok();
                }
            }
        }
    }
}
