//! Plots over time: a strip for each arrangement, full where everything was answered.

use dns_lb_tests::comparison::{Arrangement, FailoverRow, FailoverRun, MailRow, MailRun, Part};
use plotters::{
    element::{PathElement, Polygon, Rectangle},
    style::{Color as _, RGBColor},
};

use super::{
    BLUE, GREY, INK, Plot, Subject, VERMILION,
    frame::{Chart, Frame, Key, Shape},
};
use crate::compare::{
    figures::{deaths, is_ours, ports},
    statistics::figure,
};

/// Seconds from the death that the plot of failovers shows: what comes later, the plot of seconds has.
const FAILOVER_SHOWN: f64 = 10.0;

/// Part of a strip's height that is filled at most.
const FILLED: f64 = 0.84;

/// What was measured of one arrangement in one column.
struct Strip {
    column: usize,
    row: usize,
    color: RGBColor,
    /// Seconds from the death at which the first step begins.
    from: f64,
    /// Seconds.
    step: f64,
    /// From 0 to 1, a step each.
    parts: Vec<f64>,
    /// Whether what a step lacks was lost.
    shows_loss: bool,
}

impl Strip {
    /// Draws what lies between the ends of the axis.
    fn draw(&self, chart: &mut Chart<'_, '_>, (first, last): (f64, f64)) -> anyhow::Result<()> {
        let time = |step: usize| self.from + step as f64 * self.step;
        let bottom = self.row as f64 + f64::midpoint(1.0, FILLED);
        let end = time(self.parts.len()).min(last);
        let start = self.from.max(first);
        if end <= start {
            return Ok(());
        }
        if self.shows_loss {
            let corners = [(start, bottom - FILLED), (end, bottom)];
            let lost = Rectangle::new(corners, VERMILION.filled());
            chart.plotting_area().draw(&lost)?;
        }
        let mut outline = vec![(start, bottom)];
        let mut height = None;
        for (step, part) in self.parts.iter().enumerate() {
            let (begins, ends) = (time(step).max(first), time(step + 1).min(last));
            // No finer than can be seen, so that equal steps are one.
            let next = (part.clamp(0.0, 1.0) * 50.0).round() / 50.0 * FILLED;
            if ends <= begins || height == Some(next) {
                continue;
            }
            outline.push((begins, bottom - height.unwrap_or(0.0)));
            outline.push((begins, bottom - next));
            height = Some(next);
        }
        outline.push((end, bottom - height.unwrap_or(0.0)));
        outline.push((end, bottom));
        chart
            .plotting_area()
            .draw(&Polygon::new(outline, self.color.filled()))?;
        Ok(())
    }
}

/// Mail over time at one place; `None` without a row.
pub(super) fn mail(place: &str, part: &Part<MailRow>) -> anyhow::Result<Option<Plot>> {
    let columns = deaths(part.rows.iter().map(|row| row.death.as_str()));
    let rows = arrangements(part.rows.iter().map(|row| row.arrangement));
    let mut strips = Vec::new();
    let mut marks: Vec<(usize, f64)> = Vec::new();
    let runs: Vec<(&MailRow, &MailRun)> = part
        .rows
        .iter()
        .filter_map(|row| Some((row, median_run(&row.runs, |run| run.during.mails as f64)?)))
        .collect();
    let steps = runs.iter().flat_map(|(_, run)| {
        let seconds = run.step_ms.max(1) as f64 / 1e3;
        run.timeline
            .iter()
            .map(move |mails| f64::from(*mails) / seconds)
    });
    let Some(most) = steps.max_by(f64::total_cmp).filter(|most| *most > 0.0) else {
        return Ok(None);
    };
    for (row, run) in &runs {
        let step = run.step_ms.max(1) as f64 / 1e3;
        let column = columns.iter().position(|it| *it == row.death).unwrap_or(0);
        marks.extend([(column, 0.0), (column, run.during.seconds)]);
        strips.push(Strip {
            column,
            row: rows
                .iter()
                .position(|it| *it == row.arrangement)
                .unwrap_or(0),
            color: color(row.arrangement),
            from: -run.before.seconds,
            step,
            parts: run
                .timeline
                .iter()
                .map(|mails| f64::from(*mails) / step / most)
                .collect(),
            shows_loss: false,
        });
    }
    let ends = strips
        .iter()
        .map(|it| (it.from, it.from + it.step * it.parts.len() as f64));
    let axis = ends.fold((0.0_f64, 0.0_f64), |all, it| {
        (all.0.min(it.0), all.1.max(it.1))
    });
    let per_hour = figure(most * 3600.0);
    let svg = draw(
        &Look {
            title: format!(
                "Mails that leave a relay, {place}: a strip's full height is {per_hour} an hour"
            ),
            axis_title: "seconds from the death of the server; the second line is its return; of each, the run in the middle",
            columns: columns.iter().map(|death| (*death).to_owned()).collect(),
            rows: rows.iter().map(ToString::to_string).collect(),
            axis,
            legend: &[
                Key {
                    shape: Shape::Area,
                    color: BLUE,
                    text: "dns-lb",
                },
                Key {
                    shape: Shape::Area,
                    color: GREY,
                    text: "others",
                },
            ],
        },
        &strips,
        &marks,
    )?;
    Ok(Some(Plot {
        subject: Subject::Mail,
        file: format!("mail-{place}.svg"),
        alt: format!(
            "Mails an hour over time, {place}, a strip for each arrangement and a column for each way that the \
             server dies; the figures are in the table above"
        ),
        svg,
    }))
}

