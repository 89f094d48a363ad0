//! Bar charts as SVG.

use std::fmt::Write;

/// One bar, with the range that its value is the median of.
#[derive(Debug, Clone)]
pub struct Bar {
    pub label: String,
    pub value: f64,
    pub low: f64,
    pub high: f64,
    pub colour: &'static str,
}

/// Bars over one axis.
#[derive(Debug, Clone)]
pub struct Panel {
    pub title: String,
    /// Under the axis.
    pub unit: String,
    /// Digits after the point of the values beside the bars.
    pub decimals: usize,
    pub bars: Vec<Bar>,
}

const WIDTH: f64 = 820.0;
const LEFT: f64 = 170.0;
/// Right of the axis' end: room for the value of the longest bar.
const RIGHT: f64 = 110.0;
const ROW: f64 = 30.0;
const BAR: f64 = 18.0;
const HEAD: f64 = 52.0;
const PANEL_TITLE: f64 = 26.0;
const AXIS: f64 = 58.0;
const MARGIN: f64 = 20.0;

/// A chart of panels, one under the other. Panels without bars are left out.
pub fn bars(title: &str, note: &str, panels: &[Panel]) -> String {
    let panels: Vec<&Panel> = panels.iter().filter(|panel| !panel.bars.is_empty()).collect();
    let panel_height = |panel: &Panel| PANEL_TITLE + panel.bars.len() as f64 * ROW + AXIS;
    let height = HEAD + panels.iter().map(|panel| panel_height(panel)).sum::<f64>() + MARGIN;
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {height}\" width=\"{WIDTH}\" \
         height=\"{height}\" font-family=\"system-ui, sans-serif\" font-size=\"13\" fill=\"#212529\">\n"
    );
    line(
        &mut svg,
        format_args!("<rect width=\"{WIDTH}\" height=\"{height}\" fill=\"#ffffff\"/>"),
    );
    text(
        &mut svg,
        MARGIN,
        26.0,
        "font-size=\"16\" font-weight=\"600\"",
        title,
    );
    text(&mut svg, MARGIN, 44.0, "font-size=\"12\" fill=\"#6c757d\"", note);
    let mut top = HEAD;
    for panel in panels {
        draw(&mut svg, panel, top);
        top += panel_height(panel);
    }
    svg.push_str("</svg>\n");
    svg
}

fn draw(svg: &mut String, panel: &Panel, top: f64) {
    let most = panel
        .bars
        .iter()
        .map(|bar| bar.high.max(bar.value))
        .fold(0.0, f64::max);
    let ticks = ticks(most);
    let end = ticks.last().copied().filter(|end| *end > 0.0).unwrap_or(1.0);
    let x = |value: f64| LEFT + value / end * (WIDTH - LEFT - RIGHT);
    let first = top + PANEL_TITLE;
    let bottom = first + panel.bars.len() as f64 * ROW;
    text(svg, MARGIN, top + 17.0, "font-weight=\"600\"", &panel.title);
    for tick in &ticks {
        let at = x(*tick);
        line(
            svg,
            format_args!("<path d=\"M{at:.1} {first:.1}V{bottom:.1}\" stroke=\"#dee2e6\" fill=\"none\"/>"),
        );
        let style = "text-anchor=\"middle\" font-size=\"11\" fill=\"#495057\"";
        text(
            svg,
            at,
            bottom + 15.0,
            style,
            &number(*tick, tick_decimals(&ticks)),
        );
    }
    let middle = (LEFT + WIDTH - RIGHT) / 2.0;
    text(
        svg,
        middle,
        bottom + 32.0,
        "text-anchor=\"middle\" font-size=\"12\" fill=\"#495057\"",
        &panel.unit,
    );
    for (row, bar) in panel.bars.iter().enumerate() {
        let y = first + row as f64 * ROW + (ROW - BAR) / 2.0;
        let centre = y + BAR / 2.0;
        text(svg, LEFT - 8.0, centre + 4.5, "text-anchor=\"end\"", &bar.label);
        line(
            svg,
            format_args!(
                "<rect x=\"{LEFT}\" y=\"{y:.1}\" width=\"{:.1}\" height=\"{BAR}\" fill=\"{}\"/>",
                x(bar.value) - LEFT,
                bar.colour
            ),
        );
        let (low, high) = (x(bar.low), x(bar.high));
        if high - low >= 1.0 {
            line(
                svg,
                format_args!(
                    "<path d=\"M{low:.1} {centre:.1}H{high:.1}M{low:.1} {:.1}v8M{high:.1} {:.1}v8\" \
                     stroke=\"#212529\" fill=\"none\"/>",
                    centre - 4.0,
                    centre - 4.0
                ),
            );
        }
        let at = high.max(x(bar.value)) + 7.0;
        text(svg, at, centre + 4.5, "", &number(bar.value, panel.decimals));
    }
    line(
        svg,
        format_args!("<path d=\"M{LEFT} {first:.1}V{bottom:.1}\" stroke=\"#495057\" fill=\"none\"/>"),
    );
}

