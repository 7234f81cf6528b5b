//! What all plots have: rows with names, columns that share the rows and the axis, a legend.

use plotters::{
    chart::{ChartBuilder, ChartContext},
    coord::{Shift, types::RangedCoordf64},
    drawing::{DrawingArea, IntoDrawingArea as _},
    element::{Circle, PathElement, Polygon, Rectangle, Text},
    prelude::{Cartesian2d, SVGBackend},
    style::{
        Color as _, IntoFont as _, RGBColor, TextStyle, WHITE,
        text_anchor::{HPos, Pos, VPos},
    },
};

use super::{FAINT, INK};

const WIDTH: u32 = 860;
/// Room for the names of rows.
const LEFT: u32 = 262;
const RIGHT: u32 = 22;
const BETWEEN_COLUMNS: u32 = 36;
const TOP: u32 = 62;
const BOTTOM: u32 = 80;

/// Letters of a row's name that there is room for.
const LONGEST_NAME: usize = 40;

/// plotters writes a font's size divided by this.
const SVG_FONT: f64 = 1.24;

/// An area in which a column is drawn: the axis, and rows from 0 downwards, each 1 high.
pub(super) type Chart<'a, 'b> =
    ChartContext<'a, SVGBackend<'b>, Cartesian2d<RangedCoordf64, RangedCoordf64>>;

type Root<'a> = DrawingArea<SVGBackend<'a>, Shift>;

/// How something is marked, so that it is found without its colour too.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Shape {
    Area,
    Disc,
    Square,
    Triangle,
}

/// An entry of the legend.
#[derive(Clone, Copy)]
pub(super) struct Key<'a> {
    pub(super) shape: Shape,
    pub(super) color: RGBColor,
    pub(super) text: &'a str,
}

/// All of a plot but what is measured.
pub(super) struct Frame<'a> {
    pub(super) title: &'a str,
    pub(super) columns: &'a [String],
    pub(super) rows: &'a [String],
    pub(super) row_height: u32,
    /// First and last of the axis.
    pub(super) axis: (f64, f64),
    pub(super) ticks: &'a [(f64, String)],
    pub(super) axis_title: &'a str,
    pub(super) legend: &'a [Key<'a>],
}

impl Frame<'_> {
    /// Draws the frame, and in each column what `body` draws there.
    pub(super) fn draw(
        &self,
        body: impl Fn(usize, &mut Chart<'_, '_>) -> anyhow::Result<()>,
    ) -> anyhow::Result<String> {
        let rows = u32::try_from(self.rows.len())?;
        let columns = u32::try_from(self.columns.len())?;
        let height = TOP + rows * self.row_height + BOTTOM;
        let mut svg = String::new();
        {
            let root = SVGBackend::with_string(&mut svg, (WIDTH, height)).into_drawing_area();
            root.fill(&WHITE)?;
            write(&root, self.title, (16, 20), 15.0, HPos::Left)?;
            for (row, name) in (0..).zip(self.rows) {
                let middle = TOP + row * self.row_height + self.row_height / 2;
                name_row(&root, name, (LEFT - 10, middle))?;
            }
            let gaps = BETWEEN_COLUMNS * columns.saturating_sub(1);
            let width = (WIDTH - LEFT - RIGHT - gaps) / columns.max(1);
            for (column, name) in (0..).zip(self.columns) {
                let left = LEFT + column * (width + BETWEEN_COLUMNS);
                write(
                    &root,
                    name,
                    (left + width / 2, TOP - 14),
                    12.0,
                    HPos::Center,
                )?;
                let area = root
                    .clone()
                    .shrink((left, TOP), (width, rows * self.row_height));
                let mut chart = ChartBuilder::on(&area)
                    .build_cartesian_2d(self.axis.0..self.axis.1, f64::from(rows)..0.0)?;
                self.ticks(&root, &mut chart, f64::from(rows))?;
                body(usize::try_from(column)?, &mut chart)?;
            }
            let below = TOP + rows * self.row_height;
            let middle = LEFT + (WIDTH - LEFT - RIGHT) / 2;
            write(
                &root,
                self.axis_title,
                (middle, below + 36),
                12.0,
                HPos::Center,
            )?;
            self.legend(&root, below + 62)?;
            root.present()?;
        }
        Ok(svg)
    }

    fn ticks(&self, root: &Root<'_>, chart: &mut Chart<'_, '_>, rows: f64) -> anyhow::Result<()> {
        for (at, text) in self.ticks {
            let line = PathElement::new([(*at, 0.0), (*at, rows)], FAINT);
            chart.plotting_area().draw(&line)?;
            let (x, y) = chart.backend_coord(&(*at, rows));
            let place = (u32::try_from(x)?, u32::try_from(y)? + 14);
            write(root, text, place, 11.0, HPos::Center)?;
        }
        for row in 0..=self.rows.len() {
            let y = row as f64;
            let line = PathElement::new([(self.axis.0, y), (self.axis.1, y)], FAINT);
            chart.plotting_area().draw(&line)?;
        }
        Ok(())
    }

    fn legend(&self, root: &Root<'_>, y: u32) -> anyhow::Result<()> {
        let mut x = 24;
        for key in self.legend {
            let at = (i32::try_from(x)?, i32::try_from(y)?);
            mark(root, key.shape, key.color, at, 5)?;
            write(root, key.text, (x + 14, y), 12.0, HPos::Left)?;
            // A letter of this size is some six and a half pixels wide.
            x += 40 + u32::try_from(key.text.chars().count())? * 13 / 2;
        }
        Ok(())
    }
}

