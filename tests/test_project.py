"""The project around the code: its files have the form that they promise, and nothing outgrows its limit."""

import re
import runpy
import subprocess
import sys
import warnings
from importlib.metadata import distribution

import pytest
import yaml
from packaging.specifiers import SpecifierSet

from support import ROOT, quick_first

GITHUB = ROOT / ".github"
WORKFLOWS = sorted((GITHUB / "workflows").glob("*.yml"))
HOME = "https://github.com/hpi-pose/hpi"
WEIGHTS = {
    "configs/bundled/MoveNet-Thunder_256x256_infer.tar.xz",
    "configs/bundled/PicoDet-S_person_416_infer.tar.xz",
}
"""The only large files that Git may hold; CONTRIBUTING.md says why."""
LARGE_BYTES = 500_000

release = runpy.run_path(str(ROOT / "deploy" / "release.py"))
DEPRECATED = runpy.run_path(str(ROOT / "hpi" / "deprecation.py"))["DEPRECATED"]


def text_of(name):
    return (ROOT / name).read_text(encoding="utf-8")


def tracked_files():
    """What Git knows, and what it would if everything were added."""
    command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        pytest.skip(f"needs the files that Git knows: {done.stderr.strip()}")
    return [name for name in done.stdout.split("\0") if name and (ROOT / name).is_file()]


# Sizes


def test_the_readme_is_short():
    assert (ROOT / "README.md").stat().st_size <= release["README_BYTES"] == 9_000


def test_no_large_file_joins_the_bundled_weights():
    large = {name for name in tracked_files() if (ROOT / name).lstat().st_size > LARGE_BYTES}
    assert large == WEIGHTS


def test_the_bundled_weights_do_not_grow():
    assert sum((ROOT / name).stat().st_size for name in WEIGHTS) < 16_200_000


# The changelog and the deprecated names


def test_the_changelog_is_kept_as_it_promises():
    changelog = release["read_changelog"](text_of("CHANGELOG.md"))
    assert {"Unreleased", "0.1.0"} <= changelog.keys()


def version_of(text):
    return release["read_version"](text)


@pytest.mark.parametrize("name", DEPRECATED)
def test_a_deprecated_name_stays_for_two_minor_versions_and_is_in_the_changelog(name):
    one = DEPRECATED[name]
    since, removed_in = version_of(one.since), version_of(one.removed_in)
    assert removed_in >= (since[0], since[1] + 2, 0) or removed_in[0] > since[0]
    changelog = release["read_changelog"](text_of("CHANGELOG.md"))
    section = changelog.get(one.since, changelog["Unreleased"])
    assert f"`{name}`" in section["Deprecated"]


def test_deprecated_names_are_warned_of_by_the_table_alone():
    for path in (ROOT / "hpi").rglob("*.py"):
        if path.name != "deprecation.py" and not path.is_relative_to(ROOT / "hpi" / "benchmarks"):
            assert "DeprecationWarning" not in path.read_text(encoding="utf-8"), path
    used = "".join(path.read_text(encoding="utf-8") for path in (ROOT / "hpi").rglob("*.py"))
    assert used.count("warn_deprecated(") > 1


def use_deprecated(name, predictor, result):
    """Use a deprecated name; what it gives, and what its successor does."""
    detector, estimator = predictor.pipelines[0].models
    if name == "Predictor.detector":
        return predictor.detector, detector
    if name == "Predictor.estimator":
        return predictor.estimator, estimator
    if name == "KeypointResult.joint_names":
        return result.joint_names, result.keypoint_names
    if name == "Predictor.tune(told=)":
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("hpi.predictor.tune", lambda models, priors, seconds, on_progress: on_progress)
            return predictor.tune(told=print), print
    import hpi
    import hpi.results

    module, _, attribute = name.rpartition(".")
    assert module == "hpi.results"
    return getattr(hpi.results, attribute), getattr(hpi, attribute)


@pytest.mark.parametrize("name", DEPRECATED)
def test_a_deprecated_name_works_as_before_and_warns_its_user(name, lite, image):
    (result,) = lite.predict(image)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        old, new = use_deprecated(name, lite, result)
    assert old == new
    (warning,) = [one for one in caught if one.category is DeprecationWarning and name in str(one.message)]
    assert DEPRECATED[name].advice in str(warning.message)
    assert DEPRECATED[name].removed_in in str(warning.message)
    assert warning.filename == __file__, "the warning points to who uses the name"


# The package


def metadata():
    return distribution("hpi-pose").metadata


def test_the_package_names_its_addresses():
    urls = dict(entry.split(", ", 1) for entry in metadata().get_all("Project-URL"))
    assert set(urls) == {"Homepage", "Documentation", "Source", "Changelog", "Issues"}
    assert all(url.startswith((HOME, "https://hpi-pose.github.io/hpi/")) for url in urls.values())


