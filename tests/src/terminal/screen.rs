//! A terminal's screen: as much of ECMA-48 and of xterm as programs of ours write.

/// Characters, where the next one goes, and what has been switched.
pub(super) struct Screen {
    columns: usize,
    rows: Vec<Vec<char>>,
    column: usize,
    row: usize,
    is_alternate: bool,
    has_no_cursor: bool,
    does_not_wrap: bool,
    /// The beginning of a character or of a sequence.
    unfinished: Vec<u8>,
}

impl Screen {
    pub(super) fn new(columns: usize, rows: usize) -> Self {
        Self {
            columns,
            rows: vec![vec![' '; columns]; rows],
            column: 0,
            row: 0,
            is_alternate: false,
            has_no_cursor: false,
            does_not_wrap: false,
            unfinished: Vec::new(),
        }
    }

    /// The lines, without blanks at their ends.
    pub(super) fn text(&self) -> String {
        let lines = self.rows.iter().map(|row| {
            let line: String = row.iter().collect();
            line.trim_end().to_owned() + "\n"
        });
        lines.collect()
    }

    /// In what the screen is not as a shell expects it.
    pub(super) fn fault(&self) -> Option<&'static str> {
        match self {
            _ if self.is_alternate => Some("the alternate screen is left on"),
            _ if self.has_no_cursor => Some("the cursor is left hidden"),
            _ if self.does_not_wrap => Some("long lines are left to be cut"),
            _ => None,
        }
    }

    /// Takes what a program writes, in whatever pieces.
    pub(super) fn write(&mut self, octets: &[u8]) {
        self.unfinished.extend(octets);
        let octets = std::mem::take(&mut self.unfinished);
        let mut rest = &octets[..];
        while let Some(&first) = rest.first() {
            let taken = match first {
                0x1b => self.sequence(rest),
                _ => self.character(rest),
            };
            let Some(taken) = taken else { break };
            rest = &rest[taken..];
        }
        self.unfinished = rest.to_vec();
    }

    /// Takes one character; gives its octets, if all are there.
    fn character(&mut self, octets: &[u8]) -> Option<usize> {
        let length = match octets[0] {
            0xf0.. => 4,
            0xe0.. => 3,
            0xc0.. => 2,
            _ => 1,
        };
        let character = String::from_utf8_lossy(octets.get(..length)?)
            .chars()
            .next()?;
        match character {
            '\r' => self.column = 0,
            '\n' => self.row = (self.row + 1).min(self.rows.len() - 1),
            c if c.is_control() => {}
            c => {
                if self.column >= self.columns {
                    self.column = self.columns - 1;
                }
                self.rows[self.row][self.column] = c;
                self.column += 1;
            }
        }
        Some(length)
    }

    /// Takes one escape sequence; gives its octets, if all are there.
    fn sequence(&mut self, octets: &[u8]) -> Option<usize> {
        if *octets.get(1)? != b'[' {
            return Some(2);
        }
        let end = octets[2..]
            .iter()
            .position(|octet| (0x40..0x7f).contains(octet))?
            + 2;
        let parameters = String::from_utf8_lossy(&octets[2..end]).into_owned();
        let number = |place: usize| {
            let parameter = parameters.split(';').nth(place);
            parameter.and_then(|text| text.parse::<usize>().ok())
        };
        match octets[end] {
            b'H' => {
                self.row = number(0).unwrap_or(1).clamp(1, self.rows.len()) - 1;
                self.column = number(1).unwrap_or(1).clamp(1, self.columns) - 1;
            }
            b'K' => {
                let column = self.column.min(self.columns);
                self.rows[self.row][column..].fill(' ');
            }
            b'J' if number(0) == Some(2) => self.clear(),
            b'J' => {
                let column = self.column.min(self.columns);
                self.rows[self.row][column..].fill(' ');
                for row in &mut self.rows[self.row + 1..] {
                    row.fill(' ');
                }
            }
            kind @ (b'h' | b'l') => {
                let on = kind == b'h';
                match parameters.as_str() {
                    "?1049" => {
                        self.is_alternate = on;
                        self.clear();
                    }
                    "?25" => self.has_no_cursor = !on,
                    "?7" => self.does_not_wrap = !on,
                    _ => {}
                }
            }
            // Colours, and what nobody here looks at.
            _ => {}
        }
        Some(end + 1)
    }

    fn clear(&mut self) {
        for row in &mut self.rows {
            row.fill(' ');
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_make_a_screen() {
        let mut screen = Screen::new(6, 2);
        let written =
            "\u{1b}[?1049h\u{1b}[?25l\u{1b}[2;2H\u{1b}[31m▅é\u{1b}[0mx\u{1b}[1;1Habcdefgh";
        for octet in written.as_bytes() {
            screen.write(&[*octet]);
        }
        assert_eq!(screen.text(), "abcdeh\n ▅éx\n");
        screen.write(b"\x1b[1;3H\x1b[K");
        assert_eq!(screen.text(), "ab\n ▅éx\n");
        assert_eq!(screen.fault(), Some("the alternate screen is left on"));
        screen.write(b"\x1b[?1049l");
        assert_eq!(screen.fault(), Some("the cursor is left hidden"));
        screen.write(b"\x1b[?25hx\r\ny\x1b[1;1H\x1b[J");
        assert_eq!((screen.fault(), screen.text().as_str()), (None, "\n\n"));
    }
}
