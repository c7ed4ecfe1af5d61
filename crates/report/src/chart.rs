//! Prepared data of a chart: everything a renderer needs and nothing it has to compute.
//!
//! A [`Chart`] is a plain value that a test can build by hand and compare. It knows no pixel, no
//! colour code and no markup; titles and labels are raw text and are escaped by whoever writes them
//! out. A value that is not known is `None` and drawn as a gap, never as zero.

mod format;
mod kind;

use std::borrow::Cow;

pub use format::{NumberFormat, count, fixed, some_of};
pub use kind::ChartKind;

/// One chart: a title block, one or more panels stacked below each other, and captions.
#[derive(Debug, Clone, PartialEq)]
pub struct Chart {
    /// What it shows.
    pub kind: ChartKind,
    /// File name of the page without `.html`.
    pub stem: String,
    /// First line of the title block.
    pub title: String,
    /// Further lines of the title block.
    pub subtitles: Vec<String>,
    /// Sentences under the chart: which figure is drawn, what a hollow marker means.
    pub captions: Vec<String>,
    /// One sentence for the index: what this chart shows.
    pub description: String,
    /// The panels, from top to bottom.
    pub panels: Vec<Panel>,
    /// Height in pixels when drawn at full width with single-row legends.
    pub height: u32,
    /// Whether one legend at the top stands for all panels (they hold the same series).
    pub shared_legend: bool,
}

/// One panel: two axes, perhaps a third on the right, and what is drawn between them.
#[derive(Debug, Clone, PartialEq)]
pub struct Panel {
    /// Heading of the panel; empty where the chart's title says it all.
    pub title: String,
    /// Horizontal axis.
    pub x: Axis,
    /// Left axis.
    pub y: Axis,
    /// Right axis, if a series needs one.
    pub y2: Option<Axis>,
    /// What is drawn.
    pub body: Body,
    /// Thresholds and peaks.
    pub lines: Vec<RefLine>,
}

/// Content of a panel.
#[derive(Debug, Clone, PartialEq)]
pub enum Body {
    /// Lines and bands over the horizontal axis.
    Series(Vec<Series>),
    /// Coloured cells over a horizontal axis and named rows.
    Heat(HeatGrid),
}

impl Panel {
    /// The series of the panel; none in a heat map.
    #[must_use]
    pub fn series(&self) -> &[Series] {
        match &self.body {
            Body::Series(series) => series,
            Body::Heat(_) => &[],
        }
    }
}

/// One axis.
#[derive(Debug, Clone, PartialEq)]
pub struct Axis {
    /// Title with its unit, such as `TTFT (seconds)`.
    pub title: String,
    /// Which part of the axis is shown.
    pub range: AxisRange,
    /// Where the grid lines stand.
    pub ticks: Ticks,
    /// How values of this axis are written in read-outs and tables.
    pub format: NumberFormat,
}

/// Which part of an axis is shown.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum AxisRange {
    /// From zero to a round number above the largest value.
    FromZero,
    /// As [`AxisRange::FromZero`], but at least up to this, so that panels can share a scale.
    FromZeroTo(f64),
    /// Exactly this, whatever the data.
    Fixed(f64, f64),
    /// Logarithmic around the data, which must be positive.
    Log,
    /// As [`AxisRange::Log`], but at least over this, so that panels can share a scale.
    LogOver(f64, f64),
    /// Every distinct value of the data has a place of its own, all equally wide. For horizontal axes.
    Categories,
}

impl AxisRange {
    /// Whether positions follow the logarithm.
    #[must_use]
    pub fn is_log(self) -> bool {
        matches!(self, Self::Log | Self::LogOver(..))
    }

    /// The value that an axis reaches at least, whatever its data.
    #[must_use]
    pub(crate) fn least_high(self) -> f64 {
        match self {
            Self::FromZeroTo(high) | Self::LogOver(_, high) => high,
            Self::FromZero | Self::Fixed(..) | Self::Log | Self::Categories => 0.0,
        }
    }
}

/// Where ticks and grid lines stand.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Ticks {
    /// Round numbers, as many as fit.
    Auto,
    /// Round whole numbers, as many as fit.
    Whole,
    /// Multiples of a step; every second or fifth where space is short.
    Every(f64),
}

/// One line or band.
#[derive(Debug, Clone, PartialEq)]
pub struct Series {
    /// Stable name for scripts and style sheets: lower-case words joined by `-`.
    pub key: String,
    /// Name in the legend.
    pub name: String,
    /// Colour by role.
    pub ink: Ink,
    /// How it is drawn.
    pub style: SeriesStyle,
    /// Which vertical axis it belongs to.
    pub side: Side,
    /// How its values are written.
    pub format: NumberFormat,
    /// Points in ascending `x`.
    pub points: Vec<Point>,
}

