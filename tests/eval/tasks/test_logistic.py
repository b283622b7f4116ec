import re

import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression

from unic.errors import InputError
from unic.eval.probes.principal_axes import PrincipalAxes
from unic.eval.probes.softmax import Problem
from unic.eval.probes.softmax_path import SolutionPath
from unic.eval.tasks import Labelled, logistic


def images(n, dim, classes, seed=0, noise=6.0):
    """Correlated channels of very different scales, as features are."""
    rng = np.random.default_rng(seed)
    centres, mix = rng.normal(size=(classes, dim)), rng.normal(size=(dim, dim)) / np.sqrt(np.arange(1, dim + 1))
    scale = 10.0 ** rng.uniform(-2, 2, dim)
    y = np.concatenate([np.arange(classes), rng.integers(0, classes, n + 200 - classes)])
    x = ((centres[y] + noise * rng.normal(size=(n + 200, dim)) @ mix) * scale + 3).astype(np.float32)
    return Labelled(x[:n], y[:n]), Labelled(x[n:], y[n:])


def objective(logits, y, weights, C):
    """scikit-learn's, divided by n C, in float64."""
    log_p = torch.from_numpy(logits).double().log_softmax(1)
    return float(-log_p[np.arange(len(y)), y].mean()) + float((weights**2).sum()) / (2 * len(y) * C)


@pytest.mark.parametrize("C", [1e-4, 1e-2, 1.0])
@pytest.mark.parametrize(("n", "dim", "classes"), [(500, 40, 7), (150, 300, 4)])
def test_equals_scikit_learn(n, dim, classes, C):
    train, test = images(n, dim, classes)
    axes = PrincipalAxes.fit(train.x)
    solution = SolutionPath(axes(train.x), torch.from_numpy(train.y), classes).solve(C)
    mean, std = train.x.mean(0, dtype=np.float64), train.x.std(0, dtype=np.float64)
    reference = LogisticRegression(C=C, max_iter=5000, tol=1e-7).fit((train.x - mean) / std, train.y)
    expected = objective(reference.decision_function((train.x - mean) / std), train.y, reference.coef_, C)
    logits = (solution.weights @ axes(train.x).T).T.numpy()
    reached = objective(logits, train.y, solution.weights[:, :-1].double().numpy(), C)
    assert reached == pytest.approx(expected, rel=1e-4)
    assert solution.objective == pytest.approx(reached, rel=1e-4)
    agreement = solution.predict(axes(test.x)).numpy() == reference.predict((test.x - mean) / std)
    assert agreement.mean() >= 0.99


def test_two_classes_have_the_penalty_of_scikit_learn():
    train, test = images(300, 20, 2, noise=20.0)
    mean, std = train.x.mean(0, dtype=np.float64), train.x.std(0, dtype=np.float64)
    reference = LogisticRegression(C=0.003, tol=1e-8).fit((train.x - mean) / std, train.y)
    ours = logistic.run(train, test, C=0.003)
    theirs = (reference.predict((test.x - mean) / std) == test.y).astype(float)
    assert (ours.marks[:, 0] == theirs).mean() >= 0.99


def test_constant_and_repeated_channels_and_a_missing_class_are_harmless(caplog):
    train, test = images(120, 10, 4)
    wide = [np.concatenate([part.x, part.x, np.full((len(part.x), 3), 7.0, np.float32)], 1) for part in (train, test)]
    keep = train.y != 1
    for C in (0.1, 1e6):
        result = logistic.run(Labelled(wide[0][keep], train.y[keep]), Labelled(wide[1], test.y), C=C)
        assert result.marks[:, 0][test.y == 1].sum() == 0
        assert np.isfinite(result.score)
    assert not caplog.text  # of fits that did not end


def test_two_classes_with_a_gap_in_their_numbers_are_two_classes():
    train, test = images(60, 5, 2)
    gap = logistic.fit_classifier(Labelled(train.x, 2 * train.y), C=0.01)
    plain = logistic.fit_classifier(train, C=0.01)
    np.testing.assert_array_equal(gap.logits(test.x).argmax(1), 2 * plain.logits(test.x).argmax(1))
    slopes = [(fitted.weights[-1] - fitted.weights[0])[:-1] for fitted in (gap, plain)]
    torch.testing.assert_close(*slopes, rtol=1e-2, atol=1e-3)


def test_nothing_to_choose_C_on_is_one_line():
    with pytest.raises(InputError, match="two training images"):
        logistic.run(
            Labelled(np.eye(3, dtype=np.float32), np.arange(3)), Labelled(np.eye(3, dtype=np.float32), np.arange(3))
        )


