//! What an optimizer keeps for γ, once γ are regenerated: it was gathered for other values.

use super::lower_median;

/// What a number that an optimizer keeps for each channel is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Moment {
    /// A mean of gradients or a velocity: the step follows it.
    First,
    /// A mean or maximum of their magnitudes: the step is divided by it, or by its root.
    Second,
}

impl Moment {
    /// The one by which a step is divided, or the one that it follows.
    pub fn of(divides: bool) -> Moment {
        if divides {
            Moment::Second
        } else {
            Moment::First
        }
    }
}

/// What is kept for one layer: a value a channel, of one kind.
#[derive(Debug, Clone, PartialEq)]
pub struct Kept {
    /// One value a channel.
    pub values: Vec<f64>,
    /// The channels that are regenerated.
    pub regenerated: Vec<usize>,
}

/// Resets what is kept for the regenerated channels of the layers of a network.
///
/// First moments become 0. Second moments cannot: the optimizer corrects them for its number of
/// steps, which stays, so that the first update would be many times the learning rate. They become
/// the lower median of those of the layer's other channels, or, where it has none, of the network's,
/// and stay as they are where they are larger.
pub fn reset(moment: Moment, layers: &mut [Kept]) {
    let all = match moment {
        Moment::First => None,
        Moment::Second => {
            lower_median(&mut layers.iter().flat_map(Kept::others).collect::<Vec<_>>())
        }
    };
    for layer in layers {
        let own = match moment {
            Moment::First => None,
            Moment::Second => lower_median(&mut layer.others().collect::<Vec<_>>()),
        };
        for channel in &layer.regenerated {
            let Some(value) = layer.values.get_mut(*channel) else {
                continue;
            };
            *value = match (moment, own.or(all)) {
                (Moment::First, _) => 0.0,
                (Moment::Second, Some(median)) => value.max(median),
                (Moment::Second, None) => *value,
            };
        }
    }
}

impl Kept {
    /// The values of the channels that are not regenerated.
    fn others(&self) -> impl Iterator<Item = f64> {
        let mut out = self.regenerated.iter().copied().peekable();
        let values = self.values.iter().copied().enumerate();
        values.filter_map(move |(channel, value)| {
            while out.next_if(|regenerated| *regenerated < channel).is_some() {}
            (out.peek() != Some(&channel)).then_some(value)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kept(values: &[f64], regenerated: &[usize]) -> Kept {
        Kept {
            values: values.to_vec(),
            regenerated: regenerated.to_vec(),
        }
    }

    fn after(moment: Moment, layers: &[Kept]) -> Vec<Vec<f64>> {
        let mut layers = layers.to_vec();
        reset(moment, &mut layers);
        layers.into_iter().map(|layer| layer.values).collect()
    }

    #[test]
    fn first_moments_of_regenerated_channels_become_0() {
        let layers = [kept(&[1.0, -2.0, 3.0], &[0, 2]), kept(&[4.0], &[])];
        assert_eq!(
            after(Moment::First, &layers),
            [vec![0.0, -2.0, 0.0], vec![4.0]]
        );
    }

    #[test]
    fn second_moments_become_the_lower_median_of_the_layers_others() {
        let layers = [kept(&[0.0, 5.0, 3.0, 0.0, 9.0, 7.0], &[0, 3])];
        assert_eq!(
            after(Moment::Second, &layers),
            [[5.0, 5.0, 3.0, 5.0, 9.0, 7.0]]
        );
    }

    #[test]
    fn a_second_moment_that_is_larger_stays() {
        assert_eq!(
            after(Moment::Second, &[kept(&[8.0, 1.0, 2.0], &[0])]),
            [[8.0, 1.0, 2.0]]
        );
    }

    #[test]
    fn a_layer_regenerated_as_a_whole_takes_the_median_of_the_network() {
        let layers = [kept(&[0.0, 0.0], &[0, 1]), kept(&[1.0, 2.0, 3.0], &[2])];
        assert_eq!(
            after(Moment::Second, &layers),
            [vec![1.0, 1.0], vec![1.0, 2.0, 3.0]]
        );
    }

    #[test]
    fn where_everything_is_regenerated_second_moments_stay() {
        assert_eq!(
            after(Moment::Second, &[kept(&[0.5, 0.0], &[0, 1])]),
            [[0.5, 0.0]]
        );
    }

    #[test]
    fn channels_that_are_not_there_are_passed_over() {
        assert_eq!(after(Moment::Second, &[kept(&[], &[0, 3])]), [[0.0; 0]]);
    }
}
