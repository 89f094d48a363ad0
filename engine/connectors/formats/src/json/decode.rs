//! Records to columns in one pass, as Flink's `JsonParserRowDataDeserializationSchema` reads them.

use arrow::array::ArrayRef;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use millrace_connector_api::format::{DecodeError, Decoded, Decoder, Payloads};
use millrace_core::Error;
use millrace_expr::{DataType, RowType, TypeKind};

use super::compact;
use super::cursor::{Cursor, Number, Raw};
use super::fault::Fault;
use super::keys::Keys;
use super::order::Order;
use crate::column::{Column, RowColumns, Values};
use crate::number::{self, DecimalText};
use crate::time::{self, Standard};

type Result<T, E = Fault> = std::result::Result<T, E>;

/// Ranges within which a number with a fraction is cut to an INT or a BIGINT.
const INT: (f64, f64) = (i32::MIN as f64, i32::MAX as f64);
const LONG: (f64, f64) = (i64::MIN as f64, i64::MAX as f64);

#[derive(Debug, Clone, Copy)]
pub struct Settings {
    pub fail_on_missing_field: bool,
    pub ignore_parse_errors: bool,
    pub timestamps: Standard,
    /// A record is read as Flink reads trees (`JsonToRowDataConverters`), not token by token: of a
    /// repeated key the last value counts, and numbers lose their spelling where they become texts.
    pub as_tree: bool,
}

pub struct JsonDecoder {
    row: RowColumns,
    reader: Reader,
}

impl JsonDecoder {
    pub fn new(fields: &RowType, settings: Settings) -> Self {
        let reader = Reader::new(fields, settings);
        JsonDecoder {
            row: RowColumns::new(&fields.fields),
            reader,
        }
    }
}

fn has_decimal(data_type: &DataType) -> bool {
    match &data_type.kind {
        TypeKind::Decimal { .. } => true,
        TypeKind::Array(element) | TypeKind::Multiset(element) => has_decimal(element),
        TypeKind::Map(key, value) => has_decimal(key) || has_decimal(value),
        TypeKind::Row(fields) => fields.iter().any(|f| has_decimal(&f.data_type)),
        _ => false,
    }
}

impl Decoder for JsonDecoder {
    fn decode(&mut self, payloads: &Payloads) -> Result<Decoded, DecodeError> {
        let count = payloads.len();
        self.row.fields.iter_mut().for_each(|c| c.reserve(count));
        // One check for all; with a fault somewhere each record is checked by itself.
        let all_utf8 = std::str::from_utf8(&payloads.data).is_ok();
        let mut skipped = 0;
        let mut sources: Option<Vec<u32>> = None;
        for payload in 0..count {
            let range = payloads.range(payload);
            let before = self.row.rows;
            // A null payload and one without a byte give no row, which is no error.
            let read = if range.is_empty() {
                Ok(())
            } else {
                self.reader.record(&mut self.row, payloads, range, all_utf8)
            };
            match read {
                Ok(()) => {}
                // As with Flink, rows of an array that came before the fault stay.
                Err(_) if self.reader.settings.ignore_parse_errors => {
                    let rows = self.row.rows;
                    self.row.fields.iter_mut().for_each(|c| c.truncate(rows));
                    skipped += 1;
                }
                Err(fault) => {
                    self.row.rows = 0;
                    self.row.fields.iter_mut().for_each(|c| c.truncate(0));
                    return Err(DecodeError {
                        payload,
                        error: refused("json", &fault, &payloads.data[payloads.range(payload)]),
                    });
                }
            }
            let given = self.row.rows - before;
            if given != 1 || sources.is_some() {
                sources
                    .get_or_insert_with(|| (0..before as u32).collect())
                    .extend(std::iter::repeat_n(payload as u32, given));
            }
        }
        let rows = std::mem::take(&mut self.row.rows);
        let columns: Vec<ArrayRef> = self
            .row
            .fields
            .iter_mut()
            .map(Column::finish)
            .collect::<Result<_, Error>>()
            .map_err(|error| DecodeError { payload: 0, error })?;
        Ok(Decoded {
            columns,
            rows,
            kinds: None,
            row_sources: sources,
            skipped,
        })
    }
}

