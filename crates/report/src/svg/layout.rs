//! Where everything goes: a plan in SVG units, made before anything is drawn.

use super::scale::Scale;
use super::{Frame, Layout, text};
use crate::chart::{
    Axis, AxisRange, Body, Chart, Ink, Orientation, Panel, Series, SeriesStyle, Side,
};

/// A rectangle in SVG units.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Rect {
    /// Left edge.
    pub(crate) left: f64,
    /// Upper edge.
    pub(crate) top: f64,
    /// Width.
    pub(crate) width: f64,
    /// Height.
    pub(crate) height: f64,
}

impl Rect {
    /// Right edge.
    pub(crate) fn right(self) -> f64 {
        self.left + self.width
    }

    /// Lower edge.
    pub(crate) fn bottom(self) -> f64 {
        self.top + self.height
    }

    /// Whether a point lies inside or on the edge.
    pub(super) fn contains(self, (x, y): (f64, f64)) -> bool {
        (self.left..=self.right()).contains(&x) && (self.top..=self.bottom()).contains(&y)
    }

    /// Whether two rectangles share any area.
    pub(super) fn overlaps(self, other: Self) -> bool {
        self.left < other.right()
            && other.left < self.right()
            && self.top < other.bottom()
            && other.top < self.bottom()
    }
}

/// Sizes of one [`Layout`].
#[derive(Debug, Clone, Copy)]
pub(super) struct Look {
    pub(super) layout: Layout,
    pub(super) width: f64,
    pub(super) margin: f64,
    pub(super) title_size: f64,
    pub(super) heading_size: f64,
    pub(super) text_size: f64,
    pub(super) tick_size: f64,
    pub(super) line_width: f64,
    pub(super) marker: f64,
    /// Plot height, where the chart's own height does not decide.
    plot_height: f64,
    x_tick_room: f64,
    y_ticks: usize,
}

impl Look {
    pub(super) fn of(layout: Layout) -> Self {
        match layout {
            Layout::Wide => Self {
                layout,
                width: 960.0,
                margin: 20.0,
                title_size: 20.0,
                heading_size: 15.0,
                text_size: 13.0,
                tick_size: 12.0,
                line_width: 2.2,
                marker: 4.5,
                plot_height: 150.0,
                x_tick_room: 70.0,
                y_ticks: 5,
            },
            Layout::Narrow => Self {
                layout,
                width: 400.0,
                margin: 8.0,
                title_size: 17.0,
                heading_size: 14.0,
                text_size: 12.0,
                tick_size: 11.0,
                line_width: 2.0,
                marker: 4.0,
                plot_height: 190.0,
                x_tick_room: 52.0,
                y_ticks: 4,
            },
            Layout::Preview => Self {
                layout,
                width: 320.0,
                margin: 8.0,
                title_size: 0.0,
                heading_size: 0.0,
                text_size: 11.0,
                tick_size: 11.0,
                line_width: 2.0,
                marker: 3.2,
                plot_height: 140.0,
                x_tick_room: 70.0,
                y_ticks: 3,
            },
        }
    }

    fn is_preview(&self) -> bool {
        self.layout == Layout::Preview
    }
}

/// One legend entry and where it stands.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Key {
    pub(super) series: String,
    pub(super) name: String,
    pub(super) ink: Ink,
    pub(super) style: SeriesStyle,
    /// The whole entry, sample and words.
    pub(super) spot: Rect,
}

/// A placed panel.
#[derive(Debug, Clone)]
pub(super) struct Spot {
    pub(super) frame: Frame,
    /// Lines of the heading, each with the height of its middle.
    pub(super) heading: Vec<(String, f64)>,
    pub(super) legend: Vec<Key>,
    /// Colour bar of a heat map.
    pub(super) bar: Option<Rect>,
}

/// The whole plan of a drawing.
#[derive(Debug)]
pub(super) struct Plan {
    pub(super) height: f64,
    pub(super) title: Vec<(String, f64)>,
    pub(super) subtitles: Vec<(String, f64)>,
    pub(super) legend: Option<Vec<Key>>,
    pub(super) panels: Vec<Spot>,
}

const SAMPLE: f64 = 28.0;
const KEY_GAP: f64 = 18.0;
const KEY_HEIGHT: f64 = 22.0;

