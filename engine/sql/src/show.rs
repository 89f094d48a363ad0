//! What SHOW and DESCRIBE print.

use std::fmt::Write;

use millrace_core::sensitive;
use millrace_expr::{DataType, function};

use crate::catalog::{CATALOG, Catalog, DATABASE, Object, Table, TableColumnKind, View};
use crate::error::{Result, SqlError};
use crate::parser::statement::{Name, Pattern, Show};
use crate::plan::TimeAttribute;

pub(crate) fn show(show: &Show, catalog: &Catalog) -> Result<String> {
    Ok(match show {
        Show::Tables(pattern) => {
            let names = catalog.names().filter(|n| matches(pattern, n));
            list("table name", names)
        }
        Show::Views(pattern) => {
            let views = catalog.objects().filter(|(_, o)| o.is_view()).map(|(n, _)| n);
            list("view name", views.filter(|n| matches(pattern, n)))
        }
        Show::Functions(pattern) => {
            // Operators have functions' names too; people look for what they can call.
            let is_name = |n: &str| n.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_');
            let names = function::names();
            list(
                "function name",
                names.into_iter().filter(|n| is_name(n) && matches(pattern, n)),
            )
        }
        Show::CreateTable(name) => match catalog.get(name)? {
            Object::Table(table) => create_table(table),
            Object::View(_) => return Err(other_kind(name, "a view", "SHOW CREATE VIEW")),
        },
        Show::CreateView(name) => match catalog.get(name)? {
            Object::View(view) => create_view(view),
            Object::Table(_) => return Err(other_kind(name, "a table", "SHOW CREATE TABLE")),
        },
        Show::Columns(name) => describe(name, catalog)?,
        Show::Catalogs => list("catalog name", [CATALOG].into_iter()),
        Show::Databases => list("database name", [DATABASE].into_iter()),
        Show::CurrentCatalog => list("current catalog name", [CATALOG].into_iter()),
        Show::CurrentDatabase => list("current database name", [DATABASE].into_iter()),
    })
}

fn other_kind(name: &Name, what: &str, instead: &str) -> SqlError {
    SqlError::new(format!("this is {what}"), name.span()).with_hint(format!("{instead} shows it"))
}

fn list<'a>(title: &str, names: impl Iterator<Item = &'a str>) -> String {
    table(&[title], &names.map(|n| vec![n.to_owned()]).collect::<Vec<_>>())
}

fn matches(pattern: &Option<Pattern>, name: &str) -> bool {
    let Some(Pattern {
        text,
        negated,
        ignore_case,
    }) = pattern
    else {
        return true;
    };
    let found = match ignore_case {
        true => like(&text.to_lowercase(), &name.to_lowercase()),
        false => like(text, name),
    };
    found != *negated
}

/// SQL's LIKE: `%` for any characters, `_` for one.
fn like(pattern: &str, text: &str) -> bool {
    let (pattern, text): (Vec<char>, Vec<char>) = (pattern.chars().collect(), text.chars().collect());
    let (mut p, mut t) = (0, 0);
    // Where to go on if what follows the last `%` does not match.
    let mut retry: Option<(usize, usize)> = None;
    while t < text.len() {
        match pattern.get(p) {
            Some('%') => {
                retry = Some((p, t));
                p += 1;
            }
            Some(c) if *c == '_' || *c == text[t] => {
                p += 1;
                t += 1;
            }
            _ => match retry {
                Some((star, from)) => {
                    retry = Some((star, from + 1));
                    p = star + 1;
                    t = from + 1;
                }
                None => return false,
            },
        }
    }
    pattern[p..].iter().all(|c| *c == '%')
}

/// The columns of a table or a view, as Flink's DESCRIBE shows them.
pub(crate) fn describe(name: &Name, catalog: &Catalog) -> Result<String> {
    const TITLES: [&str; 7] = ["name", "type", "null", "key", "extras", "watermark", "comment"];
    let mut rows = Vec::new();
    match catalog.get(name)? {
        Object::View(view) => {
            for (field, time) in view.row_type.fields.iter().zip(&view.time_attributes) {
                rows.push(row(&field.name, &field.data_type, *time, Default::default()));
            }
        }
        Object::Table(table) => {
            for (i, column) in table.columns.iter().enumerate() {
                let key = match table.primary_key.contains(&column.name) {
                    true => format!("PRI({})", table.primary_key.join(", ")),
                    false => String::new(),
                };
                let (extras, mut time) = match &column.kind {
                    TableColumnKind::Physical => (String::new(), None),
                    TableColumnKind::Metadata { key, is_virtual } => (metadata(key, *is_virtual), None),
                    TableColumnKind::Computed { written, expr } => {
                        (format!("AS {}", written.text), TimeAttribute::of(expr))
                    }
                };
                let mut watermark = String::new();
                if let Some(declared) = table.watermark.as_ref().filter(|w| w.column == i) {
                    watermark.clone_from(&declared.written.text);
                    time = Some(TimeAttribute::Rowtime);
                }
                let comment = column.comment.clone().unwrap_or_default();
                let more = [key, extras, watermark, comment];
                rows.push(row(&column.name, &column.data_type, time, more));
            }
        }
    }
    // Comments have a column if there are any.
    let width = match rows.iter().any(|r| !r[6].is_empty()) {
        true => 7,
        false => 6,
    };
    rows.iter_mut().for_each(|r| r.truncate(width));
    Ok(self::table(&TITLES[..width], &rows))
}

