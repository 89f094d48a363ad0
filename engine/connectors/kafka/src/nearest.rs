//! The known name that a mistyped one most likely means.

/// The nearest of `known` to `given`, if one is near enough to be worth a hint.
pub fn nearest<'a>(given: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let limit = (given.len() / 3).max(2);
    known
        .into_iter()
        .map(|name| (distance(given, name), name))
        .filter(|(d, _)| *d <= limit)
        .min_by_key(|(d, name)| (*d, *name))
        .map(|(_, name)| name)
}

/// Edits (insert, delete, replace a byte) that make one of the other.
fn distance(a: &str, b: &str) -> usize {
    let (a, b) = (a.as_bytes(), b.as_bytes());
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.iter().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, y) in b.iter().enumerate() {
            let replaced = diagonal + usize::from(x != y);
            diagonal = row[j + 1];
            row[j + 1] = replaced.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_the_nearest_and_nothing_far() {
        let known = ["acks", "linger.ms", "batch.size"];
        assert_eq!(nearest("linger.msec", known), Some("linger.ms"));
        assert_eq!(nearest("ack", known), Some("acks"));
        assert_eq!(nearest("something.else", known), None);
        assert_eq!(distance("kitten", "sitting"), 3);
    }
}
