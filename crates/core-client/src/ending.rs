//! The end of a body behind the event that ends its stream.
//!
//! Promise: whoever waits for the answer does not wait for what has nothing to say any more. `[DONE]` completes
//! an answer; the end of the body usually comes in the same packet or the next one, and only then can the
//! connection carry another request.

use std::sync::Arc;
use std::time::Duration;

use hyper::body::Incoming;
use tokio::time::timeout;

use crate::pool::{Link, Pool};

/// How long the answer is held back for the end. In a closed loop the next request of this slot wants the very
/// connection, and opening another one takes longer than an end that is on its way.
const AT_HAND: Duration = Duration::from_millis(5);

/// How long somebody else waits for it after that. A server that takes longer keeps its request; the connection
/// is then closed in place of being reused.
const LATEST: Duration = Duration::from_millis(250);

/// Reads `body` to its end and gives the link back. Returns when that is done, or when the end is not at hand:
/// then a task of its own waits for it.
pub(crate) fn read_end(
    pool: &Arc<Pool>,
    mut link: Link,
    mut body: Incoming,
) -> impl Future<Output = ()> + Send {
    // Boxed, because it may have to move into a task half-way.
    let mut end = Box::pin(async move {
        while let Some(Ok(_)) = link.frame(&mut body).await {}
        link
    });
    async move {
        match timeout(AT_HAND, end.as_mut()).await {
            Ok(link) => pool.put_back_after_stream(link).await,
            Err(_) => {
                let pool = Arc::clone(pool);
                tokio::spawn(async move {
                    if let Ok(link) = timeout(LATEST, end).await {
                        pool.put_back_after_stream(link).await;
                    }
                });
            }
        }
    }
}
