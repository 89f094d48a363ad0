//! Functions over strings. Positions count code points from 1.

use std::borrow::Cow;

use arrow::array::{ArrayRef, AsArray};
use arrow::datatypes as a;
use millrace_core::{Error, Result};

use super::support::{
    binary, booleans, byte_index, int, kind, length, literal_integer, literal_string, map_string, nullable,
    primitives, strict, string, string_kind, strings, takes, try_primitives,
};
use crate::function::{Call, Function, Resolution};
use crate::types::MAX_LENGTH;
use crate::value::Column;
use crate::{DataType, Expr, TypeKind};

pub(crate) const FUNCTIONS: &[Function] = &[
    Function::eager("UPPER", "UPPER(STRING)", same_type, |c| map_string(c, upper)),
    Function::eager("LOWER", "LOWER(STRING)", same_type, |c| map_string(c, lower)),
    Function::eager("INITCAP", "INITCAP(STRING)", same_type, |c| {
        map_string(c, initcap)
    }),
    Function::eager("CHAR_LENGTH", "CHAR_LENGTH(STRING)", one_to_int, char_length),
    Function::eager("ASCII", "ASCII(STRING)", one_to_int, ascii),
    Function::eager("REVERSE", "REVERSE(STRING)", reverse_type, |c| {
        map_string(c, |text, out| {
            let mut buffer = [0; 4];
            text.chars()
                .rev()
                .for_each(|ch| out.extend_from_slice(ch.encode_utf8(&mut buffer).as_bytes()));
        })
    }),
    Function::eager(
        "TRIM",
        "TRIM([BOTH | LEADING | TRAILING] [characters FROM] STRING)",
        trim_type,
        |c| trim(c, 2),
    ),
    Function::eager("LTRIM", "LTRIM(STRING [, characters])", side_trim_type, |c| {
        side_trim(c, true, false)
    }),
    Function::eager("RTRIM", "RTRIM(STRING [, characters])", side_trim_type, |c| {
        side_trim(c, false, true)
    }),
    Function::eager("BTRIM", "BTRIM(STRING [, characters])", both_trim_type, |c| {
        side_trim(c, true, true)
    }),
    Function::eager(
        "SUBSTRING",
        "SUBSTRING(STRING, INT [, INT])",
        substring_type,
        substring,
    ),
    Function::eager("LEFT", "LEFT(STRING, INT)", part_type, |c| {
        slice(c, |text, n| &text[..byte_index(text, n)])
    }),
    Function::eager("RIGHT", "RIGHT(STRING, INT)", part_type, |c| {
        slice(c, |text, n| {
            &text[byte_index(text, length(text).saturating_sub(n))..]
        })
    }),
    Function::eager(
        "||",
        "STRING || STRING, BYTES || BYTES",
        concat_operator_type,
        concat,
    ),
    Function::eager("CONCAT", "CONCAT(STRING, ...)", concat_type, concat),
    Function::eager(
        "CONCAT_WS",
        "CONCAT_WS(STRING separator, STRING, ...)",
        concat_ws_type,
        concat_ws,
    ),
    Function::eager("POSITION", "POSITION(STRING needle IN STRING)", two_to_int, |c| {
        locate(c, 0, 1, |_| Some(1))
    }),
    Function::eager(
        "LOCATE",
        "LOCATE(STRING needle, STRING [, INT start])",
        locate_type,
        locate_from,
    ),
    Function::eager(
        "INSTR",
        "INSTR(STRING, STRING needle [, INT start [, INT n-th]])",
        instr_type,
        instr,
    )
    .fallible(),
    Function::eager(
        "REPLACE",
        "REPLACE(STRING, STRING search, STRING replacement)",
        three_strings,
        replace,
    ),
    Function::eager(
        "TRANSLATE",
        "TRANSLATE(STRING, STRING from, STRING to)",
        three_strings,
        translate,
    ),
    Function::eager(
        "TRANSLATE3",
        "TRANSLATE3(STRING, STRING from, STRING to)",
        three_strings,
        translate,
    ),
    Function::eager("LPAD", "LPAD(STRING, INT, STRING)", pad_type, |c| pad(c, true)),
    Function::eager("RPAD", "RPAD(STRING, INT, STRING)", pad_type, |c| pad(c, false)),
    Function::eager("REPEAT", "REPEAT(STRING, INT)", repeat_type, repeat),
    Function::eager("SPLIT", "SPLIT(STRING, STRING separator)", split_type, split),
    Function::eager(
        "SPLIT_INDEX",
        "SPLIT_INDEX(STRING, STRING or INT separator, INT)",
        split_index_type,
        split_index,
    ),
    Function::eager("CHR", "CHR(integer)", chr_type, chr),
    Function::eager(
        "OVERLAY",
        "OVERLAY(STRING PLACING STRING FROM INT [FOR INT])",
        overlay_type,
        overlay,
    ),
    Function::eager(
        "STARTSWITH",
        "STARTSWITH(STRING, STRING), STARTSWITH(BYTES, BYTES)",
        affix_type,
        |c| affix(c, |text, part| text.starts_with(part)),
    ),
    Function::eager(
        "ENDSWITH",
        "ENDSWITH(STRING, STRING), ENDSWITH(BYTES, BYTES)",
        affix_type,
        |c| affix(c, |text, part| text.ends_with(part)),
    ),
    Function::eager(
        "ELT",
        "ELT(INT, STRING, ...), ELT(INT, BYTES, ...)",
        elt_type,
        elt,
    ),
    Function::eager(
        "STR_TO_MAP",
        "STR_TO_MAP(STRING [, STRING, STRING])",
        map_type,
        str_to_map,
    ),
    Function::eager("IS_ALPHA", "IS_ALPHA(STRING or number)", test_type, |c| {
        let all = |text: &str| !text.is_empty() && text.chars().all(char::is_alphabetic);
        test(c, all, |_| false)
    }),
    Function::eager("IS_DIGIT", "IS_DIGIT(STRING or number)", test_type, |c| {
        let all = |text: &str| !text.is_empty() && text.chars().all(is_digit);
        test(c, all, DataType::is_integer)
    }),
    Function::eager("IS_DECIMAL", "IS_DECIMAL(STRING or number)", test_type, |c| {
        let number = |text: &str| crate::text::number::parse_double(text.as_bytes()).is_some();
        test(c, number, |t| !matches!(t.kind, TypeKind::Decimal { .. }))
    }),
];

