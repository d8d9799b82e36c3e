"""Models under names that PaddleX's pipeline takes."""

import shutil
from pathlib import Path

import yaml

ACCEPTED = {"PP-YOLOE-S_human", "PP-YOLOE-L_human"}


def put_under_accepted_name(module, folder):
    """PaddleX's pipeline takes only detectors of these names; another runs as the same kind of model under one.

    Args:
        module: the detector's part of the pipeline's content; is changed.
        folder: where the renamed copy goes.
    """
    folder = Path(folder)
    if module["model_name"] not in ACCEPTED:
        shutil.copytree(module["model_dir"], folder, dirs_exist_ok=True, copy_function=shutil.copyfile)
        yml = yaml.safe_load((folder / "inference.yml").read_text())
        module["model_name"] = "PP-YOLOE-S_human"
        yml["Global"] = {"model_name": module["model_name"]}
        (folder / "inference.yml").write_text(yaml.safe_dump(yml, sort_keys=False))
        module["model_dir"] = str(folder)
