//! What is answered on standard output: tables as Python's PrettyTable draws them, and the JSON of `--metadata-out`.

use super::values::Values;
use crate::output;
use icecore::error::{Error, Result};
use serde_json::{Map, Value};
use std::path::Path;

/// The lines of a table; cells stand in the middle, as there.
pub fn table(head: &[&str], rows: &[Vec<String>]) -> Vec<String> {
    let head: Vec<String> = head.iter().map(|cell| (*cell).to_owned()).collect();
    let all = || std::iter::once(&head).chain(rows);
    let length = |cell: &String| cell.chars().count();
    let width = |column: usize| all().filter_map(|row| row.get(column)).map(length).max().unwrap_or(0);
    let widths: Vec<usize> = (0..head.len()).map(width).collect();
    let rule: String =
        widths.iter().map(|width| format!("+{}", "-".repeat(width + 2))).collect::<String>() + "+";
    let line = |row: &Vec<String>| {
        let cell = |(cell, width): (&String, &usize)| {
            let spare = width - length(cell);
            // Of a rest that cannot be halved, the larger part stands before a cell of an even length.
            let before = spare / 2 + usize::from(spare % 2 == 1 && width % 2 == 1);
            format!("| {}{cell}{} ", " ".repeat(before), " ".repeat(spare - before))
        };
        row.iter().zip(&widths).map(cell).collect::<String>() + "|"
    };
    let mut lines = vec![rule.clone(), line(&head), rule.clone()];
    lines.extend(rows.iter().map(line));
    lines.push(rule);
    lines
}

/// A value as Python prints it.
fn shown(value: &Value) -> String {
    match value {
        Value::String(text) => output::printable(text),
        Value::Bool(true) => "True".to_owned(),
        Value::Bool(false) => "False".to_owned(),
        Value::Null => "None".to_owned(),
        other => other.to_string(),
    }
}

/// Answers with what an action came to: in the file that `--metadata-out` names, on standard output for `-`, or as a table.
///
/// # Errors
/// When the file cannot be written: the action itself is done.
pub fn metadata(values: &Values, fields: &Map<String, Value>) -> Result<()> {
    match values.text("metadata-out").as_deref() {
        None => {
            let rows: Vec<Vec<String>> =
                fields.iter().map(|(key, value)| vec![key.replace('_', " "), shown(value)]).collect();
            table(&["Property", "Value"], &rows).iter().for_each(|line| output::answer(line));
            Ok(())
        }
        Some("-") => {
            output::answer(&Value::Object(fields.clone()).to_string());
            Ok(())
        }
        Some(file) => {
            let path = super::values::expanded(file);
            write(&path, &Value::Object(fields.clone()).to_string())
        }
    }
}

fn write(path: &Path, text: &str) -> Result<()> {
    let failed = |e| {
        Error::io("the work is done, but its description cannot be written to", path.display().to_string(), e)
    };
    std::fs::write(path, text).map_err(failed)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As PrettyTable 3 draws it.
    #[test]
    fn a_table_looks_as_it_does_there() {
        let rows = [
            vec!["action".to_owned(), "backup".to_owned()],
            vec!["curr backup level".to_owned(), "0".to_owned()],
        ];
        let lines = table(&["Property", "Value"], &rows);
        let expected = [
            "+-------------------+--------+",
            "|      Property     | Value  |",
            "+-------------------+--------+",
            "|       action      | backup |",
            "| curr backup level |   0    |",
            "+-------------------+--------+",
        ];
        assert_eq!(lines, expected);
    }

    #[test]
    fn values_are_shown_as_python_shows_them() {
        for (value, expected) in [
            (Value::from(true), "True"),
            (Value::from(5), "5"),
            (Value::from("a\nb"), "a\\nb"),
            (Value::from(""), ""),
        ] {
            assert_eq!(shown(&value), expected);
        }
    }
}
