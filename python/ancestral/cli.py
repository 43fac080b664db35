"""The command `ancestral`: `ancestral demo`, `ancestral --version`."""

import sys
from enum import Enum
from importlib.metadata import version
from pathlib import Path
from typing import Annotated, Any


class Data(str, Enum):
    """Data sets of the demo."""

    mnist_5k = "mnist-5k"
    binarized_mnist = "binarized-mnist"


def main() -> None:
    """Run the command line; the entry point of the script `ancestral`."""
    try:
        app = _app()
    except ImportError as error:
        sys.exit(f"ancestral: the command line needs typer ({error}): pip install 'ancestral[cli]'")
    app()


def _app() -> Any:
    # typer is imported here, and annotations are not postponed, so that it may be missing until then.
    import typer

    app = typer.Typer(no_args_is_help=True, add_completion=False, rich_markup_mode="rich")

    def show_version(wanted: bool) -> None:
        if wanted:
            print(f"ancestral {version('ancestral')}")
            raise typer.Exit

    @app.callback()
    def root(
        _version: Annotated[
            bool, typer.Option("--version", callback=show_version, is_eager=True, help="Print the version.")
        ] = False,
    ) -> None:
        """Fast, exact, reproducible sampling and likelihood of autoregressive models.

        Models are trained in PyTorch and run by a Rust core. In Python:

            import ancestral

            model = ancestral.load("nade.safetensors")

            x = model.sample(100, rng=0)

            model.log_prob(x)    # nats

        See it work on real digits, in some minutes:  ancestral demo
        """

    @app.command()
    def demo(
        data: Annotated[
            Data,
            typer.Option(
                help="mnist-5k: 5,000 digits that are already installed. binarized-mnist: the 70,000 of the "
                "published likelihoods, from the folder ANCESTRAL_DATA or by download (110 MB, once)."
            ),
        ] = Data.mnist_5k,
        out: Annotated[Path, typer.Option(file_okay=False, help="Folder for the models and pictures.")] = Path(
            "ancestral-demo"
        ),
        seed: Annotated[int, typer.Option(min=0, help="Of the weights, the shuffling and the samples.")] = 0,
        threads: Annotated[
            int | None, typer.Option(min=1, help="For torch and for Rust.", show_default="all cores")
        ] = None,
        quick: Annotated[
            bool, typer.Option("--quick", help="Train a tenth as long: to see that it runs, not how well.")
        ] = False,
    ) -> None:
        """Train three models on real digits, then score and sample them in Rust.

        FVSBN, NADE and PixelCNN are trained in PyTorch for some minutes and exported. For each you see the
        test likelihood from torch and from Rust, and the time a sample takes with the usual torch loop, with
        the best torch formulation and with Rust. Real digits and samples are drawn side by side.
        """
        try:
            from ancestral.demo.run import QUICK_SHARE, Settings, run
        except ImportError as error:
            sys.exit(f"ancestral demo: {error}: pip install 'ancestral[demo]'")
        share = QUICK_SHARE if quick else 1.0
        try:
            run(Settings(data=data.value, out=out, seed=seed, threads=threads, share=share))
        except (ImportError, OSError) as error:
            sys.exit(f"ancestral demo: {error}")

    return app
