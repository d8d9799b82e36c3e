"""Maps the folders of the repository onto one import package; everything else stands in pyproject.toml.

Bare top-level packages called ``backends`` or ``kernels`` would collide with others in site-packages, so they
are installed as ``hpi.backends`` and ``hpi.kernels``.

The links ``hpi/backends -> ../backends`` and so on show the same layout to whatever reads the checkout itself: a Python
started in its root, mypy, coverage and editors. No build uses them.
"""

from setuptools import find_packages, setup

ROOMS = ["backends", "kernels", "configs", "benchmarks"]

setup(
    packages=[
        "hpi",
        *(f"hpi.{package}" for package in find_packages("hpi", exclude=[*ROOMS, *(f"{room}.*" for room in ROOMS)])),
        *(f"hpi.{room}" for room in ROOMS),
        *(f"hpi.{room}.{package}" for room in ROOMS for package in find_packages(room)),
    ],
    package_dir={"hpi": "hpi", **{f"hpi.{room}": room for room in ROOMS}},
    include_package_data=False,
    package_data={
        "hpi": ["py.typed"],
        "hpi.benchmarks": ["peers/*.py", "templates/*.html"],
        "hpi.serving": ["page/*"],
        "hpi.serving.inference_protocol": ["*.binpb", "*.proto"],
        "hpi.kernels.cuda": ["*.cu"],
        "hpi.configs": [
            "pairs.yaml",
            "models/*.yaml",
            "pipelines/*.yaml",
            "skeletons/*.yaml",
            "parity/*.yaml",
            "parity/*.png",
            "priors/*.json",
            "bundled/*.tar.xz",
        ],
    },
)
