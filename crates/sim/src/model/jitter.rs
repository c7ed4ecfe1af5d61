//! Log-normal jitter of service times, from a seeded generator.

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

/// Draws factors with mean 1 whose logarithm is normal.
#[derive(Debug)]
pub(crate) struct Jitter {
    sigma: f64,
    rng: ChaCha8Rng,
}

impl Jitter {
    /// `sigma` is the standard deviation of the logarithm; 0 switches jitter off.
    pub(crate) fn new(sigma: f64, seed: u64) -> Self {
        Self {
            sigma,
            rng: ChaCha8Rng::seed_from_u64(seed),
        }
    }

    /// The next factor: exp(sigma z - sigma²/2), so that its mean is 1 and jitter does not change loads.
    pub(crate) fn factor(&mut self) -> f64 {
        if self.sigma <= 0.0 {
            return 1.0;
        }
        // Box and Muller (1958): two uniforms make one standard normal; 1 - u keeps the logarithm finite.
        let radius = (-2.0 * (1.0 - self.rng.random::<f64>()).ln()).sqrt();
        let z = radius * (std::f64::consts::TAU * self.rng.random::<f64>()).cos();
        (self.sigma * z - self.sigma * self.sigma / 2.0).exp()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn jitter_keeps_the_mean_and_repeats_with_its_seed() {
        let draw = |seed| {
            let mut jitter = Jitter::new(0.3, seed);
            (0..20_000).map(|_| jitter.factor()).collect::<Vec<_>>()
        };
        let a = draw(1);
        assert_eq!(a, draw(1));
        assert_ne!(a, draw(2));
        let mean = a.iter().sum::<f64>() / a.len() as f64;
        assert!((mean - 1.0).abs() < 0.01, "mean {mean}");
        let log_sd =
            (a.iter().map(|x| (x.ln() + 0.045).powi(2)).sum::<f64>() / a.len() as f64).sqrt();
        assert!((log_sd - 0.3).abs() < 0.01, "sigma {log_sd}");
    }
}