/// The first digits of scripts other than Latin.
const ZEROS: [u32; 19] = [
    0x0660, 0x06f0, 0x07c0, 0x0966, 0x09e6, 0x0a66, 0x0ae6, 0x0b66, 0x0be6, 0x0c66, 0x0ce6, 0x0d66, 0x0e50,
    0x0ed0, 0x0f20, 0x1040, 0x17e0, 0x1810, 0xff10,
];

fn is_digit(c: char) -> bool {
    c.is_ascii_digit()
        || ZEROS
            .iter()
            .any(|zero| (*zero..zero + 10).contains(&u32::from(c)))
}

fn same_type(args: &mut Vec<Expr>) -> Resolution {
    if !takes(args, &[string]) {
        return Resolution::Mismatch;
    }
    Resolution::Type(args[0].data_type().clone())
}

fn reverse_type(args: &mut Vec<Expr>) -> Resolution {
    if !takes(args, &[string]) {
        return Resolution::Mismatch;
    }
    nullable(string_kind())
}

fn one_to_int(args: &mut Vec<Expr>) -> Resolution {
    if !takes(args, &[string]) {
        return Resolution::Mismatch;
    }
    strict(TypeKind::Int, args)
}

fn two_to_int(args: &mut Vec<Expr>) -> Resolution {
    if args.len() == 2 && args.iter_mut().all(string) {
        strict(TypeKind::Int, args)
    } else {
        Resolution::Mismatch
    }
}

/// A VARCHAR of the argument's length.
fn varying(arg: &Expr) -> TypeKind {
    match kind(arg) {
        TypeKind::Char(n) | TypeKind::Varchar(n) => TypeKind::Varchar(*n),
        _ => string_kind(),
    }
}

/// Flags as in SQL, or a text to trim alone. The arguments are BOTH, LEADING or TRAILING as a
/// literal, the characters, and the text.
fn trim_type(args: &mut Vec<Expr>) -> Resolution {
    if takes(args, &[string]) {
        let kind = varying(&args[0]);
        let literal = |text: &str| {
            let data_type = DataType::not_null(TypeKind::Varchar(text.len() as u32));
            Expr::literal(crate::Scalar::String(text.to_owned()), data_type)
        };
        args.insert(0, literal(" "));
        args.insert(0, literal("BOTH"));
        return strict(kind, args);
    }
    if !takes(args, &[string, string, string]) {
        return Resolution::Mismatch;
    }
    let known = literal_string(&args[0])
        .is_some_and(|m| ["BOTH", "LEADING", "TRAILING"].contains(&m.to_ascii_uppercase().as_str()));
    if !known {
        return Resolution::Mismatch;
    }
    let kind = varying(&args[2]);
    strict(kind, args)
}

