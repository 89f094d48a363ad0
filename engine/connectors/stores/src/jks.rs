//! Java's own key store format (`sun.security.provider.JavaKeyStore`), read only.
//!
//! A header, entries of trusted certificates (2) and protected private keys (1), and a SHA-1 over
//! password, a constant and everything before it. Numbers are big-endian.

use millrace_core::{Error, Result};
use sha1::{Digest, Sha1};

const MAGIC: u32 = 0xFEED_FEED;
const DIGEST: usize = 20;

pub struct Store {
    /// Certificates in DER.
    pub trusted: Vec<Vec<u8>>,
    pub keys: Vec<KeyEntry>,
}

pub struct KeyEntry {
    /// DER of EncryptedPrivateKeyInfo.
    pub protected_key: Vec<u8>,
    /// Certificates in DER, the key's own first.
    pub chain: Vec<Vec<u8>>,
}

pub fn is(bytes: &[u8]) -> bool {
    bytes.starts_with(&MAGIC.to_be_bytes())
}

/// Reads a store; with a password its integrity is checked, without one it is not (as Java does).
pub fn parse(bytes: &[u8], password: Option<&str>) -> Result<Store> {
    let damaged = || Error::user("a JKS store is damaged");
    let body_len = bytes.len().checked_sub(DIGEST).ok_or_else(damaged)?;
    let (body, digest) = bytes.split_at(body_len);
    if let Some(password) = password {
        let mut sha = Sha1::new();
        sha.update(utf16(password));
        sha.update(b"Mighty Aphrodite");
        sha.update(body);
        if sha.finalize().as_slice() != digest {
            return Err(Error::user(
                "a certificate store's password is wrong, or the file is damaged",
            ));
        }
    }
    entries(&mut Reader { bytes: body }).ok_or_else(damaged)
}

fn entries(r: &mut Reader) -> Option<Store> {
    (r.u32()? == MAGIC).then_some(())?;
    let version = r.u32()?;
    (version == 1 || version == 2).then_some(())?;
    let mut store = Store {
        trusted: Vec::new(),
        keys: Vec::new(),
    };
    for _ in 0..r.u32()? {
        let tag = r.u32()?;
        let _alias = r.text()?;
        let _created = r.take(8)?;
        match tag {
            1 => {
                let protected_key = r.sized()?.to_vec();
                let mut chain = Vec::new();
                for _ in 0..r.u32()? {
                    chain.push(r.certificate(version)?);
                }
                store.keys.push(KeyEntry { protected_key, chain });
            }
            2 => store.trusted.push(r.certificate(version)?),
            _ => return None,
        }
    }
    Some(store)
}

/// Undoes Sun's key protector: the key is XORed with a chain of SHA-1 over password and salt.
/// Nothing if the password is wrong or the bytes are none of this kind. PKCS#8 in DER otherwise.
pub fn decrypt(protected_key: &[u8], password: &str) -> Option<Vec<u8>> {
    const OID: &[u8] = &[
        0x06, 0x0a, 0x2b, 0x06, 0x01, 0x04, 0x01, 0x2a, 0x02, 0x11, 0x01, 0x01,
    ];
    let (0x30, outer, _) = der(protected_key)? else {
        return None;
    };
    let (0x30, algorithm, rest) = der(outer)? else {
        return None;
    };
    algorithm.starts_with(OID).then_some(())?;
    let (0x04, data, _) = der(rest)? else { return None };
    let plain_len = data.len().checked_sub(2 * DIGEST)?;
    let (salt, rest) = data.split_at(DIGEST);
    let (cipher, check) = rest.split_at(plain_len);
    let password = utf16(password);
    let mut digest = salt.to_vec();
    let mut plain = Vec::with_capacity(plain_len);
    for chunk in cipher.chunks(DIGEST) {
        digest = Sha1::new()
            .chain_update(&password)
            .chain_update(&digest)
            .finalize()
            .to_vec();
        plain.extend(chunk.iter().zip(&digest).map(|(c, d)| c ^ d));
    }
    let sum = Sha1::new()
        .chain_update(&password)
        .chain_update(&plain)
        .finalize();
    (sum.as_slice() == check).then_some(plain)
}

/// (tag, contents, what follows) of one DER value with a definite length.
fn der(bytes: &[u8]) -> Option<(u8, &[u8], &[u8])> {
    let (&tag, rest) = bytes.split_first()?;
    let (&first, mut rest) = rest.split_first()?;
    let mut length = usize::from(first);
    if first & 0x80 != 0 {
        let count = usize::from(first & 0x7f);
        if count == 0 || count > 4 || rest.len() < count {
            return None;
        }
        length = rest[..count].iter().fold(0, |n, &b| n << 8 | usize::from(b));
        rest = &rest[count..];
    }
    (rest.len() >= length).then(|| (tag, &rest[..length], &rest[length..]))
}

fn utf16(text: &str) -> Vec<u8> {
    text.encode_utf16().flat_map(u16::to_be_bytes).collect()
}

struct Reader<'a> {
    bytes: &'a [u8],
}

impl<'a> Reader<'a> {
    fn take(&mut self, n: usize) -> Option<&'a [u8]> {
        if self.bytes.len() < n {
            return None;
        }
        let (head, tail) = self.bytes.split_at(n);
        self.bytes = tail;
        Some(head)
    }

    fn u32(&mut self) -> Option<u32> {
        Some(u32::from_be_bytes(self.take(4)?.try_into().ok()?))
    }

    fn text(&mut self) -> Option<&'a [u8]> {
        let n = u16::from_be_bytes(self.take(2)?.try_into().ok()?);
        self.take(usize::from(n))
    }

    fn sized(&mut self) -> Option<&'a [u8]> {
        let n = self.u32()?;
        self.take(n as usize)
    }

    fn certificate(&mut self, version: u32) -> Option<Vec<u8>> {
        if version == 2 {
            let _kind = self.text()?;
        }
        self.sized().map(<[u8]>::to_vec)
    }
}
