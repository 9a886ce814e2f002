//! When to regenerate: E_RG of the paper, counted in finished epochs.

/// Due at the epochs `start`, `start + every`, `start + 2 every`, … up to `until`.
///
/// An epoch is the number of finished epochs, the first is 1. The first author's research code is
/// `start` 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Schedule {
    /// Epochs between two regenerations, E_RG; at least 1.
    pub every: u64,
    /// The first epoch at which to regenerate; at least 1.
    pub start: u64,
    /// The last epoch at which it may happen.
    pub until: Option<u64>,
}

/// Whether it is time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Due {
    /// Whether this epoch is one of the schedule's.
    pub now: bool,
    /// The next one after this epoch, if there is one.
    pub next: Option<u64>,
}

impl Schedule {
    /// What the schedule says after `epoch` finished epochs.
    pub fn at(&self, epoch: u64) -> Due {
        let allowed = |epoch: &u64| self.until.is_none_or(|until| *epoch <= until);
        let now = epoch >= self.start
            && (epoch - self.start).is_multiple_of(self.every)
            && allowed(&epoch);
        let next = if epoch < self.start {
            Some(self.start)
        } else {
            let rounds = (epoch - self.start) / self.every + 1;
            rounds
                .checked_mul(self.every)
                .and_then(|n| n.checked_add(self.start))
        };
        Due {
            now,
            next: next.filter(allowed),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn due(every: u64, start: u64, until: Option<u64>) -> Vec<u64> {
        let schedule = Schedule {
            every,
            start,
            until,
        };
        (0..=30).filter(|epoch| schedule.at(*epoch).now).collect()
    }

    #[test]
    fn it_is_due_from_start_in_steps_of_every_up_to_until() {
        assert_eq!(due(5, 5, None), [5, 10, 15, 20, 25, 30]);
        assert_eq!(due(5, 1, Some(16)), [1, 6, 11, 16]);
        assert_eq!(due(10, 3, Some(12)), [3]);
        assert_eq!(due(1, 28, None), [28, 29, 30]);
    }

    #[test]
    fn next_is_the_first_due_epoch_after_this_one() {
        for schedule in [
            Schedule {
                every: 5,
                start: 5,
                until: None,
            },
            Schedule {
                every: 7,
                start: 2,
                until: Some(20),
            },
        ] {
            for epoch in 0..40 {
                let first = (epoch + 1..100).find(|epoch| schedule.at(*epoch).now);
                assert_eq!(schedule.at(epoch).next, first, "{schedule:?} at {epoch}");
            }
        }
    }

    #[test]
    fn the_largest_numbers_do_not_overflow() {
        let schedule = Schedule {
            every: u64::MAX,
            start: u64::MAX,
            until: None,
        };
        assert_eq!(
            schedule.at(u64::MAX),
            Due {
                now: true,
                next: None
            }
        );
    }
}
