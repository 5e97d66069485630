//! Live updates as server-sent events: each second the points that are new to this reader, and the snapshot.
//!
//! A slow reader skips snapshots but no points: it is sent what the series still holds after the last one it got.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::response::sse::{Event, KeepAlive, Sse};
use axum::response::{IntoResponse, Response};
use futures_util::stream::unfold;
use tokio::sync::{OwnedSemaphorePermit, watch};
use tokio_util::sync::CancellationToken;

use crate::admin::shared::Shared;

/// A stream ends by itself after this; the page opens another. So no reader, however dead, holds a place for ever.
const STREAM_MAX: Duration = Duration::from_secs(30 * 60);
/// When the agent is silent for this long, a comment is sent, so that both ends notice a dead connection.
const KEEP_ALIVE: Duration = Duration::from_secs(15);

struct Reader {
    shared: Arc<Shared>,
    changed: watch::Receiver<u64>,
    shutdown: CancellationToken,
    ends_at: std::pin::Pin<Box<tokio::time::Sleep>>,
    last: Option<u64>,
    queue: VecDeque<Event>,
    _place: OwnedSemaphorePermit,
}

/// A stream that starts after the point at `after` (all that are kept, without one) and ends at `shutdown`. `place` is
/// held as long as it lives.
pub(super) fn open(
    shared: Arc<Shared>,
    shutdown: CancellationToken,
    place: OwnedSemaphorePermit,
    after: Option<u64>,
) -> Response {
    let mut changed = shared.subscribe();
    // The first snapshot goes out at once.
    changed.mark_changed();
    let ends_at = Box::pin(tokio::time::sleep(STREAM_MAX));
    let queue = VecDeque::new();
    let reader = Reader { shared, changed, shutdown, ends_at, last: after, queue, _place: place };
    let events = unfold(reader, |mut reader| async move {
        let event = reader.next().await?;
        Some((Ok::<_, Infallible>(event), reader))
    });
    Sse::new(events).keep_alive(KeepAlive::new().interval(KEEP_ALIVE)).into_response()
}

impl Reader {
    async fn next(&mut self) -> Option<Event> {
        while self.queue.is_empty() {
            tokio::select! {
                () = self.shutdown.cancelled() => return None,
                () = self.ends_at.as_mut() => return None,
                changed = self.changed.changed() => changed.ok()?,
            }
            self.fill();
        }
        self.queue.pop_front()
    }

    /// At most one snapshot and the whole series, and only when the queue is empty. The snapshot comes first, so that a
    /// page has something to say before it has drawn anything.
    fn fill(&mut self) {
        if let Some(published) = self.shared.published() {
            let json = published.json();
            let text = std::str::from_utf8(&json).expect("serde_json writes UTF-8");
            self.queue.push_back(Event::default().event("snapshot").data(text));
        }
        for point in self.shared.points_after(self.last) {
            self.last = Some(point.t);
            let data = serde_json::to_string(&point).expect("views have string keys only");
            self.queue.push_back(Event::default().event("point").data(data));
        }
    }
}
