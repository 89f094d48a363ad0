//! An exception as Java serializes it: clients in Java read nothing else of a failure.
//!
//! The form is that of the Java Object Serialization Specification, chapter 6; the object is Flink's
//! `SerializedThrowable` with texts alone, which stands for exceptions whose class a reader does not have.

use base64_engine as base64;
use millrace_rest_types::operations::SerializedThrowable;

/// The class that failures of this engine are given.
const CLASS: &str = "org.apache.flink.util.FlinkException";

const NULL: u8 = 0x70;
const REFERENCE: u8 = 0x71;
const CLASS_DESCRIPTION: u8 = 0x72;
const OBJECT: u8 = 0x73;
const STRING: u8 = 0x74;
const ARRAY: u8 = 0x75;
const END: u8 = 0x78;
const LONG_STRING: u8 = 0x7c;
const FIRST_HANDLE: u32 = 0x7e_0000;

/// What a failure is told as: its message, in lines.
pub fn throwable(message: &str) -> SerializedThrowable {
    let stack_trace = format!("{CLASS}: {message}\n");
    SerializedThrowable {
        class: CLASS.to_owned(),
        serialized_throwable: base64::encode(&serialized(message, &stack_trace)),
        stack_trace,
    }
}

fn serialized(message: &str, stack_trace: &str) -> Vec<u8> {
    let mut out = Writer::default();
    out.bytes(&[0xac, 0xed, 0, 5, OBJECT]);
    // Handles are counted as the reader does: of descriptions, of texts in them, and of the object.
    out.class(
        "org.apache.flink.util.SerializedThrowable",
        0x6516_9df5_1fa7_13f3,
        2,
        3,
    );
    out.field(b'L', "fullStringifiedStackTrace");
    out.string("Ljava/lang/String;");
    out.field(b'L', "originalErrorClassName");
    out.reference(1);
    out.field(b'[', "serializedException");
    out.string("[B");
    out.bytes(&[END]);
    out.class("java.lang.Exception", 0xd0fd_1f3e_1a3b_1cc4, 2, 0);
    out.bytes(&[END]);
    out.class("java.lang.Throwable", 0xd5c6_3527_3977_b8cb, 3, 4);
    out.field(b'L', "cause");
    out.string("Ljava/lang/Throwable;");
    out.field(b'L', "detailMessage");
    out.reference(1);
    out.field(b'[', "stackTrace");
    out.string("[Ljava/lang/StackTraceElement;");
    out.field(b'L', "suppressedExceptions");
    out.string("Ljava/util/List;");
    // No class above it.
    out.bytes(&[END, NULL]);
    // Of Throwable: no cause, the message, an empty stack, none suppressed.
    out.bytes(&[NULL]);
    out.string(&format!("{CLASS}: {message}"));
    out.bytes(&[ARRAY]);
    out.class("[Ljava.lang.StackTraceElement;", 0x0246_2a3c_3cfd_2239, 2, 0);
    out.bytes(&[END, NULL, 0, 0, 0, 0]);
    out.bytes(&[NULL, END]);
    // Of SerializedThrowable, in the order of its fields.
    out.string(stack_trace);
    out.string(CLASS);
    out.bytes(&[NULL]);
    out.0
}

#[derive(Default)]
struct Writer(Vec<u8>);

impl Writer {
    fn bytes(&mut self, bytes: &[u8]) {
        self.0.extend_from_slice(bytes);
    }

    /// A name or a short text, without its mark.
    fn text(&mut self, text: &[u8]) {
        self.bytes(&(text.len() as u16).to_be_bytes());
        self.bytes(text);
    }

    fn class(&mut self, name: &str, version: u64, flags: u8, fields: u16) {
        self.bytes(&[CLASS_DESCRIPTION]);
        self.text(name.as_bytes());
        self.bytes(&version.to_be_bytes());
        self.bytes(&[flags]);
        self.bytes(&fields.to_be_bytes());
    }

    /// The name of a field; its class follows as a text.
    fn field(&mut self, kind: u8, name: &str) {
        self.bytes(&[kind]);
        self.text(name.as_bytes());
    }

    fn reference(&mut self, handle: u32) {
        self.bytes(&[REFERENCE]);
        self.bytes(&(FIRST_HANDLE + handle).to_be_bytes());
    }

    fn string(&mut self, text: &str) {
        let text = modified_utf8(text);
        if text.len() <= usize::from(u16::MAX) {
            self.bytes(&[STRING]);
            self.text(&text);
        } else {
            self.bytes(&[LONG_STRING]);
            self.bytes(&(text.len() as u64).to_be_bytes());
            self.bytes(&text);
        }
    }
}

/// As Java writes texts: no byte is 0, and what UTF-16 has in two halves is encoded half by half.
fn modified_utf8(text: &str) -> Vec<u8> {
    let mut out = Vec::with_capacity(text.len());
    for unit in text.encode_utf16() {
        match unit {
            1..=0x7f => out.push(unit as u8),
            0 | 0x80..=0x7ff => out.extend([0xc0 | (unit >> 6) as u8, 0x80 | (unit & 0x3f) as u8]),
            _ => out.extend([
                0xe0 | (unit >> 12) as u8,
                0x80 | ((unit >> 6) & 0x3f) as u8,
                0x80 | (unit & 0x3f) as u8,
            ]),
        }
    }
    out
}

/// Base64 with padding, as RFC 4648 has it.
mod base64_engine {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

    pub fn encode(bytes: &[u8]) -> String {
        let mut out = String::with_capacity(bytes.len().div_ceil(3) * 4);
        for three in bytes.chunks(3) {
            let at = |n: usize| u32::from(three.get(n).copied().unwrap_or(0));
            let bits = at(0) << 16 | at(1) << 8 | at(2);
            for digit in 0..4 {
                match digit <= three.len() {
                    true => out.push(DIGITS[(bits >> (18 - 6 * digit) & 63) as usize] as char),
                    false => out.push('='),
                }
            }
        }
        out
    }

    #[cfg(test)]
    mod tests {
        #[test]
        fn vectors_of_the_rfc() {
            let vectors = [
                ("", ""),
                ("f", "Zg=="),
                ("fo", "Zm8="),
                ("foo", "Zm9v"),
                ("foob", "Zm9vYg=="),
            ];
            for (text, encoded) in vectors {
                assert_eq!(super::encode(text.as_bytes()), encoded);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_are_javas() {
        assert_eq!(
            modified_utf8("a\0é€"),
            [b'a', 0xc0, 0x80, 0xc3, 0xa9, 0xe2, 0x82, 0xac]
        );
        assert_eq!(modified_utf8("😀"), [0xed, 0xa0, 0xbd, 0xed, 0xb8, 0x80]);
        let long = serialized(&"x".repeat(70_000), "");
        assert!(long.windows(2).any(|two| two == [LONG_STRING, 0]));
    }

    #[test]
    fn it_begins_as_flinks_does() {
        let throwable = throwable("no");
        assert!(throwable.serialized_throwable.starts_with(
            "rO0ABXNyAClvcmcuYXBhY2hlLmZsaW5rLnV0aWwuU2VyaWFsaXplZFRocm93YWJsZWUWnfUfpxPzAgADTAAZZnVsbFN0cmluZ2lmaWVk"
        ));
        assert_eq!(
            throwable.stack_trace,
            "org.apache.flink.util.FlinkException: no\n"
        );
    }
}
