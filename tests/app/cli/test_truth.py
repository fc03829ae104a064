"""The command truth."""

import json

import pytest
import xarray as xr

from wfr_pde.app.cli.main import main

pytestmark = pytest.mark.usefixtures("project")


class TestTruth:
    PROBLEM = (
        "truth",
        "--potential",
        "2*(x**2-1)**2",
        "--start",
        "gaussian(mean=-1, covariance=0.04)",
        "--t",
        "0,0.5,1",
    )

    def test_writes_a_certified_solution(self, tmp_path, capsys):
        out = tmp_path / "well.nc"
        assert main([*self.PROBLEM, "--rtol", "1e-5", "-o", str(out)]) == 0
        printed = capsys.readouterr().out
        assert "error_l1" in printed
        assert "disagreement" in printed
        ds = xr.open_dataset(out)
        assert (ds.error_l1 <= 1e-5).all()
        assert float(ds.disagreement[-1]) <= float(ds.error_l1[-1]) + 1e-6  # the other family has an error of its own
        assert main([*self.PROBLEM, "-o", str(out)]) == 2  # exists

    @pytest.mark.timeout(30)
    def test_dry_run_of_very_many_times(self, json_of, stderr_of):
        words = ["truth", "--target", "gaussian(0,1)", "--start", "gaussian(1,0.5)", "--dry-run"]
        few, many = (json_of(*words, "--t", f"0:1:{n}")[1] for n in (1000, 200_000))
        assert many["shapes"] == few["shapes"]
        assert many["n_steps"] == few["n_steps"] + 199_000
        assert many["memory_bytes"] >= 8 * 200_000 * sum(shape[0] for shape in many["shapes"])  # what is stored
        assert many["memory_bytes"] <= 2 * 8 * 200_000 * sum(shape[0] for shape in many["shapes"])
        code, err = stderr_of(*words, "--t", "0:1:3000000", "--memory", "1")
        assert code == 2
        assert "a certified solution at 3,000,000 times needs about " in err
        assert "but there are 1 GiB: use fewer save times" in err

    def test_dry_run_shows_what_it_would_take(self, capsys):
        assert main([*self.PROBLEM, "--dry-run", "--json"]) == 0
        content = json.loads(capsys.readouterr().out)
        assert content["n_steps"] > 3
        assert len(content["shapes"]) >= 4
        assert content["seconds"] > 0
        assert main([*self.PROBLEM, "--dry-run"]) == 0
        assert "first attempt" in capsys.readouterr().out

    WELLS = ("truth", "--target", "product([potential('(x**2-1)**2') * 9, gaussian(0, 1)])")
    WELLS += ("--start", "product([gaussian(0.5, 0.25) * 10])", "--t", "0,0.1", "--rtol", "1e-2")

    def test_factors_of_a_product(self, tmp_path, capsys):
        out = tmp_path / "wells.nc"
        assert main([*self.WELLS, "-o", str(out)]) == 0
        printed = capsys.readouterr().out
        assert "factor_0  9      grid, 1 dimension" in printed
        assert "10 dimensions" in printed
        tree = xr.open_datatree(out)
        assert list(tree.children) == ["factor_0", "factor_1"]
        assert 0 < float(tree.error_l1.max()) <= 1e-2
        assert main([*self.WELLS, "-o", str(out), "--force", "--json"]) == 0
        content = json.loads(capsys.readouterr().out)
        assert len(content["factors"]) == 10
        assert content["kl"] == tree.kl.values.tolist()

    def test_dry_run_says_the_factors(self, capsys):
        assert main([*self.WELLS, "--dry-run", "--json"]) == 0
        factors = json.loads(capsys.readouterr().out)["factors"]
        assert [(one["kind"], one["copies"]) for one in factors] == [("grid", 9), ("gaussian", 1)]
        assert main([*self.WELLS, "--dry-run"]) == 0
        assert "none: moments" in capsys.readouterr().out

    @pytest.mark.parametrize(
        ("options", "words"),
        [
            (("--rtol", "1e-30", "-o", "x.nc"), "rtol must be between"),
            (("--boundary", "periodic", "-o", "x.nc"), "needs its period"),
            ((), "truth needs a file to write"),
            (("--lower", "-2", "-o", "x.nc"), "--lower and --upper go together"),
        ],
    )
    def test_bad_input(self, options, words, capsys):
        assert main([*self.PROBLEM, *options]) == 2
        assert words in capsys.readouterr().err