impl Series {
    /// A line on the left axis, by its key and its name in the legend.
    #[must_use]
    pub fn line(
        (key, name): (&str, &str),
        (ink, dash, marker): (Ink, Dash, Marker),
        format: NumberFormat,
        points: Vec<Point>,
    ) -> Self {
        Self {
            key: key.to_owned(),
            name: name.to_owned(),
            ink,
            style: SeriesStyle::Line { dash, marker },
            side: Side::Left,
            format,
            points,
        }
    }
}

/// How a series is drawn.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SeriesStyle {
    /// A line with markers.
    Line {
        /// Pattern of the line.
        dash: Dash,
        /// Shape of the markers.
        marker: Marker,
    },
    /// A shaded range between `low` and `high` of each point.
    Band,
    /// A bar from zero, with an error bar over the point's range; for an axis of categories.
    Bars {
        /// Crossed by stripes, so that neighbours differ in black and white too.
        striped: bool,
    },
    /// An unbroken line with markers, filled down to zero.
    Area {
        /// Shape of the markers.
        marker: Marker,
    },
}

/// Vertical axis of a series.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Side {
    /// `Panel::y`.
    Left,
    /// `Panel::y2`.
    Right,
}

/// One point of a series.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Point {
    /// Position on the horizontal axis.
    pub x: f64,
    /// Value of a line; `None` is a gap.
    pub y: Option<f64>,
    /// Lower edge of a band and its upper edge; `None` is a gap.
    pub range: Option<(f64, f64)>,
    /// Drawn hollow, because the value comes from elsewhere than its neighbours'.
    pub hollow: bool,
    /// A remark for the read-out, such as `summary value`.
    pub note: Option<String>,
}

impl Point {
    /// A point of a line. A value that is not finite counts as unknown.
    #[must_use]
    pub fn line(x: f64, y: Option<f64>) -> Self {
        Self {
            x,
            y: y.filter(|v| v.is_finite()),
            ..Self::default()
        }
    }

    /// A point of a band. A band whose edges are not finite counts as unknown.
    #[must_use]
    pub fn band(x: f64, range: Option<(f64, f64)>) -> Self {
        let range = range.filter(|(low, high)| low.is_finite() && high.is_finite());
        Self {
            x,
            range,
            ..Self::default()
        }
    }

    /// A point of a series of bars: a mean and, where it is known, its standard deviation in the unit of
    /// the axis. The lower end of the error bar is cut off at zero.
    #[must_use]
    pub fn bar(x: f64, mean: f64, std: Option<f64>, format: NumberFormat) -> Self {
        let std = std.filter(|v| v.is_finite());
        Self {
            range: std
                .map(|std| ((mean - std).max(0.0), mean + std))
                .filter(|range| range.1.is_finite()),
            note: std.map(|std| format!("± {} std", format.show(std))),
            ..Self::line(x, Some(mean))
        }
    }

    /// The same point, hollow and with a remark.
    #[must_use]
    pub fn hollow(mut self, note: &str) -> Self {
        self.hollow = true;
        self.note = Some(note.to_owned());
        self
    }
}

/// Line patterns; each reads differently in black and white.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Dash {
    /// Unbroken.
    Solid,
    /// Long dashes.
    Dashed,
    /// Dots.
    Dotted,
    /// Dash and dot in turn.
    DashDot,
    /// Long dashes with wide gaps.
    LongDash,
}

impl Dash {
    /// Patterns for the dashed companions of several lines, in order, so that these differ too.
    pub const BROKEN: [Self; 4] = [Self::Dashed, Self::DashDot, Self::Dotted, Self::LongDash];

    /// `stroke-dasharray`, in pixels; `None` for an unbroken line.
    #[must_use]
    pub fn pattern(self) -> Option<&'static str> {
        match self {
            Self::Solid => None,
            Self::Dashed => Some("7 4"),
            Self::Dotted => Some("2 3.5"),
            Self::DashDot => Some("9 3 2 3"),
            Self::LongDash => Some("14 5"),
        }
    }
}

/// Marker shapes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Marker {
    /// Disc.
    Circle,
    /// Square on its side.
    Square,
    /// Triangle pointing up.
    Triangle,
    /// Square on its corner.
    Diamond,
    /// Triangle pointing down.
    TriangleDown,
    /// Plus sign.
    Plus,
}

impl Marker {
    /// Shapes for several lines, in order; the diamond is kept for companions on a second axis.
    pub const LINES: [Self; 5] = [
        Self::Circle,
        Self::Square,
        Self::Triangle,
        Self::TriangleDown,
        Self::Plus,
    ];
}

