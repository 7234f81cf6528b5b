//! Tables of the page.

/// A table in Markdown: what it is of, and a row a line.
pub(super) struct Table {
    text: String,
    rows: usize,
}

impl Table {
    pub(super) fn new<S: AsRef<str>>(header: &[S]) -> Self {
        let rule = "|---".repeat(header.len());
        let mut table = Self {
            text: String::new(),
            rows: 0,
        };
        table.row(header);
        table.rows = 0;
        table.text += &format!("{rule}|\n");
        table
    }

    pub(super) fn row<S: AsRef<str>>(&mut self, cells: &[S]) {
        for cell in cells {
            // A bar would end the cell, a line's end the table.
            let cell = cell.as_ref().replace('|', "\\|").replace('\n', " ");
            self.text += &format!("| {cell} ");
        }
        self.text += "|\n";
        self.rows += 1;
    }

    /// The table, or what is said where it has no row.
    pub(super) fn or(self, otherwise: &str) -> String {
        match self.rows {
            0 => format!("{otherwise}\n"),
            _ => self.text,
        }
    }
}

/// How many samples rows have, by place: `host 5, emulated 2–3`. Places without a row are left out.
pub(super) fn counts<'a>(places: impl Iterator<Item = (&'a str, Vec<usize>)>) -> String {
    let counts = places.filter_map(|(place, counts)| {
        let (least, most) = (counts.iter().min()?, counts.iter().max()?);
        Some(match least == most {
            true => format!("{place} {least}"),
            false => format!("{place} {least}–{most}"),
        })
    });
    counts.collect::<Vec<_>>().join(", ")
}

/// A cell for what there may be none of.
pub(super) fn cell(figure: Option<impl ToString>) -> String {
    figure.map_or_else(|| "—".to_owned(), |figure| figure.to_string())
}
