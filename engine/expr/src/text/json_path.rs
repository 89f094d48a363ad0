//! Paths into JSON (`lax $.a[0].b`) as Flink's JSON functions evaluate them by Calcite and Jayway's
//! JsonPath. Without a mode a path is strict. Filters and functions are refused by name.

use super::json::Json;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    Lax,
    Strict,
}

/// A path, read from its text.
#[derive(Debug, Clone, PartialEq)]
pub struct Path {
    pub mode: Mode,
    steps: Vec<Step>,
    /// It leads to one place, so that its result is a value and not a list of them.
    definite: bool,
}

#[derive(Debug, Clone, PartialEq)]
enum Step {
    /// One name, or at the end of a path several.
    Names(Vec<String>),
    Indexes(Vec<i64>),
    Slice(Option<i64>, Option<i64>),
    All,
    /// The next step at any depth.
    Anywhere,
}

/// Why a text is no path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fault {
    /// JsonPath refuses it as well.
    Invalid,
    /// Valid, and not built.
    Unsupported(&'static str),
}

/// There is nothing where a definite path leads to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Missing;

impl Path {
    pub fn parse(text: &str) -> Result<Path, Fault> {
        let (mode, spec) = mode(text);
        let spec = spec.trim();
        if spec.is_empty() {
            return Err(Fault::Invalid);
        }
        if spec.starts_with('@') {
            return Err(Fault::Unsupported("'@' in a JSON path"));
        }
        let mut rest = match spec.strip_prefix('$') {
            Some(rest) => rest.to_owned(),
            None => format!(".{spec}"),
        };
        let mut steps = Vec::new();
        while !rest.is_empty() {
            rest = step(&rest, &mut steps)?;
        }
        if steps.last() == Some(&Step::Anywhere) {
            return Err(Fault::Invalid);
        }
        let several = |s: &Step| matches!(s, Step::Names(names) if names.len() > 1);
        if steps.iter().rev().skip(1).any(several) {
            return Err(Fault::Unsupported("several names within a JSON path"));
        }
        let definite = steps.iter().all(|step| match step {
            Step::Names(_) => true,
            Step::Indexes(indexes) => indexes.len() == 1,
            Step::Slice(..) | Step::All | Step::Anywhere => false,
        });
        Ok(Path {
            mode,
            steps,
            definite,
        })
    }

    /// What the path leads to; JSON's null is a value here.
    pub fn read(&self, root: &Json) -> Result<Json, Missing> {
        let mut found = Vec::new();
        let result = walk(&self.steps, root, true, &mut found);
        match (self.definite, result) {
            (true, Ok(())) => found.into_iter().next().ok_or(Missing),
            (false, Ok(())) => Ok(Json::Array(found)),
            (_, Err(missing)) if self.mode == Mode::Strict => Err(missing),
            (true, Err(missing)) => Err(missing),
            (false, Err(_)) => Ok(Json::Array(Vec::new())),
        }
    }
}

/// `lax` or `strict` before a path, in any case.
fn mode(text: &str) -> (Mode, &str) {
    let trimmed = text.trim_start();
    for (word, mode) in [("lax", Mode::Lax), ("strict", Mode::Strict)] {
        if let Some(head) = trimmed.get(..word.len())
            && head.eq_ignore_ascii_case(word)
            && trimmed[word.len()..].starts_with(char::is_whitespace)
        {
            return (mode, &trimmed[word.len()..]);
        }
    }
    (Mode::Strict, text)
}

/// Reads a step and gives what follows it.
fn step(text: &str, steps: &mut Vec<Step>) -> Result<String, Fault> {
    if let Some(rest) = text.strip_prefix("..") {
        steps.push(Step::Anywhere);
        return match rest.chars().next() {
            None | Some('.') => Err(Fault::Invalid),
            Some('[') => bracket(&rest[1..], steps),
            Some(_) => name(rest, steps),
        };
    }
    match text.chars().next() {
        Some('.') if text[1..].starts_with('[') => bracket(&text[2..], steps),
        Some('.') => name(&text[1..], steps),
        Some('[') => bracket(&text[1..], steps),
        _ => Err(Fault::Invalid),
    }
}

fn name(text: &str, steps: &mut Vec<Step>) -> Result<String, Fault> {
    let end = text.find(['.', '[', '(', ' ']).unwrap_or(text.len());
    let (name, rest) = text.split_at(end);
    if rest.starts_with('(') {
        return Err(Fault::Unsupported("a function in a JSON path"));
    }
    if name.is_empty() || rest.starts_with(' ') {
        return Err(Fault::Invalid);
    }
    steps.push(match name {
        "*" => Step::All,
        name => Step::Names(vec![name.to_owned()]),
    });
    Ok(rest.to_owned())
}