fn side_trim_type(args: &mut Vec<Expr>) -> Resolution {
    if !matches!(args.len(), 1 | 2) || !args.iter_mut().all(string) {
        return Resolution::Mismatch;
    }
    let kind = varying(&args[0]);
    strict(kind, args)
}

fn both_trim_type(args: &mut Vec<Expr>) -> Resolution {
    match side_trim_type(args) {
        Resolution::Type(t) => Resolution::Type(DataType {
            kind: string_kind(),
            nullable: t.nullable,
        }),
        other => other,
    }
}

fn substring_type(args: &mut Vec<Expr>) -> Resolution {
    let fits = match args.as_mut_slice() {
        [text, from] => string(text) && int(from),
        [text, from, count] => string(text) && int(from) && int(count),
        _ => false,
    };
    if fits {
        nullable(varying(&args[0]))
    } else {
        Resolution::Mismatch
    }
}

fn part_type(args: &mut Vec<Expr>) -> Resolution {
    if !takes(args, &[string, int]) {
        return Resolution::Mismatch;
    }
    nullable(varying(&args[0]))
}

fn concat_operator_type(args: &mut Vec<Expr>) -> Resolution {
    if args.len() != 2 {
        return Resolution::Mismatch;
    }
    if args.iter().all(|a| a.data_type().is_binary()) {
        return strict(added_length(args, TypeKind::Binary, TypeKind::Varbinary), args);
    }
    if !args.iter_mut().all(string) {
        return Resolution::Mismatch;
    }
    strict(added_length(args, TypeKind::Char, TypeKind::Varchar), args)
}

/// The sum of the lengths: fixed if all are fixed.
fn added_length(args: &[Expr], fixed: fn(u32) -> TypeKind, varying: fn(u32) -> TypeKind) -> TypeKind {
    let mut all_fixed = true;
    let mut sum = 0u32;
    for arg in args {
        let length = match kind(arg) {
            TypeKind::Char(n) | TypeKind::Binary(n) => *n,
            TypeKind::Varchar(n) | TypeKind::Varbinary(n) => {
                all_fixed = false;
                *n
            }
            _ => MAX_LENGTH,
        };
        sum = sum.saturating_add(length).min(MAX_LENGTH);
    }
    if all_fixed { fixed(sum) } else { varying(sum) }
}

fn concat_type(args: &mut Vec<Expr>) -> Resolution {
    if args.is_empty() || !args.iter_mut().all(string) {
        return Resolution::Mismatch;
    }
    strict(string_kind(), args)
}

fn concat_ws_type(args: &mut Vec<Expr>) -> Resolution {
    if args.is_empty() || !args.iter_mut().all(string) {
        return Resolution::Mismatch;
    }
    strict(string_kind(), args)
}

fn locate_type(args: &mut Vec<Expr>) -> Resolution {
    let fits = match args.as_mut_slice() {
        [needle, text] => string(needle) && string(text),
        [needle, text, start] => string(needle) && string(text) && int(start),
        _ => false,
    };
    if fits {
        strict(TypeKind::Int, args)
    } else {
        Resolution::Mismatch
    }
}

fn instr_type(args: &mut Vec<Expr>) -> Resolution {
    let fits =
        matches!(args.len(), 2..=4) && args[..2].iter_mut().all(string) && args[2..].iter_mut().all(int);
    if fits {
        strict(TypeKind::Int, args)
    } else {
        Resolution::Mismatch
    }
}

fn three_strings(args: &mut Vec<Expr>) -> Resolution {
    if args.len() == 3 && args.iter_mut().all(string) {
        strict(string_kind(), args)
    } else {
        Resolution::Mismatch
    }
}

fn pad_type(args: &mut Vec<Expr>) -> Resolution {
    if !takes(args, &[string, int, string]) {
        return Resolution::Mismatch;
    }
    nullable(string_kind())
}

fn repeat_type(args: &mut Vec<Expr>) -> Resolution {
    if !takes(args, &[string, int]) {
        return Resolution::Mismatch;
    }
    strict(string_kind(), args)
}

fn split_type(args: &mut Vec<Expr>) -> Resolution {
    if args.len() == 2 && args.iter_mut().all(string) {
        strict(TypeKind::Array(Box::new(DataType::string())), args)
    } else {
        Resolution::Mismatch
    }
}

fn split_index_type(args: &mut Vec<Expr>) -> Resolution {
    let [text, separator, index] = args.as_mut_slice() else {
        return Resolution::Mismatch;
    };
    if !string(text) || !int(index) {
        return Resolution::Mismatch;
    }
    // A separator may be a number, of a character.
    if string(separator) || int(separator) {
        nullable(string_kind())
    } else {
        Resolution::Mismatch
    }
}

