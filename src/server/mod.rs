//! The server: sockets in front of the commands.

pub mod listen;
pub mod options;
pub mod process;

mod listener;

pub use listen::Listen;
pub use listener::{Addresses, StartError};
pub use options::{Options, Port};
