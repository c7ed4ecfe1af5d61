//! Tests of the ramp, table by table, without a clock or a socket.

mod climbs;
mod fixed;
mod judgements;
mod laws;
mod originals;
mod peaks;
mod refinements;
mod support;
mod sustained;
