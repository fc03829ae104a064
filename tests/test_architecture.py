"""The rooms of the package: imports point down and without circles, and heavy libraries stay where they belong."""

import ast
import functools
import re
from dataclasses import dataclass
from pathlib import Path

import pytest

import wfr_pde

PACKAGE = Path(wfr_pde.__file__).parent
ROOMS = [  # from the bottom up: a room may import itself and those before it
    *("numerics", "storage", "targets", "space", "energies", "flows", "integrate"),
    *("plotting", "samplers", "metrics", "truth", "problems", "validation", "app"),
]
FOUNDATION = {"_version", "errors"}  # files of the package itself, for every room
ENTRANCES = {"__init__", "__main__"}  # above all rooms
ONLY_IN = {  # library: where it may be named
    "numba": ("numerics/compiled",),
    "cupy": ("numerics/backends/cupy.py", "numerics/cuda"),
    "matplotlib": ("plotting", "app"),
    "argparse": ("app/cli",),
    "jinja2": ("app/report",),
    "markupsafe": ("app/report",),
}
OVER_CELLS = ("space", "energies", "flows", "integrate")  # rooms that have arrays over the cells of a grid...
REDUCING = {  # ...which these functions of an array namespace would make one number of, of one process alone
    *("sum", "prod", "min", "max", "mean", "std", "var", "any", "all", "argmin", "argmax", "cumsum"),
    *("cumulative_sum", "sort", "argsort", "unique_values", "nonzero", "count_nonzero", "roll", "flip", "diff"),
}
LOCAL = {  # files where they are in place
    "space/reductions.py": "makes all others",
    "space/heat/product.py": "ends of a piece, and lines along one axis",
    "space/heat/blocks.py": "lines along one axis",
    "flows/transport/finite_volume/drift.py": "lines along one axis",
    "flows/transport/finite_volume/line_sweep.py": "lines along one axis",
    "flows/sampler_laws/mala.py": "one axis only, which is never cut",
}
MOST_BY_POSITION = 6  # values that a function takes without their names
COMPILED = re.compile("jit|untyped")  # decorators of functions that numba compiles
BY_POSITION = [  # functions that still take more
    "space/axis.py:towards_wall",
    "truth/certified/attempt.py:_answer",
    "truth/certified/grids/first_family.py:_cells_along",
    "truth/certified/preparation/input_checks.py:_check_seam",
    "truth/certified/step_schedule.py:trial_schedule",
]
LINES_ALIKE = 6  # equal lines of code that two files do not share...
ALIKE = [  # ...but for these
    {"wfr_pde/integrate/estimate.py", "wfr_pde/integrate/time_loop.py"},  # public, of the same arguments
    {"wfr_pde/numerics/compiled/chain_exponential.py", "wfr_pde/numerics/compiled/chain_steps.py"},  # numba: one by one
]
NOT_CODE = re.compile(
    r'"""(?:.|\n)*?"""|^[ \t]*(?:from [^\n(]+ import \((?:.|\n)*?\)|(?:from|import) .*|[#@].*)$', re.M
)
NOT_AT_IMPORT = {"xarray": ("plotting", "app")}  # libraries that only these wait for when they are imported


@dataclass(frozen=True)
class Import:
    """A module or a name imported by a file."""

    path: Path  # of the file, in the package
    line: int
    module: str
    name: str  # "" for a module
    at_import: bool  # when the file is imported, not in a function
    for_types: bool  # by the type checker only

    def __str__(self):
        return f"{self.path}:{self.line} imports {self.module}{'.' * bool(self.name)}{self.name}"


def imports(package):
    """All imports of the files of a package."""
    files = sorted(package.rglob("*.py"))
    return [found for file in files for found in imports_of(file.relative_to(package), file.read_text())]


@functools.cache
def imports_of(path, text):
    """The imports of one file."""
    tree = ast.parse(text)
    typed = {
        id(node)
        for branch in ast.walk(tree)
        if isinstance(branch, ast.If) and "TYPE_CHECKING" in ast.unparse(branch.test)
        for node in ast.walk(branch)
    }
    local = {
        id(node)
        for function in ast.walk(tree)
        if isinstance(function, ast.FunctionDef | ast.Lambda)
        for node in ast.walk(function)
    }
    found = []
    for node in ast.walk(tree):
        where = path, getattr(node, "lineno", 0)
        when = id(node) not in local and id(node) not in typed, id(node) in typed
        if isinstance(node, ast.Import):
            found += [Import(*where, alias.name, "", *when) for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}:{node.lineno}: relative import"
            found += [Import(*where, node.module, alias.name, *when) for alias in node.names]
    return found


