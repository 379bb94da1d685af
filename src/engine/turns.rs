//! Turns for what is large: as many at a time as there are threads that compute, and few that wait.
//!
//! A large body takes milliseconds to read, in the thread of its request, before any model sees it. Without turns all of them would share the
//! processors, so that each takes as long as all together.

use std::sync::Arc;
use std::time::Instant;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::EngineError;
use super::admission::{Admission, Ticket};
use crate::engine::Plan;

/// Who may have the next turn; cheap to clone.
#[derive(Debug, Clone)]
pub struct Turns {
    free: Arc<Semaphore>,
    admission: Admission,
}

/// The work of one request; the next may begin when it is dropped.
#[derive(Debug)]
pub struct Turn {
    admission: Admission,
    kilobytes: usize,
    started: Instant,
    _permit: OwnedSemaphorePermit,
    _ticket: Ticket,
}

impl Turns {
    /// As many turns at a time as the plan has threads. What work costs is learnt; of the plan only the limits of waiting count.
    #[must_use]
    pub fn new(plan: Plan) -> Self {
        Self { free: Arc::new(Semaphore::new(plan.threads)), admission: Admission::new(plan) }
    }

    /// Waits for a turn to work on so many bytes.
    ///
    /// # Errors
    /// `Overloaded` at once when that would take too long.
    pub async fn take(&self, n_bytes: usize) -> Result<Turn, EngineError> {
        let kilobytes = n_bytes / 1024 + 1;
        let ticket = self.admission.admit(kilobytes)?;
        let permit = Arc::clone(&self.free).acquire_owned().await;
        let permit = permit.map_err(|_closed| EngineError::Stopped)?;
        Ok(Turn {
            admission: self.admission.clone(),
            kilobytes,
            started: Instant::now(),
            _permit: permit,
            _ticket: ticket,
        })
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        self.admission.observe(std::iter::once(self.kilobytes), self.started.elapsed());
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::engine::Lane;

    #[tokio::test]
    async fn a_turn_is_waited_for_unless_that_takes_too_long() {
        let max_wait = Some(Duration::from_millis(5));
        let turns = Turns::new(Plan { max_wait, ..Plan::new(Lane::Inline, 1, 16) });
        // A microsecond a kilobyte, as nothing else is known: the second waits for 3 ms, the third would wait for 6 ms.
        let first = turns.take(3_000 * 1024).await.unwrap();
        let waiting = tokio::spawn({
            let turns = turns.clone();
            async move { turns.take(3_000 * 1024).await }
        });
        while turns.admission.admit(1).is_ok() {
            tokio::task::yield_now().await;
        }
        assert_eq!(turns.take(1).await.unwrap_err(), EngineError::Overloaded);
        assert!(!waiting.is_finished());
        drop(first);
        let second = tokio::time::timeout(Duration::from_secs(60), waiting).await.unwrap().unwrap();
        drop(second.unwrap());
        assert!(turns.take(1).await.is_ok());
    }
}
