//! stub until merged
use crate::kernels::Lanes;
/// f
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Pointwise {
    /// max(x, 0)
    Relu,
}
impl Pointwise {
    /// f(x)
    #[inline(always)]
    pub fn apply<L: Lanes>(self, l: L, x: L::F) -> L::F {
        l.max(l.splat(0.0), x)
    }
}
