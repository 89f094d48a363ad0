//! What the bytes of an operator's keyed state mean: checkpoints say it, so that a changed job does not
//! take one thing for another.

use prost::Message;

/// The schema of an operator's keyed state. Rows are encoded by position; the names say what a position is.
#[derive(Clone, PartialEq, Message)]
pub struct StateSchema {
    /// `millrace_core::row::VERSION` of keys and values.
    #[prost(uint32, tag = "1")]
    pub codec: u32,
    /// What is kept, beyond its fields: `groups`, `join INNER, left by (id), right counted`.
    #[prost(string, tag = "2")]
    pub form: String,
    #[prost(message, repeated, tag = "3")]
    pub keys: Vec<StateField>,
    /// Accumulators, or the columns of rows that are kept.
    #[prost(message, repeated, tag = "4")]
    pub fields: Vec<StateField>,
    /// What the rows are that it is made from: `orders WHERE (orders.amount > 10)`. Empty in checkpoints of
    /// engines that did not write it.
    #[prost(string, tag = "5")]
    pub rows: String,
}

#[derive(Clone, PartialEq, Message)]
pub struct StateField {
    #[prost(string, tag = "1")]
    pub name: String,
    /// As SQL writes it; NOT NULL is left out, for it changes no bytes.
    #[prost(string, tag = "2")]
    pub data_type: String,
}

impl StateSchema {
    /// What is different in `planned`, if anything is: state of this schema is then of no use there.
    pub fn difference(&self, planned: &StateSchema) -> Option<String> {
        if self.codec != planned.codec {
            return Some(format!(
                "its rows have encoding {}, this engine reads {}",
                self.codec, planned.codec
            ));
        }
        let lists = [
            ("keyed by", listed(&self.keys), listed(&planned.keys)),
            ("kept as", self.form.clone(), planned.form.clone()),
            ("with the fields", listed(&self.fields), listed(&planned.fields)),
            ("of the rows of", self.rows.clone(), planned.rows.clone()),
        ];
        let changed = lists
            .iter()
            .find(|(_, was, is)| was != is && !was.is_empty() && !is.is_empty());
        changed.map(|(what, was, is)| format!("it is {what} {was}, and the job has {is}"))
    }
}

fn listed(fields: &[StateField]) -> String {
    let fields: Vec<String> = fields
        .iter()
        .map(|f| format!("{} {}", f.name, f.data_type))
        .collect();
    format!("({})", fields.join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn schema(keys: &[(&str, &str)], fields: &[(&str, &str)]) -> StateSchema {
        let fields_of = |all: &[(&str, &str)]| {
            let field = |(name, data_type): &(&str, &str)| StateField {
                name: (*name).to_owned(),
                data_type: (*data_type).to_owned(),
            };
            all.iter().map(field).collect()
        };
        StateSchema {
            codec: 1,
            form: "groups".into(),
            keys: fields_of(keys),
            fields: fields_of(fields),
            rows: "orders".into(),
        }
    }

    #[test]
    fn a_difference_says_what_was_and_what_is() {
        let was = schema(&[("user", "STRING")], &[("COUNT(*).count", "BIGINT")]);
        assert_eq!(was.difference(&was), None);
        let said = was.difference(&schema(&[("user", "BIGINT")], &[("COUNT(*).count", "BIGINT")]));
        assert_eq!(
            said.unwrap(),
            "it is keyed by (user STRING), and the job has (user BIGINT)"
        );
        let said = was
            .difference(&schema(&[("user", "STRING")], &[("SUM(n).sum", "BIGINT")]))
            .unwrap();
        assert!(said.contains("COUNT(*)") && said.contains("SUM(n)"), "{said}");
        let newer = StateSchema {
            codec: 2,
            ..was.clone()
        };
        assert!(was.difference(&newer).unwrap().contains("encoding 1"));
    }
}