/// Draws a mark at a place in pixels.
pub(super) fn mark(
    root: &Root<'_>,
    shape: Shape,
    color: RGBColor,
    (x, y): (i32, i32),
    size: i32,
) -> anyhow::Result<()> {
    match shape {
        Shape::Area => {
            let corners = [(x - size - 3, y - size), (x + size + 3, y + size)];
            root.draw(&Rectangle::new(corners, color.filled()))?;
        }
        Shape::Disc => root.draw(&Circle::new((x, y), size, color.filled()))?,
        Shape::Square => {
            let corners = [(x - size, y - size), (x + size, y + size)];
            root.draw(&Rectangle::new(corners, color.filled()))?;
        }
        Shape::Triangle => {
            let corners = [
                (x - size - 1, y + size),
                (x + size + 1, y + size),
                (x, y - size - 1),
            ];
            root.draw(&Polygon::new(corners, color.filled()))?;
        }
    }
    Ok(())
}

/// Writes the name of a row, in two lines if it is long.
fn name_row(root: &Root<'_>, name: &str, (x, y): (u32, u32)) -> anyhow::Result<()> {
    let lines = match break_line(name) {
        Some((first, second)) => vec![(first, y - 7), (second, y + 7)],
        None => vec![(name, y)],
    };
    for (line, y) in lines {
        write(root, line, (x, y), 12.0, HPos::Right)?;
    }
    Ok(())
}

/// Breaks a line that is longer than there is room for, at the space that is nearest to its middle.
fn break_line(text: &str) -> Option<(&str, &str)> {
    if text.len() <= LONGEST_NAME {
        return None;
    }
    let spaces = text.match_indices(' ').map(|(place, _)| place);
    let place = spaces.min_by_key(|place| (text.len() / 2).abs_diff(*place))?;
    Some((&text[..place], &text[place + 1..]))
}

/// Writes a line of text, `size` pixels high, whose middle is at `y`.
fn write(
    root: &Root<'_>,
    text: &str,
    (x, y): (u32, u32),
    size: f64,
    anchor: HPos,
) -> anyhow::Result<()> {
    let font = ("Helvetica, Arial, sans-serif", size * SVG_FONT).into_font();
    let style = TextStyle::from(font)
        .color(&INK)
        .pos(Pos::new(anchor, VPos::Center));
    let place = (i32::try_from(x)?, i32::try_from(y)?);
    root.draw(&Text::new(text.to_owned(), place, style))?;
    Ok(())
}

#[test]
fn long_names_are_broken_near_their_middle() {
    assert_eq!(break_line("dns-lb, defaults"), None);
    let long = "keepalived + IPVS, textbook, expire_nodest_conn";
    let lines = ("keepalived + IPVS,", "textbook, expire_nodest_conn");
    assert_eq!(break_line(long), Some(lines));
    assert_eq!(break_line(&"x".repeat(60)), None, "nowhere to break it");
}
