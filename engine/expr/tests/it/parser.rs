//! Reads SQL expressions for the tests of this crate, which must not depend on the SQL crate.
//! It knows what the golden file needs and nothing else.

use millrace_core::{Error, Result};
use millrace_expr::text::{date, decimal, time, timestamp};
use millrace_expr::types::MAX_LENGTH;
use millrace_expr::{DataType, Expr, Field, Scalar, TypeKind, cast, function};

#[derive(Debug, Clone, PartialEq)]
enum Token {
    Word(String),
    Text(String),
    Number(String),
    Symbol(String),
}

pub struct Parser {
    tokens: Vec<Token>,
    at: usize,
}

pub fn parse(sql: &str) -> Result<Expr> {
    let mut parser = Parser {
        tokens: tokens(sql),
        at: 0,
    };
    let expr = parser.expression(0)?;
    if parser.at < parser.tokens.len() {
        return Err(parser.fail("the end"));
    }
    Ok(expr)
}

fn tokens(sql: &str) -> Vec<Token> {
    let chars: Vec<char> = sql.chars().collect();
    let mut tokens = Vec::new();
    let mut i = 0;
    while i < chars.len() {
        let start = i;
        let c = chars[i];
        if c.is_whitespace() {
            i += 1;
        } else if c == '\'' {
            let mut text = String::new();
            i += 1;
            loop {
                match (chars[i], chars.get(i + 1)) {
                    ('\'', Some('\'')) => {
                        text.push('\'');
                        i += 2;
                    }
                    ('\'', _) => break,
                    (c, _) => {
                        text.push(c);
                        i += 1;
                    }
                }
            }
            i += 1;
            tokens.push(Token::Text(text));
        } else if c.is_ascii_digit() || (c == '.' && chars.get(i + 1).is_some_and(char::is_ascii_digit)) {
            while i < chars.len() && (chars[i].is_ascii_digit() || chars[i] == '.') {
                i += 1;
            }
            if i < chars.len() && matches!(chars[i], 'e' | 'E') {
                i += 1;
                while i < chars.len() && (chars[i].is_ascii_digit() || chars[i] == '-') {
                    i += 1;
                }
            }
            tokens.push(Token::Number(chars[start..i].iter().collect()));
        } else if c.is_alphanumeric() || c == '_' || c == '$' {
            while i < chars.len() && (chars[i].is_alphanumeric() || chars[i] == '_' || chars[i] == '$') {
                i += 1;
            }
            tokens.push(Token::Word(chars[start..i].iter().collect()));
        } else {
            let two: String = chars[i..(i + 2).min(chars.len())].iter().collect();
            let symbol = if ["||", "<>", "<=", ">="].contains(&two.as_str()) {
                two
            } else {
                c.to_string()
            };
            i += symbol.len();
            tokens.push(Token::Symbol(symbol));
        }
    }
    tokens
}

fn string(text: &str) -> Expr {
    let length = (text.chars().count() as u32).max(1);
    Expr::literal(
        Scalar::String(text.to_owned()),
        DataType::not_null(TypeKind::Char(length)),
    )
}

fn null() -> Expr {
    Expr::literal(Scalar::Null, DataType::nullable(TypeKind::Null))
}

impl Parser {
    fn fail(&self, wanted: &str) -> Error {
        Error::user(format!(
            "parser: expected {wanted} at {:?}",
            &self.tokens[self.at.min(self.tokens.len())..]
        ))
    }

    fn peek(&self) -> Option<&Token> {
        self.tokens.get(self.at)
    }

    fn is_word(&self, word: &str) -> bool {
        matches!(self.peek(), Some(Token::Word(w)) if w.eq_ignore_ascii_case(word))
    }

    fn word(&mut self, word: &str) -> bool {
        let found = self.is_word(word);
        self.at += usize::from(found);
        found
    }

