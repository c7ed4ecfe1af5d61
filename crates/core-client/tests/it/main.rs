//! The client against real sockets: a hand-written server plays byte by byte what servers do wrong.

#![expect(
    clippy::unwrap_used,
    reason = "helpers of tests stand outside of test functions, where the lint cannot see what they are"
)]

mod detect;
mod endings;
mod faults;
mod http2;
mod links;
mod plain;
mod secure;
mod server;
mod stream;
mod wire;
