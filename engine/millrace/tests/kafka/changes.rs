//! Changes of a table of orders, as Debezium writes them, and what they come to.

use std::collections::BTreeMap;

const CUSTOMERS: [&str; 6] = ["ann", "bob", "cem", "dee", "eli", "fay"];

pub struct Changes {
    /// Keys and values; no value is a tombstone.
    pub records: Vec<(String, Option<String>)>,
    /// By id the customer and the amount, at the end.
    pub rows: BTreeMap<i32, (String, i32)>,
}

impl Changes {
    /// So many changes, always the same.
    pub fn new(count: usize) -> Changes {
        let mut changes = Changes {
            records: Vec::new(),
            rows: BTreeMap::new(),
        };
        let mut seed = 0x2545_f491_4f6c_dd1d_u64;
        let mut random = |below: usize| {
            seed ^= seed << 13;
            seed ^= seed >> 7;
            seed ^= seed << 17;
            (seed >> 33) as usize % below
        };
        while changes.records.len() < count {
            let id = random(60) as i32;
            // A customer can lose all orders.
            let row = (CUSTOMERS[random(CUSTOMERS.len())].to_owned(), random(100) as i32);
            match (changes.rows.get(&id).cloned(), random(3)) {
                (None, _) => changes.change(id, None, Some(row)),
                (Some(before), 0) => {
                    changes.change(id, Some(before), None);
                    changes.records.push((key(id), None));
                }
                (Some(before), _) => changes.change(id, Some(before), Some(row)),
            }
        }
        // The last customer has none at the end.
        let gone: Vec<(i32, (String, i32))> = changes.rows.clone().into_iter().collect();
        for (id, row) in gone.into_iter().filter(|(_, row)| row.0 == CUSTOMERS[5]) {
            changes.change(id, Some(row), None);
        }
        changes
    }

    fn change(&mut self, id: i32, before: Option<(String, i32)>, after: Option<(String, i32)>) {
        let image = |row: &Option<(String, i32)>| match row {
            None => "null".to_owned(),
            Some((customer, amount)) => format!(r#"{{"id":{id},"customer":"{customer}","amount":{amount}}}"#),
        };
        let op = match (&before, &after) {
            (None, _) => "c",
            (_, None) => "d",
            _ => "u",
        };
        let value = format!(
            r#"{{"before":{},"after":{},"op":"{op}"}}"#,
            image(&before),
            image(&after)
        );
        self.records.push((key(id), Some(value)));
        match after {
            Some(row) => self.rows.insert(id, row),
            None => self.rows.remove(&id),
        };
    }

    /// The number and the sum of orders by customer, as records by key.
    pub fn totals(&self) -> BTreeMap<String, String> {
        let mut totals: BTreeMap<&str, (i64, i32)> = BTreeMap::new();
        for (customer, amount) in self.rows.values() {
            let (orders, total) = totals.entry(customer).or_default();
            *orders += 1;
            *total += amount;
        }
        totals
            .into_iter()
            .map(|(customer, (orders, total))| {
                (
                    format!(r#"{{"customer":"{customer}"}}"#),
                    format!(r#"{{"customer":"{customer}","orders":{orders},"total":{total}}}"#),
                )
            })
            .collect()
    }
}

fn key(id: i32) -> String {
    format!(r#"{{"id":{id}}}"#)
}