    fn symbol(&mut self, symbol: &str) -> bool {
        let found = matches!(self.peek(), Some(Token::Symbol(s)) if s == symbol);
        self.at += usize::from(found);
        found
    }

    fn expect(&mut self, symbol: &str) -> Result<()> {
        if self.symbol(symbol) {
            Ok(())
        } else {
            Err(self.fail(symbol))
        }
    }

    fn expect_word(&mut self, word: &str) -> Result<()> {
        if self.word(word) {
            Ok(())
        } else {
            Err(self.fail(word))
        }
    }

    fn any_word(&mut self) -> Result<String> {
        match self.peek() {
            Some(Token::Word(word)) => {
                let word = word.clone();
                self.at += 1;
                Ok(word)
            }
            _ => Err(self.fail("a word")),
        }
    }

    fn text(&mut self) -> Result<String> {
        match self.peek() {
            Some(Token::Text(text)) => {
                let text = text.clone();
                self.at += 1;
                Ok(text)
            }
            _ => Err(self.fail("a text")),
        }
    }

    fn expression(&mut self, least: u8) -> Result<Expr> {
        let mut left = if least <= 3 && self.word("NOT") {
            function::call("NOT", vec![self.expression(3)?])?
        } else {
            self.primary()?
        };
        loop {
            let binary = match self.peek() {
                Some(Token::Word(word)) => match word.to_ascii_uppercase().as_str() {
                    "OR" => Some(("OR".to_owned(), 1)),
                    "AND" => Some(("AND".to_owned(), 2)),
                    _ => None,
                },
                Some(Token::Symbol(symbol)) => match symbol.as_str() {
                    "=" | "<>" | "<" | ">" | "<=" | ">=" => Some((symbol.clone(), 4)),
                    "+" | "-" | "||" => Some((symbol.clone(), 6)),
                    "*" | "/" | "%" => Some((symbol.clone(), 7)),
                    "[" if least <= 9 => {
                        self.at += 1;
                        let index = self.expression(0)?;
                        self.expect("]")?;
                        left = function::call("ITEM", vec![left, index])?;
                        continue;
                    }
                    _ => None,
                },
                _ => None,
            };
            if let Some((operator, strength)) = binary {
                if strength < least {
                    return Ok(left);
                }
                self.at += 1;
                let right = self.expression(strength + 1)?;
                left = function::call(&operator, vec![left, right])?;
                continue;
            }
            if least > 4 {
                return Ok(left);
            }
            let start = self.at;
            let not = if self.word("NOT") { "NOT " } else { "" };
            if self.word("IS") {
                let not = if self.word("NOT") { "NOT " } else { "" };
                if self.word("DISTINCT") {
                    self.expect_word("FROM")?;
                    let right = self.expression(5)?;
                    left = function::call(&format!("IS {not}DISTINCT FROM"), vec![left, right])?;
                } else {
                    let what = self.any_word()?;
                    left = function::call(&format!("IS {not}{what}"), vec![left])?;
                }
            } else if self.word("LIKE") {
                let mut args = vec![left, self.expression(5)?];
                if self.word("ESCAPE") {
                    args.push(self.expression(5)?);
                }
                left = function::call(&format!("{not}LIKE"), args)?;
            } else if self.word("SIMILAR") {
                self.expect_word("TO")?;
                left = function::call(&format!("{not}SIMILAR TO"), vec![left, self.expression(5)?])?;
            } else if self.word("BETWEEN") {
                let from = self.expression(5)?;
                self.expect_word("AND")?;
                left = function::call(&format!("{not}BETWEEN"), vec![left, from, self.expression(5)?])?;
            } else if self.word("IN") {
                let mut args = vec![left];
                self.expect("(")?;
                args.extend(self.list(")")?);
                left = function::call(&format!("{not}IN"), args)?;
            } else {
                self.at = start;
                return Ok(left);
            }
        }
    }

