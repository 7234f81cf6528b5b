//! Plots of figures on a logarithmic axis: a dot for each run, a mark for the median.

use dns_lb_tests::comparison::Forwarder;
use plotters::{
    element::{Circle, PathElement},
    style::{Color as _, RGBColor},
};

use super::{
    BLUE, GREEN, INK, ORANGE, Plot, Subject,
    frame::{Chart, Frame, Key, Shape, mark},
};
use crate::compare::{
    figures::{self, deaths, ports},
    record::Records,
    statistics::{Bound, Sample, Spread, whole},
};

/// The marks of series, in turn.
const MARKS: [(Shape, RGBColor); 3] = [
    (Shape::Disc, BLUE),
    (Shape::Square, ORANGE),
    (Shape::Triangle, GREEN),
];

/// Samples of one series in one row.
struct Dots {
    column: usize,
    row: usize,
    series: usize,
    samples: Vec<Sample>,
    spread: Spread,
}

/// Seconds of loss of every arrangement, death and kind of client; `None` without any.
pub(super) fn seconds(records: &Records) -> anyhow::Result<Option<Plot>> {
    let places = records.places();
    let all: Vec<_> = places
        .iter()
        .flat_map(|(name, place)| place.failover.iter().map(move |part| (*name, part)))
        .flat_map(|(name, part)| part.rows.iter().map(move |row| (name, row)))
        .collect();
    let deaths = deaths(all.iter().map(|(_, row)| row.death.as_str()));
    let mut columns: Vec<bool> = all.iter().map(|(_, row)| row.fixed_port).collect();
    columns.sort_unstable();
    columns.dedup();
    let mut rows: Vec<_> = all
        .iter()
        .map(|(place, row)| (*place != "host", row.arrangement, *place))
        .collect();
    rows.sort_unstable();
    rows.dedup();
    let dots = all.iter().filter_map(|(place, row)| {
        let key = (*place != "host", row.arrangement, *place);
        Some(Dots {
            column: columns.iter().position(|it| *it == row.fixed_port)?,
            row: rows.iter().position(|it| *it == key)?,
            series: deaths.iter().position(|it| *it == row.death)?,
            samples: row
                .runs
                .iter()
                .map(|run| Sample {
                    value: run.until_last_loss_ms / 1e3,
                    bound: figures::bound(run),
                })
                .collect(),
            spread: figures::seconds(row)?,
        })
    });
    let dots: Vec<Dots> = dots.collect();
    let columns: Vec<String> = columns
        .iter()
        .map(|fixed| format!("clients with {}", ports(*fixed)))
        .collect();
    let rows: Vec<String> = rows
        .iter()
        .map(|(_, arrangement, place)| match *place {
            "host" => arrangement.to_string(),
            place => format!("{arrangement} ({place})"),
        })
        .collect();
    let svg = draw(
        "Seconds from a server's death to the last lost query",
        "seconds, logarithmic; marks: medians, dots: runs, arrows: still losing at the end",
        &columns,
        &rows,
        &deaths,
        &dots,
    )?;
    Ok(svg.map(|svg| Plot {
        subject: Subject::Failover,
        file: "failover-seconds.svg".to_owned(),
        alt: "Seconds from a server's death to the last lost query, by arrangement, way to die and kind of client, on a \
              logarithmic axis; the figures are in the tables above"
            .to_owned(),
        svg,
    }))
}

/// What a packet costs, in times of dns-lb's native program; `None` without it.
pub(super) fn cost(records: &Records) -> anyhow::Result<Option<Plot>> {
    let mut rows: Vec<Forwarder> = Vec::new();
    let mut dots = Vec::new();
    let mut series = Vec::new();
    for (name, place) in records.places() {
        let Some(part) = &place.cost else { continue };
        let native = part
            .rows
            .iter()
            .find(|row| row.forwarder == Forwarder::DnsLbNative);
        let Some(native) = native.filter(|row| !row.path_ns.is_empty()) else {
            continue;
        };
        series.push(name);
        for row in &part.rows {
            let Some(spread) = Spread::of_paired(&row.path_ns, &native.path_ns) else {
                continue;
            };
            let index = rows.iter().position(|it| *it == row.forwarder);
            let index = index.unwrap_or_else(|| {
                rows.push(row.forwarder);
                rows.len() - 1
            });
            let pairs = row.path_ns.iter().zip(&native.path_ns);
            let ratios = pairs.filter(|&(_, &ours)| ours > 0.0);
            dots.push(Dots {
                column: 0,
                row: index,
                series: series.len() - 1,
                samples: ratios.map(|(it, ours)| (it / ours).into()).collect(),
                spread,
            });
        }
    }
    let names: Vec<String> = rows.iter().map(ToString::to_string).collect();
    let svg = draw(
        "What a packet costs from driver to driver",
        "times dns-lb's native XDP, logarithmic; marks: medians, dots: rounds",
        &[String::new()],
        &names,
        &series,
        &dots,
    )?;
    Ok(svg.map(|svg| Plot {
        subject: Subject::Cost,
        file: "cost.svg".to_owned(),
        alt: "What a packet costs by each forwarder, in times of dns-lb's native XDP, on a logarithmic axis; the figures \
              are in the tables above"
            .to_owned(),
        svg,
    }))
}

