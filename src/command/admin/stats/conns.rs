//! `stats conns`: every open connection and listener, by descriptor.

use super::{Sink, Snapshot};
use crate::command::connections::{State, Transport};
use std::fmt::Display;

/// Writes the connections.
pub fn write(snapshot: &Snapshot<'_>, sink: &mut Sink<'_>) {
    let context = snapshot.context;
    let now = context.clock.now();
    for connection in context.connections.snapshot() {
        let endpoint = &connection.endpoint;
        let mut stat =
            |name: &str, value: &dyn Display| sink(&format!("{}:{name}", endpoint.cfd), value);
        let state = connection.state();
        if endpoint.transport == Transport::Udp {
            stat("UDP", &"UDP");
        }
        stat("addr", &endpoint.addr);
        if let Some(listen_addr) = &endpoint.listen_addr
            && state != State::Listening
        {
            stat("listen_addr", listen_addr);
        }
        stat("state", &state.name());
        stat("secs_since_last_cmd", &now.saturating_sub(connection.last_command()));
    }
}
