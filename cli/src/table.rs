//! Tables for people: columns as wide as they must be, two blanks apart.

use console::{measure_text_width, style, truncate_str};

/// Lays out rows under their headings. The last column is cut at the edge of the terminal; where
/// standard output is none, nothing is cut.
pub fn table(headings: &[&str], rows: &[Vec<String>]) -> String {
    let rows: Vec<Vec<String>> =
        rows.iter().map(|row| row.iter().map(|cell| plain(cell)).collect()).collect();
    let mut widths: Vec<usize> = headings.iter().map(|heading| heading.len()).collect();
    for row in &rows {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = (*width).max(measure_text_width(cell));
        }
    }
    let edge = console::Term::stdout().size_checked().map(|(_, columns)| usize::from(columns));
    let line = |cells: Vec<String>| {
        let padded: Vec<String> = cells
            .iter()
            .zip(&widths)
            .map(|(cell, &width)| {
                cell.clone() + &" ".repeat(width.saturating_sub(measure_text_width(cell)))
            })
            .collect();
        let joined = padded.join("  ");
        match edge {
            Some(edge) => truncate_str(joined.trim_end(), edge, "…").into_owned(),
            None => joined.trim_end().to_owned(),
        }
    };
    let headings = line(headings.iter().map(ToString::to_string).collect());
    let mut lines = vec![style(headings).bold().to_string()];
    lines.extend(rows.iter().map(|row| line(row.clone())));
    lines.join("\n")
}

/// A text of somebody else's, such as a brief, without what would steer the terminal that shows it.
pub fn plain(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { char::REPLACEMENT_CHARACTER } else { c }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_others_wrote_cannot_steer_the_terminal() {
        let shown = table(&["PROMPT"], &[vec!["\u{1b}[2Ja\rb\u{9b}31m ü".to_owned()]]);

        assert!(shown.ends_with("\u{fffd}[2Ja\u{fffd}b\u{fffd}31m ü"), "{shown:?}");
    }
}
