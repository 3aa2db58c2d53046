//! What commands see of the parts above them: the copy on disk, and the process.

use crate::command::context::{Control, Durability, Figures};
use crate::config::logging::Verbosity;
use crate::engine::{Engine, Marks};
use crate::persist::{self, Persist};
use crate::server::signals::Request;
use std::sync::Arc;
use tokio::sync::mpsc::UnboundedSender;

/// The copy on disk, as commands see it.
pub(super) struct OnDisk {
    status: Arc<persist::Status>,
    marks: Arc<Marks>,
}

impl OnDisk {
    pub(super) fn of(persist: &Persist, engine: &Engine) -> Arc<dyn Durability> {
        let (status, marks) = (Arc::clone(persist.status()), engine.mark_changes());
        Arc::new(Self { status, marks })
    }
}

impl Durability for OnDisk {
    fn ticket(&self) -> u64 {
        let ticket = self.status.ticket();
        self.status.hurry();
        ticket
    }

    fn is_durable(&self, ticket: u64) -> bool {
        self.status.is_committed(ticket)
    }

    fn is_loading(&self) -> bool {
        self.status.is_loading()
    }

    fn figures(&self, sink: &mut Figures<'_>) {
        sink("persist_state", &self.status.state().name());
        sink("persist_lag_us", &self.status.lag().as_micros());
        let waiting = self.marks.waiting();
        sink("persist_queue_changes", &waiting.marks);
        sink("persist_queue_share", &format_args!("{:.4}", waiting.fullest));
        for (name, value) in self.status.counters.all() {
            sink(name, &value);
        }
    }
}

/// What clients ask of the process.
pub(super) struct ByCommand {
    /// `shutdown`: reaches whoever [waits](super::Node::wait) for the node.
    pub(super) stop: UnboundedSender<Request>,
    pub(super) log: Option<Verbosity>,
}

impl Control for ByCommand {
    fn shutdown(&self) {
        // Nobody waits any more: the node is stopping already.
        let _ = self.stop.send(Request::Stop);
    }

    fn shutdown_graceful(&self) {
        let _ = self.stop.send(Request::StopGracefully);
    }

    fn set_verbosity(&self, verbosity: u32) {
        if let Some(log) = &self.log {
            log.set(verbosity);
        }
    }
}