#[cold]
pub(super) fn refused(format: &str, fault: &Fault, record: &[u8]) -> Error {
    const SHOWN: usize = 256;
    let text = String::from_utf8_lossy(&record[..record.len().min(SHOWN)]).into_owned();
    let more = if record.len() > SHOWN { "..." } else { "" };
    let what = if fault.is_malformed() {
        "a record is not valid JSON"
    } else {
        "a JSON record does not fit the table"
    };
    let hint = match fault.is_missing() {
        true => format!("'{format}.fail-on-missing-field' = 'false' makes such fields NULL"),
        false => {
            format!("'{format}.ignore-parse-errors' = 'true' makes such fields NULL and skips such records")
        }
    };
    Error::user(what)
        .with_detail(format!("{fault}\nrecord: {text}{more}"))
        .with_hint(hint)
}

pub(super) struct Reader {
    pub settings: Settings,
    /// Whether the table has a DECIMAL: then numbers within texts are decimals too.
    decimals: bool,
    scratch: Vec<u8>,
}

/// Whether a record is UTF-8, known of many at once: one check for all of a buffer, and none for a
/// record within a valid whole that neither begins nor ends in the middle of a character.
pub(super) fn check_utf8(data: &[u8], range: std::ops::Range<usize>, all_utf8: bool) -> Result<()> {
    let within = |at: usize| data.get(at).is_some_and(|b| b & 0xc0 == 0x80);
    if all_utf8 && !within(range.start) && !within(range.end) {
        return Ok(());
    }
    match std::str::from_utf8(&data[range.clone()]) {
        Ok(_) => Ok(()),
        Err(_) => Err(invalid_utf8(&data[range])),
    }
}

impl Reader {
    pub fn new(fields: &RowType, settings: Settings) -> Self {
        Reader {
            settings,
            decimals: fields.fields.iter().any(|f| has_decimal(&f.data_type)),
            scratch: Vec::new(),
        }
    }

    #[inline]
    fn record(
        &mut self,
        row: &mut RowColumns,
        payloads: &Payloads,
        range: std::ops::Range<usize>,
        all_utf8: bool,
    ) -> Result<()> {
        let first = payloads.data[range.start];
        check_utf8(&payloads.data, range.clone(), all_utf8)?;
        let mut cursor = Cursor::new(&payloads.data, range.start, range.end);
        if first != b'{' {
            cursor.skip_byte_order_mark();
            cursor.skip_space();
            match cursor.peek() {
                b'{' => {}
                b'[' => return self.elements(row, &mut cursor),
                _ => return Err(cursor.unexpected("an object or an array of objects")),
            }
        }
        self.object(row, &mut cursor)
    }

    /// Reads an array of objects, each into a row; its opening bracket is at hand. What comes behind
    /// the array is not looked at, as with an object.
    fn elements(&mut self, row: &mut RowColumns, cursor: &mut Cursor<'_>) -> Result<()> {
        cursor.at += 1;
        cursor.skip_space();
        if cursor.peek() == b']' {
            return Ok(());
        }
        loop {
            if cursor.peek() != b'{' {
                return Err(cursor.unexpected("an object"));
            }
            self.object(row, cursor)?;
            cursor.skip_space();
            match cursor.peek() {
                b',' => cursor.at += 1,
                b']' => return Ok(()),
                _ => return Err(cursor.unexpected("',' or ']'")),
            }
            cursor.skip_space();
        }
    }

