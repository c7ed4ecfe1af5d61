//! Tests of the ramp, table by table, without a clock or a socket.

mod climbs;
mod judgements;
mod laws;
mod originals;
mod peaks;
mod refinements;
mod support;