/// What stands in brackets, from behind the opening one.
fn bracket(text: &str, steps: &mut Vec<Step>) -> Result<String, Fault> {
    let text = text.trim_start();
    if text.starts_with('?') {
        return Err(Fault::Unsupported("a filter in a JSON path"));
    }
    if text.starts_with(['\'', '"']) {
        return names(text, steps);
    }
    let (inside, rest) = text.split_once(']').ok_or(Fault::Invalid)?;
    let number = |text: &str| text.trim().parse::<i64>().map_err(|_| Fault::Invalid);
    let bound = |text: &str| match text.trim() {
        "" => Ok(None),
        text => number(text).map(Some),
    };
    let inside = inside.trim();
    steps.push(if inside == "*" {
        Step::All
    } else if let Some((from, to)) = inside.split_once(':') {
        match (bound(from)?, bound(to)?) {
            (None, None) => return Err(Fault::Invalid),
            (from, to) => Step::Slice(from, to),
        }
    } else {
        Step::Indexes(inside.split(',').map(number).collect::<Result<_, _>>()?)
    });
    Ok(rest.to_owned())
}

/// `'a','b']`.
fn names(text: &str, steps: &mut Vec<Step>) -> Result<String, Fault> {
    let mut names = Vec::new();
    let mut chars = text.chars();
    loop {
        let quote = chars
            .next()
            .filter(|c| matches!(c, '\'' | '"'))
            .ok_or(Fault::Invalid)?;
        let mut name = String::new();
        loop {
            match chars.next().ok_or(Fault::Invalid)? {
                '\\' => name.push(chars.next().ok_or(Fault::Invalid)?),
                c if c == quote => break,
                c => name.push(c),
            }
        }
        names.push(name);
        let rest = chars.as_str().trim_start();
        if let Some(rest) = rest.strip_prefix(']') {
            steps.push(Step::Names(names));
            return Ok(rest.to_owned());
        }
        chars = rest.strip_prefix(',').ok_or(Fault::Invalid)?.trim_start().chars();
    }
}

/// Collects what the steps lead to. What is missing is an error on a way that is definite so far.
fn walk(steps: &[Step], node: &Json, definite: bool, found: &mut Vec<Json>) -> Result<(), Missing> {
    let Some((step, rest)) = steps.split_first() else {
        found.push(node.clone());
        return Ok(());
    };
    let missing = if definite { Err(Missing) } else { Ok(()) };
    match (step, node) {
        (Step::Names(names), Json::Object(fields)) => match names.as_slice() {
            [name] => match fields.get(name) {
                Some(value) => walk(rest, value, definite, found),
                None if rest.is_empty() => Ok(()),
                None => missing,
            },
            names => {
                let there = names.iter().filter_map(|n| fields.get_key_value(n));
                found.push(Json::Object(there.map(|(k, v)| (k.clone(), v.clone())).collect()));
                Ok(())
            }
        },
        (Step::Names(_), _) => missing,
        (Step::Indexes(indexes), Json::Array(elements)) => {
            let definite = definite && indexes.len() == 1;
            for index in indexes {
                if let Some(element) = place(*index, elements.len()).and_then(|i| elements.get(i)) {
                    walk(rest, element, definite, found)?;
                }
            }
            Ok(())
        }
        (Step::Slice(from, to), Json::Array(elements)) => {
            let bound = |bound: &Option<i64>, otherwise: usize| {
                bound.map_or(otherwise, |b| {
                    place(b, elements.len()).unwrap_or(0).min(elements.len())
                })
            };
            let (from, to) = (bound(from, 0), bound(to, elements.len()));
            for element in elements.get(from..to).unwrap_or_default() {
                walk(rest, element, false, found)?;
            }
            Ok(())
        }
        (Step::Indexes(_) | Step::Slice(..), _) => missing,
        (Step::All, _) => {
            for child in children(node) {
                walk(rest, child, false, found)?;
            }
            Ok(())
        }
        (Step::Anywhere, _) => {
            let fits = match (&rest[0], node) {
                (Step::Names(names), Json::Object(fields)) => names.iter().all(|n| fields.contains_key(n)),
                (Step::Indexes(_) | Step::Slice(..), Json::Array(_)) => true,
                (Step::All, _) => true,
                _ => false,
            };
            if fits {
                walk(rest, node, false, found)?;
            }
            for child in children(node) {
                walk(steps, child, false, found)?;
            }
            Ok(())
        }
    }
}

fn children(node: &Json) -> Vec<&Json> {
    match node {
        Json::Array(elements) => elements.iter().collect(),
        Json::Object(fields) => fields.values().collect(),
        _ => Vec::new(),
    }
}

/// The position that an index means, a negative one from the end.
fn place(index: i64, length: usize) -> Option<usize> {
    let index = if index < 0 { index + length as i64 } else { index };
    usize::try_from(index).ok()
}
