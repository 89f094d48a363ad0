//! How rows get their windows: laid over a time of theirs or over the clock, or given by columns.
//!
//! A window is known by what clocks show at its start and its end, in milliseconds. Where the time is
//! an instant, that is what they show in the session's time zone.

use arrow::array::Array;
use arrow::datatypes::DataType;
use arrow::record_batch::RecordBatch;
use millrace_core::{Error, Result};
use millrace_dataflow::{Window, WindowColumns, Windowing};
use millrace_expr::text::zone::Zone;

use crate::element::Element;
use crate::time::{instant_millis, last_instant_millis, local_millis, millis};

/// A part of time that is wholly in a window or not at all. Rows are aggregated by slice.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct Slice {
    pub end: i64,
    pub start: i64,
}

impl Slice {
    /// No row is in it.
    pub const NONE: Slice = Slice {
        end: i64::MAX,
        start: i64::MAX,
    };
}

/// From `start` to before `end`.
pub type Bounds = Slice;

/// Bytes of `Slice::prefix`.
pub const PREFIX: usize = 16;

impl Slice {
    /// What stands before keys that are kept by slice: bytes that ascend as the slices do.
    pub fn prefix(self) -> [u8; PREFIX] {
        let ordered = |time: i64| (time as u64 ^ (1 << 63)).to_be_bytes();
        let mut bytes = [0; PREFIX];
        bytes[..8].copy_from_slice(&ordered(self.end));
        bytes[8..].copy_from_slice(&ordered(self.start));
        bytes
    }

    /// The slice of what is kept by it.
    pub fn of_prefix(key: &[u8]) -> Option<Slice> {
        let time = |bytes: &[u8]| Some((u64::from_be_bytes(bytes.try_into().ok()?) ^ (1 << 63)) as i64);
        Some(Slice {
            end: time(key.get(..8)?)?,
            start: time(key.get(8..PREFIX)?)?,
        })
    }
}

pub struct Windows {
    windowing: Windowing,
    /// Where the time is an instant.
    zone: Option<Zone>,
}

impl Windows {
    /// `time` is the type of the time column; none goes by the clock.
    pub fn new(windowing: &Windowing, time: Option<&DataType>, zone: Zone) -> Windows {
        let is_instant = time.is_none_or(|t| matches!(t, DataType::Timestamp(_, Some(_))));
        Windows {
            windowing: windowing.clone(),
            zone: is_instant.then_some(zone),
        }
    }

    /// Windows of event time that columns of the rows give.
    pub fn given(columns: &WindowColumns, zone: Zone) -> Windows {
        Windows {
            windowing: Windowing::Given {
                window: columns.window,
                start: columns.start,
                end: columns.end,
                is_proctime: false,
            },
            zone: columns.is_instant.then_some(zone),
        }
    }

    pub fn zone(&self) -> Option<Zone> {
        self.zone
    }

    /// Windows go by the clock.
    pub fn is_proctime(&self) -> bool {
        match &self.windowing {
            Windowing::Laid { time, .. } => time.is_none(),
            Windowing::Given { is_proctime, .. } => *is_proctime,
        }
    }

    /// Windows are laid over the clock.
    pub fn are_of_clock(&self) -> bool {
        matches!(self.windowing, Windowing::Laid { time: None, .. })
    }

    /// Rows come when their window is over: it was once laid over the clock, and they bring it along. As in Flink
    /// none of them is late, and what comes together is given together, as soon as there is time.
    pub fn come_over(&self) -> bool {
        matches!(
            self.windowing,
            Windowing::Given {
                is_proctime: true,
                ..
            }
        )
    }

    /// Up to where windows are over with an element, if it says so.
    pub fn over_with(&self, element: &Element) -> Option<i64> {
        match element {
            Element::Watermark(watermark) if !self.is_proctime() => Some(*watermark),
            _ => None,
        }
    }

    /// Up to where windows are over by the clock, if they go by it. Rows may still come in the millisecond that it
    /// shows.
    pub fn over_by_clock(&self, now_millis: i64) -> Option<i64> {
        self.is_proctime().then_some(now_millis - 1)
    }

