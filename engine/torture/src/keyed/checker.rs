//! What is wrong with the output: computed from the input's numbers, pure, so that it is tested itself.

use std::collections::{BTreeMap, HashMap};

use anyhow::{Context, Result};
use millrace_testkit::records::Record;
use serde::Deserialize;
use serde::de::DeserializeOwned;

use super::input::{self, BEGIN, GAP, INTERVAL, Order};
use crate::findings::{Findings, Kind};

/// The committed records of each output topic, in offset order within a partition.
#[derive(Debug, Default)]
pub struct Output {
    pub sums: Vec<Record>,
    pub sessions: Vec<Record>,
    pub pairs: Vec<Record>,
}

/// How often what the job has written has to be there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Times {
    Once,
    /// The job was told to go on from an older checkpoint, once: what it had written since is there again.
    AgainSinceAnOlderCheckpoint,
}

/// Compares with what this many steps of input come to.
pub fn check(steps: u64, times: Times, output: &Output) -> Result<Findings> {
    let mut findings = Findings::default();
    check_sums(steps, times, &output.sums, &mut findings)?;
    check_keys(&output.sessions, &mut findings);
    let received = all(&output.sessions, Session::shown)?;
    compare(sessions(steps), times, received, &mut findings);
    check_keys(&output.pairs, &mut findings);
    let received = all(&output.pairs, Pair::shown)?;
    compare(pairs(steps), times, received, &mut findings);
    Ok(findings)
}

/// Rows of one output against those that must be there; each of these is there so often.
fn compare(expected: Vec<String>, times: Times, received: Vec<String>, findings: &mut Findings) {
    let mut open: HashMap<&str, u32> = expected.iter().map(|row| (row.as_str(), 0)).collect();
    let most = match times {
        Times::Once => 1,
        Times::AgainSinceAnOlderCheckpoint => 2,
    };
    for row in &received {
        match open.get_mut(row.as_str()) {
            None => findings.add(Kind::Invented, row.clone()),
            Some(seen) => {
                *seen += 1;
                if *seen > most {
                    findings.add(Kind::Repeated, row.clone());
                }
            }
        }
    }
    for row in expected.iter().filter(|row| open[row.as_str()] == 0) {
        findings.add(Kind::Lost, row.clone());
    }
}

fn parse<T: DeserializeOwned>(record: &Record) -> Result<T> {
    serde_json::from_slice(record.value.as_deref().unwrap_or_default()).with_context(|| {
        format!(
            "the output at {}-{}: {}",
            record.partition,
            record.offset,
            record.text()
        )
    })
}

fn all<T: DeserializeOwned>(records: &[Record], shown: fn(&T) -> Result<String>) -> Result<Vec<String>> {
    let shown = |record| parse(record).and_then(|row| shown(&row));
    records.iter().map(shown).collect()
}

