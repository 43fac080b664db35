//! NADE, the neural autoregressive distribution estimator: hidden units shared by all conditionals.
//!
//! h_i = σ(c + W_{·,<i} x_<i),  p(x_i = 1 | x_<i) = σ(b_i + V_i · h_i).
//! Larochelle, Murray, *The neural autoregressive distribution estimator*, AISTATS 2011.
//!
//! The walk is driven by events: the hidden units change only after a one, so between two ones each dimension costs a
//! dot product and nothing else.

use serde::Deserialize;

use super::{abs_sum, check_range};
use crate::{
    block::Block,
    checkpoint::Checkpoint,
    error::Error,
    event::Event,
    kernels::{Kernel, LANES, Lanes, Pack, flat_mut, math, to_packs},
    model::{Model, Scratch},
};

/// The name in files.
pub const KIND: &str = "NADE";

/// Dimensions that all samples walk before the next ones are begun, so that their weights are shared in cache.
const STRIP: usize = 16;
/// Rows of V in one dot product: few enough that little is computed in vain when a one changes h.
const ROWS: usize = 4;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Config {
    n_dims: usize,
    n_hidden: usize,
    /// Required, though it may be null.
    #[serde(deserialize_with = "Option::deserialize")]
    order: Option<Vec<u32>>,
}

/// A trained NADE. Rows of hidden units are filled up with zeros to whole packs.
pub struct Nade {
    event: Event,
    n_hidden: usize,
    /// Row i: W_{·,i}
    w: Vec<Pack>,
    c: Vec<Pack>,
    /// Row i: V_{i,·}
    v: Vec<Pack>,
    b: Vec<f32>,
}

impl Nade {
    /// From `W` (`n_hidden`, `n_dims`), `c` (`n_hidden`), `V` (`n_dims`, `n_hidden`) and `b` (`n_dims`).
    pub fn new(checkpoint: &Checkpoint) -> Result<Self, Error> {
        let Config { n_dims, n_hidden, order } = checkpoint.config()?;
        let tensors = checkpoint.expect(&[
            ("W".into(), vec![n_hidden, n_dims]),
            ("c".into(), vec![n_hidden]),
            ("V".into(), vec![n_dims, n_hidden]),
            ("b".into(), vec![n_dims]),
        ])?;
        let event = Event::new(vec![n_dims], 2, || order)?;
        if n_hidden == 0 {
            return Err(Error::format("n_hidden is 0; wanted at least 1"));
        }
        let [w, c, v, b] = std::array::from_fn(|i| tensors[i].data());
        let v_row = |i: usize| &v[i * n_hidden..][..n_hidden];
        let w_row = |k: usize| &w[k * n_dims..][..n_dims];
        check_range("output", (0..n_dims).map(|i| abs_sum(v_row(i)) + f64::from(b[i].abs())))?;
        check_range("hidden unit", (0..n_hidden).map(|k| abs_sum(w_row(k)) + f64::from(c[k].abs())))?;
        let column = |i: usize| (0..n_hidden).map(|k| w[k * n_dims + i]).collect::<Vec<_>>();
        Ok(Self {
            event,
            n_hidden,
            w: (0..n_dims).flat_map(|i| to_packs(&column(i))).collect(),
            c: to_packs(c),
            v: (0..n_dims).flat_map(|i| to_packs(v_row(i))).collect(),
            b: b.to_vec(),
        })
    }
}

impl Model for Nade {
    fn event(&self) -> &Event {
        &self.event
    }

    fn n_params(&self) -> usize {
        self.event.n_dims() * (2 * self.n_hidden + 1) + self.n_hidden
    }

    fn cost(&self) -> usize {
        self.event.n_dims() * self.n_hidden
    }

    fn block_len(&self) -> usize {
        ((1 << 15) / self.n_hidden).clamp(8, 64)
    }

    fn walk(&self, block: &mut Block<'_>, scratch: &mut Scratch) -> Result<(), Error> {
        let packs = self.c.len();
        scratch.packs.clear();
        for _ in 0..block.len {
            scratch.packs.extend(&self.c);
            scratch.packs.extend(std::iter::repeat_n(&Pack::ZERO, packs));
        }
        for first in (0..self.event.n_dims()).step_by(STRIP) {
            block.check()?;
            block.isa.run(Strip { model: self, block, hidden: &mut scratch.packs, first });
        }
        Ok(())
    }
}

/// The steps `first` to `first + STRIP` − 1, for all samples.
struct Strip<'a, 'b> {
    model: &'a Nade,
    block: &'a mut Block<'b>,
    /// For each sample, the hidden units before the sigmoid, and after it.
    hidden: &'a mut [Pack],
    first: usize,
}

impl Kernel for Strip<'_, '_> {
    type Output = ();

    #[inline(always)]
    fn run<L: Lanes>(self, l: L) {
        let Self { model, block, hidden, first } = self;
        let packs = model.c.len();
        let n_dims = model.event.n_dims();
        let stride = n_dims.div_ceil(LANES) * LANES;
        let end = n_dims.min(first + STRIP);
        for (sample, hidden) in hidden.chunks_exact_mut(2 * packs).take(block.len).enumerate() {
            let (a, h) = hidden.split_at_mut(packs);
            if first == 0 {
                for (a, h) in a.iter().zip(h.iter_mut()) {
                    l.store(h, math::sigmoid(l, l.load(a)));
                }
            }
            let field = &mut flat_mut(block.field)[sample * stride..][..stride];
            let mut step = first;
            while step < end {
                let rows = ROWS.min(end - step);
                let dots = dots::<L>(l, &model.v[step * packs..][..rows * packs], h);
                for dot in &dots[..rows] {
                    let logit = model.b[step] + dot;
                    let one = logit > field[step];
                    field[step] = logit;
                    step += 1;
                    if one {
                        block.x[sample * n_dims + step - 1] = 1;
                        let w = &model.w[(step - 1) * packs..][..packs];
                        for ((a, h), w) in a.iter_mut().zip(h.iter_mut()).zip(w) {
                            let sum = l.add(l.load(a), l.load(w));
                            l.store(a, sum);
                            l.store(h, math::sigmoid(l, sum));
                        }
                        break;
                    }
                }
            }
        }
    }
}

/// v_r · h for up to `ROWS` rows; the last one stands in for those that are missing. Two chains of sums a row, the
/// even and the odd packs, hide the latency of one.
#[inline(always)]
fn dots<L: Lanes>(l: L, v: &[Pack], h: &[Pack]) -> [f32; ROWS] {
    let packs = h.len();
    let last = v.len() / packs - 1;
    let mut rows: [&[Pack]; ROWS] = [&[]; ROWS];
    for (r, row) in rows.iter_mut().enumerate() {
        *row = &v[r.min(last) * packs..][..packs];
    }
    let mut sums = [[l.splat(0.0); 2]; ROWS];
    for (p, h) in h.iter().enumerate() {
        let h = l.load(h);
        for r in 0..ROWS {
            sums[r][p % 2] = l.fma(l.load(&rows[r][p]), h, sums[r][p % 2]);
        }
    }
    let mut out = [0.0; ROWS];
    for r in 0..ROWS {
        out[r] = l.sum(l.add(sums[r][0], sums[r][1]));
    }
    out
}