fn row(name: &str, data_type: &DataType, time: Option<TimeAttribute>, more: [String; 4]) -> Vec<String> {
    let null = if data_type.nullable { "TRUE" } else { "FALSE" };
    let kind = match time {
        None => data_type.kind.to_string(),
        Some(TimeAttribute::Rowtime) => format!("{} *ROWTIME*", data_type.kind),
        Some(TimeAttribute::Proctime) => format!("{} *PROCTIME*", data_type.kind),
    };
    let mut row = vec![name.to_owned(), kind, null.to_owned()];
    row.extend(more);
    row
}

fn metadata(key: &Option<String>, is_virtual: bool) -> String {
    let from = key
        .as_ref()
        .map_or_else(String::new, |k| format!(" FROM {}", quote_text(k)));
    format!("METADATA{from}{}", if is_virtual { " VIRTUAL" } else { "" })
}

/// A statement that declares the same table again.
fn create_table(table: &Table) -> String {
    let mut lines = Vec::new();
    for column in &table.columns {
        let mut line = format!("  {} ", quote(&column.name));
        match &column.kind {
            TableColumnKind::Physical => line.push_str(&column.data_type.to_string()),
            TableColumnKind::Metadata { key, is_virtual } => {
                let _ = write!(line, "{} {}", column.data_type, metadata(key, *is_virtual));
            }
            TableColumnKind::Computed { written, .. } => {
                let _ = write!(line, "AS {}", written.text);
            }
        }
        if let Some(comment) = &column.comment {
            let _ = write!(line, " COMMENT {}", quote_text(comment));
        }
        lines.push(line);
    }
    if let Some(watermark) = &table.watermark {
        let column = quote(&table.columns[watermark.column].name);
        lines.push(format!("  WATERMARK FOR {column} AS {}", watermark.written.text));
    }
    if !table.primary_key.is_empty() {
        lines.push(format!(
            "  PRIMARY KEY ({}) NOT ENFORCED",
            quoted(&table.primary_key)
        ));
    }
    let temporary = if table.temporary { "TEMPORARY " } else { "" };
    let path = format!("`{CATALOG}`.`{DATABASE}`.{}", quote(&table.name));
    let mut out = format!("CREATE {temporary}TABLE {path} (\n{}\n)", lines.join(",\n"));
    if let Some(comment) = &table.comment {
        let _ = write!(out, " COMMENT {}", quote_text(comment));
    }
    if !table.partition_keys.is_empty() {
        let _ = write!(out, "\nPARTITIONED BY ({})", quoted(&table.partition_keys));
    }
    if !table.options.is_empty() {
        let options: Vec<_> = table
            .options
            .iter()
            .map(|(k, v)| format!("  {} = {}", quote_text(k), quote_text(sensitive::shown(k, v))))
            .collect();
        let _ = write!(out, "\nWITH (\n{}\n)", options.join(",\n"));
    }
    out
}

fn create_view(view: &View) -> String {
    let temporary = if view.temporary { "TEMPORARY " } else { "" };
    let names: Vec<_> = view.row_type.fields.iter().map(|f| f.name.clone()).collect();
    let comment = view
        .comment
        .as_ref()
        .map_or_else(String::new, |c| format!(" COMMENT {}", quote_text(c)));
    let path = format!("`{CATALOG}`.`{DATABASE}`.{}", quote(&view.name));
    format!(
        "CREATE {temporary}VIEW {path} ({}){comment}\nAS {}",
        quoted(&names),
        view.text
    )
}

fn quote(name: &str) -> String {
    format!("`{}`", name.replace('`', "``"))
}

fn quoted(names: &[String]) -> String {
    names.iter().map(|n| quote(n)).collect::<Vec<_>>().join(", ")
}

fn quote_text(text: &str) -> String {
    format!("'{}'", text.replace('\'', "''"))
}

/// A table drawn with lines, as Flink's client draws it.
pub(crate) fn table(titles: &[&str], rows: &[Vec<String>]) -> String {
    if rows.is_empty() {
        return "Empty set".to_owned();
    }
    let width = |i: usize| {
        let cells = rows.iter().map(|r| r[i].chars().count());
        cells.max().unwrap_or(0).max(titles[i].len())
    };
    let widths: Vec<usize> = (0..titles.len()).map(width).collect();
    let line = widths
        .iter()
        .map(|w| "-".repeat(w + 2))
        .collect::<Vec<_>>()
        .join("+");
    let mut out = format!("+{line}+\n");
    let print = |out: &mut String, cells: &[&str]| {
        for (cell, width) in cells.iter().zip(&widths) {
            let pad = width - cell.chars().count();
            let _ = write!(out, "| {}{cell} ", " ".repeat(pad));
        }
        out.push_str("|\n");
    };
    print(&mut out, titles);
    let _ = writeln!(out, "+{line}+");
    for row in rows {
        let cells: Vec<&str> = row.iter().map(String::as_str).collect();
        print(&mut out, &cells);
    }
    let _ = write!(out, "+{line}+");
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn like_is_sqls() {
        for (pattern, text, expected) in [
            ("%", "", true),
            ("a%", "abc", true),
            ("%c", "abc", true),
            ("a_c", "abc", true),
            ("a_c", "abbc", false),
            ("%b%b%", "abcb", true),
            ("", "a", false),
        ] {
            assert_eq!(like(pattern, text), expected, "{pattern} {text}");
        }
    }
}
