//! From blocking calls to asynchronous ones: one runtime for all drivers, and a deadline for every call.

use bytes::Bytes;
use icecore::error::{Error, Kind, Result};
use std::future::Future;
use std::sync::{Arc, OnceLock};
use std::time::Duration;
use tokio::runtime::{Builder, Runtime};

/// Threads that move bytes and encrypt connections.
const THREADS: usize = 2;

/// The runtime of this process.
///
/// # Errors
/// When the system has no threads left.
pub fn runtime() -> Result<&'static Runtime> {
    static RUNTIME: OnceLock<Runtime> = OnceLock::new();
    if let Some(runtime) = RUNTIME.get() {
        return Ok(runtime);
    }
    let made =
        Builder::new_multi_thread().worker_threads(THREADS).thread_name("network").enable_all().build();
    let made = made.map_err(|e| Error::io("cannot start", "the threads for the network", e))?;
    // Of two that were made at once one is dropped, which only a thread outside of it may do.
    Ok(RUNTIME.get_or_init(|| made))
}

/// Runs `work` to its end, or until `deadline` has passed: then it is dropped, and the error may pass.
///
/// # Errors
/// Those of the work; `Io` at the deadline.
pub fn within<T>(deadline: Duration, work: impl Future<Output = Result<T>>) -> Result<T> {
    let bounded = async { tokio::time::timeout(deadline, work).await };
    runtime()?.block_on(bounded).unwrap_or_else(|_| Err(stalled(deadline)))
}

/// A server that was waited for long enough.
pub fn stalled(waited: Duration) -> Error {
    Error::new(Kind::Io, format!("no answer within {} seconds", (waited.as_secs_f64() * 10.0).round() / 10.0))
        .retry_later()
}

/// Bytes of a caller as the body of a request, without a copy.
pub fn shared(bytes: &Arc<Vec<u8>>) -> Bytes {
    struct Shared(Arc<Vec<u8>>);

    impl AsRef<[u8]> for Shared {
        fn as_ref(&self) -> &[u8] {
            &self.0
        }
    }

    Bytes::from_owner(Shared(Arc::clone(bytes)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_does_not_end_is_an_error_that_may_pass() {
        let error = within(Duration::from_millis(20), std::future::pending::<Result<()>>()).unwrap_err();
        assert_eq!((error.kind(), error.retry()), (Kind::Io, icecore::error::Retry::Later));
        assert_eq!(within(Duration::from_secs(60), async { Ok(7) }).unwrap(), 7);
    }
}