def module_of(path, package):
    """The dotted name of a file, below the package."""
    return ".".join((package.name, *path.with_suffix("").parts)).removesuffix(".__init__")


def imported_module(found, package):
    """The module of the package that an import is of, or None."""
    if found.module != package.name and not found.module.startswith(f"{package.name}."):
        return None
    whole = f"{found.module}.{found.name}"
    file = package.parent.joinpath(*whole.split("."))
    return whole if found.name and (file.with_suffix(".py").exists() or file.is_dir()) else found.module


def room_of(module):
    """The folder at the top, or the file there, that a module is in."""
    return module.split(".")[1] if "." in module else "__init__"


def upward(package, rooms=ROOMS):
    """Imports of rooms further up."""
    place = dict.fromkeys(FOUNDATION, -1) | {room: k for k, room in enumerate(rooms)}
    place |= {"__init__": place.get("app", 99), "__main__": 99}  # app may ask for the public names
    wrong = []
    for found in imports(package):
        module = imported_module(found, package)
        if module is None:
            continue
        if place[room_of(module)] > place[room_of(module_of(found.path, package))]:
            wrong.append(str(found))
    return wrong


def circles(package):
    """Modules that import each other when they are imported, as lists."""
    graph = {}
    for found in imports(package):
        module = imported_module(found, package)
        if module is not None and found.at_import:
            graph.setdefault(module_of(found.path, package), set()).add(module)
    done, path, result = set(), [], []

    def visit(module):
        if module in path:
            result.append([*path[path.index(module) :], module])
            return
        if module in done:
            return
        path.append(module)
        for other in sorted(graph.get(module, ())):
            visit(other)
        path.pop()
        done.add(module)

    for module in sorted(graph):
        visit(module)
    return result


def strays(package):
    """Imports of heavy libraries outside their places."""
    wrong = []
    for found in imports(package):
        library = found.module.split(".")[0]
        place = found.path.as_posix()
        if not found.for_types:
            allowed = ONLY_IN.get(library) or (NOT_AT_IMPORT.get(library) if found.at_import else None)
            if allowed and not any(place == one or place.startswith(f"{one}/") for one in allowed):
                wrong.append(str(found))
    return wrong


def private(package):
    """Names with a leading underscore that another file imports."""
    return [
        str(found)
        for found in imports(package)
        if re.match(r"_(?!_|version$)", found.name) and imported_module(found, package) is not None
    ]


def bare_reductions(package):
    """Reductions of arrays over cells that do not go through `Reductions`, so that slabs would each have their own."""
    wrong = []
    for file in sorted(package.rglob("*.py")):
        path = file.relative_to(package)
        if path.parts[0] not in OVER_CELLS or path.as_posix() in LOCAL:
            continue
        for node in ast.walk(ast.parse(file.read_text())):
            is_reduction = isinstance(node, ast.Attribute) and node.attr in REDUCING
            if is_reduction and ast.unparse(node.value).split(".")[-1] == "xp":
                wrong.append(f"{path}:{node.lineno} xp.{node.attr}")
    return wrong


def long_parameter_lists(package):
    """Functions of more values by position than can be told apart; those that numba compiles take no others."""
    wrong = []
    for file in sorted(package.rglob("*.py")):
        for node in ast.walk(ast.parse(file.read_text())):
            if not isinstance(node, ast.FunctionDef):
                continue
            names = [one.arg for one in (*node.args.posonlyargs, *node.args.args)]
            is_long = len(names) - (names[:1] in (["self"], ["cls"])) > MOST_BY_POSITION
            if is_long and not any(COMPILED.search(ast.unparse(decorator)) for decorator in node.decorator_list):
                wrong.append(f"{file.relative_to(package).as_posix()}:{node.name}")
    return wrong


def repeated_lines(*folders):
    """Sets of files that share equal lines of code, one after another; imports, decorators and texts do not count."""
    places = {}
    for file in (file for folder in folders for file in folder.rglob("*.py")):
        where = file.relative_to(folders[0].parent).as_posix()
        folded = (" ".join(line.split()) for line in NOT_CODE.sub("", file.read_text()).split("\n"))
        lines = [line for line in folded if re.search(r"\w", line)]
        for k in range(len(lines) - LINES_ALIKE + 1):
            places.setdefault(tuple(lines[k : k + LINES_ALIKE]), set()).add(where)
    return [files for files in places.values() if len(files) > 1]


def test_every_folder_is_a_room():
    folders = {path.name for path in PACKAGE.iterdir() if path.is_dir() and path.name != "__pycache__"}
    files = {path.stem for path in PACKAGE.glob("*.py")}
    assert folders == set(ROOMS)
    assert len(folders) <= 17
    assert files == FOUNDATION | ENTRANCES


