//! Tables for people: columns as wide as they must be, two blanks apart.

use console::{measure_text_width, style, truncate_str};

/// Lays out rows under their headings. The last column is cut at the edge of the terminal; where
/// standard output is none, nothing is cut.
pub fn table(headings: &[&str], rows: &[Vec<String>]) -> String {
    let mut widths: Vec<usize> = headings.iter().map(|heading| heading.len()).collect();
    for row in rows {
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
