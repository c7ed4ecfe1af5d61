//! `client_health.html`: what the client that measured did to the figures of a run.
//!
//! Promise: drawn from the rows of `client_health_*.csv` alone. Windows stand one behind the other in the order in which
//! they were measured, so that ten of them and five thousand periods read alike.

use metrics::health::{HealthRow, MIDDLE_SHARE, MISSING_SHARE, TAIL_SHARE};

use super::{CLIENT_LIMITED, figure_axis, joined, log_note, rate_text, tokens, value_axis, whole};
use crate::chart::{
    Axis, AxisRange, Body, Chart, ChartKind, Dash, Ink, Marker, NumberFormat, Orientation, Panel,
    Point, RefLine, Series, SeriesStyle, Side, Ticks, count, fixed,
};
use crate::test_name::TestName;

/// Parts of windows that are drawn one by one; of more, each window has one point and the range of its parts.
const MOST_PARTS: usize = 1_000;
/// Lines between tests that still leave room for what is drawn.
const MOST_BORDERS: usize = 40;

/// Hollow points are drawn one and all, however close; of more, the triangles of the first panel tell enough.
const MOST_HOLLOW: usize = 200;

/// Share of a latency, or of the load.
const SHARE: NumberFormat = NumberFormat {
    decimals: 2,
    suffix: "%",
};
/// Milliseconds, to the microsecond.
const FINE_MILLISECONDS: NumberFormat = NumberFormat {
    decimals: 3,
    suffix: " ms",
};
/// Requests in flight, a mean.
const IN_FLIGHT: NumberFormat = NumberFormat {
    decimals: 2,
    suffix: "",
};
/// Cores that were busy.
const CORES: NumberFormat = NumberFormat {
    decimals: 2,
    suffix: " cores",
};

/// A window or period, and the measured time before it, seconds.
#[derive(Debug, Clone, Copy)]
struct Window<'a> {
    row: &'a HealthRow,
    start: f64,
    /// Drawn hollow where the client limits it.
    stands_out: bool,
}

impl Window<'_> {
    fn end(&self) -> f64 {
        self.start + self.row.duration
    }

    fn is_limited(&self) -> bool {
        self.row.client_limited == Some(true)
    }

    /// `RAMP_c2, 1,000 tokens at 50%`.
    fn name(&self) -> String {
        let row = self.row;
        let set = row
            .working_set_size
            .map(|size| format!(", working set {}", count(size)))
            .unwrap_or_default();
        let (context, rate) = (
            tokens(row.context_size),
            rate_text(row.cache_hit_rate, None),
        );
        format!("{}, {context}{set} at {rate}", row.phase_id)
    }

    /// Why the client limits it.
    fn limit(&self) -> Option<String> {
        let because = Some(&self.row.limited_by).filter(|words| !words.is_empty());
        self.is_limited().then(|| match because {
            Some(words) => format!("{CLIENT_LIMITED}: {words}"),
            None => CLIENT_LIMITED.to_owned(),
        })
    }

    /// A value of the whole window, at its end; hollow where the client limits it.
    fn point(&self, value: Option<f64>) -> Point {
        Point {
            hollow: self.stands_out && self.is_limited(),
            ..Point::line(self.end(), value)
        }
    }
}

