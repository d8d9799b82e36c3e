"""What callers catch: this package's errors are also the built-in ones that say the same."""

import pytest

from hpi import ConfigError, HpiError, InputError, ModelError, Predictor
from hpi.errors import BackendError, not_found
from hpi.io.validation import read_yaml
from hpi.models.readers import read_model
from hpi.sources import read_items


def test_a_bad_value_is_also_a_value_error(lite):
    with pytest.raises(ValueError, match="det_threshold"):
        lite.predict("x.jpg", det_threshold=2)
    with pytest.raises(ValueError, match="no_such_model"):
        Predictor("no_such_model")


def test_a_missing_file_is_also_a_file_not_found_error(tmp_path, lite):
    with pytest.raises(FileNotFoundError, match=r"none\.jpg"):
        next(lite.predict(str(tmp_path / "none.jpg")))
    with pytest.raises(FileNotFoundError, match=r"none\.mp4"):
        next(lite.predict(str(tmp_path / "none.mp4")))
    with pytest.raises(FileNotFoundError, match=r"none\.yaml"):
        Predictor(tmp_path / "none.yaml")
    with pytest.raises(FileNotFoundError, match="no such model folder"):
        read_model(tmp_path / "none")
    with pytest.raises(FileNotFoundError, match="no inference"):
        read_model(tmp_path)
    with pytest.raises(ModelError, match="No such file"):
        read_yaml(tmp_path / "none.yml", ModelError)


def test_an_existing_file_is_not_reported_as_missing(tmp_path):
    (tmp_path / "empty.jpg").touch()
    (item,) = read_items(str(tmp_path / "empty.jpg"))
    assert type(item.image) is InputError
    (tmp_path / "empty.yaml").write_bytes(b"{")
    with pytest.raises(ConfigError) as error:
        read_yaml(tmp_path / "empty.yaml")
    assert type(error.value) is ConfigError


@pytest.mark.parametrize("kind", [InputError, ModelError, ConfigError])
def test_each_kind_has_its_own_error_for_a_missing_file(kind):
    assert issubclass(not_found(kind), kind)
    assert issubclass(not_found(kind), FileNotFoundError)


def test_a_kind_without_one_stands_for_itself():
    assert not_found(BackendError) is BackendError
    assert not_found(HpiError) is HpiError
