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

    #[test]
    fn a_file_without_rules_is_no_zone() {
        let file = tempfile::NamedTempFile::new().unwrap();
        assert!(unnamed(file.path()).is_none());
        assert!(unnamed(&file.path().join("none")).is_none());
    }
}