/// Panels over the time that was measured: requests in flight, the client's errors as shares of what they are errors of,
/// lag, processor. `None` without a row.
#[must_use]
pub fn client_health_chart(rows: &[HealthRow]) -> Option<Chart> {
    let n_limited = rows
        .iter()
        .filter(|r| r.client_limited == Some(true))
        .count();
    let stands_out = n_limited <= MOST_HOLLOW;
    let mut start = 0.0;
    let mut windows: Vec<Window<'_>> = Vec::with_capacity(rows.len());
    // What has no length has measured nothing.
    for row in rows
        .iter()
        .filter(|row| row.duration.is_finite() && row.duration > 0.0)
    {
        windows.push(Window {
            row,
            start,
            stands_out,
        });
        start += row.duration;
    }
    if windows.is_empty() {
        return None;
    }
    let tests = windows.chunk_by(|a, b| TestName::from(a.row) == TestName::from(b.row));
    let borders: Vec<f64> = tests
        .skip(1)
        .filter_map(|test| Some(test.first()?.start))
        .collect();
    let n_tests = borders.len() + 1;
    let each_part = windows.iter().map(|w| w.row.in_flight.len()).sum::<usize>() <= MOST_PARTS;
    let mut panels = vec![in_flight(&windows, each_part)];
    let unknown: Vec<&str> = [("TTFT", Latency::Ttft), ("ITL", Latency::Itl)]
        .into_iter()
        .filter_map(
            |(name, latency)| match error_share(&windows, name, latency) {
                Some(panel) => {
                    panels.push(panel);
                    None
                }
                None => Some(name),
            },
        )
        .collect();
    panels.extend(lag(&windows));
    panels.extend(processor(&windows));
    let decimals = decimals(&windows, each_part);
    for panel in &mut panels {
        panel.x.format.decimals = decimals;
    }
    if borders.len() <= MOST_BORDERS {
        for panel in &mut panels {
            panel.lines.extend(borders.iter().map(|at| border(*at)));
        }
    }
    Some(Chart {
        kind: ChartKind::ClientHealth,
        stem: "client_health".to_owned(),
        title: "Health of the Measuring Client".to_owned(),
        subtitles: vec![format!(
            "{} | {} | {} limited by the client",
            plural(windows.len(), "window or period", "windows or periods"),
            plural(n_tests, "test", "tests"),
            count(windows.iter().filter(|w| w.is_limited()).count() as u64)
        )],
        captions: captions(&windows, (n_tests, each_part), &unknown, &panels),
        description: "What the measuring machine did to the figures: requests in flight as planned and as held, its errors \
                      beside their limits, lag, processor."
            .to_owned(),
        height: 60 + 280 * u32::try_from(panels.len()).unwrap_or(1),
        panels,
        shared_legend: false,
    })
}

/// Digits with which no two neighbours read alike.
fn decimals(windows: &[Window<'_>], each_part: bool) -> u8 {
    let apart = |w: &Window<'_>| {
        let n_parts = if each_part {
            w.row.in_flight.len().max(1)
        } else {
            1
        };
        w.row.duration / whole(n_parts as u64)
    };
    match windows.iter().map(apart).fold(f64::INFINITY, f64::min) {
        width if width >= 0.2 => 1,
        width if width >= 0.02 => 2,
        _ => 3,
    }
}

fn plural(n: usize, one: &str, many: &str) -> String {
    format!("{} {}", count(n as u64), if n == 1 { one } else { many })
}

/// A line through all panels where another test begins.
fn border(at: f64) -> RefLine {
    RefLine {
        orientation: Orientation::Vertical,
        value: at,
        label: None,
        ink: Ink::DarkCyan,
    }
}

fn panel(title: &str, y: &str, format: NumberFormat, series: Vec<Series>) -> Panel {
    Panel {
        title: title.to_owned(),
        x: Axis {
            title: "Measured Time (seconds)".to_owned(),
            range: AxisRange::FromZero,
            ticks: Ticks::Auto,
            format: NumberFormat {
                decimals: 1,
                suffix: "s",
            },
        },
        y: figure_axis(y, format, &series),
        y2: None,
        body: Body::Series(series),
        lines: Vec::new(),
    }
}

/// Whether any point has a value.
fn is_known(series: &Series) -> bool {
    series.points.iter().any(|p| p.y.is_some())
}

