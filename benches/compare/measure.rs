//! Alternating runs: the same load on one server after the other, again and again, and what is in the middle.

use crate::server::Server;
use std::io;
use std::time::{Duration, Instant};

/// How much is measured.
#[derive(Debug, Clone, Copy)]
pub struct Effort {
    /// Rounds, in each of which every server has its turn.
    pub rounds: usize,
    /// Length of a turn.
    pub turn: Duration,
}

/// One server's turn, or the median of its turns.
#[derive(Debug, Clone, Copy, Default)]
pub struct Cost {
    /// The server's CPU time an operation, in microseconds.
    pub user_us: f64,
    pub system_us: f64,
    /// Operations a second.
    pub rate: f64,
}

impl Cost {
    pub fn total_us(self) -> f64 {
        self.user_us + self.system_us
    }
}

/// What the servers came to in all rounds.
#[derive(Debug, Clone)]
pub struct Rounds(Vec<Vec<Cost>>);

impl Rounds {
    /// Gives every server its turn in every round. `load` returns the operations that it made.
    pub fn run(
        servers: &[Server],
        rounds: usize,
        mut load: impl FnMut(&Server) -> io::Result<u64>,
    ) -> io::Result<Self> {
        let mut costs = vec![Vec::new(); servers.len()];
        for _ in 0..rounds {
            for (server, costs) in servers.iter().zip(&mut costs) {
                let (before, began) = (server.cpu()?, Instant::now());
                let operations = load(server)?.max(1) as f64;
                let (used, time) = (server.cpu()?.since(before), began.elapsed());
                costs.push(Cost {
                    user_us: used.user * 1e6 / operations,
                    system_us: used.system * 1e6 / operations,
                    rate: operations / time.as_secs_f64(),
                });
            }
        }
        Ok(Self(costs))
    }

    /// The medians of one server.
    pub fn cost(&self, server: usize) -> Cost {
        let of = |part: fn(&Cost) -> f64| median(self.0[server].iter().map(part).collect());
        Cost { user_us: of(|c| c.user_us), system_us: of(|c| c.system_us), rate: of(|c| c.rate) }
    }

    /// Median over the rounds of how much more one server has of something than another had in the same round.
    pub fn ratio(&self, of: usize, to: usize, what: fn(Cost) -> f64) -> f64 {
        let pairs = self.0[of].iter().zip(&self.0[to]);
        median(pairs.map(|(a, b)| what(*a) / what(*b)).collect())
    }
}

/// The one in the middle; 0 of nothing.
pub fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(0.0)
}
