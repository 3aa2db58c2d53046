//! Stand-in until the meta commands arrive.

use super::{Output, Scope};
use crate::engine::Draft;
use crate::protocol::Rejection;
use crate::protocol::meta::MetaRequest;

/// Runs mg, md, ma or me.
pub fn execute(scope: Scope<'_>, request: &MetaRequest<'_>, output: &mut Output) {
    let _ = (scope, request);
    output.line(crate::protocol::ERROR);
}

/// ms, first half: memory for the value. On an error the reply is returned and the value swallowed.
///
/// # Errors
/// The reply, with the length of the data block to swallow.
pub fn draft(scope: Scope<'_>, request: &MetaRequest<'_>) -> Result<Draft, Rejection> {
    let _ = (scope, request);
    Err(Rejection::new(crate::protocol::ERROR))
}

/// ms, second half: the draft is full, store it and answer.
pub fn finish(scope: Scope<'_>, request: &MetaRequest<'_>, draft: Draft, output: &mut Output) {
    let _ = (scope, request, draft);
    output.line(crate::protocol::ERROR);
}
