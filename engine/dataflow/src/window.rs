//! Windows of time: which ones a time falls into.

use std::fmt;

use serde::{Deserialize, Serialize};

/// How windows are laid over time. All lengths in milliseconds, above 0; the offset shifts where
/// windows begin.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Window {
    /// One window after the other.
    Tumble { size: i64, offset: i64 },
    /// A window begins at each slide.
    Hop { slide: i64, size: i64, offset: i64 },
    /// Windows of one, two, ... steps up to the size, which begin together.
    Cumulate { step: i64, size: i64, offset: i64 },
    /// A window ends when nothing came for the gap.
    Session { gap: i64 },
}

/// Where rows say what window of event time they are in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct WindowColumns {
    /// What made it.
    pub window: Window,
    /// Columns of the input, by index.
    pub start: usize,
    pub end: usize,
    /// Windows are laid over what clocks show at an instant, in the session's time zone.
    pub is_instant: bool,
}

/// `HOP(size=[30 s], slide=[10 s])`
impl fmt::Display for Window {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (name, lengths) = self.written();
        write!(f, "{name}({})", lengths.join(", "))
    }
}

impl Window {
    /// The function's name, and lengths as plans show them.
    pub(crate) fn written(&self) -> (&'static str, Vec<String>) {
        let length = |name: &str, millis: i64| match millis % 1000 {
            0 => format!("{name}=[{} s]", millis / 1000),
            _ => format!("{name}=[{millis} ms]"),
        };
        let (name, mut lengths) = match *self {
            Window::Tumble { size, .. } => ("TUMBLE", vec![length("size", size)]),
            Window::Hop { slide, size, .. } => ("HOP", vec![length("size", size), length("slide", slide)]),
            Window::Cumulate { step, size, .. } => {
                ("CUMULATE", vec![length("max_size", size), length("step", step)])
            }
            Window::Session { gap } => ("SESSION", vec![length("gap", gap)]),
        };
        if self.offset() != 0 {
            lengths.push(length("offset", self.offset()));
        }
        (name, lengths)
    }

    /// Windows of fixed bounds are made of slices of this length; each row is in one slice.
    pub fn slice(&self) -> Option<i64> {
        match *self {
            Window::Tumble { size, .. } => Some(size),
            Window::Hop { slide, size, .. } => Some(greatest_common_divisor(slide, size)),
            Window::Cumulate { step, .. } => Some(step),
            Window::Session { .. } => None,
        }
    }

    fn offset(&self) -> i64 {
        match *self {
            Window::Tumble { offset, .. } | Window::Hop { offset, .. } | Window::Cumulate { offset, .. } => {
                offset
            }
            Window::Session { .. } => 0,
        }
    }

    /// The end of the slice of a time.
    pub fn slice_end(&self, time: i64) -> i64 {
        match self.slice() {
            Some(slice) => start(time, self.offset(), slice) + slice,
            None => time,
        }
    }

    /// The end of the last window that a slice belongs to.
    pub fn last_end(&self, slice_end: i64) -> i64 {
        match *self {
            Window::Tumble { .. } | Window::Session { .. } => slice_end,
            Window::Hop { slide, size, offset } => {
                // The window that begins last among those that hold the slice's first moment.
                let first = slice_end - greatest_common_divisor(slide, size);
                start(first, offset, slide) + size
            }
            Window::Cumulate { size, offset, .. } => start(slice_end - 1, offset, size) + size,
        }
    }

    /// The windows that hold a slice, as (start, end), ascending by their end.
    pub fn of_slice(&self, slice_end: i64) -> Vec<(i64, i64)> {
        match *self {
            Window::Tumble { size, .. } => vec![(slice_end - size, slice_end)],
            Window::Hop { slide, size, offset } => {
                let first = slice_end - greatest_common_divisor(slide, size);
                let mut windows = Vec::new();
                let mut begin = start(first, offset, slide);
                while begin + size >= slice_end {
                    windows.push((begin, begin + size));
                    begin -= slide;
                }
                windows.reverse();
                windows
            }
            Window::Cumulate { step, size, offset } => {
                let begin = start(slice_end - 1, offset, size);
                let mut windows = Vec::new();
                let mut end = slice_end;
                while end <= begin + size {
                    windows.push((begin, end));
                    end += step;
                }
                windows
            }
            Window::Session { gap } => vec![(slice_end, slice_end + gap)],
        }
    }
}

/// Where the window of a length that holds a time begins.
fn start(time: i64, offset: i64, length: i64) -> i64 {
    time - (time - offset).rem_euclid(length)
}

fn greatest_common_divisor(a: i64, b: i64) -> i64 {
    let (mut a, mut b) = (a, b);
    while b != 0 {
        (a, b) = (b, a % b);
    }
    a
}

#[cfg(test)]
mod tests {
    use super::*;

    /// All windows that hold a time, by looking.
    fn naive(window: Window, time: i64) -> Vec<(i64, i64)> {
        let mut found = Vec::new();
        for start in time - 100..=time {
            match window {
                Window::Tumble { size, offset } => {
                    if (start - offset).rem_euclid(size) == 0 && start + size > time {
                        found.push((start, start + size));
                    }
                }
                Window::Hop { slide, size, offset } => {
                    if (start - offset).rem_euclid(slide) == 0 && start + size > time {
                        found.push((start, start + size));
                    }
                }
                Window::Cumulate { step, size, offset } => {
                    if (start - offset).rem_euclid(size) == 0 && start + size > time {
                        let ends = (1..=size / step).map(|n| start + n * step);
                        found.extend(ends.filter(|end| *end > time).map(|end| (start, end)));
                    }
                }
                Window::Session { .. } => {}
            }
        }
        found.sort_by_key(|(_, end)| *end);
        found
    }

    #[test]
    fn a_time_is_in_these_windows() {
        let windows = [
            Window::Tumble { size: 10, offset: 0 },
            Window::Tumble { size: 10, offset: 3 },
            Window::Hop {
                slide: 5,
                size: 10,
                offset: 0,
            },
            Window::Hop {
                slide: 4,
                size: 10,
                offset: 1,
            },
            Window::Hop {
                slide: 15,
                size: 10,
                offset: 0,
            },
            Window::Cumulate {
                step: 2,
                size: 10,
                offset: 1,
            },
        ];
        for window in windows {
            for time in -50..50 {
                let slice = window.slice_end(time);
                let of_slice = window.of_slice(slice);
                assert_eq!(of_slice, naive(window, time), "{window:?} {time}");
                let last = of_slice.last().map(|w| w.1);
                assert!(
                    last.is_none_or(|last| last == window.last_end(slice)),
                    "{window:?} {time}"
                );
            }
        }
    }
}
