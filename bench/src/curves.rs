//! Curves over logarithmic axes as SVG.

use std::fmt::Write;

use crate::svg::number;

/// One curve.
#[derive(Debug, Clone)]
pub struct Curve {
    pub label: String,
    pub colour: &'static str,
    /// Dashed, to tell two curves of one colour apart.
    pub dashed: bool,
    pub points: Vec<(f64, f64)>,
}

const WIDTH: f64 = 820.0;
const HEIGHT: f64 = 460.0;
const LEFT: f64 = 90.0;
const RIGHT: f64 = 190.0;
const TOP: f64 = 70.0;
const BOTTOM: f64 = 60.0;

/// What the axes say.
#[derive(Debug, Clone, Copy)]
pub struct Axes<'a> {
    pub x: &'a str,
    pub y: &'a str,
}

/// A chart of curves; both axes are logarithmic, to a power of ten at each end.
pub fn curves(title: &str, note: &str, axes: Axes<'_>, curves: &[Curve]) -> String {
    let xs = powers(curves.iter().flat_map(|c| &c.points).map(|p| p.0));
    let ys = powers(curves.iter().flat_map(|c| &c.points).map(|p| p.1));
    let place = |value: f64, powers: (i32, i32), from: f64, to: f64| {
        let part = (value.log10() - f64::from(powers.0)) / f64::from(powers.1 - powers.0);
        from + part * (to - from)
    };
    let x = |value: f64| place(value, xs, LEFT, WIDTH - RIGHT);
    let y = |value: f64| place(value, ys, HEIGHT - BOTTOM, TOP);
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {HEIGHT}\" width=\"{WIDTH}\" \
         height=\"{HEIGHT}\" font-family=\"system-ui, sans-serif\" font-size=\"13\" fill=\"#212529\">\n\
         <rect width=\"{WIDTH}\" height=\"{HEIGHT}\" fill=\"#ffffff\"/>\n\
         <text x=\"20\" y=\"26\" font-size=\"16\" font-weight=\"600\">{}</text>\n\
         <text x=\"20\" y=\"46\" font-size=\"12\" fill=\"#6c757d\">{}</text>\n",
        escaped(title),
        escaped(note)
    );
    let mut line = |text: std::fmt::Arguments<'_>| {
        // Writing into a String does not fail.
        let _ = writeln!(svg, "{text}");
    };
    for power in xs.0..=xs.1 {
        let (value, at) = (10f64.powi(power), x(10f64.powi(power)));
        line(format_args!(
            "<path d=\"M{at:.1} {TOP}V{:.1}\" stroke=\"#dee2e6\"/><text x=\"{at:.1}\" y=\"{:.1}\" \
             text-anchor=\"middle\" font-size=\"11\" fill=\"#495057\">{}</text>",
            HEIGHT - BOTTOM,
            HEIGHT - BOTTOM + 17.0,
            number(value, 0)
        ));
    }
    for power in ys.0..=ys.1 {
        let (value, at) = (10f64.powi(power), y(10f64.powi(power)));
        line(format_args!(
            "<path d=\"M{LEFT} {at:.1}H{:.1}\" stroke=\"#dee2e6\"/><text x=\"{:.1}\" y=\"{:.1}\" \
             text-anchor=\"end\" font-size=\"11\" fill=\"#495057\">{}</text>",
            WIDTH - RIGHT,
            LEFT - 8.0,
            at + 4.0,
            number(value, 0)
        ));
    }
    line(format_args!(
        "<text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"middle\" font-size=\"12\" fill=\"#495057\">{}</text>",
        (LEFT + WIDTH - RIGHT) / 2.0,
        HEIGHT - 16.0,
        escaped(axes.x)
    ));
    line(format_args!(
        "<text x=\"20\" y=\"{:.1}\" font-size=\"12\" fill=\"#495057\">{}</text>",
        TOP - 8.0,
        escaped(axes.y)
    ));
    // Labels stand at the curves' ends, one under the other where they would meet.
    let mut ends: Vec<(f64, &Curve)> = curves
        .iter()
        .filter_map(|curve| Some((y(curve.points.last()?.1), curve)))
        .collect();
    ends.sort_by(|a, b| a.0.total_cmp(&b.0));
    let mut lowest = f64::MIN;
    for (at, curve) in ends {
        lowest = at.max(lowest + 16.0);
        let path: Vec<String> = curve
            .points
            .iter()
            .map(|(a, b)| format!("{:.1} {:.1}", x(*a), y(*b)))
            .collect();
        let dash = if curve.dashed {
            " stroke-dasharray=\"6 4\""
        } else {
            ""
        };
        line(format_args!(
            "<path d=\"M{}\" fill=\"none\" stroke=\"{}\" stroke-width=\"2\"{dash}/>",
            path.join("L"),
            curve.colour
        ));
        for (a, b) in &curve.points {
            line(format_args!(
                "<circle cx=\"{:.1}\" cy=\"{:.1}\" r=\"3.5\" fill=\"{}\"/>",
                x(*a),
                y(*b),
                curve.colour
            ));
        }
        line(format_args!(
            "<text x=\"{:.1}\" y=\"{:.1}\" fill=\"{}\">{}</text>",
            WIDTH - RIGHT + 10.0,
            lowest + 4.5,
            curve.colour,
            escaped(&curve.label)
        ));
    }
    svg.push_str("</svg>\n");
    svg
}

/// The powers of ten around some values.
fn powers(values: impl Iterator<Item = f64>) -> (i32, i32) {
    let logs: Vec<f64> = values.filter(|v| *v > 0.0).map(f64::log10).collect();
    let low = logs.iter().copied().fold(f64::INFINITY, f64::min);
    let high = logs.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    if !low.is_finite() || !high.is_finite() {
        return (0, 1);
    }
    let low = (low + 1e-9).floor() as i32;
    (low, (high.ceil() as i32).max(low + 1))
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn axes_end_at_powers_of_ten_around_the_values() {
        assert_eq!(powers([20.0, 3000.0].into_iter()), (1, 4));
        assert_eq!(powers([100.0].into_iter()), (2, 3));
        assert_eq!(powers(std::iter::empty()), (0, 1));
    }

    #[test]
    fn curves_have_their_points_and_labels() {
        let curve = |label: &str, dashed| Curve {
            label: label.into(),
            colour: "#000000",
            dashed,
            points: vec![(10.0, 100.0), (100.0, 1000.0)],
        };
        let axes = Axes {
            x: "keys",
            y: "rows/s",
        };
        let svg = curves("T", "n", axes, &[curve("a < b", false), curve("c", true)]);
        assert!(svg.contains(">a &lt; b</text>") && svg.contains("stroke-dasharray"));
        assert_eq!(svg.matches("<circle").count(), 4);
        // From corner to corner.
        let corners = format!("M{LEFT:.1} {:.1}L{:.1} {TOP:.1}", HEIGHT - BOTTOM, WIDTH - RIGHT);
        assert!(svg.contains(&corners), "{svg}");
    }
}
