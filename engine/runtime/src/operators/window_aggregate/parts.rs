//! The parts in which Flink takes rows in: where a slice ends that they are of, it adds what they have become
//! together to the state. It shows where rows are taken back and functions keep the order of values.

use millrace_core::{Error, Result};

use crate::windows::Windows;

pub(super) struct Parts {
    pub number: u64,
    watermark: i64,
    /// With which watermark the first slice is over that the part has rows of.
    earliest: Option<i64>,
    /// Watermarks below it end no slice.
    next: i64,
}

impl Parts {
    /// `restored` are the entries of all subtasks, each behind a watermark; `progress` is the lowest of these.
    pub fn open(windows: &Windows, progress: i64, restored: Option<&[Vec<u8>]>) -> Result<Self> {
        let mut parts = Parts {
            number: 0,
            watermark: progress,
            earliest: None,
            next: i64::MIN,
        };
        if progress > i64::MIN {
            parts.next = windows.next_over(progress);
        }
        let entries = restored.unwrap_or_default();
        for entry in entries {
            // Of a checkpoint that was taken without parts, as with another table.optimizer.agg-phase-strategy.
            if entry.len() < 24 {
                parts.number = parts.number.max(1);
                continue;
            }
            let form = || Error::data_loss("the stored part of a window's rows has another form");
            let number = |from: usize| entry.get(from..from + 8)?.try_into().ok();
            let (part, earliest) = (number(8).ok_or_else(form)?, number(16).ok_or_else(form)?);
            // What several subtasks had is of no part any more.
            parts.number = parts
                .number
                .max(u64::from_be_bytes(part) + u64::from(entries.len() > 1));
            let earliest = i64::from_be_bytes(earliest);
            parts.earliest = Some(earliest).filter(|time| *time != i64::MAX && entries.len() == 1);
        }
        Ok(parts)
    }

    /// A row is in a slice that is over then.
    pub fn row(&mut self, over_at: i64) {
        self.earliest = Some(self.earliest.map_or(over_at, |earliest| earliest.min(over_at)));
    }

    /// Whether a watermark ends the part; what follows is of another.
    pub fn end(&mut self, watermark: i64, windows: &Windows) -> bool {
        if watermark <= self.watermark {
            return false;
        }
        self.watermark = watermark;
        if watermark < self.next {
            return false;
        }
        self.next = windows.next_over(watermark);
        let ends = self.earliest.is_some_and(|earliest| earliest <= watermark);
        if ends {
            self.earliest = None;
            self.number += 1;
        }
        ends
    }

    pub fn write(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.number.to_be_bytes());
        out.extend_from_slice(&self.earliest.unwrap_or(i64::MAX).to_be_bytes());
    }
}