impl Plan {
    pub(super) fn new(chart: &Chart, look: &Look) -> Self {
        let panels: &[Panel] = if look.is_preview() {
            &chart.panels[..chart.panels.len().min(1)]
        } else {
            &chart.panels
        };
        let mut y = if look.is_preview() { 8.0 } else { 14.0 };
        let (mut title, mut subtitles) = (Vec::new(), Vec::new());
        if !look.is_preview() {
            let limit = look.width - 2.0 * look.margin;
            for line in text::wrap_bold(&chart.title, look.title_size, limit) {
                title.push((line, y + look.title_size * 0.6));
                y += look.title_size * 1.3;
            }
            y += 2.0;
            for line in chart
                .subtitles
                .iter()
                .flat_map(|s| text::wrap(s, look.text_size, limit))
            {
                subtitles.push((line, y + look.text_size * 0.6));
                y += look.text_size * 1.45;
            }
            y += 10.0;
        }
        let sides = Sides::of(panels, look);
        let legend = (chart.shared_legend && !look.is_preview()).then(|| {
            let series = panels.first().map_or(&[][..], Panel::series);
            flow(series, sides.left, look.width - look.margin, &mut y, look)
        });

        // Everything but the plots has a fixed height; the plots share what the chart's height leaves.
        let parts: Vec<Overhead> = panels
            .iter()
            .map(|p| Overhead::of(p, chart.shared_legend, &sides, look))
            .collect();
        let fixed: f64 = parts.iter().map(|o| o.above + o.below).sum();
        let share = (f64::from(chart.height) - y - fixed)
            / f64::from(u32::try_from(panels.len().max(1)).unwrap_or(1));
        let plot_height = match look.layout {
            Layout::Wide => share.max(look.plot_height),
            Layout::Narrow | Layout::Preview => look.plot_height,
        };
        let spots = panels
            .iter()
            .zip(&parts)
            .map(|(panel, overhead)| {
                let spot = place(
                    panel,
                    y,
                    overhead,
                    plot_height,
                    &sides,
                    chart.shared_legend,
                    look,
                );
                y += overhead.above + plot_height + overhead.below;
                spot
            })
            .collect();
        Self {
            height: y.ceil(),
            title,
            subtitles,
            legend,
            panels: spots,
        }
    }
}

/// Room left and right of all plots, equal for all panels so that their axes line up.
#[derive(Debug)]
struct Sides {
    left: f64,
    right: f64,
}

impl Sides {
    fn of(panels: &[Panel], look: &Look) -> Self {
        let (mut left, mut right) = (0.0f64, 14.0f64);
        for panel in panels {
            let y_labels: Vec<String> = match &panel.body {
                Body::Heat(grid) => grid.rows.iter().map(|row| row.name.clone()).collect(),
                Body::Series(_) => {
                    let (y, y2) = vertical(panel, look);
                    if let Some(y2) = y2 {
                        let labels = y2
                            .ticks
                            .iter()
                            .map(|t| text::width(&y2.label(*t), look.tick_size));
                        right =
                            right.max(labels.fold(0.0, f64::max) + 8.0 + look.axis_title_room());
                    }
                    y.ticks.iter().map(|t| y.label(*t)).collect()
                }
            };
            let widest = y_labels
                .iter()
                .map(|l| text::width(l, look.tick_size))
                .fold(0.0, f64::max);
            left = left.max(widest + 8.0);
        }
        Self {
            left: look.margin + look.axis_title_room() + left,
            right: look.width - look.margin.min(10.0) - right,
        }
    }

    fn width(&self) -> f64 {
        self.right - self.left
    }
}

impl Look {
    /// Where headings of panels begin: above the plot, or at the edge where width is short.
    pub(super) fn heading_left(&self, plot_left: f64) -> f64 {
        if self.layout == Layout::Narrow {
            self.margin
        } else {
            plot_left
        }
    }

    /// Room for a turned axis title beside its labels.
    fn axis_title_room(&self) -> f64 {
        if self.is_preview() {
            0.0
        } else {
            self.text_size * 1.4
        }
    }
}

/// Heights above and below one plot.
#[derive(Debug)]
struct Overhead {
    above: f64,
    below: f64,
    heading: Vec<String>,
    heading_height: f64,
    legend_rows: f64,
    label_rows: f64,
}

