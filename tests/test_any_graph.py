"""Networks of any layers in Rust, against the plain interpreter of graphs in float64."""

from __future__ import annotations

import numpy as np
import pytest

import ancestral
from support import graph_oracle
from support.random_graphs import RandomGraph

N_GRAPHS = 400


@pytest.mark.parametrize("image", [False, True], ids=["vectors", "images"])
def test_any_graph(image: bool) -> None:
    """Likelihoods, features, draws one by one and all at once, and the codec; few graphs are refused, as leaks."""
    n_refused = 0
    for seed in range(N_GRAPHS):
        rng = np.random.default_rng(seed)
        network = RandomGraph(rng, image=image)
        try:
            model = ancestral.Model.from_tensors("Any", {}, network.tensors, network.graph)
        except ancestral.FormatError as error:
            n_refused += 1
            assert any(reason in str(error) for reason in ("the graph leaks", "only after its row")), seed  # noqa: PT017
            continue
        n = int(rng.integers(1, 20))
        x, log_prob = model.sample_and_log_prob(n, rng=seed)
        what = f"seed {seed}: {network.graph}"
        want = graph_oracle.log_prob(network.graph, network.tensors, x)
        np.testing.assert_allclose(log_prob, want, rtol=2e-6, atol=1e-5 * model.n_dims, err_msg=what)
        one_by_one = [model.sample_and_log_prob(1, rng=seed, start=i) for i in range(n)]
        np.testing.assert_array_equal(np.concatenate([row for row, _ in one_by_one]), x, what)
        np.testing.assert_array_equal(np.concatenate([p for _, p in one_by_one]), log_prob, what)
        np.testing.assert_array_equal(model.log_prob(x), log_prob, what)
        np.testing.assert_array_equal(model.decode(model.encode(x)), x, what)
        if network.graph["features"] is not None:
            features = model.features(x)
            shown = graph_oracle.run(network.graph, network.tensors, x)[network.graph["features"]].array
            np.testing.assert_allclose(features, shown.reshape(features.shape), rtol=1e-4, atol=1e-4, err_msg=what)
    assert n_refused < N_GRAPHS / 10