/// Answered queries over time at one place; `None` without a row.
pub(super) fn failover(place: &str, part: &Part<FailoverRow>) -> anyhow::Result<Option<Plot>> {
    // The death that everyone finds hardest, of those that there are.
    let deaths = deaths(part.rows.iter().map(|row| row.death.as_str()));
    let Some(&death) = deaths.last() else {
        return Ok(None);
    };
    let shown: Vec<&FailoverRow> = part.rows.iter().filter(|row| row.death == death).collect();
    let rows = arrangements(shown.iter().map(|row| row.arrangement));
    let mut columns: Vec<bool> = shown.iter().map(|row| row.fixed_port).collect();
    columns.sort_unstable();
    columns.dedup();
    let mut strips = Vec::new();
    for row in &shown {
        let Some(run) = median_run(&row.runs, |run: &FailoverRun| run.until_last_loss_ms) else {
            continue;
        };
        let step = run.step_ms.max(1) as f64 / 1e3;
        strips.push(Strip {
            column: usize::from(columns.len() > 1 && row.fixed_port),
            row: rows
                .iter()
                .position(|it| *it == row.arrangement)
                .unwrap_or(0),
            color: color(row.arrangement),
            from: -10.0 * step,
            step,
            parts: run.timeline.clone(),
            shows_loss: true,
        });
    }
    let first = strips.iter().map(|strip| strip.from).fold(0.0, f64::min);
    let marks: Vec<(usize, f64)> = (0..columns.len()).map(|column| (column, 0.0)).collect();
    let svg = draw(
        &Look {
            title: format!("Queries answered and lost when a server is {death}, {place}"),
            axis_title: "seconds from the death of the server, the first ten; of each, the run in the middle, as long as it went on",
            columns: columns
                .iter()
                .map(|fixed| format!("clients with {}", ports(*fixed)))
                .collect(),
            rows: rows.iter().map(ToString::to_string).collect(),
            axis: (first.max(-1.0), FAILOVER_SHOWN),
            legend: &[
                Key {
                    shape: Shape::Area,
                    color: BLUE,
                    text: "answered, dns-lb",
                },
                Key {
                    shape: Shape::Area,
                    color: GREY,
                    text: "answered, others",
                },
                Key {
                    shape: Shape::Area,
                    color: VERMILION,
                    text: "lost",
                },
            ],
        },
        &strips,
        &marks,
    )?;
    Ok(Some(Plot {
        subject: Subject::Failover,
        file: format!("failover-{place}.svg"),
        alt: format!(
            "Part of the queries answered over the ten seconds after a server is {death}, {place}, a strip for each \
             arrangement; the figures are in the tables above"
        ),
        svg,
    }))
}

struct Look<'a> {
    title: String,
    axis_title: &'a str,
    columns: Vec<String>,
    rows: Vec<String>,
    axis: (f64, f64),
    legend: &'a [Key<'a>],
}

fn draw(look: &Look<'_>, strips: &[Strip], marks: &[(usize, f64)]) -> anyhow::Result<String> {
    let frame = Frame {
        title: &look.title,
        columns: &look.columns,
        rows: &look.rows,
        row_height: 30,
        axis: look.axis,
        ticks: &ticks(look.axis),
        axis_title: look.axis_title,
        legend: look.legend,
    };
    frame.draw(|column, chart| {
        for strip in strips.iter().filter(|strip| strip.column == column) {
            strip.draw(chart, look.axis)?;
        }
        for (_, at) in marks.iter().filter(|(it, _)| *it == column) {
            let line = [(*at, 0.0), (*at, look.rows.len() as f64)];
            chart
                .plotting_area()
                .draw(&PathElement::new(line, INK.stroke_width(1)))?;
        }
        Ok(())
    })
}

/// At most six round numbers of seconds.
fn ticks((first, last): (f64, f64)) -> Vec<(f64, String)> {
    let steps = [0.5, 1.0, 2.0, 5.0, 10.0, 20.0, 60.0, 120.0, 300.0, 600.0];
    let step = steps
        .into_iter()
        .find(|step| (last - first) / step <= 6.0)
        .unwrap_or(3600.0);
    let mut at = (first / step).ceil();
    let mut ticks = Vec::new();
    while at * step <= last {
        // Not a zero below zero.
        let second = at * step + 0.0;
        ticks.push((second, second.to_string()));
        at += 1.0;
    }
    ticks
}

fn arrangements(arrangements: impl Iterator<Item = Arrangement>) -> Vec<Arrangement> {
    let mut found: Vec<Arrangement> = arrangements.collect();
    found.sort();
    found.dedup();
    found
}

fn color(arrangement: Arrangement) -> RGBColor {
    if is_ours(arrangement) { BLUE } else { GREY }
}

/// The run in the middle by some figure.
fn median_run<R>(runs: &[R], figure: impl Fn(&R) -> f64) -> Option<&R> {
    let mut sorted: Vec<&R> = runs.iter().collect();
    sorted.sort_by(|a, b| figure(a).total_cmp(&figure(b)));
    sorted.get(sorted.len().saturating_sub(1) / 2).copied()
}
