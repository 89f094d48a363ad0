//! Flink's notation of memory sizes: `64mb`, `1 gb`, `32k`; a bare number is bytes. And what values take on
//! the heap, for those who keep to a limit.

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

/// What an allocation of so many bytes takes of the heap: jemalloc's size classes, in steps of 16 bytes up to 128, and
/// four of them from each power of two to the next.
pub const fn allocated(bytes: usize) -> usize {
    match bytes {
        0 => 0,
        1..=8 => 8,
        9..=128 => bytes.next_multiple_of(16),
        more => more.next_multiple_of(1 << ((more - 1).ilog2() - 2)),
    }
}

/// Gives a column one entry a slot for slots below `width`. It grows by eighths: twice as much at a time would be
/// more than the memory that is counted for it.
pub fn widen<T: Clone>(column: &mut Vec<T>, width: usize, empty: T) {
    make_way(column, width);
    column.resize(width, empty);
}

/// As [`widen`], of what is not cloned.
pub fn widen_with<T>(column: &mut Vec<T>, width: usize, empty: impl FnMut() -> T) {
    make_way(column, width);
    column.resize_with(width, empty);
}

fn make_way<T>(column: &mut Vec<T>, width: usize) {
    let has = column.len();
    if width > column.capacity() {
        column.reserve_exact((width - has).max(has / 8 + 64));
    } else if width < has / 4 {
        column.truncate(width);
        column.shrink_to(width);
    }
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

    #[test]
    fn allocations_are_rounded_up_as_the_allocator_does() {
        for (bytes, takes) in [
            (0, 0),
            (1, 8),
            (9, 16),
            (17, 32),
            (128, 128),
            (129, 160),
            (256, 256),
            (257, 320),
            (1000, 1024),
            (1025, 1280),
            (3002, 3072),
            (1 << 20, 1 << 20),
            ((1 << 20) + 1, 5 << 18),
        ] {
            assert_eq!(allocated(bytes), takes, "{bytes}");
        }
    }

    #[test]
    fn a_column_has_little_more_room_than_slots() {
        let mut column = Vec::new();
        for width in (0..100_000).step_by(7) {
            widen(&mut column, width, 0u64);
            assert_eq!(column.len(), width);
            assert!(column.capacity() <= width + width / 8 + 128, "{width}");
        }
        widen(&mut column, 10, 0);
        assert!(column.capacity() < 1000);
    }
}