fn chr_type(args: &mut Vec<Expr>) -> Resolution {
    if !takes(args, &[super::support::bigint]) {
        return Resolution::Mismatch;
    }
    nullable(string_kind())
}

fn overlay_type(args: &mut Vec<Expr>) -> Resolution {
    let fits =
        matches!(args.len(), 3 | 4) && args[..2].iter_mut().all(string) && args[2..].iter_mut().all(int);
    if !fits {
        return Resolution::Mismatch;
    }
    let kind = match added_length(&args[..2], TypeKind::Varchar, TypeKind::Varchar) {
        TypeKind::Varchar(n) => TypeKind::Varchar(n),
        _ => string_kind(),
    };
    strict(kind, args)
}

fn affix_type(args: &mut Vec<Expr>) -> Resolution {
    let fits = args.len() == 2 && (args.iter_mut().all(string) || args.iter_mut().all(binary));
    if fits {
        strict(TypeKind::Boolean, args)
    } else {
        Resolution::Mismatch
    }
}

fn elt_type(args: &mut Vec<Expr>) -> Resolution {
    let [index, values @ ..] = args.as_mut_slice() else {
        return Resolution::Mismatch;
    };
    if values.is_empty() || !int(index) || literal_integer(index).is_some_and(|i| i < 0) {
        return Resolution::Mismatch;
    }
    if !(values.iter_mut().all(string) || values.iter_mut().all(binary)) {
        return Resolution::Mismatch;
    }
    let types: Vec<DataType> = values.iter().map(|v| v.data_type().clone()).collect();
    crate::cast::common_type(&types)
        .map(|t| t.with_nullable(true))
        .into()
}

/// The text that a regular expression stands for, if it stands for one only.
fn literal_separator(pattern: &str) -> Option<String> {
    let mut text = String::with_capacity(pattern.len());
    let mut chars = pattern.chars();
    while let Some(c) = chars.next() {
        text.push(match c {
            '\\' => chars.next().filter(|c| !c.is_alphanumeric())?,
            c if "^$.|?*+()[]{}".contains(c) => return None,
            c => c,
        });
    }
    (!text.is_empty()).then_some(text)
}

fn map_type(args: &mut Vec<Expr>) -> Resolution {
    if matches!(args.len(), 1 | 3) && args.iter_mut().all(string) {
        // Flink takes the separators as regular expressions.
        let special = |arg: &Expr| literal_string(arg).is_none_or(|t| literal_separator(t).is_none());
        if args[1..].iter().any(special) {
            return Resolution::Refused(millrace_core::Error::unsupported(
                "a separator of STR_TO_MAP that is not a literal, or is a regular expression,",
            ));
        }
        let text = DataType::string();
        nullable(TypeKind::Map(Box::new(text.clone()), Box::new(text)))
    } else {
        Resolution::Mismatch
    }
}

fn test_type(args: &mut Vec<Expr>) -> Resolution {
    let [arg] = args.as_mut_slice() else {
        return Resolution::Mismatch;
    };
    if string(arg) || arg.data_type().is_numeric() {
        Resolution::Type(DataType::not_null(TypeKind::Boolean))
    } else {
        Resolution::Mismatch
    }
}

fn upper(text: &str, out: &mut Vec<u8>) {
    if text.is_ascii() {
        out.extend(text.bytes().map(|b| b.to_ascii_uppercase()));
    } else {
        out.extend_from_slice(text.to_uppercase().as_bytes());
    }
}

fn lower(text: &str, out: &mut Vec<u8>) {
    if text.is_ascii() {
        out.extend(text.bytes().map(|b| b.to_ascii_lowercase()));
    } else {
        out.extend_from_slice(text.to_lowercase().as_bytes());
    }
}

/// The first letter of every word upper case, the others lower; only ASCII letters and digits
/// make words.
fn initcap(text: &str, out: &mut Vec<u8>) {
    let mut inside = false;
    for c in text.chars() {
        let changed = if inside {
            c.to_ascii_lowercase()
        } else {
            c.to_ascii_uppercase()
        };
        inside = c.is_ascii_alphanumeric();
        out.extend_from_slice(changed.encode_utf8(&mut [0; 4]).as_bytes());
    }
}

fn char_length(call: &Call<'_>) -> Result<ArrayRef> {
    let input = call.args[0].strings();
    primitives::<a::Int32Type>(call.rows, |row| input.get(row).map(|text| length(text) as i32))
}

