//! A row of bars for figures over time.

/// Bars in a row; more figures share one, which shows the largest of them.
const BARS_MAX: usize = 60;
const BARS: [char; 8] = ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];

/// One figure after the other, `None` where there is none; `full` is as high as a bar can be.
pub(super) fn sparkline(figures: &[Option<f64>], full: f64) -> String {
    let bars = figures.len().min(BARS_MAX);
    let part = |bar: usize| &figures[bar * figures.len() / bars..(bar + 1) * figures.len() / bars];
    (0..bars).map(|at| bar(part(at).iter().flatten().copied().reduce(f64::max), full)).collect()
}

fn bar(figure: Option<f64>, full: f64) -> char {
    let Some(figure) = figure else { return ' ' };
    // Nothing at all is the lowest bar, and anything is above it.
    if figure <= 0.0 || full <= 0.0 {
        return BARS[0];
    }
    let steps = (BARS.len() - 1) as f64;
    BARS[((figure / full * steps).ceil() as usize).clamp(1, BARS.len() - 1)]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bar_is_as_high_as_its_figure() {
        assert_eq!(
            sparkline(&[Some(0.0), Some(0.001), None, Some(0.5), Some(1.0), Some(9.0)], 1.0),
            "▁▂ ▅██"
        );
        assert_eq!(sparkline(&[], 1.0), "");
        assert_eq!(sparkline(&[Some(0.0)], 0.0), "▁");
    }

    #[test]
    fn many_figures_share_bars_and_the_largest_shows() {
        let mut figures = vec![Some(0.0); 600];
        figures[345] = Some(1.0);
        let row: Vec<char> = sparkline(&figures, 1.0).chars().collect();
        assert_eq!((row.len(), row[34]), (BARS_MAX, '█'));
        assert_eq!(row.iter().filter(|&&bar| bar == '▁').count(), BARS_MAX - 1);
    }
}