/// The levels that were to be held and what was held; windows that the client limits stand out.
fn in_flight(windows: &[Window<'_>], each_part: bool) -> Panel {
    let (mut planned, mut achieved, mut spread, mut limited) = (vec![], vec![], vec![], vec![]);
    for window in windows {
        let row = window.row;
        let parts = &row.in_flight;
        let at = |x, value| Point {
            note: Some(window.name()),
            ..Point::line(x, value)
        };
        let level = Some(f64::from(row.concurrency_level));
        if each_part && !parts.is_empty() {
            let width = row.duration / whole(parts.len() as u64);
            for (i, held) in parts.iter().enumerate() {
                let x = if i + 1 == parts.len() {
                    window.end()
                } else {
                    window.start + width * whole(i as u64 + 1)
                };
                planned.push(at(x, level));
                achieved.push(Point::line(x, Some(*held)));
            }
        } else {
            planned.push(at(window.end(), level));
            achieved.push(Point::line(window.end(), row.achieved_in_flight));
            let range = parts.iter().copied().fold(None, |range, held: f64| {
                let (low, high) = range.unwrap_or((held, held));
                Some((low.min(held), high.max(held)))
            });
            spread.push(Point::band(window.end(), range));
        }
        limited.push(Point {
            note: window.limit(),
            ..Point::line(
                window.end(),
                row.achieved_in_flight
                    .or(level)
                    .filter(|_| window.is_limited()),
            )
        });
    }
    let mut series = vec![
        Series::line(
            ("planned", "Planned"),
            (Ink::Purple, Dash::Dashed, Marker::Square),
            IN_FLIGHT,
            planned,
        ),
        Series::line(
            ("achieved", "Achieved"),
            (Ink::Blue, Dash::Solid, Marker::Circle),
            IN_FLIGHT,
            achieved,
        ),
    ];
    if spread.iter().any(|p| p.range.is_some()) {
        series.insert(
            0,
            Series {
                style: SeriesStyle::Band,
                ..Series::line(
                    ("spread", "Achieved (lowest to highest part)"),
                    (Ink::Blue, Dash::Solid, Marker::Circle),
                    IN_FLIGHT,
                    spread,
                )
            },
        );
    }
    let limited = Series::line(
        ("limited", "Limited by the Client"),
        (Ink::Red, Dash::Solid, Marker::Triangle),
        IN_FLIGHT,
        limited,
    );
    series.extend(Some(limited).filter(is_known));
    let mut panel = panel(
        "Requests in Flight",
        "Requests in Flight",
        IN_FLIGHT,
        series,
    );
    panel.y.range = AxisRange::FromZero;
    let missing = |w: &Window<'_>| w.row.missing_load_share.map(percent);
    if windows.iter().filter_map(missing).any(|share| share > 0.0) {
        let missing = Series {
            side: Side::Right,
            ..Series::line(
                ("missing", "Load Missing"),
                (Ink::DarkRed, Dash::Dotted, Marker::Diamond),
                SHARE,
                windows
                    .iter()
                    .map(|w| Point::line(w.end(), missing(w)))
                    .collect(),
            )
        };
        if let Body::Series(series) = &mut panel.body {
            series.push(missing);
        }
        panel.y2 = Some(value_axis("Load Missing (%)", SHARE));
    }
    panel
}

fn percent(share: f64) -> f64 {
    share * 100.0
}

/// Which latency an error is one of.
#[derive(Debug, Clone, Copy)]
enum Latency {
    Ttft,
    Itl,
}

impl Latency {
    /// Error and what it is held against, in the middle and at the end.
    fn of(self, row: &HealthRow) -> [(Option<f64>, Option<f64>); 2] {
        match self {
            Self::Ttft => [
                (row.ttft_error_p50, row.median_ttft),
                (row.ttft_error_p99, row.p95_ttft),
            ],
            Self::Itl => [
                (row.itl_error_p50, row.median_itl),
                (row.itl_error_p99, row.p95_itl),
            ],
        }
    }
}

/// The client's error as a share of the measured latency, with the shares from which on it limits; `None` where none of
/// the rows has both.
fn error_share(windows: &[Window<'_>], name: &str, latency: Latency) -> Option<Panel> {
    let points = |which: usize| {
        let point = |window: &Window<'_>| {
            let (error, measured) = latency.of(window.row)[which];
            let share = error
                .zip(measured.filter(|m| *m > 0.0))
                .map(|(e, m)| percent(e / m));
            let ms = |seconds: f64| fixed(seconds * 1e3, 3);
            let told = error
                .zip(measured)
                .map(|(e, m)| format!("{} of {} ms", ms(e), ms(m)));
            Point {
                note: joined(
                    told.into_iter()
                        .chain(window.is_limited().then(|| CLIENT_LIMITED.to_owned())),
                ),
                ..window.point(share)
            }
        };
        windows.iter().map(point).collect()
    };
    let middle = (Ink::Blue, Dash::Solid, Marker::Circle);
    let tail = (Ink::DarkOrange, Dash::Dotted, Marker::Triangle);
    let series = vec![
        Series::line(
            ("p50", "p50 Error, % of the Median"),
            middle,
            SHARE,
            points(0),
        ),
        Series::line(
            ("p99", "p99 Error, % of the 95th Percentile"),
            tail,
            SHARE,
            points(1),
        ),
    ];
    if !series.iter().any(is_known) {
        return None;
    }
    let limit = |share: f64, of: &str, ink| RefLine {
        orientation: Orientation::Horizontal,
        value: percent(share),
        label: Some(format!("Limit of the {of}: {}%", fixed(percent(share), 0))),
        ink,
    };
    let title = format!("The Client's Error of {name}");
    let mut panel = panel(&title, &format!("Share of {name} (%)"), SHARE, series);
    panel.lines = vec![
        limit(MIDDLE_SHARE, "p50", middle.0),
        limit(TAIL_SHARE, "p99", tail.0),
    ];
    Some(panel)
}

/// How long something ready waited, and how late requests left; `None` where nobody measured it.
fn lag(windows: &[Window<'_>]) -> Option<Panel> {
    let series = |names, look, value: fn(&HealthRow) -> Option<f64>| {
        let point = |w: &Window<'_>| w.point(value(w.row).map(|seconds| seconds * 1e3));
        Series::line(
            names,
            look,
            FINE_MILLISECONDS,
            windows.iter().map(point).collect(),
        )
    };
    let all = [
        series(
            ("lag-p50", "Lag p50"),
            (Ink::Teal, Dash::Solid, Marker::Circle),
            |r| r.lag_p50,
        ),
        series(
            ("lag-p99", "Lag p99"),
            (Ink::DarkOrange, Dash::Dashed, Marker::Triangle),
            |r| r.lag_p99,
        ),
        series(
            ("lag-max", "Longest Lag"),
            (Ink::DarkRed, Dash::Dotted, Marker::TriangleDown),
            |r| r.lag_max,
        ),
        series(
            ("delay-p99", "Send Delay p99"),
            (Ink::Purple, Dash::DashDot, Marker::Square),
            |r| r.send_delay_p99,
        ),
    ];
    let known: Vec<Series> = all.into_iter().filter(is_known).collect();
    (!known.is_empty()).then(|| panel("Scheduling Lag", "Milliseconds", FINE_MILLISECONDS, known))
}

/// Processor time of the process; `None` where it is not known.
fn processor(windows: &[Window<'_>]) -> Option<Panel> {
    let points = windows.iter().map(|w| w.point(w.row.cpu_share)).collect();
    let share = Series::line(
        ("cpu", "Processor Time per Second"),
        (Ink::Green, Dash::Solid, Marker::Circle),
        CORES,
        points,
    );
    is_known(&share).then(|| {
        let mut panel = panel("Processor", "Cores Busy", CORES, vec![share]);
        panel.y.range = AxisRange::FromZero;
        panel
    })
}

fn captions(
    windows: &[Window<'_>],
    (n_tests, each_part): (usize, bool),
    unknown: &[&str],
    panels: &[Panel],
) -> Vec<String> {
    let mut out = vec![format!(
        "Windows and periods in the order in which they were measured, one behind the other, without what lies between them; each has its \
         point at its end.{} Requests in flight are {}.",
        match n_tests {
            1 => "",
            n if n - 1 > MOST_BORDERS => " The read-out names the test.",
            _ => " Vertical lines stand where the next test begins.",
        },
        if each_part {
            "means over up to twenty parts of a window, equal but for the last"
        } else {
            "means over a window, the band runs from its lowest part to its highest"
        }
    )];
    out.push(format!(
        "The error is what this client adds to a latency: what was calibrated against a server of known times, or what its threads felt in \
         the window, whichever is larger. A window is limited by the client above {}% of the median at p50 or {}% of the 95th percentile \
         at p99, or with more than {}% of the load missing because requests left late.",
        fixed(percent(MIDDLE_SHARE), 0),
        fixed(percent(TAIL_SHARE), 0),
        fixed(percent(MISSING_SHARE), 0)
    ));
    if windows.iter().any(Window::is_limited) {
        out.push(
            "Triangles in the first panel and hollow points in the others: limited by the client. Such windows say more of the measuring \
             machine than of the server; the read-out has the cause."
                .to_owned(),
        );
    }
    let n_felt = windows
        .iter()
        .filter(|w| w.row.calibrated_level.is_none())
        .count();
    if n_felt > 0 {
        out.push(format!(
            "{} of {} without a calibration: the error is the lag felt there, and nothing else.",
            count(n_felt as u64),
            plural(windows.len(), "window", "windows")
        ));
    }
    if !unknown.is_empty() {
        out.push(format!(
            "No error of {} is drawn: the file does not have it, or not what it is an error of.",
            unknown.join(" and ")
        ));
    }
    out.push(
        "Lag is how long something ready waits for its thread, send delay how late requests left; processor time is that of the whole \
         process."
            .to_owned(),
    );
    out.extend(log_note(panels));
    out
}
