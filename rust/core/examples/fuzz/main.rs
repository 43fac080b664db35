//! What reads bytes from anywhere, fed with damaged and hostile ones: `make fuzz`.
//!
//! Execution k of a seed is always the same input, made by a generator that knows the format ([`Target::input`]). The
//! parent process starts a worker and watches it: a panic, an abort, a crash, a hang or a broken promise is reported with
//! the command that repeats it. Built with overflow checks and the standard library's checks of unsafe code.

mod bytes;
mod compressed;
mod graph;
mod header;
mod model;

use std::{
    env, fs,
    fs::File,
    io::{Read, Seek, Write},
    panic::{AssertUnwindSafe, catch_unwind},
    path::{Path, PathBuf},
    process::{Command, ExitCode, id},
    thread,
    time::{Duration, Instant},
};

use fastrand::Rng;
use peak_alloc::PeakAlloc;

#[global_allocator]
static ALLOCATED: PeakAlloc = PeakAlloc;

/// An execution that takes longer hangs.
const HANG: Duration = Duration::from_secs(20);

/// Something that reads bytes.
trait Target {
    /// The input of an execution: well-formed, or damaged in some way.
    fn input(&self, rng: &mut Rng) -> Vec<u8>;
    /// Reads it and, where it is accepted, uses what was read. Whether it was.
    ///
    /// # Errors
    /// The promise that was broken. A panic is one, too.
    fn run(&self, input: &[u8]) -> Result<bool, String>;
}

fn target(name: &str, seed: u64) -> Box<dyn Target> {
    match name {
        "model" => Box::new(model::ModelFiles::new(&mut Rng::with_seed(seed))),
        "compressed" => Box::new(compressed::CompressedFiles::new(&mut Rng::with_seed(seed))),
        other => panic!("no target {other:?}; there are: model, compressed"),
    }
}

/// The most memory in use at once while `work` is done, beyond what was before.
fn peak_of<T>(work: impl FnOnce() -> T) -> (T, usize) {
    let before = ALLOCATED.current_usage();
    ALLOCATED.reset_peak_usage();
    let result = work();
    (result, ALLOCATED.peak_usage().saturating_sub(before))
}

fn rng(seed: u64, execution: u64) -> Rng {
    Rng::with_seed(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) ^ execution)
}

/// What the command line asks for.
struct Arguments {
    target: String,
    seed: u64,
    /// Time and number of executions to stop after, whichever comes first.
    limit: (Duration, u64),
    /// One execution alone, whose input is kept in a file.
    only: Option<u64>,
    /// The worker's: where it writes how far it is.
    progress: Option<PathBuf>,
}

fn arguments() -> Arguments {
    let given: Vec<String> = env::args().skip(1).collect();
    let value = |name: &str| given.iter().position(|given| given == name).map(|at| given[at + 1].clone());
    let number = |name: &str| value(name).map(|text| text.parse::<u64>().expect("a number"));
    Arguments {
        target: given.first().expect("fuzz TARGET [--seconds S] [--executions N] [--seed S] [--only K]").clone(),
        seed: number("--seed").unwrap_or(0),
        limit: (Duration::from_secs(number("--seconds").unwrap_or(60)), number("--executions").unwrap_or(u64::MAX)),
        only: number("--only"),
        progress: value("--progress").map(PathBuf::from),
    }
}

fn main() -> ExitCode {
    let arguments = arguments();
    match (&arguments.only, &arguments.progress) {
        (Some(execution), _) => repeat(&arguments, *execution),
        (None, Some(progress)) => work(&arguments, progress),
        (None, None) => watch(&arguments),
    }
}

/// One execution, with the panic's own message.
fn repeat(arguments: &Arguments, execution: u64) -> ExitCode {
    let target = target(&arguments.target, arguments.seed);
    let input = target.input(&mut rng(arguments.seed, execution));
    let path = format!("fuzz-{}-{}-{execution}.bin", arguments.target, arguments.seed);
    fs::write(&path, &input).expect("a file in this folder");
    println!("{} bytes, kept in {path}", input.len());
    let result = target.run(&input);
    println!("{result:?}");
    ExitCode::from(u8::from(result.is_err()))
}

/// The worker: execution after execution; each is noted before it begins.
fn work(arguments: &Arguments, progress: &Path) -> ExitCode {
    let target = target(&arguments.target, arguments.seed);
    let mut progress = File::create(progress).expect("a file for the progress");
    let (started, (seconds, executions)) = (Instant::now(), arguments.limit);
    let (mut accepted, mut done) = (0, 0);
    while done < executions && started.elapsed() < seconds {
        progress.rewind().and_then(|()| progress.write_all(&u64::to_le_bytes(done))).expect("a writable file");
        let input = target.input(&mut rng(arguments.seed, done));
        match catch_unwind(AssertUnwindSafe(|| target.run(&input))) {
            Ok(Ok(was_accepted)) => accepted += u64::from(was_accepted),
            Ok(Err(broken)) => {
                println!("a broken promise: {broken}");
                return ExitCode::FAILURE;
            }
            Err(_) => return ExitCode::FAILURE,
        }
        done += 1;
    }
    println!("{}: {done} executions of seed {}, {accepted} accepted", arguments.target, arguments.seed);
    // A harness whose inputs all fare alike tests nothing.
    ExitCode::from(u8::from(done >= 1000 && (accepted == 0 || accepted == done)))
}

/// The parent: starts the worker, and tells where it failed or stands still.
fn watch(arguments: &Arguments) -> ExitCode {
    let progress = env::temp_dir().join(format!("ancestral-fuzz-{}", id()));
    let (seconds, executions) = arguments.limit;
    let mut worker = Command::new(env::current_exe().expect("the path of this program"))
        .arg(&arguments.target)
        .args(["--seed", &arguments.seed.to_string(), "--seconds", &seconds.as_secs().to_string()])
        .args(["--executions", &executions.to_string(), "--progress"])
        .arg(&progress)
        .spawn()
        .expect("a worker");
    let mut at = (None, Instant::now());
    let failure = loop {
        if let Some(status) = worker.try_wait().expect("the worker's status") {
            break (!status.success()).then(|| status.to_string());
        }
        let now = execution(&progress);
        if now != at.0 {
            at = (now, Instant::now());
        } else if at.1.elapsed() > HANG {
            worker.kill().and_then(|()| worker.wait()).expect("the worker is ours to end");
            break Some(format!("no end after {HANG:?}"));
        }
        thread::sleep(Duration::from_millis(20));
    };
    let last = execution(&progress);
    let _ = fs::remove_file(&progress);
    let Some(failure) = failure else { return ExitCode::SUCCESS };
    let (target, seed, last) = (&arguments.target, arguments.seed, last.unwrap_or(0));
    println!("{target}: {failure}; to repeat it: make fuzz FUZZ='{target} --seed {seed} --only {last}'");
    ExitCode::FAILURE
}

/// The execution that the worker is at.
fn execution(progress: &Path) -> Option<u64> {
    let mut number = [0; 8];
    File::open(progress).and_then(|mut file| file.read_exact(&mut number)).ok()?;
    Some(u64::from_le_bytes(number))
}
