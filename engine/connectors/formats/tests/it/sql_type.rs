//! Columns as SQL writes them, as far as the golden files need it.

use millrace_expr::{DataType, Field, RowType, TypeKind};

/// Reads `a INT, b ROW<x STRING>`.
pub fn columns(text: &str) -> RowType {
    let mut parser = Parser(text);
    let fields = parser.fields();
    assert!(parser.0.is_empty(), "{text}: {} is left", parser.0);
    RowType::new(fields)
}

struct Parser<'a>(&'a str);

impl<'a> Parser<'a> {
    fn take(&mut self, token: &str) -> bool {
        let rest = self.0.trim_start();
        match rest.strip_prefix(token) {
            Some(rest) => {
                self.0 = rest;
                true
            }
            None => false,
        }
    }

    fn expect(&mut self, token: &str) {
        assert!(self.take(token), "{token} expected before {}", self.0);
    }

    fn word(&mut self) -> &'a str {
        let rest = self.0.trim_start();
        if let Some(quoted) = rest.strip_prefix('`') {
            let (name, rest) = quoted.split_once('`').unwrap();
            self.0 = rest;
            return name;
        }
        let end = rest
            .find(|c: char| !c.is_ascii_alphanumeric() && c != '_')
            .unwrap_or(rest.len());
        self.0 = &rest[end..];
        &rest[..end]
    }

    fn fields(&mut self) -> Vec<Field> {
        let mut fields = Vec::new();
        loop {
            let name = self.word();
            fields.push(Field::new(name, self.data_type()));
            if !self.take(",") {
                return fields;
            }
        }
    }

    /// `(3)`, `(10, 2)` or nothing.
    fn numbers(&mut self) -> Vec<u32> {
        let mut numbers = Vec::new();
        if self.take("(") {
            loop {
                numbers.push(self.word().parse().unwrap());
                if !self.take(",") {
                    break;
                }
            }
            self.expect(")");
        }
        numbers
    }

    fn data_type(&mut self) -> DataType {
        let data_type = self.nullable_type();
        let not_null = self.take("NOT NULL");
        data_type.with_nullable(!not_null)
    }

    fn nullable_type(&mut self) -> DataType {
        let name = self.word();
        let numbers = self.numbers();
        let precision = |default: u8| numbers.first().map_or(default, |p| *p as u8);
        DataType::nullable(match name {
            "BOOLEAN" => TypeKind::Boolean,
            "TINYINT" => TypeKind::TinyInt,
            "SMALLINT" => TypeKind::SmallInt,
            "INT" => TypeKind::Int,
            "BIGINT" => TypeKind::BigInt,
            "FLOAT" => TypeKind::Float,
            "DOUBLE" => TypeKind::Double,
            "STRING" => return DataType::string(),
            "BYTES" => return DataType::bytes(),
            "CHAR" => TypeKind::Char(numbers[0]),
            "VARCHAR" => TypeKind::Varchar(numbers[0]),
            "BINARY" => TypeKind::Binary(numbers[0]),
            "VARBINARY" => TypeKind::Varbinary(numbers[0]),
            "DATE" => TypeKind::Date,
            "TIME" => TypeKind::Time(precision(0)),
            "TIMESTAMP" => TypeKind::Timestamp(precision(6)),
            "TIMESTAMP_LTZ" => TypeKind::TimestampLtz(precision(6)),
            "DECIMAL" => TypeKind::Decimal {
                precision: numbers[0] as u8,
                scale: numbers[1] as u8,
            },
            "INTERVAL" => {
                let year = self.word() == "YEAR";
                self.expect("TO");
                self.word();
                self.numbers();
                if year {
                    TypeKind::IntervalYearMonth
                } else {
                    TypeKind::IntervalDaySecond
                }
            }
            "ARRAY" => TypeKind::Array(Box::new(self.argument())),
            "MULTISET" => TypeKind::Multiset(Box::new(self.argument())),
            "MAP" => {
                self.expect("<");
                let key = self.data_type();
                self.expect(",");
                let value = self.data_type();
                self.expect(">");
                TypeKind::Map(Box::new(key), Box::new(value))
            }
            "ROW" => {
                self.expect("<");
                let fields = self.fields();
                self.expect(">");
                TypeKind::Row(fields)
            }
            other => panic!("unknown type {other}"),
        })
    }

    fn argument(&mut self) -> DataType {
        self.expect("<");
        let argument = self.data_type();
        self.expect(">");
        argument
    }
}