    /// Reads an object into the next row; its opening bracket is at hand.
    ///
    /// Of a repeated key the last value counts, but once as many values were read as there are
    /// columns the rest is only passed over: Flink's parser counts so.
    pub fn object(&mut self, row: &mut RowColumns, cursor: &mut Cursor<'_>) -> Result<()> {
        let index = row.rows;
        let (mut set, mut read) = (0, 0);
        let mut nth = 0;
        let mut between = cursor.at;
        loop {
            let (text, at) = cursor.rest();
            let found = match row.order.predict(nth, text, at) {
                Some((found, value)) => {
                    cursor.at = value;
                    found
                }
                None => {
                    if cursor.peek() == b'}' && nth > 0 {
                        cursor.at += 1;
                        break;
                    }
                    match self.key(&mut row.order, cursor, nth, between)? {
                        Some(found) => found,
                        None => break,
                    }
                }
            };
            match found {
                Some(field) if read < row.fields.len() || self.settings.as_tree => {
                    let field = field as usize;
                    let column = &mut row.fields[field];
                    if column.len() > index {
                        column.truncate(index);
                        set -= 1;
                    }
                    if let Err(fault) = self.value(column, cursor) {
                        return Err(fault.within(&row.names[field]));
                    }
                    set += 1;
                    read += 1;
                }
                _ => cursor.skip_value()?,
            }
            nth += 1;
            between = cursor.at;
        }
        if set < row.fields.len() {
            self.fill_missing(row, index, cursor)?;
        }
        row.rows += 1;
        Ok(())
    }

    /// Reads what is between two values and the next key; `None` at the object's end.
    #[cold]
    pub fn key(
        &mut self,
        order: &mut Order,
        cursor: &mut Cursor<'_>,
        nth: usize,
        between: usize,
    ) -> Result<Option<Option<u32>>> {
        if nth == 0 {
            cursor.at += 1;
            cursor.skip_space();
            if cursor.peek() == b'}' {
                cursor.at += 1;
                return Ok(None);
            }
        } else {
            cursor.skip_space();
            match cursor.peek() {
                b',' => cursor.at += 1,
                b'}' => {
                    cursor.at += 1;
                    return Ok(None);
                }
                _ => return Err(cursor.unexpected("',' or '}'")),
            }
            cursor.skip_space();
        }
        if cursor.peek() != b'"' {
            return Err(cursor.unexpected("a key in quotes"));
        }
        let raw = cursor.string()?;
        let found = if raw.escaped {
            self.scratch.clear();
            cursor.unescape(raw, &mut self.scratch)?;
            order.lookup(&self.scratch)
        } else {
            order.lookup(raw.bytes)
        };
        cursor.colon()?;
        cursor.skip_space();
        order.learn(nth, cursor.slice(between, cursor.at), found);
        Ok(Some(found))
    }

    #[cold]
    fn fill_missing(&mut self, row: &mut RowColumns, index: usize, cursor: &Cursor<'_>) -> Result<()> {
        for (column, name) in row.fields.iter_mut().zip(&row.names) {
            if column.len() > index {
                continue;
            }
            if self.settings.fail_on_missing_field {
                return Err(Fault::missing(cursor.position()).within(name));
            }
            if !column.data_type.nullable {
                return Err(Fault::value(
                    cursor.position(),
                    "the field is missing and its column is NOT NULL",
                )
                .within(name));
            }
            column.push_null();
        }
        Ok(())
    }

    /// Reads one value; with ignore-parse-errors one that does not fit becomes NULL.
    #[inline]
    pub fn value(&mut self, column: &mut Column, cursor: &mut Cursor<'_>) -> Result<()> {
        let begin = cursor.at;
        // The three commonest kinds, in the commonest form.
        match &mut column.values {
            Values::BigInt(values) => {
                if let Some(v) = cursor.small_integer() {
                    values.push(v);
                    return Ok(());
                }
            }
            Values::Text(values) if cursor.peek() == b'"' => {
                let raw = cursor.string()?;
                if !raw.escaped {
                    values.push(raw.bytes);
                    return Ok(());
                }
                cursor.at = begin;
            }
            Values::Int(values) => {
                if let Some(v) = cursor.small_integer() {
                    if let Ok(v) = i32::try_from(v) {
                        values.push(v);
                        return Ok(());
                    }
                    cursor.at = begin;
                }
            }
            _ => {}
        }
        self.any_value(column, cursor, begin)
    }

