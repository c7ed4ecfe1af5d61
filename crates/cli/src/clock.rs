//! The clock on the wall, for stamps that people read.
//!
//! Promise: the local time that jiff gives. No duration is ever measured with it.

use std::env;
use std::fs;
use std::path::Path;

use jiff::tz::TimeZone;
use jiff::{Timestamp, Zoned};

/// Where a system keeps the rules of its time zone.
const RULES: &str = "/etc/localtime";

/// The time zone of this machine, or that of `TZ`.
#[must_use]
pub fn zone() -> TimeZone {
    // Looking for the name of the zone means to list all zones that the machine knows, at every start; nothing of ours prints
    // a name.
    let is_given = env::var_os("TZ").is_some();
    let unnamed = || unnamed(Path::new(RULES));
    (!is_given)
        .then(unnamed)
        .flatten()
        .unwrap_or_else(TimeZone::system)
}

/// Now, in [`zone`].
#[must_use]
pub fn now() -> Zoned {
    Timestamp::now().to_zoned(zone())
}

/// The zone whose rules a file has.
fn unnamed(rules: &Path) -> Option<TimeZone> {
    TimeZone::tzif("local", &fs::read(rules).ok()?).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_zone_has_the_offsets_that_the_system_has() {
        let (ours, of_system) = (zone(), TimeZone::system());
        for day in (0..400 * 60).step_by(50) {
            let at = Timestamp::from_second(day * 86_400).unwrap();
            assert_eq!(ours.to_offset(at), of_system.to_offset(at), "{at}");
        }
    }

    /// A file as systems have it: no dates of its own, and the rule for Central Europe behind them.
    fn central_europe() -> Vec<u8> {
        let counts = [0u32, 0, 0, 0, 1, 4].map(u32::to_be_bytes).concat();
        let winter = [&3600i32.to_be_bytes()[..], &[0, 0], b"CET\0"].concat();
        let block = [&b"TZif2"[..], &[0; 15], &counts, &winter].concat();
        let rule = b"\nCET-1CEST,M3.5.0,M10.5.0/3\n";
        [&block[..], &block, rule].concat()
    }

    #[test]
    fn the_rules_of_a_file_are_a_zone() {
        let file = tempfile::NamedTempFile::new().unwrap();
        fs::write(file.path(), central_europe()).unwrap();
        let zone = unnamed(file.path()).unwrap();
        for (at, hours) in [("2026-01-15T12:00:00Z", 1), ("2026-07-15T12:00:00Z", 2)] {
            let at: Timestamp = at.parse().unwrap();
            assert_eq!(zone.to_offset(at).seconds(), hours * 3600, "{at}");
        }
    }

    #[test]
    fn a_file_without_rules_is_no_zone() {
        let file = tempfile::NamedTempFile::new().unwrap();
        assert!(unnamed(file.path()).is_none());
        assert!(unnamed(&file.path().join("none")).is_none());
    }
}