impl Overhead {
    fn of(panel: &Panel, shared_legend: bool, sides: &Sides, look: &Look) -> Self {
        if look.is_preview() {
            return Self {
                above: 0.0,
                below: look.tick_size * 1.9,
                heading: Vec::new(),
                heading_height: 0.0,
                legend_rows: 0.0,
                label_rows: 0.0,
            };
        }
        let heading = if panel.title.is_empty() {
            Vec::new()
        } else {
            let room = look.width - look.heading_left(sides.left) - look.margin;
            text::wrap_bold(&panel.title, look.heading_size, room)
        };
        let lines = f64::from(u32::try_from(heading.len()).unwrap_or(1));
        let heading_height = if heading.is_empty() {
            0.0
        } else {
            look.heading_size * (0.4 + 1.3 * lines)
        };
        let legend_rows = if matches!(panel.body, Body::Heat(_)) {
            34.0
        } else if shared_legend {
            0.0
        } else {
            let mut y = 0.0;
            flow(
                panel.series(),
                sides.left,
                look.width - look.margin,
                &mut y,
                look,
            );
            y
        };
        let labelled = panel
            .lines
            .iter()
            .any(|l| l.orientation == Orientation::Vertical && l.label.is_some());
        let label_rows = if labelled { look.tick_size * 1.5 } else { 4.0 };
        Self {
            above: heading_height + legend_rows + label_rows,
            below: look.tick_size * 1.7 + look.text_size * 1.5 + 16.0,
            heading,
            heading_height,
            legend_rows,
            label_rows,
        }
    }
}

fn place(
    panel: &Panel,
    top: f64,
    overhead: &Overhead,
    height: f64,
    sides: &Sides,
    shared_legend: bool,
    look: &Look,
) -> Spot {
    let plot = Rect {
        left: sides.left,
        top: top + overhead.above,
        width: sides.width(),
        height,
    };
    let (y, y2) = vertical(panel, look);
    let frame = Frame {
        plot,
        x: horizontal(panel, plot.width, look),
        y,
        y2,
    };
    let mut line_middle = top + look.heading_size * 0.85;
    let heading = overhead
        .heading
        .iter()
        .map(|line| {
            let at = line_middle;
            line_middle += look.heading_size * 1.3;
            (line.clone(), at)
        })
        .collect();
    let mut cursor = top + overhead.heading_height;
    let heat = matches!(panel.body, Body::Heat(_));
    let legend = if shared_legend || heat || look.is_preview() {
        Vec::new()
    } else {
        flow(
            panel.series(),
            sides.left,
            look.width - look.margin,
            &mut cursor,
            look,
        )
    };
    debug_assert!(
        cursor <= top + overhead.heading_height + overhead.legend_rows + 1e-6,
        "the legend fits its rows"
    );
    debug_assert!(overhead.label_rows >= 0.0, "rows are heights");
    let bar = (heat && !look.is_preview()).then(|| {
        let width = (plot.width * 0.4).min(260.0);
        Rect {
            left: plot.left,
            top: top + overhead.heading_height + 16.0,
            width,
            height: 10.0,
        }
    });
    Spot {
        frame,
        heading,
        legend,
        bar,
    }
}

/// Legend entries from left to right, in as many rows as they need; moves `y` below the last row.
fn flow(series: &[Series], left: f64, right: f64, y: &mut f64, look: &Look) -> Vec<Key> {
    let mut keys = Vec::new();
    let mut x = left;
    for s in series {
        let name = text::cut(&s.name, look.text_size, right - left - SAMPLE - 8.0);
        let width = SAMPLE + 6.0 + text::width(&name, look.text_size);
        if x > left && x + width > right {
            x = left;
            *y += KEY_HEIGHT;
        }
        let spot = Rect {
            left: x,
            top: *y,
            width,
            height: KEY_HEIGHT,
        };
        keys.push(Key {
            series: s.key.clone(),
            name,
            ink: s.ink,
            style: s.style,
            spot,
        });
        x += width + KEY_GAP;
    }
    if !keys.is_empty() {
        *y += KEY_HEIGHT + 2.0;
    }
    keys
}