/// The first byte, as Java's signed byte; 0 of an empty string.
fn ascii(call: &Call<'_>) -> Result<ArrayRef> {
    let input = call.args[0].strings();
    primitives::<a::Int32Type>(call.rows, |row| {
        input
            .get(row)
            .map(|text| text.bytes().next().map_or(0, |b| i32::from(b as i8)))
    })
}

fn trimmed<'a>(text: &'a str, characters: &str, start: bool, end: bool) -> &'a str {
    let mut text = text;
    if start {
        text = text.trim_start_matches(|c| characters.contains(c));
    }
    if end {
        text = text.trim_end_matches(|c| characters.contains(c));
    }
    text
}

fn trim(call: &Call<'_>, text: usize) -> Result<ArrayRef> {
    let (modes, characters, texts) = (
        call.args[0].strings(),
        call.args[1].strings(),
        call.args[text].strings(),
    );
    strings(call.rows, |row, out| {
        let (Some(mode), Some(characters), Some(text)) =
            (modes.get(row), characters.get(row), texts.get(row))
        else {
            return false;
        };
        let (start, end) = (
            !mode.eq_ignore_ascii_case("TRAILING"),
            !mode.eq_ignore_ascii_case("LEADING"),
        );
        out.extend_from_slice(trimmed(text, characters, start, end).as_bytes());
        true
    })
}

fn side_trim(call: &Call<'_>, start: bool, end: bool) -> Result<ArrayRef> {
    let texts = call.args[0].strings();
    let characters = call.args.get(1).map(|v| v.strings());
    strings(call.rows, |row, out| {
        let characters = match &characters {
            Some(column) => column.get(row),
            None => Some(" "),
        };
        let (Some(text), Some(characters)) = (texts.get(row), characters) else {
            return false;
        };
        out.extend_from_slice(trimmed(text, characters, start, end).as_bytes());
        true
    })
}

/// Counts from the end where the start is negative; a start before the text gives nothing, and a
/// negative count gives NULL.
fn substring(call: &Call<'_>) -> Result<ArrayRef> {
    let (texts, starts) = (call.args[0].strings(), call.args[1].primitives::<a::Int32Type>());
    let counts = call.args.get(2).map(|v| v.primitives::<a::Int32Type>());
    strings(call.rows, |row, out| {
        let count = match &counts {
            Some(column) => column.get(row),
            None => Some(i32::MAX),
        };
        let (Some(text), Some(start), Some(count)) = (texts.get(row), starts.get(row), count) else {
            return false;
        };
        if count < 0 {
            return false;
        }
        let from = match start {
            1.. => start as usize - 1,
            0 => 0,
            _ => match length(text).checked_sub(start.unsigned_abs() as usize) {
                Some(from) => from,
                None => return true,
            },
        };
        let begin = byte_index(text, from);
        let rest = &text[begin..];
        out.extend_from_slice(&rest.as_bytes()[..byte_index(rest, count as usize)]);
        true
    })
}

fn slice(call: &Call<'_>, cut: impl Fn(&str, usize) -> &str) -> Result<ArrayRef> {
    let (texts, counts) = (call.args[0].strings(), call.args[1].primitives::<a::Int32Type>());
    strings(call.rows, |row, out| {
        let (Some(text), Some(count)) = (texts.get(row), counts.get(row)) else {
            return false;
        };
        if count > 0 {
            out.extend_from_slice(cut(text, count as usize).as_bytes());
        }
        true
    })
}

fn concat(call: &Call<'_>) -> Result<ArrayRef> {
    if call.data_type.is_binary() {
        let parts: Vec<_> = call.args.iter().map(|v| v.bytes()).collect();
        return super::support::byte_strings(call.rows, |row, out| {
            parts
                .iter()
                .all(|part| part.get(row).map(|bytes| out.extend_from_slice(bytes)).is_some())
        });
    }
    let parts: Vec<Column<_>> = call.args.iter().map(|v| v.strings()).collect();
    strings(call.rows, |row, out| {
        parts.iter().all(|part| {
            part.get(row)
                .map(|text| out.extend_from_slice(text.as_bytes()))
                .is_some()
        })
    })
}

/// Nulls among the parts are left out.
fn concat_ws(call: &Call<'_>) -> Result<ArrayRef> {
    let separators = call.args[0].strings();
    let parts: Vec<Column<_>> = call.args[1..].iter().map(|v| v.strings()).collect();
    strings(call.rows, |row, out| {
        let Some(separator) = separators.get(row) else {
            return false;
        };
        let mut first = true;
        for text in parts.iter().filter_map(|part| part.get(row)) {
            if !first {
                out.extend_from_slice(separator.as_bytes());
            }
            first = false;
            out.extend_from_slice(text.as_bytes());
        }
        true
    })
}

