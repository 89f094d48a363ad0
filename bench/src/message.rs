//! The records that the benchmarks send: JSON of exactly 64 bytes, and timestamped ones.

/// Bytes of one message of [`write`].
pub const BYTES: usize = 64;

/// How many different ids there are: beyond, they start again, so that a message keeps its size.
const IDS: u64 = 9_000_000;
const DAY_MS: u64 = 86_400_000;

/// The `id` of the message with this index.
pub fn id(index: u64) -> u64 {
    1_000_000 + index % IDS
}

/// Appends the message with this index:
/// `{"id":1000000,"k":"k100","v":100,"ts":"2023-11-14 00:00:00.000"}`.
pub fn write(index: u64, out: &mut Vec<u8>) {
    let ms = index % DAY_MS;
    out.extend_from_slice(b"{\"id\":");
    digits(id(index), 7, out);
    out.extend_from_slice(b",\"k\":\"k");
    // 7919 is a prime: neighbours get different keys, and all 900 keys come up equally often.
    digits(100 + index.wrapping_mul(7919) % 900, 3, out);
    out.extend_from_slice(b"\",\"v\":");
    digits(100 + index % 900, 3, out);
    out.extend_from_slice(b",\"ts\":\"2023-11-14 ");
    digits(ms / 3_600_000, 2, out);
    out.push(b':');
    digits(ms / 60_000 % 60, 2, out);
    out.push(b':');
    digits(ms / 1000 % 60, 2, out);
    out.push(b'.');
    digits(ms % 1000, 3, out);
    out.extend_from_slice(b"\"}");
}

fn digits(mut value: u64, width: usize, out: &mut Vec<u8>) {
    let start = out.len();
    out.resize(start + width, b'0');
    for place in out[start..].iter_mut().rev() {
        *place = b'0' + (value % 10) as u8;
        value /= 10;
    }
}

/// A message with the microseconds since the epoch at which it was due to be sent.
pub fn timestamped(id: u64, sent_us: u64) -> Vec<u8> {
    format!("{{\"id\":{id},\"sent\":{sent_us}}}").into_bytes()
}

/// The `sent` of a [`timestamped`] message, whichever engine wrote it again.
pub fn sent_us(message: &[u8]) -> Option<u64> {
    const FIELD: &[u8] = b"\"sent\":";
    let at = message.windows(FIELD.len()).position(|window| window == FIELD)? + FIELD.len();
    let number = &message[at..];
    let length = number.iter().take_while(|byte| byte.is_ascii_digit()).count();
    std::str::from_utf8(&number[..length]).ok()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(index: u64) -> String {
        let mut out = Vec::new();
        write(index, &mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn a_message_is_json_of_64_bytes() {
        for index in [0, 1, 899, 900, 3_999_999, 8_999_999, 9_000_000, 123_456_789_012] {
            let message = text(index);
            assert_eq!(message.len(), BYTES, "{message}");
            let json: serde_json::Value = serde_json::from_str(&message).unwrap();
            assert_eq!(json.as_object().unwrap().len(), 4);
        }
        assert_eq!(
            text(0),
            r#"{"id":1000000,"k":"k100","v":100,"ts":"2023-11-14 00:00:00.000"}"#
        );
        assert_eq!(
            text(3_723_004),
            r#"{"id":4723004,"k":"k576","v":704,"ts":"2023-11-14 01:02:03.004"}"#
        );
    }

    #[test]
    fn the_time_of_sending_is_read_back() {
        assert_eq!(
            sent_us(&timestamped(7, 1_700_000_000_123_456)),
            Some(1_700_000_000_123_456)
        );
        assert_eq!(sent_us(b"{\"sent\":5}"), Some(5));
        assert_eq!(sent_us(b"{\"sent\":null}"), None);
        assert_eq!(sent_us(b"{\"id\":5}"), None);
    }
}