    fn any_value(&mut self, column: &mut Column, cursor: &mut Cursor<'_>, begin: usize) -> Result<()> {
        cursor.skip_space();
        if cursor.peek() == b'n' {
            cursor.word("null")?;
            return self.null(column, cursor, begin);
        }
        let rows = column.len();
        match self.not_null(column, cursor) {
            Ok(()) => Ok(()),
            Err(fault)
                if self.settings.ignore_parse_errors
                    && !fault.is_malformed()
                    && column.data_type.nullable =>
            {
                column.truncate(rows);
                cursor.at = begin;
                cursor.skip_value()?;
                column.push_null();
                Ok(())
            }
            Err(fault) => Err(fault),
        }
    }

    fn null(&self, column: &mut Column, cursor: &Cursor<'_>, begin: usize) -> Result<()> {
        if !column.data_type.nullable {
            return Err(cursor.wrong_value(begin, &format!("a value of type {}", column.data_type)));
        }
        column.push_null();
        Ok(())
    }

    fn not_null(&mut self, column: &mut Column, cursor: &mut Cursor<'_>) -> Result<()> {
        let begin = cursor.at;
        let data_type = &column.data_type;
        let wrong = |cursor: &Cursor<'_>| cursor.wrong_value(begin, &format!("of type {}", data_type.kind));
        match &mut column.values {
            Values::Null(n) => {
                cursor.skip_value()?;
                *n += 1;
            }
            Values::Boolean(values) => values.push(match cursor.peek() {
                b't' => {
                    cursor.word("true")?;
                    true
                }
                b'f' => {
                    cursor.word("false")?;
                    false
                }
                // As Java's parseBoolean: whatever is not "true" is false.
                _ => match self.scalar(cursor)? {
                    Some(text) => number::trim(text.bytes()).eq_ignore_ascii_case(b"true"),
                    None => return Err(wrong(cursor)),
                },
            }),
            Values::TinyInt(values) => {
                let value = self.integer(cursor, None)?.and_then(|v| i8::try_from(v).ok());
                values.push(value.ok_or_else(|| wrong(cursor))?);
            }
            Values::SmallInt(values) => {
                let value = self.integer(cursor, None)?.and_then(|v| i16::try_from(v).ok());
                values.push(value.ok_or_else(|| wrong(cursor))?);
            }
            Values::Int(values) | Values::Months(values) => {
                let value = self
                    .integer(cursor, Some(INT))?
                    .and_then(|v| i32::try_from(v).ok());
                values.push(value.ok_or_else(|| wrong(cursor))?);
            }
            Values::BigInt(values) | Values::Millis(values) => {
                let value = self.integer(cursor, Some(LONG))?;
                values.push(value.ok_or_else(|| wrong(cursor))?);
            }
            Values::Float(values) if self.settings.as_tree && !self.decimals => {
                // A tree holds a number with a fraction as a double.
                let value = match self.scalar(cursor)? {
                    Some(Scalar::Number(n)) if !n.whole => number::parse_double(n.text).map(|v| v as f32),
                    text => text.and_then(|t| number::parse_float(t.bytes())),
                };
                values.push(value.ok_or_else(|| wrong(cursor))?);
            }
            Values::Float(values) => {
                let value = self.scalar(cursor)?.and_then(|t| number::parse_float(t.bytes()));
                values.push(value.ok_or_else(|| wrong(cursor))?);
            }
            Values::Double(values) => {
                let value = self.scalar(cursor)?.and_then(|t| number::parse_double(t.bytes()));
                values.push(value.ok_or_else(|| wrong(cursor))?);
            }
            Values::Decimal(decimals) => {
                let (precision, scale) = (decimals.precision, decimals.scale);
                let parsed = self
                    .scalar(cursor)?
                    .map(|t| number::parse_decimal(number::trim(t.bytes()), precision, scale));
                match parsed {
                    Some(DecimalText::Value(v)) => decimals.values.push(v),
                    // Flink reads a decimal that is too large for its type as NULL.
                    Some(DecimalText::TooLarge) if data_type.nullable => column.push_null(),
                    _ => return Err(wrong(cursor)),
                }
            }
            Values::Text(values) => match cursor.peek() {
                b'"' => {
                    let raw = cursor.string()?;
                    cursor.unescape(raw, &mut values.data)?;
                    values.close();
                }
                b'-' | b'0'..=b'9' if self.settings.as_tree => {
                    compact::write(cursor, &mut values.data, self.decimals)?;
                    values.close();
                }
                b'{' | b'[' => {
                    compact::write(cursor, &mut values.data, self.decimals)?;
                    values.close();
                }
                _ => match self.scalar(cursor)? {
                    Some(text) => values.push(text.bytes()),
                    None => return Err(wrong(cursor)),
                },
            },
            Values::Bytes(values) => {
                if cursor.peek() != b'"' {
                    return Err(wrong(cursor));
                }
                let raw = cursor.string()?;
                let text = self.text(cursor, raw)?;
                STANDARD
                    .decode_vec(text, &mut values.data)
                    .map_err(|_| wrong(cursor))?;
                values.close();
            }
            Values::Date(values) => {
                let value = self.scalar(cursor)?.and_then(|t| time::parse_date(t.bytes()));
                values.push(value.ok_or_else(|| wrong(cursor))?);
            }
            Values::Time(values) => {
                let value = self.scalar(cursor)?.and_then(|t| time::parse_time(t.bytes()));
                // Flink's JSON has no fractions of a second in a TIME.
                values.push(
                    value
                        .map(|millis| millis - millis % 1000)
                        .ok_or_else(|| wrong(cursor))?,
                );
            }
            Values::Timestamp(stamps) => {
                let (unit, zoned, standard) = (stamps.unit, stamps.zoned, self.settings.timestamps);
                let value = self
                    .scalar(cursor)?
                    .and_then(|t| time::parse_timestamp(t.bytes(), standard, zoned, unit));
                stamps.values.push(value.ok_or_else(|| wrong(cursor))?);
            }
            Values::Array { offsets, item } => {
                if cursor.peek() != b'[' {
                    return Err(wrong(cursor));
                }
                cursor.at += 1;
                cursor.skip_space();
                if cursor.peek() == b']' {
                    cursor.at += 1;
                } else {
                    loop {
                        cursor.skip_space();
                        self.value(item, cursor)?;
                        cursor.skip_space();
                        match cursor.peek() {
                            b',' => cursor.at += 1,
                            b']' => {
                                cursor.at += 1;
                                break;
                            }
                            _ => return Err(cursor.unexpected("',' or ']'")),
                        }
                    }
                }
                offsets.push(item.len() as i32);
            }
            // Of a tree's node that is no object the map has no entries.
            Values::Map { offsets, key, .. } if self.settings.as_tree && cursor.peek() != b'{' => {
                cursor.skip_value()?;
                offsets.push(key.len() as i32);
            }
            Values::Map { offsets, key, value } => {
                if cursor.peek() != b'{' {
                    return Err(wrong(cursor));
                }
                let first = key.len();
                self.map(key, value, first, cursor)?;
                offsets.push(key.len() as i32);
            }
            Values::Row(row) => {
                if cursor.peek() != b'{' {
                    return Err(wrong(cursor));
                }
                self.object(row, cursor)?;
            }
        }
        Ok(())
    }

