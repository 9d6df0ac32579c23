"""The tree is the pipeline: a file imports only from files before it, and the core needs no extra."""

import ast
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parent.parent
ORDER = """errors units config hardware ledger calibration meter archives packages sources media scrub duplicates corpus tokens model
           checkpoint modeldir gguf engine ngram evaluate plot lawplot points law bend lawtable train probe rungs ladder forecast compose
           page project plan make look doctor show cli""".split()


def _imports(path):
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.module and node.module.split(".")[0] == "cupola":
            names = [node.module.split(".")[1]] if "." in node.module else [a.name for a in node.names]
            yield from ((node.lineno, name) for name in names if name in ORDER or (ROOT / "cupola" / f"{name}.py").exists())


def test_every_file_of_the_pipeline_is_in_the_list():
    there = {p.stem for p in (ROOT / "cupola").glob("*.py")} | {"media"}
    assert there - {"__init__", "__main__"} == set(ORDER)


def test_imports_point_up_the_list():
    for path in (ROOT / "cupola").rglob("*.py"):
        here = path.relative_to(ROOT / "cupola").parts[0].removesuffix(".py")
        for line, name in _imports(path) if here in ORDER else ():
            assert ORDER.index(name) <= ORDER.index(here), f"{path}:{line} imports {name}, which comes later"


def test_help_needs_none_of_the_heavy_packages():
    code = "import sys; sys.argv = ['', '--help']\nfrom cupola.cli import main\ntry: main()\nexcept SystemExit: print(*sys.modules)"
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    heavy = {"torch", "transformers", "numpy", "scipy", "pydantic", "tokenizers", "xllamacpp", "verovio"}
    assert not heavy & set(out.split())


def test_the_core_works_without_the_extras():
    extras = "'verovio', 'mido', 'PIL', 'trimesh', 'soundfile'"
    code = f"import sys\nfor name in ({extras}): sys.modules[name] = None\nimport cupola.make, cupola.doctor, cupola.show"
    subprocess.run([sys.executable, "-c", code], check=True)
