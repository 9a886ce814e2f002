//! Means, deviations, and how sure they are.

use serde::Serialize;
use statrs::distribution::{ContinuousCDF as _, StudentsT};

/// How sure an interval is: it covers the true mean in so many of all cases.
pub const CONFIDENCE: f64 = 0.95;

/// Several measurements of one thing.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Sample {
    /// How many.
    pub n: usize,
    /// Their mean.
    pub mean: Option<f64>,
    /// Their standard deviation, with n − 1 in the denominator; `None` of one.
    pub deviation: Option<f64>,
    /// In which the mean of all possible ones lies, with a confidence of 95 %, if they are normally
    /// distributed: mean ± t · deviation / √n, with Student's t at n − 1 degrees of freedom; `None` of
    /// one.
    pub interval: Option<[f64; 2]>,
    /// Each of them.
    pub values: Vec<f64>,
}

impl Sample {
    /// The statistics of these values.
    pub fn of(values: Vec<f64>) -> Sample {
        let n = values.len();
        let mean = (n > 0).then(|| values.iter().sum::<f64>() / n as f64);
        let deviation = mean.filter(|_| n > 1).map(|mean| {
            let squares: f64 = values.iter().map(|value| (value - mean).powi(2)).sum();
            (squares / (n - 1) as f64).sqrt()
        });
        let interval = mean.zip(deviation).map(|(mean, deviation)| {
            let reach = students_t(n - 1) * deviation / (n as f64).sqrt();
            [mean - reach, mean + reach]
        });
        Sample {
            n,
            mean,
            deviation,
            interval,
            values,
        }
    }
}

/// The quantile of Student's t that leaves half of 1 − [`CONFIDENCE`] at each side.
fn students_t(freedom: usize) -> f64 {
    let t = StudentsT::new(0.0, 1.0, freedom as f64).expect("freedom is above 0");
    t.inverse_cdf(0.5 + CONFIDENCE / 2.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_quantiles_are_those_of_the_tables() {
        let table = [(1, 12.706), (2, 4.303), (4, 2.776), (9, 2.262), (30, 2.042)];
        for (freedom, t) in table {
            assert!((students_t(freedom) - t).abs() < 6e-4, "{freedom}");
        }
    }

    #[test]
    fn a_sample_has_the_textbook_statistics_and_one_value_no_interval() {
        let sample = Sample::of(vec![1.0, 2.0, 3.0]);
        assert_eq!(
            (sample.n, sample.mean, sample.deviation),
            (3, Some(2.0), Some(1.0))
        );
        let [low, high] = sample.interval.unwrap();
        let reach = 4.302_653 / 3.0_f64.sqrt();
        assert!((low - (2.0 - reach)).abs() < 1e-5 && (high - (2.0 + reach)).abs() < 1e-5);
        let one = Sample::of(vec![1.5]);
        assert_eq!(
            (one.mean, one.deviation, one.interval),
            (Some(1.5), None, None)
        );
        assert_eq!(Sample::of(Vec::new()).mean, None);
    }
}
