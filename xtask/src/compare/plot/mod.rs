//! The plots, as SVG: what was measured, with nothing made of it but the median.
//!
//! They have their own white ground, so that they are legible on any page, and colours that stay apart
//! for colour-blind eyes, from the palette of Okabe and Ito; no plot needs colours alone to be read.

mod dots;
mod frame;
mod over_time;

use plotters::style::RGBColor;

use super::record::Records;

const INK: RGBColor = RGBColor(0x22, 0x22, 0x22);
const FAINT: RGBColor = RGBColor(0xdd, 0xdd, 0xdd);
const GREY: RGBColor = RGBColor(0x8a, 0x8f, 0x94);
const BLUE: RGBColor = RGBColor(0x00, 0x72, 0xb2);
const ORANGE: RGBColor = RGBColor(0xe6, 0x9f, 0x00);
const GREEN: RGBColor = RGBColor(0x00, 0x9e, 0x73);
const VERMILION: RGBColor = RGBColor(0xd5, 0x5e, 0x00);

/// What a plot belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Subject {
    Mail,
    Failover,
    Cost,
}

/// A plot.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Plot {
    pub(super) subject: Subject,
    /// Its name in the folder of the records.
    pub(super) file: String,
    /// For who cannot see it.
    pub(super) alt: String,
    pub(super) svg: String,
}

/// Every plot that the records have something for.
pub(super) fn draw(records: &Records) -> anyhow::Result<Vec<Plot>> {
    let mut plots = Vec::new();
    for (name, place) in records.places() {
        if let Some(part) = &place.mail {
            plots.extend(over_time::mail(name, part)?);
        }
    }
    for (name, place) in records.places() {
        if let Some(part) = &place.failover {
            plots.extend(over_time::failover(name, part)?);
        }
    }
    plots.extend(dots::seconds(records)?);
    plots.extend(dots::cost(records)?);
    Ok(plots)
}