    /// Reads an object into entries of a map, of a repeated key only the last.
    fn map(
        &mut self,
        keys: &mut Column,
        values: &mut Column,
        first: usize,
        cursor: &mut Cursor<'_>,
    ) -> Result<()> {
        cursor.at += 1;
        cursor.skip_space();
        if cursor.peek() == b'}' {
            cursor.at += 1;
            return Ok(());
        }
        // Where the values of this map begin in the text, to read them again without a repeated key.
        let mut names = Keys::default();
        let mut begins: Vec<usize> = Vec::new();
        let mut repeated = false;
        loop {
            cursor.skip_space();
            if cursor.peek() != b'"' {
                return Err(cursor.unexpected("a key in quotes"));
            }
            let raw = cursor.string()?;
            let mut name = Vec::new();
            cursor.unescape(raw, &mut name)?;
            cursor.colon()?;
            cursor.skip_space();
            match names.find_or_add(name) {
                Some(entry) => {
                    begins[entry] = cursor.at;
                    repeated = true;
                    cursor.skip_value()?;
                }
                None => {
                    begins.push(cursor.at);
                    let Values::Text(text) = &mut keys.values else {
                        return Err(Fault::value(cursor.position(), "a map's keys are not strings"));
                    };
                    text.push(names.last());
                    self.value(values, cursor)?;
                }
            }
            cursor.skip_space();
            match cursor.peek() {
                b',' => cursor.at += 1,
                b'}' => {
                    cursor.at += 1;
                    break;
                }
                _ => return Err(cursor.unexpected("',' or '}'")),
            }
        }
        if repeated {
            let end = cursor.at;
            values.truncate(first);
            for at in begins {
                cursor.at = at;
                self.value(values, cursor)?;
            }
            cursor.at = end;
        }
        Ok(())
    }

