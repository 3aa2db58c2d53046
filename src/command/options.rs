//! Stand-in until admin's options arrive.

/// Settings of the commands.
#[derive(Debug, Clone)]
pub struct Options {
    /// `-R`: requests of one connection in a row before others get their turn.
    pub reqs_per_event: u32,
    /// `-F` turns flush_all off.
    pub flush_enabled: bool,
    /// `-Y`: users and passwords; `None`: everyone may do everything.
    pub auth: Option<Vec<(Vec<u8>, Vec<u8>)>>,
}

impl Default for Options {
    fn default() -> Self {
        Self { reqs_per_event: 20, flush_enabled: true, auth: None }
    }
}
