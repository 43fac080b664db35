//! From intervals to bytes and back, by range coding.
//!
//! Range coding (Martin, *Range encoding: an algorithm for removing redundancy from a digitised message*, 1979) narrows
//! a range of integers to the part that each interval stands for; any number left in the end tells them all. It takes
//! −Σ log₂ p(x) bits, and at most 8 bytes at the end. About 1.3e-4 bits more a value are lost because a range of 2³² to
//! 2⁶⁴ integers is cut into 2²⁴ equal parts and a rest: 0.1 % where values take a tenth of a bit, 1 % where they take a
//! hundredth.
//!
//! First in, first out: values are decoded in the order in which they were encoded. The coder is that of the crate
//! `constriction` (Bamler, *Understanding entropy coding with asymmetric numeral systems (ANS): a statistician's
//! perspective*, 2022), with words of 32 bits and a state of 64.

use std::{borrow::Borrow, num::NonZeroU32};

use constriction::{
    CoderError, Queue, UnwrapInfallible,
    backends::ReadWords,
    stream::{
        Decode, Encode,
        model::{DecoderModel, EncoderModel, EntropyModel},
        queue::{DefaultRangeEncoder, RangeDecoder},
    },
};

use super::interval::{Interval, PRECISION};
use crate::error::Error;

const WORD: usize = size_of::<u32>();

/// Writes intervals.
#[derive(Default)]
pub struct Encoder(DefaultRangeEncoder);

impl Encoder {
    /// Adds one.
    pub fn encode(&mut self, interval: Interval) {
        self.0.encode_symbol((), Only(interval)).expect("no interval is empty, and a vector takes all words");
    }

    /// All of them in bytes, a multiple of four; none for none.
    pub fn finish(self) -> Vec<u8> {
        self.0.into_compressed().unwrap_infallible().into_iter().flat_map(u32::to_le_bytes).collect()
    }
}

/// Reads intervals. No bytes stand for no values, and have no range to read from.
pub struct Decoder<'a>(Option<RangeDecoder<u32, u64, Words<'a>>>);

impl<'a> Decoder<'a> {
    /// Reads what [`Encoder::finish`] returned.
    ///
    /// # Errors
    /// [`Error::Codec`] if these cannot be such bytes.
    pub fn new(bytes: &'a [u8]) -> Result<Self, Error> {
        let (words, rest) = bytes.as_chunks();
        if !rest.is_empty() {
            return Err(Error::codec(format!("{} bytes are not a multiple of {WORD}", bytes.len())));
        }
        if words.is_empty() {
            return Ok(Self(None));
        }
        RangeDecoder::with_backend(Words { words, missing: false }).map(|range| Self(Some(range))).map_err(past_end)
    }

    /// The next value: `at` finds the value and the interval that a quantile below 2²⁴ belongs to.
    ///
    /// # Errors
    /// [`Error::Codec`] if the bytes end before, or no intervals lead to them. Bytes that are not what they were may as
    /// well give wrong values; after an error there is no more to be had.
    pub fn decode<T>(&mut self, at: impl Fn(u32) -> (T, Interval)) -> Result<T, Error> {
        let range = self.0.as_mut().ok_or_else(|| past_end(PastEnd))?;
        range.decode_symbol(Quantiles(at)).map_err(|error| match error {
            CoderError::Backend(error) => past_end(error),
            CoderError::Frontend(_) => Error::codec("the compressed values are damaged: they stand for no data"),
        })
    }

    /// To be called after the last value.
    ///
    /// # Errors
    /// [`Error::Codec`] if there are bytes for more values: more than a word too many, which may be the encoder's own.
    pub fn finish(self) -> Result<(), Error> {
        if self.0.is_none_or(|range| range.maybe_exhausted()) {
            return Ok(());
        }
        Err(Error::codec("the compressed values are damaged: there are more than there should be"))
    }
}

fn past_end(_: PastEnd) -> Error {
    Error::codec("the compressed values are damaged: they end too early")
}

/// The decoder reads two words before its first value and one for each that it has used up; the encoder's last word or
/// two tell apart what is left of the range. So a decoder of whole data looks for one word past the end at most.
struct Words<'a> {
    words: &'a [[u8; WORD]],
    /// Whether one was looked for in vain.
    missing: bool,
}

/// More words were asked for than the values can have had.
#[derive(Debug)]
struct PastEnd;

impl ReadWords<u32, Queue> for Words<'_> {
    type ReadError = PastEnd;

    fn read(&mut self) -> Result<Option<u32>, PastEnd> {
        if let Some(word) = self.words.split_off_first() {
            return Ok(Some(u32::from_le_bytes(*word)));
        }
        if std::mem::replace(&mut self.missing, true) { Err(PastEnd) } else { Ok(None) }
    }

    fn maybe_exhausted(&self) -> bool {
        self.words.is_empty()
    }
}

/// The distribution of a value that is known: all that is asked of it is the interval.
struct Only(Interval);

impl EntropyModel<PRECISION> for Only {
    type Symbol = ();
    type Probability = u32;
}

impl EncoderModel<PRECISION> for Only {
    fn left_cumulative_and_probability(&self, _: impl Borrow<()>) -> Option<(u32, NonZeroU32)> {
        Some((self.0.left(), self.0.width()))
    }
}

/// The distribution of a value that a quantile is to tell.
struct Quantiles<F>(F);

impl<T, F: Fn(u32) -> (T, Interval)> EntropyModel<PRECISION> for Quantiles<F> {
    type Symbol = T;
    type Probability = u32;
}

