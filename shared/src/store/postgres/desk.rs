//! Where writes of one kind gather: while one commit is on its way, the next fills up.
//!
//! Alone, a write waits for nobody. Under load one commit carries as many as came while the one
//! before it was written, so that the price of a commit, and of its statements, is shared by more
//! the more there are.

use std::sync::Arc;

use tokio::sync::{mpsc, oneshot};
use tokio_util::task::AbortOnDropHandle;

use super::*;

/// Writes that may wait; whoever comes then waits to be let in.
const WAITING_MOST: usize = 4_096;
/// After a commit of so many writes, a much smaller one waits a moment for others.
const MANY: usize = 32;
const GATHER_FOR: Duration = Duration::from_millis(1);

/// Something that is written together with others of its kind.
pub(super) trait Gathered: Sized + Send + Sync + 'static {
    type Answer: Send + 'static;
    /// What it is called in the log.
    const NAME: &'static str;
    /// The weight of one commit, which holds the locks of its builds for some ten milliseconds.
    const COMMIT_MOST: usize;

    fn weight(&self) -> usize {
        1
    }

    /// Writes them in one commit and answers each in its turn. An error is for all of them, and
    /// nothing was written.
    fn commit(
        db: &Db,
        all: &[Self],
    ) -> impl Future<Output = Result<Vec<Result<Self::Answer, Error>>, Error>> + Send;
}

struct Waiting<G: Gathered> {
    write: G,
    answer: oneshot::Sender<Result<G::Answer, Error>>,
}

/// Cheap to clone. The last one that is dropped ends the work.
pub(super) struct Desk<G: Gathered> {
    door: mpsc::Sender<Waiting<G>>,
    clerk: Arc<AbortOnDropHandle<()>>,
}

impl<G: Gathered> Clone for Desk<G> {
    fn clone(&self) -> Self {
        Self { door: self.door.clone(), clerk: Arc::clone(&self.clerk) }
    }
}

impl<G: Gathered> std::fmt::Debug for Desk<G> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Desk").field("writes", &G::NAME).finish_non_exhaustive()
    }
}

impl<G: Gathered> Desk<G> {
    #[expect(clippy::disallowed_methods, reason = "the handle that owns it aborts it when dropped")]
    pub(super) fn open(db: Db) -> Self {
        let (door, inbox) = mpsc::channel(WAITING_MOST);
        let clerk = AbortOnDropHandle::new(tokio::spawn(work(db, inbox)));
        Self { door, clerk: Arc::new(clerk) }
    }

    /// Answers once the commit stands.
    pub(super) async fn write(&self, write: G) -> Result<G::Answer, Error> {
        let (answer, answered) = oneshot::channel();
        if self.door.send(Waiting { write, answer }).await.is_err() {
            return Err(Error::unavailable(Closed));
        }
        answered.await.unwrap_or_else(|_| Err(Error::unavailable(Closed)))
    }
}

#[derive(Debug, thiserror::Error)]
#[error("the store is being closed")]
struct Closed;

async fn work<G: Gathered>(db: Db, mut inbox: mpsc::Receiver<Waiting<G>>) {
    let mut waiting = Vec::with_capacity(G::COMMIT_MOST);
    let mut last = 0;
    while 0 < inbox.recv_many(&mut waiting, G::COMMIT_MOST).await {
        if MANY <= last && waiting.len() < last / 4 {
            // What ends together arrives one by one, and this is the first of it.
            tokio::time::sleep(GATHER_FOR).await;
            let more = inbox.len().min(G::COMMIT_MOST - waiting.len());
            inbox.recv_many(&mut waiting, more).await;
        }
        last = waiting.len();
        let mut waiting = waiting.drain(..).peekable();
        while waiting.peek().is_some() {
            let (mut writes, mut answers, mut weight) = (Vec::new(), Vec::new(), 0);
            while let Some(next) = waiting
                .next_if(|next| weight == 0 || weight + next.write.weight() <= G::COMMIT_MOST)
            {
                weight += next.write.weight().max(1);
                writes.push(next.write);
                answers.push(next.answer);
            }
            commit(&db, writes, answers).await;
        }
    }
}

async fn commit<G: Gathered>(
    db: &Db,
    writes: Vec<G>,
    answers: Vec<oneshot::Sender<Result<G::Answer, Error>>>,
) {
    match again(|| G::commit(db, &writes)).await {
        Ok(written) => {
            for (answer, written) in answers.into_iter().zip(written) {
                // Whoever does not wait any more may have lost the lease meanwhile.
                answer.send(written).ok();
            }
        }
        Err(error) if 1 < writes.len() => {
            // One of them may be to blame: each for itself.
            tracing::debug!(%error, write = G::NAME, together = writes.len(), "one by one");
            for (write, answer) in writes.into_iter().zip(answers) {
                let one = [write];
                let written = again(|| G::commit(db, &one)).await;
                answer.send(written.and_then(only)).ok();
            }
        }
        Err(error) => {
            tracing::debug!(%error, write = G::NAME, "was not written");
            if let Some(answer) = answers.into_iter().next() {
                answer.send(Err(error)).ok();
            }
        }
    }
}

/// The answer to something that was written alone.
pub(super) fn only<T>(mut answers: Vec<Result<T, Error>>) -> Result<T, Error> {
    answers.pop().unwrap_or_else(|| Err(Error::unavailable("no answer to what was written")))
}
