//! Tables as Go's tabwriter aligned them for kubecfg: at least twenty wide, three blanks between, the last column as it is.

/// The least width of a column.
const WIDTH: usize = 20;
/// The blanks after the longest cell.
const PADDING: usize = 3;

/// A heading, a row of dashes, and rows.
pub(crate) fn table(headings: &[&str], rows: &[Vec<String>]) -> String {
    let mut lines: Vec<Vec<String>> = Vec::with_capacity(rows.len() + 2);
    lines.push(headings.iter().map(|heading| (*heading).to_owned()).collect());
    lines.push(headings.iter().map(|_| "-".repeat(10)).collect());
    lines.extend_from_slice(rows);
    let width = |column: usize| {
        let cells = lines.iter().filter_map(|line| line.get(column));
        cells.map(|cell| cell.chars().count() + PADDING).max().unwrap_or(0).max(WIDTH)
    };
    let widths: Vec<usize> = (0..headings.len()).map(width).collect();
    let mut text = String::new();
    for line in &lines {
        for (column, cell) in line.iter().enumerate() {
            text.push_str(cell);
            if column + 1 < line.len() {
                let blanks = widths[column].saturating_sub(cell.chars().count());
                text.extend(std::iter::repeat_n(' ', blanks));
            }
        }
        text.push('\n');
    }
    text
}
