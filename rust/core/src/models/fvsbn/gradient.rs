//! The gradient of Σ_s scale_s log p(x_s): with g_i = x_i − p_i, w_ij gets Σ_s scale_s g_i x_j where j < i, and b_i gets
//! Σ_s scale_s g_i.
//!
//! Zeros cost nothing here either: an input that is one adds the sample's g to its sums, of 16 outputs at once. Each task owns
//! the rows of 16 outputs and takes the samples in their order, so the bits do not depend on the threads.

use std::num::NonZero;

use crate::{
    error::Error,
    kernels::{Isa, Kernel, LANES, Lanes, Pack},
    models::gradient::{Scored, share},
};

/// Where the gradient is written.
pub struct Gradient<'a> {
    /// (`n_dims`, `n_dims`): zero where j ≥ i.
    pub weight: &'a mut [f32],
    /// (`n_dims`)
    pub bias: &'a mut [f32],
}

/// Writes the gradient. `go_on` is asked on the calling thread, before each 16 outputs.
///
/// # Errors
/// [`Error::Interrupted`] once `go_on` has returned false, [`Error::Isa`]. The gradient is then partly written.
pub fn gradient(
    scored: Scored<'_>,
    out: Gradient<'_>,
    threads: NonZero<usize>,
    go_on: &mut dyn FnMut() -> bool,
) -> Result<(), Error> {
    let isa = Isa::get()?;
    let n_dims = out.bias.len();
    let g = scored.of_logits(n_dims);
    let one = |(step, &x): (usize, &u8)| (x == 1).then_some(step);
    let ones: Vec<Vec<usize>> =
        scored.x.chunks_exact(n_dims).map(|x| x.iter().enumerate().filter_map(one).collect()).collect();
    let blocks = out.weight.chunks_mut(LANES * n_dims).zip(out.bias.chunks_mut(LANES)).enumerate();
    // The last one has the most inputs: whoever starts with it ends early.
    share(blocks.rev(), threads, go_on, |(at, (weight, bias)), go_on| {
        let go_on = go_on();
        if go_on {
            isa.run(Outputs { g: &g, ones: &ones, n_dims, first: at * LANES, weight, bias });
        }
        go_on
    })
}

/// The outputs from `first` on, 16 or what is left.
struct Outputs<'a> {
    g: &'a [f32],
    /// For each sample the steps of its ones.
    ones: &'a [Vec<usize>],
    n_dims: usize,
    first: usize,
    weight: &'a mut [f32],
    bias: &'a mut [f32],
}

impl Kernel for Outputs<'_> {
    type Output = ();

    #[inline(always)]
    fn run<L: Lanes>(self, l: L) {
        let outputs = self.first..self.first + self.bias.len();
        // For each input, what the outputs' weights get.
        let mut sums = vec![Pack::ZERO; outputs.end];
        let mut bias = l.splat(0.0);
        for (g, ones) in self.g.chunks_exact(self.n_dims).zip(self.ones) {
            let mut block = [0.0; LANES];
            block[..outputs.len()].copy_from_slice(&g[outputs.clone()]);
            let g = l.read(&block);
            bias = l.add(bias, g);
            for &one in ones {
                let Some(sum) = sums.get_mut(one) else { break };
                l.store(sum, l.add(l.load(sum), g));
            }
        }
        let mut pack = Pack::ZERO;
        l.store(&mut pack, bias);
        self.bias.copy_from_slice(&pack.0[..outputs.len()]);
        for (lane, row) in self.weight.chunks_exact_mut(self.n_dims).enumerate() {
            let (inputs, rest) = row.split_at_mut(outputs.start + lane);
            inputs.iter_mut().zip(&sums).for_each(|(weight, sum)| *weight = sum.0[lane]);
            rest.fill(0.0);
        }
    }
}