/// Records of a key are in one partition.
fn check_keys(records: &[Record], findings: &mut Findings) {
    let mut partitions: HashMap<&[u8], i32> = HashMap::new();
    for record in records {
        let key = record.key.as_deref().unwrap_or_default();
        let partition = *partitions.entry(key).or_insert(record.partition);
        if partition != record.partition {
            let (key, other) = (record.key_text(), record.partition);
            findings.add(
                Kind::Scattered,
                format!("{key} in partitions {partition} and {other}"),
            );
        }
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
struct Sum {
    account: u64,
    orders: i64,
    total: i64,
}

/// As debezium-json has changes: what updates is taken away and put anew.
#[derive(Deserialize)]
struct Change {
    before: Option<Sum>,
    after: Option<Sum>,
    op: String,
}

/// Each account's changelog must be that of its orders one by one, to the row.
fn check_sums(steps: u64, times: Times, records: &[Record], findings: &mut Findings) -> Result<()> {
    check_keys(records, findings);
    let mut expected: BTreeMap<u64, Vec<(bool, Sum)>> = BTreeMap::new();
    for Order { account, amount, .. } in (0..steps).map(input::order) {
        let changes = expected.entry(account).or_default();
        let before = changes.last().map(|(_, sum)| sum.clone());
        let after = Sum {
            account,
            orders: before.as_ref().map_or(0, |sum| sum.orders) + 1,
            total: before.as_ref().map_or(0, |sum| sum.total) + amount,
        };
        changes.extend(before.map(|sum| (false, sum)));
        changes.push((true, after));
    }
    let mut received: BTreeMap<u64, Vec<(bool, Sum)>> = BTreeMap::new();
    for record in records {
        let change: Change = parse(record)?;
        let change = match (change.op.as_str(), change.before, change.after) {
            ("c", None, Some(sum)) => (true, sum),
            ("d", Some(sum), None) => (false, sum),
            _ => {
                let other = format!("a change of another kind: {}", record.text());
                findings.add(Kind::Invented, other);
                continue;
            }
        };
        received.entry(change.1.account).or_default().push(change);
    }
    let shown = |change: Option<&(bool, Sum)>| match change {
        None => "nothing".to_owned(),
        Some((is_there, sum)) => format!(
            "{} {} orders, {}",
            if *is_there { "+" } else { "-" },
            sum.orders,
            sum.total
        ),
    };
    let none = Vec::new();
    for account in expected
        .keys()
        .chain(received.keys().filter(|a| !expected.contains_key(a)))
    {
        let should = expected.get(account).unwrap_or(&none);
        let is = received.get(account).unwrap_or(&none);
        let Some(first) = (0..should.len().max(is.len())).find(|i| should.get(*i) != is.get(*i)) else {
            continue;
        };
        // From the first difference on it is the end of the same changelog, from an earlier change on.
        let again = is.get(first..).unwrap_or_default();
        if times == Times::AgainSinceAnOlderCheckpoint && is.len() > should.len() && should.ends_with(again) {
            continue;
        }
        let broken = format!(
            "account {account}: change {first} is {} and should be {}; {} of {} changes",
            shown(is.get(first)),
            shown(should.get(first)),
            is.len(),
            should.len()
        );
        findings.add(Kind::Broken, broken);
    }
    Ok(())
}

#[derive(Deserialize)]
struct Session {
    region: u64,
    begin: String,
    end: String,
    orders: i64,
    total: i64,
}

impl Session {
    fn shown(&self) -> Result<String> {
        let Session {
            region,
            orders,
            total,
            ..
        } = self;
        let (begin, end) = (millis(&self.begin)?, millis(&self.end)?);
        Ok(session(*region, begin, end, *orders, *total))
    }
}

fn session(region: u64, begin: i64, end: i64, orders: i64, total: i64) -> String {
    let (begin, end) = (begin - BEGIN, end - BEGIN);
    format!("session of region {region} from {begin} to {end} ms: {orders} orders, {total}")
}

/// `2020-01-01 hh:mm:ss[.fff]`, as milliseconds since 1970.
fn millis(text: &str) -> Result<i64> {
    let parsed = || {
        let time = text.strip_prefix("2020-01-01 ")?;
        let (time, fraction) = time.split_once('.').unwrap_or((time, ""));
        let fraction: i64 = format!("{fraction:0<3}").parse().ok()?;
        let mut seconds = 0;
        for part in time.split(':') {
            seconds = 60 * seconds + part.parse::<i64>().ok()?;
        }
        Some(BEGIN + 1000 * seconds + fraction)
    };
    parsed().with_context(|| format!("not a time of the test's day: {text}"))
}

fn sessions(steps: u64) -> Vec<String> {
    let mut regions: BTreeMap<u64, Vec<(i64, i64)>> = BTreeMap::new();
    for order in (0..steps).map(input::order) {
        regions
            .entry(order.region)
            .or_default()
            .push((order.at, order.amount));
    }
    let mut rows = Vec::new();
    for (region, mut orders) in regions {
        orders.sort_unstable();
        for orders in orders.chunk_by(|(a, _), (b, _)| b - a <= GAP) {
            let (Some((first, _)), Some((last, _))) = (orders.first(), orders.last()) else {
                continue;
            };
            let total = orders.iter().map(|(_, amount)| amount).sum();
            rows.push(session(region, *first, last + GAP, orders.len() as i64, total));
        }
    }
    rows
}

#[derive(Deserialize)]
struct Pair {
    how: String,
    id: u64,
    number: u64,
    amount: i64,
    paid: i64,
}

impl Pair {
    fn shown(&self) -> Result<String> {
        let Pair {
            how,
            id,
            number,
            amount,
            paid,
        } = self;
        Ok(format!(
            "{how} pair of order {id} and payment {number}: {amount}, {paid}"
        ))
    }
}

fn pairs(steps: u64) -> Vec<String> {
    let mut rows = Vec::new();
    for payment in (0..steps).flat_map(input::payments) {
        let order = input::order(payment.order);
        let lag = payment.at - order.at;
        let is_near = (0..=INTERVAL).contains(&lag);
        for how in std::iter::once("ever").chain(is_near.then_some("interval")) {
            let (id, number, paid) = (order.id, payment.number, payment.paid);
            rows.push(format!(
                "{how} pair of order {id} and payment {number}: {}, {paid}",
                order.amount
            ));
        }
    }
    rows
}

#[cfg(test)]
mod tests {
    use super::*;

    const STEPS: u64 = 12_000;

    fn record(partition: u64, offset: usize, key: &str, value: String) -> Record {
        Record {
            partition: partition as i32,
            offset: offset as i64,
            timestamp: None,
            key: Some(key.as_bytes().to_vec()),
            value: Some(value.into_bytes()),
            headers: Vec::new(),
        }
    }

    fn change(sum: &Sum, is_there: bool) -> String {
        let Sum {
            account,
            orders,
            total,
        } = sum;
        let row = format!("{{\"account\":{account},\"orders\":{orders},\"total\":{total}}}");
        match is_there {
            true => format!("{{\"before\":null,\"after\":{row},\"op\":\"c\"}}"),
            false => format!("{{\"before\":{row},\"after\":null,\"op\":\"d\"}}"),
        }
    }

    fn time(at: i64) -> String {
        let at = at - BEGIN;
        let (hours, minutes, seconds) = (at / 3_600_000, at / 60_000 % 60, at / 1000 % 60);
        format!("2020-01-01 {hours:02}:{minutes:02}:{seconds:02}.{:03}", at % 1000)
    }

    /// Made in another way than the checker does it: order by order.
    fn output() -> Output {
        let mut output = Output::default();
        let mut sums: HashMap<u64, Sum> = HashMap::new();
        let mut orders: Vec<Order> = (0..STEPS).map(input::order).collect();
        for order in &orders {
            let key = format!("{{\"account\":{}}}", order.account);
            let mut push = |sum: &Sum, is_there| {
                let at = output.sums.len();
                output
                    .sums
                    .push(record(order.account % 5, at, &key, change(sum, is_there)));
            };
            let sum = sums.entry(order.account).or_insert(Sum {
                account: order.account,
                orders: 0,
                total: 0,
            });
            if sum.orders > 0 {
                push(sum, false);
            }
            sum.orders += 1;
            sum.total += order.amount;
            push(sum, true);
        }
        orders.sort_by_key(|o| o.at);
        let mut open: BTreeMap<u64, (i64, i64, i64, i64)> = BTreeMap::new();
        let mut close = |region: u64, (begin, last, orders, total): (i64, i64, i64, i64)| {
            let (begin, end) = (time(begin), time(last + GAP));
            let value = format!(
                "{{\"region\":{region},\"begin\":\"{begin}\",\"end\":\"{end}\",\"orders\":{orders},\"total\":{total}}}"
            );
            let at = output.sessions.len();
            output
                .sessions
                .push(record(region % 5, at, &format!("{{\"region\":{region}}}"), value));
        };
        for order in &orders {
            match open.get_mut(&order.region) {
                Some(session) if order.at <= session.1 + GAP => {
                    session.1 = order.at;
                    session.2 += 1;
                    session.3 += order.amount;
                }
                _ => {
                    let begun = open.insert(order.region, (order.at, order.at, 1, order.amount));
                    begun.into_iter().for_each(|ended| close(order.region, ended));
                }
            }
        }
        open.into_iter().for_each(|(region, ended)| close(region, ended));
        for payment in (0..STEPS).flat_map(input::payments) {
            let order = input::order(payment.order);
            for how in ["interval", "ever"] {
                if how == "interval" && (payment.at < order.at || payment.at > order.at + 30_000) {
                    continue;
                }
                let value = format!(
                    "{{\"how\":\"{how}\",\"id\":{},\"number\":{},\"amount\":{},\"paid\":{}}}",
                    order.id, payment.number, order.amount, payment.paid
                );
                let at = output.pairs.len();
                output.pairs.push(record(
                    order.id % 5,
                    at,
                    &format!("{{\"id\":{}}}", order.id),
                    value,
                ));
            }
        }
        output
    }

    fn findings(spoil: impl Fn(&mut Output)) -> Findings {
        let mut output = output();
        spoil(&mut output);
        check(STEPS, Times::Once, &output).unwrap()
    }

    fn lengths(findings: &Findings) -> [usize; 3] {
        [Kind::Lost, Kind::Repeated, Kind::Invented].map(|kind| findings.of(kind).len())
    }

    /// As if the job had begun again with an older part of each output.
    fn gone_back() -> Output {
        let output = output();
        let again = |all: &[Record]| [&all[..all.len() / 2], &all[all.len() / 3..]].concat();
        Output {
            sums: again(&output.sums),
            sessions: again(&output.sessions),
            pairs: again(&output.pairs),
        }
    }

    #[test]
    fn what_is_there_again_is_right_where_the_job_went_back_and_only_there() {
        let output = gone_back();
        let once = check(STEPS, Times::Once, &output).unwrap();
        for kind in [Kind::Repeated, Kind::Broken] {
            assert!(once.of(kind).len() > 100, "{once}");
        }
        let again = |output: &Output| check(STEPS, Times::AgainSinceAnOlderCheckpoint, output).unwrap();
        let findings = again(&output);
        assert!(findings.is_clean(), "{findings}");
        for spoil in [
            (|output| drop(output.sums.remove(700))) as fn(&mut Output),
            |output| drop(output.sums.pop()),
            |output| {
                let twice = vec![output.sums[700].clone(); 2];
                drop(output.sums.splice(700..700, twice));
            },
            |output| output.pairs.truncate(100),
            |output| output.sessions.extend(output.sessions[..].to_vec()),
        ] {
            let mut output = gone_back();
            spoil(&mut output);
            assert!(!again(&output).is_clean());
        }
    }

    #[test]
    fn the_right_output_is_clean() {
        let findings = findings(|_| {});
        assert!(findings.is_clean(), "{findings}");
        assert!(sessions(STEPS).len() > 400);
    }

    #[test]
    fn a_change_that_is_lost_repeated_or_swapped_is_reported_with_its_account() {
        for spoil in [
            (|sums| drop(sums.remove(700))) as fn(&mut Vec<Record>),
            |sums| sums.insert(700, sums[700].clone()),
            |sums| {
                let key = sums[700].key.clone();
                let next = (701..).find(|i| sums[*i].key == key).unwrap();
                sums.swap(700, next);
            },
        ] {
            let account = input::order(0);
            let findings = findings(|output| spoil(&mut output.sums));
            assert_eq!(findings.of(Kind::Broken).len(), 1, "{findings} {account:?}");
            assert!(findings.to_string().contains("account "), "{findings}");
        }
    }

    #[test]
    fn a_wrong_sum_is_reported() {
        let findings = findings(|output| {
            let wrong = output.sums[900].text().replace("\"total\":", "\"total\":1");
            output.sums[900].value = Some(wrong.into_bytes());
        });
        assert_eq!(findings.of(Kind::Broken).len(), 1, "{findings}");
    }

    #[test]
    fn a_session_that_is_lost_repeated_or_cut_is_reported() {
        let lost = findings(|output| drop(output.sessions.remove(50)));
        assert_eq!(lengths(&lost), [1, 0, 0], "{lost}");
        let repeated = findings(|output| output.sessions.push(output.sessions[50].clone()));
        assert_eq!(lengths(&repeated), [0, 1, 0], "{repeated}");
        let cut = findings(|output| {
            let cut = output.sessions[50].text().replace("\"orders\":", "\"orders\":1");
            output.sessions[50].value = Some(cut.into_bytes());
        });
        assert_eq!(lengths(&cut), [1, 0, 1], "{cut}");
    }

    #[test]
    fn a_pair_that_is_lost_or_repeated_is_reported() {
        let lost = findings(|output| drop(output.pairs.pop()));
        assert_eq!(lengths(&lost), [1, 0, 0], "{lost}");
        let repeated = findings(|output| output.pairs.push(output.pairs[9].clone()));
        assert_eq!(lengths(&repeated), [0, 1, 0], "{repeated}");
    }

    #[test]
    fn a_key_in_two_partitions_is_reported() {
        let scattered = findings(|output| {
            let key = output.pairs[0].key.clone();
            let last = output.pairs.iter_mut().rev().find(|r| r.key == key).unwrap();
            last.partition += 1;
            output.sums[5].partition += 1;
        });
        assert!(!scattered.of(Kind::Scattered).is_empty(), "{scattered}");
    }
}
