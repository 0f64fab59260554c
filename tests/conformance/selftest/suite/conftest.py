import pytest

pytest.register_assert_rewrite("harness.fixtures")
pytest_plugins = ["harness.plugin", "harness.fixtures"]