/// Colours by role. Each has one shade for light paper and one for a dark screen, both with enough
/// contrast against their background to be told apart as shapes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Ink {
    /// Input throughput.
    Blue,
    /// Output throughput.
    Green,
    /// Average TTFT.
    Orange,
    /// Median TTFT.
    DarkOrange,
    /// Largest or 95th percentile TTFT, and thresholds.
    Red,
    /// 95th or 99th percentile TTFT.
    DarkRed,
    /// Peak concurrency, speed of one request.
    Purple,
    /// Speed of one request beside a line of the concurrency.
    MediumPurple,
    /// Inter-token latency.
    Teal,
    /// 95th percentile of the inter-token latency.
    DarkCyan,
    /// Working-set size.
    Brown,
    /// Contexts in a comparison, in ascending order; taken modulo [`Ink::PALETTE_LEN`].
    Palette(usize),
    /// Runs side by side, by their position; taken modulo [`Ink::RUN_LEN`].
    Run(usize),
    /// A cache hit rate among others, percent.
    Rate(u32),
}

impl Ink {
    /// Number of distinct palette colours.
    pub const PALETTE_LEN: usize = 5;
    /// Number of distinct colours of runs.
    pub const RUN_LEN: usize = 8;

    /// Every colour that all pages know, once. Those of rates beyond the usual ones are written into the
    /// pages that need them.
    pub const ALL: [Self; 20] = [
        Self::Blue,
        Self::Green,
        Self::Orange,
        Self::DarkOrange,
        Self::Red,
        Self::DarkRed,
        Self::Purple,
        Self::MediumPurple,
        Self::Teal,
        Self::DarkCyan,
        Self::Brown,
        Self::Palette(0),
        Self::Palette(1),
        Self::Palette(2),
        Self::Palette(3),
        Self::Palette(4),
        Self::Run(5),
        Self::Run(6),
        Self::Run(7),
        Self::Rate(100),
    ];

    /// Name in style sheets.
    #[must_use]
    pub fn class(self) -> Cow<'static, str> {
        Cow::Borrowed(match self {
            Self::Blue => "c-blue",
            Self::Green => "c-green",
            Self::Orange => "c-orange",
            Self::DarkOrange => "c-dark-orange",
            Self::Red => "c-red",
            Self::DarkRed => "c-dark-red",
            Self::Purple => "c-purple",
            Self::MediumPurple => "c-medium-purple",
            Self::Teal => "c-teal",
            Self::DarkCyan => "c-dark-cyan",
            Self::Brown => "c-brown",
            Self::Palette(i) => Self::RUN_CLASSES[i % Self::PALETTE_LEN],
            Self::Run(i) => Self::RUN_CLASSES[i % Self::RUN_LEN],
            Self::Rate(rate) => match Self::usual(rate) {
                Some(same) => return same.class(),
                None if rate == 100 => "c-cyan",
                None => return Cow::Owned(format!("c-rate-{rate}")),
            },
        })
    }

    /// The first five are the palette's.
    const RUN_CLASSES: [&'static str; Self::RUN_LEN] =
        ["c-0", "c-1", "c-2", "c-3", "c-4", "c-5", "c-6", "c-7"];

    /// The published colours of hit rates that are those of the palette.
    fn usual(rate: u32) -> Option<Self> {
        Some(Self::Palette(match rate {
            0 => 1,
            25 => 4,
            50 => 3,
            75 => 2,
            90 => 0,
            _ => return None,
        }))
    }

    /// Shade on a light background, as red, green and blue.
    #[must_use]
    pub fn light(self) -> (u8, u8, u8) {
        match self {
            Self::Blue => (0x1f, 0x5f, 0xc8),
            Self::Green => (0x0b, 0x87, 0x5b),
            Self::Orange => (0xe8, 0x8b, 0x00),
            Self::DarkOrange => (0xa8, 0x52, 0x00),
            Self::Red => (0xd6, 0x28, 0x28),
            Self::DarkRed => (0x7d, 0x0a, 0x1e),
            Self::Purple => (0x7b, 0x3f, 0xb5),
            Self::MediumPurple => (0xa6, 0x6c, 0xe8),
            Self::Teal => (0x00, 0x80, 0x8c),
            Self::DarkCyan => (0x00, 0x56, 0x66),
            Self::Brown => (0x8b, 0x4a, 0x1f),
            Self::Run(i) => match i % Self::RUN_LEN {
                5 => (0xff, 0xa5, 0x00),
                6 => (0x8b, 0x45, 0x13),
                7 => (0x2f, 0x4f, 0x4f),
                i => Self::Palette(i).light(),
            },
            Self::Rate(rate) => match Self::usual(rate) {
                Some(same) => same.light(),
                None if rate == 100 => (0x19, 0xd3, 0xf3),
                None => hue(rate, 0.5),
            },
            // The published palette of the comparison charts.
            Self::Palette(i) => [
                (0x63, 0x6e, 0xfa),
                (0xef, 0x55, 0x3b),
                (0x00, 0xcc, 0x96),
                (0xab, 0x63, 0xfa),
                (0xff, 0xa1, 0x5a),
            ][i % Self::PALETTE_LEN],
        }
    }

    /// Shade on a dark background.
    #[must_use]
    pub fn dark(self) -> (u8, u8, u8) {
        match self {
            Self::Blue => (0x6f, 0xa8, 0xff),
            Self::Green => (0x45, 0xd1, 0x9c),
            Self::Orange => (0xff, 0xb0, 0x3b),
            Self::DarkOrange => (0xd9, 0x86, 0x3a),
            Self::Red => (0xff, 0x6b, 0x6b),
            Self::DarkRed => (0xe8, 0x5d, 0x8a),
            Self::Purple => (0xc0, 0x97, 0xf5),
            Self::MediumPurple => (0xa9, 0x7d, 0xf0),
            Self::Teal => (0x3f, 0xc8, 0xd4),
            Self::DarkCyan => (0x2b, 0x93, 0xa3),
            Self::Brown => (0xd0, 0x8a, 0x5a),
            Self::Run(i) => match i % Self::RUN_LEN {
                5 => (0xff, 0xc8, 0x3d),
                6 => (0xc9, 0x86, 0x4f),
                7 => (0x8f, 0xb5, 0xb5),
                i => Self::Palette(i).dark(),
            },
            Self::Rate(rate) => match Self::usual(rate) {
                Some(same) => same.dark(),
                None if rate == 100 => (0x4f, 0xdf, 0xf8),
                None => hue(rate, 0.66),
            },
            Self::Palette(i) => [
                (0x8b, 0x94, 0xff),
                (0xff, 0x7b, 0x63),
                (0x1f, 0xdc, 0xa8),
                (0xc4, 0x8f, 0xff),
                (0xff, 0xb5, 0x7d),
            ][i % Self::PALETTE_LEN],
        }
    }
}