    fn list(&mut self, end: &str) -> Result<Vec<Expr>> {
        let mut items = Vec::new();
        if self.symbol(end) {
            return Ok(items);
        }
        loop {
            items.push(self.expression(0)?);
            if self.symbol(end) {
                return Ok(items);
            }
            self.expect(",")?;
        }
    }

    fn primary(&mut self) -> Result<Expr> {
        let Some(token) = self.peek().cloned() else {
            return Err(self.fail("an expression"));
        };
        self.at += 1;
        match token {
            Token::Number(text) => number(&text),
            Token::Text(text) => Ok(string(&text)),
            Token::Symbol(s) if s == "(" => {
                let expr = self.expression(0)?;
                self.expect(")")?;
                Ok(expr)
            }
            Token::Symbol(s) if s == "-" => {
                if let Some(Token::Number(text)) = self.peek().cloned() {
                    self.at += 1;
                    return number(&format!("-{text}"));
                }
                function::call("UNARY -", vec![self.expression(8)?])
            }
            Token::Word(word) => self.after_word(&word.to_ascii_uppercase()),
            _ => {
                self.at -= 1;
                Err(self.fail("an expression"))
            }
        }
    }

    fn after_word(&mut self, word: &str) -> Result<Expr> {
        if matches!(self.peek(), Some(Token::Text(_))) {
            return self.typed_literal(word);
        }
        match word {
            "TRUE" | "FALSE" => {
                return Ok(Expr::literal(
                    Scalar::Boolean(word == "TRUE"),
                    DataType::not_null(TypeKind::Boolean),
                ));
            }
            "NULL" => return Ok(null()),
            "CASE" => return self.case(),
            "INTERVAL" => {
                self.expect("-")?;
                return self.interval(-1);
            }
            "ARRAY" | "MAP" if self.symbol("[") => {
                let items = self.list("]")?;
                return function::call(word, items);
            }
            _ => {}
        }
        if !self.symbol("(") {
            return function::call(word, vec![]);
        }
        let args = match word {
            "CAST" | "TRY_CAST" => {
                let expr = self.expression(0)?;
                self.expect_word("AS")?;
                let data_type = self.data_type()?;
                self.expect(")")?;
                return if word == "CAST" {
                    cast::cast(expr, data_type.with_nullable(false))
                } else {
                    cast::try_cast(expr, data_type)
                };
            }
            "EXTRACT" => {
                let unit = string(&self.any_word()?);
                self.expect_word("FROM")?;
                vec![unit, self.closed()?]
            }
            "TIMESTAMPADD" | "TIMESTAMPDIFF" => {
                let unit = string(&self.any_word()?);
                self.expect(",")?;
                let mut args = vec![unit];
                args.extend(self.list(")")?);
                args
            }
            "TRIM" => {
                let mode = ["BOTH", "LEADING", "TRAILING"]
                    .into_iter()
                    .find(|mode| self.word(mode));
                let first = self.expression(0)?;
                match mode {
                    Some(mode) => {
                        self.expect_word("FROM")?;
                        vec![string(mode), first, self.closed()?]
                    }
                    None => {
                        self.expect(")")?;
                        vec![first]
                    }
                }
            }
            "POSITION" => {
                let needle = self.expression(5)?;
                self.expect_word("IN")?;
                vec![needle, self.closed()?]
            }
            "OVERLAY" => {
                let mut args = vec![self.expression(0)?];
                self.expect_word("PLACING")?;
                args.push(self.expression(0)?);
                self.expect_word("FROM")?;
                args.push(self.expression(0)?);
                if self.word("FOR") {
                    args.push(self.expression(0)?);
                }
                self.expect(")")?;
                args
            }
            _ => {
                let mut args = Vec::new();
                if !self.symbol(")") {
                    loop {
                        args.push(self.expression(0)?);
                        if self.word("TO") {
                            args.push(string(&self.any_word()?));
                        }
                        if self.symbol(")") {
                            break;
                        }
                        if !self.word("FROM") && !self.word("FOR") {
                            self.expect(",")?;
                        }
                    }
                }
                args
            }
        };
        function::call(word, args)
    }

