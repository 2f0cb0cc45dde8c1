//! Fixed predictors: a sample is guessed from those before it as the next of a polynomial, and only the difference to
//! the guess is written (as in T. Robinson's SHORTEN, 1994). With order `n`, that is the `n`th difference.

/// Orders from 0 to 3.
const ORDERS: usize = 1 << ORDER_BITS;
/// Bits in which an order is told.
pub(super) const ORDER_BITS: u32 = 2;

/// The differences of `N` values, of the order that makes them smallest.
#[derive(Debug)]
pub(super) struct Differences<const N: usize> {
    by_order: [[i32; N]; ORDERS],
    order: usize,
}

impl<const N: usize> Differences<N> {
    /// There are at least [`ORDERS`] values of at most 20 bits. The first ones have too few before them and keep differences of lower orders.
    pub(super) fn new(values: [i32; N]) -> Self {
        let mut by_order = [values; ORDERS];
        for order in 1..ORDERS {
            let lower = by_order[order - 1];
            let higher = &mut by_order[order];
            higher[..order].copy_from_slice(&lower[..order]);
            for (difference, pair) in higher[order..].iter_mut().zip(lower[order - 1..].windows(2)) {
                *difference = pair[1] - pair[0];
            }
        }
        let order = (0..ORDERS).min_by_key(|order| size(&by_order[*order])).unwrap_or_default();
        Self { by_order, order }
    }

    pub(super) fn order(&self) -> u32 {
        self.order as u32
    }

    pub(super) fn values(&self) -> &[i32; N] {
        &self.by_order[self.order]
    }
}

/// Goes back from differences of that order to the values. What nobody can have written gives any values.
pub(super) fn restore(differences: &mut [i32], order: u32) {
    for order in (1..=order as usize).rev() {
        for i in order..differences.len() {
            differences[i] = differences[i].wrapping_add(differences[i - 1]);
        }
    }
}

/// Without the first ones, which are alike for all orders or far from what follows.
fn size(values: &[i32]) -> u32 {
    let rest = values.get(ORDERS - 1..).unwrap_or_default();
    rest.iter().map(|value| value.unsigned_abs()).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lead_back<const N: usize>(values: [i32; N]) -> u32 {
        let differences = Differences::new(values);
        let mut restored = *differences.values();
        restore(&mut restored, differences.order());
        assert_eq!(restored, values);
        differences.order()
    }

    #[test]
    fn differences_lead_back_to_the_values() {
        let alternating = |i: usize| if i.is_multiple_of(2) { 500_000 } else { -500_000 };
        assert_eq!(lead_back::<480>(std::array::from_fn(alternating)), 0);
        assert_eq!(lead_back([5; 172]), 1);
        assert_eq!(lead_back::<480>(std::array::from_fn(|i| (i * i) as i32 - 3_000)), 3);
    }

    #[test]
    fn a_straight_line_leaves_nothing() {
        let line = Differences::<100>::new(std::array::from_fn(|i| 1_000 - 3 * i as i32));
        assert_eq!((line.order(), &line.values()[..3]), (2, &[1_000, -3, 0][..]));
        assert!(line.values()[2..].iter().all(|difference| *difference == 0));
    }
}
