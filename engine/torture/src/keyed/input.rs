//! Orders and payments by number: the same every time, so that the checker needs no list of what was
//! sent.

/// Event time grows by so much from step to step, in milliseconds.
const STEP: i64 = 5;
/// 2020-01-01; a test's event times stay on this day but for the last ones.
pub const BEGIN: i64 = 1_577_836_800_000;
/// Behind all others: what only moves the watermark, so that every session ends.
pub const END: i64 = BEGIN + 40 * 3_600_000;
/// Watermarks are so far behind, in milliseconds.
pub const BOUND: i64 = 1000;
/// Times are behind those of their step by less than this. Further from the bound than a millisecond: a
/// row never touches the end of a session that was given out before it came.
const DISORDER: u64 = 980;

/// Orders of a region belong to one session if they are not further apart, in milliseconds.
pub const GAP: i64 = 2000;
pub const ACCOUNTS: u64 = 4000;
/// So many that the time from one order of a region to the next is the gap, on average.
const REGIONS: u64 = 400;
/// Every so many orders there is one of region 0, whose session never ends before the input does.
const STEADY: u64 = 40;

/// A payment follows its order by so many steps, with each of these for an eighth of all orders: it may be
/// before it in event time, or later than the join with an interval allows.
const DELAYS: [u64; 6] = [0, 1, 7, 150, 2000, 8000];
/// Payments are paired by the join with an interval from their order's time to so much later, in
/// milliseconds.
pub const INTERVAL: i64 = 30_000;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Order {
    pub id: u64,
    pub account: u64,
    pub region: u64,
    pub amount: i64,
    pub at: i64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Payment {
    pub order: u64,
    /// Which of the order's.
    pub number: u64,
    pub paid: i64,
    pub at: i64,
}

/// A number for each number, without a pattern that anyone would see.
fn mixed(number: u64, what: u64) -> u64 {
    let mut z = number
        .wrapping_mul(8)
        .wrapping_add(what)
        .wrapping_mul(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

/// The order of a step.
pub fn order(id: u64) -> Order {
    let account = mixed(id, 0) % ACCOUNTS;
    let region = match id % STEADY {
        0 => 0,
        _ => 1 + account % (REGIONS - 1),
    };
    Order {
        id,
        account,
        region,
        amount: 1 + (mixed(id, 1) % 1000) as i64,
        at: BEGIN + BOUND + id as i64 * STEP - (mixed(id, 2) % DISORDER) as i64,
    }
}

/// The payments of a step.
pub fn payments(step: u64) -> impl Iterator<Item = Payment> {
    DELAYS.iter().zip(0u64..).filter_map(move |(delay, number)| {
        let order = step.checked_sub(*delay)?;
        let is_paid = mixed(order, 3) >> (3 * number) & 7 == 0;
        is_paid.then(|| Payment {
            order,
            number,
            paid: 1 + (mixed(order, 4 + number % 4) % 500) as i64,
            at: BEGIN + BOUND + step as i64 * STEP - (mixed(step, 5) % DISORDER) as i64,
        })
    })
}

impl Order {
    /// Key and value of its record.
    pub fn record(&self) -> (String, String) {
        let Order {
            id,
            account,
            region,
            amount,
            at,
        } = self;
        (
            format!("account-{account}"),
            format!(
                "{{\"id\":{id},\"account\":{account},\"region\":{region},\"amount\":{amount},\"at\":{at}}}"
            ),
        )
    }
}

impl Payment {
    pub fn record(&self) -> (String, String) {
        let Payment {
            order,
            number,
            paid,
            at,
        } = self;
        (
            format!("order-{order}"),
            format!("{{\"id\":{order},\"number\":{number},\"paid\":{paid},\"at\":{at}}}"),
        )
    }
}

/// The value of a record of either topic that the job leaves out, but for its time.
pub fn end() -> String {
    format!("{{\"id\":-1,\"at\":{END}}}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_row_is_behind_the_watermark() {
        let mut newest = i64::MIN;
        for id in 0..20_000 {
            let at = order(id).at;
            assert!(at > newest.saturating_sub(BOUND) + 1, "order {id}");
            assert!(payments(id).all(|p| p.at > newest.saturating_sub(BOUND) + 1));
            newest = newest.max(at);
        }
    }

    #[test]
    fn there_are_payments_of_all_kinds() {
        let all: Vec<Payment> = (0..40_000).flat_map(payments).collect();
        let lag = |p: &Payment| p.at - order(p.order).at;
        assert!(all.iter().any(|p| lag(p) < 0));
        assert!(all.iter().any(|p| (0..=INTERVAL).contains(&lag(p))));
        assert!(all.iter().any(|p| lag(p) > INTERVAL));
        for number in 0..DELAYS.len() as u64 {
            assert!(all.iter().filter(|p| p.number == number).count() > 1000);
        }
    }
}