impl Key {
    /// The line or patch before the words.
    pub(super) fn sample(&self) -> Rect {
        Rect {
            left: self.spot.left,
            top: self.spot.top + 6.0,
            width: SAMPLE,
            height: KEY_HEIGHT - 12.0,
        }
    }
}

fn horizontal(panel: &Panel, width: f64, look: &Look) -> Scale {
    let fit = (width / look.x_tick_room).floor().max(2.0);
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "a small positive whole number"
    )]
    let target = fit as usize;
    let lines = panel
        .lines
        .iter()
        .filter(|l| l.orientation == Orientation::Vertical)
        .map(|l| l.value);
    match &panel.body {
        Body::Series(series) => {
            let data = series.iter().flat_map(|s| s.points.iter().map(|p| p.x));
            Scale::new(&panel.x, data.chain(lines), target)
        }
        Body::Heat(grid) => Scale::new(&panel.x, grid.columns.iter().copied(), target),
    }
}

fn values(series: &[Series], side: Side) -> impl Iterator<Item = f64> + Clone {
    series.iter().filter(move |s| s.side == side).flat_map(|s| {
        s.points.iter().flat_map(|p| {
            p.y.into_iter()
                .chain(p.range.into_iter().flat_map(|(low, high)| [low, high]))
        })
    })
}

/// A threshold stretches the axis up to this many times the largest value; one that is further away
/// would flatten the data and is only named.
const THRESHOLD_REACH: f64 = 4.0;

/// Whether a horizontal line is drawn at its height, or only named at the upper edge.
pub(super) fn within_reach(value: f64, frame: &Frame) -> bool {
    (frame.y.min..=frame.y.max).contains(&value)
}

fn vertical(panel: &Panel, look: &Look) -> (Scale, Option<Scale>) {
    let series = match &panel.body {
        Body::Heat(grid) => {
            let rows = f64::from(u32::try_from(grid.rows.len()).unwrap_or(u32::MAX));
            let axis = Axis {
                range: AxisRange::Fixed(0.0, rows.max(1.0)),
                ..panel.y.clone()
            };
            return (
                Scale {
                    ticks: Vec::new(),
                    ..Scale::new(&axis, std::iter::empty(), look.y_ticks)
                },
                None,
            );
        }
        Body::Series(series) => series,
    };
    let left = values(series, Side::Left);
    let high = left.clone().fold(panel.y.range.least_high(), f64::max);
    let lines = panel
        .lines
        .iter()
        .filter(|l| l.orientation == Orientation::Horizontal)
        .map(|l| l.value);
    let near = lines.filter(|v| high <= 0.0 || *v <= high * THRESHOLD_REACH);
    let y = Scale::new(&panel.y, left.chain(near), look.y_ticks);
    let Some(axis) = &panel.y2 else {
        return (y, None);
    };
    let right = values(series, Side::Right);
    if y.log {
        // Ticks of a logarithmic axis are not evenly spaced: the right one has its own.
        let y2 = Scale::new(axis, right, look.y_ticks);
        let (y, y2) = if y2.log {
            Scale::apart(&y, &y2, look.y_ticks)
        } else {
            (y, y2)
        };
        return (y, Some(y2));
    }
    let y2 = if axis.range.is_log() {
        Scale::new(axis, right, look.y_ticks)
    } else {
        let high = right.fold(axis.range.least_high(), f64::max);
        let y2 = Scale::aligned_with(&y, axis.ticks, high);
        if lies_on_another(series, &y, &y2) {
            Scale::aligned_with(&y, axis.ticks, y2.max * 1.02)
        } else {
            y2
        }
    };
    (y, Some(y2))
}

/// Whether a series of the right axis lies on one of the left, point on point.
fn lies_on_another(series: &[Series], y: &Scale, y2: &Scale) -> bool {
    let of = |side: Side| series.iter().filter(move |s| s.side == side);
    let same = |a: &Series, b: &Series| {
        let heights = a
            .points
            .iter()
            .zip(&b.points)
            .filter_map(|(a, b)| Some((y.position(a.y?), y2.position(b.y?))));
        let mut heights = heights.peekable();
        heights.peek().is_some() && heights.all(|(a, b)| (a - b).abs() < 0.02)
    };
    of(Side::Left).any(|left| of(Side::Right).any(|right| same(left, right)))
}