    /// A whole number. With `fractions` a number with a fraction that lies between these two is cut
    /// to a whole one, as Jackson does where Flink asks it for an int or a long. `None` for what is
    /// none or does not fit.
    fn integer(&mut self, cursor: &mut Cursor<'_>, fractions: Option<(f64, f64)>) -> Result<Option<i64>> {
        match cursor.peek() {
            b'-' | b'0'..=b'9' => {
                let number = cursor.number()?;
                if number.whole {
                    return Ok(number::parse_long(number.text));
                }
                let Some((min, max)) = fractions else {
                    return Ok(None);
                };
                let value = lexical_core::parse::<f64>(number.text).ok();
                Ok(value.filter(|v| (min..=max).contains(v)).map(|v| v as i64))
            }
            _ => Ok(self.scalar(cursor)?.and_then(|t| number::parse_long(t.bytes()))),
        }
    }

    /// The text of a string, a number or a word, as Jackson's `getText` gives it; `None`, with
    /// nothing read, for an object or an array.
    #[inline]
    pub fn scalar<'s, 't: 's>(&'s mut self, cursor: &mut Cursor<'t>) -> Result<Option<Scalar<'s>>> {
        Ok(Some(match cursor.peek() {
            b'"' => {
                let raw = cursor.string()?;
                Scalar::String(self.text(cursor, raw)?)
            }
            b'-' | b'0'..=b'9' => Scalar::Number(cursor.number()?),
            b't' => {
                cursor.word("true")?;
                Scalar::String(b"true")
            }
            b'f' => {
                cursor.word("false")?;
                Scalar::String(b"false")
            }
            b'{' | b'[' => return Ok(None),
            _ => return Err(cursor.unexpected("a value")),
        }))
    }

    #[inline]
    fn text<'s, 't: 's>(&'s mut self, cursor: &Cursor<'_>, raw: Raw<'t>) -> Result<&'s [u8]> {
        if !raw.escaped {
            return Ok(raw.bytes);
        }
        self.scratch.clear();
        cursor.unescape(raw, &mut self.scratch)?;
        Ok(&self.scratch)
    }
}

pub(super) enum Scalar<'a> {
    String(&'a [u8]),
    Number(Number<'a>),
}

impl<'a> Scalar<'a> {
    pub fn bytes(&self) -> &'a [u8] {
        match self {
            Scalar::String(text) => text,
            Scalar::Number(number) => number.text,
        }
    }
}

#[cold]
fn invalid_utf8(record: &[u8]) -> Fault {
    let at = std::str::from_utf8(record).err().map_or(0, |e| e.valid_up_to());
    Fault::malformed(at, "invalid UTF-8")
}
