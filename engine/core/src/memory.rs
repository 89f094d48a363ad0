//! Flink's notation of memory sizes: `64mb`, `1 gb`, `32k`; a bare number is bytes.

/// Parses a size in bytes as Flink's `MemorySize.parse` does; units are binary.
pub fn parse(text: &str) -> Option<u64> {
    let text = text.trim();
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let value: u64 = text[..digits].parse().ok()?;
    let factor: u64 = match text[digits..].trim().to_ascii_lowercase().as_str() {
        "" | "b" | "bytes" => 1,
        "k" | "kb" | "kibibytes" => 1 << 10,
        "m" | "mb" | "mebibytes" => 1 << 20,
        "g" | "gb" | "gibibytes" => 1 << 30,
        "t" | "tb" | "tebibytes" => 1 << 40,
        _ => return None,
    };
    value.checked_mul(factor)
}

/// Writes a size in the largest binary unit that holds it exactly.
pub fn format(bytes: u64) -> String {
    for (unit, size) in [
        ("tb", 1u64 << 40),
        ("gb", 1 << 30),
        ("mb", 1 << 20),
        ("kb", 1 << 10),
    ] {
        if bytes > 0 && bytes.is_multiple_of(size) {
            return format!("{} {unit}", bytes / size);
        }
    }
    format!("{bytes} bytes")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_flinks_units() {
        assert_eq!(parse("64mb"), Some(64 << 20));
        assert_eq!(parse("1 GB"), Some(1 << 30));
        assert_eq!(parse("512"), Some(512));
        assert_eq!(parse("1 pb"), None);
        assert_eq!(format(64 << 20), "64 mb");
    }
}