fn line(svg: &mut String, element: std::fmt::Arguments<'_>) {
    // Writing into a String does not fail.
    let _ = writeln!(svg, "{element}");
}

fn text(svg: &mut String, x: f64, y: f64, style: &str, content: &str) {
    let space = if style.is_empty() { "" } else { " " };
    let content = content
        .replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;");
    line(
        svg,
        format_args!("<text x=\"{x:.1}\" y=\"{y:.1}\"{space}{style}>{content}</text>"),
    );
}

/// From 0 to at least `most`, in steps of 1, 2 or 5 times a power of ten; about five of them.
fn ticks(most: f64) -> Vec<f64> {
    if !most.is_finite() || most <= 0.0 {
        return vec![0.0, 1.0];
    }
    let rough = most / 5.0;
    let power = 10f64.powf(rough.log10().floor());
    let step = [1.0, 2.0, 5.0, 10.0]
        .map(|n| n * power)
        .into_iter()
        .find(|s| *s >= rough * 0.999);
    let step = step.unwrap_or(10.0 * power);
    let count = (most / step - 1e-9).ceil() as usize;
    (0..=count.max(1)).map(|n| n as f64 * step).collect()
}

fn tick_decimals(ticks: &[f64]) -> usize {
    let step = ticks.get(1).copied().unwrap_or(1.0);
    if step >= 1.0 {
        0
    } else {
        (-step.log10()).ceil() as usize
    }
}

/// A number for people: thousands apart, so many digits after the point.
pub fn number(value: f64, decimals: usize) -> String {
    let plain = format!("{value:.decimals$}");
    let (whole, rest) = match plain.find('.') {
        Some(point) => plain.split_at(point),
        None => (plain.as_str(), ""),
    };
    let (sign, digits) = match whole.strip_prefix('-') {
        Some(digits) => ("-", digits),
        None => ("", whole),
    };
    let mut grouped = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            grouped.push(',');
        }
        grouped.push(digit);
    }
    format!("{sign}{grouped}{rest}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bar(label: &str, value: f64, low: f64, high: f64) -> Bar {
        Bar {
            label: label.into(),
            value,
            low,
            high,
            colour: "#000000",
        }
    }

    #[test]
    fn ticks_reach_beyond_the_longest_bar() {
        assert_eq!(ticks(520_000.0), [0.0, 200_000.0, 400_000.0, 600_000.0]);
        assert_eq!(ticks(5.0), [0.0, 1.0, 2.0, 3.0, 4.0, 5.0]);
        assert_eq!(ticks(0.0), [0.0, 1.0]);
        assert_eq!(ticks(f64::NAN), [0.0, 1.0]);
        for most in [0.013, 0.7, 1.0, 9.99, 1234.5, 1e9] {
            let ticks = ticks(most);
            assert!(*ticks.last().unwrap() >= most * 0.999, "{most}: {ticks:?}");
            assert!((3..=7).contains(&ticks.len()), "{most}: {ticks:?}");
        }
        assert_eq!(tick_decimals(&[0.0, 0.2]), 1);
        assert_eq!(tick_decimals(&[0.0, 0.05]), 2);
        assert_eq!(tick_decimals(&[0.0, 200.0]), 0);
    }

    #[test]
    fn numbers_for_people() {
        assert_eq!(number(0.0, 0), "0");
        assert_eq!(number(999.4, 0), "999");
        assert_eq!(number(1_234_567.0, 0), "1,234,567");
        assert_eq!(number(-12_345.67, 1), "-12,345.7");
        assert_eq!(number(1.25, 2), "1.25");
    }

    #[test]
    fn a_chart_has_its_labels_units_and_bars() {
        let panel = |title: &str, bars| Panel {
            title: title.into(),
            unit: "messages/s".into(),
            decimals: 0,
            bars,
        };
        let panels = [
            panel(
                "Rate",
                vec![
                    bar("a < b & c", 500.0, 450.0, 600.0),
                    bar("x", 1000.0, 1000.0, 1000.0),
                ],
            ),
            panel("Nothing", vec![]),
        ];
        let svg = bars("Title", "note", &panels);
        assert!(svg.starts_with("<svg ") && svg.ends_with("</svg>\n"));
        assert!(svg.contains(">a &lt; b &amp; c</text>"), "{svg}");
        assert!(svg.contains(">messages/s</text>") && svg.contains(">1,000</text>"));
        assert!(!svg.contains("Nothing"), "a panel without bars is left out");
        // The longest bar ends at the axis' end; the other is half as long.
        let full = WIDTH - LEFT - RIGHT;
        assert!(svg.contains(&format!("width=\"{full:.1}\"")), "{svg}");
        assert!(svg.contains(&format!("width=\"{:.1}\"", full / 2.0)), "{svg}");
        // Only the bar that has a range has a whisker.
        assert_eq!(svg.matches("v8M").count(), 1);
    }
}