impl<T, F: Fn(u32) -> (T, Interval)> DecoderModel<PRECISION> for Quantiles<F> {
    fn quantile_function(&self, quantile: u32) -> (T, u32, NonZeroU32) {
        let (value, interval) = (self.0)(quantile);
        debug_assert!(interval.contains(quantile), "{quantile} is not in {interval:?}");
        (value, interval.left(), interval.width())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const TOTAL: u32 = 1 << PRECISION;

    fn encode(intervals: &[Interval]) -> Vec<u8> {
        let mut encoder = Encoder::default();
        intervals.iter().for_each(|&interval| encoder.encode(interval));
        encoder.finish()
    }

    /// Decodes as many values as there are intervals: whether each quantile fell into its own.
    fn decode(bytes: &[u8], intervals: &[Interval]) -> Result<Vec<bool>, Error> {
        let mut decoder = Decoder::new(bytes)?;
        let decoded = intervals.iter().map(|&own| decoder.decode(|quantile| follow(own, quantile))).collect();
        decoder.finish().and(decoded)
    }

    /// A distribution of three values at most: the interval, what is below and what is above.
    fn follow(own: Interval, quantile: u32) -> (bool, Interval) {
        let right = own.left() + own.width().get();
        if quantile < own.left() {
            (false, Interval::new(0, own.left()))
        } else if quantile < right {
            (true, own)
        } else {
            (false, Interval::new(right, TOTAL - right))
        }
    }

    fn round_trip(intervals: &[Interval]) -> Vec<u8> {
        let bytes = encode(intervals);
        assert_eq!(decode(&bytes, intervals), Ok(vec![true; intervals.len()]));
        bytes
    }

    fn bits(intervals: &[Interval]) -> f64 {
        intervals.iter().map(|interval| PRECISION as f64 - f64::from(interval.width().get()).log2()).sum()
    }

    /// Ends chosen at every scale, so that wide and narrow intervals are equally common, at all places.
    fn intervals(len: std::ops::Range<usize>) -> impl Strategy<Value = Vec<Interval>> {
        let interval = (0..=PRECISION).prop_flat_map(|scale| {
            (1..=1_u32 << scale)
                .prop_flat_map(|width| (0..=TOTAL - width).prop_map(move |left| Interval::new(left, width)))
        });
        prop::collection::vec(interval, len)
    }

    #[test]
    fn nothing_takes_no_bytes() {
        assert!(round_trip(&[]).is_empty());
        let one = [Interval::new(0, TOTAL / 2)];
        assert!(decode(&[], &one).is_err());
    }

    /// Files hold these bytes: a coder that gives others cannot read them.
    #[test]
    fn the_bytes_stay_what_they_were() {
        let intervals: Vec<_> = (1..60).map(|i| Interval::new(i * 9973, i * i * i * 7)).collect();
        let bytes = round_trip(&intervals);
        assert_eq!((bytes.len(), crc32fast::hash(&bytes)), (60, 585_774_646));
    }

    #[test]
    fn extreme_probabilities_are_coded() {
        let first = Interval::new(0, 1);
        let last = Interval::new(TOTAL - 1, 1);
        let [below, above] = [Interval::new(0, TOTAL - 1), Interval::new(1, TOTAL - 1)];
        let whole = Interval::new(0, TOTAL);
        for pattern in [&[first][..], &[last], &[first, last], &[below], &[above], &[whole], &[above, below, last]] {
            for len in [1, 2, 3, 1000] {
                let intervals: Vec<_> = pattern.iter().copied().cycle().take(len).collect();
                let bytes = round_trip(&intervals);
                assert!(bytes.len() as f64 <= bits(&intervals) / 8.0 * 1.001 + 8.0, "{pattern:?} {len}");
            }
        }
    }

    /// From values of one bit to values of next to none: what the rests of the range cost, at most twice their average.
    #[test]
    fn the_range_costs_little_more_than_the_intervals() {
        let n = 1 << 20;
        for width in [2, 3, 10, 30, 100, 1000, 10_000, TOTAL].map(|part| TOTAL - TOTAL / part - 1) {
            let intervals = vec![Interval::new(1, width); n];
            let lost = round_trip(&intervals).len() as f64 * 8.0 - bits(&intervals);
            assert!((0.0..2.6e-4 * n as f64 + 64.0).contains(&lost), "{width}: {lost}");
        }
    }

    #[test]
    fn decoding_ends_with_the_bytes() {
        let one = Interval::new(0, TOTAL / 2);
        let bytes = encode(&[one; 1000]);
        let mut decoder = Decoder::new(&bytes).unwrap();
        let decoded = (0..).map_while(|_| decoder.decode(|quantile| follow(one, quantile)).ok()).count();
        assert!((1000..1100).contains(&decoded), "{decoded}");
        for len in 0..bytes.len() {
            assert!(decode(&bytes[..len], &[one; 1000]).is_err(), "{len}");
        }
        assert!(decode(&[&bytes[..], &[0; 8]].concat(), &[one; 1000]).is_err());
        assert!(decode(&bytes, &[one; 900]).is_err());
    }

    proptest! {
        #[test]
        fn intervals_come_back_and_take_as_many_bytes_as_they_should(intervals in intervals(0..3000)) {
            let bytes = round_trip(&intervals);
            let expected = bits(&intervals) / 8.0;
            prop_assert!(bytes.len() as f64 <= expected * 1.001 + 8.0, "{} for {expected}", bytes.len());
            prop_assert!(bytes.len() as f64 >= expected, "{} for {expected}", bytes.len());
        }

        #[test]
        fn any_bytes_give_values_or_an_error(
            bytes in prop::collection::vec(any::<u8>(), 0..200), intervals in intervals(0..300)
        ) {
            let _ = decode(&bytes, &intervals);
        }
    }
}
