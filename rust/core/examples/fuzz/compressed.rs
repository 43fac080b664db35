//! Compressed files: `Container::from_bytes`, and `codec::decode` of what it accepts. The first byte of an input says which
//! model is to decode the rest.

use ancestral_core::{
    codec::{
        self,
        container::{self, Container, Header},
    },
    distribution::Distribution,
    driver::Score,
    error::Error,
    model::Model,
    models,
    values::Array,
};
use fastrand::Rng;

use crate::{Target, bytes, model, peak_of};

/// Bytes that reading may allocate for each byte of a file, and beside that.
const MEMORY: (usize, usize) = (4, 1 << 12);
/// The most values that are decoded.
const VALUES: u64 = 1 << 14;

/// A model with the hash of its file, and files that it has made.
struct Coder {
    model: Box<dyn Model>,
    sha256: [u8; 32],
    files: Vec<Vec<u8>>,
}

/// Compressed files of some models.
pub struct CompressedFiles(Vec<Coder>);

impl CompressedFiles {
    /// With files to damage.
    pub fn new(rng: &mut Rng) -> Self {
        let coders = std::iter::repeat_with(|| Coder::new(rng)).flatten();
        Self(coders.take(64).collect())
    }

    /// The model that the first byte of an input names.
    fn coder(&self, input: u8) -> &Coder {
        &self.0[usize::from(input) % self.0.len()]
    }
}

impl Coder {
    /// None for a model that is not built, or overflows.
    fn new(rng: &mut Rng) -> Option<Self> {
        let checkpoint = model::checkpoint(rng);
        let model = models::build(&checkpoint).and_then(Distribution::into_one).ok()?;
        let mut coder = Self { model, sha256: checkpoint.sha256(), files: vec![] };
        for _ in 0..8 {
            let (space, n) = (coder.model.space(), rng.usize(..40));
            let mut x = Array::new(space, n);
            (0..n * space.n_dims()).for_each(|at| x.set(at, rng.u32(..space.n_classes(at % space.n_dims()) as u32)));
            coder.files.push(coder.encode(&x, rng.u32(1..50)).ok()?);
        }
        Some(coder)
    }

    fn encode(&self, x: &Array, block_len: u32) -> Result<Vec<u8>, Error> {
        let space = self.model.space();
        let score = Score::new(space, x.read())?;
        let rows = (x.read().len() / space.n_dims(), block_len);
        codec::encode(&*self.model, self.sha256, &score, rows, 1, &mut |_| true)
    }

    /// All rows; none of a file with more than are worth the time.
    fn decode(&self, container: &Container<'_>) -> Result<Option<Array>, Error> {
        container.check_model(&*self.model, &self.sha256)?;
        let space = self.model.space();
        let values = container.header().n_samples.saturating_mul(space.n_dims() as u64);
        if values > VALUES {
            return Ok(None);
        }
        let mut x = Array::new(space, container.header().n_samples as usize);
        codec::decode(&*self.model, container, 0..container.n_blocks(), x.write(), 1, &mut |_| true)?;
        Ok(Some(x))
    }
}

impl Target for CompressedFiles {
    fn input(&self, rng: &mut Rng) -> Vec<u8> {
        let which = rng.u8(..);
        let coder = self.coder(which);
        let mut file = rng.choice(&coder.files).expect("files").clone();
        match rng.u8(..8) {
            0 => {}
            1..6 => file = forged(rng, &file),
            _ => (0..rng.u8(1..4)).for_each(|_| bytes::damage(rng, &mut file)),
        }
        [&[if rng.u8(..20) == 0 { rng.u8(..) } else { which }], &file[..]].concat()
    }

    fn run(&self, input: &[u8]) -> Result<bool, String> {
        let Some((&which, file)) = input.split_first() else { return Ok(false) };
        let coder = self.coder(which);
        let (read, peak) = peak_of(|| Container::from_bytes(file));
        let most = MEMORY.0 * file.len() + MEMORY.1;
        if peak > most {
            return Err(format!("{peak} bytes allocated for {} of input; at most {most} were promised", file.len()));
        }
        match read.and_then(|container| Ok((container.header().block_len, coder.decode(&container)?))) {
            Ok((block_len, Some(x))) => coder.comes_back(&x, block_len).map(|()| true),
            Ok((_, None)) => Ok(true),
            Err(Error::Codec(message)) if message.is_empty() || message.len() > 300 => {
                Err(format!("a message of {} bytes", message.len()))
            }
            Err(Error::Codec(_) | Error::Overflow { .. }) => Ok(false),
            Err(other) => Err(format!("{other:?} from a reader")),
        }
    }
}

impl Coder {
    /// Whatever is decoded, these are rows of the model: encoded again, they are decoded to themselves.
    fn comes_back(&self, x: &Array, block_len: u32) -> Result<(), String> {
        let again = self.encode(x, block_len).and_then(|file| self.decode(&Container::from_bytes(&file)?));
        match again {
            Ok(Some(again)) if again == *x => Ok(()),
            Ok(_) => Err("the rows came back as others".into()),
            Err(error) => Err(format!("the rows did not come back: {error}")),
        }
    }
}

/// A file with right checksums whose header and payloads are not what they were.
fn forged(rng: &mut Rng, file: &[u8]) -> Vec<u8> {
    let container = Container::from_bytes(file).expect("well-formed");
    let blocks = (0..container.n_blocks()).map(|block| container.block(block).expect("well-formed").to_vec());
    let (mut payloads, mut header) = (blocks.collect::<Vec<_>>(), container.header().clone());
    if let Some(payload) = rng.choice(&mut payloads)
        && rng.u8(..4) > 0
    {
        let len = payload.len();
        (0..rng.u8(1..4)).for_each(|_| bytes::damage(rng, payload));
        if rng.bool() {
            payload.resize(len, 0);
        } else if rng.bool() {
            payload.resize(len / 4 * 4, 0xFF);
        }
    }
    if rng.u8(..4) == 0 {
        forge(rng, &mut header, &mut payloads);
    }
    container::to_bytes(&header, &payloads).unwrap_or_else(|_| file.to_vec())
}

/// Claims other sizes, mostly such as fit the list of blocks.
fn forge(rng: &mut Rng, header: &mut Header, payloads: &mut Vec<Vec<u8>>) {
    let block_len = [1, header.block_len, header.block_len + 1, container::MAX_BLOCK_LEN];
    header.block_len = *rng.choice(&block_len).expect("some");
    match rng.u8(..4) {
        0 => payloads.push(vec![]),
        1 => payloads.truncate(1),
        2 => header.n_dims = rng.u32(..) >> rng.u8(..32),
        _ => header.n_classes = rng.u32(..) >> rng.u8(..32),
    }
    let blocks = payloads.len() as u64 * u64::from(header.block_len);
    header.n_samples = blocks.saturating_sub(u64::from(rng.u32(..header.block_len)));
    payloads.resize(header.n_blocks() as usize, vec![]);
}
