//! Causality: how far what a channel depends on lies before its own site.
//!
//! The steps that a value may depend on are bounded by the last of them, relative to the value's own site: so many rows on, so many
//! columns on, and the channel of that site. Bounds are ordered as the steps are, rows first. Reading from another site adds its
//! offset, reading from several channels takes the largest bound. So one walk through the graph, from the input to the output,
//! proves that p(x_i | ·) depends on steps before i only, or finds the path on which it does not.

/// The last step that a value may depend on, seen from its own site.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Lag {
    row: i32,
    column: i32,
    channel: i32,
}

impl Lag {
    /// Of a value that depends on no step.
    pub const NOTHING: Self = Self { row: i32::MIN, column: 0, channel: 0 };

    /// Of a value that depends on its own site's steps up to this one, and on all sites before; −1 for none of its own.
    pub fn own_site(step: i32) -> Self {
        Self { row: 0, column: 0, channel: step }
    }

    /// Seen from the site that lies at −`offset` from the value's own.
    pub fn at(self, [row, column]: [i32; 2]) -> Self {
        // Saturating: offsets are smaller than the image, and so are all sums of them that matter.
        Self { row: self.row.saturating_add(row), column: self.column.saturating_add(column), ..self }
    }

    /// Whether the value depends on rows before its own only.
    pub fn is_rows_above(self) -> bool {
        self.row < 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bounds_are_ordered_as_the_steps_are() {
        let own = Lag::own_site;
        let ordered = [
            Lag::NOTHING,
            own(9).at([-2, 5]),
            own(0).at([-1, 7]),
            own(9).at([0, -1]),
            own(-1),
            own(0),
            own(1),
            own(0).at([0, 1]),
            own(0).at([1, -8]),
        ];
        assert!(ordered.is_sorted_by(|a, b| a < b));
        assert_eq!(own(3).at([-1, 2]).at([1, -2]), own(3));
        assert!(own(0).at([-1, 7]).is_rows_above() && !own(-1).is_rows_above());
    }
}