def test_the_pythons_that_it_takes_are_named_and_tested():
    named = {line.rsplit(" ", 1)[-1] for line in metadata().get_all("Classifier") if "Python :: 3." in line}
    wanted = SpecifierSet(metadata()["Requires-Python"])
    assert named == {f"3.{minor}" for minor in range(100) if wanted.contains(f"3.{minor}")}
    workflow = yaml.safe_load(text_of(".github/workflows/tests.yml"))
    assert set(workflow["jobs"]["readme"]["strategy"]["matrix"]["python"]) == named


def test_the_licence_is_an_expression():
    assert metadata()["License-Expression"] == "Apache-2.0"
    assert not [line for line in metadata().get_all("Classifier") if line.startswith("License ::")]


# The forge


def check(schema, *files):
    pytest.importorskip("check_jsonschema")
    command = [sys.executable, "-m", "check_jsonschema", "--builtin-schema", f"vendor.{schema}", *map(str, files)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


FORMS = sorted(path for path in (GITHUB / "ISSUE_TEMPLATE").glob("*.yml") if path.name != "config.yml")


@pytest.mark.full
@pytest.mark.parametrize(
    ("schema", "files"),
    [
        ("github-workflows", WORKFLOWS),
        ("github-issue-forms", FORMS),
        ("github-issue-config", [GITHUB / "ISSUE_TEMPLATE" / "config.yml"]),
        ("dependabot", [GITHUB / "dependabot.yml"]),
    ],
)
def test_what_the_forge_reads_has_its_form(schema, files):
    assert files
    done = check(schema, *files)
    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize(
    ("old", "new"),
    quick_first([("runs-on:", "run-on:"), ("timeout-minutes: 15", "timeout-minutes: soon"), ("- uses:", "- use:")]),
)
def test_a_fault_in_a_workflow_is_found(tmp_path, old, new):
    text = text_of(".github/workflows/docs.yml")
    assert old in text
    (tmp_path / "docs.yml").write_text(text.replace(old, new, 1))
    assert check("github-workflows", tmp_path / "docs.yml").returncode == 1


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.stem)
def test_a_workflow_is_bounded_and_has_the_least_permissions(path):
    text = path.read_text(encoding="utf-8")
    workflow = yaml.safe_load(text)
    assert workflow["permissions"] == {"contents": "read"}
    assert workflow["concurrency"]["group"]
    for name, job in workflow["jobs"].items():
        assert job["timeout-minutes"] <= 45, name
        assert set(job.get("permissions", {})) <= {"pages", "id-token"}, name
    for action in re.findall(r"uses: (\S+)", text):
        assert re.fullmatch(r"actions/[\w-]+@(v\d+|[0-9a-f]{40})", action), action
    assert "pull_request_target" not in text
    commands = [step.get("run", "") for job in workflow["jobs"].values() for step in job["steps"]]
    assert not any("${{" in command for command in commands), "what others write must not become a part of a command"


@pytest.mark.parametrize("path", [*FORMS, GITHUB / "PULL_REQUEST_TEMPLATE.md"], ids=lambda path: path.stem)
def test_who_reports_is_asked_for_what_the_doctor_says(path):
    assert "hpi doctor" in path.read_text(encoding="utf-8")


def test_one_address_is_used_everywhere():
    """Of the project itself; it must exist before the first release."""
    for name in tracked_files():
        if name.endswith((".md", ".toml", ".yml", ".yaml")):
            for found in re.findall(r"https://[\w.]*github\.(?:com|io)/[^\s)>\"'`]*hpi[^\s)>\"'`]*", text_of(name)):
                assert re.match(rf"{HOME}(\.git|/|$)|https://hpi-pose\.github\.io/hpi/", found), f"{name}: {found}"


def test_the_hooks_before_a_commit_need_no_network():
    config = yaml.safe_load(text_of(".pre-commit-config.yaml"))
    assert [repository["repo"] for repository in config["repos"]] == ["local"]
    assert {hook["language"] for hook in config["repos"][0]["hooks"]} == {"system"}
    required = {re.split(r"[^\w-]", entry)[0] for entry in metadata().get_all("Requires-Dist")}
    assert required >= {"ruff", "mypy", "check-jsonschema", "pre-commit", "pre-commit-hooks"}


# The pages at the top


@pytest.mark.parametrize("name", ["CONTRIBUTING.md", "SECURITY.md", "CODE_OF_CONDUCT.md", "CHANGELOG.md"])
def test_links_lead_somewhere(name):
    for target in set(re.findall(r"\]\((?!https?://)([^)\s]+)\)", text_of(name))):
        file, _, anchor = target.partition("#")
        page = ROOT / (file or name)
        assert page.exists(), target
        if anchor:
            headings = re.findall(r"^#+ (.+)$", page.read_text(encoding="utf-8"), re.MULTILINE)
            assert anchor in {re.sub(r"[^\w -]", "", heading).lower().replace(" ", "-") for heading in headings}, target


def test_who_made_the_bundled_weights_is_told():
    for name in WEIGHTS:
        assert f"`{name.removeprefix('configs/bundled/')}`" in text_of("CONTRIBUTING.md")
        assert name in text_of("NOTICE")