/// Red, green and blue of a hit rate without a colour of its own: hue 3.6° for every percent, saturation
/// 70 %.
fn hue(rate: u32, lightness: f64) -> (u8, u8, u8) {
    let hue = f64::from(rate % 100) * 3.6;
    let reach = 0.7 * lightness.min(1.0 - lightness);
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "a share of 255"
    )]
    let channel = |offset: f64| {
        let k = (offset + hue / 30.0) % 12.0;
        let value = lightness - reach * (k - 3.0).min(9.0 - k).clamp(-1.0, 1.0);
        (value * 255.0).round() as u8
    };
    (channel(0.0), channel(8.0), channel(4.0))
}

/// A straight line across the panel that marks one value.
#[derive(Debug, Clone, PartialEq)]
pub struct RefLine {
    /// Which way it runs.
    pub orientation: Orientation,
    /// Where it stands on the axis it crosses.
    pub value: f64,
    /// Words beside it; a line without words repeats one of another panel.
    pub label: Option<String>,
    /// Colour by role.
    pub ink: Ink,
}

/// Direction of a [`RefLine`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Orientation {
    /// At one value of the left axis.
    Horizontal,
    /// At one value of the horizontal axis.
    Vertical,
}

/// Cells of a heat map. Rows are categories, from bottom to top; columns stand at values of the
/// horizontal axis.
#[derive(Debug, Clone, PartialEq)]
pub struct HeatGrid {
    /// Column positions, ascending.
    pub columns: Vec<f64>,
    /// Rows from bottom to top.
    pub rows: Vec<HeatRow>,
    /// Title of the colour bar.
    pub bar_title: String,
    /// How cell values are written.
    pub format: NumberFormat,
    /// Colours follow the logarithm of the value; all values are positive.
    pub log: bool,
}

/// One row of a heat map.
#[derive(Debug, Clone, PartialEq)]
pub struct HeatRow {
    /// Name of the row.
    pub name: String,
    /// One value per column; `None` is an empty cell.
    pub cells: Vec<Option<f64>>,
}

impl HeatGrid {
    /// Where a value stands between the smallest (0) and the largest (1).
    #[must_use]
    pub fn share(&self, value: f64) -> f64 {
        match self.extent() {
            // Not of quotients, which may be beyond all numbers.
            Some((low, high)) if high > low && self.log => {
                (value.ln() - low.ln()) / (high.ln() - low.ln())
            }
            Some((low, high)) if high > low => (value - low) / (high - low),
            _ => 0.0,
        }
    }

    /// Smallest and largest known value.
    #[must_use]
    pub fn extent(&self) -> Option<(f64, f64)> {
        let mut values = self
            .rows
            .iter()
            .flat_map(|row| row.cells.iter().flatten().copied());
        let first = values.next()?;
        Some(values.fold((first, first), |(low, high), v| (low.min(v), high.max(v))))
    }
}