fn draw(
    title: &str,
    axis_title: &str,
    columns: &[String],
    rows: &[String],
    series: &[&str],
    dots: &[Dots],
) -> anyhow::Result<Option<String>> {
    let values = dots.iter().flat_map(|dots| &dots.samples);
    let values: Vec<f64> = values.map(|sample| sample.value).collect();
    let positive = values.iter().copied().filter(|value| *value > 0.0);
    let ends = positive.fold(None, |ends: Option<(f64, f64)>, value| {
        let (least, most) = ends.unwrap_or((value, value));
        Some((least.min(value), most.max(value)))
    });
    let Some((least, most)) = ends else {
        return Ok(None);
    };
    let has_zero = values.iter().any(|value| *value <= 0.0);
    let axis = Axis::over(least, most, has_zero);
    let legend: Vec<Key<'_>> = series
        .iter()
        .zip(MARKS.iter().cycle())
        .map(|(text, &(shape, color))| Key { shape, color, text })
        .collect();
    let frame = Frame {
        title,
        columns,
        rows,
        row_height: 14 + 9 * u32::try_from(series.len())?,
        axis: (axis.first, axis.last),
        ticks: &axis.ticks,
        axis_title,
        legend: &legend,
    };
    let svg = frame.draw(|column, chart| {
        for dots in dots.iter().filter(|dots| dots.column == column) {
            draw_dots(dots, series.len(), axis.zero, chart)?;
        }
        Ok(())
    })?;
    Ok(Some(svg))
}

fn draw_dots(
    dots: &Dots,
    series: usize,
    zero: f64,
    chart: &mut Chart<'_, '_>,
) -> anyhow::Result<()> {
    let at = |value: f64| if value > 0.0 { value.log10() } else { zero };
    let share = (dots.series as f64 + 1.0) / (series as f64 + 1.0);
    let y = dots.row as f64 + share;
    let (shape, color) = MARKS[dots.series % MARKS.len()];
    let area = chart.plotting_area();
    let Spread {
        smallest,
        median,
        largest,
    } = dots.spread;
    let ends = [(at(smallest.value), y), (at(largest.value), y)];
    area.draw(&PathElement::new(ends, color.stroke_width(1)))?;
    for sample in &dots.samples {
        let place = (at(sample.value), y);
        area.draw(&Circle::new(place, 2, color.mix(0.6).filled()))?;
    }
    let (x, y) = chart.backend_coord(&(at(median.value), y));
    let root = area.strip_coord_spec();
    // Places of the area are counted from its corner, those of the backend from the plot's.
    let (left, top) = area.get_base_pixel();
    let (x, y) = (x - left, y - top);
    mark(&root, shape, color, (x, y), 4)?;
    if largest.bound == Bound::AtLeast {
        let (end, _) = chart.backend_coord(&(at(largest.value), 0.0));
        let tip = end - left + 20;
        let lines = [
            [(end - left, y), (tip, y)],
            [(tip - 5, y - 4), (tip, y)],
            [(tip - 5, y + 4), (tip, y)],
        ];
        for line in lines {
            root.draw(&PathElement::new(line, INK.stroke_width(1)))?;
        }
    }
    Ok(())
}

/// A logarithmic axis: of places on it, which are logarithms.
struct Axis {
    first: f64,
    last: f64,
    ticks: Vec<(f64, String)>,
    /// Where zero is, which has no logarithm, and what noise has put below it.
    zero: f64,
}

impl Axis {
    /// One that has room for all from `least` to `most`, with some beside them.
    fn over(least: f64, most: f64, has_zero: bool) -> Self {
        let (least, most) = (least.log10(), most.log10());
        let (mut first, last) = (least - 0.12, most + 0.25);
        let mut ticks = Vec::new();
        let mut decade = first.floor();
        while decade <= last {
            // A short axis has more of them.
            let numbers: &[f64] = if last - first < 2.0 {
                &[1.0, 2.0, 5.0]
            } else {
                &[1.0]
            };
            for number in numbers {
                let place = decade + number.log10();
                if (first..=last).contains(&place) {
                    ticks.push((place, number_at(*number, decade)));
                }
            }
            decade += 1.0;
        }
        if has_zero {
            first -= 0.6;
            ticks.push((first + 0.25, "0".to_owned()));
        }
        Self {
            first,
            last,
            ticks,
            zero: first + 0.25,
        }
    }
}

/// A number in a decade, with no more digits than it needs: 0.02, 5, 1,000.
fn number_at(number: f64, decade: f64) -> String {
    let value = number * 10_f64.powf(decade);
    if decade >= 0.0 {
        whole(value)
    } else {
        format!("{value:.*}", decade.abs() as usize)
    }
}

#[test]
fn an_axis_has_room_for_all_and_round_numbers() {
    let names =
        |axis: &Axis| -> Vec<String> { axis.ticks.iter().map(|(_, name)| name.clone()).collect() };
    let short = Axis::over(1.0, 13.0, false);
    assert_eq!(names(&short), ["1", "2", "5", "10", "20"]);
    let long = Axis::over(0.025, 30.0, true);
    assert_eq!(names(&long), ["0.1", "1", "10", "0"]);
    assert!(long.first < long.zero && long.zero < 0.025_f64.log10());
}