    fn closed(&mut self) -> Result<Expr> {
        let expr = self.expression(0)?;
        self.expect(")")?;
        Ok(expr)
    }

    fn case(&mut self) -> Result<Expr> {
        let value = if self.is_word("WHEN") {
            None
        } else {
            Some(self.expression(0)?)
        };
        let mut args = Vec::new();
        while self.word("WHEN") {
            let when = self.expression(0)?;
            args.push(match &value {
                Some(value) => function::call("=", vec![value.clone(), when])?,
                None => when,
            });
            self.expect_word("THEN")?;
            args.push(self.expression(0)?);
        }
        args.push(if self.word("ELSE") {
            self.expression(0)?
        } else {
            null()
        });
        self.expect_word("END")?;
        function::call("CASE", args)
    }

    fn typed_literal(&mut self, word: &str) -> Result<Expr> {
        if word == "INTERVAL" {
            return self.interval(1);
        }
        let text = self.text()?;
        let invalid = || Error::user(format!("parser: {word} '{text}'"));
        let bytes = text.as_bytes();
        let (value, kind) = match word {
            "DATE" => (
                Scalar::Date(date::parse(bytes).ok_or_else(invalid)?),
                TypeKind::Date,
            ),
            "TIME" => (
                Scalar::Time(time::parse(bytes).ok_or_else(invalid)?),
                TypeKind::Time(0),
            ),
            "TIMESTAMP" => {
                let precision = text.split_once('.').map_or(0, |(_, f)| f.len() as u8);
                let unit = millrace_expr::types::timestamp_unit(precision);
                let moment = timestamp::parse(bytes)
                    .and_then(|m| m.to_unit(unit))
                    .ok_or_else(invalid)?;
                (Scalar::Timestamp(moment), TypeKind::Timestamp(precision))
            }
            "X" => {
                let bytes = hex::decode(&text).map_err(|_| invalid())?;
                let length = bytes.len() as u32;
                (Scalar::Bytes(bytes), TypeKind::Binary(length))
            }
            _ => return Err(invalid()),
        };
        Ok(Expr::literal(value, DataType::not_null(kind)))
    }

    fn interval(&mut self, sign: i64) -> Result<Expr> {
        let text = self.text()?;
        let unit = self.any_word()?.to_ascii_uppercase();
        if self.word("TO") {
            self.any_word()?;
        }
        let number = |text: &str| {
            text.parse::<f64>()
                .map_err(|_| Error::user(format!("parser: {text}")))
        };
        let (value, kind) = match unit.as_str() {
            "YEAR" | "MONTH" => {
                let months = match text.split_once('-') {
                    Some((years, months)) => number(years)? * 12.0 + number(months)?,
                    None => number(&text)? * if unit == "YEAR" { 12.0 } else { 1.0 },
                };
                (
                    Scalar::Months(sign as i32 * months as i32),
                    TypeKind::IntervalYearMonth,
                )
            }
            _ => {
                let millis = match text.split_once(' ') {
                    Some((days, clock)) => {
                        number(days)? * 86_400_000.0 + f64::from(time::parse(clock.as_bytes()).unwrap_or(0))
                    }
                    None => {
                        number(&text)?
                            * match unit.as_str() {
                                "DAY" => 86_400_000.0,
                                "HOUR" => 3_600_000.0,
                                "MINUTE" => 60_000.0,
                                _ => 1000.0,
                            }
                    }
                };
                (Scalar::Millis(sign * millis as i64), TypeKind::IntervalDaySecond)
            }
        };
        Ok(Expr::literal(value, DataType::not_null(kind)))
    }

