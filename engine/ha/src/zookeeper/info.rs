//! A leader's address and session as Flink writes them into `connection_info`: what Java's `ObjectOutputStream` makes
//! of `writeUTF(address)` and `writeObject(session)`, so that Flink's own clients find the leader's REST address.
//! (Java Object Serialization Specification, 6.4: the grammar of the stream.)

use uuid::Uuid;

/// Magic number and version.
const HEADER: [u8; 4] = [0xac, 0xed, 0x00, 0x05];
const BLOCK: u8 = 0x77;
const LONG_BLOCK: u8 = 0x7a;
/// Java fills blocks up to here.
const BLOCK_SIZE: usize = 1024;

/// An object of class `java.util.UUID` up to its values: two longs, the less significant one first.
const UUID: &[u8] = &[
    0x73, // object
    0x72, // class
    0x00, 0x0e, b'j', b'a', b'v', b'a', b'.', b'u', b't', b'i', b'l', b'.', b'U', b'U', b'I', b'D', //
    0xbc, 0x99, 0x03, 0xf7, 0x98, 0x6d, 0x85, 0x2f, // serialVersionUID
    0x02, // serializable
    0x00, 0x02, // fields
    b'J', 0x00, 0x0c, b'l', b'e', b'a', b's', b't', b'S', b'i', b'g', b'B', b'i', b't', b's', //
    b'J', 0x00, 0x0b, b'm', b'o', b's', b't', b'S', b'i', b'g', b'B', b'i', b't', b's', //
    0x78, // no annotations
    0x70, // no superclass
];

/// Of an address without characters that Java writes in its own way: zero, and those beyond 16 bits.
pub(super) fn encode(address: &str, session: Uuid) -> Vec<u8> {
    let mut text = (address.len() as u16).to_be_bytes().to_vec();
    text.extend_from_slice(address.as_bytes());
    let mut bytes = HEADER.to_vec();
    for block in text.chunks(BLOCK_SIZE) {
        match u8::try_from(block.len()) {
            Ok(length) => bytes.extend([BLOCK, length]),
            Err(_) => {
                bytes.push(LONG_BLOCK);
                bytes.extend((block.len() as u32).to_be_bytes());
            }
        }
        bytes.extend_from_slice(block);
    }
    let (most, least) = session.as_u64_pair();
    bytes.extend_from_slice(UUID);
    bytes.extend(least.to_be_bytes());
    bytes.extend(most.to_be_bytes());
    bytes
}

/// None for anything else.
pub(super) fn decode(bytes: &[u8]) -> Option<(String, Uuid)> {
    let mut rest = bytes.strip_prefix(&HEADER)?;
    let mut text = Vec::new();
    loop {
        let length = match *rest.first()? {
            BLOCK => {
                let length = *rest.get(1)? as usize;
                rest = &rest[2..];
                length
            }
            LONG_BLOCK => {
                let length = rest.get(1..5)?.try_into().ok().map(u32::from_be_bytes)?;
                rest = &rest[5..];
                length as usize
            }
            _ => break,
        };
        text.extend_from_slice(rest.get(..length)?);
        rest = &rest[length..];
    }
    let values: [u8; 16] = rest.strip_prefix(UUID)?.try_into().ok()?;
    let (least, most) = values.split_at(8);
    let session = [most, least].concat();
    let length = u16::from_be_bytes(text.get(..2)?.try_into().ok()?) as usize;
    let address = text.get(2..).filter(|address| address.len() == length)?;
    Some((
        String::from_utf8(address.to_vec()).ok()?,
        Uuid::from_slice(&session).ok()?,
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    const SESSION: Uuid = Uuid::from_u128(0x0123_4567_89ab_cdef_fedc_ba98_7654_3210);

    /// What a JVM made of them.
    const OBJECT: &str = "7372000e6a6176612e7574696c2e55554944bc9903f7986d852f0200024a000c6c65617374536967426974734a000b\
                          6d6f7374536967426974737870fedcba98765432100123456789abcdef";

    #[test]
    fn the_bytes_are_those_of_a_jvm() {
        let head = "aced000577170015687474703a2f2f3132372e302e302e313a38303831";
        let bytes = encode("http://127.0.0.1:8081", SESSION);
        assert_eq!(hex::encode(&bytes), format!("{head}{OBJECT}"));
        let long = "h".repeat(300);
        let head = format!("aced00057a0000012e012c{}", "68".repeat(300));
        assert_eq!(hex::encode(encode(&long, SESSION)), format!("{head}{OBJECT}"));
    }

    #[test]
    fn they_are_read_back() {
        for length in [0, 1, 253, 254, 300, 1022, 1023, 3000] {
            let address = "a".repeat(length);
            let bytes = encode(&address, SESSION);
            assert_eq!(decode(&bytes), Some((address, SESSION)));
            for cut in 0..bytes.len() {
                assert_eq!(decode(&bytes[..cut]), None);
            }
        }
        assert_eq!(decode(b"127.0.0.1:6123"), None);
    }
}