def test_every_room_has_a_sentence_and_a_page_of_the_design():
    docs = PACKAGE.parent / "docs"
    listed = re.findall(r"^- \[`(\w+)`\]\(design/\1\.md\): \w", (docs / "design.md").read_text("utf-8"), re.MULTILINE)
    assert listed == ROOMS
    for room in ROOMS:
        assert (docs / "design" / f"{room}.md").read_text("utf-8").startswith(f"# `{room}`\n")


def test_imports_point_down():
    assert upward(PACKAGE) == []


def test_imports_have_no_circles():
    assert circles(PACKAGE) == []


def test_heavy_libraries_stay_where_they_belong():
    assert strays(PACKAGE) == []


def test_no_private_name_is_imported():
    assert private(PACKAGE) == []


def test_reductions_over_cells_go_through_the_grid():
    assert bare_reductions(PACKAGE) == []
    assert all((PACKAGE / file).exists() for file in LOCAL)


def test_what_is_told_apart_by_position_is_short():
    assert sorted(long_parameter_lists(PACKAGE)) == sorted(BY_POSITION)


def test_no_two_files_have_the_same_lines():
    found = repeated_lines(PACKAGE, PACKAGE.parent / "tests")
    assert [sorted(files) for files in found if files not in ALIKE] == []
    assert all(files in found for files in ALIKE)


def test_no_module_is_called_like_a_function_that_its_package_exports():
    for found in imports(PACKAGE):
        if found.path.name == "__init__.py" and not found.module.endswith(f".{found.name}"):
            module = imported_module(found, PACKAGE)
            is_module = module is None or module.endswith(f".{found.name}")
            assert is_module or not (PACKAGE / found.path).with_name(f"{found.name}.py").exists(), str(found)


@pytest.fixture
def house(tmp_path):
    """A package with two rooms, in which nothing is wrong."""

    def write(**files):
        for name, text in files.items():
            path = tmp_path / "house" / (name.replace("__", "/") + ".py")
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
        return tmp_path / "house"

    write(numerics__special="", space__grid="from house.numerics.special import f\n")
    return write


def test_an_upward_import_is_found(house):
    assert upward(house()) == []
    wrong = upward(house(numerics__special="def f():\n    from house.space.grid import Grid\n"))
    assert wrong == ["numerics/special.py:2 imports house.space.grid.Grid"]


def test_a_circle_is_found(house):
    assert circles(house()) == []
    assert circles(house(space__axis="import house.space.grid\n", space__grid="from house.space import axis\n")) == [
        ["house.space.axis", "house.space.grid", "house.space.axis"]
    ]


def test_a_stray_library_is_found(house):
    assert strays(house(numerics__compiled__loops="import numba\n")) == []
    assert strays(house(space__grid="def f():\n    import numba\n")) == ["space/grid.py:2 imports numba"]
    assert strays(house(space__grid="import xarray as xr\n")) == ["space/grid.py:1 imports xarray"]


def test_a_private_name_is_found(house):
    assert private(house(space__grid="from house.numerics.special import _f\n")) == [
        "space/grid.py:1 imports house.numerics.special._f"
    ]


def test_a_bare_reduction_is_found(house):
    assert bare_reductions(house(space__reductions="def f(xp, v):\n    return xp.sum(v)\n")) == []
    assert bare_reductions(house(numerics__special="def f(xp, v):\n    return xp.sum(v)\n")) == []
    wrong = bare_reductions(house(flows__heat="def f(grid, v):\n    return grid.sum(v) + grid.backend.xp.max(v)\n"))
    assert wrong == ["flows/heat.py:2 xp.max"]


def test_a_long_list_of_parameters_is_found(house):
    seven = "a, b, c, d, e, f, g"
    assert long_parameter_lists(house(space__grid=f"def f(*, {seven}): ...\n\n@jit\ndef g({seven}): ...\n")) == []
    assert long_parameter_lists(house(space__grid=f"class A:\n    def f(self, {seven}): ...\n")) == ["space/grid.py:f"]


def test_repeated_lines_are_found(house):
    lines = [f"x{k} = {k}" for k in range(6)]
    text = "def f():" + "".join(f"\n    {line}" for line in lines)
    package = house(numerics__special="\n".join(lines[:3] + ["import house", "# aside"] + lines[3:]), space__grid=text)
    assert repeated_lines(package) == [{"house/numerics/special.py", "house/space/grid.py"}]
    assert repeated_lines(house(space__grid="\n".join(lines[:5]))) == []
