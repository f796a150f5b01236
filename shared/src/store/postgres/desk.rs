//! Where settlements of tasks gather: while one commit is on its way, the next fills up.
//!
//! Alone, a settlement waits for nobody. Under load one commit carries as many as came while the
//! one before it was written, so that the price of a commit is shared by more the more there are.

use std::sync::Arc;

use tokio::sync::{mpsc, oneshot};
use tokio_util::task::AbortOnDropHandle;

use super::{settling::Ended, *};

/// Settlements that may wait; whoever comes then waits to be let in.
const WAITING_MOST: usize = 4_096;
/// Settlements in one commit: it holds the locks of their builds for some ten milliseconds.
const COMMIT_MOST: usize = 256;

struct Waiting {
    ended: Ended,
    answer: oneshot::Sender<Result<(), Error>>,
}

/// Cheap to clone. The last one that is dropped ends the work.
#[derive(Clone)]
pub(super) struct Desk {
    door: mpsc::Sender<Waiting>,
    _clerk: Arc<AbortOnDropHandle<()>>,
}

impl std::fmt::Debug for Desk {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Desk").finish_non_exhaustive()
    }
}

impl Desk {
    #[expect(clippy::disallowed_methods, reason = "the handle that owns it aborts it when dropped")]
    pub(super) fn open(db: Db) -> Self {
        let (door, inbox) = mpsc::channel(WAITING_MOST);
        let clerk = AbortOnDropHandle::new(tokio::spawn(work(db, inbox)));
        Self { door, _clerk: Arc::new(clerk) }
    }

    /// Answers once the commit stands.
    pub(super) async fn settle(&self, ended: Ended) -> Result<(), Error> {
        let (answer, answered) = oneshot::channel();
        if self.door.send(Waiting { ended, answer }).await.is_err() {
            return Err(Error::unavailable(Closed));
        }
        answered.await.unwrap_or_else(|_| Err(Error::unavailable(Closed)))
    }
}

#[derive(Debug, thiserror::Error)]
#[error("the store is being closed")]
struct Closed;

async fn work(db: Db, mut inbox: mpsc::Receiver<Waiting>) {
    let mut waiting = Vec::with_capacity(COMMIT_MOST);
    while 0 < inbox.recv_many(&mut waiting, COMMIT_MOST).await {
        let (ended, answers): (Vec<_>, Vec<_>) =
            waiting.drain(..).map(|waiting| (waiting.ended, waiting.answer)).unzip();
        match again(|| settling::settle_all(&db, &ended)).await {
            Ok(settled) => {
                for (answer, settled) in answers.into_iter().zip(settled) {
                    // Whoever does not wait any more may have lost the lease meanwhile.
                    answer.send(settled).ok();
                }
            }
            Err(error) if ended.len() == 1 => {
                for answer in answers {
                    answer.send(Err(Error::unavailable(error.to_string()))).ok();
                }
                tracing::debug!(%error, "a settlement was not written");
            }
            Err(error) => {
                // One of them may be to blame: each for itself.
                tracing::debug!(%error, together = ended.len(), "settling one by one");
                for (ended, answer) in ended.into_iter().zip(answers) {
                    let settled = again(|| settling::settle(&db, ended.clone())).await;
                    answer.send(settled).ok();
                }
            }
        }
    }
}
