//! The server: sockets in front of the commands.

pub mod listen;
pub mod options;
pub mod process;

pub use listen::Listen;
pub use options::{Options, Port};
