//! Decimal digits of a double, to be rounded.

/// `0.d1 d2 d3... * 10^point`: the digits that a double is written with, which Java rounds.
pub struct Digits {
    digits: Vec<u8>,
    pub point: i64,
}

impl Digits {
    /// Those of a finite number, without its sign.
    pub fn of(value: f64) -> Digits {
        let text = format!("{:e}", value.abs());
        let (mantissa, exponent) = text.split_once('e').unwrap_or((&text, "0"));
        let digits: Vec<u8> = mantissa.bytes().filter(u8::is_ascii_digit).collect();
        Digits {
            digits,
            point: exponent.parse::<i64>().unwrap_or_default() + 1,
        }
    }

    /// Keeps so many digits, half up.
    pub fn round(&mut self, keep: i64) {
        let Ok(keep) = usize::try_from(keep) else {
            self.digits.clear();
            return;
        };
        let up = match self.digits.get(keep) {
            None => return,
            Some(next) => *next >= b'5',
        };
        self.digits.truncate(keep);
        if !up {
            return;
        }
        for digit in self.digits.iter_mut().rev() {
            if *digit < b'9' {
                *digit += 1;
                return;
            }
            *digit = b'0';
        }
        self.digits.insert(0, b'1');
        self.point += 1;
    }

    /// The digit at a power of ten.
    fn digit(&self, power: i64) -> char {
        usize::try_from(self.point - 1 - power)
            .ok()
            .and_then(|index| self.digits.get(index))
            .map_or('0', |digit| char::from(*digit))
    }

    /// With so many places behind the point.
    pub fn fixed(&self, places: usize) -> String {
        let mut text: String = (0..self.point.max(1))
            .rev()
            .map(|power| self.digit(power))
            .collect();
        if places > 0 {
            text.push('.');
            text.extend((1..=places as i64).map(|power| self.digit(-power)));
        }
        text
    }

    /// With one digit before the point and so many behind it, and the exponent that this takes.
    pub fn scientific(&self, places: usize) -> (String, i64) {
        let exponent = if self.digits.iter().all(|digit| *digit == b'0') {
            0
        } else {
            self.point - 1
        };
        let digits = Digits {
            digits: self.digits.clone(),
            point: 1,
        };
        (digits.fixed(places), exponent)
    }
}