    fn arguments(&mut self) -> Result<Vec<u32>> {
        let mut numbers = Vec::new();
        if !self.symbol("(") {
            return Ok(numbers);
        }
        loop {
            match self.peek().cloned() {
                Some(Token::Number(text)) => numbers.push(text.parse().map_err(|_| self.fail("a length"))?),
                _ => return Err(self.fail("a number")),
            }
            self.at += 1;
            if self.symbol(")") {
                return Ok(numbers);
            }
            self.expect(",")?;
        }
    }

    fn data_type(&mut self) -> Result<DataType> {
        let name = self.any_word()?.to_ascii_uppercase();
        let kind = match name.as_str() {
            "ARRAY" | "MAP" | "ROW" => {
                self.expect("<")?;
                let kind = match name.as_str() {
                    "ARRAY" => TypeKind::Array(Box::new(self.data_type()?)),
                    "MAP" => {
                        let key = self.data_type()?;
                        self.expect(",")?;
                        TypeKind::Map(Box::new(key.with_nullable(false)), Box::new(self.data_type()?))
                    }
                    _ => {
                        let mut fields = Vec::new();
                        loop {
                            let name = self.any_word()?;
                            fields.push(Field::new(name, self.data_type()?));
                            if !self.symbol(",") {
                                break TypeKind::Row(fields);
                            }
                        }
                    }
                };
                self.expect(">")?;
                kind
            }
            _ => {
                let args = self.arguments()?;
                let first = |default: u32| args.first().copied().unwrap_or(default);
                match name.as_str() {
                    "BOOLEAN" => TypeKind::Boolean,
                    "TINYINT" => TypeKind::TinyInt,
                    "SMALLINT" => TypeKind::SmallInt,
                    "INT" => TypeKind::Int,
                    "BIGINT" => TypeKind::BigInt,
                    "FLOAT" => TypeKind::Float,
                    "DOUBLE" => TypeKind::Double,
                    "DECIMAL" => TypeKind::Decimal {
                        precision: first(10) as u8,
                        scale: args.get(1).copied().unwrap_or(0) as u8,
                    },
                    "STRING" => TypeKind::Varchar(MAX_LENGTH),
                    "CHAR" => TypeKind::Char(first(1)),
                    "VARCHAR" => TypeKind::Varchar(first(1)),
                    "BYTES" => TypeKind::Varbinary(MAX_LENGTH),
                    "BINARY" => TypeKind::Binary(first(1)),
                    "VARBINARY" => TypeKind::Varbinary(first(1)),
                    "DATE" => TypeKind::Date,
                    "TIME" => TypeKind::Time(0),
                    "TIMESTAMP" => TypeKind::Timestamp(first(6) as u8),
                    "TIMESTAMP_LTZ" => TypeKind::TimestampLtz(first(6) as u8),
                    _ => return Err(self.fail("a type")),
                }
            }
        };
        Ok(DataType::nullable(kind))
    }
}

fn number(text: &str) -> Result<Expr> {
    let invalid = || Error::user(format!("parser: {text}"));
    if text.contains(['e', 'E']) {
        let value = text.parse().map_err(|_| invalid())?;
        return Ok(Expr::literal(
            Scalar::Double(value),
            DataType::not_null(TypeKind::Double),
        ));
    }
    if let Some((whole, fraction)) = text.split_once('.') {
        let scale = fraction.len() as u8;
        let whole = whole.trim_start_matches('-').trim_start_matches('0').len() as u8;
        let precision = (whole + scale).max(scale + u8::from(whole == 0 && scale == 0));
        let value = decimal::parse(text.as_bytes(), 38, scale).ok_or_else(invalid)?;
        let kind = TypeKind::Decimal {
            precision: precision.max(scale + 1),
            scale,
        };
        return Ok(Expr::literal(Scalar::Decimal(value), DataType::not_null(kind)));
    }
    let value: i64 = text.parse().map_err(|_| invalid())?;
    let kind = if i32::try_from(value).is_ok() {
        TypeKind::Int
    } else {
        TypeKind::BigInt
    };
    Ok(Expr::literal(Scalar::Integer(value), DataType::not_null(kind)))
}