    /// Up to where windows were over in a checkpoint, out of the beginnings of what its subtasks have kept: the lowest, for
    /// what one of them had not seen is not late.
    pub fn restored(&self, entries: Option<&[Vec<u8>]>) -> Result<i64> {
        let Some(entries) = entries.filter(|_| !self.is_proctime()) else {
            return Ok(i64::MIN);
        };
        let mut lowest = None;
        for entry in entries {
            let (bytes, _) = entry
                .split_first_chunk()
                .ok_or_else(|| Error::data_loss("the stored watermark of a window has another form"))?;
            let watermark = i64::from_be_bytes(*bytes);
            lowest = Some(lowest.map_or(watermark, |l: i64| l.min(watermark)));
        }
        Ok(lowest.unwrap_or(i64::MIN))
    }

    /// The slice of each row, of which `now_millis` is the time where windows go by the clock.
    pub fn slices(&self, rows: &RecordBatch, now_millis: i64) -> Result<Vec<Slice>> {
        match &self.windowing {
            Windowing::Given { start, end, .. } => {
                let starts = millis(rows.column(*start))?;
                let ends = millis(rows.column(*end))?;
                let both = starts.into_iter().zip(ends);
                Ok(both.map(|(start, end)| Slice { end, start }).collect())
            }
            Windowing::Laid { window, time: None } => {
                Ok(vec![self.slice(window, now_millis); rows.num_rows()])
            }
            Windowing::Laid {
                window,
                time: Some(column),
            } => {
                let column = rows.column(*column);
                if column.null_count() > 0 {
                    return Err(Error::user("the time of a row to be windowed is null")
                        .with_hint("filter rows without a time out before the window function"));
                }
                let mut last = (i64::MAX, Slice::default());
                let mut slices = Vec::with_capacity(rows.num_rows());
                for time in millis(column)? {
                    // Neighbours are in one slice, mostly.
                    let is_in_last = last.1.start <= time && time < last.1.end;
                    if is_in_last && self.zone.is_none() && window.slice().is_some() {
                        slices.push(last.1);
                        continue;
                    }
                    if time != last.0 {
                        last = (time, self.slice(window, time));
                    }
                    slices.push(last.1);
                }
                Ok(slices)
            }
        }
    }

    /// The end of each row's window, which the rows bring along.
    pub fn ends(&self, rows: &RecordBatch) -> Result<Vec<i64>> {
        match &self.windowing {
            Windowing::Given { end, .. } => millis(rows.column(*end)),
            Windowing::Laid { .. } => Err(Error::internal("rows were planned to bring their windows along")),
        }
    }

    fn slice(&self, window: &Window, time: i64) -> Slice {
        let local = self.zone.map_or(time, |zone| local_millis(zone, time));
        match *window {
            // A session of its own, until it meets others.
            Window::Session { gap } => Slice {
                end: local + gap,
                start: local,
            },
            _ => self.slice_of_end(window, window.slice_end(local)),
        }
    }

    fn slice_of_end(&self, window: &Window, end: i64) -> Slice {
        Slice {
            end,
            start: end - window.slice().unwrap_or_default(),
        }
    }

    /// The windows that hold a slice, ascending by their end.
    pub fn of(&self, slice: Slice) -> Vec<Bounds> {
        match &self.windowing {
            Windowing::Given { .. } => vec![slice],
            Windowing::Laid { window, .. } => {
                let windows = window.of_slice(slice.end).into_iter();
                windows.map(|(start, end)| Bounds { end, start }).collect()
            }
        }
    }

    /// The slice that holds all of its windows' rows up to now: windows that grow have one.
    pub fn grown(&self, slice: Slice) -> Option<Slice> {
        match &self.windowing {
            Windowing::Laid {
                window: window @ Window::Cumulate { step, .. },
                ..
            } => {
                let (start, _) = *window.of_slice(slice.end).first()?;
                Some(self.slice_of_end(window, start + step))
            }
            _ => None,
        }
    }

    /// The watermark, or the time by the clock, with which a window that ends there is over.
    pub fn over_at(&self, end: i64) -> i64 {
        match self.zone {
            None => end - 1,
            Some(zone) => last_instant_millis(zone, end - 1),
        }
    }

    /// The watermark behind this one with which a slice is over.
    pub fn next_over(&self, watermark: i64) -> i64 {
        let (Windowing::Laid { window, .. } | Windowing::Given { window, .. }) = &self.windowing;
        match watermark.checked_add(1) {
            None => watermark,
            Some(time) => self.over_at(self.slice(window, time).end),
        }
    }

    /// The time of a window's results.
    pub fn time(&self, end: i64) -> i64 {
        match self.zone {
            None => end - 1,
            Some(zone) => instant_millis(zone, end - 1),
        }
    }
}