/// The position of the needle at or behind a start, 0 if it is not there.
fn find(text: &str, needle: &str, start: usize) -> i32 {
    let begin = byte_index(text, start - 1);
    match text[begin..].find(needle) {
        Some(at) => length(&text[..begin + at]) as i32 + 1,
        None => 0,
    }
}

fn locate(
    call: &Call<'_>,
    needle: usize,
    text: usize,
    start: impl Fn(usize) -> Option<i32>,
) -> Result<ArrayRef> {
    let (needles, texts) = (call.args[needle].strings(), call.args[text].strings());
    primitives::<a::Int32Type>(call.rows, |row| {
        let start = start(row)?.max(1) as usize;
        Some(find(texts.get(row)?, needles.get(row)?, start))
    })
}

fn locate_from(call: &Call<'_>) -> Result<ArrayRef> {
    match call.args.get(2) {
        Some(starts) => {
            let starts = starts.primitives::<a::Int32Type>();
            locate(call, 0, 1, |row| starts.get(row))
        }
        None => locate(call, 0, 1, |_| Some(1)),
    }
}

/// As LOCATE, for the n-th occurrence, overlapping ones too; a negative start searches backwards
/// from the end.
fn instr(call: &Call<'_>) -> Result<ArrayRef> {
    let (texts, needles) = (call.args[0].strings(), call.args[1].strings());
    let number = |index: usize| call.args.get(index).map(|v| v.primitives::<a::Int32Type>());
    let (starts, occurrences) = (number(2), number(3));
    try_primitives::<a::Int32Type>(call.rows, |row| {
        let start = starts.as_ref().map_or(Some(1), |c| c.get(row));
        let occurrence = occurrences.as_ref().map_or(Some(1), |c| c.get(row));
        let (Some(text), Some(needle), Some(start), Some(occurrence)) =
            (texts.get(row), needles.get(row), start, occurrence)
        else {
            return Ok(None);
        };
        if occurrence <= 0 {
            return Err(Error::user(format!(
                "INSTR finds the first, second, ... place: its fourth argument must be positive, not {occurrence}"
            )));
        }
        Ok(Some(nth(text, needle, start, occurrence)))
    })
}

fn nth(text: &str, needle: &str, start: i32, occurrence: i32) -> i32 {
    if start == 0 {
        return 0;
    }
    let starts: Vec<usize> = text.char_indices().map(|(at, _)| at).collect();
    let matches =
        |position: &usize| text[starts.get(*position).copied().unwrap_or(text.len())..].starts_with(needle);
    let found = if start > 0 {
        (start as usize - 1..=starts.len())
            .filter(matches)
            .nth(occurrence as usize - 1)
    } else {
        // The whole needle lies before the place that the search begins at.
        (starts.len() + 1)
            .checked_sub(start.unsigned_abs() as usize + needle.chars().count())
            .and_then(|last| (0..=last).rev().filter(matches).nth(occurrence as usize - 1))
    };
    found.map_or(0, |position| position as i32 + 1)
}

fn replace(call: &Call<'_>) -> Result<ArrayRef> {
    let (texts, searches, replacements) = (
        call.args[0].strings(),
        call.args[1].strings(),
        call.args[2].strings(),
    );
    strings(call.rows, |row, out| {
        let (Some(text), Some(search), Some(replacement)) =
            (texts.get(row), searches.get(row), replacements.get(row))
        else {
            return false;
        };
        let mut rest = 0;
        for (at, found) in text.match_indices(search) {
            out.extend_from_slice(&text.as_bytes()[rest..at]);
            out.extend_from_slice(replacement.as_bytes());
            rest = at + found.len();
        }
        out.extend_from_slice(&text.as_bytes()[rest..]);
        true
    })
}

/// Every character of `from` becomes the one at its place in `to`, or nothing.
fn translate(call: &Call<'_>) -> Result<ArrayRef> {
    let (texts, from, to) = (
        call.args[0].strings(),
        call.args[1].strings(),
        call.args[2].strings(),
    );
    strings(call.rows, |row, out| {
        let (Some(text), Some(from), Some(to)) = (texts.get(row), from.get(row), to.get(row)) else {
            return false;
        };
        for c in text.chars() {
            let replaced = match from.chars().position(|f| f == c) {
                Some(place) => to.chars().nth(place),
                None => Some(c),
            };
            if let Some(c) = replaced {
                out.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes());
            }
        }
        true
    })
}

