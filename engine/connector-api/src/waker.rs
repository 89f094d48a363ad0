//! How a reader or a writer tells its subtask's thread that there is something to do.

use std::sync::{Arc, Condvar, Mutex};
use std::time::Duration;

/// Cheap to clone; `wake` may be called from any thread, a C callback included.
#[derive(Clone, Default)]
pub struct Waker(Arc<Inner>);

#[derive(Default)]
struct Inner {
    woken: Mutex<bool>,
    condition: Condvar,
}

impl Waker {
    pub fn wake(&self) {
        let mut woken = self.0.woken.lock().unwrap_or_else(|e| e.into_inner());
        if !*woken {
            *woken = true;
            self.0.condition.notify_one();
        }
    }

    /// Sleeps until the next `wake`, which may already have been, or until the time is over.
    pub fn wait(&self, at_most: Duration) {
        let mut woken = self.0.woken.lock().unwrap_or_else(|e| e.into_inner());
        if !*woken {
            woken = self
                .0
                .condition
                .wait_timeout_while(woken, at_most, |w| !*w)
                .map(|(guard, _)| guard)
                .unwrap_or_else(|e| e.into_inner().0);
        }
        *woken = false;
    }
}
