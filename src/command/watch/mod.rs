//! Stand-in until admin's watch arrives.

/// A client's wish to watch.
pub struct Subscription;