/// NULL where the length is negative or the padding empty. The length counts UTF-16 units, as
/// Java's does: a character beyond the basic plane is two.
fn pad(call: &Call<'_>, left: bool) -> Result<ArrayRef> {
    let (texts, counts, paddings) = (
        call.args[0].strings(),
        call.args[1].primitives::<a::Int32Type>(),
        call.args[2].strings(),
    );
    strings(call.rows, |row, out| {
        let (Some(text), Some(count), Some(padding)) = (texts.get(row), counts.get(row), paddings.get(row))
        else {
            return false;
        };
        if count < 0 || padding.is_empty() {
            return false;
        }
        let units = |text: &str| {
            if text.is_ascii() {
                text.len()
            } else {
                text.encode_utf16().count()
            }
        };
        // As much of a text as fits into so many units.
        let write = |text: &mut dyn Iterator<Item = char>, mut room: usize, out: &mut Vec<u8>| {
            let mut buffer = [0; 4];
            for c in text {
                match room.checked_sub(c.len_utf16()) {
                    Some(left) if room > 0 => room = left,
                    _ => return,
                }
                out.extend_from_slice(c.encode_utf8(&mut buffer).as_bytes());
            }
        };
        let (count, size) = (count as usize, units(text));
        if count <= size {
            write(&mut text.chars(), count, out);
            return true;
        }
        let fill = |out: &mut Vec<u8>| write(&mut padding.chars().cycle(), count - size, out);
        if left {
            fill(out);
            out.extend_from_slice(text.as_bytes());
        } else {
            out.extend_from_slice(text.as_bytes());
            fill(out);
        }
        true
    })
}

fn repeat(call: &Call<'_>) -> Result<ArrayRef> {
    let (texts, counts) = (call.args[0].strings(), call.args[1].primitives::<a::Int32Type>());
    super::support::try_strings(call.rows, |row, out| {
        let (Some(text), Some(count)) = (texts.get(row), counts.get(row)) else {
            return Ok(false);
        };
        let count = count.max(0) as usize;
        if text.len().saturating_mul(count) > i32::MAX as usize {
            return Err(millrace_core::Error::user(
                "REPEAT would make a string of more than 2 GiB",
            ));
        }
        for _ in 0..count {
            out.extend_from_slice(text.as_bytes());
        }
        Ok(true)
    })
}

fn split(call: &Call<'_>) -> Result<ArrayRef> {
    let (texts, separators) = (call.args[0].strings(), call.args[1].strings());
    let mut builder = arrow::array::ListBuilder::new(arrow::array::StringBuilder::new());
    for row in 0..call.rows {
        match (texts.get(row), separators.get(row)) {
            (Some(text), Some("")) => {
                let mut buffer = [0; 4];
                for c in text.chars() {
                    builder.values().append_value(c.encode_utf8(&mut buffer));
                }
                builder.append(true);
            }
            (Some(text), Some(separator)) => {
                text.split(separator)
                    .for_each(|part| builder.values().append_value(part));
                builder.append(true);
            }
            _ => builder.append(false),
        }
    }
    Ok(std::sync::Arc::new(builder.finish()))
}

fn split_index<'a>(call: &'a Call<'_>) -> Result<ArrayRef> {
    let (texts, indexes) = (call.args[0].strings(), call.args[2].primitives::<a::Int32Type>());
    let separator: Box<dyn Fn(usize) -> Option<Cow<'a, str>> + 'a> = if call.arg_types[1].is_string() {
        let separators = call.args[1].strings();
        Box::new(move |row| separators.get(row).map(Cow::Borrowed))
    } else {
        // One of the first 255 characters.
        let codes = call.args[1].primitives::<a::Int32Type>();
        Box::new(move |row| {
            let code = u8::try_from(codes.get(row)?).ok().filter(|code| *code > 0)?;
            Some(Cow::Owned(char::from(code).to_string()))
        })
    };
    strings(call.rows, |row, out| {
        let (Some(text), Some(separator), Some(index)) = (texts.get(row), separator(row), indexes.get(row))
        else {
            return false;
        };
        if index < 0 || text.is_empty() {
            return false;
        }
        let part = if separator.is_empty() {
            (index == 0).then_some(text)
        } else {
            text.split(&*separator).nth(index as usize)
        };
        part.is_some_and(|part| {
            out.extend_from_slice(part.as_bytes());
            true
        })
    })
}

/// The character of the number's lowest 8 bits; nothing of a negative one.
fn chr(call: &Call<'_>) -> Result<ArrayRef> {
    let codes = call.args[0].primitives::<a::Int64Type>();
    strings(call.rows, |row, out| {
        let Some(code) = codes.get(row) else { return false };
        if code >= 0 {
            let c = char::from((code & 0xff) as u8);
            out.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes());
        }
        true
    })
}