def test_path_is_a_function_of_C_alone_and_close_to_the_solution():
    train, test = images(200, 30, 5)
    axes = PrincipalAxes.fit(train.x)
    x, y, test_x = axes(train.x), torch.from_numpy(train.y), axes(test.x)
    path = SolutionPath(x, y, 5)
    for C in (1e3, 1e-4, 2.0):
        path.weights(C)
    for C in (1e-7, 1e-5, 0.03, 1.7, 9e5):
        weights = path.weights(C)
        torch.testing.assert_close(weights, SolutionPath(x, y, 5).weights(C), rtol=0, atol=0)
        torch.testing.assert_close(path.solve(C).weights, SolutionPath(x, y, 5).solve(C).weights, rtol=0, atol=0)
        if C > 1e-6:  # where a path begins
            agreement = (weights @ test_x.T).argmax(0) == path.solve(C).predict(test_x)
            assert agreement.double().mean() >= 0.99, C


@pytest.mark.parametrize(("C", "other"), [(1e-3, 1e6), (1e6, 1e-3), (1e6, 1e5)])
def test_the_solution_does_not_depend_on_the_start(C, other):
    """Of separable images. Random weights stand for a start from which Newton's method would not come back."""
    train, _ = images(150, 300, 4)
    x, y = PrincipalAxes.fit(train.x)(train.x), torch.from_numpy(train.y)
    problem = Problem.of(x, y, 4)
    expected = SolutionPath(x, y, 4).solve(C)
    far = torch.randn(4, x.shape[1], generator=torch.Generator().manual_seed(0))
    for start in (torch.zeros_like(far), far, SolutionPath(x, y, 4).solve(other).weights):
        found = problem.solve(C, start, tolerance=1e-4)
        assert found.objective == pytest.approx(expected.objective, rel=1e-4)
        close = 0.02 * float(expected.weights.std())
        torch.testing.assert_close(found.weights[:, :-1], expected.weights[:, :-1], rtol=0.01, atol=close)


def test_an_unfinished_fit_says_so(monkeypatch, caplog):
    train, _ = images(50, 5, 3)
    monkeypatch.setattr("unic.eval.probes.softmax._MAX_STEPS", 1)
    monkeypatch.setattr("unic.eval.probes.softmax_path._FINAL_TOLERANCE", 1e-12)
    logistic.run(train, train, C=10.0)
    assert re.search("C = 10 .* 1 Newton steps", caplog.text)


def test_search_finds_a_good_C_and_depends_on_the_seed_only():
    train, test = images(400, 60, 5, noise=12.0)
    found = logistic.run(train, test, seed=1, trials=15)
    again = logistic.run(train, test, seed=1, trials=15)
    other = logistic.run(train, test, seed=2, trials=15)
    np.testing.assert_array_equal(found.marks[:, 0], again.marks[:, 0])
    assert found.details == again.details
    assert found.details["C"] != other.details["C"]
    fixed = [logistic.run(train, test, C=10.0**power).score for power in range(-5, 7)]
    assert found.score >= max(fixed) - 6  # 200 test images: two standard errors
    assert min(fixed) < max(fixed) - 6  # so that the line above says something


def test_validation_is_stratified():
    y = np.repeat([0, 1, 2, 3], [50, 10, 2, 1])
    kept, held = logistic.stratified_split(y, 0.2, seed=0)
    assert np.bincount(y[held], minlength=4).tolist() == [10, 2, 1, 0]
    assert sorted([*kept, *held]) == list(range(len(y)))
    assert not np.array_equal(held, logistic.stratified_split(y, 0.2, seed=1)[1])


def test_wrong_input_is_one_line():
    train, test = images(50, 5, 2)
    with pytest.raises(InputError, match="positive.* -1 and 40"):
        logistic.run(train, test, C=-1)
    with pytest.raises(InputError, match="C .*1e\\+12.* inf"):
        logistic.run(train, test, C=float("inf"))
    with pytest.raises(InputError, match="two classes.* 1"):
        logistic.run(Labelled(train.x, np.zeros_like(train.y)), test)


@pytest.mark.parametrize("dim", [4, 60])
def test_the_search_standardises_without_what_it_holds_out(monkeypatch, dim):
    draw = np.random.default_rng(0)
    train = Labelled(draw.normal(size=(50, dim)).astype(np.float32), np.arange(50) % 5)
    kept, _ = logistic.stratified_split(train.y, logistic.VALIDATION, 3)
    paths = []
    monkeypatch.setattr(logistic, "SolutionPath", lambda x, *rest: (paths.append(x), SolutionPath(x, *rest))[1])
    logistic.fit_classifier(train, seed=3, trials=2)
    x = torch.from_numpy((train.x[kept] - train.x[kept].mean(0)) / train.x[kept].std(0))
    coordinates = paths[0][:, :-1]
    torch.testing.assert_close(coordinates @ coordinates.T, x @ x.T, rtol=1e-3, atol=1e-3)  # a rotation of x
