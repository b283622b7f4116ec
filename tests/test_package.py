import subprocess
import sys

import unic
from unic import api
from unic.distill.build import build


def test_functions_are_not_hidden_by_the_packages_of_their_names():
    assert build.__module__ == "unic.distill.build"
    for name in unic.__all__:
        assert getattr(unic, name) is getattr(api, name)
    assert set(unic.__all__) <= set(dir(unic))


def test_importing_it_imports_nothing_heavy():
    code = "import sys, unic; unic.__version__; assert not {'torch', 'timm', 'numpy'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_catching_its_errors_imports_nothing_heavy():
    code = "import sys, unic; unic.InputError('x'); assert not {'torch', 'timm', 'numpy'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)