fn overlay(call: &Call<'_>) -> Result<ArrayRef> {
    let (texts, parts, starts) = (
        call.args[0].strings(),
        call.args[1].strings(),
        call.args[2].primitives::<a::Int32Type>(),
    );
    let counts = call.args.get(3).map(|v| v.primitives::<a::Int32Type>());
    strings(call.rows, |row, out| {
        let (Some(text), Some(part), Some(start)) = (texts.get(row), parts.get(row), starts.get(row)) else {
            return false;
        };
        let count = match &counts {
            Some(column) => match column.get(row) {
                Some(count) => count,
                None => return false,
            },
            None => length(part) as i32,
        };
        let size = length(text);
        // Where the start is outside, nothing is replaced.
        if start <= 0 || start as usize > size {
            out.extend_from_slice(text.as_bytes());
            return true;
        }
        let begin = start as usize - 1;
        out.extend_from_slice(&text.as_bytes()[..byte_index(text, begin)]);
        out.extend_from_slice(part.as_bytes());
        if count > 0 && (begin + count as usize) < size {
            out.extend_from_slice(&text.as_bytes()[byte_index(text, begin + count as usize)..]);
        }
        true
    })
}

fn affix(call: &Call<'_>, holds: impl Fn(&[u8], &[u8]) -> bool) -> Result<ArrayRef> {
    if call.arg_types[0].is_binary() {
        let (texts, parts) = (call.args[0].bytes(), call.args[1].bytes());
        booleans(call.rows, |row| Some(holds(texts.get(row)?, parts.get(row)?)))
    } else {
        let (texts, parts) = (call.args[0].strings(), call.args[1].strings());
        booleans(call.rows, |row| {
            Some(holds(texts.get(row)?.as_bytes(), parts.get(row)?.as_bytes()))
        })
    }
}

fn elt(call: &Call<'_>) -> Result<ArrayRef> {
    let indexes = call.args[0].primitives::<a::Int32Type>();
    let mut builder = crate::value::BytesBuilder::new(call.rows, call.rows * 16);
    for row in 0..call.rows {
        let chosen = indexes
            .get(row)
            .filter(|i| *i > 0)
            .and_then(|i| call.args.get(i as usize));
        let value = chosen.filter(|v| !v.is_null(row)).map(|v| {
            if call.data_type.is_binary() {
                v.inner().as_binary::<i32>().value(v.index(row))
            } else {
                v.inner().as_string::<i32>().value(v.index(row)).as_bytes()
            }
        });
        builder.push_option(value);
    }
    if call.data_type.is_binary() {
        builder.bytes()
    } else {
        builder.strings()
    }
}

/// Pairs without a separator have a null value; the last of equal keys stays.
fn str_to_map(call: &Call<'_>) -> Result<ArrayRef> {
    let texts = call.args[0].strings();
    let separators = |index: usize| call.args.get(index).map(|v| v.strings());
    let (pairs, values) = (separators(1), separators(2));
    let mut builder = super::collection::map_builder();
    for row in 0..call.rows {
        let pair = pairs.as_ref().map_or(Some(","), |c| c.get(row));
        let value = values.as_ref().map_or(Some("="), |c| c.get(row));
        let (Some(text), Some(pair), Some(value)) = (texts.get(row), pair, value) else {
            builder.append(false).map_err(crate::value::arrow_error)?;
            continue;
        };
        let mut entries = indexmap::IndexMap::new();
        let split = |text: &'_ str| literal_separator(text).unwrap_or_default();
        let (pair, value) = (split(pair), split(value));
        // As Java splits: what is empty at the end is dropped.
        let mut parts: Vec<&str> = text.split(&pair).collect();
        while parts.last() == Some(&"") {
            parts.pop();
        }
        for entry in parts {
            match entry.split_once(&value) {
                Some((k, v)) => entries.insert(k, Some(v)),
                None => entries.insert(entry, None),
            };
        }
        for (k, v) in entries {
            builder.keys().append_value(k);
            builder.values().append_option(v);
        }
        builder.append(true).map_err(crate::value::arrow_error)?;
    }
    Ok(std::sync::Arc::new(builder.finish()))
}

/// Of a number only its type is looked at, as Flink does.
fn test(
    call: &Call<'_>,
    text: impl Fn(&str) -> bool,
    number: impl Fn(&DataType) -> bool,
) -> Result<ArrayRef> {
    let value = &call.args[0];
    if call.arg_types[0].is_string() {
        let texts = value.strings();
        return booleans(call.rows, |row| Some(texts.get(row).is_some_and(&text)));
    }
    let holds = number(&call.arg_types[0]);
    booleans(call.rows, |row| Some(holds && !value.is_null(row)))
}
