//! What was measured, in a table: medians with their extremes, and ratios to what is compared.
//!
//! It knows nothing of what is measured. A figure that somebody could not be measured at is a dash.

use std::fmt;

/// What a figure counts, and which way is better.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unit {
    PerSecond,
    Millis,
    Micros,
    MiB,
    Times,
    /// Of which fewer are better.
    Count,
}

impl Unit {
    const fn word(self) -> &'static str {
        match self {
            Unit::PerSecond => "1/s",
            Unit::Millis => "ms",
            Unit::Micros => "µs",
            Unit::MiB => "MiB",
            Unit::Times => "times",
            Unit::Count => "1",
        }
    }

    /// How many times better the first value is than the second.
    fn ratio(self, ours: f64, theirs: f64) -> f64 {
        match self {
            Unit::PerSecond => ours / theirs,
            Unit::Millis | Unit::Micros | Unit::MiB | Unit::Times | Unit::Count => theirs / ours,
        }
    }
}

/// One thing, measured again and again.
#[derive(Debug, Clone, Default)]
pub struct Series(Vec<f64>);

impl Series {
    pub fn add(&mut self, value: f64) {
        let at = self.0.partition_point(|other| *other <= value);
        self.0.insert(at, value);
    }

    /// The value below which a share of all values lies; none without values.
    pub fn quantile(&self, share: f64) -> Option<f64> {
        let last = self.0.len().checked_sub(1)?;
        Some(self.0[(share * last as f64).round() as usize])
    }

    pub fn median(&self) -> Option<f64> {
        let half = self.0.len() / 2;
        match self.0.len() {
            0 => None,
            odd if odd % 2 == 1 => Some(self.0[half]),
            _ => Some(f64::midpoint(self.0[half - 1], self.0[half])),
        }
    }
}

impl FromIterator<f64> for Series {
    fn from_iter<I: IntoIterator<Item = f64>>(values: I) -> Self {
        let mut values: Vec<f64> = values.into_iter().collect();
        values.sort_by(f64::total_cmp);
        Self(values)
    }
}

/// A median, and from where to where the values go.
impl fmt::Display for Series {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (Some(median), [min, .., max] | [min @ max]) = (self.median(), &self.0[..]) else {
            return f.write_str("—");
        };
        write!(f, "**{}** ({}–{})", short(median), short(*min), short(*max))
    }
}

/// Three digits that count, thousands apart.
fn short(value: f64) -> String {
    if value < 10.0 {
        return format!("{value:.2}");
    }
    if value < 100.0 {
        return format!("{value:.1}");
    }
    let digits = format!("{value:.0}");
    let groups: Vec<_> = digits.as_bytes().rchunks(3).rev().map(String::from_utf8_lossy).collect();
    groups.join(",")
}

struct Row {
    name: String,
    unit: Unit,
    /// In the order of the columns.
    series: Vec<Series>,
}

/// A row for each figure, a column for each contestant; the first one is compared with the others.
pub struct Table {
    columns: Vec<String>,
    rows: Vec<Row>,
}

impl Table {
    pub fn new(columns: impl IntoIterator<Item = impl Into<String>>) -> Self {
        Self { columns: columns.into_iter().map(Into::into).collect(), rows: Vec::new() }
    }

    /// Adds a value of one contestant to a row, which the first value makes.
    pub fn add(&mut self, name: &str, unit: Unit, column: usize, value: f64) {
        let at = self.rows.iter().position(|row| row.name == name).unwrap_or_else(|| {
            let series = vec![Series::default(); self.columns.len()];
            self.rows.push(Row { name: name.to_owned(), unit, series });
            self.rows.len() - 1
        });
        self.rows[at].series[column].add(value);
    }
}

/// As Markdown.
impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "| | unit | {} |", self.columns[0])?;
        for column in &self.columns[1..] {
            write!(f, " {column} | times |")?;
        }
        writeln!(f, "\n|---|---|{}", "---|".repeat(self.columns.len() * 2 - 1))?;
        for row in &self.rows {
            let ours = &row.series[0];
            write!(f, "| {} | {} | {ours} |", row.name, row.unit.word())?;
            for theirs in &row.series[1..] {
                match (ours.median(), theirs.median()) {
                    (Some(our), Some(their)) => {
                        write!(f, " {theirs} | {:.1} |", row.unit.ratio(our, their))?;
                    }
                    _ => write!(f, " {theirs} | |")?,
                }
            }
            writeln!(f)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_series_says_its_median_and_its_extremes() {
        let series: Series = [3.0, 1.0, 2.0, 1_234_567.0].into_iter().collect();

        assert_eq!(series.median(), Some(2.5));
        assert_eq!(series.quantile(0.99), Some(1_234_567.0));
        assert_eq!(series.to_string(), "**2.50** (1.00–1,234,567)");
        assert_eq!(Series::default().to_string(), "—");
    }

    #[test]
    fn a_table_says_how_many_times_better_the_first_column_is() {
        let mut table = Table::new(["ours", "theirs"]);
        table.add("work", Unit::PerSecond, 0, 800.0);
        table.add("work", Unit::PerSecond, 1, 100.0);
        table.add("pickup", Unit::Millis, 0, 0.5);
        table.add("pickup", Unit::Millis, 1, 2.0);

        let text = table.to_string();

        assert!(text.contains("| work | 1/s | **800** (800–800) | **100** (100–100) | 8.0 |"));
        assert!(
            text.contains("| pickup | ms | **0.50** (0.50–0.50) | **2.00** (2.00–2.00) | 4.0 |")
        );
    }
}
